//! Two targets of one connector, of which one has rules of its own for groups.

use std::sync::Arc;

use serde_json::json;
use usersync::{
    demo::{
        stack::{Stack, StackOptions},
        targets::{Product, SimulatedTarget},
    },
    engine::{Report, RunOptions},
    model::{ApprovalKind, Limited, Pair, Policy, RunOutcome, RunTrigger, TargetPolicy},
    store::StoreReads,
};
use usersync_simulators::keycloak::{NewUser, UserChange};

use super::{
    group_rules::{group, groups_of, rules},
    support::{STAFF, World, id_of, on, policy, servers},
};

struct Two {
    w: World,
    other: Arc<SimulatedTarget>,
}

fn other_pair() -> Pair {
    Pair { target: Product::Crowd.target_name(), ..Stack::pair() }
}

/// Sets the rules for groups of the connector, and those of the second target.
fn set(policy: &mut Policy, general: &str, own: &str) {
    policy.groups = rules(general);
    let own = TargetPolicy { groups: Some(rules(own)), ..TargetPolicy::default() };
    policy.targets.insert(Product::Crowd.target_name(), own);
}

impl Two {
    /// Starts the realm of the tests of group rules with a Jira, which has the rules of the connector, and a Crowd, which
    /// has its own.
    async fn start(general: &str, own: &str) -> Self {
        Self::stored(None, general, own).await
    }

    async fn stored(store: Option<&tempfile::TempDir>, general: &str, own: &str) -> Self {
        let other = Arc::new(Product::Crowd.simulate().await.expect("it starts"));
        let other_targets = vec![other.other_target().expect("a client")];
        let store = store.map(|folder| folder.path().join("usersync.db"));
        let options = StackOptions { other_targets, store, ..policy(|policy| set(policy, general, own)) };
        let servers = servers(options).await;
        let user = |login: &str, path: &str| NewUser::named(login).in_groups(&[path, "/eng"]);
        servers.realm.import_users([user("ann", "/eng/admins"), user("ben", "/ops/admins")]).expect("imported");
        servers.realm.set_client_roles("usersync", &["view-users", "view-events", "view-realm", "view-clients"]);
        servers.realm.create_role("chief", &[]).await.expect("created");
        servers.realm.set_role(&id_of(&servers.realm, "ann"), "chief", true).await.expect("granted");
        let two = Self { w: on(servers).await, other };
        two.w.settled().await;
        two
    }

    /// Restarts usersync with other rules.
    async fn restarted(self, general: &str, own: &str, change: impl FnOnce(&mut Policy)) -> Self {
        let World { mut servers, stack } = self.w;
        stack.stop().await;
        let mut changed = policy(|policy| set(policy, general, own)).policy;
        change(&mut changed);
        servers.set_policy(changed);
        Self { w: on(servers).await, ..self }
    }

    /// Returns the groups of the Crowd that usersync created.
    fn groups(&self) -> Vec<String> {
        let held = self.other.server.held();
        let ours = |name: &String| !held.own_groups.contains(name) && !name.starts_with("crowd-");
        held.groups.into_keys().filter(ours).collect()
    }

    fn members(&self, group: &str) -> Vec<String> {
        self.other.server.held().groups.remove(group).into_iter().flatten().collect()
    }

    /// Makes a full reconcile of each target, and returns the reports: of the Jira, of the Crowd.
    async fn runs(&self) -> [Report; 2] {
        let mut reports = Vec::new();
        for pair in [Stack::pair(), other_pair()] {
            let options = RunOptions::apply(RunTrigger::Schedule);
            reports.push(Box::pin(self.w.stack.engine.run(&pair, &options)).await.expect("the run ends well").1);
            self.w.calm().await;
        }
        reports.try_into().unwrap_or_else(|_| panic!("two runs"))
    }

    /// Checks that full reconciles of both targets find nothing to do.
    async fn are_in_sync(&self) {
        for report in self.runs().await {
            assert!(!report.has_problems() && report.planned.is_empty(), "{report:?}");
            assert_eq!(report.unsupported.total(), 0, "{report:?}");
        }
    }
}

const GENERAL: &str = r#"{"excluded": ["/ops"], "constant": [{"name": "chiefs", "roles": ["chief"]}]}"#;
const OWN: &str = r#"{"excluded": ["/staff"], "named_by": "path", "members": "with_subgroups"}"#;

#[tokio::test]
async fn each_target_has_the_groups_of_its_rules_by_runs_and_by_events() {
    let two = Two::start(GENERAL, OWN).await;
    let w = &two.w;
    assert_eq!(groups_of(w), ["admins", "chiefs", "eng", "staff"]);
    assert_eq!(two.groups(), ["eng", "eng-admins", "ops", "ops-admins"]);
    assert_eq!(
        (w.members("eng"), two.members("eng")),
        (vec!["ann".into(), "ben".into()], vec!["ann".into(), "ben".into()])
    );
    assert_eq!((w.members("chiefs"), two.members("ops")), (vec!["ann".to_owned()], vec!["ben".to_owned()]));

    // A membership that matters in one target only.
    w.realm().join(&w.id("staff0"), &group(w, "/ops/admins")).await.expect("joined");
    w.settled().await;
    assert_eq!(
        (two.members("ops-admins"), two.members("ops")),
        (vec!["ben".into(), "staff0".into()], vec!["ben".into(), "staff0".to_owned()])
    );
    w.realm().leave(&w.id("staff1"), &group(w, "/staff")).await.expect("left");
    w.realm().set_role(&w.id("staff2"), "chief", true).await.expect("granted");
    w.settled().await;
    assert_eq!((w.members("staff").len(), w.members("chiefs")), (STAFF - 1, vec!["ann".into(), "staff2".to_owned()]));
    assert_eq!(two.groups(), ["eng", "eng-admins", "ops", "ops-admins"]);

    // A group that is renamed, one that is created and one that is deleted.
    w.realm().rename_group(&group(w, "/eng/admins"), "leads").await.expect("renamed");
    w.realm().rename_group(&group(w, "/ops/admins"), "night").await.expect("renamed");
    let new = w.realm().create_group(Some(&group(w, "/eng")), "core").await.expect("created");
    w.realm().join(&w.id("staff3"), &new).await.expect("joined");
    w.settled().await;
    assert_eq!((w.members("leads"), two.members("eng-leads")), (vec!["ann".into()], vec!["ann".to_owned()]));
    assert_eq!(two.members("ops-night"), ["ben", "staff0"]);
    assert!(!groups_of(w).iter().any(|name| name.contains("night")), "{:?}", groups_of(w));
    assert_eq!((w.members("core"), two.members("eng-core")), (vec!["staff3".into()], vec!["staff3".to_owned()]));
    assert_eq!(
        (w.members("eng").len(), two.members("eng")),
        (2, vec!["ann".into(), "ben".into(), "staff3".to_owned()])
    );
    two.are_in_sync().await;
    w.realm().delete_group(&group(w, "/ops/night")).await.expect("deleted");
    w.settled().await;
    // More than half of the memberships that usersync granted there never go without an approval.
    w.decide(ApprovalKind::SafetyLimit(Limited::RemoveMember), true).await;
    assert_eq!((two.members("ops-night"), two.members("ops")), (Vec::<String>::new(), Vec::new()));
    two.are_in_sync().await;
}

#[tokio::test]
async fn a_full_reconcile_alone_brings_both_targets_in_sync() {
    let two = Two::start(GENERAL, OWN).await;
    let w = &two.w;
    w.realm().set_webhook(None);
    w.realm().join(&w.id("staff0"), &group(w, "/ops/admins")).await.expect("joined");
    w.realm().leave(&w.id("staff1"), &group(w, "/staff")).await.expect("left");
    w.realm().set_role(&w.id("staff2"), "chief", true).await.expect("granted");
    w.realm().rename_group(&group(w, "/eng/admins"), "leads").await.expect("renamed");
    let [jira, crowd] = two.runs().await;
    assert!(!jira.has_problems() && !crowd.has_problems(), "{jira:?} {crowd:?}");
    assert_eq!((w.members("leads"), two.members("eng-leads")), (vec!["ann".into()], vec!["ann".to_owned()]));
    assert_eq!((w.members("staff").len(), w.members("chiefs")), (STAFF - 1, vec!["ann".into(), "staff2".to_owned()]));
    assert_eq!(two.members("ops"), ["ben", "staff0"]);
    two.are_in_sync().await;
}

#[tokio::test]
async fn a_changed_rule_of_one_target_is_applied_there_within_the_limits_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let two = Two::stored(Some(&folder), "{\"named_by\": \"path\"}", "{\"named_by\": \"path\"}").await;
    assert_eq!((two.w.members("staff").len(), two.members("staff").len()), (STAFF, STAFF));
    let own = r#"{"named_by": "path", "excluded": ["/staff", "/ops/admins"]}"#;
    let restart = two.restarted("{\"named_by\": \"path\"}", own, |policy| {
        (policy.safety.count, policy.safety.remove_members_percent) = (5, 0.0);
    });
    let two = Box::pin(restart).await;
    let run = two.w.run_of_changed_policy_on(&other_pair()).await;
    assert_eq!(
        (&run.outcome, &run.report["limits"]["remove_member"][0]),
        (&RunOutcome::Held, &json!(STAFF + 1)),
        "{run:?}"
    );
    let waiting = two.w.waiting(ApprovalKind::SafetyLimit(Limited::RemoveMember)).await;
    // Tasks that the run raises may use the limit while it still plans.
    let left = two.members("staff").len() + two.members("ops-admins").len();
    assert!(left == waiting.len() && left + 5 > STAFF, "{left} are members, {waiting:?}");
    let jira = two.w.stack.store.runs(Some(&Stack::pair()), 10).await.expect("readable");
    assert!(jira.iter().all(|run| run.trigger != RunTrigger::PolicyChanged), "{jira:?}");
    two.w.decide(ApprovalKind::SafetyLimit(Limited::RemoveMember), true).await;
    assert_eq!((two.members("staff").len(), two.members("ops-admins").len()), (0, 0));
    assert_eq!((two.w.members("staff").len(), two.w.members("ops-admins").len()), (STAFF, 1));
}

#[tokio::test]
async fn empty_groups_unmanaged_members_and_groups_for_new_accounts_follow_the_rules_of_the_target() {
    let general = r#"{"named_by": "path", "constant": [{"name": "newcomers", "for": "new"}]}"#;
    let own = r#"{"named_by": "path", "empty": "delete", "unmanaged_members": "report"}"#;
    let two = Two::start(general, own).await;
    let w = &two.w;
    assert!(w.members("newcomers").contains(&"ann".to_owned()) && !two.groups().contains(&"newcomers".to_owned()));
    w.realm().leave(&w.id("ben"), &group(w, "/ops/admins")).await.expect("left");
    w.realm().create_user(NewUser::named("eve")).await.expect("created");
    w.settled().await;
    two.runs().await;
    assert!(groups_of(w).contains(&"ops-admins".to_owned()), "{:?}", groups_of(w));
    assert!(!two.groups().iter().any(|name| name.starts_with("ops")), "{:?}", two.groups());
    assert!(w.members("newcomers").contains(&"eve".to_owned()) && !two.groups().contains(&"newcomers".to_owned()));
    two.are_in_sync().await;
}

#[tokio::test]
async fn attributes_of_groups_decide_in_the_target_whose_rules_name_them() {
    let own = r#"{"named_by": "path", "condition": "{{ attributes.sync == 'yes' }}"}"#;
    let two = Two::start("{\"named_by\": \"path\"}", own).await;
    let w = &two.w;
    assert_eq!((groups_of(w).len(), two.groups()), (5, Vec::<String>::new()));
    w.realm().set_group_attribute(&group(w, "/ops/admins"), "sync", &["yes"]).await.expect("set");
    w.settled().await;
    assert_eq!(
        (groups_of(w).len(), two.groups(), two.members("ops-admins")),
        (5, vec!["ops-admins".to_owned()], vec!["ben".to_owned()])
    );
    two.are_in_sync().await;
    assert_eq!(w.members("eng"), ["ann", "ben"]);
}

#[tokio::test]
async fn attributes_that_only_the_other_target_needs_decide_nothing() {
    let own = r#"{"named_by": "path", "condition": "{{ attributes.sync == 'yes' }}"}"#;
    for general in [r#"{"excluded": ["/ops"]}"#, r#"{"excluded": ["/ops"], "members": "with_subgroups"}"#] {
        let two = Two::start(general, own).await;
        let w = &two.w;
        w.jira().set_read_only(true);
        let id = w.id("staff1");
        let refused = w.written_by(async {
            w.realm().update_user(&id, UserChange::email("one@example.org")).await.expect("changed");
            w.settled().await;
        });
        assert_eq!(refused.await.len(), 1, "{general}");
        let later = w.written_by(async {
            w.realm().set_group_attribute(&group(w, "/staff"), "sync", &["yes"]).await.expect("set");
            w.settled().await;
            w.realm().user_action(&id, "logout").await.expect("logged out");
            w.settled().await;
            let report = w.run().await;
            assert_eq!((report.unsupported.len(), report.planned_total()), (1, 0), "{general}: {report:?}");
        });
        assert_eq!(later.await, Vec::<String>::new(), "{general}: the refused write is not sent again");
    }
}

#[tokio::test]
async fn the_report_of_a_changed_policy_names_the_rules_of_the_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let two = Two::stored(Some(&folder), "{}", "{\"named_by\": \"path\"}").await;
    let own = r#"{"named_by": "path", "excluded": ["/eng/admins"]}"#;
    let two = Box::pin(two.restarted("{}", own, |_| {})).await;
    let run = two.w.run_of_changed_policy_on(&other_pair()).await;
    assert_eq!((&run.outcome, &run.report["planned"]["remove_member"]), (&RunOutcome::Done, &json!(1)), "{run:?}");
    let cause = "/eng/admins: left out by targets.crowd.groups.excluded of the policy (/eng/admins)";
    assert!(run.report["lines"].to_string().contains(cause), "{run:?}");
}
