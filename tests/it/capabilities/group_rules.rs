//! The groups of a policy: which are synced, and how they are named in the target.

use serde_json::json;
use usersync::{
    demo::stack::StackOptions,
    model::{FirstRun, GroupRules, Policy, RunOutcome},
};
use usersync_simulators::keycloak::NewUser;

use super::support::{World, on, policy, world_with};

/// Starts a realm with its staff and users in two teams, where these are the rules for groups.
async fn ruled(json: &str) -> World {
    ruled_with(policy(|policy| policy.groups = rules(json))).await
}

fn rules(json: &str) -> GroupRules {
    serde_json::from_str(json).expect("rules")
}

async fn ruled_with(options: StackOptions) -> World {
    let w = world_with(options).await;
    let user = |login: &str, path: &str| NewUser::named(login).in_groups(&[path, "/eng"]);
    w.realm().import_users([user("ann", "/eng/admins"), user("ben", "/ops/admins")]).expect("imported");
    w
}

fn group(w: &World, path: &str) -> String {
    w.realm().snapshot().group(path).expect("it exists").id.clone()
}

fn groups_of(w: &World) -> Vec<String> {
    let ours = |name: &&String| !name.starts_with("jira-");
    w.jira().snapshot().groups.keys().filter(ours).cloned().collect()
}

#[tokio::test]
async fn groups_of_one_name_in_two_places_are_told_apart_by_their_paths() {
    let w = ruled(r#"{"named_by": "path"}"#).await;
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!(groups_of(&w), ["eng", "eng-admins", "ops", "ops-admins", "staff"]);
    assert_eq!((w.members("eng-admins"), w.members("ops-admins")), (vec!["ann".into()], vec!["ben".into()]));
    // An event takes the same names.
    w.realm().join(&w.id("ann"), &group(&w, "/ops/admins")).await.expect("joined");
    w.realm().leave(&w.id("ann"), &group(&w, "/eng/admins")).await.expect("left");
    w.settled().await;
    assert_eq!((w.members("eng-admins"), w.members("ops-admins")), (vec![], vec!["ann".into(), "ben".into()]));
    let new = w.realm().create_group(Some(&group(&w, "/ops")), "night").await.expect("created");
    w.realm().join(&w.id("ben"), &new).await.expect("joined");
    w.settled().await;
    assert_eq!(w.members("ops-night"), ["ben"]);
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty(), "{again:?}");
}

#[tokio::test]
async fn without_such_rules_the_second_group_of_a_name_is_reported_with_the_setting() {
    let w = ruled("{}").await;
    let report = w.run().await;
    let reported = report.unsupported.iter().find(|why| why.contains("two groups in Keycloak have the name admins"));
    assert!(reported.is_some_and(|why| why.contains("groups.names")), "{report:?}");
}

#[tokio::test]
async fn names_come_from_prefix_suffix_and_table() {
    let w = ruled(r#"{"prefix": "kc-", "suffix": "-x", "names": {"/ops/admins": "Operators"}}"#).await;
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!(groups_of(&w), ["Operators", "kc-admins-x", "kc-eng-x", "kc-ops-x", "kc-staff-x"]);
    assert_eq!(w.members("Operators"), ["ben"]);
}

#[tokio::test]
async fn groups_that_are_left_out_are_neither_created_nor_reported() {
    let w = ruled(r#"{"only": ["/staff", "/eng/**", "/ops"], "excluded": ["/ops"]}"#).await;
    let report = w.run().await;
    assert!(!report.has_problems() && report.unsupported.total() == 0, "{report:?}");
    // Another group of the same name is left out, so it is no conflict.
    assert_eq!(groups_of(&w), ["admins", "staff"]);
    assert_eq!(w.members("admins"), ["ann"]);
    w.realm().join(&w.id("staff1"), &group(&w, "/ops/admins")).await.expect("joined");
    w.settled().await;
    assert_eq!(w.members("admins"), ["ann"]);
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty() && again.unsupported.total() == 0, "{again:?}");
}

#[tokio::test]
async fn a_group_that_is_left_out_later_loses_the_memberships_that_usersync_added_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StackOptions { store: Some(folder.path().join("usersync.db")), ..policy(|_| {}) };
    let w = ruled_with(options).await;
    w.realm().delete_group(&group(&w, "/ops/admins")).await.expect("deleted");
    w.run().await;
    assert_eq!(w.members("admins"), ["ann"]);
    let World { mut servers, stack } = w;
    stack.stop().await;
    let groups = rules(r#"{"excluded": ["/eng/admins"]}"#);
    servers.set_policy(Policy { first_run: FirstRun::Apply, groups, ..Policy::default() });
    let w = on(servers).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((&run.outcome, &run.report["planned"]["remove_member"]), (&RunOutcome::Done, &json!(1)), "{run:?}");
    assert!(w.members("admins").is_empty() && groups_of(&w).contains(&"admins".to_owned()));
    assert_eq!(w.members("eng"), ["ann", "ben"]);
}

#[tokio::test]
async fn a_selected_group_that_is_renamed_keeps_its_members_until_the_policy_is_corrected() {
    let w = ruled(r#"{"only": ["/staff", "/eng/admins"]}"#).await;
    w.run().await;
    assert_eq!(w.members("admins"), ["ann"]);
    w.realm().rename_group(&group(&w, "/eng"), "dev").await.expect("renamed");
    w.calm().await;
    let report = w.run().await;
    let reported = report.unconfirmed.iter().find(|why| why.contains("groups.only: /eng/admins fits no group"));
    assert!(reported.is_some(), "{report:?}");
    assert_eq!(w.members("admins"), ["ann"]);
}
