//! The memberships of an account whose own list of groups is missing or cut: each group that matters is asked.

use std::collections::BTreeSet;

use super::{case::Case, error::WorkError};
use crate::{
    model::{Account, Action, ApprovalKind, ErrorClass, Limited, Operation, TargetGroupId},
    plan::Presence,
    policy,
    target::{TargetError, TargetErrorKind},
};

/// Which groups are asked for a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All that decide the memberships.
    All,
    /// Those that a full reconcile found to differ; of the others the record counts.
    Suspected(BTreeSet<TargetGroupId>),
    /// Those that the user is not to be in any more; of the others the record counts.
    Leaving(BTreeSet<TargetGroupId>),
}

impl Case<'_> {
    /// Keeps which groups a full reconcile found to differ.
    pub fn suspect(&mut self, expected: &[Action]) {
        let suspected: BTreeSet<TargetGroupId> = expected
            .iter()
            .filter_map(|action| match action.operation() {
                Some(Operation::AddMember { group, .. } | Operation::RemoveMember { group, .. }) => Some(group.clone()),
                _ => None,
            })
            .collect();
        if !expected.is_empty() {
            self.reading = Reading::Suspected(suspected);
        }
    }

    /// Decides which groups a task asks: where that costs a call for each group, those that the record says change. What
    /// somebody changed there by hand is found by full reconciles, which read all groups.
    pub async fn decide_reading(&mut self, presence: &Presence) -> Result<(), WorkError> {
        if !self.port.target.reads_memberships_by_group() {
            self.reading = Reading::All;
            return Ok(());
        }
        if self.rules.in_run {
            return Ok(());
        }
        let pair = &self.claim.pair;
        let store = &self.engine.store;
        // What waits for an operator is to be seen again, or it would be withdrawn.
        let waits = store.is_awaited(pair, ApprovalKind::AdoptedGroup).await?
            || store.is_awaited(pair, ApprovalKind::SafetyLimit(Limited::RemoveMember)).await?
            || !self.claim.decided.is_empty();
        self.reading = match (presence, &self.link) {
            (Presence::Present(user), Some(link)) if !waits && user.enabled && policy::out_of_scope(user).is_none() => {
                let table = self.engine.group_table(pair).await?;
                let resolved = table.resolve(&user.groups);
                Reading::Leaving(link.given.iter().filter(|group| !resolved.wanted.contains(*group)).cloned().collect())
            }
            (_, Some(_)) if !waits => Reading::Leaving(BTreeSet::new()),
            _ => Reading::All,
        };
        Ok(())
    }

    /// Completes an account as the target showed it: from the groups' side, or, where the target shows no memberships at all,
    /// by the record of what usersync gave. Groups that cannot be read completely stay unknown; why is kept for
    /// [`unread_groups`](Self::unread_groups).
    pub async fn with_groups(&mut self, mut account: Account) -> Result<Account, WorkError> {
        if account.groups.is_some() {
            return Ok(account);
        }
        if !self.port.target.shows_memberships() {
            account.groups = self.link.as_ref().map(|link| link.given.iter().cloned().collect());
            return Ok(account);
        }
        let (asked, mut groups) = self.asked().await?;
        match self.port.target.groups_among(&account.id, &asked).await {
            Ok(found) => {
                groups.extend(found);
                account.groups = Some(groups);
            }
            Err(error) if error.kind == TargetErrorKind::NotDone(ErrorClass::Unconfirmed) => {
                self.unread_groups = Some(error)
            }
            Err(error) => return Err(error.into()),
        }
        Ok(account)
    }

    /// The groups to be asked, and those that the account is in by the record.
    async fn asked(&self) -> Result<(BTreeSet<TargetGroupId>, Vec<TargetGroupId>), WorkError> {
        let (Reading::Suspected(differing) | Reading::Leaving(differing), Some(link)) = (&self.reading, &self.link)
        else {
            let table = self.engine.group_table(&self.claim.pair).await?;
            return Ok((table.deciding(&self.claim.pair, self.link.as_ref()), Vec::new()));
        };
        let mut asked = differing.clone();
        for intent in &self.claim.intents {
            if let Operation::AddMember { group, .. } | Operation::RemoveMember { group, .. } = &intent.operation {
                asked.insert(group.clone());
            }
        }
        let given = link.given.iter().filter(|group| !asked.contains(*group)).cloned().collect();
        Ok((asked, given))
    }

    /// Why the memberships of this user are not known, after all else is done: the task fails and is tried again.
    pub fn unread_groups(&mut self, name: &str) -> WorkError {
        let why = self
            .unread_groups
            .take()
            .map_or_else(String::new, |error| format!(" ({})", error.text.trim_end_matches('.')));
        let text = format!(
            "{name}: the target does not show its groups, and they cannot be read completely from the groups' side{why}. No \
             membership is changed; usersync tries again."
        );
        TargetError { kind: TargetErrorKind::NotDone(ErrorClass::Unconfirmed), text, retry_after: None }.into()
    }
}
