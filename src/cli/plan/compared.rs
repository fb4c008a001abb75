//! Compares what a full reconcile would do with the current policy and with a changed one.

use std::{collections::HashSet, path::Path, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;

use super::{PlanArgs, exit_of};
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
    /// What only the plan of the changed policy reports.
    findings: NewFindings,
    /// Number of operations of the current policy that would wait for approval.
    held_before: usize,
    /// The same with the changed policy.
    held: usize,
    /// Why one of the reads may be incomplete; `null`: both are complete.
    incomplete: Option<String>,
    /// Whether the plans of both policies have problems.
    #[serde(skip)]
    both_have_problems: bool,
    /// The exit code of the changed policy's plan.
    #[serde(skip)]
    exit: Exit,
}

/// Entries of a report that the report on the current policy does not have.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct NewFindings {
    /// Users and groups with two candidates.
    conflicts: Vec<String>,
    /// What the target does not support.
    unsupported: Vec<String>,
    /// What is not confirmed, and so not done.
    unconfirmed: Vec<String>,
    /// Leavers within their grace period.
    leaving: Vec<String>,
    /// Accounts that are never changed.
    not_changed: Vec<String>,
}

impl NewFindings {
    fn new(before: &Report, after: &Report) -> Self {
        Self {
            conflicts: new_entries(&before.conflicts, &after.conflicts),
            unsupported: new_entries(&before.unsupported, &after.unsupported),
            unconfirmed: new_entries(&before.unconfirmed, &after.unconfirmed),
            leaving: new_entries(&before.leaving, &after.leaving),
            not_changed: new_entries(&before.not_changed, &after.not_changed),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns a report that has only these findings.
    fn report(&self) -> Report {
        Report {
            conflicts: self.conflicts.clone().into(),
            unsupported: self.unsupported.clone().into(),
            unconfirmed: self.unconfirmed.clone().into(),
            leaving: self.leaving.clone().into(),
            not_changed: self.not_changed.clone().into(),
            ..Report::default()
        }
    }
}

fn new_entries(before: &[String], after: &[String]) -> Vec<String> {
    let known: HashSet<String> = before.iter().map(|entry| without_times(entry)).collect();
    after.iter().filter(|entry| !known.contains(&without_times(entry))).cloned().collect()
}

/// Returns a text without its times, such as the one of a read, which differs between the two plans.
fn without_times(text: &str) -> String {
    let is_time = |word: &&str| word.trim_end_matches([';', ',', '.']).parse::<Timestamp>().is_ok();
    text.split(' ').filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ")
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
            findings: NewFindings::new(&before, &after),
            held_before: before.held,
            held: after.held,
            both_have_problems: before.has_problems() && after.has_problems(),
            exit: exit_of(&after),
            incomplete: before.incomplete.or(after.incomplete),
        }
    }

    /// Returns whether both policies plan the same operations and the changed one reports nothing new.
    fn has_same_plan(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty() && self.findings.is_empty()
    }

    /// Returns whether nothing differs, not even the number of users in scope and of operations that wait.
    fn is_none(&self) -> bool {
        self.has_same_plan() && self.in_scope_before == self.in_scope_after && self.held_before == self.held
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
                    exit = exit.and(difference.exit);
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
        if difference.is_none() {
            out.say("No difference: both policies plan the same operations, and the changed one reports nothing new.");
        } else if difference.has_same_plan() {
            out.say("Both policies plan the same operations.");
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
        if !difference.findings.is_empty() {
            out.line("new findings with the changed policy:");
            report::findings(out, &difference.findings.report(), self.list);
        }
        if difference.held > 0 || difference.held_before > 0 {
            let (held, before) = (count(difference.held, "operation", "operations"), thin(difference.held_before));
            out.prose(
                4,
                format!("With the changed policy, {held} would wait for approval; with the current one, {before}."),
            );
        }
        if difference.both_have_problems {
            out.prose(4, "The plan of the current policy has problems too. Show them: usersync plan");
        }
        if !self.list && !difference.has_same_plan() {
            out.say("Show every operation: --list   As JSON: --json");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Listed,
        model::{Operation, Subject},
    };

    fn list(entries: &[&str]) -> Listed<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>().into()
    }

    fn line(name: &str) -> Line {
        let operation = Operation::CreateGroup { name: name.to_owned() }.into();
        Line { subject: Subject::group(name), operation, cause: None, held: None }
    }

    #[test]
    fn only_new_findings_are_a_difference_whatever_the_time_of_the_read() {
        let before = Report {
            conflicts: list(&["ann: two accounts"]),
            unconfirmed: list(&["bob: missing since 2026-01-01T10:00:00Z; re-read"]),
            leaving: list(&["carl: its account is deactivated on 2026-01-08 (disabled)"]),
            ..Report::default()
        };
        let same =
            Report { unconfirmed: list(&["bob: missing since 2026-01-01T10:00:07Z; re-read"]), ..before.clone() };
        let difference = Difference::new(before.clone(), same);
        assert!(difference.is_none(), "{:?}", difference.findings);
        assert!(difference.both_have_problems && difference.exit == Exit::Problems);

        let after = Report {
            conflicts: list(&["ann: two accounts", "dan: the same login as eve"]),
            unsupported: list(&["fay: no e-mail address"]),
            leaving: list(&["carl: its account is deactivated on 2026-01-31 (disabled)"]),
            not_changed: list(&["root: an administrator"]),
            ..Report::default()
        };
        let difference = Difference::new(before, after);
        assert!(!difference.has_same_plan() && !difference.is_none());
        let expected = NewFindings {
            conflicts: vec!["dan: the same login as eve".to_owned()],
            unsupported: vec!["fay: no e-mail address".to_owned()],
            unconfirmed: Vec::new(),
            leaving: vec!["carl: its account is deactivated on 2026-01-31 (disabled)".to_owned()],
            not_changed: vec!["root: an administrator".to_owned()],
        };
        assert_eq!(difference.findings, expected);
        assert_eq!(expected.report().conflicts.total(), 1);
    }

    #[test]
    fn the_scope_the_operations_and_what_waits_are_a_difference() {
        let before = Report { in_scope: 2, lines: vec![line("eng")].into(), ..Report::default() };
        let difference = Difference::new(before.clone(), before.clone());
        assert!(difference.is_none() && difference.exit == Exit::Done && !difference.both_have_problems);

        let fewer = Report { in_scope: 0, ..before.clone() };
        let difference = Difference::new(before.clone(), fewer);
        assert!(difference.has_same_plan() && !difference.is_none());
        assert_eq!(difference.exit, Exit::Done);

        let held = Report { held: 1, ..before.clone() };
        let difference = Difference::new(before.clone(), held);
        assert!(difference.has_same_plan() && !difference.is_none());
        assert_eq!(difference.exit, Exit::Held);

        let other = Report { lines: vec![line("ops")].into(), ..before.clone() };
        let difference = Difference::new(before, other);
        assert!(!difference.has_same_plan());
        assert_eq!((difference.added, difference.dropped), (vec![line("ops")], vec![line("eng")]));
    }

    #[test]
    fn an_unconfirmed_plan_has_problems() {
        let after = Report { unconfirmed: list(&["Keycloak lists no group /staf"]), ..Report::default() };
        let difference = Difference::new(Report::default(), after);
        assert!(!difference.is_none() && !difference.both_have_problems);
        assert_eq!(difference.exit, Exit::Problems);
        let written = serde_json::to_value(&difference).expect("written");
        assert_eq!(written["findings"]["unconfirmed"], serde_json::json!(["Keycloak lists no group /staf"]));
        assert!(written.get("exit").is_none() && written.get("both_have_problems").is_none());
    }
}
