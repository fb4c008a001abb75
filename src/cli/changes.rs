//! `usersync changes`: every write to a target, and every refusal.

use clap::Args;

use super::{
    Context, app,
    args::{PageArgs, PairArgs, PeriodArgs, SubjectArgs},
    causes::Causes,
    exit::{Exit, Outcome},
    table::column,
};
use crate::{
    model::{Change, ChangeOutcome, Operation, RunId},
    store::{ChangeFilter, StoreReads},
};

/// Show what was written to the targets, and why
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usersync changes
  usersync changes --name alice
  usersync changes --target jira-prod --from 2h
  usersync changes --run 17 --limit 0 --json")]
pub(super) struct ChangesArgs {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    subject: SubjectArgs,
    /// Only changes of this login or group name, as it was at that time
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only changes of this run
    #[arg(long, value_name = "ID")]
    run: Option<i64>,
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    page: PageArgs,
}

impl ChangesArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let opened = app::open_for_reading(context, &config).await?;
        let filter = ChangeFilter {
            connector: self.pair.connector,
            target: self.pair.target,
            subject: self.subject.find(opened.store.as_ref()).await?,
            name: self.name,
            run: self.run.map(RunId),
            from: self.period.from(),
            to: self.period.to(),
            before: self.page.before,
            limit: self.page.limit,
        };
        let changes = opened.store.changes(&filter).await?;
        let out = &context.out;
        if out.json {
            out.document(&serde_json::json!({ "changes": changes }));
            return Ok(Exit::Done);
        }
        if changes.is_empty() {
            let only = ChangeFilter { limit: filter.limit, ..ChangeFilter::default() };
            out.say(if filter == only {
                "0 changes: nothing was written to a target yet."
            } else {
                "0 changes match the filters. All changes: usersync changes"
            });
            return Ok(Exit::Done);
        }
        let more = self.page.is_full(changes.len()).then(|| changes.last().map(|last| last.id));
        let causes = Causes::read(opened.store.as_ref(), changes.iter().map(|change| &change.cause)).await?;
        let rows = changes.iter().map(|change| {
            let after = change.caused_at.map(|at| super::words::took(change.at.duration_since(at)));
            vec![
                change.id.to_string(),
                out.exact(change.at),
                out.ago(change.at),
                change.pair.to_string(),
                sentence(change),
                outcome(&change.outcome),
                after.unwrap_or_default(),
                causes.because(&change.cause),
            ]
        });
        let columns = [
            column("id").right(),
            column("at"),
            column("").spared(),
            column("where"),
            column("what"),
            column("outcome"),
            column("after").right().spared(),
            column("because"),
        ];
        out.table(&columns, rows.collect());
        if let Some(Some(last)) = more {
            out.say(format!("Older ones: --before {last}"));
        }
        Ok(Exit::Done)
    }
}

/// Describes a change in a few words.
pub(super) fn sentence(change: &Change) -> String {
    serde_json::from_value::<Operation>(change.after.clone()).map_or_else(
        |_| {
            let why = change.after["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{} {}{why}", change.verb.replace('_', " "), change.name)
        },
        |operation| operation.to_string(),
    )
}

/// Describes the outcome of a change in words.
pub(super) fn outcome(outcome: &ChangeOutcome) -> String {
    match outcome {
        ChangeOutcome::Done => "done".to_owned(),
        ChangeOutcome::DoneWith { also } => format!("done; {also}"),
        ChangeOutcome::Refused { why, .. } => format!("refused: {why}"),
        ChangeOutcome::FoundDone => "done; no answer was received, confirmed by reading the target".to_owned(),
        ChangeOutcome::FoundNotDone => "not done; no answer was received, confirmed by reading the target".to_owned(),
        ChangeOutcome::NotSeen => "unknown; no answer was received, and the target does not show it".to_owned(),
    }
}
