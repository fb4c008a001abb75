//! What must not be changed: usersync's own account and administrators above all.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    BitbucketTarget,
    permissions::{Grants, administers},
    wire::CompleteUser,
};
use crate::{
    model::Operation,
    targets::{
        TargetError, TargetErrorKind, Writes,
        rest::{Ask, Protection, administrators_unconfirmed, atlassian, ended, error, fold, unconfirmed},
    },
};

/// Data of the server that applies to all accounts.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub protection: Protection,
    pub grants: Grants,
}

#[async_trait]
impl Writes for BitbucketTarget {
    /// Refuses to deactivate or delete usersync's own account, or the last other administrator that can still sign in.
    /// An approval does not override this.
    async fn check_protection(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let Some(account) = ended(operation) else { return Ok(()) };
        let deadline = Some(deadline);
        let known = self.known(deadline).await?;
        known.protection.refuse_own_deactivation(operation)?;
        let direct = known.grants.users.get(account).is_some_and(|permission| administers(permission));
        if !direct && !known.protection.members.contains(account.as_str()) {
            return Ok(());
        }
        let mut active = HashSet::new();
        for group in &known.protection.marked {
            let (members, why) = self.members_of(group, deadline).await?;
            // The missing member may be this account.
            if let Some(why) = why {
                return Err(administrators_unconfirmed(operation, &why));
            }
            active.extend(members.into_iter().filter(|user| user.active).map(|user| user.id));
        }
        for (id, permission, user) in self.permitted(None, deadline).await? {
            match user.active {
                Some(true) if administers(&permission) => _ = active.insert(id),
                None if administers(&permission) => {
                    let why = format!("global permission {permission}: its user was returned without active");
                    return Err(administrators_unconfirmed(operation, &why));
                }
                _ => {}
            }
        }
        known.protection.refuse_last_end(operation, &active)
    }
}

impl BitbucketTarget {
    /// Returns the data that applies to all accounts, re-read when it is stale.
    pub(super) async fn known(&self, deadline: Option<Timestamp>) -> Result<Arc<Known>, TargetError> {
        self.known.get(self.read_known(deadline)).await
    }

    /// Re-reads the data that applies to all accounts.
    pub(super) async fn fresh_known(&self) -> Result<Arc<Known>, TargetError> {
        self.known.forget().await;
        self.known(None).await
    }

    /// Refuses to change an account that became an administrator after the last read: it is protected, and the plan did
    /// not know it.
    pub(super) async fn refuse_new_administrator(
        &self,
        what: &str,
        user: &CompleteUser,
        grants: &Grants,
        groups: &[String],
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let direct = grants.users.get(&user.id);
        let by_group =
            groups.iter().filter_map(|name| grants.groups.get(&fold(name))).map(|(_, permission)| permission);
        if !direct.into_iter().chain(by_group).any(|permission| administers(permission)) {
            return Ok(());
        }
        let known = self.known(deadline).await?;
        let id = user.id.as_str();
        if known.protection.members.contains(id) || known.protection.people.contains_key(id) {
            return Ok(());
        }
        self.known.forget().await;
        let text =
            format!("{what}: the account has become an administrator, so nothing was sent. usersync re-reads it.");
        Err(error(TargetErrorKind::NotFound, text))
    }

    /// Reads usersync's own account. Every answer names the user that is signed in.
    pub(super) async fn myself(&self, deadline: Option<Timestamp>) -> Result<CompleteUser, TargetError> {
        let what = "reading usersync's own account";
        let ask = Ask::get("/admin/users", what).query("limit", "1").deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let login = atlassian::caller(&answer).or_else(|| self.login.clone()).ok_or_else(|| {
            unconfirmed(format!(
                "{what}: Bitbucket does not report the token's user (no header X-AUSERNAME). If a proxy removes \
                 headers, configure it to forward them, or sign in with user and password."
            ))
        })?;
        self.rest.signed_in_as(&login);
        let me = self.user_by_login(&login, deadline).await?;
        me.ok_or_else(|| {
            unconfirmed(format!("{what}: Bitbucket reports the signed-in user as {login}, but returns no such user."))
        })
    }

    async fn read_known(&self, deadline: Option<Timestamp>) -> Result<Known, TargetError> {
        let own_id = self.myself(deadline).await?.id.to_string();
        let grants = self.grants(deadline).await?;
        let marked = grants.administrators();
        let settings = &self.settings;
        let mut protection = Protection::configured(&settings.protection);
        protection.groups.extend(marked.iter().cloned());
        let (mut members, mut incomplete) = (HashSet::new(), None);
        for group in &protection.groups {
            let (people, why) = self.members_of(group, deadline).await?;
            members.extend(people.into_iter().map(|user| user.id.to_string()));
            incomplete = incomplete.or(why);
        }
        let people = grants.users.iter().filter(|(_, permission)| administers(permission));
        let people = people
            .map(|(id, permission)| (id.to_string(), format!("an administrator (global permission {permission})")));
        let protection = Protection { own_id, people: people.collect(), marked, members, incomplete, ..protection };
        Ok(Known { protection, grants })
    }
}
