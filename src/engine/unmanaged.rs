//! Removes unmanaged members from a managed group. A full reconcile finds them; what waited for approval is done by the
//! group's task.

use super::{
    approval_keys::removals_from,
    case::{Case, fingerprint},
    drift::unmanaged_member,
    error::WorkError,
    send::Sent,
};
use crate::{
    model::{
        Account, AccountId, ApprovalItem, ApprovalItemState, ApprovalKind, GroupId, GroupMapping, GroupState, IdSet,
        ManagedGroup, TargetGroupId, UnmanagedMembers,
    },
    plan::{self, Presence},
    policy,
    store::Holder,
};

impl Case<'_> {
    /// Removes the accounts that a full reconcile found to be unmanaged members of the group. Other items of the group
    /// that wait or are decided stand.
    pub async fn remove_unmanaged(&mut self, id: &GroupId, accounts: Vec<AccountId>) -> Result<(), WorkError> {
        let group = self.connector.source.group(id).await?;
        self.engine.identify(&self.connector).await?;
        self.engine.source_answered(&self.connector);
        let standing = self.standing().await?;
        let Some(group) = group else {
            // Its own task decides what becomes of it.
            self.decided_still.extend(standing.into_iter().map(|one| one.item));
            return Ok(());
        };
        self.know_state(fingerprint(&group));
        let others = standing.into_iter().filter(|one| !is_removal(one));
        self.decided_still.extend(others.map(|one| one.item));
        self.remove_members(&group, accounts).await
    }

    /// Removes the unmanaged members that an operator approved. Removals that wait or were rejected stand: only a full
    /// reconcile finds out that they are not needed any more.
    pub async fn remove_approved(&mut self, group: &GroupState) -> Result<(), WorkError> {
        let Some(managed) = self.group_to_clean(group).await? else { return Ok(()) };
        let start = removals_from(&managed.id);
        let mut accounts = Vec::new();
        for one in self.standing().await? {
            match (one.item.key.strip_prefix(&start), one.state) {
                (None, _) => {}
                (Some(account), ApprovalItemState::Approved) => accounts.push(AccountId::from(account)),
                (Some(_), _) => self.decided_still.push(one.item),
            }
        }
        if accounts.is_empty() { Ok(()) } else { self.remove_members(group, accounts).await }
    }

    /// Removes accounts from the group that this one feeds, each after a second read of both sides.
    async fn remove_members(&mut self, group: &GroupState, accounts: Vec<AccountId>) -> Result<(), WorkError> {
        let Some(managed) = self.group_to_clean(group).await? else { return Ok(()) };
        let found = self.port.target.group_named(&managed.name).await?;
        if found.is_none_or(|found| found.id != managed.id || found.protected.is_some()) {
            return Ok(());
        }
        let members = self.members_at_target(&managed).await?;
        for id in accounts.into_iter().filter(|id| members.contains(id)) {
            // What is done is recorded, whatever becomes of the next one.
            self.flush().await?;
            if let Some(account) = self.unmanaged_member(&managed.id, &id).await? {
                self.remove_member(&managed, &account).await?;
            }
        }
        Ok(())
    }

    /// Returns the managed group that this one feeds, if its unmanaged members are removed.
    async fn group_to_clean(&self, group: &GroupState) -> Result<Option<ManagedGroup>, WorkError> {
        let (pair, rules) = (&self.claim.pair, &self.connector.policy.groups);
        let is_selected = policy::left_out(group, rules).is_none() && group.verdict.fault().is_none();
        if !is_selected || rules.unmanaged_members_at(&group.path) != UnmanagedMembers::Remove {
            return Ok(None);
        }
        let table = self.engine.group_table(pair).await?;
        let Some(GroupMapping::Managed { group: fed, .. }) = table.mapping(&group.id) else { return Ok(None) };
        let stays = |managed: &&ManagedGroup| {
            plan::why_members_stay(pair, managed, &table, rules, &self.info.capabilities).is_some()
        };
        Ok(table.managed(fed).filter(|managed| !stays(managed)).cloned())
    }

    /// Returns all members of a target group.
    pub async fn members_at_target(&self, group: &ManagedGroup) -> Result<IdSet<AccountId>, WorkError> {
        let (mut members, mut cursor) = (IdSet::default(), None::<String>);
        loop {
            let Some(page) = self.port.target.members(&group.id, cursor.as_deref()).await? else {
                return Ok(IdSet::default());
            };
            if let Some(why) = page.incomplete {
                return Err(WorkError::Unconfirmed(format!(
                    "the list of members of {} is incomplete ({why}), so no unmanaged member is removed. The next full \
                     reconcile re-reads it",
                    group.name
                )));
            }
            members.extend(page.items);
            if page.next.is_none() || page.next == cursor {
                return Ok(members);
            }
            cursor = page.next;
        }
    }

    /// Reads an account again; `None`: it is not an unmanaged member of the group, or may not be removed.
    async fn unmanaged_member(&self, group: &TargetGroupId, id: &AccountId) -> Result<Option<Account>, WorkError> {
        let Some(account) = self.port.target.account(id).await? else { return Ok(None) };
        let is_member = account.groups.as_ref().is_none_or(|groups| groups.contains(group));
        if !is_member || plan::why_member_stays(&account, &self.info.signed_in_as).is_some() {
            return Ok(None);
        }
        let holder = self.engine.store.holder(self.claim.token, id, &account.name).await?;
        if holder != Holder::Unlinked {
            return Ok(None);
        }
        // A user who came since is about to be linked.
        for user in self.connector.source.users_named(&account.name).await? {
            let presence = self.engine.read_user(&self.connector, &self.claim.pair, &user).await?;
            if matches!(presence, Presence::Present(_, verdict) if verdict.out().is_none()) {
                return Ok(None);
            }
        }
        Ok(Some(account))
    }

    async fn remove_member(&mut self, group: &ManagedGroup, account: &Account) -> Result<(), WorkError> {
        let remove = plan::removal(group, account);
        if let Some(drift) = unmanaged_member(group) {
            self.worked.drift.note(&account.name, drift, Some(remove.clone().into()));
        }
        let sent = if group.adopted && !group.removals_approved {
            self.worked.ledger.plan(remove.clone().into(), &self.fingerprint);
            self.send_if_approved(ApprovalKind::AdoptedGroup, &remove, Some(account)).await?
        } else {
            self.send(&remove, Some(account)).await?
        };
        if let (Sent::Refused, Some(error)) = (sent, self.refused.pop()) {
            self.keep_unsupported(self.key(&remove), error.text.clone());
            self.worked.findings.unsupported.push(error.text);
        }
        Ok(())
    }

    /// Returns the items of the claimed subject that wait for an operator or that an operator decided.
    pub async fn standing(&self) -> Result<Vec<ApprovalItem>, WorkError> {
        let items = self.engine.store.standing_items(&self.claim.pair).await?;
        Ok(items.into_iter().filter(|one| one.subject == self.claim.subject).collect())
    }
}

/// Returns whether an item of a group is about the removal of a member.
pub(super) fn is_removal(item: &ApprovalItem) -> bool {
    item.item.key.starts_with("remove_member:")
}
