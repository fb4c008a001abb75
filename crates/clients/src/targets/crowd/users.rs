//! Reading accounts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{CrowdTarget, dialect::reason, paging::MAX_LIST_READS, wire::User};
use crate::{
    model::{Account, AccountId, TargetGroupId},
    targets::{
        TargetError,
        rest::{Ask, Protection, fold, lenient::some, unconfirmed, unless_unreadable},
    },
};

/// Prefix of the id of an account that is known by its login alone.
const BY_LOGIN: &str = "login:";

/// Returns the login in an id that has the `login:` prefix.
pub(super) fn login_of(id: &AccountId) -> Option<&str> {
    id.as_str().strip_prefix(BY_LOGIN)
}

impl User {
    /// Returns the stable id; `None` without a name.
    pub(super) fn id(&self) -> Option<AccountId> {
        match self.key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => Some(key.into()),
            None => Some(format!("{BY_LOGIN}{}", fold(self.name.as_deref()?)).into()),
        }
    }

    /// Builds the account from Crowd's answer; `None` if the answer lacks a field that every account has.
    pub(super) fn into_account(self, protection: &Protection, groups: Option<Vec<TargetGroupId>>) -> Option<Account> {
        let (id, name, active) = (self.id()?, some(self.name)?, self.active?);
        let display_name = self.display_name.filter(|shown| !shown.trim().is_empty());
        Some(Account {
            protected: protection.account(id.as_str(), &name, groups.as_deref()),
            immutable: None,
            display_name: display_name.unwrap_or_else(|| name.clone()),
            email: self.email.filter(|email| !email.trim().is_empty()),
            id,
            name,
            active,
            access: Vec::new(),
            attributes: BTreeMap::new(),
            groups,
        })
    }
}

impl CrowdTarget {
    /// Reads an account by its stable id, with its groups.
    pub(super) async fn account_by_id(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        let protection = self.protection(deadline).await?;
        match self.user_by_id(id, deadline).await? {
            Some(user) => self.with_groups(user, &protection, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads an account by its login, with its groups.
    pub(super) async fn account_by_login(&self, name: &str) -> Result<Option<Account>, TargetError> {
        let protection = self.protection(None).await?;
        match self.user_by_login(name, None).await? {
            Some(user) => self.with_groups(user, &protection, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the user that currently has an id.
    pub(super) async fn user_by_id(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<User>, TargetError> {
        let what = format!("reading account {id}");
        if let Some(login) = login_of(id) {
            let found = self.user_by_login(login, deadline).await?;
            // If Crowd reports a key, the login alone does not identify the account.
            return Ok(found.filter(|user| user.id().as_ref() == Some(id)));
        }
        let ask = Ask::get("/user", &what).query("key", id.as_str()).deadline(deadline);
        match self.find_user(ask).await? {
            Some(user) if user.key.as_deref() != Some(id.as_str()) => {
                Err(unconfirmed(format!("{what}: Crowd returned a different account.")))
            }
            found => Ok(found),
        }
    }

    /// Reads the user that has a login.
    pub(super) async fn user_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<User>, TargetError> {
        let what = format!("reading {name}");
        let ask = Ask::get("/user", &what).query("username", name.trim()).login(name).deadline(deadline);
        let found = self.find_user(ask).await?;
        Ok(found.filter(|user| user.name.as_deref().is_some_and(|reported| fold(reported) == fold(name))))
    }

    /// Reads a user; `None` only if Crowd itself reports that the user does not exist.
    async fn find_user(&self, ask: Ask<'_>) -> Result<Option<User>, TargetError> {
        let ask = &self.expanded(ask);
        let answer = self.rest.ask(ask).await?;
        if answer.status == StatusCode::NOT_FOUND && reason(&answer) == "USER_NOT_FOUND" {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(self.refused_read(ask, &answer));
        }
        let user: User = self.rest.parse(ask, &answer)?;
        if user.name.as_deref().is_none_or(|name| name.trim().is_empty()) || user.active.is_none() {
            return Err(unconfirmed(format!("{}: Crowd's answer lacks name or active.", ask.what)));
        }
        Ok(Some(user))
    }

    /// Returns an account with the groups that it is a direct member of. For an unknown login Crowd returns no groups
    /// and no error, so the caller reads the user first.
    async fn with_groups(
        &self,
        user: User,
        protection: &Protection,
        deadline: Option<Timestamp>,
    ) -> Result<Account, TargetError> {
        let name = user.name.clone().unwrap_or_default();
        let what = format!("reading the groups of {name}");
        let ask = || Ask::get("/user/group/direct", &what).query("username", &name).login(&name).deadline(deadline);
        for _ in 0..MAX_LIST_READS {
            let groups = self.walk_groups(ask).await?;
            if !groups.moved {
                let groups = groups.names.iter().map(|name| TargetGroupId::from(fold(name))).collect();
                let account = self.account_in(user, protection, Some(groups));
                return account.ok_or_else(|| unconfirmed(format!("{what}: Crowd's answer lacks name or active.")));
            }
        }
        Err(unconfirmed(format!("{what}: they changed during the read.")))
    }

    /// Reads users again if a list returned too few of their fields, for example without expanded entries. The number
    /// counts users that could not be read.
    pub(super) async fn complete(&self, users: Vec<User>) -> Result<(Vec<User>, usize), TargetError> {
        let (mut whole, mut unknown) = (Vec::with_capacity(users.len()), 0);
        for user in users {
            let read = match (&some(user.name.clone()), user.active) {
                (Some(_), Some(_)) => Some(user),
                // An unreadable user fails on its own when it is read alone.
                (Some(name), None) => match unless_unreadable(self.user_by_login(name, None).await)? {
                    Some(found) => found,
                    None => continue,
                },
                (None, _) => None,
            };
            unknown += usize::from(read.is_none());
            whole.extend(read);
        }
        Ok((whole, unknown))
    }
}
