//! Groups without a member in scope: which a run does not create, and which it deletes.

use std::collections::BTreeMap;

use super::{
    Item, Run,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{
        approval_keys::approval_item,
        case::{RunRules, fingerprint},
        empty::{group_of, is_deletion},
        error::WorkError,
        scope::judged,
        user::{GroupWork, Walked},
    },
    model::{
        ApprovalItemState, ApprovalKind, EmptyGroups, GroupId, GroupMapping, GroupState, IdSet, Limited, ManagedGroup,
        Operation, Subject, TargetGroupId,
    },
    plan::{self, GroupTable, Presence},
    policy::Verdict,
    store::Planned,
};

/// The groups that are deleted, each by a source group; `false`: only an approval of it is withdrawn.
#[derive(Default)]
pub(super) struct Deletions(BTreeMap<GroupId, bool>);

impl Deletions {
    /// Returns the number of planned deletions.
    pub fn planned(&self) -> usize {
        self.0.values().filter(|planned| **planned).count()
    }
}

/// The source groups with a member that is not out of scope.
pub(super) struct WithMembers(IdSet<GroupId>);

impl WithMembers {
    pub fn has(&self, group: &GroupState) -> bool {
        self.0.contains(&group.id)
    }
}

impl Run<'_> {
    /// Returns the source groups that have members; `None`: nothing depends on it, or the reads are not complete.
    pub(super) fn with_members(&self, source: &SourceWalk) -> Option<WithMembers> {
        let policy = &self.connector.policy;
        let failed = source.failed.iter().any(|(subject, _)| subject.as_user().is_some());
        if !policy.groups.handles_empty()
            || failed
            || source.users_incomplete.is_some()
            || source.groups_incomplete.is_some()
            || source.unread_holders().next().is_some()
        {
            return None;
        }
        let is_unread = |group: &&GroupState| {
            source.has_failed_group(&group.id) || source.members_incomplete.iter().any(|(path, _)| *path == group.path)
        };
        let mut groups: IdSet<GroupId> = source.groups.iter().filter(is_unread).map(|group| group.id.clone()).collect();
        for user in source.iter() {
            let Presence::Present(user, verdict) = judged(user, &policy.scope, &source.absent_groups) else {
                continue;
            };
            if !matches!(verdict, Verdict::Out { .. }) {
                groups.extend(user.all_groups().map(|group| group.id.clone()));
            }
        }
        Some(WithMembers(groups))
    }

    /// Returns whether a group is not created, as neither it nor one of the groups that share its target group has a
    /// member.
    pub(super) fn is_left_empty(
        &self,
        group: &GroupState,
        sharing: &[&GroupState],
        table: &GroupTable,
        with_members: Option<&WithMembers>,
    ) -> bool {
        let is_managed = matches!(table.mapping(&group.id), Some(GroupMapping::Managed { .. }));
        let setting = self.connector.policy.groups.empty_at(&group.path);
        let is_empty = |with_members: &WithMembers| {
            !with_members.has(group) && sharing.iter().all(|other| !with_members.has(other))
        };
        !is_managed && !group.id.is_constant() && setting != EmptyGroups::Create && with_members.is_some_and(is_empty)
    }

    /// Returns whether the target group of a group that is gone is deleted once it is empty.
    pub(super) fn is_kept_until_empty(&self, id: &GroupId, table: &GroupTable) -> bool {
        let Some(GroupMapping::Managed { group, .. }) = table.mapping(id) else { return false };
        let deletes = |path: &String| self.connector.policy.groups.empty_at(path) == EmptyGroups::Delete;
        table.managed(group).is_some_and(|managed| {
            !managed.adopted
                && managed.sources.len() == 1
                && plan::why_members_stay(
                    self.pair,
                    managed,
                    table,
                    &self.connector.policy.groups,
                    &self.info.capabilities,
                )
                .is_none()
        }) && self.paths.get(id).is_some_and(deletes)
    }

    /// Plans the deletion of the empty groups that usersync created, where the policy says so.
    pub(super) fn plan_deletions(
        &mut self,
        source: &SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Deletions {
        let mut deletions = Deletions::default();
        let with_members = self.with_members(source).filter(|_| self.report.incomplete.is_none());
        if with_members.is_none() && self.connector.policy.groups.handles_empty() {
            return deletions;
        }
        let waiting = target.groups_with(is_deletion).filter(|group| !source.has_failed_group(group));
        let waiting: Vec<GroupId> = waiting.cloned().collect();
        let empty = with_members
            .map(|with_members| self.empty_groups(source, target, groups, &with_members))
            .unwrap_or_default();
        for (managed, group) in empty {
            let subject = Subject::Group(group.id.clone());
            let delete = Operation::DeleteGroup { group: managed.id, name: managed.name };
            let item = approval_item(ApprovalKind::SafetyLimit(Limited::DeleteGroup), &subject, &delete);
            if target.is_rejected(&subject, &item) {
                self.report.rejected += 1;
                continue;
            }
            let state = if self.gone.contains(&group.id) { "gone".to_owned() } else { fingerprint(&group) };
            if let Some(why) = target.why_not(&subject, &delete, &state) {
                self.report.unsupported.push_once(why);
                continue;
            }
            if target.is_approved(&subject, &item) {
                *self.approved.entry(Limited::DeleteGroup).or_default() += 1;
            }
            self.report.plan(&subject, delete.into(), None, || {
                format!("it is empty ({} = \"delete\")", self.connector.policy.groups.setting("empty"))
            });
            deletions.0.insert(group.id, true);
        }
        // Deletions that waited and are not planned any more are withdrawn. A rejection stands.
        let is_rejected = |group: &GroupId| {
            let items = target.standing(&Subject::Group(group.clone()));
            items.iter().all(|one| !is_deletion(one) || one.state == ApprovalItemState::Rejected)
        };
        for group in waiting.into_iter().filter(|group| !is_rejected(group)) {
            deletions.0.entry(group).or_insert(false);
        }
        deletions
    }

    /// Returns the empty groups that may be deleted, each with the source group with the smallest id.
    fn empty_groups(
        &self,
        source: &SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
        with_members: &WithMembers,
    ) -> Vec<(ManagedGroup, GroupState)> {
        let rules = &self.connector.policy.groups;
        let mut fed: BTreeMap<TargetGroupId, Vec<GroupState>> = BTreeMap::new();
        let gone = self.gone.iter().map(|id| {
            let path = self.paths.get(id).cloned().unwrap_or_default();
            GroupState::new(id.clone(), path.clone(), path)
        });
        for group in source.groups.iter().cloned().chain(gone) {
            if let Some(GroupMapping::Managed { group: id, .. }) = groups.mapping(&group.id) {
                fed.entry(id.clone()).or_default().push(group);
            }
        }
        let is_empty =
            |group: &GroupState| rules.empty_at(&group.path) == EmptyGroups::Delete && !with_members.has(group);
        fed.retain(|id, sources| {
            let managed = groups.managed(id);
            let is_ours = |managed: &ManagedGroup| {
                !managed.adopted
                    && managed.sources.len() == sources.len()
                    && plan::why_members_stay(
                        self.pair,
                        managed,
                        groups,
                        &self.connector.policy.groups,
                        &self.info.capabilities,
                    )
                    .is_none()
                    && !target.groups_incomplete.contains_key(&managed.name)
            };
            sources.iter().all(is_empty) && managed.is_some_and(is_ours) && target.was_read(id)
        });
        if fed.is_empty() {
            return Vec::new();
        }
        for place in 0..target.accounts().len() {
            for group in target.groups_at(place) {
                fed.remove(group);
            }
        }
        let named = fed.into_iter().filter_map(|(id, sources)| {
            Some((groups.managed(&id)?.clone(), sources.into_iter().min_by(|one, other| one.id.cmp(&other.id))?))
        });
        named.collect()
    }

    /// Deletes the empty groups that were planned. Under the claim of its source group, each is read again.
    pub(super) async fn delete_empty(&mut self, deletions: Deletions, rules: &RunRules) -> Result<(), WorkError> {
        let groups = deletions.0;
        if groups.is_empty() {
            return Ok(());
        }
        self.in_sync.others.retain(|one| group_of(&one.subject).is_none_or(|id| !groups.contains_key(id)));
        let observation = self.engine.store.next_observation().await?;
        let total = groups.len();
        let items = groups.into_iter().map(|(group, planned)| Item {
            planned: Planned { subject: Subject::Group(group), observation, account: None },
            walked: Walked { group_work: Some(GroupWork::DeleteEmpty), ..Walked::default() },
            operations: usize::from(planned),
        });
        self.apply("deleting empty groups", total, items, rules).await
    }
}

impl TargetWalk {
    /// Returns whether the members of an existing group were read.
    fn was_read(&self, group: &TargetGroupId) -> bool {
        self.asked.contains(group)
    }
}
