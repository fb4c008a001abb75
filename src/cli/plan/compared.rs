//! Compares what a full reconcile would do with the current policy and with a changed one.

use std::{collections::HashSet, path::Path, sync::Arc};

use serde::Serialize;

use super::PlanArgs;
use crate::{
    cli::{
        Context,
        app::{self, Sides},
        exit::{Exit, Failure, Outcome},
        out::Out,
        progress::Shown,
        read_only_store::ReadOnlyStore,
        report,
        words::{count, thin},
    },
    config::Config,
    engine::{Counts, Engine, Line, Report, RunOptions, WorkError},
    model::{Pair, RunTrigger},
    store::{PairState, Store},
};

/// The difference for one pair.
#[derive(Serialize)]
struct Compared {
    #[serde(flatten)]
    pair: Pair,
    #[serde(flatten)]
    difference: Option<Difference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a changed policy makes different.
#[derive(Serialize)]
struct Difference {
    /// Number of users in scope with the current policy.
    in_scope_before: usize,
    /// The same with the changed policy.
    in_scope_after: usize,
    /// Operations that only the changed policy plans.
    added: Vec<Line>,
    /// Operations that only the current policy plans.
    dropped: Vec<Line>,
    /// Number of operations of the changed policy that would wait for approval.
    held: usize,
    /// Why one of the reads may be incomplete; `null`: both are complete.
    incomplete: Option<String>,
}

impl Difference {
    fn new(before: Report, after: Report) -> Self {
        let keys = |report: &Report| report.lines.iter().map(key).collect::<HashSet<String>>();
        let only = |report: &Report, other: &HashSet<String>| -> Vec<Line> {
            report.lines.iter().filter(|line| !other.contains(&key(line))).cloned().collect()
        };
        Self {
            in_scope_before: before.in_scope,
            in_scope_after: after.in_scope,
            added: only(&after, &keys(&before)),
            dropped: only(&before, &keys(&after)),
            held: after.held,
            incomplete: before.incomplete.or(after.incomplete),
        }
    }
}

/// Returns what identifies an operation. Its cause may differ.
fn key(line: &Line) -> String {
    serde_json::to_string(&(&line.subject, &line.operation)).unwrap_or_default()
}

impl PlanArgs {
    pub(super) async fn compare(&self, context: &Context, file: &Path) -> Outcome {
        let current = context.config()?;
        let pairs = app::pairs(&current, &self.pair)?;
        let changed = with_policies(&current, &context.config_at_without_files(file)?, file, &pairs)?;
        let opened = app::open_for_reading(context, &current).await?;
        let store: Arc<dyn Store> = opened.store;
        let engine = |config: &Config| -> Result<Engine, Failure> {
            Ok(Sides::new(config)?.engine(config, Arc::new(ReadOnlyStore::new(Arc::clone(&store)))))
        };
        let (before, after) = (engine(&current)?, engine(&changed)?);
        let out = &context.out;
        let mut exit = Exit::Done;
        let mut all = Vec::new();
        for pair in pairs {
            let first = store.pair_state(&pair).await? != PairState::InService;
            let mut compared = Compared { pair, difference: None, error: None };
            match compare_pair(out, &compared.pair, first, [&before, &after]).await {
                Ok(difference) => {
                    exit = exit.and(if difference.incomplete.is_some() { Exit::Problems } else { Exit::Done });
                    if !out.json {
                        self.show_difference(out, &compared.pair, &difference);
                    }
                    compared.difference = Some(difference);
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    exit = exit.and(failure.exit);
                    out.error(format!("{}: {failure}", compared.pair));
                    compared.error = Some(failure.text);
                }
            }
            all.push(compared);
        }
        if out.json {
            out.document(&serde_json::json!({ "policy": file, "differences": all }));
        }
        Ok(exit)
    }

    fn show_difference(&self, out: &Out, pair: &Pair, difference: &Difference) {
        let (before, after) = (difference.in_scope_before, difference.in_scope_after);
        out.prose(4, format!("{}    in scope {} → {}", out.strong(&pair.to_string()), thin(before), thin(after)));
        if let Some(incomplete) = &difference.incomplete {
            out.prose(4, format!("The comparison is not reliable, because a read is incomplete: {incomplete}"));
        }
        if difference.added.is_empty() && difference.dropped.is_empty() {
            return out.say("No difference: both policies plan the same operations.");
        }
        for (title, lines) in
            [("only with the changed policy:", &difference.added), ("no longer:", &difference.dropped)]
        {
            if lines.is_empty() {
                continue;
            }
            out.line(title);
            if self.list {
                report::list(out, &lines.clone().into());
            } else {
                report::counts(out, &counts(lines), lines);
            }
        }
        if difference.held > 0 {
            let held = count(difference.held, "operation", "operations");
            out.prose(4, format!("With the changed policy, {held} would wait for approval."));
        }
        if !self.list {
            out.say("Show them: --list   As JSON: --json");
        }
    }
}

async fn compare_pair(
    out: &Out,
    pair: &Pair,
    first: bool,
    [before, after]: [&Engine; 2],
) -> Result<Difference, WorkError> {
    let plan = async |engine: &Engine| {
        let shown = Shown::new(out, pair.to_string());
        let options = RunOptions {
            first,
            progress: Some(shown.sender.clone()),
            keep: usize::MAX,
            ..RunOptions::dry(RunTrigger::Operator)
        };
        Ok::<_, WorkError>(Box::pin(engine.run(pair, &options)).await?.1)
    };
    Ok(Difference::new(plan(before).await?, plan(after).await?))
}

fn counts(lines: &[Line]) -> Counts {
    let mut counts = Counts::new();
    for line in lines {
        *counts.entry(line.operation.verb().to_owned()).or_default() += 1;
    }
    counts
}

/// Returns the current configuration with the policies of the other one.
fn with_policies(current: &Config, other: &Config, file: &Path, pairs: &[Pair]) -> Result<Config, Failure> {
    let mut changed = current.clone();
    for connector in changed.connectors.iter_mut().filter(|one| pairs.iter().any(|pair| pair.connector == one.name)) {
        let Some(found) = other.connectors.iter().find(|found| found.name == connector.name) else {
            return Err(Failure::usage(format!(
                "{}: it has no connector {}; write the configuration with the changed policy to it",
                file.display(),
                connector.name
            )));
        };
        connector.policy.clone_from(&found.policy);
    }
    for target in &mut changed.targets {
        // The attributes that the policy sets, which the target has to read.
        if let Some(found) = other.targets.iter().find(|found| found.name == target.name) {
            target.attributes.clone_from(&found.attributes);
        }
    }
    Ok(changed)
}
