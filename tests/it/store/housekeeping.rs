//! Pruning, counters, and what is stored of the webhook.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn hooks_of_removed_connectors_are_stored(store: World) {
    let signs = |file: &str| serde_json::json!({ "file": file });
    let both = [("acme".into(), signs("a")), ("partners".into(), signs("p"))];
    assert_eq!(store.remember_hooks(&both).await.unwrap(), []);
    let kept = [("acme".into(), signs("a2"))];
    assert_eq!(store.remember_hooks(&kept).await.unwrap(), [("partners".into(), signs("p"))]);
    assert_eq!(
        store.remember_hooks(&[]).await.unwrap(),
        [("acme".into(), signs("a2")), ("partners".into(), signs("p"))]
    );
}

pub async fn old_records_are_pruned_and_open_ones_kept(store: World) {
    for nth in 0..5 {
        store.event(&format!("e{nth}"), &[], at(nth)).await;
    }
    let old = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(0)).await.unwrap();
    store.end_run(old, RunOutcome::Done, serde_json::Value::Null, at(1)).await.unwrap();
    let last = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(1)).await.unwrap();
    store.end_run(last, RunOutcome::Done, serde_json::Value::Null, at(2)).await.unwrap();
    let dry = store.begin_run(&pair(), RunTrigger::Operator, RunMode::DryRun, at(1)).await.unwrap();
    store.end_run(dry, RunOutcome::Done, serde_json::Value::Null, at(900)).await.unwrap();
    store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(0)).await.unwrap();
    let ann = store.work(&user("ann"), at(0)).await;
    let id = store.intend(ann.token, create("ann"), at(9), at(0)).await;
    store.resolve(ann.token, id, ChangeOutcome::Done, at(1)).await;
    store.intend(ann.token, create("ann"), at(9), at(1)).await;
    let held = vec![hold(ApprovalKind::Adoption, "a", "f"), hold(ApprovalKind::Adoption, "b", "f")];
    store.complete(ann.token, Step::default(), held, at(1), at(1)).await.unwrap();
    let (set, items) = store.approval(store.approvals(true).await.unwrap()[0].id).await.unwrap();
    let reject = Decision { set: set.id, items: vec![items[0].id], approve: false, by: "eve".into(), note: None };
    store.decide(&reject, at(1)).await.unwrap();

    // Two events, then one more; a change, a run and an audit entry with the first.
    assert_eq!(store.prune(at(3), 2).await.unwrap(), 5);
    assert_eq!(store.prune(at(3), 2).await.unwrap(), 1);
    assert_eq!(store.prune(at(3), 2).await.unwrap(), 0);
    assert_eq!(store.events(&EventFilter::default()).await.unwrap().len(), 2);
    assert!(store.changes(&ChangeFilter::default()).await.unwrap().is_empty());
    assert_eq!(store.runs(None, 9).await.unwrap().len(), 3);
    assert_eq!(store.prune(at(1_000), 100).await.unwrap(), 3);
    // The last successful full reconcile stays, however old, and the one that has not ended.
    assert_eq!(store.runs(None, 9).await.unwrap().len(), 2);
    assert_eq!(store.counts(&pair(), at(1_000)).await.unwrap().last_successful_run, Some(at(2)));
    let (set, items) = store.approval(set.id).await.unwrap();
    assert_eq!((set.open, items.len()), (true, 2));
    assert_eq!(store.claims(&user("ann"), at(9)).await.intents.len(), 1);
    // A deleted event can be stored again.
    assert_eq!(store.event("e0", &[], at(5)).await.stored, 1);
}

pub async fn refused_requests_are_counted_until_an_event_is_accepted(store: World) {
    let refused = |connector: Option<&str>, count, since, last| Refusals {
        connector: connector.map(Into::into),
        reason: RefusalReason::WrongSecret,
        count,
        since: at(since),
        last: at(last),
    };
    store.note_refusals(&[refused(Some("corp"), 1, 1, 1), refused(None, 7, 2, 3)]).await.unwrap();
    store.note_refusals(&[refused(Some("corp"), 4, 5, 9)]).await.unwrap();
    let expected = [refused(Some("corp"), 5, 1, 9), refused(None, 7, 2, 3)];
    assert_eq!(store.refusals().await.unwrap(), expected, "counts add up, each connector for itself");
    store.append_events(&"other".into(), &[], vec![event("1", &[])], at(10)).await.unwrap();
    store.note_refusals(&[refused(Some("corp"), 1, 11, 11)]).await.unwrap();
    assert_eq!(store.refusals().await.unwrap()[0], refused(Some("corp"), 6, 1, 11));
    store.append_events(&"corp".into(), &[], vec![event("1", &[])], at(12)).await.unwrap();
    store.note_refusals(&[refused(Some("corp"), 2, 13, 14)]).await.unwrap();
    assert_eq!(store.refusals().await.unwrap()[0], refused(Some("corp"), 2, 13, 14), "an accepted event ends a series");
    let a_day_later = 14 + 24 * 60 * 60 + 1;
    store.note_refusals(&[refused(Some("corp"), 1, a_day_later, a_day_later)]).await.unwrap();
    assert_eq!(store.refusals().await.unwrap()[0], refused(Some("corp"), 1, a_day_later, a_day_later));
}

pub async fn the_state_of_an_alert_is_kept(store: World) {
    assert_eq!(store.alert_state("ops").await.unwrap(), AlertState::default());
    let report = PairReport {
        pair: pair(),
        state: "stopped".into(),
        sentence: "Stopped.".into(),
        problems: [(ProblemKey { kind: AlertKind::Stopped, about: String::new() }, "Stopped.".into())].into(),
    };
    let mut state = AlertState::default();
    let after = jiff::SignedDuration::ZERO;
    assert!(state.observe(&[report], &mut Settling::default(), after, at(1), || "a".to_owned()));
    state.failed(&pair(), "HTTP 500".into(), at(2), |_| Some(after));
    store.keep_alert_state("ops", &state).await.unwrap();
    assert_eq!((store.alert_state("ops").await.unwrap(), state.waiting()), (state, 1));
    assert_eq!(store.alert_state("other").await.unwrap().waiting(), 0);
}

pub async fn alerts_that_are_gone_are_forgotten(store: World) {
    let mut state = AlertState::default();
    state.schedule_digest(at(1), Some);
    for name in ["ops", "it's", "gone"] {
        store.keep_alert_state(name, &state).await.unwrap();
    }
    store.forget_alerts_but(&["ops".to_owned(), "it's".to_owned()]).await.unwrap();
    for (name, is_kept) in [("ops", true), ("it's", true), ("gone", false)] {
        assert_eq!(store.alert_state(name).await.unwrap() == state, is_kept, "{name}");
    }
    store.forget_alerts_but(&[]).await.unwrap();
    assert_eq!(store.alert_state("ops").await.unwrap(), AlertState::default());
}

pub async fn what_happened_to_a_pair_is_counted(store: World) {
    assert_eq!(store.activity(&pair(), at(0)).await.unwrap(), Activity::default());
    let runs = [
        (RunMode::Apply, 1, RunOutcome::Done),
        (RunMode::Apply, 5, RunOutcome::Done),
        (RunMode::Apply, 6, RunOutcome::Failed { why: "503".into(), class: None }),
        (RunMode::DryRun, 7, RunOutcome::Done),
    ];
    for (mode, second, outcome) in runs {
        let run = store.begin_run(&pair(), RunTrigger::Schedule, mode, at(second)).await.unwrap();
        store.end_run(run, outcome, serde_json::Value::Null, at(second)).await.unwrap();
    }
    let ann = store.work(&user("ann"), at(0)).await;
    let outcomes = [
        (2, ChangeOutcome::Done),
        (5, ChangeOutcome::Done),
        (6, ChangeOutcome::FoundDone),
        (6, ChangeOutcome::DoneWith { also: "boss leads the project KEY now".into() }),
        (7, ChangeOutcome::Refused { why: "no".into(), permanent: false }),
        (8, ChangeOutcome::FoundNotDone),
        (9, ChangeOutcome::NotSeen),
    ];
    let took_effect = outcomes.iter().filter(|(second, outcome)| *second >= 5 && outcome.took_effect()).count();
    for (second, outcome) in outcomes {
        let id = store.intend(ann.token, create("ann"), at(900), at(second)).await;
        store.resolve(ann.token, id, outcome, at(second)).await;
    }
    let activity = store.activity(&pair(), at(5)).await.unwrap();
    assert_eq!((activity.runs, activity.failed_runs), (2, 1));
    assert_eq!((took_effect, activity.changes), (3, [("create".to_owned(), 3)].into()));
    assert_eq!(store.activity(&pair(), at(900)).await.unwrap(), Activity::default());
}

pub async fn it_reports_that_it_works(store: World) {
    store.check().await.unwrap();
}
