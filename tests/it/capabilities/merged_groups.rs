//! Several groups of a realm that share one group of the target.

use usersync::model::{FirstRun, Policy};
use usersync_simulators::{Fault, keycloak::NewUser};

use super::{
    group_rules::{group, groups_of, ruled, ruled_with, rules},
    group_templates::{restarted, stored},
    support::{World, on, policy},
};

const MERGED: &str = r#"{"merged": ["Admins"]}"#;

fn both() -> Vec<String> {
    vec!["ann".to_owned(), "ben".to_owned()]
}

async fn in_sync(w: &World) {
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty() && again.unsupported.total() == 0, "{again:?}");
}

#[tokio::test]
async fn groups_of_a_merged_name_become_one_group_with_the_members_of_all() {
    let w = ruled(MERGED).await;
    let plan = w.dry_run().await;
    assert_eq!((plan.planned.get("create_group"), plan.unsupported.total()), (Some(&3), 0), "{plan:?}");
    let report = w.run().await;
    assert!(!report.has_problems() && report.unsupported.total() == 0, "{report:?}");
    assert_eq!(report.planned, plan.planned, "a dry run equals what applying does");
    assert_eq!(
        (groups_of(&w), w.members("admins")),
        (vec!["admins".into(), "eng".into(), "ops".into(), "staff".into()], both())
    );
    in_sync(&w).await;
}

#[tokio::test]
async fn a_membership_of_a_merged_group_stays_as_long_as_one_group_grants_it() {
    let w = ruled(MERGED).await;
    w.run().await;
    w.realm().join(&w.id("ann"), &group(&w, "/ops/admins")).await.expect("joined");
    w.realm().leave(&w.id("ann"), &group(&w, "/eng/admins")).await.expect("left");
    w.settled().await;
    assert_eq!(w.members("admins"), both());
    in_sync(&w).await;
    w.realm().leave(&w.id("ann"), &group(&w, "/ops/admins")).await.expect("left");
    w.settled().await;
    assert_eq!(w.members("admins"), ["ben"]);
    in_sync(&w).await;
}

#[tokio::test]
async fn a_merged_group_stays_with_the_members_of_the_others_when_one_is_deleted_or_renamed() {
    let w = ruled(MERGED).await;
    w.run().await;
    w.realm().rename_group(&group(&w, "/eng/admins"), "bosses").await.expect("renamed");
    w.settled().await;
    assert_eq!((w.members("admins"), w.members("bosses")), (vec!["ben".into()], vec!["ann".to_owned()]));
    in_sync(&w).await;
    w.realm().rename_group(&group(&w, "/eng/bosses"), "ADMINS").await.expect("renamed");
    w.settled().await;
    assert_eq!((w.members("admins"), w.members("bosses")), (both(), vec![]));
    w.realm().delete_group(&group(&w, "/ops/admins")).await.expect("deleted");
    w.settled().await;
    assert_eq!(w.members("admins"), ["ann"]);
    w.calm().await;
    in_sync(&w).await;
}

#[tokio::test]
async fn a_group_joins_a_merged_group_by_an_event_and_leaves_it_by_the_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Some(folder.path().join("usersync.db"));
    let options = usersync::demo::stack::StackOptions { store, ..policy(|policy| policy.groups = rules(MERGED)) };
    let w = ruled_with(options).await;
    w.run().await;
    let hr = w.realm().create_group(Some(&group(&w, "/staff")), "admins").await.expect("created");
    w.realm().create_user(NewUser::named("cas")).await.expect("created");
    w.realm().join(&w.id("cas"), &hr).await.expect("joined");
    w.settled().await;
    assert_eq!(w.members("admins"), ["ann", "ben", "cas"]);
    in_sync(&w).await;
    let World { mut servers, stack } = w;
    stack.stop().await;
    let groups = rules(r#"{"merged": ["admins"], "excluded": ["/eng/admins"]}"#);
    servers.set_policy(Policy { first_run: FirstRun::Apply, groups, ..Policy::default() });
    let w = on(servers).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!(w.members("admins"), ["ben", "cas"], "{run:?}");
    in_sync(&w).await;
}

#[tokio::test]
async fn groups_of_a_merged_name_that_arrive_at_once_are_created_once() {
    let w = ruled(r#"{"merged": ["night-*"]}"#).await;
    w.realm().delete_group(&group(&w, "/ops/admins")).await.expect("deleted");
    w.run().await;
    for path in ["/eng", "/ops", "/staff"] {
        let night = w.realm().create_group(Some(&group(&w, path)), "night-shift").await.expect("created");
        let login = if path == "/eng" { "ann" } else { "ben" };
        w.realm().join(&w.id(login), &night).await.expect("joined");
    }
    w.settled().await;
    assert_eq!(w.members("night-shift"), both());
    assert!(w.dead().await.is_empty());
    in_sync(&w).await;
}

#[tokio::test]
async fn an_incomplete_list_of_one_group_removes_nobody_from_a_merged_group() {
    let w = ruled(MERGED).await;
    w.run().await;
    let eng = group(&w, "/eng/admins");
    let empty = Fault::edit(|list| *list = serde_json::json!([]));
    w.servers.keycloak.faults.add(empty.path(format!("{eng}/members")));
    let report = w.run().await;
    assert_eq!((report.planned.get("remove_member"), w.members("admins")), (None, both()), "{report:?}");
}

#[tokio::test]
async fn a_conflict_of_names_names_all_paths_and_the_settings() {
    let w = ruled("{}").await;
    let why = "two groups in Keycloak have the name admins in the target: /eng/admins and /ops/admins. Rename one of them, \
               give it a name in the policy (groups.names), or let them share one group (groups.merged = [\"admins\"])";
    for report in [w.dry_run().await, w.run().await, w.run().await] {
        for path in ["/eng/admins", "/ops/admins"] {
            assert!(report.unsupported.iter().any(|text| *text == format!("group {path}: {why}")), "{report:?}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_no_longer_merged_keeps_all_members_until_a_group_gets_another_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = stored(MERGED, &folder).await;
    w.run().await;
    let w = restarted(w, "{}").await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((&run.report["planned"], w.members("admins")), (&serde_json::json!({}), both()), "{run:?}");
    let why = "two groups in Keycloak have the name admins in the target: /eng/admins and /ops/admins";
    for report in [w.dry_run().await, w.run().await] {
        assert!(report.planned.is_empty(), "{report:?}");
        for path in ["/eng/admins", "/ops/admins"] {
            let why = format!("group {path}: {why}");
            assert!(report.unsupported.iter().any(|text| text.starts_with(&why)), "{report:?}");
        }
    }
    assert_eq!(w.members("admins"), both());
    w.realm().rename_group(&group(&w, "/ops/admins"), "night").await.expect("renamed");
    w.settled().await;
    assert_eq!((w.members("admins"), w.members("night")), (vec!["ann".to_owned()], vec!["ben".to_owned()]));
    in_sync(&w).await;
}

#[tokio::test]
async fn groups_that_shared_a_deleted_group_are_a_conflict_that_creates_nothing_until_they_have_two_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = stored(MERGED, &folder).await;
    w.run().await;
    let w = restarted(w, "{}").await;
    w.run().await;
    assert_eq!(w.members("admins"), both());
    w.jira().remove_group("admins");
    w.run().await;
    w.settled().await;
    let why = "two groups in Keycloak have the name admins in the target: /eng/admins and /ops/admins";
    for _ in 0..2 {
        let (plan, report) = (w.dry_run().await, w.run().await);
        for report in [&plan, &report] {
            assert!(report.planned.is_empty() && !report.has_problems(), "{report:?}");
            for path in ["/eng/admins", "/ops/admins"] {
                let why = format!("group {path}: {why}");
                assert!(report.unsupported.iter().any(|text| text.starts_with(&why)), "{report:?}");
            }
        }
        w.realm().join(&w.id("staff1"), &group(&w, "/eng/admins")).await.expect("joined");
        w.settled().await;
        assert!(!groups_of(&w).contains(&"admins".to_owned()), "{:?}", groups_of(&w));
    }
    w.realm().rename_group(&group(&w, "/ops/admins"), "night").await.expect("renamed");
    w.settled().await;
    w.run().await;
    assert_eq!(
        (w.members("admins"), w.members("night")),
        (vec!["ann".into(), "staff1".into()], vec!["ben".to_owned()])
    );
    in_sync(&w).await;
}

#[tokio::test]
async fn merged_names_that_differ_in_case_do_not_wait_for_each_other_without_end() {
    let w = ruled(r#"{"merged": ["admins"], "create": false}"#).await;
    w.realm().rename_group(&group(&w, "/ops/admins"), "ADMINS").await.expect("renamed");
    for _ in 0..2 {
        w.run().await;
        assert!(w.tasks().await.is_empty(), "{:?}", w.tasks().await);
    }
}

#[tokio::test]
async fn groups_that_keep_their_merged_name_do_not_wait_for_each_other_without_end() {
    // Which of the two creates the group; the one with the smaller id is the first.
    for creating in [None, Some(0), Some(1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let w = stored(MERGED, &folder).await;
        w.run().await;
        let mut paths = ["/eng/admins", "/ops/admins"];
        paths.sort_by_key(|path| group(&w, path));
        let overrides = creating.map(|place: usize| serde_json::json!({ "path": paths[place], "create": true }));
        let rules = serde_json::json!({
            "merged": ["*"], "suffix": "-x", "create": false, "overrides": Vec::from_iter(overrides)
        });
        let w = restarted(w, &rules.to_string()).await;
        for path in paths {
            w.realm().join(&w.id("staff1"), &group(&w, path)).await.expect("joined");
        }
        w.settled().await;
        let report = w.run().await;
        assert!(report.planned.is_empty() && w.tasks().await.is_empty(), "{creating:?}: {report:?}");
        let members = vec!["ann".to_owned(), "ben".to_owned(), "staff1".to_owned()];
        let (admins, new) = if creating.is_none() { (members, vec![]) } else { (vec![], members) };
        assert_eq!((w.members("admins"), w.members("admins-x")), (admins, new), "{creating:?}");
    }
}

#[tokio::test]
async fn a_full_reconcile_does_not_search_for_groups_whose_conflict_is_known() {
    let w = ruled("{}").await;
    let searches = || w.servers.keycloak.journal.matching(|entry| entry.query.contains("search=night")).len();
    for number in 0..20 {
        let team = w.realm().create_group(None, &format!("team{number}")).await.expect("created");
        w.realm().create_group(Some(&team), "night").await.expect("created");
    }
    w.settled().await;
    w.run().await;
    let before = searches();
    assert!(before > 0);
    let report = w.run().await;
    assert_eq!((searches() - before, report.planned_total(), report.unsupported.total()), (0, 0, 22), "{report:?}");
}
