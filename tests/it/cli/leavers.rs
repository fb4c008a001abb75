//! What the commands report about users that have left.

use usersync::demo::stack::{SimulatedServers, StackOptions};
use usersync_simulators::keycloak::{NewUser, UserChange};

use super::place::Place;

/// Starts a realm in sync, with these rules for leavers, and disables staff1 without an event.
async fn with_rules(leavers: &str) -> (SimulatedServers, Place) {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users((0..4).map(|number| NewUser::named(format!("staff{number}")))).expect("imported");
    let place = Place::at(&servers);
    let policy = format!("\n[connector.policy]\nfirst_run = \"apply\"\n[connector.policy.leavers]\n{leavers}\n");
    place.configure(|text| text.to_owned() + &policy);
    place.run(&["sync"]).await.ended(0);
    let id = servers.realm.snapshot().user("staff1").expect("there").id.clone();
    servers.realm.change_without_event(&id, &UserChange::enabled(false)).expect("disabled");
    (servers, place)
}

#[tokio::test]
async fn a_leaver_to_which_nothing_is_done_is_no_problem() {
    let (_servers, place) = with_rules("disabled = \"nothing\"").await;
    place.run(&["explain", "staff1"]).await.ended(0).says("to do         left: nothing is done (leavers.disabled)");
    place.run(&["sync", "staff1"]).await.ended(0).says("acme → jira: staff1: left: nothing is done (leavers.disabled)");
    let plan = place.run(&["plan"]).await;
    assert!(!plan.ended(0).out.contains("staff1"), "{plan}");
    place.run(&["sync"]).await.ended(0);
    place.run(&["status"]).await.ended(0).says("In sync. Last change");
}

#[tokio::test]
async fn a_leaver_within_its_grace_period_is_shown_with_the_date() {
    let (servers, place) = with_rules("grace = \"7d\"").await;
    place
        .run(&["plan"])
        .await
        .ended(0)
        .says("leaving")
        .says("staff1: its account is deactivated on 20")
        .says("(disabled in Keycloak)");
    place.run(&["sync", "staff1"]).await.ended(0).says("acme → jira: staff1: its account is deactivated on 20");
    assert!(servers.jira.snapshot().account("staff1").is_some_and(|account| account.active));
    let explained = place.run(&["explain", "staff1"]).await;
    explained.ended(0).says("to do         its account is deactivated on 20").says("open task     next attempt ");
    assert!(!explained.out.contains("raised"), "{explained}");
    place
        .run(&["status"])
        .await
        .ended(0)
        .says("In sync. Last change")
        .says("1 user has left; its account changes when the grace period ends, the first on 20");
    place.run(&["sync"]).await.ended(0).says("staff1: its account is deactivated on 20");
    let (_, status) = place.json(&["status"]).await;
    assert_eq!(status["pairs"][0]["counts"]["leaving"], 1);
}

#[tokio::test]
async fn a_plan_states_when_a_deactivated_account_is_deleted() {
    let (_servers, place) = with_rules("disabled = \"delete\"\ngrace = \"7d\"").await;
    let plan = place.run(&["plan", "--list"]).await;
    plan.ended(0).says("because: disabled in Keycloak; the account is deleted on 20").says("unless the user returns");
}
