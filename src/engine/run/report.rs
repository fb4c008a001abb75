//! The report of a run: evidence, counts and findings. Its size is bounded while it is collected, whatever the size of
//! the realm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    listed::{KEPT, Listed},
    seats::Seats,
};
use crate::{
    engine::{
        case::Worked,
        drift::DriftReport,
        ledger::{Fate, Tally},
        unlisted::UnlistedLogins,
    },
    model::{Action, ApprovalKind, Evidence, Limited, ObjectKind, Operation, Subject},
};

/// Number of planned or completed operations, by verb.
pub type Counts = BTreeMap<String, u64>;

/// One planned or completed operation, for `--list` and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The subject.
    pub subject: Subject,
    /// The operation.
    pub operation: Action,
    /// Why it is needed; `None` for a completed operation, as its change record has the cause.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// Why it waits for approval; `None`: it does not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<ApprovalKind>,
}

/// One operation that waits for approval after a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingLine {
    /// The subject.
    pub subject: Subject,
    /// The operation, as text.
    pub what: String,
    /// Why it waits.
    pub why: ApprovalKind,
}

/// Evidence, counts and findings of one run on one pair. Counts are exact; each list keeps its first entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Number of users read at the source.
    pub users: usize,
    /// Whether users outside the required groups were not read, as they cannot be in scope.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_scope: bool,
    /// Number of groups read at the source.
    pub groups: usize,
    /// Number of accounts read at the target.
    pub accounts: usize,
    /// Number of groups with members that were only counted, as they were read completely within a day.
    pub counted: usize,
    /// Why the read may be incomplete; then nothing was removed. `None`: it is complete.
    pub incomplete: Option<String>,
    /// Number of users in scope.
    pub in_scope: usize,
    /// Fingerprint of the policy, see [`crate::model::Policy::fingerprint`]; empty in reports from before it was kept.
    #[serde(default)]
    pub policy: String,
    /// Whether the policy was changed since the last run that applied its plan.
    #[serde(default)]
    pub policy_changed: bool,
    /// Planned operations, by verb, including links and operations that wait for approval.
    pub planned: Counts,
    /// Completed operations, by verb; empty for a dry run.
    pub done: Counts,
    /// The planned operations, by fate; zero for a dry run.
    pub tally: Tally,
    /// Number of users in scope that are in sync.
    pub unchanged: usize,
    /// Number of accounts that are never changed.
    pub protected: usize,
    /// These accounts, each with the reason.
    #[serde(default)]
    pub not_changed: Listed<String>,
    /// Leavers within their grace period, each with its end.
    #[serde(default)]
    pub leaving: Listed<String>,
    /// Number of planned operations and the hourly limit, by limited kind.
    pub limits: BTreeMap<Limited, (u32, u32)>,
    /// Kinds that are held as a whole.
    pub limits_reached: Vec<Limited>,
    /// Number of operations that wait for approval; in a dry run, that would wait.
    pub held: usize,
    /// Number of operations that an operator rejected: they are not done and count towards no limit.
    #[serde(default)]
    pub rejected: usize,
    /// Links that are no longer valid after another server was confirmed, each with the reason; they are dropped.
    #[serde(default)]
    pub dropped_links: Listed<String>,
    /// The seats of the target's licence; `None`: the plan takes none, or the target does not show them, or the run is
    /// no dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<Seats>,
    /// Number of subjects with a task raised because of a newer observation.
    pub raised: usize,
    /// Operations that the target does not support: why, and what to do.
    pub unsupported: Listed<String>,
    /// Those of `unsupported` that were found without a call to the target. What the target refused is in the store.
    #[serde(default)]
    pub known_unsupported: Listed<String>,
    /// Conflicts of two candidates: an operator has to decide.
    pub conflicts: Listed<String>,
    /// What is not confirmed, and so not done.
    pub unconfirmed: Listed<String>,
    /// Memberships that stay because their group is protected or gives access to the product: number by reason.
    #[serde(default)]
    pub kept: BTreeMap<String, usize>,
    /// Changes in the target that did not come from usersync.
    #[serde(default)]
    pub drift: DriftReport,
    /// Operations that were planned again although they were done last time.
    pub repeated: Listed<String>,
    /// What else was changed at the target because it stood in the way of an operation.
    #[serde(default)]
    pub also_done: Listed<String>,
    /// Subjects that failed, with the reason; their tasks continue.
    pub errors: Listed<String>,
    /// The planned operations.
    pub lines: Listed<Line>,
    /// The completed operations.
    pub did: Listed<Line>,
    /// The operations that wait for approval after the run.
    pub waiting: Listed<WaitingLine>,
    /// Duration in milliseconds.
    pub took_ms: i64,
    /// What the run read, and what that cost.
    pub evidence: Evidence,
    /// Why the run did nothing, or would do nothing, in one sentence; `None`: it did something, or has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing_done: Option<String>,
    /// Planned operations of each limited kind, without those that wait for approval anyway.
    #[serde(skip)]
    pub(crate) limited: BTreeMap<Limited, u32>,
    /// What the lists of the target lack, as the work on single users found.
    #[serde(skip)]
    pub(crate) unlisted: UnlistedLogins,
}

impl Report {
    /// Creates an empty report that keeps the first `keep` entries of each list.
    pub(super) fn keeping(keep: usize) -> Self {
        Self {
            not_changed: Listed::keeping(keep),
            leaving: Listed::keeping(keep),
            unsupported: Listed::keeping(keep),
            conflicts: Listed::keeping(keep),
            unconfirmed: Listed::keeping(keep),
            drift: DriftReport::keeping(keep),
            repeated: Listed::keeping(keep),
            also_done: Listed::keeping(keep),
            errors: Listed::keeping(keep),
            lines: Listed::keeping(keep),
            did: Listed::keeping(keep),
            waiting: Listed::keeping(keep),
            ..Self::default()
        }
    }

    /// Returns whether the report has problems that an operator should see.
    pub fn has_problems(&self) -> bool {
        let troubles = [&self.conflicts, &self.errors, &self.unconfirmed, &self.repeated];
        self.incomplete.is_some() || troubles.iter().any(|list| list.total() > 0)
    }

    /// Returns the number of planned operations, links included.
    pub fn planned_total(&self) -> u64 {
        self.planned.values().sum()
    }

    /// Returns whether a first plan needs no approval: it has no operations, and its reads are complete.
    pub fn needs_no_approval(&self) -> bool {
        let complete = self.incomplete.is_none() && self.unconfirmed.total() == 0 && self.errors.total() == 0;
        complete && self.planned_total() == 0 && self.dropped_links.total() == 0
    }

    /// Returns the number of completed operations, links included.
    pub fn done_total(&self) -> u64 {
        self.done.values().sum()
    }

    /// Adds an operation to the plan; `held`: why it waits for approval regardless of the limits.
    pub(super) fn plan(
        &mut self,
        subject: &Subject,
        operation: Action,
        held: Option<ApprovalKind>,
        cause: impl FnOnce() -> String,
    ) {
        *self.planned.entry(operation.verb().to_owned()).or_default() += 1;
        let limited = operation.operation().and_then(crate::model::Operation::limited);
        if let (Some(kind), None) = (limited, held) {
            *self.limited.entry(kind).or_default() += 1;
        }
        self.lines.push_with(|| Line { subject: subject.clone(), operation, cause: Some(cause()), held });
    }

    /// Records in the plan that a limited kind is held as a whole.
    pub(super) fn hold(&mut self, limited: Limited) {
        self.limits_reached.push(limited);
        let of_kind =
            |line: &&mut Line| line.operation.operation().and_then(crate::model::Operation::limited) == Some(limited);
        for line in self.lines.kept_mut().iter_mut().filter(of_kind) {
            line.held.get_or_insert(ApprovalKind::SafetyLimit(limited));
        }
    }

    /// Adds the result of the work on one subject. The walk planned `planned` of its operations; `failed`: an error
    /// ended the work.
    pub(super) fn add(&mut self, subject: &Subject, worked: Worked, planned: usize, failed: bool) {
        let done = worked.done.into_iter().map(Action::Write);
        for operation in worked.linked.into_iter().chain(done) {
            *self.done.entry(operation.verb().to_owned()).or_default() += 1;
            self.did.push_with(|| Line { subject: subject.clone(), operation, cause: None, held: None });
        }
        self.held += worked.held.len();
        for item in worked.held {
            self.waiting.push_with(|| WaitingLine { subject: subject.clone(), what: item.what, why: item.kind });
        }
        self.raised += usize::from(worked.later);
        self.unsupported.extend_once(worked.findings.unsupported);
        self.unconfirmed.extend_once(worked.findings.unconfirmed);
        self.repeated.extend_once(worked.findings.repeated);
        self.also_done.extend_once(worked.findings.also_done);
        self.conflicts.extend_once(worked.conflict);
        if worked.account_by_id.asked > 0 {
            self.evidence.target.by_id(ObjectKind::Accounts).add(worked.account_by_id);
        }
        worked.found_alone.into_iter().for_each(|found| self.unlisted.add(found));
        self.drift.extend(subject, worked.drift, &worked.ledger);
        let (tally, later) = (worked.ledger.tally(), worked.later);
        self.tally.merge(tally);
        if subject.as_user().is_none() {
            // A run works groups without a separate plan, as users are planned on the resulting groups.
            // What it does after the users is planned before.
            let is_planned = |one: &Action| {
                matches!(one, Action::Write(Operation::RemoveMember { .. } | Operation::DeleteGroup { .. }))
            };
            for (operation, fate) in worked.ledger.entries().filter(|(one, _)| !is_planned(one)) {
                let limited = operation.operation().and_then(crate::model::Operation::limited);
                let kind = limited.map_or(ApprovalKind::Adoption, ApprovalKind::SafetyLimit);
                let held = (fate == Fate::Held).then_some(kind);
                self.plan(subject, operation.clone(), held, || "the group in Keycloak".to_owned());
            }
        }
        // Ended before it was planned again, left to the task, or planned again on other groups.
        let fate = match (failed, later) {
            (true, _) => Fate::Failed,
            (false, true) => Fate::Postponed,
            (false, false) => Fate::Obsolete,
        };
        self.tally.add(fate, u64::try_from(planned).unwrap_or(u64::MAX).saturating_sub(tally.planned));
    }

    /// Counts planned operations that are left to their subject's task or to the next run.
    pub(super) fn postpone(&mut self, planned: usize) {
        self.tally.add(Fate::Postponed, u64::try_from(planned).unwrap_or(u64::MAX));
    }

    /// Sorts entries that workers add concurrently, so that two runs have the same order. Completed operations keep
    /// their order.
    pub(super) fn sort(&mut self) {
        self.waiting.kept_mut().sort_by(|a, b| (a.why, &a.what).cmp(&(b.why, &b.what)));
        self.drift.sort();
        self.texts().into_iter().for_each(|list| list.kept_mut().sort());
    }

    /// Returns the lists of sentences.
    fn texts(&mut self) -> [&mut Listed<String>; 8] {
        [
            &mut self.not_changed,
            &mut self.leaving,
            &mut self.unsupported,
            &mut self.conflicts,
            &mut self.unconfirmed,
            &mut self.repeated,
            &mut self.also_done,
            &mut self.errors,
        ]
    }

    /// Returns the report as it is stored.
    pub fn stored(&self) -> serde_json::Value {
        self.stored_with(KEPT)
    }

    /// Returns the report as it is stored while the run is in progress: counts only.
    pub(super) fn stored_under_way(&self) -> serde_json::Value {
        self.counts().stored_with(0)
    }

    /// Returns the report without its lists.
    fn counts(&self) -> Self {
        let mut counts = Self {
            incomplete: self.incomplete.clone(),
            planned: self.planned.clone(),
            done: self.done.clone(),
            limits: self.limits.clone(),
            limits_reached: self.limits_reached.clone(),
            ..Self::default()
        };
        (counts.users, counts.groups, counts.accounts) = (self.users, self.groups, self.accounts);
        (counts.in_scope, counts.unchanged, counts.protected) = (self.in_scope, self.unchanged, self.protected);
        (counts.held, counts.raised, counts.tally) = (self.held, self.raised, self.tally);
        counts
    }

    fn stored_with(&self, keep: usize) -> serde_json::Value {
        let mut kept = self.clone();
        kept.texts().into_iter().for_each(|list| list.truncate(keep));
        kept.drift.keep_first(keep);
        kept.lines.truncate(keep);
        kept.did.truncate(keep);
        kept.waiting.truncate(keep);
        serde_json::to_value(kept).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_huge_run_is_bounded_and_its_counts_are_exact() {
        let mut report = Report::default();
        for number in 0..100_000_u32 {
            let subject = Subject::user(number.to_string());
            let create = Operation::CreateGroup { name: number.to_string() };
            report.plan(&subject, create.clone().into(), None, || "the group in Keycloak".to_owned());
            report.unsupported.push_once(format!("group {}: no", number % 7));
            report.errors.push(format!("{subject}: refused"));
            let worked = Worked { done: vec![create], ..Worked::default() };
            report.add(&subject, worked, 1, false);
        }
        assert_eq!((report.planned_total(), report.done_total()), (100_000, 100_000));
        assert_eq!((report.errors.total(), report.unsupported.total()), (100_000, 7));
        assert_eq!((report.lines.len(), report.did.len(), report.errors.len()), (KEPT, KEPT, KEPT));
        let text = report.stored().to_string();
        assert!(text.len() < 1_000_000, "{}", text.len());
        let read: Report = serde_json::from_str(&text).expect("read");
        assert_eq!((read.errors.total(), read.lines.len()), (100_000, KEPT));
        assert!(report.stored_under_way().to_string().len() < 2_000);
    }

    #[test]
    fn lists_that_workers_fill_beside_each_other_are_sorted() {
        let mut report = Report::default();
        for name in ["staff1", "staff10", "staff0"] {
            let held = WaitingLine {
                subject: Subject::user(name),
                what: format!("deactivate {name}"),
                why: ApprovalKind::Adoption,
            };
            report.waiting.push(held);
            report.errors.push(format!("user {name}: refused"));
        }
        report.sort();
        let waiting: Vec<&str> = report.waiting.iter().map(|line| line.what.as_str()).collect();
        assert_eq!(waiting, ["deactivate staff0", "deactivate staff1", "deactivate staff10"]);
        assert_eq!(report.errors[0], "user staff0: refused");
    }

    #[test]
    fn a_report_that_was_stored_before_lists_had_totals_is_read() {
        let old = serde_json::json!({ "users": 2, "done": { "create": 1 }, "conflicts": ["two"], "lines": [] });
        let read: Report = serde_json::from_value(old).expect("read");
        assert_eq!((read.users, read.conflicts.total(), read.done_total()), (2, 1, 1));
    }
}
