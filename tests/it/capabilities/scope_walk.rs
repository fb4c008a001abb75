//! A full reconcile that reads the members of the required groups in place of all users.

use usersync::model::Policy;
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, UserChange},
};

use super::support::{STAFF, World, policy, world_with};

/// Number of users outside the required group.
const OTHERS: usize = 60;

/// Starts a realm with its staff, who are required to be in their group, and many other users.
async fn world() -> World {
    world_of(r#"{"scope": {"required_groups": ["/staff"]}}"#).await
}

async fn world_of(json: &str) -> World {
    let read: Policy = serde_json::from_str(json).expect("a policy");
    let options = policy(|policy| {
        policy.scope = read.scope;
        policy.leavers = read.leavers;
    });
    let servers = super::support::servers(options).await;
    let others = (0..OTHERS).map(|number| NewUser::named(format!("other{number}")).in_groups(&["/others"]));
    servers.realm.import_users(others).expect("imported");
    let w = super::support::on(servers).await;
    w.realm().switch_webhook(false);
    w
}

fn group(w: &World, path: &str) -> String {
    w.realm().snapshot().group(path).expect("it exists").id.clone()
}

/// Returns the number of requests that list users.
fn listings(w: &World) -> usize {
    w.servers.keycloak.journal.matching(|entry| entry.path.ends_with("/users")).len()
}

#[tokio::test]
async fn users_outside_the_required_groups_are_not_read() {
    let w = world().await;
    assert_eq!(listings(&w), 0);
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!((report.users, report.in_scope, report.unchanged), (STAFF, STAFF, STAFF));
    assert!(report.only_scope && w.account("staff0").active && !w.has_account("other0"));
    assert_eq!(listings(&w), 0);
    // A new member is found, and its other groups with it.
    w.realm().set_member_without_event(&w.id("other0"), &group(&w, "/staff"), true).expect("joined");
    w.run().await;
    assert!(w.account("other0").active);
    assert_eq!(w.members("others"), ["other0"]);
}

#[tokio::test]
async fn a_linked_user_that_is_no_member_any_more_is_read_by_its_id_and_leaves() {
    let w = world().await;
    w.realm().set_member_without_event(&w.id("staff0"), &group(&w, "/staff"), false).expect("left");
    w.realm().delete_user_without_event(&w.id("staff1")).expect("deleted");
    let report = w.run().await;
    assert!(report.only_scope && !w.account("staff0").active && !w.account("staff1").active, "{report:?}");
    assert_eq!(report.done.get("deactivate"), Some(&2), "{report:?}");
    // The users of inactive accounts are not read again.
    let by_id = || {
        w.servers
            .keycloak
            .journal
            .matching(|entry| entry.path.contains("/users/") && !entry.path.ends_with("/count"))
            .len()
    };
    w.run().await;
    let before = by_id();
    let again = w.run().await;
    assert!(again.planned.is_empty() && again.only_scope, "{again:?}");
    assert_eq!(by_id(), before);
}

#[tokio::test]
async fn a_user_out_of_scope_meets_the_strictest_rule_for_leavers() {
    let json =
        r#"{"scope": {"required_groups": ["/staff"]}, "leavers": {"deleted": "nothing", "out_of_scope": "delete"}}"#;
    let w = world_of(json).await;
    w.realm().change_without_event(&w.id("staff0"), &UserChange::enabled(false)).expect("disabled");
    w.run().await;
    assert!(!w.account("staff0").active);
    w.realm().set_member_without_event(&w.id("staff0"), &group(&w, "/staff"), false).expect("left");
    let report = w.run().await;
    assert!(report.only_scope && !w.has_account("staff0"), "{report:?}");
}

#[tokio::test]
async fn many_linked_users_outside_the_required_groups_have_all_users_read() {
    let w = world().await;
    let staff = group(&w, "/staff");
    for number in 0..STAFF - 1 {
        w.realm().set_member_without_event(&w.id(&format!("staff{number}")), &staff, false).expect("left");
    }
    let before = listings(&w);
    let report = w.run().await;
    assert!(!report.only_scope && listings(&w) > before, "{report:?}");
}

#[tokio::test]
async fn the_groups_are_not_read_again_for_each_linked_user_outside_the_required_groups() {
    let w = world().await;
    let groups = || {
        let reads_groups =
            |path: &str| path.contains("/groups") && !path.contains("/users/") && !path.contains("/members");
        w.servers.keycloak.journal.matching(|entry| reads_groups(&entry.path)).len()
    };
    let before = groups();
    w.dry_run().await;
    let in_one_run = groups() - before;
    let staff = group(&w, "/staff");
    for number in 0..3 {
        w.realm().set_member_without_event(&w.id(&format!("staff{number}")), &staff, false).expect("left");
    }
    let before = groups();
    let report = w.dry_run().await;
    assert!(report.only_scope && report.planned_total() == 3, "{report:?}");
    assert_eq!(groups() - before, in_one_run);
}

#[tokio::test]
async fn a_member_list_that_lacks_users_removes_nobody() {
    let w = world().await;
    let members = format!("/groups/{}/members", group(&w, "/staff"));
    let half = |list: &mut serde_json::Value| {
        if let Some(list) = list.as_array_mut() {
            list.truncate(STAFF / 2);
        }
    };
    w.servers.keycloak.faults.add(Fault::edit(half).path(&members));
    let report = w.run().await;
    let lacks = |why: &String| why.starts_with("group /staff: Keycloak's member list lacks staff");
    assert!(report.only_scope && report.unconfirmed.iter().any(lacks), "{report:?}");
    assert!((0..STAFF).all(|number| w.account(&format!("staff{number}")).active));
    // A list that is empty or fails has all users read.
    for fault in [Fault::edit(|list| *list = serde_json::json!([])), Fault::status(500, "")] {
        w.servers.keycloak.faults.clear();
        w.servers.keycloak.faults.add(fault.path(&members));
        let before = listings(&w);
        let report = w.run().await;
        assert!(!report.only_scope && listings(&w) > before, "{report:?}");
        assert!((0..STAFF).all(|number| w.account(&format!("staff{number}")).active));
    }
}

#[tokio::test]
async fn all_users_are_read_if_a_required_group_does_not_exist_or_most_users_are_members() {
    let w = world().await;
    w.realm().rename_group(&group(&w, "/staff"), "staffs").await.expect("renamed");
    let report = w.run().await;
    assert!(!report.only_scope && report.users == STAFF + OTHERS, "{report:?}");
    assert!((0..STAFF).all(|number| w.account(&format!("staff{number}")).active));
    let options = policy(|policy| {
        policy.scope = serde_json::from_str(r#"{"required_groups": ["/staff"]}"#).expect("a scope");
    });
    let most = world_with(options).await;
    assert!(!most.run().await.only_scope);
}
