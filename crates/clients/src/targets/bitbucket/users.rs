//! Accounts: reads and writes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;

use super::{
    BitbucketTarget,
    errors::{CHECK, stored_elsewhere},
    protection::Known,
    wire::{CompleteUser, REQUIRED, User, UserRename, UserUpdate},
};
use crate::{
    model::{Account, AccountId, ErrorClass, TargetGroupId, UserFields, UserId},
    targets::{
        AccountRef, Applied, TargetError, TargetErrorKind, UserWrites, WriteResult,
        http::Answer,
        rest::{Ask, fold, login_taken, not_done, random_password, shown_name, unanswered, unsupported},
    },
};

impl CompleteUser {
    /// Converts to an account, with its groups if they are known, and with what lets it sign in.
    pub(super) fn into_account(self, known: &Known, groups: Option<&[String]>, access: Vec<String>) -> Account {
        let groups: Option<Vec<_>> =
            groups.map(|groups| groups.iter().map(|name| TargetGroupId::from(fold(name))).collect());
        let service = || self.service.then(|| "a service user".to_owned());
        Account {
            protected: known.protection.account(self.id.as_str(), &self.name, groups.as_deref()).or_else(service),
            immutable: self.immutable(),
            active: self.active && !access.is_empty(),
            id: self.id,
            name: self.name,
            display_name: self.display_name,
            email: self.email,
            groups,
            access,
            attributes: BTreeMap::new(),
        }
    }
}

impl BitbucketTarget {
    /// Reads an account by its stable id, with its groups.
    pub(super) async fn account_by_id(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        match self.user_by_id(id, deadline).await? {
            Some(user) => self.with_groups(user, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads an account by its login, with its groups.
    pub(super) async fn account_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        match self.user_by_login(name, deadline).await? {
            Some(user) => self.with_groups(user, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the accounts with this e-mail address, with their groups.
    pub(super) async fn accounts_by_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        let mut found = Vec::new();
        for user in self.users_by_email(email).await? {
            found.push(self.with_groups(user, None).await?);
        }
        Ok(found)
    }

    async fn with_groups(&self, user: CompleteUser, deadline: Option<Timestamp>) -> Result<Account, TargetError> {
        let known = self.known(deadline).await?;
        let groups = self.groups_of(&user, deadline).await?;
        let mut access = known.grants.access(&user.id, &groups);
        if access.is_empty() && user.active {
            // A permission may have been granted since; an account that may sign in must not count as inactive.
            access = self.grants(deadline).await?.access(&user.id, &groups);
        }
        Ok(user.into_account(&known, Some(&groups), access))
    }
}

#[async_trait]
impl UserWrites for BitbucketTarget {
    /// Creates an account. The password is part of the request's address, so it is removed from error messages.
    async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        _external_id: Option<&UserId>,
        deadline: Timestamp,
    ) -> WriteResult {
        let password = random_password();
        let made = self.create_with(name, fields, password.expose_secret(), deadline).await;
        made.map_err(|mut error| {
            error.text = error.text.replace(password.expose_secret(), "(password)");
            error
        })
    }

    async fn update_user(&self, account: AccountRef<'_>, fields: &UserFields, deadline: Timestamp) -> WriteResult {
        if fields.is_empty() {
            return Ok(Applied::Done);
        }
        let what = format!("updating {}", account.name);
        self.rest.refuse_empty(&what, fields)?;
        let deadline = Some(deadline);
        let user = self.account_with_login(account.id, account.name, &what, deadline).await?;
        changeable(&user, &what)?;
        let (Some(display_name), Some(email)) = (
            fields.display_name.as_deref().or(Some(&user.display_name)),
            fields.email.as_deref().or(user.email.as_deref()),
        ) else {
            return Err(self.rest.email_required(&what));
        };
        let ask = Ask::new(Method::PUT, "/admin/users", &what)
            .login(&user.name)
            .deadline(deadline)
            .json(&UserUpdate { name: &user.name, display_name, email })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            self.changed(&ask, &answer)?;
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, "Change it manually in Bitbucket."))
    }

    async fn rename_user(&self, account: AccountRef<'_>, to: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("renaming {} to {to}", account.name);
        let deadline = Some(deadline);
        let user = match self.account_with_login(account.id, account.name, &what, deadline).await {
            Ok(user) => user,
            Err(lost) if lost.kind == TargetErrorKind::NotFound => {
                // An earlier attempt may have renamed it already.
                let now = self.user_by_login(to, deadline).await?;
                now.filter(|now| now.id == *account.id).ok_or(lost)?
            }
            Err(error) => return Err(error),
        };
        if user.name == to {
            return Ok(Applied::Done);
        }
        changeable(&user, &what)?;
        let ask = Ask::new(Method::POST, "/admin/users/rename", &what)
            .login(to)
            .deadline(deadline)
            .json(&UserRename { name: &user.name, new_name: to })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let now = self.changed(&ask, &answer)?;
            if now.name == to {
                return Ok(Applied::Done);
            }
            return Err(self.rest.named_otherwise(&what, "login", &now.name));
        }
        let said = self.rest.said(&answer, Some(to));
        if said.own && matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) {
            if self.user_by_login(to, deadline).await?.is_some_and(|holder| holder.id != *account.id) {
                return Err(login_taken(&what, &said));
            }
            return Err(self.rest.rejects(&what, "login", &said));
        }
        Err(self.refused_write(&ask, &answer, "Rename it manually in Bitbucket."))
    }

    /// Restores what lets the account sign in.
    async fn activate_user(&self, account: AccountRef<'_>, gives: &[String], deadline: Timestamp) -> WriteResult {
        let what = format!("activating {}", account.name);
        let deadline = Some(deadline);
        let user = self.account_with_login(account.id, account.name, &what, deadline).await?;
        if !user.active {
            return Err(unsupported(format!("{what}: the account is inactive in {}. Activate it there.", user.home())));
        }
        self.restore_access(&what, &user, gives, deadline).await
    }

    /// Revokes what lets the account sign in.
    async fn deactivate_user(&self, account: AccountRef<'_>, takes: &[String], deadline: Timestamp) -> WriteResult {
        let what = format!("deactivating {}", account.name);
        let deadline = Some(deadline);
        let user = self.account_with_login(account.id, account.name, &what, deadline).await?;
        if !user.active {
            return Ok(Applied::Done);
        }
        self.revoke_access(&what, &user, takes, deadline).await
    }

    /// Deletes an account. Succeeds if the account no longer exists.
    async fn delete_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("deleting {}", account.name);
        let deadline = Some(deadline);
        let user = match self.account_with_login(account.id, account.name, &what, deadline).await {
            Ok(user) => user,
            Err(lost) if lost.kind == TargetErrorKind::NotFound => {
                return match self.user_by_id(account.id, deadline).await? {
                    Some(_) => Err(lost),
                    None => Ok(Applied::Done),
                };
            }
            Err(error) => return Err(error),
        };
        if !user.deletable {
            return Err(unsupported(format!(
                "{what}: the account is stored in {}, from which Bitbucket cannot delete. Delete it there.",
                user.home()
            )));
        }
        let (grants, groups) = (self.grants(deadline).await?, self.groups_of(&user, deadline).await?);
        self.refuse_new_administrator(&what, &user, &grants, &groups, deadline).await?;
        let ask = Ask::new(Method::DELETE, "/admin/users", &what)
            .query("name", &user.name)
            .login(&user.name)
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, Some(&user.name));
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND if said.own => {}
            _ => {
                return Err(self.refused_write(
                    &ask,
                    &answer,
                    "Delete it manually, or deactivate it (leavers: deactivate).",
                ));
            }
        }
        self.seen.forget(account.id);
        // Bitbucket answers with the user that it deleted.
        let reported = !answer.status.is_success() || !answer.body.trim_ascii().is_empty();
        Ok(if reported { Applied::Done } else { Applied::Undocumented })
    }
}

impl BitbucketTarget {
    async fn create_with(&self, name: &str, fields: &UserFields, password: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("creating {name}");
        let deadline = Some(deadline);
        let email = self.rest.required_email(&what, fields)?;
        // Read before the account is created, so that nothing else can fail afterwards.
        self.known(deadline).await?;
        let ask = Ask::new(Method::POST, "/admin/users", &what)
            .query("name", name)
            .query("displayName", shown_name(fields, name))
            .query("emailAddress", email)
            .query("password", password)
            .query("addToDefaultGroup", if self.settings.default_group { "true" } else { "false" })
            .login(name)
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return match self.account_by_login(name, deadline).await {
                Ok(Some(account)) => Ok(Applied::Account(account)),
                Ok(None) => Err(self.rest.account_not_returned(&what)),
                Err(why) => {
                    Err(unanswered(&what, &format!("the account was created, but could not be read: {}", why.text)))
                }
            };
        }
        let said = self.rest.said(&answer, Some(name));
        match answer.status {
            StatusCode::CONFLICT if said.own => {
                if self.user_by_login(name, deadline).await?.is_some() {
                    return Err(login_taken(&what, &said));
                }
                Err(not_done(
                    ErrorClass::Permanent,
                    format!(
                        "{what}: Bitbucket reports the login as taken{}, but returns no user with it. The login of a \
                         deleted user is free after Bitbucket's cleanup (7 days), then: usersync dead replay --all",
                        said.quoted()
                    ),
                ))
            }
            StatusCode::BAD_REQUEST if said.about("name").is_some() => Err(self.rest.rejects(&what, "login", &said)),
            StatusCode::FORBIDDEN if self.settings.default_group => {
                Err(self.refused_access(&ask, &answer, deadline).await)
            }
            _ => Err(self.refused_write(&ask, &answer, CHECK)),
        }
    }

    /// Returns the user from the answer to a change.
    fn changed(&self, ask: &Ask<'_>, answer: &Answer) -> Result<CompleteUser, TargetError> {
        let user = self.rest.parse::<User>(ask, answer)?.whole();
        let user = user.ok_or_else(|| self.rest.unreadable(ask, &format!("it lacks {REQUIRED}")))?;
        self.seen.note(&user);
        Ok(user)
    }
}

/// Checks that the details of a user can be changed here.
fn changeable(user: &CompleteUser, what: &str) -> Result<(), TargetError> {
    if user.mutable_details {
        return Ok(());
    }
    Err(stored_elsewhere(what, "its details", user, "Change them"))
}
