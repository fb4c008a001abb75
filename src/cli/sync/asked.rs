//! Requests a full reconcile from a running server.

use std::{collections::BTreeMap, time::Duration};

use super::{Work, kept_from};
use crate::{
    cli::{
        exit::{Exit, Failure, Outcome},
        out::Out,
        progress::Shown,
        report,
        runs::outcome,
        status::exit_of as exit_of_condition,
        stop::{self, Stop},
        words::count,
    },
    engine::{Progress, Report},
    model::{ApprovalKind, ConditionCode, Pair, RunId, RunMode, RunOutcome, RunRecord, RunTrigger},
    store::{EngineStore, OperatorStore, PairState, Request, StoreReads},
};

/// Polling interval for the server's runs.
const EVERY: Duration = Duration::from_millis(300);
/// Timeout for the begin of a run, after which the command reports it and ends.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn sync(work: &Work<'_>, pairs: &[Pair], pid: &str, no_wait: bool) -> Outcome {
    let out = &work.context.out;
    let store = &work.opened.store;
    let mut exit = Exit::Done;
    let mut asked: BTreeMap<Pair, Option<RunId>> = BTreeMap::new();
    for pair in pairs {
        if let Some(failure) = kept_from(work.config, work.opened.store.as_ref(), pair).await? {
            out.error(&failure);
            exit = exit.and(failure.exit);
            continue;
        }
        if let Some(failure) = waits_for_first_run(work, pair).await? {
            out.error(format!("{pair}: {failure}"));
            exit = exit.and(failure.exit);
            continue;
        }
        let before = store.runs(Some(pair), 1).await?.first().map(|run| run.id);
        let (connector, target) = (pair.connector.clone(), Some(pair.target.clone()));
        let request = Request::Run { connector, target, trigger: RunTrigger::Operator };
        store.request(&request, &work.context.by(), out.now).await?;
        asked.insert(pair.clone(), before);
    }
    if asked.is_empty() {
        return Ok(exit);
    }
    out.say(format!("Requested from the running server (pid {pid}): {}.", count(asked.len(), "run", "runs")));
    let mut runs = Vec::new();
    if no_wait {
        out.say("Show the runs: usersync runs");
    } else {
        let stop = stop::on_signal(out);
        for (pair, before) in &asked {
            let Some(run) = follow(work, pair, *before, &stop).await? else {
                exit = exit.and(stop.by().unwrap_or(Exit::Problems));
                break;
            };
            exit = exit.and(exit_of(&run.outcome));
            if !out.json {
                show(out, &run);
            }
            runs.push(run);
        }
    }
    if out.json {
        let asked: Vec<&Pair> = asked.keys().collect();
        out.document(&serde_json::json!({ "asked": asked, "server": pid, "runs": runs }));
    }
    Ok(exit)
}

/// Returns why a pair that is not in service yet cannot run, and what to do. A rejected first run is planned again.
async fn waits_for_first_run(work: &Work<'_>, pair: &Pair) -> Result<Option<Failure>, Failure> {
    let store = &work.opened.store;
    let state = store.pair_state(pair).await?;
    if state == PairState::New {
        let mut wrong = store.conditions().await?;
        wrong.retain(|condition| condition.about.concerns(pair));
        // `RunFailed` last: the other conditions say more about what to do.
        wrong.sort_by_key(|condition| condition.code == ConditionCode::RunFailed);
        return Ok(Some(match wrong.first() {
            Some(condition) => {
                let text = format!(
                    "its first plan fails: {}. The server retries it: usersync status",
                    condition.text.trim_end_matches('.')
                );
                Failure::new(exit_of_condition(condition.code), text)
            }
            None => Failure::held("the server plans its first run automatically: usersync status"),
        }));
    }
    if state == PairState::NoUsers {
        store.set_pair_state(pair, PairState::New, work.context.out.now).await?;
        let text = "its realm had no users in scope; the server plans the first run again: usersync status";
        return Ok(Some(Failure::held(text)));
    }
    if state != PairState::Held {
        return Ok(None);
    }
    let sets = store.approvals(true).await?;
    let set = sets.iter().find(|set| set.pair == *pair && set.kind == ApprovalKind::FirstRun);
    if let Some(set) = set {
        return Ok(Some(Failure::held(format!(
            "its first run waits for approval: usersync approvals approve {}",
            set.id
        ))));
    }
    store.set_pair_state(pair, PairState::New, work.context.out.now).await?;
    Ok(Some(Failure::held("its first run was rejected; the server plans it again: usersync approvals list")))
}

/// Waits until the requested run ends, and returns it.
async fn follow(
    work: &Work<'_>,
    pair: &Pair,
    before: Option<RunId>,
    stop: &Stop,
) -> Result<Option<RunRecord>, Failure> {
    let out = &work.context.out;
    let shown = Shown::new(out, pair.to_string());
    let began = std::time::Instant::now();
    loop {
        let runs = work.opened.store.runs(Some(pair), 5).await?;
        let mut newer = runs.into_iter().filter(|run| before.is_none_or(|before| run.id > before));
        let run = newer.rfind(|run| run.mode == RunMode::Apply);
        match run {
            Some(run) if run.outcome != RunOutcome::Running => return Ok(Some(run)),
            Some(run) => {
                shown.sender.send_replace(progress(&run));
            }
            None if began.elapsed() > BEGINS_WITHIN => {
                out.error(format!(
                    "{pair}: the server has not started the run yet. It stays requested: usersync status"
                ));
                return Ok(None);
            }
            None => {}
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.token.cancelled() => {
                let signal = stop.by().map_or("a signal", stop::signal_name);
                out.error(format!("Stopped by {signal}: the run of {pair} continues in the server: usersync runs"));
                return Ok(None);
            }
        }
    }
}

fn progress(run: &RunRecord) -> Progress {
    run.progress.as_ref().map_or_else(Progress::default, |stored| Progress {
        phase: stored.phase.clone().into(),
        done: stored.done,
        total: stored.total,
        errors: stored.errors,
    })
}

fn exit_of(outcome: &RunOutcome) -> Exit {
    match outcome {
        RunOutcome::Done | RunOutcome::Running => Exit::Done,
        RunOutcome::Held => Exit::Held,
        RunOutcome::Failed { class: Some(class), .. } => Exit::of(*class),
        RunOutcome::Problems | RunOutcome::Failed { class: None, .. } | RunOutcome::Stopped => Exit::Problems,
    }
}

fn show(out: &Out, run: &RunRecord) {
    match &run.outcome {
        RunOutcome::Failed { why, .. } => out.error(format!("{}: run {} failed: {why}", run.pair, run.id)),
        RunOutcome::Stopped => out.error(format!("{}: run {} was {}", run.pair, run.id, outcome(run))),
        _ => {}
    }
    if let Ok(report) = serde_json::from_value::<Report>(run.report.clone())
        && !out.quiet
    {
        report::head(out, &run.pair, &report);
        report::done(out, &report, false);
    }
}
