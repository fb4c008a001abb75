//! `usersync runs`: the recorded runs of the full reconcile.

use crate::store::StoreReads;
use clap::{Args, Subcommand};

mod cancel;
mod evidence;

use super::{
    Context, app,
    args::PairArgs,
    exit::{Exit, Failure, Outcome},
    out::Out,
    progress, report,
    table::column,
    words::{thin, took},
};
use crate::{
    engine::{Counts, Report},
    model::{Pair, RunMode, RunOutcome, RunRecord, RunTrigger},
};

/// Show the runs of the full reconcile
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  usersync runs
  usersync runs --connector acme --target jira-prod --limit 5
  usersync runs show 17
  usersync runs cancel 17"
)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show runs, newest first (the default subcommand)
    #[command(after_help = "Example:\n  usersync runs list --limit 5")]
    List(ListArgs),
    /// Show one run: what it read, planned and did
    #[command(after_help = "Example:\n  usersync runs show 17")]
    Show {
        /// Run id
        id: i64,
        /// Show its operations (of a plan: the planned ones), one a line; the first 1 000 operations of a run are kept
        #[arg(long)]
        list: bool,
    },
    /// Cancel a run of the server: the users in progress are completed, the rest is left to the next run
    ///
    /// A first run is not cancelled, because it would start again: pause its connector.
    #[command(after_help = "Example:\n  usersync runs cancel 17")]
    Cancel {
        /// Run id
        id: i64,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    pair: PairArgs,
    /// Maximum number of runs for each connector on each target, newest first; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

impl RunsArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            None => list(context, self.list).await,
            Some(Command::List(args)) => list(context, args).await,
            Some(Command::Show { id, list }) => show(context, id, list).await,
            Some(Command::Cancel { id }) => cancel::cancel(context, id).await,
        }
    }
}

async fn list(context: &Context, args: ListArgs) -> Outcome {
    let config = context.config()?;
    let pairs: Vec<Pair> = app::pairs(&config, &args.pair)?;
    let opened = app::open_for_reading(context, &config).await?;
    let mut runs = Vec::new();
    for pair in &pairs {
        runs.extend(opened.store.runs(Some(pair), args.limit).await?);
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.id));
    let out = &context.out;
    if out.json {
        out.document(&serde_json::json!({ "runs": runs }));
    } else if runs.is_empty() {
        out.say("0 runs: none was started yet. Start one: usersync sync");
    } else {
        let rows = runs.iter().map(|run| {
            let report = serde_json::from_value::<Report>(run.report.clone()).ok();
            vec![
                run.id.to_string(),
                out.exact(run.started_at),
                out.ago(run.started_at),
                run.pair.to_string(),
                trigger(&run.trigger).to_owned(),
                outcome(run),
                run.ended_at.map(|end| took(end.duration_since(run.started_at))).unwrap_or_default(),
                match &run.progress {
                    Some(progress) => progress::describe_stored(progress, out.now),
                    None => report.map(|report| did(run, &report)).unwrap_or_default(),
                },
            ]
        });
        let columns = [
            column("id").right(),
            column("began"),
            column("").spared(),
            column("where"),
            column("because").spared(),
            column("outcome"),
            column("took").right(),
            column("what it did"),
        ];
        out.table(&columns, rows.collect());
    }
    Ok(Exit::Done)
}

async fn show(context: &Context, id: i64, list: bool) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let run = find(opened.store.as_ref(), id).await?;
    let out = &context.out;
    if out.json {
        out.document(&serde_json::json!({ "run": run }));
    } else {
        whole(out, &run, list);
    }
    Ok(Exit::Done)
}

/// Returns a run by its id.
async fn find(store: &dyn StoreReads, id: i64) -> Result<RunRecord, Failure> {
    let runs = store.runs(None, 0).await?;
    let run = runs.into_iter().find(|run| run.id.0 == id);
    run.ok_or_else(|| Failure::usage(format!("{id}: there is no such run. The newest: usersync runs")))
}

fn whole(out: &Out, run: &RunRecord, list: bool) {
    let dry = if run.mode == RunMode::DryRun { ", dry run" } else { "" };
    out.prose(
        4,
        format!(
            "run {}    {}{dry}    began {}    {}",
            run.id,
            trigger(&run.trigger),
            out.when(run.started_at),
            outcome(run)
        ),
    );
    if let Some(progress) = &run.progress {
        out.prose(4, format!("In progress: {}", progress::describe_stored(progress, out.now)));
    }
    let Ok(mut report) = serde_json::from_value::<Report>(run.report.clone()) else {
        out.prose(4, "No report was kept: the run has not ended, or could not start.");
        return;
    };
    // Older reports have no reason.
    report.nothing_done = report.nothing_done.take().or_else(|| report.why_nothing(run.mode, &run.outcome));
    report::head(out, &run.pair, &report);
    evidence::show(out, &report.evidence);
    if run.mode == RunMode::DryRun {
        if list {
            report::list(out, &report.lines);
        }
        report::counts(out, &report.planned, &report.lines);
        report::findings(out, &report, list);
        report::nothing_done(out, &report);
    } else {
        if list {
            report::list(out, &report.did);
        }
        report::done(out, &report, list);
    }
    out.prose(
        4,
        format!(
            "unchanged {}.  Protected {}.  {}",
            thin(report.unchanged),
            thin(report.protected),
            report::safety_limits(&report)
        ),
    );
    out.say(format!("Its changes: usersync changes --run {}", run.id));
}

/// Describes the trigger of a run.
pub(super) fn trigger(trigger: &RunTrigger) -> &'static str {
    match trigger {
        RunTrigger::Schedule => "schedule",
        RunTrigger::Missed => "missed schedule",
        RunTrigger::Operator => "requested by an operator",
        RunTrigger::Event => "requested by an event",
        RunTrigger::PolicyChanged => "changed policy",
        RunTrigger::First => "first plan",
        RunTrigger::Approved => "first run, approved",
    }
}

/// Describes the outcome of a run.
pub(super) fn outcome(run: &RunRecord) -> String {
    match (&run.outcome, &run.cancelled_by) {
        (RunOutcome::Running, Some(by)) => return format!("running, being cancelled by {by}"),
        (RunOutcome::Stopped, Some(by)) => return format!("cancelled by {by}"),
        _ => {}
    }
    match &run.outcome {
        RunOutcome::Running => "running".to_owned(),
        RunOutcome::Done => "done".to_owned(),
        RunOutcome::Problems => "done, with problems".to_owned(),
        RunOutcome::Held => "operations held".to_owned(),
        RunOutcome::Failed { why, .. } => format!("failed: {}", why.trim_end_matches('.')),
        RunOutcome::Stopped => "stopped".to_owned(),
    }
}

/// Describes what a run did, such as `create 14, add member 41`; for a dry run, what it planned.
pub(super) fn did(run: &RunRecord, report: &Report) -> String {
    let reported = |counts: &Counts| {
        let parts = counts.iter().map(|(verb, number)| format!("{} {}", verb.replace('_', " "), thin(*number)));
        parts.collect::<Vec<_>>().join(", ")
    };
    match run.mode {
        RunMode::DryRun if report.planned.is_empty() => "planned nothing".to_owned(),
        RunMode::DryRun => format!("planned {}", reported(&report.planned)),
        RunMode::Apply if report.done.is_empty() && matches!(run.outcome, RunOutcome::Failed { .. }) => {
            "nothing was done".to_owned()
        }
        RunMode::Apply if report.done.is_empty() => {
            format!("nothing done: {} of {} in sync", thin(report.unchanged), thin(report.in_scope))
        }
        RunMode::Apply => reported(&report.done),
    }
}
