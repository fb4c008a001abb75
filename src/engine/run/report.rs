//! What a run tells of itself.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{
    engine::case::Worked,
    model::{Limited, Operation, Subject},
};

/// Operations in the list of a stored report at most; the counts are always whole.
pub const LINES_KEPT: usize = 1_000;

/// How often each thing was planned, or done.
pub type Counts = BTreeMap<String, u64>;

/// One operation of a plan, for `--list` and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Whose.
    pub subject: Subject,
    /// The operation.
    pub operation: Operation,
}

/// Evidence, counts and findings of one run on one pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Users read at the source.
    pub users: usize,
    /// Groups read at the source.
    pub groups: usize,
    /// Accounts read at the target.
    pub accounts: usize,
    /// Why the reading may not be all, if so: nothing was removed then.
    pub doubt: Option<String>,
    /// Users in scope.
    pub in_scope: usize,
    /// What is planned, by verb (`adopt` included).
    pub planned: Counts,
    /// What was done, by verb; empty for a dry run.
    pub done: Counts,
    /// Subjects in order.
    pub unchanged: usize,
    /// Accounts that are never changed.
    pub protected: usize,
    /// Of each limited kind: planned, and the limit.
    pub gate: BTreeMap<Limited, (u32, u32)>,
    /// Kinds that are held whole.
    pub held_kinds: Vec<Limited>,
    /// Operations that wait for a person.
    pub held: usize,
    /// Operations that an operator rejected: they are not done, and count towards no limit.
    #[serde(default)]
    pub rejected: usize,
    /// Subjects whose task was raised because something newer is known of them.
    pub raised: usize,
    /// What the target cannot do: why, and what a person can do.
    pub not_possible: Vec<String>,
    /// Two candidates: a person has to decide.
    pub conflicts: Vec<String>,
    /// What is not believed, and so not done.
    pub doubts: Vec<String>,
    /// What was planned again although it was done last time.
    #[serde(default)]
    pub repeated: Vec<String>,
    /// Subjects that failed, and why; their tasks go on.
    pub errors: Vec<String>,
    /// The operations, as far as they are kept.
    pub lines: Vec<Line>,
    /// How long it took; milliseconds.
    pub took_ms: i64,
}

impl Report {
    /// Whether a person should look at it.
    pub fn has_problems(&self) -> bool {
        let troubles = [&self.conflicts, &self.errors, &self.doubts, &self.repeated];
        self.doubt.is_some() || troubles.iter().any(|texts| !texts.is_empty())
    }

    /// Operations that are planned, adoptions included.
    pub fn planned_total(&self) -> u64 {
        self.planned.values().sum()
    }

    pub(super) fn plan(&mut self, subject: &Subject, operation: &Operation) {
        *self.planned.entry(operation.verb().to_owned()).or_default() += 1;
        self.lines.push(Line { subject: subject.clone(), operation: operation.clone() });
    }

    /// What working one subject came to.
    pub(super) fn add(&mut self, worked: Worked) {
        for operation in &worked.done {
            Self::count(&mut self.done, operation.verb(), 1);
        }
        Self::count(&mut self.done, "adopt", u64::from(worked.adopted));
        Self::count(&mut self.done, "drop_link", u64::from(worked.dropped));
        self.held += worked.held;
        self.raised += usize::from(worked.later);
        self.not_possible.extend(worked.findings.not_possible);
        self.doubts.extend(worked.findings.doubts);
        self.repeated.extend(worked.findings.repeated);
    }

    pub(super) fn count(counts: &mut Counts, verb: &str, more: u64) {
        if more > 0 {
            *counts.entry(verb.to_owned()).or_default() += more;
        }
    }

    /// What walk and work both found is told once.
    pub(super) fn tell_once(&mut self) {
        for told in [&mut self.not_possible, &mut self.conflicts, &mut self.doubts, &mut self.repeated] {
            let mut seen = HashSet::new();
            told.retain(|text| seen.insert(text.clone()));
        }
    }

    /// The report as it is stored: with as many lines as are kept.
    pub fn stored(&self) -> serde_json::Value {
        let mut kept = self.clone();
        kept.lines.truncate(LINES_KEPT);
        serde_json::to_value(kept).unwrap_or_default()
    }
}
