//! Templates of a policy that select groups and give them their names.

use serde_json::json;
use usersync::{
    demo::stack::StackOptions,
    model::{ApprovalKind, FirstRun, Limited, Policy, RunOutcome},
};
use usersync_simulators::Fault;

use super::{
    group_rules::{group, groups_of, ruled, ruled_with, rules},
    support::{World, on, policy},
};

/// Starts the realm with these rules for groups, and a store that outlives it.
pub async fn stored(json: &str, folder: &tempfile::TempDir) -> World {
    let (groups, store) = (rules(json), Some(folder.path().join("usersync.db")));
    ruled_with(StackOptions { store, ..policy(|policy| policy.groups = groups) }).await
}

/// Restarts usersync with other rules for groups. Nothing is reconciled yet.
pub async fn restarted(w: World, json: &str) -> World {
    let World { mut servers, stack } = w;
    stack.stop().await;
    servers.set_policy(Policy { first_run: FirstRun::Apply, groups: rules(json), ..Policy::default() });
    on(servers).await
}

async fn mark(w: &World, path: &str, sync: &[&str]) {
    w.realm().set_group_attribute(&group(w, path), "sync", sync).await.expect("set");
}

const MARKED: &str = r#"{"named_by": "path", "condition": "{{ attributes.sync == 'yes' }}"}"#;

#[tokio::test]
async fn groups_are_selected_by_their_attributes_by_run_and_by_event() {
    let w = ruled(MARKED).await;
    mark(&w, "/eng", &["yes"]).await;
    mark(&w, "/ops", &["no"]).await;
    let report = w.run().await;
    assert!(!report.has_problems() && report.unsupported.total() == 0, "{report:?}");
    assert_eq!((groups_of(&w), w.members("eng")), (vec!["eng".into()], vec!["ann".into(), "ben".to_owned()]));
    // An event takes a group in and leaves it out.
    mark(&w, "/ops/admins", &["yes"]).await;
    w.settled().await;
    assert_eq!(w.members("ops-admins"), ["ben"]);
    mark(&w, "/eng", &[]).await;
    w.settled().await;
    assert!(w.members("eng").is_empty() && groups_of(&w).contains(&"eng".to_owned()));
    mark(&w, "/eng", &["yes"]).await;
    w.settled().await;
    assert_eq!(w.members("eng"), ["ann", "ben"]);
    // A new membership reads the attributes with the user's groups.
    w.realm().join(&w.id("staff1"), &group(&w, "/eng")).await.expect("joined");
    w.realm().join(&w.id("staff1"), &group(&w, "/ops")).await.expect("joined");
    w.settled().await;
    assert_eq!(w.members("eng"), ["ann", "ben", "staff1"]);
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty() && again.unsupported.total() == 0, "{again:?}");
}

#[tokio::test]
async fn groups_are_selected_by_a_regular_expression() {
    let w = ruled(r#"{"named_by": "path", "condition": "{{ path | matches('^/(eng|staff)(/|$)') }}"}"#).await;
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!(groups_of(&w), ["eng", "eng-admins", "staff"]);
    let full = w.servers.keycloak.journal.entries();
    let asked =
        full.iter().any(|call| call.query.contains("briefRepresentation=false") && call.path.contains("/groups"));
    assert!(!asked, "attributes are read only if the policy uses them");
}

#[tokio::test]
async fn a_condition_that_fails_for_one_group_removes_nobody_and_is_reported() {
    let w = ruled(r#"{"named_by": "path", "condition": "{{ attributes.sync | default('true', true) }}"}"#).await;
    w.run().await;
    assert_eq!(w.members("eng"), ["ann", "ben"]);
    mark(&w, "/eng", &["maybe"]).await;
    w.settled().await;
    let why = "group /eng: cannot render groups.condition of the policy (it renders \"maybe\", not true or false)";
    for report in [w.dry_run().await, w.run().await] {
        assert!(report.unsupported.iter().any(|text| text.starts_with(why)), "{report:?}");
        assert!(report.planned.is_empty(), "{report:?}");
    }
    // Nobody is added either, and who leaves the group in Keycloak is removed.
    w.realm().join(&w.id("staff1"), &group(&w, "/eng")).await.expect("joined");
    w.realm().leave(&w.id("ben"), &group(&w, "/eng")).await.expect("left");
    w.settled().await;
    assert_eq!(w.members("eng"), ["ann"]);
    mark(&w, "/eng", &["true"]).await;
    w.settled().await;
    assert_eq!(w.members("eng"), ["ann", "staff1"]);
    let report = w.run().await;
    assert!(!report.has_problems() && report.planned.is_empty() && report.unsupported.total() == 0, "{report:?}");
}

#[tokio::test]
async fn attributes_that_are_missing_in_an_answer_leave_no_group_out() {
    let w = ruled(MARKED).await;
    mark(&w, "/eng", &["yes"]).await;
    w.run().await;
    assert_eq!(w.members("eng"), ["ann", "ben"]);
    let without = Fault::edit(|answer| {
        for one in answer.as_array_mut().into_iter().flatten() {
            one.as_object_mut().and_then(|group| group.remove("attributes"));
        }
    });
    w.servers.keycloak.faults.add(without.path("groups"));
    let report = w.run().await;
    assert_eq!((report.planned.get("remove_member"), w.members("eng")), (None, vec!["ann".into(), "ben".to_owned()]));
    let why = "Keycloak did not return the group's attributes";
    assert!(report.unsupported.iter().any(|text| text.contains(why)), "{report:?}");
}

#[tokio::test]
async fn names_come_from_a_template_by_run_and_by_event() {
    let w = ruled(r#"{"name": "{{ path | replace('/', ' ') | trim | title | replace(' ', '_') }}", "prefix": "kc-"}"#)
        .await;
    let report = w.run().await;
    assert!(!report.has_problems() && report.unsupported.total() == 0, "{report:?}");
    assert_eq!(groups_of(&w), ["kc-Eng", "kc-Eng_Admins", "kc-Ops", "kc-Ops_Admins", "kc-Staff"]);
    assert_eq!((w.members("kc-Eng_Admins"), w.members("kc-Ops_Admins")), (vec!["ann".into()], vec!["ben".to_owned()]));
    let night = w.realm().create_group(Some(&group(&w, "/ops")), "night").await.expect("created");
    w.realm().join(&w.id("ann"), &night).await.expect("joined");
    w.settled().await;
    assert_eq!(w.members("kc-Ops_Night"), ["ann"]);
    w.realm().rename_group(&group(&w, "/ops"), "run").await.expect("renamed");
    w.settled().await;
    assert_eq!((w.members("kc-Run_Night"), w.members("kc-Ops_Night")), (vec!["ann".into()], vec![]));
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty() && again.unsupported.total() == 0, "{again:?}");
}

#[tokio::test]
async fn a_name_that_is_empty_is_an_error_of_that_group_only() {
    let w = ruled(r#"{"name": "{{ attributes.jira | default(names | join('-'), true) if path != '/ops' }}"}"#).await;
    w.realm().set_group_attribute(&group(&w, "/eng"), "jira", &["Engineers"]).await.expect("set");
    let report = w.run().await;
    assert_eq!(groups_of(&w), ["Engineers", "eng-admins", "ops-admins", "staff"]);
    let why = "group /ops: cannot render groups.name of the policy (it is empty for this group)";
    assert!(report.unsupported.iter().any(|text| text.starts_with(why)), "{report:?}");
    assert_eq!(w.members("Engineers"), ["ann", "ben"]);
    let plan = w.dry_run().await;
    assert!(plan.planned.is_empty(), "{plan:?}");
}

#[tokio::test]
async fn two_groups_to_which_a_template_gives_one_name_are_a_conflict_in_any_order() {
    let w = ruled(r#"{"name": "{{ names[0] }}"}"#).await;
    let report = w.run().await;
    for path in ["/eng", "/eng/admins", "/ops", "/ops/admins"] {
        let prefix = format!("group {path}: ");
        assert!(report.unsupported.iter().any(|text| text.starts_with(&prefix)), "{path} {report:?}");
    }
    assert_eq!(groups_of(&w), ["staff"]);
    // The second group of a name that is created later does not take it.
    let night = w.realm().create_group(Some(&group(&w, "/staff")), "night").await.expect("created");
    w.realm().join(&w.id("ann"), &night).await.expect("joined");
    w.settled().await;
    assert!(!w.members("staff").contains(&"ann".to_owned()));
}

#[tokio::test]
async fn a_changed_template_that_fails_keeps_the_groups_and_their_members() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = stored(r#"{"name": "{{ names | join('-') }}"}"#, &folder).await;
    w.run().await;
    assert_eq!(w.members("eng-admins"), ["ann"]);
    let w = restarted(w, r#"{"name": "{{ attributes.none }}"}"#).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((&run.outcome, &run.report["planned"]), (&RunOutcome::Done, &json!({})), "{run:?}");
    assert_eq!(w.members("eng-admins"), ["ann"]);
    // The groups follow the corrected template. Jira cannot rename groups.
    let w = restarted(w, r#"{"name": "{{ names | join('.') }}"}"#).await;
    w.run_of_changed_policy().await;
    w.run().await;
    assert_eq!((w.members("eng.admins"), w.members("eng-admins")), (vec!["ann".into()], vec![]));
    assert!(w.held(ApprovalKind::SafetyLimit(Limited::RemoveMember)).await.is_none());
}

#[tokio::test]
async fn a_name_whose_holder_has_a_failing_template_is_not_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = stored(r#"{"name": "{{ 'X' if path == '/eng' else names | join('-') }}"}"#, &folder).await;
    w.realm().join(&w.id("ann"), &group(&w, "/ops")).await.expect("joined");
    w.run().await;
    let both = ["ann".to_owned(), "ben".to_owned()];
    assert_eq!((w.members("X"), w.members("ops")), (both.to_vec(), vec!["ann".to_owned()]));
    let template = "{{ attributes.none if path == '/eng' else 'X' if path == '/ops' else names | join('-') }}";
    let w = restarted(w, &json!({ "name": template }).to_string()).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((&run.outcome, &run.report["planned"]), (&RunOutcome::Done, &json!({})), "{run:?}");
    for report in [w.dry_run().await, w.run().await] {
        let why = "group /ops: the name X in the target is held by /eng, whose template fails";
        assert!(report.unsupported.iter().any(|text| text.starts_with(why)), "{report:?}");
        assert!(report.planned.is_empty(), "{report:?}");
    }
    assert_eq!((w.members("X"), w.members("ops")), (both.to_vec(), vec!["ann".to_owned()]));
    let w = restarted(w, r#"{"name": "{{ 'X' if path == '/ops' else names | join('-') }}"}"#).await;
    w.run_of_changed_policy().await;
    w.run().await;
    assert_eq!((w.members("eng"), w.members("X")), (both.to_vec(), vec!["ann".to_owned()]));
}

#[tokio::test]
async fn a_move_of_a_group_that_always_failed_reaches_the_groups_below_it() {
    let w = ruled(r#"{"named_by": "path", "condition": "{{ attributes.sync | default('true', true) }}"}"#).await;
    mark(&w, "/ops", &["maybe"]).await;
    let report = w.run().await;
    assert_eq!(groups_of(&w), ["eng", "eng-admins", "ops-admins", "staff"]);
    assert!(report.unsupported.iter().any(|text| text.starts_with("group /ops: cannot render")), "{report:?}");
    w.realm().rename_group(&group(&w, "/ops"), "run").await.expect("renamed");
    w.settled().await;
    assert_eq!((w.members("run-admins"), w.members("ops-admins")), (vec!["ben".into()], vec![]));
}

#[tokio::test]
async fn a_deleted_group_of_a_failing_template_is_neither_planned_nor_created() {
    let w = ruled(r#"{"named_by": "path", "condition": "{{ attributes.sync | default('true', true) }}"}"#).await;
    w.run().await;
    mark(&w, "/eng", &["maybe"]).await;
    w.settled().await;
    w.jira().remove_group("eng");
    for report in [w.dry_run().await, w.run().await] {
        assert!(report.planned.is_empty(), "{report:?}");
    }
    assert!(!groups_of(&w).contains(&"eng".to_owned()));
}
