//! Stop and restart on the same store in the middle of work.

use std::time::Duration;

use jiff::Timestamp;
use usersync::{
    demo::stack::Stack,
    engine::EngineTimes,
    model::{ChangeOutcome, RunMode, RunOutcome, RunRecord, RunTrigger},
    store::{EngineStore, OperatorStore, Request, StoreReads},
};
use usersync_simulators::{
    Fault,
    fault::Kind,
    keycloak::{NewUser, UserChange},
};

use super::support::{World, on, options, world_with};

/// Returns the runs that write, newest first.
/// Waits until all runs have ended, and returns their number: a pair is in service before its first run has ended.
async fn ended_runs(w: &World) -> usize {
    loop {
        let runs = runs(w).await;
        if runs.iter().all(|run| run.outcome == RunOutcome::Done) {
            return runs.len();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn runs(w: &World) -> Vec<RunRecord> {
    let mut runs = w.stack.store.runs(Some(&Stack::pair()), 20).await.unwrap();
    runs.retain(|run| run.mode == RunMode::Apply);
    runs
}

fn a_run() -> Request {
    Request::Run { connector: "acme".into(), target: Some("jira".into()), trigger: RunTrigger::Operator }
}

/// Checks that a condition holds for as long as any work could take.
async fn stays<F: Future<Output = bool>>(holds: impl Fn() -> F) -> bool {
    for _ in 0..60 {
        if !holds().await {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

async fn restarted(w: World) -> World {
    let World { servers, stack } = w;
    stack.stop().await;
    on(servers).await
}

#[tokio::test]
async fn a_run_requested_before_a_restart_is_done_once_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.store = Some(folder.path().join("usersync.db"));
    let w = world_with(options).await;
    let before = ended_runs(&w).await;
    w.realm().switch_webhook(false);
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    let store = &w.stack.store;
    store.set_paused(&"acme".into(), true, "ann", Timestamp::now()).await.unwrap();
    store.request(&a_run(), "ann", Timestamp::now()).await.unwrap();
    assert!(stays(async || runs(&w).await.len() == before).await, "nothing is run in a pause");

    let w = restarted(w).await;
    w.stack.store.set_paused(&"acme".into(), false, "ann", Timestamp::now()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while runs(&w).await.iter().filter(|run| run.outcome == RunOutcome::Done).count() <= before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it is run");
    assert!(w.has_account("alice"));
    assert!(stays(async || runs(&w).await.len() == before + 1).await, "once");
    let w = restarted(w).await;
    assert!(stays(async || runs(&w).await.len() == before + 1).await, "also not after another restart");
}

#[tokio::test]
async fn one_run_replaces_an_interrupted_run_and_a_requested_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.store = Some(folder.path().join("usersync.db"));
    let w = world_with(options).await;
    let before = ended_runs(&w).await;
    let slow = w.jira().faults.add(Fault::delay(Duration::from_millis(400)).method("GET"));
    let store = &w.stack.store;
    store.request(&a_run(), "ann", Timestamp::now()).await.unwrap();
    while runs(&w).await.len() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.request(&a_run(), "ann", Timestamp::now()).await.unwrap();
    let World { servers, stack } = w;
    stack.stop().await;
    servers.jira.faults.remove(slow);
    let w = on(servers).await;
    while runs(&w).await[0].outcome != RunOutcome::Done {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(stays(async || runs(&w).await.len() == before + 2).await, "{:?}", runs(&w).await);
    assert_eq!(runs(&w).await[1].outcome, RunOutcome::Stopped);
}

/// Checks that each write that Jira accepted has its change, and that no intent is open. Ending sessions is part of a
/// deactivation.
pub async fn every_write_has_its_change(w: &World) {
    let took = |one: &&usersync_simulators::journal::Entry| {
        (!one.faulted || one.status.is_none()) && !one.path.contains("/user/session/")
    };
    let writes = w.writes().iter().filter(took).count();
    let changes = w.changes().await;
    assert!(writes <= changes.len(), "{writes} writes, {} changes: {changes:#?}", changes.len());
    let stale = w.stack.store.stale_intents(&usersync::demo::stack::Stack::pair(), jiff::Timestamp::now()).await;
    assert_eq!(stale.unwrap(), []);
}

#[tokio::test]
async fn after_a_stop_in_the_middle_of_work_it_continues() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.store = Some(folder.path().join("usersync.db"));
    let mut w = world_with(options).await;
    w.jira().faults.set_latency(std::time::Duration::from_millis(10));
    for round in 0..3 {
        for number in 0..8 {
            let user = NewUser::named(format!("new{round}{number}")).in_groups(&["/staff"]);
            w.realm().create_user(user).await.unwrap();
        }
        w.realm().webhook_idle().await;
        let World { servers, stack } = w;
        stack.stop().await;
        w = on(servers).await;
    }
    w.settled().await;
    every_write_has_its_change(&w).await;
    let creates = w.changes().await.iter().filter(|change| change.verb == "create").count();
    assert_eq!(creates, super::support::STAFF + 24, "each account was made once");
    w.agrees();
}

#[tokio::test]
async fn an_intent_whose_answer_was_lost_before_the_stop_is_recovered_by_a_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.store = Some(folder.path().join("usersync.db"));
    options.times = EngineTimes { call: jiff::SignedDuration::from_millis(900), ..EngineTimes::hasty() };
    let w = world_with(options).await;
    let cut = w.jira().faults.add(Fault::new(Kind::CutAfter).method("POST").path("/user").once());
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    w.realm().webhook_idle().await;
    while w.jira().faults.hits(cut) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let World { servers, stack } = w;
    stack.stop().await;
    let w = on(servers).await;
    w.calm().await;
    let outcomes: Vec<_> = w.changes_of(&w.id("alice")).await.into_iter().map(|change| change.outcome).collect();
    assert!(outcomes.contains(&ChangeOutcome::FoundDone), "{outcomes:?}");
    assert_eq!(
        w.jira()
            .journal
            .matching(|one| one.json()["name"] == "alice" && one.path.ends_with("/api/2/user") && one.method == "POST")
            .len(),
        1
    );
    every_write_has_its_change(&w).await;
    w.agrees();
}
