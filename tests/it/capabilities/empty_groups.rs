//! Groups without a member in scope, where the policy does not create them or deletes them.

use usersync::model::{ApprovalKind, Limited, Subject};
use usersync_simulators::{Fault, keycloak::NewUser};

use super::{
    group_rules::{group, groups_of, ruled, ruled_with, rules},
    support::{World, on, policy, servers},
};

const SKIP: &str = r#"{"named_by": "path", "empty": "skip"}"#;
const DELETE: &str = r#"{"named_by": "path", "empty": "delete"}"#;
const LIMITED: ApprovalKind = ApprovalKind::SafetyLimit(Limited::DeleteGroup);

async fn leave(w: &World, login: &str, path: &str) {
    w.realm().leave(&w.id(login), &group(w, path)).await.expect("left");
    w.settled().await;
}

async fn join(w: &World, login: &str, path: &str) {
    w.realm().join(&w.id(login), &group(w, path)).await.expect("joined");
    w.settled().await;
}

async fn nothing_is_planned(w: &World) {
    let (plan, report) = (w.dry_run().await, w.run().await);
    assert!(plan.planned.is_empty() && report.planned.is_empty() && !report.has_problems(), "{plan:?}\n{report:?}");
}

#[tokio::test]
async fn a_group_is_created_once_it_has_a_member() {
    let w = ruled(SKIP).await;
    let plan = w.dry_run().await;
    let report = w.run().await;
    assert_eq!((plan.planned["create_group"], report.done["create_group"]), (3, 3), "{report:?}");
    // Only the groups below have members in /ops.
    assert_eq!(groups_of(&w), ["eng", "eng-admins", "ops-admins", "staff"]);
    nothing_is_planned(&w).await;
    w.realm().create_group(Some(&group(&w, "/ops")), "night").await.expect("created");
    w.settled().await;
    assert!(!groups_of(&w).contains(&"ops-night".to_owned()));
    join(&w, "ben", "/ops/night").await;
    assert_eq!(w.members("ops-night"), ["ben"]);
    leave(&w, "ben", "/ops/night").await;
    nothing_is_planned(&w).await;
    assert!(groups_of(&w).contains(&"ops-night".to_owned()), "groups that exist stay");
    let created = w.realm().create_group(None, "late").await.expect("created");
    w.settled().await;
    w.realm().join(&w.id("ann"), &created).await.expect("joined");
    w.run().await;
    assert_eq!(w.members("late"), ["ann"]);
}

#[tokio::test]
async fn members_out_of_scope_do_not_count_and_those_of_sub_groups_count_as_the_policy_says() {
    let w = ruled_with(policy(|policy| {
        policy.groups = rules(r#"{"named_by": "path", "empty": "skip", "members": "with_subgroups"}"#);
        policy.scope = serde_json::from_str(r#"{"excluded_logins": ["ann"]}"#).expect("a scope");
    }))
    .await;
    w.run().await;
    assert_eq!(groups_of(&w), ["eng", "ops", "ops-admins", "staff"]);
    w.realm().rename_group(&group(&w, "/eng/admins"), "chiefs").await.expect("renamed");
    w.settled().await;
    assert_eq!(groups_of(&w), ["eng", "ops", "ops-admins", "staff"]);
    nothing_is_planned(&w).await;
}

#[tokio::test]
async fn groups_that_share_a_name_are_created_for_the_member_of_one_of_them() {
    let w = ruled(r#"{"merged": ["admins"], "empty": "skip"}"#).await;
    w.run().await;
    assert_eq!(w.members("admins"), ["ann", "ben"]);
    for user in ["ann", "ben"] {
        w.realm().create_user(NewUser::named(format!("{user}2"))).await.expect("created");
    }
    for (parent, name) in [("/eng", "night"), ("/ops", "night")] {
        w.realm().create_group(Some(&group(&w, parent)), name).await.expect("created");
    }
    w.settled().await;
    nothing_is_planned(&w).await;
}

#[tokio::test]
async fn an_empty_group_and_another_one_of_its_name_are_a_conflict_that_no_run_works_on_again() {
    for json in [r#"{"empty": "skip"}"#, r#"{"empty": "delete"}"#] {
        let w = ruled(json).await;
        w.realm().leave(&w.id("ben"), &group(&w, "/ops/admins")).await.expect("left");
        w.settled().await;
        for _ in 0..3 {
            let report = w.run().await;
            assert_eq!((report.raised, report.planned_total()), (0, 0), "{json}: {report:?}");
            let why = "two groups in Keycloak have the name admins in the target: /eng/admins and /ops/admins";
            assert!(report.unsupported.iter().all(|text| text.contains(why)), "{json}: {report:?}");
            assert_eq!(report.unsupported.len(), 2, "{json}: {report:?}");
            assert_eq!(groups_of(&w), ["eng", "staff"], "{json}");
            w.settled().await;
        }
        assert_eq!(w.dry_run().await.planned_total(), 0, "{json}");
    }
}

#[tokio::test]
async fn an_empty_group_that_usersync_created_is_deleted() {
    let w = ruled(DELETE).await;
    w.run().await;
    join(&w, "ben", "/ops").await;
    assert_eq!(w.members("ops"), ["ben"]);
    leave(&w, "ben", "/ops").await;
    assert!(groups_of(&w).contains(&"ops".to_owned()), "only a full reconcile deletes it");
    let plan = w.dry_run().await;
    let lines: Vec<_> = plan.lines.iter().map(|line| (line.operation.to_string(), line.cause.clone())).collect();
    assert_eq!(lines, [("delete group ops".to_owned(), Some("it is empty (groups.empty = \"delete\")".to_owned()))]);
    let report = w.run().await;
    assert_eq!((report.done["delete_group"], report.tally.adds_up()), (1, true), "{report:?}");
    assert!(!groups_of(&w).contains(&"ops".to_owned()));
    nothing_is_planned(&w).await;
    join(&w, "ben", "/ops").await;
    assert_eq!(w.members("ops"), ["ben"], "it is created again");
}

#[tokio::test]
async fn a_group_that_is_deleted_in_keycloak_is_deleted_once_it_is_empty() {
    let w = ruled(DELETE).await;
    w.run().await;
    w.realm().delete_group(&group(&w, "/ops")).await.expect("deleted");
    w.settled().await;
    assert_eq!(w.members("ops-admins"), Vec::<String>::new());
    w.run().await;
    let report = w.run().await;
    assert!(!groups_of(&w).contains(&"ops-admins".to_owned()), "{report:?}");
    nothing_is_planned(&w).await;
}

#[tokio::test]
async fn a_group_with_other_members_or_that_existed_before_stays() {
    let servers = servers(policy(|policy| policy.groups = rules(r#"{"empty": "delete"}"#))).await;
    servers.jira.add_group("old");
    servers.realm.import_users(["one", "two"].map(|login| NewUser::named(login).in_groups(&["/old", "/new"]))).unwrap();
    let w = on(servers).await;
    w.settled().await;
    for (login, path) in [("one", "/old"), ("two", "/old"), ("one", "/new"), ("two", "/new")] {
        leave(&w, login, path).await;
    }
    w.jira().add_account(usersync_simulators::jira::NewAccount::named("visitor").in_groups(&["new"]));
    nothing_is_planned(&w).await;
    assert_eq!(
        (groups_of(&w), w.members("new")),
        (["new", "old", "staff"].map(str::to_owned).to_vec(), vec!["visitor".into()])
    );
}

#[tokio::test]
async fn deletions_above_the_safety_limit_wait_for_approval_and_are_read_again() {
    let w = ruled(DELETE).await;
    w.run().await;
    for number in 0..7 {
        w.realm().create_group(None, &format!("team{number}")).await.expect("created");
        join(&w, "ann", &format!("/team{number}")).await;
    }
    for number in 0..7 {
        leave(&w, "ann", &format!("/team{number}")).await;
    }
    let report = w.run().await;
    assert_eq!((report.held, w.waiting(LIMITED).await.len()), (7, 7), "{report:?}");
    assert_eq!(w.waiting(LIMITED).await[0], "delete group team0");
    // One has a member again, and so its deletion is withdrawn.
    join(&w, "ann", "/team1").await;
    w.run().await;
    assert_eq!(w.waiting(LIMITED).await.len(), 6);
    join(&w, "ann", "/team2").await;
    w.decide(LIMITED, true).await;
    let left: Vec<_> = groups_of(&w).into_iter().filter(|name| name.starts_with("team")).collect();
    assert_eq!(left, ["team1", "team2"]);
    assert_eq!((w.members("team1"), w.members("team2")), (vec!["ann".into()], vec!["ann".into()]));
    nothing_is_planned(&w).await;
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_is_recovered() {
    let w = ruled(DELETE).await;
    w.run().await;
    join(&w, "ben", "/ops").await;
    leave(&w, "ben", "/ops").await;
    let cut = w.jira().faults.add(Fault::cut_after().method("DELETE").path("/group?").once());
    w.try_run().await.ok();
    w.calm().await;
    assert_eq!(w.jira().faults.hits(cut), 1);
    let changes = w.changes().await;
    let deleted = changes.iter().rfind(|change| change.verb == "delete_group").expect("it is recorded");
    assert_eq!(deleted.subject, Subject::group(group(&w, "/ops")));
    nothing_is_planned(&w).await;
    join(&w, "ben", "/ops").await;
    assert_eq!(w.members("ops"), ["ben"]);
}

#[tokio::test]
async fn after_an_incomplete_read_no_group_is_deleted() {
    let w = ruled(DELETE).await;
    w.run().await;
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = serde_json::json!([])).path("/members"));
    let report = w.run().await;
    assert_eq!(report.planned.get("delete_group"), None, "{report:?}");
    assert_eq!(groups_of(&w), ["eng", "eng-admins", "ops-admins", "staff"]);
}
