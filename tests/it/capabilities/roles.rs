//! Roles in the policy: who is in scope and in which groups by them, and what proves nothing about it.

use usersync::{
    demo::stack::Stack,
    model::{Policy, RunTrigger},
    store::StoreReads,
};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, UserChange},
};

use super::support::{STAFF, World, options, policy, servers, world_with};

/// The client of usersync in the simulated realm.
const CLIENT: &str = "usersync";

/// Starts a realm with its staff and two guests, where this is the policy. `prepare` grants roles before the first run.
async fn with_policy(json: &str, prepare: impl AsyncFnOnce(&usersync_simulators::keycloak::RealmHandle)) -> World {
    let mut stack = options();
    let read: Policy = serde_json::from_str(json).expect("a policy");
    stack.policy.scope = read.scope;
    stack.policy.groups = read.groups;
    let servers = servers(stack).await;
    let guests = (0..2).map(|number| NewUser::named(format!("guest{number}")).in_groups(&["/guests"]));
    servers.realm.import_users(guests).expect("imported");
    servers.realm.set_client_roles(CLIENT, &["view-users", "view-events", "view-realm", "view-clients"]);
    servers.realm.create_role("jira", &[]).await.expect("created");
    prepare(&servers.realm).await;
    super::support::on(servers).await
}

fn group(w: &World, path: &str) -> String {
    w.realm().snapshot().group(path).expect("it exists").id.clone()
}

fn id(realm: &usersync_simulators::keycloak::RealmHandle, login: &str) -> String {
    super::support::id_of(realm, login)
}

/// Waits until this number of full reconciles that events caused have ended.
async fn runs_of_events(w: &World, number: usize) {
    for _ in 0..500 {
        let runs = w.stack.store.runs(Some(&Stack::pair()), 100).await.expect("readable");
        let ended = runs.iter().filter(|run| run.trigger == RunTrigger::Event && run.ended_at.is_some());
        if ended.count() >= number {
            return w.settled().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the events caused no full reconcile");
}

const REQUIRED: &str = r#"{"scope": {"required_roles": ["jira"]}}"#;

#[tokio::test]
async fn only_holders_of_a_required_role_get_accounts_however_they_have_it() {
    let w = with_policy(REQUIRED, async |realm| {
        // Directly, by a composite role of a client, by the group above a group, and by the default role.
        realm.set_role(&id(realm, "staff0"), "jira", true).await.expect("granted");
        let client = realm.create_client_with_roles("portal", &["all"]).await.expect("created");
        realm.set_composite((Some(&client), "all"), (None, "jira"), true).await.expect("set");
        realm.set_client_role(&id(realm, "staff1"), &client, "all", true).await.expect("granted");
        let eng = realm.create_group(None, "eng").await.expect("created");
        let core = realm.create_group(Some(&eng), "core").await.expect("created");
        realm.join(&id(realm, "staff2"), &core).await.expect("joined");
        realm.set_group_role(&eng, "jira", true).await.expect("granted");
    })
    .await;
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!((report.users, report.in_scope, report.unchanged), (STAFF + 2, 3, 3));
    for login in ["staff0", "staff1", "staff2"] {
        assert!(w.account(login).active, "{login}");
    }
    assert!(!w.has_account("staff3") && !w.has_account("guest0"));
    let everybody = w.realm().set_composite((None, "default-roles-acme"), (None, "jira"), true);
    everybody.await.expect("set");
    runs_of_events(&w, 1).await;
    assert!(w.account("staff3").active && w.account("guest0").active);
}

#[tokio::test]
async fn a_user_that_gains_or_loses_a_required_role_gets_or_loses_access_at_once() {
    let w = with_policy(REQUIRED, async |_| {}).await;
    let user = w.id("guest0");
    w.realm().set_role(&user, "jira", true).await.expect("granted");
    w.settled().await;
    assert!(w.account("guest0").active);
    w.realm().set_role(&user, "jira", false).await.expect("revoked");
    w.settled().await;
    assert!(!w.account("guest0").active);
    // By a group.
    w.realm().set_group_role(&group(&w, "/guests"), "jira", true).await.expect("granted");
    runs_of_events(&w, 1).await;
    assert!(w.account("guest0").active && w.account("guest1").active);
    w.realm().set_group_role(&group(&w, "/guests"), "jira", false).await.expect("revoked");
    runs_of_events(&w, 2).await;
    assert!(!w.account("guest0").active && !w.account("guest1").active);
}

#[tokio::test]
async fn a_group_that_is_moved_below_another_inherits_its_roles() {
    let w = with_policy(REQUIRED, async |realm| {
        let eng = realm.create_group(None, "eng").await.expect("created");
        realm.set_group_role(&eng, "jira", true).await.expect("granted");
    })
    .await;
    let guests = group(&w, "/guests");
    w.realm().move_group(&guests, Some(&group(&w, "/eng"))).await.expect("moved");
    w.settled().await;
    assert!(w.account("guest0").active && w.account("guest1").active);
    w.realm().move_group(&guests, None).await.expect("moved");
    w.settled().await;
    assert!(!w.account("guest0").active);
}

#[tokio::test]
async fn a_role_that_is_renamed_or_deleted_removes_nobody_and_is_reported_with_a_similar_one() {
    let w = with_policy(REQUIRED, async |realm| {
        for number in 0..STAFF {
            realm.set_role(&id(realm, &format!("staff{number}")), "jira", true).await.expect("granted");
        }
    })
    .await;
    w.realm().rename_role("jira", "jiras").await.expect("renamed");
    w.calm().await;
    // An event about one of them, too, removes nothing.
    let change = UserChange { first_name: Some("New".to_owned()), ..UserChange::default() };
    w.realm().update_user(&w.id("staff1"), change).await.expect("updated");
    w.calm().await;
    let report = w.run().await;
    let reported = report.unconfirmed.iter().find(|why| why.contains("Keycloak lists no role jira, which the policy"));
    assert!(reported.is_some_and(|why| why.contains("A similar role is jiras.")), "{report:?}");
    assert_eq!((report.unconfirmed.len(), report.in_scope), (1, 0), "{report:?}");
    assert!((0..STAFF).all(|number| w.account(&format!("staff{number}")).active));
    w.realm().delete_role("jiras").await.expect("deleted");
    w.calm().await;
    w.run().await;
    assert!((0..STAFF).all(|number| w.account(&format!("staff{number}")).active));
}

#[tokio::test]
async fn a_missing_right_removes_nobody_and_is_reported() {
    let w = with_policy(REQUIRED, async |realm| {
        realm.set_role(&id(realm, "staff0"), "jira", true).await.expect("granted");
    })
    .await;
    assert!(w.account("staff0").active);
    w.realm().switch_webhook(false);
    w.realm().set_role(&w.id("staff0"), "jira", false).await.expect("revoked");
    for path in ["/roles", "/clients", "/roles/jira/users"] {
        w.servers.keycloak.faults.add(Fault::status(403, "{}").path(path));
        let report = w.run().await;
        let why = "the roles that the policy names cannot be read";
        assert!(
            report.unconfirmed.iter().any(|text| text.contains(why) && text.contains("lacks the role")),
            "{report:?}"
        );
        assert!(w.account("staff0").active, "{path}");
        w.servers.keycloak.faults.clear();
    }
    w.run().await;
    assert!(!w.account("staff0").active);
}

#[tokio::test]
async fn an_error_about_roles_does_not_end_the_run() {
    let w = with_policy(REQUIRED, async |realm| {
        realm.set_role(&id(realm, "staff0"), "jira", true).await.expect("granted");
        realm.create_client_with_roles("portal", &["all"]).await.expect("created");
    })
    .await;
    w.realm().switch_webhook(false);
    let why = "the roles that the policy names cannot be read";
    for status in [400, 500] {
        w.servers.keycloak.faults.add(Fault::status(status, "{}").path("/roles/jira/users"));
        let report = w.run().await;
        assert!(report.unconfirmed.iter().any(|text| text.contains(why)), "{status} {report:?}");
        assert!(w.account("staff0").active, "{status}");
        w.servers.keycloak.faults.clear();
    }
    // A client that is deleted during the read has no roles.
    let path = format!("/clients/{}/roles", w.realm().client_id("portal").expect("it exists"));
    let gone = Fault::status(404, r#"{"error":"Could not find client"}"#).header("content-type", "application/json");
    w.servers.keycloak.faults.add(gone.path(path));
    let report = w.run().await;
    assert!(!report.has_problems() && report.in_scope == 1, "{report:?}");
}

#[tokio::test]
async fn a_list_of_holders_that_lacks_users_takes_no_group_that_a_role_gives() {
    let json = r#"{"groups": {"constant": [{"name": "jira-admins", "roles": ["jira"]}]}}"#;
    let w = with_policy(json, async |realm| {
        realm.set_role(&id(realm, "staff0"), "jira", true).await.expect("granted");
    })
    .await;
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = serde_json::json!([])).path("/roles/jira/users"));
    let report = w.run().await;
    let lacks = "role jira: Keycloak's list of its holders lacks staff0";
    assert!(report.planned.is_empty() && report.unconfirmed.iter().any(|why| why.starts_with(lacks)), "{report:?}");
    assert_eq!(w.members("jira-admins"), ["staff0"]);
}

#[tokio::test]
async fn a_list_of_holders_that_lacks_users_does_not_put_them_out_of_scope() {
    let w = with_policy(REQUIRED, async |realm| {
        for number in 0..STAFF {
            realm.set_role(&id(realm, &format!("staff{number}")), "jira", true).await.expect("granted");
        }
    })
    .await;
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = serde_json::json!([])).path("/roles/jira/users"));
    let report = w.run().await;
    let lacks = "role jira: Keycloak's list of its holders lacks staff0";
    assert!(report.unconfirmed.iter().any(|why| why.starts_with(lacks)), "{report:?}");
    assert_eq!((report.in_scope, report.planned.len()), (STAFF, 0), "{report:?}");
    assert!((0..STAFF).all(|number| w.account(&format!("staff{number}")).active));
}

#[tokio::test]
async fn holders_of_an_excluded_role_are_left_out_and_leave() {
    let w = with_policy(r#"{"scope": {"excluded_roles": ["jira", "portal/left"]}}"#, async |realm| {
        realm.set_role(&id(realm, "guest0"), "jira", true).await.expect("granted");
        realm.create_client_with_roles("portal", &["left"]).await.expect("created");
    })
    .await;
    assert!(!w.has_account("guest0") && w.account("guest1").active && w.account("staff0").active);
    let client = w.realm().client_id("portal").expect("it exists");
    w.realm().set_client_role(&w.id("staff0"), &client, "left", true).await.expect("granted");
    w.settled().await;
    assert!(!w.account("staff0").active);
    w.realm().set_client_role(&w.id("staff0"), &client, "left", false).await.expect("revoked");
    w.settled().await;
    assert!(w.account("staff0").active);
    // A role that is not listed may have been renamed: none of its holders comes in, nobody leaves, and it is reported.
    w.realm().rename_role("jira", "jiras").await.expect("renamed");
    w.calm().await;
    let report = w.run().await;
    assert!(report.unconfirmed.iter().any(|why| why.contains("Keycloak lists no role jira,")), "{report:?}");
    assert!(!w.has_account("guest0") && w.account("guest1").active && w.account("staff0").active);
}

#[tokio::test]
async fn a_role_is_a_group_in_the_target() {
    let json = r#"{"groups": {"constant": [{"name": "jira-admins", "roles": ["portal/admin", "jira"]}]}}"#;
    let w = with_policy(json, async |realm| {
        realm.set_role(&id(realm, "staff0"), "jira", true).await.expect("granted");
        let client = realm.create_client_with_roles("portal", &["admin"]).await.expect("created");
        realm.set_client_role(&id(realm, "staff1"), &client, "admin", true).await.expect("granted");
    })
    .await;
    assert_eq!(w.members("jira-admins"), ["staff0", "staff1"]);
    let client = w.realm().client_id("portal").expect("it exists");
    w.realm().set_client_role(&w.id("staff1"), &client, "admin", false).await.expect("revoked");
    w.realm().set_role(&w.id("staff2"), "jira", true).await.expect("granted");
    w.settled().await;
    assert_eq!(w.members("jira-admins"), ["staff0", "staff2"]);
    let changes = w.changes_of(&w.id("staff2")).await;
    assert!(changes.iter().any(|change| change.verb == "add_member"), "{changes:?}");
    // A role that does not exist removes nobody.
    w.realm().delete_role("jira").await.expect("deleted");
    w.calm().await;
    let report = w.run().await;
    assert!(report.unconfirmed.iter().any(|why| why.contains("Keycloak lists no role jira,")), "{report:?}");
    assert_eq!(w.members("jira-admins"), ["staff0", "staff2"]);
    assert!(w.account("staff0").active);
}

#[tokio::test]
async fn a_policy_without_roles_reads_none_and_hears_no_event_of_them() {
    let w = world_with(policy(|policy| {
        policy.scope = serde_json::from_str(r#"{"required_groups": ["/staff"]}"#).expect("a scope");
    }))
    .await;
    w.realm().create_role("jira", &[]).await.expect("created");
    w.realm().set_role(&w.id("staff0"), "jira", true).await.expect("granted");
    w.realm().set_group_role(&group(&w, "/staff"), "jira", true).await.expect("granted");
    w.realm().rename_role("jira", "other").await.expect("renamed");
    w.settled().await;
    w.run().await;
    let runs = w.stack.store.runs(Some(&Stack::pair()), 100).await.expect("readable");
    assert!(runs.iter().all(|run| run.trigger != RunTrigger::Event), "{runs:?}");
    let is_role = |path: &str| path.contains("role") || path.contains("/clients");
    let entries = w.servers.keycloak.journal.entries();
    assert!(entries.iter().all(|entry| !is_role(&entry.path)), "{entries:?}");
}
