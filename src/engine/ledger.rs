//! What was planned for a subject, and what became of each operation.
//!
//! # Guarantees
//! Every planned operation ends with exactly one fate. One that is neither done, held, unsupported, postponed nor shown
//! to be obsolete by a later read fails the work on its subject: see [`Ledger::open`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{case::Case, error::WorkError, send::approval_key, settle::shows};
use crate::{
    model::{Account, Action, Linking, Operation, UserState},
    plan::{Decision, Findings, Presence, Then},
};

/// What became of a planned operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is planned, and nothing was decided yet.
    Open,
    /// The target did it.
    Done,
    /// It waits for approval, or was rejected.
    Held,
    /// The target does not support it.
    Unsupported,
    /// An error ended the work before it was done.
    Failed,
    /// The subject's task does it later.
    Postponed,
    /// A later read of both sides showed that it is not needed any more.
    Obsolete,
}

/// A planned operation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    action: Action,
    /// The subject's state at the source when it was planned.
    fingerprint: String,
    fate: Fate,
}

/// The operations that were planned for one subject, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<String, Entry>);

/// How many operations were planned, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Planned in all.
    pub planned: u64,
    /// Done by the target.
    pub done: u64,
    /// Waiting for approval, or rejected.
    pub held: u64,
    /// Not supported by the target.
    pub unsupported: u64,
    /// Ended by an error; their tasks go on.
    pub failed: u64,
    /// Left to their subjects' tasks, or to the next full reconcile.
    pub postponed: u64,
    /// Not needed any more when both sides were read again.
    pub obsolete: u64,
}

impl Ledger {
    /// Notes that an operation is planned.
    pub(super) fn plan(&mut self, action: Action, fingerprint: &str) {
        let entry = Entry { fingerprint: fingerprint.to_owned(), fate: Fate::Open, action };
        self.0.insert(key(&entry.action), entry);
    }

    /// Notes what became of an operation; of one that was not planned before, too.
    pub(super) fn end(&mut self, action: Action, fate: Fate) {
        let entry = Entry { fingerprint: String::new(), fate, action };
        self.0.insert(key(&entry.action), entry);
    }

    /// Notes what became of those that are open.
    fn close(&mut self, fate: impl Fn(&str) -> Fate) {
        for (key, entry) in self.0.iter_mut().filter(|(_, entry)| entry.fate == Fate::Open) {
            entry.fate = fate(key);
        }
    }

    /// The operations with their fates.
    pub fn entries(&self) -> impl Iterator<Item = (&Action, Fate)> {
        self.0.values().map(|entry| (&entry.action, entry.fate))
    }

    /// How many had which fate.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for entry in self.0.values() {
            tally.add(entry.fate, 1);
        }
        tally
    }
}

impl Tally {
    /// Counts planned operations with one fate.
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

    /// Adds another count.
    pub fn merge(&mut self, other: Self) {
        self.planned += other.planned;
        self.done += other.done;
        self.held += other.held;
        self.unsupported += other.unsupported;
        self.failed += other.failed;
        self.postponed += other.postponed;
        self.obsolete += other.obsolete;
    }

    /// Whether each planned operation has a fate.
    pub fn adds_up(&self) -> bool {
        let known = self.done + self.held + self.unsupported + self.failed + self.postponed + self.obsolete;
        self.planned == known
    }
}

/// What tells the operations of one subject apart; the same as for held ones.
fn key(action: &Action) -> String {
    match action {
        Action::Write(operation) => approval_key(operation),
        Action::Link(Linking::AddCreated { group, .. }) => format!("add_member:{group}"),
        Action::Link(Linking::AdoptUser { account, .. }) => format!("adopt:{}", account.id),
        Action::Link(Linking::AdoptGroup { group, .. }) => format!("adopt:{group}"),
        Action::Link(Linking::RelinkUser { .. }) => "relink".to_owned(),
        Action::Link(Linking::DropLink { account, .. }) => format!("drop_link:{account}"),
    }
}

/// All that a decision plans for a user: writes, links, what waits for approval, and the groups of a new account.
pub(super) fn actions(decision: &Decision, user: Option<&UserState>) -> Vec<Action> {
    let adopt = |account: &Account| user.map(|user| Action::adopt(user, account));
    match decision {
        Decision::Plan(planned) => {
            let writes = planned.operations.iter().cloned().map(Action::Write);
            let holds = planned.holds.iter().filter_map(|hold| match &hold.then {
                Then::Do(operation) => Some(Action::Write(operation.clone())),
                Then::Adopt(account) => adopt(account),
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
        Decision::Adopt(account) => adopt(account).into_iter().collect(),
        Decision::TakeOver(_, account) => user.map(|user| Action::relink(user, Some(account))).into_iter().collect(),
        _ => Vec::new(),
    }
}

impl Case<'_> {
    /// Notes what a decision plans for the user.
    pub fn plan(&mut self, decision: &Decision, presence: &Presence) {
        let user = match presence {
            Presence::Present(user) => Some(user),
            Presence::Gone => None,
        };
        for action in actions(decision, user) {
            self.worked.ledger.plan(action, &self.fingerprint);
        }
    }

    /// Gives the operations that are still open a fate, now that the last decision plans nothing that could be done.
    ///
    /// # Errors
    /// One of them has no fate: it was planned, and nothing tells why it is neither done nor needed.
    pub fn account_for(&mut self, account: Option<&Account>, findings: &Findings) -> Result<(), WorkError> {
        let explained = findings.protected.is_some() || !findings.unconfirmed.is_empty();
        let mut lost = Vec::new();
        let mut ledger = std::mem::take(&mut self.worked.ledger);
        for (key, entry) in ledger.0.iter_mut().filter(|(_, entry)| entry.fate == Fate::Open) {
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
                "{}: the target does not show the groups of this account, so this was planned but not done: {what}",
                self.claim.pair.target
            )));
        }
        Err(WorkError::Unaccounted { subject: self.claim.subject.to_string(), what })
    }

    /// Notes what the operations without a fate came to, for work that ended before they were worked.
    pub fn close(&mut self, fate: Fate) {
        let (claim, set_aside) = (&self.claim, &self.set_aside);
        let waits = self.held.iter().chain(&self.decided_still);
        let waits: Vec<String> = waits.map(|item| item.key.clone()).collect();
        self.worked.ledger.close(|key| match () {
            () if claim.unsupported.iter().any(|one| one.key == key) => Fate::Unsupported,
            // Set aside but not held: refused, which is what ended the work.
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

/// Whether the account looks as if this took effect.
fn already_so(action: &Action, account: Option<&Account>, case: &Case<'_>) -> bool {
    match action {
        // Refused, as an account has the login: it is linked by now, or waits for a decision.
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
