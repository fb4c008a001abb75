//! The groups below a group: its members with them, and what depends on its place among the groups.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::{case::Case, error::WorkError};
use crate::{
    model::{GroupId, GroupRules, GroupState, Members, Priority, Subject, TargetGroupId, UserId, parent_paths},
    plan::GroupTable,
    policy,
    store::MovedGroup,
};

impl Case<'_> {
    /// Returns all listed members of a group, with those of the groups below it if the policy says so; none for a group
    /// that is gone. They only select the users to read: each user's own task uses the user's own groups.
    pub(super) async fn members(&self, id: &GroupId) -> Result<BTreeSet<UserId>, WorkError> {
        self.members_of_each(vec![id.clone()]).await
    }

    /// Returns whether a user is listed among the direct members of one of these groups; `None`: it is not, but not all of
    /// them were read.
    pub(super) async fn lists_member(&self, groups: &[GroupId], user: &UserId) -> Result<Option<bool>, WorkError> {
        let mut complete = true;
        for group in groups {
            let Some(walked) = self.connector.source.members(group).await? else { continue };
            if walked.items.iter().any(|member| member == *user) {
                return Ok(Some(true));
            }
            complete &= walked.incomplete.is_none() && walked.unreadable.is_empty();
        }
        Ok(complete.then_some(false))
    }

    async fn members_of_each(&self, groups: Vec<GroupId>) -> Result<BTreeSet<UserId>, WorkError> {
        self.direct_members(self.with_those_below(groups).await?).await
    }

    /// Returns these groups, with the groups below them if the policy counts the members of those too.
    pub(super) async fn with_those_below(&self, groups: Vec<GroupId>) -> Result<Vec<GroupId>, WorkError> {
        let rules = &self.connector.policy.groups;
        if !rules.counts_subgroups() {
            return Ok(groups);
        }
        Ok(with_groups_below(groups, &self.listed_groups().await?, rules))
    }

    /// Returns the members of all groups of this connector that feed a target group, as [`members`](Self::members) does.
    pub(super) async fn members_of_all(
        &self,
        id: &GroupId,
        target: &TargetGroupId,
        table: &GroupTable,
    ) -> Result<BTreeSet<UserId>, WorkError> {
        let sources = table.managed(target).into_iter().flat_map(|managed| &managed.sources);
        let others = sources.filter(|(connector, source)| {
            *connector == self.claim.pair.connector && source != id && !source.is_constant()
        });
        self.members_of_each(std::iter::once(id).chain(others.map(|(_, source)| source)).cloned().collect()).await
    }

    /// Returns all listed direct members of these groups.
    async fn direct_members(&self, groups: Vec<GroupId>) -> Result<BTreeSet<UserId>, WorkError> {
        let source = &self.connector.source;
        let mut lists = stream::iter(groups)
            .map(|group| async move { source.members(&group).await })
            .buffered(self.connector.parallel.max(1));
        let mut members = BTreeSet::new();
        while let Some(walked) = lists.try_next().await? {
            let Some(walked) = walked else { continue };
            members.extend(walked.items.iter().chain(walked.unreadable.into_iter().map(|(id, _)| id)));
        }
        Ok(members)
    }

    pub(super) async fn listed_groups(&self) -> Result<Vec<GroupState>, WorkError> {
        let listed = self.connector.source.groups().await?;
        match listed.incomplete {
            Some(why) => Err(WorkError::Unconfirmed(format!("{}: {why}", self.connector.name))),
            None => Ok(listed.items),
        }
    }

    /// Raises what depends on the place of a mapped group that was moved or renamed: the tasks of the groups below it,
    /// whose names and selection may follow from their paths, and of the members of all of them, who may be in other
    /// groups or in another scope now. Keycloak reports the moved group only.
    pub(super) async fn follow_move(&mut self, group: &GroupState) -> Result<(), WorkError> {
        let (groups, users) =
            (policy::paths_decide_groups(&self.connector.policy), policy::paths_decide_users(&self.connector.policy));
        // A run works all subjects itself, and records the paths at its end.
        if self.rules.in_run || group.id.is_constant() || !(groups || users) {
            return Ok(());
        }
        let recorded = self.engine.store.group_paths(&self.claim.pair).await?;
        let record = |group: &GroupState| {
            let from = recorded.iter().find(|(id, _)| *id == group.id).map(|(_, path)| path.clone());
            MovedGroup { group: group.id.clone(), from, to: group.path.clone() }
        };
        if record(group).from.as_ref() == Some(&group.path) {
            return Ok(());
        }
        let listed = self.listed_groups().await?;
        let below: Vec<&GroupState> = below(&group.path, &listed).collect();
        let mut subjects: Vec<Subject> = Vec::new();
        if groups {
            subjects.extend(below.iter().map(|group| Subject::Group(group.id.clone())));
        }
        if users {
            let all = std::iter::once(group).chain(below.iter().copied()).map(|group| group.id.clone());
            subjects.extend(self.direct_members(all.collect()).await?.into_iter().map(Subject::User));
        }
        self.raise(subjects, Priority::FanOut).await?;
        let moved: Vec<MovedGroup> = std::iter::once(group).chain(below).map(record).collect();
        self.engine.store.keep_group_paths(&self.claim.pair, &moved).await?;
        Ok(())
    }

    /// Records the path of a group that is mapped now.
    pub(super) async fn note_place(&self, group: &GroupState) -> Result<(), WorkError> {
        if self.rules.in_run || group.id.is_constant() {
            return Ok(());
        }
        let placed = MovedGroup { group: group.id.clone(), from: None, to: group.path.clone() };
        Ok(self.engine.store.keep_group_paths(&self.claim.pair, &[placed]).await?)
    }

    /// Returns the groups that lose the members of a group that is gone: those above its recorded path.
    pub(super) async fn groups_above_gone(
        &self,
        id: &GroupId,
        listed: &[GroupState],
    ) -> Result<Vec<Subject>, WorkError> {
        let rules = &self.connector.policy.groups;
        if self.rules.in_run || !rules.counts_subgroups() {
            return Ok(Vec::new());
        }
        let recorded = self.engine.store.group_paths(&self.claim.pair).await?;
        let Some((_, path)) = recorded.into_iter().find(|(group, _)| group == id) else { return Ok(Vec::new()) };
        let above: Vec<&str> = policy::paths_above(&path, rules).collect();
        let above = listed.iter().filter(|group| above.contains(&group.path.as_str()));
        Ok(above.map(|group| Subject::Group(group.id.clone())).collect())
    }
}

/// Returns these groups and the groups below them whose members count as theirs.
pub fn with_groups_below(mut groups: Vec<GroupId>, listed: &[GroupState], rules: &GroupRules) -> Vec<GroupId> {
    let counts = |group: &&GroupState| rules.members_at(&group.path) == Members::WithSubgroups;
    let above: Vec<&GroupState> = listed.iter().filter(|group| groups.contains(&group.id)).filter(counts).collect();
    groups.extend(above.iter().flat_map(|group| below(&group.path, listed)).map(|group| group.id.clone()));
    groups.sort();
    groups.dedup();
    groups
}

/// Returns the groups below the group with this path.
fn below<'g>(path: &'g str, groups: &'g [GroupState]) -> impl Iterator<Item = &'g GroupState> {
    groups.iter().filter(move |group| parent_paths(&group.path).any(|above| above == path))
}
