//! Confirms memberships that the member lists contradict by reading the users' own groups.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};

use super::{
    Run,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::error::WorkError,
    model::{Account, GroupMapping, IdSet, LeaverAction, Policy, TargetGroupId, UserId, UserState},
    plan::GroupTable,
    policy::{self, Verdict},
};

/// Maximum number of names in one line of a list.
const NAMES: usize = 20;

impl Run<'_> {
    /// Reads the own groups of linked users that lack a membership which usersync granted or the target shows, or that
    /// the scope requires. An incomplete member list would have that membership or the user removed, or would prevent
    /// that the membership is granted again.
    pub(super) async fn confirm_memberships(
        &mut self,
        source: &mut SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Result<(), WorkError> {
        let fed = self.fed_groups(groups);
        let contradicted: Vec<(usize, UserId)> = (0..source.users())
            .map(|place| (place, source.user(place)))
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
        let mut lacking: BTreeMap<String, Vec<String>> = BTreeMap::new();
        while let Some((place, read)) = reads.next().await {
            match read? {
                Ok(Some(user)) => {
                    let listed = source.user(place).groups;
                    for group in user.groups.iter().filter(|group| listed.iter().all(|known| known.id != group.id)) {
                        lacking.entry(group.path.clone()).or_default().push(user.username.clone());
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
        self.report.unconfirmed.extend_once(lacking.into_iter().map(|(path, logins)| {
            format!(
                "group {path}: Keycloak's member list lacks {}, whose own group lists contain the group. These \
                 memberships are kept; others may be missing",
                some(&logins)
            )
        }));
        Ok(())
    }

    /// Returns the target groups that groups of this connector's realm feed.
    fn fed_groups(&self, groups: &GroupTable) -> IdSet<TargetGroupId> {
        let connector = &self.pair.connector;
        let fed =
            groups.sources().filter(|(source, _)| !source.is_constant()).filter_map(
                |(source, mapping)| match mapping {
                    GroupMapping::Managed { group, .. } => {
                        let stands = |(by, fed): &(_, _)| by == connector && fed == source;
                        groups
                            .managed(group)
                            .filter(|managed| managed.sources.iter().any(stands))
                            .map(|_| group.clone())
                    }
                    GroupMapping::Unmapped { .. } => None,
                },
            );
        fed.collect()
    }
}

/// Returns whether the member lists contradict a membership that usersync granted or that exists at the target.
fn is_contradicted(
    user: &UserState,
    policy: &Policy,
    target: &TargetWalk,
    groups: &GroupTable,
    fed: &IdSet<TargetGroupId>,
) -> bool {
    let leavers = &policy.leavers;
    match policy::verdict(user, &policy.scope) {
        Verdict::Out { lacks_group: true, .. } if user.enabled || leavers.out_of_scope > leavers.disabled => {
            let account = target.link(&user.id).and_then(|link| target.account(&link.account));
            return account.is_some_and(|account| loses(&account, leavers.out_of_scope));
        }
        Verdict::In if user.enabled => {}
        _ => return false,
    }
    let Some(link) = target.link(&user.id) else { return false };
    let held = target.account(&link.account).and_then(|account| account.groups);
    let resolved = groups.resolve(user, &policy.groups, link.written.is_new);
    let lacks = |group: &TargetGroupId| {
        fed.contains(group) && !resolved.wanted.contains(group) && !resolved.keep.contains(group)
    };
    link.given.iter().chain(held.iter().flatten()).any(lacks)
}

/// Returns whether an account has anything that this action removes, or is active.
pub(super) fn loses(account: &Account, action: LeaverAction) -> bool {
    let has_groups = || account.groups.as_ref().is_some_and(|groups| !groups.is_empty());
    account.active
        || match action {
            LeaverAction::Nothing | LeaverAction::Deactivate => false,
            LeaverAction::RemoveGroups => has_groups(),
            LeaverAction::Delete => true,
        }
}

/// Returns the first names, and how many there are in addition.
pub(super) fn some(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES { format!("{shown} and {} more", names.len() - NAMES) } else { shown }
}
