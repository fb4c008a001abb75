//! `usersync drift`: changes in the targets that did not come from usersync.

use clap::Args;
use serde::Serialize;

use super::{
    Context, app,
    args::{LimitArgs, PairArgs},
    exit::{Exit, Outcome},
    explain::policy_of,
    out::Out,
    report,
    table::column,
    words::{count, thin},
};
use crate::{
    engine::{DriftReport, Report},
    model::{DriftRule, Handling, Pair, RunMode, RunOutcome, RunRecord},
    store::StoreReads,
};

/// Maximum number of runs that are searched for the last one that ended well.
const RUNS: usize = 20;

/// List changes in the targets that did not come from usersync
#[derive(Debug, Args)]
#[command(
    long_about = "\
List changes in the targets that did not come from usersync, as the last full reconcile of each connector on each target \
found them: what the target had, what Keycloak says, and what became of it.

mended: the target has again what Keycloak says. reported: it stays, because the policy has drift = \"report\", or keeps \
unmanaged members. held: it waits for approval, or was rejected. open: it was not mended, because of an error or a limit.",
    after_help = "\
Examples:
  usersync drift
  usersync drift --connector acme --target jira-prod --limit 0
  usersync drift --json"
)]
pub(super) struct DriftArgs {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    list: LimitArgs,
}

/// The drift of a pair.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    pair: Pair,
    /// What happens to drift.
    setting: DriftRule,
    /// The full reconcile that found it; `None`: none has ended yet.
    run: Option<i64>,
    /// When it began.
    at: Option<jiff::Timestamp>,
    /// Number of changes, even if fewer are listed.
    total: u64,
    #[serde(flatten)]
    drift: DriftReport,
}

impl DriftArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let pairs = app::pairs(&config, &self.pair)?;
        let opened = app::open_for_reading(context, &config).await?;
        let mut all = Vec::new();
        for pair in pairs {
            let runs = opened.store.runs(Some(&pair), RUNS).await?;
            let last = of_last_run(&runs);
            let (run, at) = (last.as_ref().map(|(run, _)| run.id.0), last.as_ref().map(|(run, _)| run.started_at));
            let drift = last.map(|(_, drift)| drift).unwrap_or_default();
            let setting = policy_of(&config, &pair.connector).drift_in(&pair.target);
            all.push(Found { pair, setting, run, at, total: drift.total(), drift });
        }
        if context.out.json {
            let most = if self.list.limit == 0 { usize::MAX } else { self.list.limit };
            for found in &mut all {
                found.drift.keep_first(most);
            }
            context.out.document(&serde_json::json!({ "pairs": all }));
        } else {
            for found in &all {
                self.print(&context.out, found);
            }
        }
        Ok(Exit::Done)
    }

    fn print(&self, out: &Out, Found { pair, run, at, total, drift, .. }: &Found) {
        let (Some(run), Some(at)) = (run, at) else {
            out.say(format!("{pair}: no full reconcile has ended yet. Start one: usersync sync"));
            return;
        };
        let changes =
            count(*total, "change that did not come from usersync", "changes that did not come from usersync");
        out.prose(
            4,
            format!("{}    full reconcile {run}, {}: {changes}", out.strong(&pair.to_string()), out.when(*at)),
        );
        if *total == 0 {
            return;
        }
        for line in report::drift_counts(drift) {
            out.prose(4, format!("  {line}"));
        }
        let most = if self.list.limit == 0 { usize::MAX } else { self.list.limit };
        let rows = drift.found.iter().take(most).map(|line| {
            let of = line.drift.of.as_ref().map(|of| format!(" ({of})")).unwrap_or_default();
            vec![
                line.name.clone(),
                format!("{}{of}", line.drift.kind.what()),
                line.drift.found.clone(),
                line.drift.wanted.clone(),
                line.handling.key().to_owned(),
            ]
        });
        let columns = [column("who"), column("what"), column("in the target"), column("Keycloak"), column("drift")];
        let rows: Vec<_> = rows.collect();
        let shown = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        out.table(&columns, rows);
        if *total > shown {
            out.say(format!("and {} more", thin(*total - shown)));
        }
    }
}

/// Returns the last full reconcile that applied its plan to the end, and the drift that it found.
pub(super) fn of_last_run(runs: &[RunRecord]) -> Option<(&RunRecord, DriftReport)> {
    let is_whole = |run: &&RunRecord| {
        run.mode == RunMode::Apply && matches!(run.outcome, RunOutcome::Done | RunOutcome::Problems | RunOutcome::Held)
    };
    let run = runs.iter().find(is_whole)?;
    let report = serde_json::from_value::<Report>(run.report.clone()).ok()?;
    Some((run, report.drift))
}

/// Returns the number of changes that stay, as the last full reconcile found them.
pub(super) fn reported(runs: &[RunRecord]) -> u64 {
    of_last_run(runs).map_or(0, |(_, drift)| drift.number(Handling::Reported))
}
