//! What a run reports: evidence, counts and findings. Bounded while it is collected, whatever the size of the realm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::listed::{KEPT, Listed};
use crate::{
    engine::{
        case::Worked,
        ledger::{Fate, Tally},
    },
    model::{Action, ApprovalKind, Limited, Subject},
};

/// How often each thing was planned, or done.
pub type Counts = BTreeMap<String, u64>;

/// One operation of a plan, or of what was done, for `--list` and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Whose.
    pub subject: Subject,
    /// The operation.
    pub operation: Action,
    /// Why it is needed; `None` for what was done: its change has the cause.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// Why it waits for approval, if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<ApprovalKind>,
}

/// One operation that waits for approval after a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingLine {
    /// Whose.
    pub subject: Subject,
    /// The operation, in words.
    pub what: String,
    /// Why it waits.
    pub why: ApprovalKind,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Subjects that were worked.
    pub done: usize,
    /// Of so many.
    pub of: usize,
}

/// Evidence, counts and findings of one run on one pair. Counts are exact; of each list the first entries are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Users read at the source.
    pub users: usize,
    /// Groups read at the source.
    pub groups: usize,
    /// Accounts read at the target.
    pub accounts: usize,
    /// Groups whose members were only counted, as they were read whole within a day.
    pub counted: usize,
    /// Why the read may be incomplete, if so: nothing was removed then.
    pub incomplete: Option<String>,
    /// Users in scope.
    pub in_scope: usize,
    /// What is planned, by verb: links and what waits for approval included.
    pub planned: Counts,
    /// What was done, by verb; empty for a dry run.
    pub done: Counts,
    /// What became of the planned operations; zero for a dry run.
    pub tally: Tally,
    /// Users in scope who are in sync.
    pub unchanged: usize,
    /// Accounts that are never changed.
    pub protected: usize,
    /// These accounts, each with the reason.
    #[serde(default)]
    pub not_changed: Listed<String>,
    /// Of each limited kind: planned, and the hourly limit.
    pub limits: BTreeMap<Limited, (u32, u32)>,
    /// Kinds that are held as a whole.
    pub limits_reached: Vec<Limited>,
    /// Operations that wait for approval; in a dry run: that would.
    pub held: usize,
    /// Operations that an operator rejected: they are not done, and count towards no limit.
    #[serde(default)]
    pub rejected: usize,
    /// Links that do not stand after another server was confirmed, each with the reason; they are dropped.
    #[serde(default)]
    pub dropped_links: Listed<String>,
    /// Subjects whose task was raised because something newer is known of them.
    pub raised: usize,
    /// What the target does not support: why, and what to do.
    pub unsupported: Listed<String>,
    /// Of these, what was found without asking the target. What it refused is kept by the store.
    #[serde(default)]
    pub known_unsupported: Listed<String>,
    /// Two candidates: an operator has to decide.
    pub conflicts: Listed<String>,
    /// What is not confirmed, and so not done.
    pub unconfirmed: Listed<String>,
    /// Memberships that stay because their group is protected or gives access to the product: why, and how many.
    #[serde(default)]
    pub kept: BTreeMap<String, usize>,
    /// What was planned again although it was done last time.
    pub repeated: Listed<String>,
    /// Subjects that failed, and why; their tasks go on.
    pub errors: Listed<String>,
    /// The planned operations.
    pub lines: Listed<Line>,
    /// The operations that were done.
    pub did: Listed<Line>,
    /// The operations that wait for approval after the run.
    pub waiting: Listed<WaitingLine>,
    /// How far it is, while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// How long it took; milliseconds.
    pub took_ms: i64,
    /// Planned operations of each limited kind, but for those that wait for approval anyway.
    #[serde(skip)]
    pub(crate) limited: BTreeMap<Limited, u32>,
}

impl Report {
    /// An empty report that keeps the first `keep` entries of each list.
    pub(super) fn keeping(keep: usize) -> Self {
        Self {
            not_changed: Listed::keeping(keep),
            unsupported: Listed::keeping(keep),
            conflicts: Listed::keeping(keep),
            unconfirmed: Listed::keeping(keep),
            repeated: Listed::keeping(keep),
            errors: Listed::keeping(keep),
            lines: Listed::keeping(keep),
            did: Listed::keeping(keep),
            waiting: Listed::keeping(keep),
            ..Self::default()
        }
    }

    /// Whether an operator should see it.
    pub fn has_problems(&self) -> bool {
        let troubles = [&self.conflicts, &self.errors, &self.unconfirmed, &self.repeated];
        self.incomplete.is_some() || troubles.iter().any(|list| list.total() > 0)
    }

    /// Operations that are planned, links included.
    pub fn planned_total(&self) -> u64 {
        self.planned.values().sum()
    }

    /// Whether a first plan needs no approval: it has no operations, and what it read is complete.
    pub fn needs_no_approval(&self) -> bool {
        let complete = self.incomplete.is_none() && self.unconfirmed.total() == 0 && self.errors.total() == 0;
        complete && self.planned_total() == 0 && self.dropped_links.total() == 0
    }

    /// Operations that were done, links included.
    pub fn done_total(&self) -> u64 {
        self.done.values().sum()
    }

    /// Adds an operation to the plan; `held`: it waits for approval whatever the limits are.
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

    /// Notes in the plan that a limited kind is held as a whole.
    pub(super) fn hold(&mut self, limited: Limited) {
        self.limits_reached.push(limited);
        let of_kind =
            |line: &&mut Line| line.operation.operation().and_then(crate::model::Operation::limited) == Some(limited);
        for line in self.lines.kept_mut().iter_mut().filter(of_kind) {
            line.held.get_or_insert(ApprovalKind::SafetyLimit(limited));
        }
    }

    /// Adds what working one subject came to, of whose operations `planned` were planned by the walk; `failed`: an error
    /// ended it.
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
        self.conflicts.extend_once(worked.conflict);
        let tally = worked.ledger.tally();
        self.tally.merge(tally);
        if subject.as_user().is_none() {
            // A run works groups without a plan of its own, as users are planned on what they come to.
            for (operation, fate) in worked.ledger.entries() {
                let held = (fate == Fate::Held).then_some(ApprovalKind::Adoption);
                self.plan(subject, operation.clone(), held, || "the group in Keycloak".to_owned());
            }
        }
        // Ended before it was planned anew, or planned anew on other groups.
        let planned = u64::try_from(planned).unwrap_or(u64::MAX);
        self.tally.add(if failed { Fate::Failed } else { Fate::Obsolete }, planned.saturating_sub(tally.planned));
    }

    /// Notes planned operations that are left to their subject's task, or to the next run.
    pub(super) fn postpone(&mut self, planned: usize) {
        self.tally.add(Fate::Postponed, u64::try_from(planned).unwrap_or(u64::MAX));
    }

    /// Sorts what workers add in the order in which they come to it, so that two runs read alike. What was done keeps its
    /// order.
    pub(super) fn sort(&mut self) {
        self.waiting.kept_mut().sort_by(|a, b| (a.why, &a.what).cmp(&(b.why, &b.what)));
        self.texts().into_iter().for_each(|list| list.kept_mut().sort());
    }

    /// The lists of sentences.
    fn texts(&mut self) -> [&mut Listed<String>; 6] {
        [
            &mut self.not_changed,
            &mut self.unsupported,
            &mut self.conflicts,
            &mut self.unconfirmed,
            &mut self.repeated,
            &mut self.errors,
        ]
    }

    /// The report as it is stored.
    pub fn stored(&self) -> serde_json::Value {
        self.stored_with(KEPT)
    }

    /// The report as it is stored while the run is under way: counts only.
    pub(super) fn stored_under_way(&self, done: usize, of: usize) -> serde_json::Value {
        Self { reached: Some(Reached { done, of }), ..self.counts() }.stored_with(0)
    }

    /// The report without its lists.
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
        kept.lines.truncate(keep);
        kept.did.truncate(keep);
        kept.waiting.truncate(keep);
        serde_json::to_value(kept).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Operation;

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
        assert!(report.stored_under_way(500, 1_000).to_string().len() < 2_000);
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
