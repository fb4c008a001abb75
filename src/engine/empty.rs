//! Groups without a member in scope: not created, and deleted, where the policy says so.

use std::collections::BTreeSet;

use super::{
    case::{Case, fingerprint},
    error::WorkError,
    scope::judge_named,
    send::Sent,
    subgroups::with_groups_below,
};
use crate::{
    keycloak::{Source, SourceError},
    model::{
        ApprovalItem, ApprovalItemState, EmptyGroups, GroupId, GroupMapping, GroupState, ManagedGroup, Operation,
        Policy, Subject,
    },
    plan::{self, Presence},
};

/// Returns whether one of these groups has a direct member that is not out of scope. A list that is not complete counts
/// as having one. The source gives groups the names that the policy gives them.
///
/// # Errors
/// The source could not be read.
pub async fn has_member_in_scope(
    source: &dyn Source,
    policy: &Policy,
    groups: Vec<GroupId>,
) -> Result<bool, SourceError> {
    let mut seen = BTreeSet::new();
    for group in groups {
        let Some(members) = source.members(&group).await? else { continue };
        if members.incomplete.is_some() || !members.unreadable.is_empty() {
            return Ok(true);
        }
        for id in members.items.iter() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let Some(user) = source.user(&id).await? else { continue };
            if let Presence::Present(_, verdict) = judge_named(source, &policy.scope, &policy.groups, user).await?
                && verdict.out().is_none()
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Returns whether an item of a group is about its deletion.
pub(super) fn is_deletion(item: &ApprovalItem) -> bool {
    item.item.key == "delete_group"
}

impl Case<'_> {
    /// Returns whether the group is not created, as it has no member in scope. `others`: groups that share its target
    /// group.
    pub async fn is_left_empty(&self, group: &GroupState, others: &[GroupState]) -> Result<bool, WorkError> {
        let setting = self.connector.policy.groups.empty_at(&group.path);
        // A user who waits for the group is a member, whatever its list shows.
        if group.id.is_constant() || setting == EmptyGroups::Create || self.claim.wanted {
            return Ok(false);
        }
        let groups = std::iter::once(group).chain(others).map(|group| group.id.clone()).collect();
        self.have_no_member(groups).await
    }

    async fn have_no_member(&self, groups: Vec<GroupId>) -> Result<bool, WorkError> {
        let policy = &self.connector.policy;
        let groups = if policy.groups.counts_subgroups() {
            with_groups_below(groups, &self.listed_groups().await?, &policy.groups)
        } else {
            groups
        };
        Ok(!has_member_in_scope(self.connector.source.as_ref(), policy, groups).await?)
    }

    /// Deletes the target group of a source group that a full reconcile found without members.
    pub async fn delete_empty(&mut self, id: &GroupId) -> Result<(), WorkError> {
        let group = self.connector.source.group(id).await?;
        if group.is_none() && !self.engine.group_is_gone(&self.connector, &self.claim.pair, id).await? {
            return Err(WorkError::Unsteady(self.claim.subject.to_string()));
        }
        self.engine.identify(&self.connector).await?;
        self.engine.source_answered(&self.connector);
        self.know_state(group.as_ref().map_or_else(|| "gone".to_owned(), fingerprint));
        let others = self.standing().await?.into_iter().filter(|one| !is_deletion(one));
        self.decided_still.extend(others.map(|one| one.item));
        self.delete_if_empty(id, group.as_ref()).await
    }

    /// Deletes the target group if an operator approved it. A deletion that waits or was rejected stands: only a full
    /// reconcile finds out that it is not needed any more.
    pub async fn delete_approved(&mut self, id: &GroupId, group: Option<&GroupState>) -> Result<(), WorkError> {
        if !self.connector.policy.groups.handles_empty() {
            return Ok(());
        }
        for one in self.standing().await?.into_iter().filter(is_deletion) {
            match one.state {
                ApprovalItemState::Approved => self.delete_if_empty(id, group).await?,
                _ => self.decided_still.push(one.item),
            }
        }
        Ok(())
    }

    /// Deletes the target group that this group feeds, after a second read of both sides shows that it is empty.
    async fn delete_if_empty(&mut self, id: &GroupId, group: Option<&GroupState>) -> Result<(), WorkError> {
        let table = self.engine.group_table(&self.claim.pair).await?;
        let Some(mapping) = table.mapping(id).cloned() else { return Ok(()) };
        let Some(managed) = self.kept_until_empty(id, &mapping, group).await? else { return Ok(()) };
        let sources = managed.sources.iter().map(|(_, source)| source.clone()).collect();
        let found = self.port.target.group_named(&managed.name).await?;
        if found.is_none_or(|found| found.id != managed.id || found.protected.is_some())
            || !self.have_no_member(sources).await?
            || !self.engine.store.given(&self.claim.pair, &managed.id).await?.is_empty()
            || !self.members_at_target(&managed).await?.is_empty()
        {
            return Ok(());
        }
        let delete = Operation::DeleteGroup { group: managed.id, name: managed.name };
        match self.send(&delete, None).await? {
            Sent::Done(_) => {
                self.step.raise.extend(self.waiting_for_name(id, Some(&mapping)).await?);
                self.flush().await?;
            }
            Sent::Refused => {
                if let Some(error) = self.refused.pop() {
                    self.keep_unsupported(self.key(&delete), error.text.clone());
                    self.worked.findings.unsupported.push(error.text);
                }
            }
            Sent::Held | Sent::ReadAgain | Sent::Unsupported => {}
        }
        Ok(())
    }

    /// Returns the target group of a source group, if it is deleted once it is empty. `group` is `None` for a group that
    /// is gone.
    pub async fn kept_until_empty(
        &self,
        id: &GroupId,
        mapping: &GroupMapping,
        group: Option<&GroupState>,
    ) -> Result<Option<ManagedGroup>, WorkError> {
        let (pair, rules) = (&self.claim.pair, &self.connector.policy.groups);
        let GroupMapping::Managed { group: fed, .. } = mapping else { return Ok(None) };
        if !rules.handles_empty() {
            return Ok(None);
        }
        let table = self.engine.group_table(pair).await?;
        let Some(managed) = table.managed(fed).filter(|managed| !managed.adopted) else { return Ok(None) };
        let paths = self.engine.store.group_paths(pair).await?;
        let deletes = |source: &GroupId| {
            let known = group.filter(|_| source == id).map(|group| group.path.as_str());
            let path = known.or_else(|| paths.iter().find(|(one, _)| one == source).map(|(_, path)| path.as_str()));
            path.is_some_and(|path| rules.empty_at(path) == EmptyGroups::Delete)
        };
        // A group that is gone lets its target group go at once if another group feeds it too.
        let is_shared = group.is_none() && managed.sources.len() > 1;
        let deleted = !is_shared
            && plan::why_members_stay(pair, managed, &table, rules, &self.info.capabilities).is_none()
            && managed.sources.iter().all(|(_, source)| deletes(source));
        Ok(deleted.then(|| managed.clone()))
    }
}

/// Returns the group of a subject.
pub(super) fn group_of(subject: &Subject) -> Option<&GroupId> {
    match subject {
        Subject::Group(group) => Some(group),
        Subject::User(_) => None,
    }
}
