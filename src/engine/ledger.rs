//! The operations planned for a subject, each with its fate.
//!
//! # Guarantees
//! Every planned operation ends with exactly one fate. An operation without one fails the work on its subject: see
//! [`Ledger::open`]. The fates are done, held, unsupported, postponed, and obsolete as shown by a later read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{approval_keys::operation_key, case::Case, error::WorkError, recover::shows};
use crate::{
    model::{Account, Action, Linking, MatchedBy, Operation, Subject, TargetGroupId, UserState},
    plan::{Decision, Findings, Presence, Then},
};

/// The fate of a planned operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Planned, not yet decided.
    Open,
    /// Done by the target.
    Done,
    /// Waiting for approval, or rejected.
    Held,
    /// Unsupported by the target.
    Unsupported,
    /// Not done, because an error ended the work.
    Failed,
    /// Left to the subject's task.
    Postponed,
    /// No longer needed, as a later read of both sides showed.
    Obsolete,
}

/// A planned operation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    action: Action,
    /// Fingerprint of the subject's state at the source when it was planned.
    fingerprint: String,
    fate: Fate,
}

/// The operations planned for one subject, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// Whether the subject is a group, so that removals of several members are distinguished.
    of_group: bool,
}

/// Number of planned operations, in total and by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Number planned in total.
    pub planned: u64,
    /// Done by the target.
    pub done: u64,
    /// Waiting for approval, or rejected.
    pub held: u64,
    /// Unsupported by the target.
    pub unsupported: u64,
    /// Ended by an error; their tasks continue.
    pub failed: u64,
    /// Left to their subjects' tasks, or to the next full reconcile.
    pub postponed: u64,
    /// No longer needed when both sides were read again.
    pub obsolete: u64,
}

impl Ledger {
    /// Creates a ledger for this subject.
    pub(super) fn of(subject: &Subject) -> Self {
        Self { of_group: subject.as_user().is_none(), ..Self::default() }
    }

    /// Records that an operation is planned.
    pub(super) fn plan(&mut self, action: Action, fingerprint: &str) {
        let entry = Entry { fingerprint: fingerprint.to_owned(), fate: Fate::Open, action };
        self.entries.insert(key(&entry.action, self.of_group), entry);
    }

    /// Records the fate of an operation, even if it was not planned before.
    pub(super) fn end(&mut self, action: Action, fate: Fate) {
        let entry = Entry { fingerprint: String::new(), fate, action };
        self.entries.insert(key(&entry.action, self.of_group), entry);
    }

    /// Records the fate of each open operation.
    fn close(&mut self, fate: impl Fn(&str) -> Fate) {
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.fate == Fate::Open) {
            entry.fate = fate(key);
        }
    }

    /// Returns the operations with their fates.
    pub fn entries(&self) -> impl Iterator<Item = (&Action, Fate)> {
        self.entries.values().map(|entry| (&entry.action, entry.fate))
    }

    /// Returns the fate of an operation; `None`: it was not planned.
    pub(super) fn fate(&self, action: &Action) -> Option<Fate> {
        self.entries.get(&key(action, self.of_group)).map(|entry| entry.fate)
    }

    /// Returns the number of operations by fate.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for entry in self.entries.values() {
            tally.add(entry.fate, 1);
        }
        tally
    }
}

impl Tally {
    /// Adds planned operations of one fate.
    pub(super) fn add(&mut self, fate: Fate, more: u64) {
        self.planned += more;
        match fate {
            Fate::Done => self.done += more,
            Fate::Held => self.held += more,
            Fate::Unsupported => self.unsupported += more,
            Fate::Failed => self.failed += more,
            Fate::Postponed => self.postponed += more,
            Fate::Obsolete => self.obsolete += more,
            Fate::Open => {}
        }
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: Self) {
        self.planned += other.planned;
        self.done += other.done;
        self.held += other.held;
        self.unsupported += other.unsupported;
        self.failed += other.failed;
        self.postponed += other.postponed;
        self.obsolete += other.obsolete;
    }

    /// Returns whether each planned operation has a fate.
    pub fn adds_up(&self) -> bool {
        let known = self.done + self.held + self.unsupported + self.failed + self.postponed + self.obsolete;
        self.planned == known
    }
}

/// Returns the key that distinguishes the operations of one subject; the same as for held operations.
fn key(action: &Action, of_group: bool) -> String {
    match action {
        Action::Write(operation) => operation_key(operation, of_group),
        Action::Link(Linking::AddCreated { group, .. }) => format!("add_member:{group}"),
        Action::Link(Linking::AdoptUser { account, .. }) => format!("adopt:{}", account.id),
        Action::Link(Linking::AdoptGroup { group, .. }) => format!("adopt:{group}"),
        Action::Link(Linking::RelinkUser { .. }) => "relink".to_owned(),
        Action::Link(Linking::DropLink { account, .. }) => format!("drop_link:{account}"),
    }
}

/// Returns everything that a decision plans for a user: writes, links, held operations, and the groups of a new
/// account.
pub(super) fn actions(decision: &Decision, user: Option<&UserState>) -> Vec<Action> {
    let adopt = |account: &Account, by: &MatchedBy| user.map(|user| Action::adopt(user, account, by.clone()));
    match decision {
        Decision::Plan(planned) => {
            let writes = planned.operations.iter().cloned().map(Action::Write);
            let holds = planned.holds.iter().filter_map(|hold| match &hold.then {
                Then::Do(operation) => Some(Action::Write(operation.clone())),
                Then::Adopt(account, by) => adopt(account, by),
            });
            let created = planned.operations.iter().find_map(|operation| match operation {
                Operation::CreateUser { name, .. } => Some(name),
                _ => None,
            });
            let adds = planned.adds_after_create.iter().zip(std::iter::repeat(created));
            let adds = adds.filter_map(|((group, group_name), name)| {
                let (group, group_name, name) = (group.clone(), group_name.clone(), name?.clone());
                Some(Action::Link(Linking::AddCreated { group, group_name, name }))
            });
            writes.chain(holds).chain(adds).collect()
        }
        Decision::Adopt(account, by) => adopt(account, by).into_iter().collect(),
        Decision::TakeOver(_, account) => user.map(|user| Action::relink(user, Some(account))).into_iter().collect(),
        _ => Vec::new(),
    }
}

impl Case<'_> {
    /// Records what a decision plans for the user.
    pub fn plan(&mut self, decision: &Decision, presence: &Presence) {
        let user = presence.user();
        for action in actions(decision, user) {
            self.worked.ledger.plan(action, &self.fingerprint);
        }
    }

    /// Sets the fate of the operations that are still open, after a last decision that plans nothing more to do.
    ///
    /// # Errors
    /// An operation was planned, and nothing shows why it is neither done nor needed.
    pub fn account_for(&mut self, account: Option<&Account>, findings: &Findings) -> Result<(), WorkError> {
        let explained =
            findings.protected.is_some() || findings.undecided.is_some() || !findings.unconfirmed.is_empty();
        let mut lost = Vec::new();
        let mut ledger = std::mem::take(&mut self.worked.ledger);
        for (key, entry) in ledger.entries.iter_mut().filter(|(_, entry)| entry.fate == Fate::Open) {
            entry.fate = if self.claim.unsupported.iter().any(|one| one.key == *key) {
                Fate::Unsupported
            } else if self.set_aside.contains(key) {
                Fate::Held
            } else if entry.fingerprint != self.fingerprint || already_so(&entry.action, account, self) {
                Fate::Obsolete
            } else if !findings.unsupported.is_empty() {
                Fate::Unsupported
            } else if explained {
                Fate::Obsolete
            } else {
                lost.push(entry.action.clone());
                Fate::Open
            };
        }
        self.worked.ledger = ledger;
        if lost.is_empty() {
            return Ok(());
        }
        let blind = account.is_some_and(|account| account.groups.is_none());
        let what = lost.iter().map(Action::to_string).collect::<Vec<_>>().join(", ");
        if blind && lost.iter().all(is_membership) {
            return Err(WorkError::Unconfirmed(format!(
                "{}: the target does not return the groups of this account, so these planned operations were not \
                 done: {what}",
                self.claim.pair.target
            )));
        }
        Err(WorkError::Unaccounted { subject: self.claim.subject.to_string(), what })
    }

    /// Closes open changes of memberships that the groups no longer give the user. Another worker may have mapped a group
    /// or removed its mapping since the plan was made.
    pub async fn close_unmapped(&mut self, presence: &Presence) -> Result<(), WorkError> {
        let open = |entry: &Entry| entry.fate == Fate::Open && is_membership(&entry.action);
        let (Some(user), true) = (presence.user(), self.worked.ledger.entries.values().any(open)) else {
            return Ok(());
        };
        let table = self.shown_groups().await?;
        let pair = &self.claim.pair;
        let link = self.link.as_ref();
        let is_new = link.is_none_or(|link| link.written.is_new);
        let resolved = table.resolve(user, &self.connector.policy.groups, is_new);
        let is_ours = |group: &TargetGroupId| {
            table.managed(group).is_some_and(|managed| managed.fed_by(pair))
                || link.is_some_and(|link| link.given.contains(group))
        };
        for entry in self.worked.ledger.entries.values_mut().filter(|entry| open(entry)) {
            let (Action::Write(Operation::AddMember { group, .. } | Operation::RemoveMember { group, .. })
            | Action::Link(Linking::AddCreated { group, .. })) = &entry.action
            else {
                continue;
            };
            let is_wanted = resolved.wanted.contains(group);
            let outdated = match &entry.action {
                Action::Write(Operation::RemoveMember { .. }) => {
                    is_wanted || resolved.keep.contains(group) || !is_ours(group)
                }
                _ => !is_wanted,
            };
            if outdated {
                entry.fate = Fate::Obsolete;
            }
        }
        Ok(())
    }

    /// Sets the fate of the open operations, for work that ended before they were processed.
    pub fn close(&mut self, fate: Fate) {
        let (claim, set_aside) = (&self.claim, &self.set_aside);
        let waits = self.held.iter().chain(&self.decided_still);
        let waits: Vec<String> = waits.map(|item| item.key.clone()).collect();
        self.worked.ledger.close(|key| match () {
            () if claim.unsupported.iter().any(|one| one.key == key) => Fate::Unsupported,
            // Set aside but not held: refused, which ended the work.
            () if set_aside.contains(key) && (fate != Fate::Failed || waits.iter().any(|one| one == key)) => Fate::Held,
            () => fate,
        });
    }
}

fn is_membership(action: &Action) -> bool {
    matches!(
        action,
        Action::Link(Linking::AddCreated { .. })
            | Action::Write(Operation::AddMember { .. } | Operation::RemoveMember { .. })
    )
}

/// Returns whether the account shows the effect of this action.
fn already_so(action: &Action, account: Option<&Account>, case: &Case<'_>) -> bool {
    match action {
        // Refused because an account has the login: it is linked by now, or waits for a decision.
        Action::Write(Operation::CreateUser { .. }) => case.link.is_some() || !case.names_taken.is_empty(),
        Action::Link(Linking::AddCreated { .. }) if case.link.is_none() && !case.names_taken.is_empty() => true,
        Action::Write(operation) => shows(operation, account, case.info.capabilities.reads_email) == Some(true),
        Action::Link(Linking::AddCreated { group, .. }) => {
            account.and_then(|account| account.groups.as_ref()).is_some_and(|groups| groups.contains(group))
        }
        Action::Link(_) => case.link.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(group: &str) -> Action {
        let name = "alice".to_owned();
        Action::Link(Linking::AddCreated { group: group.into(), group_name: group.to_owned(), name })
    }

    #[test]
    fn an_operation_without_a_fate_does_not_add_up() {
        let mut ledger = Ledger::default();
        ledger.plan(join("eng"), "1");
        ledger.plan(join("ops"), "1");
        ledger.end(join("ops"), Fate::Done);
        assert!(!ledger.tally().adds_up());
        ledger.close(|_| Fate::Postponed);
        let tally = ledger.tally();
        assert_eq!((tally.planned, tally.done, tally.postponed), (2, 1, 1));
        assert!(tally.adds_up());
    }

    #[test]
    fn an_operation_that_is_planned_again_after_it_was_done_is_open_again() {
        let mut ledger = Ledger::default();
        ledger.end(join("eng"), Fate::Done);
        ledger.plan(join("eng"), "2");
        ledger.close(|_| Fate::Failed);
        assert_eq!((ledger.tally().planned, ledger.tally().failed), (1, 1));
    }
}
