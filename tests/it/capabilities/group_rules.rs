//! The groups of a policy: which are synced, and how they are named in the target.

use serde_json::json;
use usersync::{
    demo::stack::StackOptions,
    model::{ApprovalKind, FirstRun, GroupRules, Limited, Policy, RunOutcome},
};
use usersync_simulators::{Fault, jira::NewAccount, keycloak::NewUser};

use super::support::{STAFF, World, on, policy, world_with};

/// Starts a realm with its staff and users in two teams, where these are the rules for groups.
pub async fn ruled(json: &str) -> World {
    ruled_with(policy(|policy| policy.groups = rules(json))).await
}

pub fn rules(json: &str) -> GroupRules {
    serde_json::from_str(json).expect("rules")
}

pub async fn ruled_with(options: StackOptions) -> World {
    let w = world_with(options).await;
    let user = |login: &str, path: &str| NewUser::named(login).in_groups(&[path, "/eng"]);
    w.realm().import_users([user("ann", "/eng/admins"), user("ben", "/ops/admins")]).expect("imported");
    w
}

pub fn group(w: &World, path: &str) -> String {
    w.realm().snapshot().group(path).expect("it exists").id.clone()
}

pub fn groups_of(w: &World) -> Vec<String> {
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
    let cause = "/eng/admins: left out by groups.excluded of the policy (/eng/admins)";
    assert!(run.report["lines"].to_string().contains(cause), "{run:?}");
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

/// Starts a realm where cas is a member of the lowest of three groups, where these are the rules for groups.
async fn nested(rules: &str) -> World {
    let w = world_with(policy(|policy| policy.groups = self::rules(rules))).await;
    w.realm().import_users([NewUser::named("cas").in_groups(&["/eng/core/red"])]).expect("imported");
    w.realm().import_group("/ops").expect("imported");
    w
}

#[tokio::test]
async fn with_sub_groups_a_member_is_in_the_selected_groups_above_by_run_and_by_event() {
    let w = nested(r#"{"members": "with_subgroups", "only": ["/eng", "/eng/core", "/ops", "/staff"]}"#).await;
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!(groups_of(&w), ["core", "eng", "ops", "staff"]);
    assert_eq!((w.members("core"), w.members("eng")), (vec!["cas".into()], vec!["cas".to_owned()]));
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty(), "{again:?}");
    w.realm().join(&w.id("staff1"), &group(&w, "/eng/core/red")).await.expect("joined");
    w.realm().leave(&w.id("cas"), &group(&w, "/eng/core/red")).await.expect("left");
    w.settled().await;
    assert_eq!((w.members("core"), w.members("eng")), (vec!["staff1".into()], vec!["staff1".to_owned()]));
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty(), "{again:?}");
    let changes = w.changes_of(&w.id("staff1")).await;
    assert!(!changes.is_empty());
}

#[tokio::test]
async fn by_default_only_direct_members_count() {
    let w = nested("{}").await;
    w.run().await;
    assert_eq!((w.members("red"), w.members("core"), w.members("eng")), (vec!["cas".into()], vec![], vec![]));
}

#[tokio::test]
async fn the_members_of_a_moved_sub_group_follow_it() {
    let w = nested(r#"{"members": "with_subgroups", "only": ["/eng", "/ops", "/staff"]}"#).await;
    w.run().await;
    assert_eq!((w.members("eng"), w.members("ops")), (vec!["cas".into()], vec![]));
    let moved = w.realm().move_group(&group(&w, "/eng/core"), Some(&group(&w, "/ops"))).await;
    moved.expect("moved");
    w.settled().await;
    assert_eq!((w.members("eng"), w.members("ops")), (vec![], vec!["cas".into()]));
    w.realm().move_group(&group(&w, "/ops/core"), Some(&group(&w, "/eng"))).await.expect("moved");
    w.settled().await;
    assert_eq!((w.members("eng"), w.members("ops")), (vec!["cas".into()], vec![]));
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty(), "{again:?}");
}

#[tokio::test]
async fn the_groups_above_a_deleted_sub_group_lose_its_members() {
    let w = nested(r#"{"members": "with_subgroups", "only": ["/eng", "/staff"]}"#).await;
    w.run().await;
    assert_eq!(w.members("eng"), ["cas"]);
    w.realm().delete_group(&group(&w, "/eng/core/red")).await.expect("deleted");
    w.settled().await;
    assert!(w.members("eng").is_empty());
}

#[tokio::test]
async fn the_sub_groups_of_a_renamed_group_get_their_new_names() {
    let w = nested(r#"{"named_by": "path"}"#).await;
    w.run().await;
    assert_eq!(w.members("eng-core-red"), ["cas"]);
    w.realm().rename_group(&group(&w, "/eng"), "dev").await.expect("renamed");
    w.settled().await;
    assert_eq!((w.members("dev-core-red"), w.members("eng-core-red")), (vec!["cas".into()], vec![]));
}

#[tokio::test]
async fn the_members_below_a_renamed_group_may_leave_the_scope() {
    let scope = serde_json::from_str(r#"{"excluded_groups": ["/left"]}"#).expect("a scope");
    let w = world_with(policy(|policy| policy.scope = scope)).await;
    w.realm().import_users([NewUser::named("cas").in_groups(&["/eng/core/red"])]).expect("imported");
    w.run().await;
    assert!(w.account("cas").active);
    w.realm().rename_group(&group(&w, "/eng"), "left").await.expect("renamed");
    w.settled().await;
    assert!(!w.account("cas").active);
}

#[tokio::test]
async fn a_group_that_is_missing_at_the_target_is_not_created_if_the_policy_forbids_it() {
    let adopting = policy(|policy| {
        policy.groups = rules(r#"{"create": false}"#);
        policy.adopt = usersync::model::AdoptRule::Always;
    });
    let w = ruled_with(adopting).await;
    let plan = w.dry_run().await;
    assert_eq!((plan.planned.get("create_group"), plan.planned.get("create")), (None, Some(&2)), "{plan:?}");
    for report in [plan, w.run().await] {
        let why = "group /eng: the target has no group eng; create it there, or set groups.create = true in the policy";
        assert!(report.unsupported.iter().any(|text| text == why), "{report:?}");
    }
    assert!(groups_of(&w).is_empty() && w.has_account("ann"));
    w.jira().add_group("eng");
    let report = w.run().await;
    assert!(!report.unsupported.iter().any(|text| text.starts_with("group /eng:")), "{report:?}");
    assert_eq!((w.members("eng"), groups_of(&w)), (vec!["ann".into(), "ben".into()], vec!["eng".to_owned()]));
    // Deleted outside usersync: neither planned nor created.
    w.jira().remove_group("eng");
    let plan = w.dry_run().await;
    assert!(plan.planned.is_empty(), "{plan:?}");
    w.run().await;
    assert!(groups_of(&w).is_empty());
    w.jira().add_group("eng");
    // A member's event is enough.
    let first = w.realm().join(&w.id("staff1"), &group(&w, "/eng")).await;
    first.expect("joined");
    w.run().await;
    assert_eq!(w.members("eng"), ["ann", "ben", "staff1"]);
}

#[tokio::test]
async fn a_renamed_group_keeps_its_members_until_an_operator_creates_the_new_one() {
    let adopting = policy(|policy| {
        policy.groups = rules(r#"{"create": false}"#);
        policy.adopt = usersync::model::AdoptRule::Always;
    });
    let w = ruled_with(adopting).await;
    w.jira().add_group("eng");
    w.run().await;
    assert_eq!(w.members("eng"), ["ann", "ben"]);
    w.realm().rename_group(&group(&w, "/eng"), "dev").await.expect("renamed");
    w.calm().await;
    let plan = w.dry_run().await;
    assert_eq!(plan.planned.get("remove_member"), None, "{plan:?}");
    let report = w.run().await;
    assert_eq!(w.members("eng"), ["ann", "ben"], "{report:?}");
    let why = "group /dev: the target has no group dev; create it there";
    assert!(report.unsupported.iter().any(|text| text.starts_with(why)), "{report:?}");
    w.jira().add_group("dev");
    w.run().await;
    w.run().await;
    assert_eq!(w.members("dev"), ["ann", "ben"]);
}

/// Starts a realm with ann, ben and the staff, where these are the constant groups, and a store that outlives it.
async fn constants(json: &str, folder: &tempfile::TempDir) -> World {
    let groups = rules(&format!(r#"{{"named_by": "path", "constant": {json}}}"#));
    let store = Some(folder.path().join("usersync.db"));
    ruled_with(StackOptions { store, ..policy(|policy| policy.groups = groups) }).await
}

/// Restarts usersync with other constant groups.
async fn restarted(w: World, json: &str) -> World {
    let World { mut servers, stack } = w;
    stack.stop().await;
    let groups = rules(&format!(r#"{{"named_by": "path", "constant": {json}}}"#));
    servers.set_policy(Policy { first_run: FirstRun::Apply, groups, ..Policy::default() });
    let w = Box::pin(on(servers)).await;
    w.run_of_changed_policy().await;
    w
}

#[tokio::test]
async fn a_group_that_kept_its_name_gets_the_new_one_once_the_policy_creates_groups() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Some(folder.path().join("usersync.db"));
    let mut w =
        ruled_with(StackOptions { store, ..policy(|policy| policy.groups = rules("{\"named_by\": \"path\"}")) }).await;
    w.run().await;
    for json in [r#"{"named_by": "path", "suffix": "-x", "create": false}"#, r#"{"named_by": "path", "suffix": "-x"}"#]
    {
        let World { mut servers, stack } = w;
        stack.stop().await;
        servers.set_policy(Policy { first_run: FirstRun::Apply, groups: rules(json), ..Policy::default() });
        w = on(servers).await;
        w.run().await;
        assert!(w.members("eng-admins") == ["ann"] || w.members("eng-admins-x") == ["ann"], "{json}");
    }
    // All memberships that usersync added are removed, which is more than the limit.
    w.decide(ApprovalKind::SafetyLimit(Limited::RemoveMember), true).await;
    assert_eq!((w.members("eng-admins-x"), w.members("eng-admins")), (vec!["ann".to_owned()], Vec::new()));
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty() && again.unsupported.is_empty(), "{again:?}");
}

#[tokio::test]
async fn everybody_in_scope_gets_a_constant_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = constants(r#"[{"name": "everyone"}]"#, &folder).await;
    let report = w.run().await;
    assert_eq!(w.members("everyone").len(), STAFF + 2, "{report:?}");
    w.realm().create_user(NewUser::named("new")).await.expect("created");
    w.settled().await;
    assert!(w.members("everyone").contains(&"new".to_owned()));
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty() && again.unsupported.total() == 0, "{again:?}");
    // Deleted outside usersync, it is created again.
    w.jira().remove_group("everyone");
    w.run().await;
    w.run().await;
    assert_eq!(w.members("everyone").len(), STAFF + 3);
}

#[tokio::test]
async fn a_condition_grants_and_withdraws_only_what_usersync_added() {
    let folder = tempfile::tempdir().expect("a folder");
    let gold = r#"[{"name": "gold", "condition": "{{ attributes.level == 'gold' }}"}]"#;
    let w = constants(gold, &folder).await;
    w.run().await;
    assert!(w.members("gold").is_empty() && groups_of(&w).contains(&"gold".to_owned()));
    w.jira().add_member("gold", "ben");
    w.realm().set_attribute(&w.id("ann"), "level", &["gold"]).await.expect("set");
    w.settled().await;
    assert_eq!(w.members("gold"), ["ann", "ben"]);
    let report = w.run().await;
    assert!(!report.has_problems() && report.planned.is_empty(), "{report:?}");
    w.realm().set_attribute(&w.id("ann"), "level", &["silver"]).await.expect("set");
    w.settled().await;
    assert_eq!(w.members("gold"), ["ben"], "a member that usersync did not add stays");
}

#[tokio::test]
async fn a_membership_stays_as_long_as_a_group_or_a_constant_grants_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let gold = r#"[{"name": "eng", "condition": "{{ attributes.level == 'gold' }}"}]"#;
    let w = constants(gold, &folder).await;
    let report = w.run().await;
    assert_eq!((report.unsupported.total(), w.members("eng")), (0, vec!["ann".into(), "ben".into()]), "{report:?}");
    w.realm().set_attribute(&w.id("ann"), "level", &["gold"]).await.expect("set");
    for login in ["ann", "ben"] {
        w.realm().leave(&w.id(login), &group(&w, "/eng")).await.expect("left");
    }
    w.settled().await;
    assert_eq!(w.members("eng"), ["ann"]);
    w.realm().set_attribute(&w.id("ann"), "level", &[]).await.expect("cleared");
    w.settled().await;
    assert!(w.members("eng").is_empty());
    let report = w.run().await;
    assert!(report.planned.is_empty(), "{report:?}");
}

#[tokio::test]
async fn new_accounts_get_a_constant_group_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = constants("[]", &folder).await;
    w.run().await;
    let w = restarted(w, r#"[{"name": "newcomers", "for": "new"}]"#).await;
    let report = w.run().await;
    assert!(w.members("newcomers").is_empty(), "{report:?}");
    w.realm().create_user(NewUser::named("new")).await.expect("created");
    w.settled().await;
    assert_eq!(w.members("newcomers"), ["new"]);
    let again = w.run().await;
    assert!(!again.has_problems() && again.planned.is_empty(), "{again:?}");
    // What an administrator takes away is not given again.
    w.jira().remove_member("newcomers", "new");
    w.run().await;
    assert!(w.members("newcomers").is_empty());
}

#[tokio::test]
async fn a_constant_group_that_is_no_longer_listed_keeps_its_members() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = constants(r#"[{"name": "everyone"}]"#, &folder).await;
    w.run().await;
    let everyone = w.members("everyone");
    let w = restarted(w, "[]").await;
    let report = w.run().await;
    assert!(report.planned.is_empty(), "{report:?}");
    assert!(report.kept.keys().any(|why| why.contains("it is no longer in groups.constant of the policy")));
    w.realm().set_attribute(&w.id("ann"), "level", &["gold"]).await.expect("set");
    w.settled().await;
    assert_eq!(w.members("everyone"), everyone);
    // Withdrawn on purpose, by a limited number of removals.
    let w = restarted(w, r#"[{"name": "everyone", "condition": "{{ false }}"}]"#).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((w.members("everyone").len(), &run.report["planned"]["remove_member"]), (0, &json!(12)), "{run:?}");
}

#[tokio::test]
async fn an_excluded_group_is_left_out_with_all_groups_below_it() {
    let w = nested(r#"{"excluded": ["/eng"]}"#).await;
    w.run().await;
    assert_eq!(groups_of(&w), ["ops", "staff"]);
    let w = nested(r#"{"only": ["/eng/**", "/eng/core/red"], "excluded": ["/eng/core"]}"#).await;
    w.run().await;
    assert_eq!((groups_of(&w), w.members("red")), (vec!["red".to_owned()], vec!["cas".to_owned()]));
}

#[tokio::test]
async fn incomplete_lists_remove_nobody_from_a_group_above() {
    let w = nested(r#"{"members": "with_subgroups", "only": ["/eng", "/staff"]}"#).await;
    w.run().await;
    assert_eq!(w.members("eng"), ["cas"]);
    let empty = || Fault::edit(|list| *list = serde_json::json!([]));
    w.servers.keycloak.faults.add(empty().path("/members"));
    let report = w.run().await;
    assert_eq!((report.planned.get("remove_member"), w.members("eng")), (None, vec!["cas".into()]), "{report:?}");
    w.servers.keycloak.faults.clear();
    // Neither the listing nor the search shows the group above.
    let eng = group(&w, "/eng");
    let without = Fault::edit(move |list| {
        if let Some(list) = list.as_array_mut() {
            list.retain(|one| one["id"] != eng.as_str());
        }
    });
    w.servers.keycloak.faults.add(without.path("populateHierarchy"));
    let report = w.run().await;
    assert_eq!((report.planned.get("remove_member"), w.members("eng")), (None, vec!["cas".into()]), "{report:?}");
    w.servers.keycloak.faults.clear();
    let report = w.run().await;
    assert!(!report.has_problems() && report.planned.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_constant_group_that_exists_waits_for_its_adoption_and_keeps_its_members() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = constants("[]", &folder).await;
    w.jira().add_group("everyone");
    w.jira().add_member("everyone", "staff1");
    let w = restarted(w, r#"[{"name": "everyone"}]"#).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((&run.report["held"], w.members("everyone")), (&json!(1), vec!["staff1".into()]), "{run:?}");
    // The approval requests a full reconcile, as all users are concerned.
    w.decide(ApprovalKind::Adoption, true).await;
    w.run().await;
    assert_eq!(w.members("everyone").len(), STAFF + 2);
}

#[tokio::test]
async fn a_protected_group_is_granted_to_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let w = constants(r#"[{"name": "jira-administrators"}]"#, &folder).await;
    let before = w.members("jira-administrators");
    let report = w.run().await;
    assert!(report.unsupported.iter().any(|why| why.starts_with("group jira-administrators (groups.constant): ")));
    assert_eq!(w.members("jira-administrators"), before);
}

#[tokio::test]
async fn unmanaged_members_stay_and_are_reported_if_the_policy_says_so() {
    let w = ruled(r#"{"named_by": "path", "unmanaged_members": "report"}"#).await;
    w.run().await;
    w.jira().add_account(NewAccount::named("visitor").in_groups(&["eng", "ops"]));
    let report = w.run().await;
    let kept: Vec<_> = report.kept.keys().map(String::as_str).collect();
    assert_eq!(kept, ["eng: unmanaged members stay: visitor", "ops: unmanaged members stay: visitor"]);
    assert_eq!(w.members("eng"), ["ann", "ben", "visitor"]);
}

#[tokio::test]
async fn a_slash_in_the_name_of_a_group_is_no_group_above() {
    let w = nested(r#"{"members": "with_subgroups"}"#).await;
    w.run().await;
    let slashed = w.realm().create_group(None, "x/y").await.expect("created");
    w.realm().join(&w.id("staff1"), &slashed).await.expect("joined");
    w.settled().await;
    assert_eq!(w.members("x/y"), ["staff1"]);
    let report = w.run().await;
    assert!(!report.has_problems() && report.planned.is_empty(), "{report:?}");
}

#[tokio::test]
async fn single_groups_have_settings_of_their_own() {
    let overrides = r#"[
        {"path": "/eng", "members": "with_subgroups", "unmanaged_members": "report"},
        {"path": "/eng/core/red", "create": false}
    ]"#;
    let w = nested(&format!(r#"{{"overrides": {overrides}}}"#)).await;
    let plan = w.dry_run().await;
    let report = w.run().await;
    let why = "group /eng/core/red: the target has no group red; create it there";
    for report in [&plan, &report] {
        assert!(report.unsupported.iter().any(|text| text.starts_with(why)), "{report:?}");
    }
    assert_eq!(groups_of(&w), ["core", "eng", "ops", "staff"]);
    assert_eq!((w.members("eng"), w.members("core")), (vec!["cas".into()], vec![]));
    w.jira().add_account(NewAccount::named("visitor").in_groups(&["eng", "ops"]));
    w.realm().join(&w.id("staff1"), &group(&w, "/eng/core")).await.expect("joined");
    w.settled().await;
    assert_eq!((w.members("eng").len(), w.members("core")), (3, vec!["staff1".into()]));
    let report = w.run().await;
    assert_eq!(report.kept.keys().collect::<Vec<_>>(), ["eng: unmanaged members stay: visitor"]);
    assert!(report.planned.is_empty(), "{report:?}");
}
