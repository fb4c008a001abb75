//! The full reconcile: it finds missed changes, shows its plan beforehand, and does nothing twice.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use usersync::{
    demo::stack::{SimulatedServers, Stack},
    engine::RunOptions,
    model::{ApprovalKind, Change, FirstRun, Operation, RunOutcome, RunRecord, RunTrigger},
    store::{OperatorStore, PairState, Request, StoreReads},
};
use usersync_simulators::{
    Fault,
    jira::NewAccount,
    keycloak::{NewUser, UserChange},
};

use super::support::{World, on, options, policy, servers, world, world_with};

/// Makes changes of all kinds, without any event.
async fn change_much(w: &World) {
    let realm = w.realm();
    realm.switch_webhook(false);
    let group = realm.create_group(None, "new").await.unwrap();
    let staff = realm.snapshot().group("/staff").unwrap().id.clone();
    realm.create_user(NewUser::named("alice").in_groups(&["/staff"])).await.unwrap();
    realm.create_user(NewUser::named("bob")).await.unwrap();
    realm.update_user(&w.id("staff0"), UserChange::username("chief")).await.unwrap();
    realm.update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    realm.update_user(&w.id("staff2"), UserChange::enabled(false)).await.unwrap();
    realm.delete_user(&w.id("staff3")).await.unwrap();
    realm.join(&w.id("staff4"), &group).await.unwrap();
    realm.leave(&w.id("staff5"), &staff).await.unwrap();
    realm
        .update_user(&w.id("staff6"), UserChange { first_name: Some("Six".into()), ..UserChange::default() })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_run_finds_changes_missed_while_events_were_lost_and_a_second_one_does_nothing() {
    let w = world().await;
    change_much(&w).await;
    w.run().await;
    w.settled().await;
    w.agrees();
    let again = w.written_by(async {
        let report = w.run().await;
        assert_eq!((report.planned_total(), report.raised, report.done.len()), (0, 0, 0), "{report:?}");
    });
    assert_eq!(again.await, Vec::<String>::new());
    assert!(w.tasks().await.is_empty());
}

#[tokio::test]
async fn a_plan_writes_nothing_and_applying_does_exactly_what_it_shows() {
    let w = world().await;
    change_much(&w).await;
    w.jira().remove_member("staff", "staff7");
    w.jira().set_display_name("staff8", "Nobody");
    let mut planned = BTreeMap::new();
    let written = w.written_by(async {
        let plan = w.dry_run().await;
        planned = plan.planned;
        let mut lines: Vec<String> =
            plan.lines.iter().map(|line| format!("{}: {}", line.subject, line.operation)).collect();
        lines.sort();
        lines
    });
    let before = w.changes().await.len();
    assert_eq!(written.await, Vec::<String>::new());
    let plan = w.dry_run().await;
    w.run().await;
    w.settled().await;
    let done: Vec<_> = w.changes().await.split_off(before);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for change in &done {
        *counts.entry(change.verb.clone()).or_default() += 1;
    }
    assert_eq!(planned, counts);
    let mut shown: Vec<_> = plan.lines.iter().map(|line| (line.subject.clone(), line.operation.to_string())).collect();
    let operation = |change: &Change| serde_json::from_value::<Operation>(change.after.clone()).unwrap().to_string();
    let mut done: Vec<_> = done.iter().map(|change| (change.subject.clone(), operation(change))).collect();
    shown.sort();
    done.sort();
    assert_eq!(shown, done, "memberships of new accounts included");
    w.agrees();
}

#[tokio::test]
async fn a_plan_shows_groups_that_were_deleted_in_jira() {
    let w = world().await;
    w.jira().remove_group("staff");
    let plan = w.dry_run().await;
    let before = w.changes().await.len();
    w.run().await;
    w.settled().await;
    let done = w.changes().await.split_off(before);
    let count = |verb: &str| done.iter().filter(|change| change.verb == verb).count() as u64;
    assert_eq!(plan.planned.get("create_group").copied().unwrap_or(0), count("create_group"));
    assert_eq!(plan.planned.get("add_member").copied().unwrap_or(0), count("add_member"));
}

#[tokio::test]
async fn a_plan_of_a_first_run_shows_adoptions_and_what_follows_from_them() {
    let servers = servers(policy(|policy| policy.first_run = FirstRun::Hold)).await;
    servers.jira.add_account(NewAccount { display_name: "Old".into(), ..NewAccount::named("staff1") });
    servers.jira.add_group("staff");
    let stack = servers.build().await.unwrap();
    let w = World { servers, stack };
    let set = waits_for_approval(&w).await;
    let (summary, _) = w.stack.store.approval(set).await.unwrap();
    assert_eq!(w.writes().len(), 0, "nothing is written before approval");
    let planned: BTreeMap<String, u64> = serde_json::from_value(summary.summary["planned"].clone()).unwrap();
    w.decide_items(set, Vec::new(), true).await;
    w.stack.in_service().await.unwrap();
    w.settled().await;
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    for change in w.changes().await {
        *done.entry(change.verb).or_default() += 1;
    }
    done.insert("adopt".into(), 1);
    done.insert("adopt_group".into(), 1);
    assert_eq!(planned, done);
    w.agrees();
}

/// Waits until the first run is planned; returns the approval.
pub(super) async fn waits_for_approval(w: &World) -> i64 {
    for _ in 0..600 {
        if w.stack.store.pair_state(&Stack::pair()).await.unwrap() == PairState::Held {
            return w.held(ApprovalKind::FirstRun).await.expect("a set").0.id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the first run was not planned");
}

#[tokio::test]
async fn a_realm_without_users_is_planned_again_until_its_first_run_waits_for_approval() {
    let mut options = policy(|policy| policy.first_run = FirstRun::Hold);
    options.schedule = Some(std::sync::Arc::new(|after| Some(after + jiff::SignedDuration::from_millis(300))));
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    let stack = servers.build().await.unwrap();
    let w = World { servers, stack };
    let store = &w.stack.store;
    for _ in 0..600 {
        if store.pair_state(&Stack::pair()).await.unwrap() == PairState::NoUsers {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.pair_state(&Stack::pair()).await.unwrap(), PairState::NoUsers);
    assert!(w.held(ApprovalKind::FirstRun).await.is_none(), "there is nothing to approve");
    w.servers.realm.import_users((0..50).map(|number| NewUser::named(format!("new{number}")))).expect("imported");
    let set = waits_for_approval(&w).await;
    assert_eq!(w.writes().len(), 0, "nobody was created without an approval");
    w.decide_items(set, Vec::new(), true).await;
    w.stack.in_service().await.unwrap();
    w.settled().await;
    w.agrees();
}

#[tokio::test]
async fn until_the_first_run_is_approved_events_are_stored_and_tasks_wait() {
    let servers = servers(policy(|policy| policy.first_run = FirstRun::Hold)).await;
    let stack = servers.build().await.unwrap();
    let w = World { servers, stack };
    let set = waits_for_approval(&w).await;
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.realm().webhook_idle().await;
    let stored = w.stack.store.event_counts(&"acme".into()).await.unwrap().received;
    assert!(stored > 0);
    assert_eq!(w.tasks().await.len(), 1);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((w.writes().len(), w.tasks().await.len()), (0, 1));
    w.decide_items(set, Vec::new(), true).await;
    w.stack.in_service().await.unwrap();
    w.settled().await;
    assert_eq!(w.agrees().users, super::support::STAFF + 1);
}

#[tokio::test]
async fn a_paused_connector_stores_events_and_goes_on_when_it_is_resumed() {
    let w = world().await;
    let store = &w.stack.store;
    store.set_paused(&"acme".into(), true, "ann", Timestamp::now()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.realm().webhook_idle().await;
    assert!(w.realm().deliveries().iter().all(|delivery| delivery.status == Some(202)));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!w.has_account("alice"));
    assert_eq!(w.tasks().await.len(), 1);
    store.set_paused(&"acme".into(), false, "ann", Timestamp::now()).await.unwrap();
    w.settled().await;
    assert!(w.has_account("alice"));
    w.agrees();
}

#[tokio::test]
async fn a_removal_is_read_again_right_before_it_is_sent() {
    let w = world().await;
    let staff = w.realm().snapshot().group("/staff").unwrap().id.clone();
    w.realm().switch_webhook(false);
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    w.realm().leave(&w.id("staff2"), &staff).await.unwrap();
    w.servers.keycloak.freeze();
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(true)).await.unwrap();
    w.realm().join(&w.id("staff2"), &staff).await.unwrap();
    // The pages of the walk are an hour old; reads by id are current.
    let stale = || Fault::stale(usersync_simulators::fault::Stale::Frozen);
    w.servers.keycloak.faults.add(stale().path("users?"));
    w.servers.keycloak.faults.add(stale().path("/members"));
    let written = w.written_by(async {
        w.run().await;
    });
    assert_eq!(written.await, Vec::<String>::new());
    w.agrees();
}

#[tokio::test]
async fn a_run_that_is_broken_off_goes_on_at_the_next_start() {
    let mut options = options();
    let folder = tempfile::tempdir().unwrap();
    options.store = Some(folder.path().join("usersync.db"));
    let w = world_with(options).await;
    change_much(&w).await;
    w.jira().faults.set_latency(Duration::from_millis(30));
    let ask = Request::Run { connector: "acme".into(), target: None, trigger: RunTrigger::Operator };
    w.stack.store.request(&ask, "ann", Timestamp::now()).await.unwrap();
    let before = w.writes().len();
    for _ in 0..500 {
        if w.writes().len() > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let World { servers, stack } = w;
    stack.stop().await;
    servers.jira.faults.set_latency(Duration::ZERO);
    let w = on(servers).await;
    w.realm().switch_webhook(false);
    for _ in 0..300 {
        let runs = w.stack.store.runs(Some(&Stack::pair()), 5).await.unwrap();
        if runs[0].trigger == RunTrigger::Missed && runs[0].outcome != RunOutcome::Running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    w.settled().await;
    let runs = w.stack.store.runs(Some(&Stack::pair()), 5).await.unwrap();
    assert_eq!(runs[1].outcome, RunOutcome::Stopped, "{runs:?}");
    assert_eq!(runs[0].trigger, RunTrigger::Missed);
    w.agrees();
}

#[tokio::test]
async fn a_run_requested_by_an_operator_starts_at_once() {
    let w = world().await;
    w.realm().switch_webhook(false);
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    let ask = Request::Run { connector: "acme".into(), target: None, trigger: RunTrigger::Operator };
    w.stack.store.request(&ask, "ann", Timestamp::now()).await.unwrap();
    for _ in 0..300 {
        if w.has_account("alice") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(w.has_account("alice"));
    w.settled().await;
    w.agrees();
}

#[tokio::test]
async fn a_dead_letter_ends_when_a_run_finds_its_subject_in_sync() {
    let w = world().await;
    w.jira().add_account(NewAccount::named("chief"));
    let id = w.id("staff1");
    w.realm().update_user(&id, UserChange::username("chief")).await.unwrap();
    w.calm().await;
    assert_eq!(w.dead().await.len(), 1);
    w.realm().switch_webhook(false);
    w.realm().update_user(&id, UserChange::username("staff1")).await.unwrap();
    let report = w.run().await;
    assert_eq!(report.conflicts, Vec::<String>::new());
    assert_eq!(w.dead().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_first_plan_that_was_stopped_is_no_plan() {
    let w = world().await;
    let options = RunOptions { first: true, ..RunOptions::dry(RunTrigger::First) };
    options.cancel.cancel();
    let outcome = Box::pin(w.stack.engine.plan_first_run(&Stack::pair(), &options)).await;
    assert!(outcome.is_err_and(|error| error.to_string().contains("stopped")));
    assert!(w.held(ApprovalKind::FirstRun).await.is_none(), "nothing that could be approved");
}

/// Requests a run that finds a new user, while Jira answers slowly.
async fn slow_run(w: &World, request: &Request) {
    w.realm().switch_webhook(false);
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.jira().faults.add(Fault::delay(Duration::from_millis(700)).method("GET"));
    w.stack.store.request(request, "ann", Timestamp::now()).await.unwrap();
}

#[tokio::test]
async fn a_pause_ends_the_run_in_progress_which_is_repeated_afterwards() {
    let w = world().await;
    let store = &w.stack.store;
    let ask = Request::Run { connector: "acme".into(), target: None, trigger: RunTrigger::Operator };
    slow_run(&w, &ask).await;
    let newest = async || store.runs(Some(&Stack::pair()), 1).await.unwrap().pop().expect("a run");
    while newest().await.outcome != RunOutcome::Running {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.set_paused(&"acme".into(), true, "ann", Timestamp::now()).await.unwrap();
    while newest().await.outcome == RunOutcome::Running {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(newest().await.outcome, RunOutcome::Stopped);
    assert!(!w.has_account("alice"), "nothing is written in a pause");
    w.jira().faults.clear();
    store.set_paused(&"acme".into(), false, "ann", Timestamp::now()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while !w.has_account("alice") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the run is made up for");
    w.calm().await;
    w.agrees();
}

#[tokio::test]
async fn a_run_that_an_operator_cancels_shows_its_progress_and_is_not_repeated() {
    let w = world().await;
    let store = &w.stack.store;
    let ask = Request::Run { connector: "acme".into(), target: None, trigger: RunTrigger::Event };
    slow_run(&w, &ask).await;
    let newest = async || store.runs(Some(&Stack::pair()), 1).await.unwrap().pop().expect("a run");
    let until = async |is_so: fn(&RunRecord) -> bool| {
        let waits = async {
            while !is_so(&newest().await) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it comes to that");
    };
    until(|run| run.progress.is_some()).await;
    let run = newest().await;
    assert_eq!(run.outcome, RunOutcome::Running);
    store.cancel_run(run.id, "ann", Timestamp::now()).await.unwrap();
    until(|run| run.outcome != RunOutcome::Running).await;
    let ended = newest().await;
    assert_eq!((ended.id, ended.outcome, ended.progress), (run.id, RunOutcome::Stopped, None));
    assert_eq!(ended.cancelled_by.as_deref(), Some("ann"));
    w.jira().faults.clear();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(newest().await.id, run.id, "it is not repeated");
    assert!(!w.has_account("alice"), "what it would have done is left");
    store.request(&ask, "ann", Timestamp::now()).await.unwrap();
    until(|run| run.outcome == RunOutcome::Done).await;
    assert!(w.has_account("alice"), "the next run does the rest");
    w.calm().await;
    w.agrees();
}

#[tokio::test]
async fn a_run_requested_by_an_event_is_repeated_until_it_succeeds_and_an_operators_once() {
    for trigger in [RunTrigger::Event, RunTrigger::Operator] {
        let w = world().await;
        let store = &w.stack.store;
        w.realm().switch_webhook(false);
        w.realm().create_user(NewUser::named("alice")).await.unwrap();
        let down = w.servers.keycloak.faults.add(Fault::unavailable().path("/users/count"));
        let newest = async || store.runs(Some(&Stack::pair()), 1).await.unwrap().pop().expect("a run");
        let before = newest().await.id;
        let ask = Request::Run { connector: "acme".into(), target: Some("jira".into()), trigger: trigger.clone() };
        store.request(&ask, "ann", Timestamp::now()).await.unwrap();
        while newest().await.id == before || newest().await.outcome == RunOutcome::Running {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let failed = newest().await;
        assert!(matches!(failed.outcome, RunOutcome::Failed { .. }), "{failed:?}");
        assert_eq!(failed.trigger, trigger);
        w.servers.keycloak.faults.remove(down);
        let mut again = false;
        for _ in 0..if trigger == RunTrigger::Event { 1_000 } else { 100 } {
            again = newest().await.outcome == RunOutcome::Done;
            if again {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((again, w.has_account("alice")), (trigger == RunTrigger::Event, trigger == RunTrigger::Event));
        let last = newest().await;
        for _ in 0..60 {
            assert_eq!(newest().await.id, last.id, "it was run once more");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_login_reassigned_during_a_run_adds_no_other_user_to_a_group() {
    let w = world().await;
    w.jira().add_account(NewAccount::named("eve"));
    let realm = w.realm();
    realm.switch_webhook(false);
    let group = realm.create_group(None, "new").await.unwrap();
    realm.join(&w.id("staff4"), &group).await.unwrap();
    // The group is created between the walk, which sees staff4, and the addition; its creation takes time.
    let slow = w.jira().faults.add(Fault::delay_after(Duration::from_millis(400)).method("POST").path("/group").once());
    let given_away = async {
        while w.jira().faults.hits(slow) == 0 {
            tokio::task::yield_now().await;
        }
        w.jira().rename_account("staff4", "elsewhere");
        w.jira().rename_account("eve", "staff4");
    };
    let (report, ()) = tokio::join!(w.run(), given_away);
    // Only the linked account is added, whatever its current login is.
    assert_eq!(w.members("new"), ["elsewhere"], "{report:?}");
}

#[tokio::test]
async fn a_deleted_user_is_not_counted_as_unchanged() {
    let w = world().await;
    for number in 0..3 {
        w.realm().delete_user(&w.id(&format!("staff{number}"))).await.unwrap();
    }
    w.settled().await;
    let report = w.run().await;
    assert_eq!(
        (report.in_scope, report.unchanged),
        (super::support::STAFF - 3, super::support::STAFF - 3),
        "{report:?}"
    );
}
