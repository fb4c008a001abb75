//! Runs a full reconcile where no server runs.

use serde::Serialize;

use super::{Work, kept_from};
use crate::{
    cli::{
        exit::{Code, Exit, Failure, Outcome},
        out::Out,
        progress::Shown,
        report, stop,
        words::{count, thin},
    },
    engine::{Drained, Engine, FirstPlan, Report, RunOptions},
    model::{FirstRun, Pair, RunId, RunMode, RunTrigger},
    store::PairState,
};

/// The result for one pair.
#[derive(Default, Serialize)]
struct Ended {
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
    /// Id of the approval that the first run waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<i64>,
    /// Whether the first plan found no user in scope, so that the pair is not in service yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_users: bool,
    /// Number of tasks worked beside the run.
    tasks_done: usize,
    tasks_failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Synced<'a> {
    #[serde(flatten)]
    pair: &'a Pair,
    #[serde(flatten)]
    ended: Ended,
}

#[derive(Serialize)]
struct Document<'a> {
    runs: Vec<Synced<'a>>,
    /// What was done before a signal stopped the command; `None`: no signal did.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

pub(super) async fn sync(work: &Work<'_>, pairs: &[Pair]) -> Outcome {
    let out = &work.context.out;
    let engine = work.sides.engine(work.config, work.opened.store.clone());
    engine.store().ensure_pairs(&engine.pairs(), out.now).await?;
    engine.recall().await?;
    engine.try_again().await;
    let stop = stop::on_signal(out);
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    let mut stopped = None;
    for pair in pairs {
        let shown = Shown::new(out, pair.to_string());
        let options = RunOptions {
            progress: Some(shown.sender.clone()),
            cancel: stop.token.clone(),
            ..RunOptions::apply(RunTrigger::Operator)
        };
        let mut ended = Ended::default();
        let newest = engine.store().runs(Some(pair), 1).await?.first().map(|run| run.id);
        let result = one_pair(work, &engine, pair, options, &mut ended).await;
        drop(shown);
        if result.is_err() && ended.report.is_none() {
            // A failed run has stored what it did.
            let failed = engine.store().runs(Some(pair), 1).await?.into_iter().find(|run| Some(run.id) != newest);
            ended.run = failed.as_ref().map(|run| run.id);
            ended.report = failed.and_then(|run| serde_json::from_value(run.report).ok());
        }
        if !out.json {
            show(out, pair, &ended);
        }
        match result {
            Ok(one) => exit = exit.and(one),
            // The summary at the end reports it.
            Err(failure) if stop.by().is_some() && failure.code == Code::Stopped => {}
            Err(failure) => {
                exit = exit.and(failure.exit);
                out.error(&failure);
                ended.error = Some(failure.text);
            }
        }
        all.push(Synced { pair, ended });
        if let Some(signal) = stop.by() {
            let text = what_was_done(signal, &all, pairs.len());
            out.error(&text);
            (stopped, exit) = (Some(text), exit.and(signal));
            break;
        }
    }
    engine.keep_conditions().await?;
    if out.json {
        out.document(&Document { runs: all, stopped });
    }
    Ok(exit)
}

/// Describes what a stopped command has done, and what is left.
fn what_was_done(signal: Exit, all: &[Synced<'_>], pairs: usize) -> String {
    let reports = || all.iter().filter_map(|one| one.ended.report.as_ref());
    let (done, planned): (u64, u64) =
        (reports().map(Report::done_total).sum(), reports().map(Report::planned_total).sum());
    let tasks: usize = all.iter().map(|one| one.ended.tasks_done).sum();
    let mut parts = Vec::new();
    if done > 0 {
        parts.push(format!("{} of {} done", thin(done), count(planned.max(done), "operation", "operations")));
    }
    if tasks > 0 {
        parts.push(format!("{} done", count(tasks, "task", "tasks")));
    }
    if parts.is_empty() {
        parts.push("nothing was changed".to_owned());
    }
    if pairs > all.len() {
        let left = pairs - all.len();
        parts.push(format!("{} not begun", count(left, "connector and target", "connectors and targets")));
    }
    let name = stop::signal_name(signal);
    format!("Stopped by {name}: {}. The next run does the rest: usersync sync", parts.join(", "))
}

async fn one_pair(
    work: &Work<'_>,
    engine: &Engine,
    pair: &Pair,
    options: RunOptions,
    ended: &mut Ended,
) -> Result<Exit, Failure> {
    if let Some(failure) = kept_from(work.config, work.opened.store.as_ref(), pair).await? {
        return Err(failure);
    }
    let store = engine.store();
    let mut state = store.pair_state(pair).await?;
    if state == PairState::Approved && engine.withdraw_outdated_approval(pair).await? {
        state = PairState::New;
    }
    if matches!(state, PairState::New | PairState::NoUsers | PairState::Held) {
        if engine.connector(&pair.connector)?.policy.first_run == FirstRun::Hold {
            let plan = RunOptions {
                first: true,
                mode: RunMode::DryRun,
                trigger: RunTrigger::First,
                progress: options.progress.clone(),
                cancel: options.cancel.clone(),
                ..options
            };
            let (planned, report) = engine.plan_first_run(pair, &plan).await?;
            match planned {
                FirstPlan::InService => {}
                FirstPlan::Held(set) => {
                    (ended.approval, ended.report) = (Some(set), Some(report));
                    return Ok(Exit::Held);
                }
                FirstPlan::NoUsers => {
                    (ended.no_users, ended.report) = (true, Some(report));
                    return Ok(Exit::Done);
                }
            }
        } else {
            store.set_pair_state(pair, PairState::Approved, work.context.out.now).await?;
        }
        state = store.pair_state(pair).await?;
    }
    let cancel = options.cancel.clone();
    let (run, report) = if state == PairState::Approved {
        let options = RunOptions { first: true, trigger: RunTrigger::Approved, ..options };
        engine.do_first_run(pair, &options).await?
    } else {
        engine.run(pair, &options).await?
    };
    let mut exit = match () {
        () if report.has_problems() => Exit::Problems,
        () if report.held > 0 => Exit::Held,
        () => Exit::Done,
    };
    (ended.run, ended.report) = (Some(run), Some(report));
    if store.pair_state(pair).await? == PairState::InService {
        let Drained { done, failed, .. } = engine.work_due(pair, &cancel).await?;
        (ended.tasks_done, ended.tasks_failed) = (done, failed);
        if failed > 0 {
            exit = exit.and(Exit::Problems);
        }
    }
    Ok(exit)
}

fn show(out: &Out, pair: &Pair, ended: &Ended) {
    let Some(report) = &ended.report else { return };
    if out.quiet && ended.approval.is_none() && !report.has_problems() && report.held == 0 {
        return;
    }
    report::head(out, pair, report);
    if let Some(set) = ended.approval {
        report::counts(out, &report.planned, &report.lines);
        report::findings(out, report, false);
        out.prose(
            2,
            format!(
                "Planned, and held: the first run waits for approval, {}. Nothing was changed.",
                count(report.planned_total(), "operation", "operations")
            ),
        );
        out.prose(
            2,
            format!(
                "Show: usersync approvals show {set}   Approve: usersync approvals approve {set}, then usersync sync"
            ),
        );
        return;
    }
    if ended.no_users {
        out.prose(
            2,
            "The realm has no users in scope yet, so nothing is in service. Once it has users: usersync sync plans the \
             first run, which waits for approval.",
        );
        return;
    }
    report::done(out, report, false);
    if ended.tasks_done + ended.tasks_failed > 0 {
        let failed = match ended.tasks_failed {
            0 => String::new(),
            failed => {
                format!(", {} failed; the next usersync sync retries them (usersync tasks)", thin(failed))
            }
        };
        out.prose(2, format!("Also worked: {}{failed}.", count(ended.tasks_done, "task", "tasks")));
    }
    out.prose(2, format!("unchanged {}.  Protected {}.", thin(report.unchanged), thin(report.protected)));
}
