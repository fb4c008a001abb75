//! Collects the evidence of a run: how both sides were read, and how much the last good run read. No call is made for it.

use std::collections::BTreeMap;

use super::{
    Run,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::error::WorkError,
    model::{ErrorClass, Evidence, RunMode, RunOutcome, RunRecord, SideEvidence},
    plan::{Presence, ProviderAnswer},
    targets::{NoteState, TargetInfo},
};

/// Topic of a target's notes on permissions.
const RIGHTS: &str = "rights";

/// The evidence of the last good runs of a pair, by whether they read only the members of the required groups.
#[derive(Default)]
pub(super) struct LastGood(BTreeMap<bool, Evidence>);

impl LastGood {
    /// Finds the last good runs among these, newest first. A good run applied its plan, did not fail and was not
    /// incomplete.
    pub fn among(runs: &[RunRecord]) -> Self {
        let is_good = |run: &&RunRecord| {
            let ended_well = matches!(run.outcome, RunOutcome::Done | RunOutcome::Problems | RunOutcome::Held);
            run.mode == RunMode::Apply && ended_well && run.report["incomplete"].is_null()
        };
        let mut good = BTreeMap::new();
        for run in runs.iter().filter(is_good) {
            let evidence = run.report.get("evidence").and_then(|one| serde_json::from_value(one.clone()).ok());
            if let Some(evidence) = evidence {
                good.entry(run.report["only_scope"] == true).or_insert(evidence);
            }
        }
        Self(good)
    }
}

impl Run<'_> {
    /// Finds the federation providers that cannot confirm their users.
    pub(super) fn note_silent_providers(&mut self) {
        self.silent = self.engine.silent_providers(&self.connector);
        let mut silent: Vec<String> = self
            .silent
            .values()
            .filter_map(|answer| match answer {
                ProviderAnswer::Unconfirmed(why) | ProviderAnswer::ToApprove(why) => Some(why.clone()),
                _ => None,
            })
            .collect();
        silent.sort();
        self.report.evidence.source.silent_providers = silent;
    }

    /// Adds what both sides have read since the last call, and compares it with the last good run that read as much.
    pub(super) fn note_reads(&mut self, source: &mut SourceWalk, target: &mut TargetWalk) {
        let evidence = &mut self.report.evidence;
        evidence.source.merge(std::mem::take(&mut source.evidence));
        evidence.target.merge(std::mem::take(&mut target.evidence));
        if let Some(good) = self.last_good.0.get(&source.only_scope) {
            evidence.source.compare(&good.source);
            evidence.target.compare(&good.target);
        }
    }
}

/// Returns the permissions of usersync's account, as the first contact of a run finds them.
pub(super) fn of_target(info: &TargetInfo) -> SideEvidence {
    let mut evidence = SideEvidence::default();
    for note in info.notes.iter().filter(|note| note.about == RIGHTS) {
        match note.state {
            NoteState::Ok => evidence.rights.push(note.text.clone()),
            _ => evidence.lacks(note.text.clone()),
        }
    }
    evidence
}

/// Records a missing right that ended a run.
pub(super) fn note_missing_right(evidence: &mut Evidence, error: &WorkError) {
    match error {
        WorkError::Source(error) if error.class == ErrorClass::Forbidden => evidence.source.lacks(error.text.clone()),
        WorkError::Target(error) if error.class() == ErrorClass::Forbidden => evidence.target.lacks(error.text.clone()),
        _ => {}
    }
}

/// Returns whether a federation provider confirms that a user exists; `None`: it confirms nothing.
pub(super) fn confirmed(presence: &Presence, answer: &ProviderAnswer) -> Option<bool> {
    match answer {
        ProviderAnswer::Confirmed | ProviderAnswer::OnlyDisabled => Some(!matches!(presence, Presence::Gone)),
        ProviderAnswer::NotAsked | ProviderAnswer::Unconfirmed(_) | ProviderAnswer::ToApprove(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::model::{ObjectKind, Pair, RunId, RunTrigger};

    fn run(id: i64, users: usize, change: impl FnOnce(&mut RunRecord)) -> RunRecord {
        let read = json!({ "users": { "read": users } });
        let mut run = RunRecord {
            id: RunId(id),
            pair: Pair::new("acme", "jira"),
            trigger: RunTrigger::Schedule,
            mode: RunMode::Apply,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            outcome: RunOutcome::Done,
            cancelled_by: None,
            progress: None,
            report: json!({ "incomplete": null, "evidence": { "source": { "read": read } } }),
        };
        change(&mut run);
        run
    }

    fn users(good: &LastGood, only_scope: bool) -> Option<usize> {
        good.0.get(&only_scope).map(|evidence| evidence.source.read[&ObjectKind::Users].read)
    }

    #[test]
    fn the_last_good_run_is_the_newest_that_applied_its_plan_and_was_complete() {
        let runs = [
            run(9, 9, |run| run.outcome = RunOutcome::Running),
            run(8, 8, |run| run.mode = RunMode::DryRun),
            run(7, 7, |run| run.outcome = RunOutcome::Failed { why: "no".to_owned(), class: None }),
            run(6, 6, |run| run.report["incomplete"] = "half".into()),
            run(5, 5, |run| run.report["only_scope"] = true.into()),
            run(4, 4, |run| run.report = json!({ "users": 4 })),
            run(3, 3, |run| run.outcome = RunOutcome::Problems),
            run(2, 2, |_| {}),
        ];
        let good = LastGood::among(&runs);
        assert_eq!((users(&good, false), users(&good, true)), (Some(3), Some(5)));
        assert_eq!(users(&LastGood::among(&runs[..4]), false), None);
    }

    #[test]
    fn a_provider_confirms_that_a_user_exists_or_is_gone_or_nothing() {
        let unconfirmed = ProviderAnswer::Unconfirmed("it cannot be asked".to_owned());
        assert_eq!(confirmed(&Presence::Gone, &ProviderAnswer::Confirmed), Some(false));
        assert_eq!(confirmed(&Presence::Gone, &unconfirmed), None);
    }
}
