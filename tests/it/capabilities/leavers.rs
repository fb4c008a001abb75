//! What happens to the accounts of users that leave: disabled, deleted or out of scope.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::{
        clock::DrivenClock,
        stack::{Stack, StackOptions},
        targets::{OtherTarget, Product},
    },
    engine::RunOptions,
    model::{
        ApprovalKind, Cause, FirstRun, LeaverAction, LeaverRules, Limited, Pair, Policy, Priority, RunTrigger, Subject,
    },
    store::{EngineStore, StoreReads},
};
use usersync_simulators::{
    Fault, ScimOptions, ScimSwitches, SimulatedScim,
    keycloak::{NewUser, UserChange},
    scim::{Filters, Visibility},
};

use super::support::{STAFF, World, on, policy, world_with};

/// Starts a realm with its staff, all of them also in `all`, where these are the rules for leavers. Members of the
/// group `left` are out of scope.
async fn with_rules(rules: LeaverRules) -> World {
    Box::pin(with_options(StackOptions { policy: with_scope(rules), ..policy(|_| {}) })).await
}

fn with_scope(leavers: LeaverRules) -> Policy {
    let scope = serde_json::from_str(r#"{"excluded_groups": ["/left"]}"#).expect("a scope");
    Policy { first_run: FirstRun::Apply, leavers, scope, ..Policy::default() }
}

async fn with_options(options: StackOptions) -> World {
    let w = world_with(options).await;
    w.realm().create_group(None, "left").await.expect("created");
    let all = w.realm().create_group(None, "all").await.expect("created");
    for number in 0..STAFF {
        w.realm().join(&w.id(&format!("staff{number}")), &all).await.expect("joined");
    }
    w.settled().await;
    w
}

fn rules(json: &str) -> LeaverRules {
    serde_json::from_str(json).expect("rules")
}

/// Returns rules with one action for all leavers.
fn always(action: LeaverAction) -> LeaverRules {
    LeaverRules { disabled: action, deleted: action, out_of_scope: action, ..LeaverRules::default() }
}

fn group(w: &World, path: &str) -> String {
    w.realm().snapshot().group(path).expect("it exists").id.clone()
}

/// Disables staff1, deletes staff2, and puts staff3 out of scope.
async fn leave(w: &World) {
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.expect("disabled");
    w.realm().delete_user(&w.id("staff2")).await.expect("deleted");
    w.realm().join(&w.id("staff3"), &group(w, "/left")).await.expect("joined");
}

const LEAVERS: [&str; 3] = ["staff1", "staff2", "staff3"];

fn groups_of(w: &World, login: &str) -> Vec<String> {
    let ours = |name: &String| !name.starts_with("jira-");
    w.account(login).groups.iter().filter(|name| ours(name)).cloned().collect()
}

/// Checks that a further full reconcile finds nothing to do and no problem.
async fn nothing_is_left(w: &World) {
    let plan = w.dry_run().await;
    assert!(plan.planned.is_empty() && !plan.has_problems() && plan.unsupported.total() == 0, "{plan:?}");
    let report = w.run().await;
    assert!(report.done.is_empty() && !report.has_problems(), "{report:?}");
}

#[tokio::test]
async fn nothing_is_done_to_leavers_and_it_is_no_problem() {
    for events in [true, false] {
        let w = with_rules(always(LeaverAction::Nothing)).await;
        w.realm().switch_webhook(events);
        let before = w.jira().snapshot();
        leave(&w).await;
        w.settled().await;
        nothing_is_left(&w).await;
        assert_eq!(w.jira().snapshot(), before, "{events}");
    }
}

#[tokio::test]
async fn leavers_lose_their_groups_and_stay_active() {
    for events in [true, false] {
        let w = with_rules(rules(
            r#"{"disabled": "remove_groups", "deleted": "remove_groups", "out_of_scope": "remove_groups",
                "kept_groups": ["ALL"]}"#,
        ))
        .await;
        w.realm().switch_webhook(events);
        leave(&w).await;
        w.settled().await;
        if !events {
            let plan = w.dry_run().await;
            assert_eq!(plan.planned.get("remove_member"), Some(&3), "{plan:?}");
            let report = w.run().await;
            assert!(report.done.get("remove_member") == Some(&3) && !report.has_problems(), "{report:?}");
        }
        for login in LEAVERS {
            assert!(w.account(login).active, "{login}, {events}");
            assert_eq!(groups_of(&w, login), ["all"], "{login}, {events}");
        }
        nothing_is_left(&w).await;

        // Both are back.
        w.realm().switch_webhook(true);
        w.realm().update_user(&w.id("staff1"), UserChange::enabled(true)).await.expect("enabled");
        w.realm().leave(&w.id("staff3"), &group(&w, "/left")).await.expect("left");
        w.settled().await;
        for login in ["staff1", "staff3"] {
            assert_eq!(groups_of(&w, login), ["all", "staff"], "{login}, {events}");
        }
        nothing_is_left(&w).await;
    }
}

#[tokio::test]
async fn each_way_of_leaving_has_its_own_action_and_the_stricter_one_is_taken() {
    let w =
        with_rules(rules(r#"{"disabled": "nothing", "deleted": "deactivate", "out_of_scope": "remove_groups"}"#)).await;
    leave(&w).await;
    w.settled().await;
    let state = |login: &str| (w.account(login).active, groups_of(&w, login).len());
    assert_eq!(LEAVERS.map(state), [(true, 2), (false, 2), (true, 0)]);
    // One that was only disabled leaves the scope too.
    w.realm().join(&w.id("staff1"), &group(&w, "/left")).await.expect("joined");
    w.settled().await;
    assert_eq!(state("staff1"), (true, 0));
    nothing_is_left(&w).await;
}

#[tokio::test]
async fn removals_of_leavers_count_towards_the_safety_limit() {
    let w = with_rules(always(LeaverAction::RemoveGroups)).await;
    w.realm().switch_webhook(false);
    for number in 0..STAFF {
        w.realm().update_user(&w.id(&format!("staff{number}")), UserChange::enabled(false)).await.expect("disabled");
    }
    let report = w.run().await;
    assert!(report.held >= STAFF, "{report:?}");
    assert_eq!(w.waiting(ApprovalKind::SafetyLimit(Limited::RemoveMember)).await.len(), 2 * STAFF);
    assert_eq!(w.members("all").len(), STAFF);
}

#[tokio::test]
async fn an_account_of_a_user_out_of_scope_releases_a_login_that_another_user_takes() {
    let actions = [LeaverAction::Nothing, LeaverAction::RemoveGroups, LeaverAction::Deactivate];
    let waits = LeaverRules { grace: SignedDuration::from_hours(1), ..LeaverRules::default() };
    for rules in actions.map(always).into_iter().chain([waits]) {
        for events in [true, false] {
            let w = with_rules(rules.clone()).await;
            let (gone, key) = (w.id("staff3"), w.account("staff3").key);
            w.realm().join(&gone, &group(&w, "/left")).await.expect("joined");
            w.settled().await;
            w.realm().switch_webhook(events);
            w.realm().update_user(&gone, UserChange::username("former")).await.expect("renamed");
            let email = Some("newcomer@example.org".to_owned());
            w.realm().create_user(NewUser { email, ..NewUser::named("staff3") }).await.expect("created");
            w.settled().await;
            if !events {
                let plan = w.dry_run().await;
                assert_eq!((plan.planned.get("create"), plan.planned.get("relink")), (Some(&1), None), "{plan:?}");
                let report = w.run().await;
                assert!(!report.has_problems() && report.tally.adds_up(), "{report:?}");
            }
            let new = w.account("staff3");
            assert!(new.active && new.key != key && new.email == "newcomer@example.org", "{rules:?}: {new:?}");
            let jira = w.jira().snapshot();
            let old = jira.accounts.values().find(|account| account.key == key).expect("it is there");
            assert!(old.name.starts_with("staff3.moved-"), "{rules:?}: {old:?}");
            nothing_is_left(&w).await;

            // Back in scope, the account has the login of its user again.
            w.realm().switch_webhook(true);
            w.realm().leave(&gone, &group(&w, "/left")).await.expect("left");
            w.settled().await;
            let back = w.account("former");
            assert!(back.active && back.key == key, "{rules:?}: {back:?}");
        }
    }
}

const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Starts a realm on a clock that the test drives, where leavers have a grace period of a week.
async fn with_grace(rules: LeaverRules) -> (World, DrivenClock) {
    let clock = DrivenClock::default();
    let policy_with_grace = with_scope(LeaverRules { grace: GRACE, ..rules });
    let options = StackOptions { policy: policy_with_grace, clock: Arc::new(clock.clone()), ..policy(|_| {}) };
    (with_options(options).await, clock)
}

/// Returns since when a user counts as leaving.
async fn leaving_since(w: &World, id: &str) -> Option<Timestamp> {
    let link = w.stack.store.link(&Stack::pair(), &id.into()).await.expect("readable");
    link.expect("it is linked").leaving_since
}

#[tokio::test]
async fn leavers_keep_everything_until_their_grace_period_ends() {
    for events in [true, false] {
        let (w, clock) = with_grace(rules(r#"{"out_of_scope": "remove_groups"}"#)).await;
        let ids = LEAVERS.map(|login| w.id(login));
        w.realm().switch_webhook(events);
        let before = w.jira().snapshot();
        leave(&w).await;
        w.settled().await;
        let began = clock.now();
        w.run().await;
        for id in &ids {
            let since = leaving_since(&w, id).await.expect("it leaves");
            assert!(began.duration_since(since).abs() < SignedDuration::from_mins(5), "{since}");
        }
        let plan = w.dry_run().await;
        let day = (began + GRACE).strftime("%Y-%m-%d");
        assert!(plan.planned.is_empty() && !plan.has_problems(), "{plan:?}");
        assert!(
            plan.leaving.contains(&format!("staff1: its account is deactivated on {day} (disabled in Keycloak)")),
            "{:?}",
            plan.leaving
        );
        assert_eq!(plan.leaving.total(), 3);
        let counts = w.stack.store.counts(&Stack::pair(), clock.now()).await.expect("counted");
        assert_eq!((counts.tasks, counts.due, counts.leaving), (3, 0, 3));

        clock.advance(GRACE - SignedDuration::from_hours(1));
        w.calm().await;
        w.run().await;
        assert_eq!(w.jira().snapshot(), before, "{events}");

        clock.advance(SignedDuration::from_hours(2));
        w.settled().await;
        assert_eq!(LEAVERS.map(|login| w.account(login).active), [false, false, true], "{events}");
        assert_eq!(LEAVERS.map(|login| groups_of(&w, login).len()), [2, 2, 0], "{events}");
        for id in &ids {
            assert_eq!(leaving_since(&w, id).await, None);
        }
        assert!(w.tasks().await.is_empty());
        nothing_is_left(&w).await;
    }
}

/// Enables or disables a user. It is read again at once, as after an event, or by a full reconcile.
async fn enable(w: &World, clock: &DrivenClock, id: &str, enabled: bool, at_once: bool) {
    // An event would be refused: it is signed by the real time.
    w.realm().change_without_event(id, &UserChange::enabled(enabled)).expect("changed");
    if at_once {
        let cause = Cause::Other { what: "a test".to_owned() };
        let (pair, subject, store) = (Stack::pair(), Subject::user(id), &w.stack.store);
        store.raise(&pair, &[subject], Priority::Event, &cause, clock.now()).await.expect("raised");
        w.settled().await;
    } else {
        w.run().await;
    }
}

#[tokio::test]
async fn a_user_that_returns_within_its_grace_period_loses_nothing() {
    let (w, clock) = with_grace(LeaverRules::default()).await;
    let (id, before) = (w.id("staff1"), w.jira().snapshot());
    for at_once in [true, false] {
        enable(&w, &clock, &id, false, at_once).await;
        assert!(leaving_since(&w, &id).await.is_some());
        clock.advance(GRACE - SignedDuration::from_hours(1));
        w.settled().await;
        enable(&w, &clock, &id, true, at_once).await;
        assert_eq!(leaving_since(&w, &id).await, None, "{at_once}");
        clock.advance(SignedDuration::from_hours(2));
        w.settled().await;
        assert_eq!(w.jira().snapshot(), before, "{at_once}");
        assert!(w.tasks().await.is_empty());
    }
    // The next period is a whole one.
    enable(&w, &clock, &id, false, true).await;
    clock.advance(GRACE - SignedDuration::from_hours(1));
    w.settled().await;
    assert!(w.account("staff1").active);
    clock.advance(SignedDuration::from_hours(2));
    w.settled().await;
    assert!(!w.account("staff1").active);
}

#[tokio::test]
async fn a_full_reconcile_applies_a_shorter_grace_period() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = DrivenClock::default();
    let with = |grace| with_scope(LeaverRules { grace, ..LeaverRules::default() });
    let store = Some(folder.path().join("usersync.db"));
    let options = StackOptions { store, policy: with(GRACE), clock: Arc::new(clock.clone()), ..policy(|_| {}) };
    let w = with_options(options).await;
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.expect("disabled");
    w.settled().await;
    let World { mut servers, stack } = w;
    stack.stop().await;
    servers.set_policy(with(SignedDuration::from_hours(1)));
    let w = on(servers).await;
    let report = w.run().await;
    assert!(report.done.is_empty() && report.leaving.total() == 1, "{report:?}");
    clock.advance(SignedDuration::from_hours(2));
    // A worker may be faster than the full reconcile.
    w.run().await;
    assert!(!w.account("staff1").active);
    let verbs: Vec<String> = w.changes_of(&w.id("staff1")).await.into_iter().map(|change| change.verb).collect();
    assert_eq!(verbs.iter().filter(|verb| *verb == "deactivate").count(), 1, "{verbs:?}");
}

#[tokio::test]
async fn accounts_of_leavers_are_deactivated_at_once_and_deleted_after_the_grace_period() {
    for events in [true, false] {
        let (w, clock) = with_grace(always(LeaverAction::Delete)).await;
        let ids = LEAVERS.map(|login| w.id(login));
        w.realm().switch_webhook(events);
        leave(&w).await;
        w.settled().await;
        w.run().await;
        assert_eq!(LEAVERS.map(|login| w.account(login).active), [false; 3], "{events}");
        let plan = w.dry_run().await;
        assert!(plan.planned.is_empty() && !plan.has_problems() && plan.leaving.total() == 3, "{plan:?}");

        // One is back before the end.
        enable(&w, &clock, &ids[0], true, events).await;
        assert!(w.account("staff1").active);
        clock.advance(GRACE + SignedDuration::from_mins(1));
        w.settled().await;
        assert!(w.account("staff1").active);
        assert!(!w.has_account("staff2") && !w.has_account("staff3"), "{events}");
        for id in &ids[1..] {
            let link = w.stack.store.link(&Stack::pair(), &id.as_str().into()).await.expect("readable");
            assert_eq!(link, None);
            let verbs: Vec<String> = w.changes_of(id).await.into_iter().map(|change| change.verb).collect();
            assert!(verbs.ends_with(&["deactivate".to_owned(), "delete".to_owned()]), "{verbs:?}");
        }
        nothing_is_left(&w).await;

        // One is back afterwards, with a new account.
        w.realm().leave(&ids[2], &group(&w, "/left")).await.expect("left");
        w.run().await;
        assert!(w.account("staff3").active && groups_of(&w, "staff3") == ["all", "staff"]);
    }
}

#[tokio::test]
async fn a_returner_gets_the_groups_of_new_accounts_with_a_new_account_only() {
    let clock = DrivenClock::default();
    let mut policy_of_new = with_scope(LeaverRules { grace: GRACE, ..always(LeaverAction::Delete) });
    policy_of_new.groups =
        serde_json::from_str(r#"{"constant": [{"name": "newcomers", "for": "new"}]}"#).expect("rules");
    let options = StackOptions { policy: policy_of_new, clock: Arc::new(clock.clone()), ..policy(|_| {}) };
    let w = Box::pin(with_options(options)).await;
    let id = w.id("staff1");
    assert_eq!(groups_of(&w, "staff1"), ["all", "newcomers", "staff"]);
    w.jira().remove_member("newcomers", "staff1");
    // Back within the grace period: the account is activated, which does not make it new.
    for enabled in [false, true] {
        enable(&w, &clock, &id, enabled, false).await;
    }
    assert_eq!((w.account("staff1").active, groups_of(&w, "staff1")), (true, vec!["all".into(), "staff".into()]));
    // Back afterwards: the account was deleted, and is created again.
    enable(&w, &clock, &id, false, false).await;
    clock.advance(GRACE + SignedDuration::from_mins(1));
    w.settled().await;
    assert!(!w.has_account("staff1"));
    let plan = w.dry_run().await;
    assert!(plan.planned.is_empty(), "{plan:?}");
    enable(&w, &clock, &id, true, false).await;
    assert_eq!((w.account("staff1").active, groups_of(&w, "staff1").len()), (true, 3));
    assert!(groups_of(&w, "staff1").contains(&"newcomers".to_owned()));
    nothing_is_left(&w).await;
}

#[tokio::test]
async fn deletions_have_a_safety_limit_of_their_own() {
    let (w, clock) = with_grace(LeaverRules { deleted: LeaverAction::Delete, ..LeaverRules::default() }).await;
    w.realm().switch_webhook(false);
    // As many as are deactivated in an hour without an approval, in two hours.
    for range in [0..4, 4..8] {
        for number in range {
            w.realm().delete_user(&w.id(&format!("staff{number}"))).await.expect("deleted");
        }
        w.run().await;
        clock.advance(SignedDuration::from_hours(2));
    }
    assert!((0..8).all(|number| !w.account(&format!("staff{number}")).active));
    clock.advance(GRACE);
    w.calm().await;
    w.run().await;
    let waiting = w.waiting(ApprovalKind::SafetyLimit(Limited::Delete)).await;
    let left = (0..8).filter(|number| w.has_account(&format!("staff{number}"))).count();
    assert_eq!((waiting.len(), left), (3, 3), "{waiting:?}");
    w.decide(ApprovalKind::SafetyLimit(Limited::Delete), true).await;
    assert!((0..8).all(|number| !w.has_account(&format!("staff{number}"))));
}

#[tokio::test]
async fn leavers_lose_their_groups_whatever_the_target_shows_of_memberships() {
    let shown: [fn(&mut ScimSwitches); 3] = [
        |_| {},
        // Each group costs a call, so that an event reads only what it removes.
        |switches| (switches.groups_told, switches.member_filters) = (Visibility::Never, Filters::Broken),
        |switches| (switches.groups_told, switches.members_told) = (Visibility::Empty, Visibility::Empty),
    ];
    for (case, work) in shown.into_iter().enumerate() {
        let mut scim = ScimOptions::default();
        work(&mut scim.switches);
        let server = SimulatedScim::start(scim).await.expect("a free port");
        let wiki = OtherTarget { name: "wiki".into(), ..Product::Scim.at(&server.url()).expect("an address") };
        let policy_of_all = with_scope(always(LeaverAction::RemoveGroups));
        let options = StackOptions { policy: policy_of_all, other_targets: vec![wiki], ..policy(|_| {}) };
        let w = with_options(options).await;
        let members = |group: &str| server.snapshot().groups[group].len();
        assert_eq!((members("all"), members("staff")), (STAFF, STAFF), "{case}");
        w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.expect("disabled");
        w.settled().await;
        assert_eq!((members("all"), members("staff")), (STAFF - 1, STAFF - 1), "{case}");
        w.realm().switch_webhook(false);
        w.realm().delete_user(&w.id("staff2")).await.expect("deleted");
        let run = RunOptions::apply(RunTrigger::Schedule);
        for expected in [Some(&2), None] {
            let ran = Box::pin(w.stack.engine.run(&Pair::new("acme", "wiki"), &run)).await;
            let report = ran.expect("the run ends well").1;
            assert_eq!(report.done.get("remove_member"), expected, "{case}: {report:?}");
        }
        assert_eq!((members("all"), members("staff")), (STAFF - 2, STAFF - 2), "{case}");
        assert!(LEAVERS[..2].iter().all(|login| server.snapshot().account(login).is_some_and(|one| one.active)));
    }
}

#[tokio::test]
async fn a_member_list_that_lacks_a_disabled_user_has_no_stricter_action() {
    let w = world_with(policy(|policy| {
        policy.scope = serde_json::from_str(r#"{"required_groups": ["/staff"]}"#).expect("a scope");
        policy.leavers = rules(r#"{"disabled": "nothing"}"#);
    }))
    .await;
    w.realm().switch_webhook(false);
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.expect("disabled");
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = serde_json::json!([])).path("/members"));
    let plan = w.dry_run().await;
    assert!(plan.planned.is_empty(), "{plan:?}");
    w.run().await;
    assert!(w.account("staff1").active);
}

#[tokio::test]
async fn a_deletion_that_gets_no_answer_is_found_done_or_done_again() {
    for fault in [Fault::cut_after, Fault::cut] {
        let (w, clock) = with_grace(always(LeaverAction::Delete)).await;
        let id = w.id("staff1");
        enable(&w, &clock, &id, false, true).await;
        assert!(!w.account("staff1").active);
        let fault = w.jira().faults.add(fault().method("DELETE").path("/user").once());
        clock.advance(GRACE + SignedDuration::from_mins(1));
        let ended = async {
            // Between the waits all is quiet, so that no call takes hours on this clock.
            while w.has_account("staff1") || !w.tasks().await.is_empty() {
                w.calm().await;
                clock.advance(SignedDuration::from_secs(5));
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.expect("it is deleted");
        assert_eq!(w.jira().faults.hits(fault), 1);
        let link = w.stack.store.link(&Stack::pair(), &id.as_str().into()).await.expect("readable");
        assert_eq!(link, None);
        let verbs: Vec<String> = w.changes_of(&id).await.into_iter().map(|change| change.verb).collect();
        assert!(verbs.contains(&"delete".to_owned()) && !verbs.contains(&"drop_link".to_owned()), "{verbs:?}");
    }
}
