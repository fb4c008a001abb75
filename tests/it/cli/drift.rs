//! What the commands report about changes in the target that did not come from usersync.

use serde_json::json;
use usersync::demo::stack::{SimulatedServers, StackOptions};
use usersync_simulators::keycloak::NewUser;

use super::{place::Place, schemas::assert_valid};

/// Starts a realm in sync, with this setting.
async fn with_drift(setting: &str) -> (SimulatedServers, Place) {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    let staff = (0..10).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/staff"]));
    servers.realm.import_users(staff).expect("imported");
    let place = Place::at(&servers);
    let policy = format!("\n[connector.policy]\nfirst_run = \"apply\"\ndrift = \"{setting}\"\n");
    place.configure(|text| text.to_owned() + &policy);
    place.run(&["sync"]).await.ended(0);
    (servers, place)
}

fn change(servers: &SimulatedServers) {
    servers.jira.set_display_name("staff1", "Another Name");
    servers.jira.remove_member("staff", "staff2");
}

#[tokio::test]
async fn mended_drift_is_listed_and_status_stays_green() {
    let (servers, place) = with_drift("mend").await;
    place.run(&["drift"]).await.ended(0).says("0 changes that did not come from usersync");
    change(&servers);
    place.run(&["explain", "staff1"]).await.ended(0).says("update staff1: display name");
    place.run(&["plan"]).await.says("display name changed: 1 open").says("staff2: membership removed (staff)");
    place.run(&["sync"]).await.ended(0);
    let listed = place.run(&["drift"]).await;
    listed.ended(0).says("2 changes that did not come from usersync").says("Another Name").says("mended");
    let shown = place.run(&["runs", "show", "2"]).await;
    shown.says("display name changed: 1 mended").says("staff2: membership removed (staff): not a member");
    let status = place.run(&["status"]).await;
    assert!(!status.out.contains("usersync drift"), "{}", status.out);
    place.run(&["sync"]).await.ended(0);
    place.run(&["drift"]).await.ended(0).says("0 changes that did not come from usersync");
}

#[tokio::test]
async fn drift_that_stays_is_listed_counted_by_status_and_explained() {
    let (servers, place) = with_drift("report").await;
    change(&servers);
    place.run(&["sync"]).await.ended(0);
    let status = "2 changes in jira that did not come from usersync: usersync drift --connector acme --target jira";
    place.run(&["status"]).await.says(status);
    place.run(&["drift", "--limit", "1"]).await.ended(0).says("reported").says("and 1 more");
    let explained = place.run(&["explain", "staff1"]).await;
    explained.ended(0).says("display name changed: Another Name, Keycloak: ").says("drift = \"report\"");
    let (code, document) = place.json(&["drift"]).await;
    assert_valid(&["drift"], &document);
    let pair = &document["pairs"][0];
    assert_eq!((code, &pair["setting"], &pair["run"], &pair["total"]), (0, &json!("report"), &json!(2), &json!(2)));
    let counts = json!({ "display_name": { "reported": 1 }, "member_removed": { "reported": 1 } });
    assert_eq!(pair["counts"], counts);
    let line = &pair["found"]["first"][1];
    let expected = json!({
        "subject": line["subject"], "name": "staff2", "kind": "member_removed", "of": "staff",
        "found": "not a member", "wanted": "member", "handling": "reported",
    });
    assert_eq!(*line, expected);
    let (_, run) = place.json(&["runs", "show", "2"]).await;
    assert_valid(&["runs", "show"], &run);
    assert_eq!(run["run"]["report"]["drift"]["counts"], counts);
}

#[tokio::test]
async fn a_deleted_group_that_stays_deleted_is_named_by_status() {
    let (servers, place) = with_drift("report").await;
    servers.jira.remove_group("staff");
    place.run(&["sync"]).await;
    place.run(&["drift"]).await.ended(0).says("group deleted: 1 reported").says("staff");
    place.run(&["status"]).await.says("group /staff: it was deleted in jira, and drift = \"report\" leaves that so.");
    place.run(&["explain", "--group", "staff"]).await.says("it was deleted in jira");
    servers.jira.add_group("staff");
    place.run(&["sync"]).await.ended(0).says("10 memberships");
    place.run(&["drift"]).await.ended(0).says("0 changes that did not come from usersync");
}
