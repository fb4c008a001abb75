//! The drift that the work on a subject found, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    case::Case,
    ledger::{Fate, Ledger},
    run::Listed,
};
use crate::{
    model::{
        Action, Drift, DriftKind, DriftRule, GroupMapping, GroupState, Handling, ManagedGroup, Subject, TargetName,
    },
    plan::{Decision, Drifted},
};

/// The drift that the work on one subject found, each with the action that undoes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundDrift(Vec<(String, Drift, Option<Action>)>);

impl FoundDrift {
    /// Records drift of what has this name; `mended_by`: what undoes it; `None`: it stays.
    pub(super) fn note(&mut self, name: &str, drift: Drift, mended_by: Option<Action>) {
        if !self.0.iter().any(|(_, known, _)| *known == drift) {
            self.0.push((name.to_owned(), drift, mended_by));
        }
    }

    /// Returns the drift with what became of it. What a later read did not show again is no drift.
    fn handled(self, ledger: &Ledger) -> impl Iterator<Item = (String, Drift, Handling)> {
        self.0.into_iter().filter_map(|(name, drift, mended_by)| {
            let handling = match mended_by.map(|action| ledger.fate(&action)) {
                None => Handling::Reported,
                Some(Some(Fate::Obsolete)) => return None,
                Some(Some(Fate::Done)) => Handling::Mended,
                Some(Some(Fate::Held)) => Handling::Held,
                Some(_) => Handling::Open,
            };
            Some((name, drift, handling))
        })
    }
}

/// One change in the target that a run found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftLine {
    /// The subject.
    pub subject: Subject,
    /// The login of the account, or the name of the group.
    pub name: String,
    /// What was changed.
    #[serde(flatten)]
    pub drift: Drift,
    /// What became of it.
    pub handling: Handling,
}

/// The drift that a run found. Counts are exact; the list keeps its first entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftReport {
    /// Number by kind and by what became of it.
    pub counts: BTreeMap<DriftKind, BTreeMap<Handling, u64>>,
    /// Each change.
    pub found: Listed<DriftLine>,
    /// Names of groups that were deleted.
    #[serde(skip)]
    deleted: BTreeSet<String>,
}

impl DriftReport {
    pub(super) fn keeping(keep: usize) -> Self {
        Self { found: Listed::keeping(keep), ..Self::default() }
    }

    /// Returns the number of all changes.
    pub fn total(&self) -> u64 {
        self.found.total()
    }

    /// Returns the number of changes of which this became.
    pub fn number(&self, handling: Handling) -> u64 {
        self.counts.values().filter_map(|by| by.get(&handling)).sum()
    }

    pub(super) fn add(&mut self, subject: &Subject, name: &str, drift: Drift, handling: Handling) {
        // Several source groups may feed a deleted group, and its members went with it.
        let is_counted = match drift.kind {
            DriftKind::GroupDeleted => !self.deleted.insert(name.to_owned()),
            DriftKind::MemberRemoved => drift.of.as_ref().is_some_and(|group| self.deleted.contains(group)),
            _ => false,
        };
        if is_counted {
            return;
        }
        *self.counts.entry(drift.kind).or_default().entry(handling).or_default() += 1;
        let line = || DriftLine { subject: subject.clone(), name: name.to_owned(), drift, handling };
        self.found.push_with(line);
    }

    /// Adds what the work on a subject found.
    pub(super) fn extend(&mut self, subject: &Subject, found: FoundDrift, ledger: &Ledger) {
        for (name, drift, handling) in found.handled(ledger) {
            self.add(subject, &name, drift, handling);
        }
    }

    /// Adds what a plan found, if no work on the subject follows; `otherwise`: what became of drift that does not stay.
    pub(super) fn extend_planned(&mut self, subject: &Subject, name: &str, found: Vec<Drifted>, otherwise: Handling) {
        for Drifted { drift, mended_by } in found {
            self.add(subject, name, drift, if mended_by.is_some() { otherwise } else { Handling::Reported });
        }
    }

    pub(super) fn sort(&mut self) {
        let key = |line: &DriftLine| (line.name.clone(), line.drift.clone());
        self.found.kept_mut().sort_by_cached_key(key);
    }

    /// Keeps only the first `most` entries of the list.
    pub(crate) fn keep_first(&mut self, keep: usize) {
        self.found.truncate(keep);
    }
}

impl Case<'_> {
    /// Records the drift in a decision; `deleted`: that of the account whose link it drops.
    pub(super) fn note_drift(&mut self, decision: &Decision, deleted: Option<Drift>) {
        let Some(link) = &self.link else { return };
        match decision {
            Decision::Plan(planned) => {
                for Drifted { drift, mended_by } in &planned.drift {
                    self.worked.drift.note(&link.name, drift.clone(), mended_by.clone().map(Action::Write));
                }
            }
            Decision::DropLink => {
                if let Some(drift) = deleted {
                    self.worked.drift.note(&link.name, drift, Some(Action::drop_link(link)));
                }
            }
            _ => {}
        }
    }

    /// Returns whether drift stays as it is.
    pub(super) fn leaves_drift(&self) -> bool {
        self.connector.policy.drift_in(&self.claim.pair.target) == DriftRule::Report
    }
}

/// Returns the drift of a managed group that was deleted.
pub(super) fn group_deleted() -> Drift {
    let (found, wanted) = ("no such group".to_owned(), "group".to_owned());
    Drift { kind: DriftKind::GroupDeleted, of: None, found, wanted }
}

/// Returns the drift of an unmanaged member of a managed group; `None`: the group existed before usersync, so that the
/// account may have been a member before.
pub(super) fn unmanaged_member(group: &ManagedGroup) -> Option<Drift> {
    let of = (!group.adopted || group.removals_approved).then(|| group.name.clone())?;
    let (found, wanted) = ("member".to_owned(), "no user of this account".to_owned());
    Some(Drift { kind: DriftKind::MemberAdded, of: Some(of), found, wanted })
}

/// Returns why a group that was deleted in the target feeds none, where drift stays.
pub(super) fn deleted_group_stays(target: &TargetName) -> String {
    format!(
        "it was deleted in {target}, and drift = \"report\" leaves that so. Create it there, or set drift = \"mend\""
    )
}

/// Returns whether a group feeds none because its target group was deleted, and has its name from then.
pub(super) fn is_left_deleted(group: &GroupState, mapping: Option<&GroupMapping>, target: &TargetName) -> bool {
    let Some(GroupMapping::Unmapped { name, why }) = mapping else { return false };
    *name == group.name && *why == deleted_group_stays(target)
}
