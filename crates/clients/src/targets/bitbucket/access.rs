//! Activates and deactivates accounts. Bitbucket has no switch for that, so usersync revokes and restores what lets an
//! account sign in: memberships of licensed groups, and the account's own global permission.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    BitbucketTarget,
    paging::List,
    protection::{GROUP, PERMISSION, administers},
    wire::{Picked, UserAndGroups},
};
use crate::{
    model::{AccountId, ErrorClass},
    personal::Personal,
    targets::{
        Applied, TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, error, fold, not_done, unconfirmed, unsupported},
    },
};

/// Global permissions in ascending order; each includes those before it.
const RANKS: [&str; 4] = ["LICENSED_USER", "PROJECT_CREATE", "ADMIN", "SYS_ADMIN"];

/// Marks an error as unanswered if a part of the operation was already done.
pub(super) fn partly(done: bool, mut error: TargetError) -> TargetError {
    if done && error.kind != TargetErrorKind::Unanswered {
        error.kind = TargetErrorKind::Unanswered;
        error.text.push_str(" Part of the change took effect; usersync checks what is left.");
    }
    error
}

impl BitbucketTarget {
    /// Revokes what lets an account sign in. Revokes nothing if one of these grants is missing from `takes`: it was not
    /// recorded, and could not be restored.
    pub(super) async fn deactivate(
        &self,
        account: &AccountId,
        name: &str,
        takes: &[String],
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("deactivating {name}");
        let deadline = Some(deadline);
        let user = self.account_with_login(account, name, &what, deadline).await?;
        if !user.active {
            return Ok(Applied::Done);
        }
        let grants = self.grants(deadline).await?;
        let groups = self.groups_of(&user, deadline).await?;
        self.refuse_new_administrator(&what, &user, &grants, &groups, deadline).await?;
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
            return Err(unsupported(format!(
                "{what}: its groups are stored in {}, which is read-only for Bitbucket. Remove the account from {} \
                 there.",
                user.home(),
                access.join(", ")
            )));
        }
        let protected = |group: &&str| self.protected_groups.iter().any(|name| fold(name) == fold(group));
        if let Some(group) = access.iter().filter_map(|one| one.strip_prefix(GROUP)).find(protected) {
            return Err(unsupported(format!(
                "{what}: {group} lets the account sign in, and protected_groups names that group. Remove the account \
                 from {group} in Bitbucket."
            )));
        }
        let mut done = false;
        for one in &access {
            let taken = match (one.strip_prefix(GROUP), one.strip_prefix(PERMISSION)) {
                (Some(group), _) => self.leave(&what, account, &user.name, group, deadline).await,
                (_, Some(_)) => self.revoke(&what, account, &user.name, deadline).await,
                (None, None) => continue,
            };
            taken.map_err(|error| partly(done, error))?;
            done = true;
        }
        if in_groups {
            let left = self.groups_of(&user, deadline).await.map_err(|error| partly(done, error))?;
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
    pub(super) async fn activate(
        &self,
        account: &AccountId,
        name: &str,
        gives: &[String],
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("activating {name}");
        let deadline = Some(deadline);
        let user = self.account_with_login(account, name, &what, deadline).await?;
        if !user.active {
            return Err(unsupported(format!("{what}: the account is inactive in {}. Activate it there.", user.home())));
        }
        let grants = self.grants(deadline).await?;
        let present = self.groups_of(&user, deadline).await?;
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
        let permission = permission.filter(|_| !grants.users.contains_key(account));
        let permission =
            permission.map(|permission| if administers(permission) { "LICENSED_USER" } else { permission });
        let lets_in = !grants.access(account, &present).is_empty();
        let nothing = || if lets_in { Ok(Applied::Done) } else { Err(nothing_to_give(&what)) };
        if absent.is_empty() && permission.is_none() {
            return nothing();
        }
        if !absent.is_empty() && !user.mutable_groups {
            return Err(unsupported(format!(
                "{what}: its groups are stored in {}, which is read-only for Bitbucket. Add the account to {} there.",
                user.home(),
                absent.join(", ")
            )));
        }
        let given = self.restore_memberships(&what, &user.name, absent, deadline).await?;
        match permission {
            Some(permission) => {
                let granted = self.grant(&what, &user.name, permission, deadline).await;
                granted.map_err(|error| partly(given, error))?;
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
                    tracing::warn!(what = %Personal(&what), %group, "the group no longer exists, so the membership is \
                                                                     not restored");
                }
            }
            groups = left;
        }
        Ok(false)
    }

    /// Removes a user from a group. Succeeds if the user is not a member.
    pub(super) async fn leave(
        &self,
        what: &str,
        account: &AccountId,
        login: &str,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let ask = Ask::new(Method::POST, "/admin/users/remove-group", what)
            .login(login)
            .deadline(deadline)
            .json(&Picked { context: login, item_name: group })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let own = self.rest.said(&answer, Some(login)).own;
        let unclear = own && matches!(answer.status.as_u16(), 400 | 404 | 409);
        if unclear && self.is_member(group, account, deadline).await? != Some(true) {
            return Ok(());
        }
        let hint = format!(
            "{group} probably has a higher permission than usersync. Remove the account from it manually, or grant \
             usersync's account SYS_ADMIN"
        );
        Err(self.refused_end(&ask, &answer, &hint))
    }

    /// Revokes a user's own global permission. Succeeds if the user has none.
    async fn revoke(
        &self,
        what: &str,
        account: &AccountId,
        login: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let ask = Ask::new(Method::DELETE, "/admin/permissions/users", what)
            .query("name", login)
            .login(login)
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await;
        self.known.forget().await;
        let answer = answer?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let own = self.rest.said(&answer, Some(login)).own;
        // A success other than 204 is not Bitbucket's: a proxy may have answered.
        let undocumented = answer.status.is_success();
        if undocumented || (own && answer.status == StatusCode::NOT_FOUND) {
            let permitted = self.permitted(Some(login), deadline).await?;
            if permitted.iter().all(|(id, ..)| id != account) {
                return Ok(());
            }
        }
        if undocumented {
            let code = answer.status.as_u16();
            let text = format!(
                "{what}: Bitbucket answered {code} instead of 204, and {login} still has its global permission. A \
                 proxy may have answered the DELETE itself. Configure it to forward DELETE."
            );
            return Err(unconfirmed(text));
        }
        let hint = "Revoke its global permission manually, or grant usersync's account SYS_ADMIN";
        Err(self.refused_end(&ask, &answer, hint))
    }

    /// Grants a global permission to a user.
    async fn grant(
        &self,
        what: &str,
        login: &str,
        permission: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let ask = Ask::new(Method::PUT, "/admin/permissions/users", what)
            .query("name", login)
            .query("permission", permission)
            .login(login)
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await;
        self.known.forget().await;
        let answer = answer?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused_access(&ask, &answer, deadline).await) }
    }

    /// Whether an account is a direct member of a group; `None` if the account is gone.
    pub(super) async fn is_member(
        &self,
        group: &str,
        account: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<bool>, TargetError> {
        let Some(user) = self.user_by_id(account, deadline).await? else { return Ok(None) };
        let groups = self.groups_of(&user, deadline).await?;
        Ok(Some(groups.iter().any(|one| fold(one) == fold(group))))
    }

    /// Classifies a refusal to grant access: a full licence, or a permission that usersync lacks. Bitbucket answers
    /// both with 403; the free seats decide.
    pub(super) async fn refused_access(
        &self,
        ask: &Ask<'_>,
        answer: &Answer,
        deadline: Option<Timestamp>,
    ) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        if answer.status == StatusCode::FORBIDDEN && said.own {
            let full = said.licence_full() || matches!(self.seats_left(deadline).await, Ok(Some(0)));
            if full {
                return not_done(
                    ErrorClass::Permanent,
                    format!(
                        "{}: Bitbucket's licence has no seat left{}. Free seats or enlarge the licence, then: usersync \
                         dead replay --all",
                        ask.what,
                        said.quoted()
                    ),
                );
            }
        }
        self.refused_end(ask, answer, "Check it in Bitbucket")
    }

    /// Classifies a refusal that has no specific meaning. A 409 from Bitbucket itself protects permissions, usersync's
    /// own among them. So does a 403 where something is removed.
    pub(super) fn refused_end(&self, ask: &Ask<'_>, answer: &Answer, hint: &str) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        let (what, quoted) = (ask.what, said.quoted());
        let plain = self.rest.unexpected(ask, answer);
        if !said.own || plain.text.contains("XSRF") {
            return plain;
        }
        let refused = matches!(answer.status.as_u16(), 400 | 403 | 409);
        if refused && said.read_only() {
            return unsupported(format!(
                "{what}: its user directory is read-only for Bitbucket{quoted}. Change it in the system that holds \
                 the directory's users."
            ));
        }
        match answer.status {
            StatusCode::FORBIDDEN | StatusCode::CONFLICT => {
                unsupported(format!("{what}: Bitbucket refuses{quoted}. {hint}."))
            }
            _ => plain,
        }
    }

    /// Returns the name of a group as Bitbucket spells it; `None` if there is no such group.
    pub(super) async fn group_spelled(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<String>, TargetError> {
        let what = format!("reading group {name}");
        let list = List::new("/admin/groups", &what, deadline).filter(name.trim());
        let mut found = None;
        self.each(list, |group: super::wire::Named| {
            found = group.name.filter(|spelled| fold(spelled) == fold(name));
            Ok(found.is_some())
        })
        .await?;
        Ok(found)
    }
}

fn nothing_to_give(what: &str) -> TargetError {
    unsupported(format!(
        "{what}: nothing that usersync revoked can be restored. Add the account manually to a group with a global \
         permission."
    ))
}
