//! Accounts: reads and writes. Crowd addresses an account by login, so it is first read by its id and then addressed by
//! its current login.
//!
//! A change replaces all core fields, so they are read and sent back; attributes are sent separately. usersync manages
//! only the display name. For a new account, its last word becomes the last name, which some Crowd versions require,
//! and the rest the first name. Later changes keep both as they are.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;

use super::{
    CrowdTarget,
    attributes::refuse_long,
    errors::{Right, VERSION, reason},
    paging::MAX_LIST_READS,
    wire::{Password, Rename, User, UserWrite},
};
use crate::{
    model::{Account, AccountId, ErrorClass, TargetGroupId, UserFields, UserId},
    personal::Personal,
    targets::{
        AccountRef, Applied, TargetError, UserWrites, WriteResult,
        http::Answer,
        rest::{
            Ask, PASSWORD_LENGTH, Protection, after_part, after_the_fact, applied, fold, gone, lenient::some,
            login_taken, not_done, random_password, shown_name, unanswered, unconfirmed, unsupported,
        },
    },
};

/// Prefix of the id of an account that is known by its login alone.
const BY_LOGIN: &str = "login:";

/// Returns the login in an id that has the `login:` prefix.
fn login_of(id: &AccountId) -> Option<&str> {
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

    /// Builds the account from an answer that was requested with attributes.
    pub(super) fn account_in(
        &self,
        user: User,
        protection: &Protection,
        groups: Option<Vec<TargetGroupId>>,
    ) -> Option<Account> {
        let reported =
            self.settings.attributes.iter().filter_map(|name| Some((name.clone(), user.attribute(name)?.to_owned())));
        let attributes = reported.collect();
        Some(Account { attributes, ..user.into_account(protection, groups)? })
    }
}

#[async_trait]
impl UserWrites for CrowdTarget {
    /// Creates an account with a random password, which Crowd requires and which is not kept.
    async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        _external_id: Option<&UserId>,
        deadline: Timestamp,
    ) -> WriteResult {
        let what = format!("creating {name}");
        let shown = shown_name(fields, name);
        let (first_name, last_name) = names(shown);
        let password = random_password();
        let body = UserWrite {
            name,
            first_name,
            last_name,
            display_name: shown,
            email: fields.email.as_deref().unwrap_or_default(),
            active: true,
            password: Some(Password { value: password.expose_secret() }),
        };
        let protection = self.protection(Some(deadline)).await?;
        let ask = Ask::new(Method::POST, "/user", &what).login(name).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.refused_user(&ask, &answer, name, None, deadline).await);
        }
        // Newer versions return the created account.
        let reported: Option<User> = serde_json::from_slice(&answer.body).ok();
        let made = match reported.filter(|user| user.name.is_some() && user.key.is_some() && user.active.is_some()) {
            Some(user) => Some(user),
            None => self.user_by_login(name, Some(deadline)).await.map_err(after_the_fact(&what))?,
        };
        let made = made.filter(|user| user.name.as_deref().is_some_and(|reported| fold(reported) == fold(name)));
        let lost = || self.rest.account_not_returned(&what);
        let made = made.ok_or_else(lost)?;
        // The account exists already; the next observation finds missing attributes and writes them.
        if let Err(why) = self.write_attributes(&what, &made, &fields.attributes, deadline).await {
            tracing::warn!(
                what = %Personal(&what), why = %Personal(&why.text),
                "the account is created; usersync writes its attributes at the next attempt"
            );
        }
        made.into_account(&protection, None).map(Applied::Account).ok_or_else(lost)
    }

    async fn update_user(&self, account: AccountRef<'_>, fields: &UserFields, deadline: Timestamp) -> WriteResult {
        if fields.is_empty() {
            return Ok(Applied::Done);
        }
        let what = format!("updating {}", account.name);
        self.rest.refuse_empty_name(&what, fields)?;
        let user = self.user_by_id(account.id, Some(deadline)).await?.ok_or_else(|| gone(&what, "account"))?;
        let mut body = as_read(&user);
        body.display_name = fields.display_name.as_deref().unwrap_or(body.display_name);
        body.email = fields.email.as_deref().unwrap_or(body.email);
        let put = self.put_user(&what, &user, &body, deadline).await?;
        let given = self.write_attributes(&what, &user, &fields.attributes, deadline).await;
        if given.map_err(|why| after_part(&what, put, why))? {
            let now = self.user_by_id(account.id, Some(deadline)).await.map_err(after_the_fact(&what))?;
            let now = now.ok_or_else(|| gone(&what, "account"))?;
            self.check_attributes(&what, &now, &fields.attributes)?;
        }
        refuse_long(&what, &fields.attributes)?;
        Ok(Applied::Done)
    }

    async fn rename_user(&self, account: AccountRef<'_>, to: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("renaming {} to {to}", account.name);
        if login_of(account.id).is_some() {
            return Err(unsupported(format!(
                "{what}: Crowd returns no key for this account, so usersync cannot identify it after a rename. Rename \
                 it manually; it then waits to be adopted: usersync approvals list"
            )));
        }
        let user = self.user_by_id(account.id, Some(deadline)).await?.ok_or_else(|| gone(&what, "account"))?;
        let now = user.name.as_deref().unwrap_or_default();
        if now == to {
            return Ok(Applied::Done);
        }
        let ask = Ask::new(Method::POST, "/user/rename", &what)
            .query("username", now)
            .login(to)
            .deadline(Some(deadline))
            .json(&Rename { new_name: to })?;
        let answer = self.rest.ask(&ask).await?;
        let old = answer.header(VERSION).is_some() && reason(&answer).is_empty();
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if old => {
                Err(unsupported(format!("{what}: this Crowd cannot rename; 2.8.4 or later can. Rename it manually.")))
            }
            status if status.is_success() => {
                let reported: Option<User> = serde_json::from_slice(&answer.body).ok();
                match reported.and_then(|user| user.name).filter(|name| fold(name) != fold(to)) {
                    Some(name) => Err(self.rest.named_otherwise(&what, "login", &name)),
                    None => Ok(Applied::Done),
                }
            }
            _ => Err(self.refused_user(&ask, &answer, to, Some((account.id, &user)), deadline).await),
        }
    }

    async fn activate_user(&self, account: AccountRef<'_>, _gives: &[String], deadline: Timestamp) -> WriteResult {
        self.set_active(account, true, deadline).await
    }

    async fn deactivate_user(&self, account: AccountRef<'_>, _takes: &[String], deadline: Timestamp) -> WriteResult {
        self.set_active(account, false, deadline).await
    }

    async fn delete_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("deleting {}", account.name);
        let Some(user) = self.user_by_id(account.id, Some(deadline)).await? else { return Ok(Applied::Done) };
        let now = user.name.as_deref().unwrap_or_default();
        let ask = Ask::new(Method::DELETE, "/user", &what).query("username", now).login(now).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            status if status.is_success() => Ok(applied(&answer, StatusCode::NO_CONTENT)),
            // The account was deleted or renamed after it was read.
            StatusCode::NOT_FOUND if reason(&answer) == "USER_NOT_FOUND" => {
                match self.user_by_id(account.id, Some(deadline)).await? {
                    None => Ok(Applied::Done),
                    Some(_) => Err(gone(&what, "account")),
                }
            }
            _ => {
                let right = Right { name: "Remove user", directory: user.directory_name.as_deref() };
                Err(self.refused_write(&ask, &answer, &right))
            }
        }
    }
}

impl CrowdTarget {
    /// Activates or deactivates an account. Checks that Crowd stored the state.
    async fn set_active(&self, account: AccountRef<'_>, active: bool, deadline: Timestamp) -> WriteResult {
        let what = format!("{} {}", if active { "activating" } else { "deactivating" }, account.name);
        let user = self.user_by_id(account.id, Some(deadline)).await?.ok_or_else(|| gone(&what, "account"))?;
        let body = UserWrite { active, ..as_read(&user) };
        if !self.put_user(&what, &user, &body, deadline).await? {
            return Ok(Applied::Done);
        }
        // The answer is empty, and a directory that cannot store the state ignores it silently.
        let now = self.user_by_id(account.id, Some(deadline)).await.map_err(after_the_fact(&what))?;
        let now = now.ok_or_else(|| unanswered(&what, "the account no longer exists."))?;
        if now.active == Some(active) {
            return Ok(Applied::Done);
        }
        let place = now.directory_name.map_or_else(|| "Its directory".to_owned(), |name| format!("Directory {name}"));
        let advice = format!(
            "{place} does not store the state. Change it in the system that holds the account, or let Crowd manage the \
             status locally (the directory's connector settings)."
        );
        Err(self.rest.still(&what, !active, &advice))
    }

    /// Sends all core fields unless they are equal already. Returns whether anything was sent.
    async fn put_user(
        &self,
        what: &str,
        user: &User,
        body: &UserWrite<'_>,
        deadline: Timestamp,
    ) -> Result<bool, TargetError> {
        let same = user.display_name.as_deref().unwrap_or_default() == body.display_name
            && user.email.as_deref().unwrap_or_default() == body.email
            && user.active == Some(body.active);
        if same {
            return Ok(false);
        }
        let ask = Ask::new(Method::PUT, "/user", what)
            .query("username", body.name)
            .login(body.name)
            .deadline(Some(deadline))
            .json(body)?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(true);
        }
        let right = Right { name: "Modify user", directory: user.directory_name.as_deref() };
        Err(self.refused_write(&ask, &answer, &right))
    }

    /// Returns the error for a refused login of a new or renamed account.
    async fn refused_user(
        &self,
        ask: &Ask<'_>,
        answer: &Answer,
        login: &str,
        renamed: Option<(&AccountId, &User)>,
        deadline: Timestamp,
    ) -> TargetError {
        let said = self.rest.said(answer, Some(login));
        let what = ask.what;
        if !said.read_only() && matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) {
            let reason = reason(answer);
            let holder = match self.user_by_login(login, Some(deadline)).await {
                Ok(holder) => holder.and_then(|user| user.id()),
                Err(why) => return why,
            };
            if holder.is_some_and(|holder| renamed.is_none_or(|(account, _)| holder != *account)) {
                return login_taken(what, &said);
            }
            if reason == "INVALID_CREDENTIAL" {
                return not_done(
                    ErrorClass::Permanent,
                    format!(
                        "{what}: Crowd's password policy rejects a random password of {PASSWORD_LENGTH} characters{}. \
                         Relax it (the directory's settings), then: usersync dead replay --all",
                        said.quoted()
                    ),
                );
            }
            if reason == "INVALID_USER" && !said.licence_full() {
                return self.rest.rejects(what, "user", &said);
            }
        }
        let directory = renamed.and_then(|(_, user)| user.directory_name.as_deref());
        let name = if renamed.is_some() { "Modify user" } else { "Add user" };
        self.refused_write(ask, answer, &Right { name, directory })
    }
}

/// Returns the core fields as they were read.
fn as_read(user: &User) -> UserWrite<'_> {
    let name = user.name.as_deref().unwrap_or_default();
    let display_name = user.display_name.as_deref().unwrap_or(name);
    UserWrite {
        name,
        first_name: user.first_name.as_deref().unwrap_or_default(),
        // A missing last name is derived from the display name, as for a new account.
        last_name: user.last_name.as_deref().unwrap_or_else(|| names(display_name).1),
        display_name,
        email: user.email.as_deref().unwrap_or_default(),
        active: user.active.unwrap_or_default(),
        password: None,
    }
}

/// Splits a display name into first and last name.
fn names(shown: &str) -> (&str, &str) {
    shown.trim().rsplit_once(char::is_whitespace).map_or(("", shown.trim()), |(first, last)| (first.trim_end(), last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_name_come_from_the_display_name() {
        assert_eq!(names("Ada Lovelace"), ("Ada", "Lovelace"));
        assert_eq!(names(" Ada  King Lovelace "), ("Ada  King", "Lovelace"));
        assert_eq!(names("ada"), ("", "ada"));
    }
}
