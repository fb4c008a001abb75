//! Confirms memberships that the member lists contradict by reading the users' own groups.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};

use super::{
    Run,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{error::WorkError, unlisted::UnlistedLogins},
    model::{
        Account, Grants, GroupId, GroupMapping, GroupState, IdSet, LeaverAction, ObjectKind, Policy, RoleName,
        TargetGroupId, UserId, UserState,
    },
    plan::GroupTable,
    policy::{self, Verdict},
};

/// Maximum number of names in one line of a list.
const NAMES: usize = 20;

/// Logins of members that a group's member list lacks, by the group's path.
pub(super) type Lacking = BTreeMap<String, Vec<String>>;

impl Run<'_> {
    /// Reads the own groups, roles and organizations of linked users that lack a membership which usersync granted or
    /// the target shows, or a group, role or organization that the scope requires. An incomplete list would have that
    /// membership or the user removed, or would prevent that the membership is granted again.
    pub(super) async fn confirm_memberships(
        &mut self,
        source: &mut SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Result<(), WorkError> {
        let rules = &self.connector.policy.groups;
        let by_role = |source: &GroupId| rules.constant(source).is_some_and(|constant| !constant.roles.is_empty());
        let fed = (self.fed_groups(groups, |source| !source.is_constant()), self.fed_groups(groups, by_role));
        let contradicted: Vec<(usize, UserId)> = source
            .iter()
            .enumerate()
            .filter(|(_, user)| is_contradicted(user, &self.connector.policy, target, groups, &fed))
            .map(|(place, user)| (place, user.id))
            .collect();
        let (engine, connector) = (self.engine, Arc::clone(&self.connector));
        let mut reads = stream::iter(contradicted)
            .map(|(place, id)| {
                let connector = &connector;
                async move {
                    let read = connector.source.user(&id).await.map_err(WorkError::from);
                    (place, engine.apart(connector, read).await)
                }
            })
            .buffered(self.connector.parallel.max(1));
        let mut lacking = Lacking::default();
        let (mut lacking_roles, mut lacking_organizations) = (Lacking::default(), Lacking::default());
        while let Some((place, read)) = reads.next().await {
            let read = read?;
            let exists = read.as_ref().ok().map(Option::is_some);
            self.report.evidence.source.by_id(ObjectKind::Users).answered(exists);
            match read {
                Ok(Some(user)) => {
                    let listed = source.user(place);
                    let mut lacks_groups = false;
                    let is_unlisted = |group: &&Arc<GroupState>| listed.groups.iter().all(|known| known.id != group.id);
                    for group in user.groups.iter().filter(is_unlisted) {
                        lacks_groups = true;
                        lacking.entry(group.path.clone()).or_default().push(user.username.clone());
                    }
                    // A group that was not listed may give the role.
                    let is_unlisted = |role: &&Arc<RoleName>| !lacks_groups && listed.roles.has(role) == Ok(false);
                    for role in user.roles.held.iter().filter(is_unlisted) {
                        lacking_roles.entry(role.to_string()).or_default().push(user.username.clone());
                    }
                    for organization in &user.organizations.held {
                        if listed.organizations.has(organization) == Ok(false) {
                            let logins = lacking_organizations.entry(organization.to_string()).or_default();
                            logins.push(user.username.clone());
                        }
                    }
                    source.replace(place, user);
                }
                // Gone since it was listed: removals are read again before they are sent.
                Ok(None) => {}
                Err(error) => {
                    let user = source.user(place);
                    source.fail_user(user.id, format!("{}: {error}", user.username));
                }
            }
        }
        self.report_lacking(lacking);
        self.report.unconfirmed.extend_once(lacking_roles.into_iter().map(|(role, logins)| {
            format!(
                "role {role}: Keycloak's list of its holders lacks {}, whose own roles contain it. These users keep what \
                 the role gives them; others may be missing",
                some(&logins)
            )
        }));
        self.report.unconfirmed.extend_once(lacking_organizations.into_iter().map(|(organization, logins)| {
            format!(
                "organization {organization}: Keycloak's member list lacks {}, whose own organizations contain it. These \
                 users stay in scope; others may be missing",
                some(&logins)
            )
        }));
        Ok(())
    }

    /// Reports the members that member lists lack.
    pub(super) fn report_lacking(&mut self, lacking: Lacking) {
        self.report.unconfirmed.extend_once(lacking.into_iter().map(|(path, logins)| {
            format!(
                "group {path}: Keycloak's member list lacks {}, whose own group lists contain the group. These \
                 memberships are kept; others may be missing",
                some(&logins)
            )
        }));
    }

    /// Reports the accounts and members that lists of the target lack, although it returns them one by one.
    pub(super) fn report_unlisted(&mut self, groups: &GroupTable) {
        let UnlistedLogins { accounts, members } = std::mem::take(&mut self.report.unlisted);
        let target = &self.pair.target;
        if !accounts.is_empty() {
            self.report.unconfirmed.push(format!(
                "{target}: its list of accounts lacks {}, which it returns one by one. These accounts count as present; \
                 others may be missing",
                some(&accounts)
            ));
        }
        for (id, logins) in members {
            let name = groups.managed(&id).map_or(id.as_str(), |group| group.name.as_str());
            self.report.unconfirmed.push(format!(
                "group {name}: {target}'s member list lacks {}, whose own group lists contain the group. These \
                 memberships count as present; others may be missing",
                some(&logins)
            ));
        }
    }

    /// Returns the target groups that such groups of this connector feed.
    fn fed_groups(&self, groups: &GroupTable, is_such: impl Fn(&GroupId) -> bool) -> IdSet<TargetGroupId> {
        let connector = &self.pair.connector;
        let fed =
            groups.sources().filter(|(source, _)| is_such(source)).filter_map(|(source, mapping)| match mapping {
                GroupMapping::Managed { group, .. } => {
                    let stands = |(by, fed): &(_, _)| by == connector && fed == source;
                    groups.managed(group).filter(|managed| managed.sources.iter().any(stands)).map(|_| group.clone())
                }
                GroupMapping::Unmapped { .. } => None,
            });
        fed.collect()
    }
}

/// Returns whether the member lists contradict a membership that usersync granted or that exists at the target.
fn is_contradicted(
    user: &UserState,
    policy: &Policy,
    target: &TargetWalk,
    groups: &GroupTable,
    (fed, by_role): &(IdSet<TargetGroupId>, IdSet<TargetGroupId>),
) -> bool {
    let leavers = &policy.leavers;
    match policy::verdict(user, &policy.scope) {
        Verdict::Out { lacks_group, lacks_role, lacks_organization, .. }
            if (lacks_group || lacks_role || lacks_organization)
                && (user.enabled || leavers.out_of_scope > leavers.disabled) =>
        {
            let account = target.grants_of(&user.id).and_then(|grants| target.account(&grants.account));
            return account.is_some_and(|account| loses(&account, leavers.out_of_scope));
        }
        Verdict::In if user.enabled => {}
        _ => return false,
    }
    let Some(Grants { account, given, is_new, .. }) = target.grants_of(&user.id) else { return false };
    let place = target.accounts().place(account.as_str());
    let held = place.into_iter().flat_map(|place| target.groups_at(place));
    let resolved = groups.resolve(user, &policy.groups, is_new);
    let lacks = |group: &&TargetGroupId| !resolved.wanted.contains(*group) && !resolved.keep.contains(*group);
    let granted_by_role = given.iter().filter(lacks).any(|group| by_role.contains(group));
    granted_by_role || given.iter().chain(held).filter(lacks).any(|group| fed.contains(group))
}

/// Returns whether an account has anything that this action removes, or is active.
pub(super) fn loses(account: &Account, action: LeaverAction) -> bool {
    let has_groups = || account.groups.as_ref().is_some_and(|groups| !groups.is_empty());
    account.active
        || match action {
            LeaverAction::Nothing | LeaverAction::Deactivate => false,
            LeaverAction::RemoveGroups => has_groups(),
            LeaverAction::Delete | LeaverAction::Anonymize => true,
        }
}

/// Returns the first names, and how many there are in addition.
pub(super) fn some(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES { format!("{shown} and {} more", names.len() - NAMES) } else { shown }
}
