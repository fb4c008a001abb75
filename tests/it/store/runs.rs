//! Runs: recorded, followed, cancelled and requested.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn a_run_is_recorded(store: World) {
    let other = Pair::new("corp", "wiki");
    let first = store.begin_run(&pair(), RunTrigger::First, RunMode::DryRun, at(1)).await.unwrap();
    let second = store.begin_run(&other, RunTrigger::Schedule, RunMode::Apply, at(2)).await.unwrap();
    assert!(second > first);
    store.progress_run(first, serde_json::json!({"read": 10})).await.unwrap();
    let runs = store.runs(None, 9).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [second, first]);
    let expected = RunRecord {
        id: first,
        pair: pair(),
        trigger: RunTrigger::First,
        mode: RunMode::DryRun,
        started_at: at(1),
        ended_at: None,
        outcome: RunOutcome::Running,
        cancelled_by: None,
        progress: None,
        report: serde_json::json!({"read": 10}),
    };
    assert_eq!(runs[1], expected);
    let failed = RunOutcome::Failed { why: "no rights".into(), class: Some(ErrorClass::Forbidden) };
    store.end_run(first, failed.clone(), serde_json::json!({"read": 11}), at(3)).await.unwrap();
    let runs = store.runs(Some(&pair()), 9).await.unwrap();
    assert_eq!((runs.len(), runs[0].outcome.clone(), runs[0].ended_at), (1, failed, Some(at(3))));
    // An ended run stays unchanged.
    let late = store.end_run(first, RunOutcome::Done, serde_json::Value::Null, at(4)).await;
    assert!(matches!(late, Err(StoreError::NotFound(_))));
    assert!(matches!(store.progress_run(first, serde_json::Value::Null).await, Err(StoreError::NotFound(_))));
    // The end of the process stops the other run.
    store.crash(at(5)).await;
    assert_eq!(store.runs(None, 1).await.unwrap()[0].outcome, RunOutcome::Stopped);
    assert!(store.runs(Some(&Pair::new("no", "body")), 9).await.unwrap().is_empty());
}

pub async fn a_run_in_progress_has_its_progress_and_can_be_cancelled(store: World) {
    let newest = async || store.runs(None, 1).await.unwrap().remove(0);
    let progress =
        RunProgress { phase: "applying".into(), phase_began: at(1), done: 3, total: 10, errors: 1, at: at(2) };
    for is_cancelled in [true, false] {
        store.request_run(&pair()).await.unwrap();
        let run = store.begin_run(&pair(), RunTrigger::Event, RunMode::Apply, at(1)).await.unwrap();
        store.note_progress(run, &progress).await.unwrap();
        assert_eq!(newest().await.progress, Some(progress.clone()));
        if is_cancelled {
            store.cancel_run(run, "ann", at(3)).await.unwrap();
            store.cancel_run(run, "bob", at(3)).await.unwrap();
        }
        store.end_run(run, RunOutcome::Stopped, serde_json::Value::Null, at(4)).await.unwrap();
        let ended = newest().await;
        assert_eq!((ended.progress, ended.cancelled_by), (None, is_cancelled.then(|| "ann".to_owned())));
        let requested = store.requested_run(&pair()).await.unwrap();
        assert_eq!(requested, (!is_cancelled).then_some(RunTrigger::Event), "only a cancelled run is not repeated");
        store.note_progress(run, &progress).await.unwrap();
        assert_eq!(newest().await.progress, None, "it has ended");
        assert!(matches!(store.cancel_run(run, "ann", at(5)).await, Err(StoreError::NotFound(_))));
    }
    assert!(store.audit(None, 9).await.unwrap().iter().any(|line| line.what.starts_with("requested: cancel run")));
}

fn a_run(target: Option<&str>, trigger: RunTrigger) -> Request {
    Request::Run { connector: connector(), target: target.map(TargetName::from), trigger }
}

pub async fn a_run_stays_requested_until_it_begins(store: World) {
    let wiki = Pair::new("corp", "wiki");
    store.ensure_pairs(&[pair(), wiki.clone(), Pair::new("other", "jira")], at(0)).await.unwrap();
    assert_eq!(store.requested_run(&pair()).await.unwrap(), None);
    for target in [None, Some("jira"), None] {
        store.request(&a_run(target, RunTrigger::Operator), "eve", at(1)).await.unwrap();
    }
    assert_eq!(store.requested_run(&Pair::new("other", "jira")).await.unwrap(), None);
    store.crash(at(2)).await;
    // A dry run answers no request; neither does a run of another pair.
    store.begin_run(&pair(), RunTrigger::Operator, RunMode::DryRun, at(3)).await.unwrap();
    for pair in [pair(), wiki.clone()] {
        assert_eq!(store.requested_run(&pair).await.unwrap(), Some(RunTrigger::Operator));
        let run = store.begin_run(&pair, RunTrigger::Schedule, RunMode::Apply, at(3)).await.unwrap();
        assert_eq!(store.requested_run(&pair).await.unwrap(), None, "once");
        // It is requested again during the run.
        store.request(&a_run(Some("jira"), RunTrigger::Operator), "eve", at(4)).await.unwrap();
        store.end_run(run, RunOutcome::Done, serde_json::Value::Null, at(5)).await.unwrap();
    }
    assert_eq!(store.requested_run(&pair()).await.unwrap(), Some(RunTrigger::Operator));
    assert_eq!(store.requested_run(&wiki).await.unwrap(), None);
}

pub async fn a_run_requested_by_an_event_stays_requested_until_a_run_completes(store: World) {
    let event = Some(RunTrigger::Event);
    let begin = async |at| store.begin_run(&pair(), RunTrigger::Event, RunMode::Apply, at).await.unwrap();
    let end = async |run, outcome, at| store.end_run(run, outcome, serde_json::Value::Null, at).await.unwrap();
    let asked = async || store.requested_run(&pair()).await.unwrap();
    store.request(&a_run(Some("jira"), RunTrigger::Event), "eve", at(1)).await.unwrap();
    store.request(&a_run(Some("jira"), RunTrigger::Operator), "eve", at(1)).await.unwrap();
    let run = begin(at(2)).await;
    assert_eq!(asked().await, None);
    end(run, RunOutcome::Failed { why: "503".into(), class: None }, at(3)).await;
    assert_eq!(asked().await, event, "a person sees that it failed");
    let run = begin(at(4)).await;
    // Requested again meanwhile: one run is enough.
    store.request(&a_run(Some("jira"), RunTrigger::Event), "eve", at(5)).await.unwrap();
    end(run, RunOutcome::Stopped, at(6)).await;
    assert_eq!(asked().await, event);
    begin(at(7)).await;
    assert_eq!(asked().await, None);
    store.crash(at(9)).await;
    assert_eq!(asked().await, event, "the process ended before the run did");
    let run = begin(at(10)).await;
    end(run, RunOutcome::Problems, at(11)).await;
    assert_eq!(asked().await, None);
    store.crash(at(12)).await;
    assert_eq!(asked().await, None);
}
