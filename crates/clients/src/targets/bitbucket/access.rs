//! Revokes and restores what lets an account sign in: memberships of licensed groups, and the account's own global
//! permission. Bitbucket has no switch that activates or deactivates an account.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    BitbucketTarget,
    errors::stored_elsewhere,
    permissions::{GROUP, PERMISSION, RANKS, administers},
    wire::{CompleteUser, UserAndGroups},
};
use crate::{
    personal::Personal,
    targets::{
        Applied, TargetError, TargetErrorKind, WriteResult,
        rest::{Ask, after_part, error, fold, unsupported},
    },
};

impl BitbucketTarget {
    /// Revokes what lets a user sign in. Revokes nothing if one of these grants is missing from `takes`: it was not
    /// recorded, and could not be restored.
    pub(super) async fn revoke_access(
        &self,
        what: &str,
        user: &CompleteUser,
        takes: &[String],
        deadline: Option<Timestamp>,
    ) -> WriteResult {
        let grants = self.grants(deadline).await?;
        let groups = self.groups_of(user, deadline).await?;
        self.refuse_new_administrator(what, user, &grants, &groups, deadline).await?;
        let access = grants.access(&user.id, &groups);
        let reported = |one: &String| takes.iter().any(|reported| fold(reported) == fold(one));
        if let Some(new) = access.iter().find(|one| !reported(one)) {
            // `takes` came from cached data that is out of date.
            self.known.forget().await;
            let text = format!(
                "{what}: the account has gained {new}, which is not recorded, so nothing was revoked. usersync \
                 re-reads it."
            );
            return Err(error(TargetErrorKind::NotFound, text));
        }
        let in_groups = access.iter().any(|one| one.starts_with(GROUP));
        if in_groups && !user.mutable_groups {
            let advice = format!("Remove the account from {}", access.join(", "));
            return Err(stored_elsewhere(what, "its groups", user, &advice));
        }
        let protected =
            |group: &&str| self.settings.protection.protected_groups.iter().any(|name| fold(name) == fold(group));
        if let Some(group) = access.iter().filter_map(|one| one.strip_prefix(GROUP)).find(protected) {
            return Err(unsupported(format!(
                "{what}: {group} lets the account sign in, and protected_groups names that group. Remove the account \
                 from {group} in Bitbucket."
            )));
        }
        let mut done = false;
        for one in &access {
            let taken = match (one.strip_prefix(GROUP), one.strip_prefix(PERMISSION)) {
                (Some(group), _) => self.remove_from_group(what, &user.id, &user.name, group, deadline).await,
                (_, Some(_)) => self.revoke(what, &user.id, &user.name, deadline).await,
                (None, None) => continue,
            };
            taken.map_err(|error| after_part(what, done, error))?;
            done = true;
        }
        if in_groups {
            let left = self.groups_of(user, deadline).await.map_err(|error| after_part(what, done, error))?;
            if let Some(left) = left.iter().find(|group| grants.groups.contains_key(&fold(group))) {
                return Err(error(
                    TargetErrorKind::Unanswered,
                    format!(
                        "{what}: Bitbucket answered 200, but the account is still a member of {left}. usersync \
                         re-reads it."
                    ),
                ));
            }
        }
        Ok(Applied::Done)
    }

    /// Restores what was revoked, except groups that no longer exist or that grant administrator rights.
    pub(super) async fn restore_access(
        &self,
        what: &str,
        user: &CompleteUser,
        gives: &[String],
        deadline: Option<Timestamp>,
    ) -> WriteResult {
        let grants = self.grants(deadline).await?;
        let present = self.groups_of(user, deadline).await?;
        let has = |group: &str| present.iter().any(|one| fold(one) == fold(group));
        // A former administrator is restored as a plain user; only an operator grants administration again.
        let rules =
            |group: &&str| grants.groups.get(&fold(group)).is_some_and(|(_, permission)| administers(permission));
        let (ruling, groups): (Vec<&str>, Vec<&str>) =
            gives.iter().filter_map(|one| one.strip_prefix(GROUP)).partition(rules);
        for group in ruling {
            tracing::warn!(
                what = %Personal(&what), group,
                "the group grants administrator rights, so usersync does not restore the membership; an operator can"
            );
        }
        let absent: Vec<&str> = groups.into_iter().filter(|group| !has(group)).collect();
        let rank = |permission: &&str| RANKS.iter().position(|known| known == permission);
        let permission = gives.iter().filter_map(|one| one.strip_prefix(PERMISSION)).max_by_key(rank);
        // An existing permission is kept: granting another one would replace it.
        let permission = permission.filter(|_| !grants.users.contains_key(&user.id));
        let permission =
            permission.map(|permission| if administers(permission) { "LICENSED_USER" } else { permission });
        let lets_in = !grants.access(&user.id, &present).is_empty();
        let nothing = || if lets_in { Ok(Applied::Done) } else { Err(nothing_to_restore(what)) };
        if absent.is_empty() && permission.is_none() {
            return nothing();
        }
        if !absent.is_empty() && !user.mutable_groups {
            let advice = format!("Add the account to {}", absent.join(", "));
            return Err(stored_elsewhere(what, "its groups", user, &advice));
        }
        let given = self.restore_memberships(what, &user.name, absent, deadline).await?;
        match permission {
            Some(permission) => {
                let granted = self.grant(what, &user.name, permission, deadline).await;
                granted.map_err(|error| after_part(what, given, error))?;
            }
            None if !given => return nothing(),
            None => {}
        }
        Ok(Applied::Done)
    }

    /// Adds a user to groups again with one call. Returns `false` if none of the groups exists any more.
    async fn restore_memberships(
        &self,
        what: &str,
        login: &str,
        mut groups: Vec<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<bool, TargetError> {
        for last in [false, true] {
            if groups.is_empty() {
                return Ok(false);
            }
            let body = UserAndGroups { user: login, groups: groups.clone() };
            let ask =
                Ask::new(Method::POST, "/admin/users/add-groups", what).login(login).deadline(deadline).json(&body)?;
            let answer = self.rest.ask(&ask).await?;
            if answer.status.is_success() {
                return Ok(true);
            }
            let own = self.rest.said(&answer, Some(login)).own;
            if last || answer.status != StatusCode::NOT_FOUND || !own {
                return Err(self.refused_access(&ask, &answer, deadline).await);
            }
            let mut left = Vec::new();
            for group in groups {
                if self.group_spelled(group, deadline).await?.is_some() {
                    left.push(group);
                } else {
                    tracing::warn!(
                        what = %Personal(&what), %group,
                        "the group no longer exists, so the membership is not restored"
                    );
                }
            }
            groups = left;
        }
        Ok(false)
    }
}

fn nothing_to_restore(what: &str) -> TargetError {
    unsupported(format!(
        "{what}: nothing that usersync revoked can be restored. Add the account manually to a group with a global \
         permission."
    ))
}
