//! The scope of a policy: who is synced, who leaves it, and what proves nothing about it.

use usersync::{
    demo::stack::Stack,
    model::{Scope, Subject, Unsupported},
    store::StoreReads,
};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, UserChange},
};

use super::support::{STAFF, World, policy, world_with};

/// Starts a realm with its staff and two guests, where this is the scope.
async fn scoped(json: &str) -> World {
    let scope: Scope = serde_json::from_str(json).expect("a scope");
    let w = world_with(policy(|policy| policy.scope = scope)).await;
    let guests = (0..2).map(|number| NewUser::named(format!("guest{number}")).in_groups(&["/guests"]));
    w.realm().import_users(guests).expect("imported");
    w
}

fn group(w: &World, path: &str) -> String {
    w.realm().snapshot().group(path).expect("it exists").id.clone()
}

#[tokio::test]
async fn only_members_of_a_required_group_get_accounts() {
    let w = scoped(r#"{"required_groups": ["/staff"]}"#).await;
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!((report.users, report.in_scope, report.unchanged), (STAFF + 2, STAFF, STAFF));
    assert!(w.has_account("staff0") && !w.has_account("guest0"));
}

#[tokio::test]
async fn a_user_that_enters_or_leaves_a_required_group_gets_or_loses_access_at_once() {
    let w = scoped(r#"{"required_groups": ["/staff"]}"#).await;
    w.realm().join(&w.id("guest0"), &group(&w, "/staff")).await.expect("joined");
    w.settled().await;
    assert!(w.account("guest0").active);
    w.realm().leave(&w.id("guest0"), &group(&w, "/staff")).await.expect("left");
    w.settled().await;
    assert!(!w.account("guest0").active);
    let changes = w.changes_of(&w.id("guest0")).await;
    assert!(changes.iter().any(|change| change.verb == "deactivate"), "{changes:?}");
    w.realm().join(&w.id("guest0"), &group(&w, "/staff")).await.expect("joined");
    w.settled().await;
    assert!(w.account("guest0").active);
}

#[tokio::test]
async fn only_users_with_a_verified_e_mail_address_are_in_scope_if_the_policy_says_so() {
    let w = scoped(r#"{"email_verified": true}"#).await;
    assert!(!w.has_account("staff0"));
    let verified = |on| UserChange { email_verified: Some(on), ..UserChange::default() };
    w.realm().update_user(&w.id("staff0"), verified(true)).await.expect("updated");
    w.settled().await;
    assert!(w.account("staff0").active && !w.has_account("staff1"));
    w.realm().update_user(&w.id("staff0"), verified(false)).await.expect("updated");
    w.settled().await;
    assert!(!w.account("staff0").active);
    w.realm().update_user(&w.id("staff0"), verified(true)).await.expect("updated");
    w.settled().await;
    // A user of whom Keycloak does not say it is not removed.
    let without = |list: &mut serde_json::Value| {
        for user in list.as_array_mut().into_iter().flatten() {
            user.as_object_mut().map(|user| user.remove("emailVerified"));
        }
    };
    w.servers.keycloak.faults.add(Fault::edit(without).path("/users"));
    let report = w.run().await;
    let why = "Keycloak does not say whether the e-mail address is verified";
    assert!(report.unconfirmed.iter().any(|text| text.contains(why)), "{report:?}");
    assert!(w.account("staff0").active);
}

#[tokio::test]
async fn a_required_group_that_does_not_exist_removes_nobody_and_is_reported_with_a_similar_one() {
    let w = scoped(r#"{"required_groups": ["/staff"]}"#).await;
    w.realm().rename_group(&group(&w, "/staff"), "staffs").await.expect("renamed");
    w.calm().await;
    // An event about one of them, too, removes nothing.
    let change = UserChange { first_name: Some("New".to_owned()), ..UserChange::default() };
    w.realm().update_user(&w.id("staff1"), change).await.expect("updated");
    w.calm().await;
    let report = w.run().await;
    let reported = report.unconfirmed.iter().find(|why| why.contains("Keycloak lists no group /staff, which"));
    assert!(reported.is_some_and(|why| why.contains("A similar group is /staffs.")), "{report:?}");
    assert_eq!(report.in_scope, 0);
    for number in 0..STAFF {
        assert!(w.account(&format!("staff{number}")).active);
    }
    w.realm().rename_group(&group(&w, "/staffs"), "staff").await.expect("renamed");
    w.calm().await;
    let report = w.run().await;
    assert!(report.unconfirmed.total() == 0 && report.in_scope == STAFF, "{report:?}");
}

#[tokio::test]
async fn a_member_list_that_lacks_users_does_not_put_them_out_of_scope() {
    let w = scoped(r#"{"required_groups": ["/staff"]}"#).await;
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = serde_json::json!([])).path("/members"));
    let plan = w.dry_run().await;
    assert_eq!(plan.planned.get("deactivate"), None, "{plan:?}");
    w.run().await;
    for number in 0..STAFF {
        assert!(w.account(&format!("staff{number}")).active);
    }
}

#[tokio::test]
async fn users_that_fall_out_of_scope_together_wait_for_approval_beyond_the_limit() {
    let w = scoped(r#"{"excluded_groups": ["/left"]}"#).await;
    w.realm().switch_webhook(false);
    let left = w.realm().create_group(None, "left").await.expect("created");
    for number in 0..STAFF {
        w.realm().join(&w.id(&format!("staff{number}")), &left).await.expect("joined");
    }
    let report = w.run().await;
    assert!(report.held >= STAFF, "{report:?}");
    assert!((0..STAFF).all(|number| w.account(&format!("staff{number}")).active));
}

#[tokio::test]
async fn a_condition_that_cannot_be_applied_to_a_user_changes_nothing_for_that_user() {
    let w = scoped(r#"{"condition": "{{ 'maybe' if username == 'staff3' else true }}"}"#).await;
    let report = w.run().await;
    let unconfirmed = report.unconfirmed.iter().find(|text| text.contains("staff3"));
    let why = "cannot apply the scope's condition: it renders \"maybe\", not true or false";
    assert!(unconfirmed.is_some_and(|text| text.contains(why)), "{report:?}");
    assert!(!w.has_account("staff3") && w.has_account("staff4") && w.has_account("guest1"));
}

/// Returns the users that are stored as undecided, each with the reason.
async fn undecided(w: &World) -> Vec<(Subject, String)> {
    let all = w.stack.store.unsupported(&Stack::pair()).await.expect("read");
    let undecided = all.into_iter().filter(|one| one.key == Unsupported::UNDECIDED);
    undecided.map(|one| (one.subject, one.why)).collect()
}

#[tokio::test]
async fn a_task_records_that_its_users_scope_is_undecided_and_a_run_forgets_it_once_it_is_decided() {
    let w = scoped(r#"{"required_groups": ["/staff"]}"#).await;
    w.realm().switch_webhook(false);
    w.realm().rename_group(&group(&w, "/staff"), "staffs").await.expect("renamed");
    w.realm().switch_webhook(true);
    let change = UserChange { first_name: Some("New".to_owned()), ..UserChange::default() };
    for login in ["staff1", "guest0"] {
        w.realm().update_user(&w.id(login), change.clone()).await.expect("updated");
    }
    // A user who is disabled needs no decision.
    w.realm().update_user(&w.id("guest1"), UserChange::enabled(false)).await.expect("disabled");
    w.calm().await;
    let mut found = undecided(&w).await;
    found.sort();
    let mut expected = [w.id("staff1"), w.id("guest0")].map(Subject::user);
    expected.sort();
    assert_eq!(found.iter().map(|(subject, _)| subject.clone()).collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|(_, why)| why.starts_with("Keycloak lists no group /staff, which")), "{found:?}");
    // A run also forgets a user that is gone.
    let gone = w.id("guest0");
    w.realm().delete_user_without_event(&gone).expect("deleted");
    w.run().await;
    let left: Vec<Subject> = undecided(&w).await.into_iter().map(|(subject, _)| subject).collect();
    assert!(left.contains(&Subject::user(w.id("staff1"))) && !left.contains(&Subject::user(gone)), "{left:?}");
    w.realm().rename_group(&group(&w, "/staffs"), "staff").await.expect("renamed");
    w.run().await;
    assert_eq!(undecided(&w).await, []);
}

#[tokio::test]
async fn a_run_reports_a_condition_that_cannot_be_applied_once_with_the_number_of_users() {
    let w = scoped(r#"{"condition": "{{ 'maybe' if username != 'staff3' else true }}"}"#).await;
    let report = w.dry_run().await;
    assert_eq!(report.unconfirmed.len(), 1, "{report:?}");
    assert!(report.unconfirmed[0].contains(" and 10 more users: cannot apply the scope's condition"), "{report:?}");
}

#[tokio::test]
async fn a_member_list_that_fails_puts_no_excluded_user_into_the_scope() {
    let w = scoped(r#"{"excluded_groups": ["/guests"]}"#).await;
    // One was active before it became a guest.
    w.realm().join(&w.id("staff1"), &group(&w, "/guests")).await.expect("joined");
    w.settled().await;
    assert!(!w.account("staff1").active && !w.has_account("guest0"));
    let members = format!("/groups/{}/members", group(&w, "/guests"));
    w.servers.keycloak.faults.add(Fault::status(500, "").path(&members));
    w.run().await;
    assert!(!w.account("staff1").active && !w.has_account("guest0"));
    w.servers.keycloak.faults.clear();
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = serde_json::json!([])).path(&members));
    w.run().await;
    assert!(!w.account("staff1").active);
}

#[tokio::test]
async fn a_parent_group_that_is_renamed_removes_nobody_from_the_scope() {
    let w = world_with(policy(|policy| {
        policy.scope = serde_json::from_str(r#"{"required_groups": ["/teams/*"]}"#).expect("a scope");
    }))
    .await;
    let users = (0..3).map(|number| NewUser::named(format!("red{number}")).in_groups(&["/teams/red"]));
    w.realm().import_users(users).expect("imported");
    w.run().await;
    assert!(w.account("red0").active);
    // A user out of scope is judged right before, so that no answer of that time may be used again.
    let change = || UserChange { first_name: Some("New".to_owned()), ..UserChange::default() };
    w.realm().update_user(&w.id("staff1"), change()).await.expect("updated");
    w.settled().await;
    w.realm().rename_group(&group(&w, "/teams"), "squads").await.expect("renamed");
    w.realm().update_user(&w.id("red0"), change()).await.expect("updated");
    w.calm().await;
    w.run().await;
    assert!((0..3).all(|number| w.account(&format!("red{number}")).active));
}
