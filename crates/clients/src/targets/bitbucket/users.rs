//! Writes to accounts, except activation and deactivation.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;

use super::{
    BitbucketTarget,
    wire::{CompleteUser, User, UserRename, UserUpdate},
};
use crate::{
    model::{AccountId, ErrorClass, UserFields},
    targets::{
        Applied, TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, error, not_done, random_password, unsupported},
    },
};

impl BitbucketTarget {
    /// Creates an account. The password is part of the request's address, so it is removed from error messages.
    pub(super) async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let password = random_password();
        let made = self.create_with(name, fields, password.expose_secret(), deadline).await;
        made.map_err(|mut error| {
            error.text = error.text.replace(password.expose_secret(), "(password)");
            error
        })
    }

    async fn create_with(
        &self,
        name: &str,
        fields: &UserFields,
        password: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("creating {name}");
        let deadline = Some(deadline);
        let email = fields.email.as_deref().unwrap_or_default();
        if email.trim().is_empty() {
            return Err(unsupported(format!(
                "{what}: Bitbucket requires an e-mail address. Set one for the user in Keycloak."
            )));
        }
        let shown = fields.display_name.as_deref().filter(|shown| !shown.trim().is_empty()).unwrap_or(name);
        // Read before the account is created, so that nothing else can fail afterwards.
        self.known(deadline).await?;
        let ask = Ask::new(Method::POST, "/admin/users", &what)
            .query("name", name)
            .query("displayName", shown)
            .query("emailAddress", email)
            .query("password", password)
            .query("addToDefaultGroup", if self.default_group { "true" } else { "false" })
            .login(name)
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return match self.account_by_login(name, deadline).await {
                Ok(Some(account)) => Ok(Applied::Account(account)),
                Ok(None) => Err(error(
                    TargetErrorKind::Unanswered,
                    format!("{what}: Bitbucket reports the account as created, but does not return it yet."),
                )),
                Err(unread) => Err(error(
                    TargetErrorKind::Unanswered,
                    format!("{what}: the account was created, but could not be read: {}", unread.text),
                )),
            };
        }
        let said = self.rest.said(&answer, Some(name));
        let quoted = said.quoted();
        match answer.status {
            StatusCode::CONFLICT if said.own => {
                if self.user_by_login(name, deadline).await?.is_some() {
                    return Err(error(TargetErrorKind::NameTaken, format!("{what}: the login is taken{quoted}.")));
                }
                Err(not_done(
                    ErrorClass::Permanent,
                    format!(
                        "{what}: Bitbucket reports the login as taken{quoted}, but returns no user with it. The login \
                         of a deleted user is free after Bitbucket's cleanup (7 days), then: usersync dead replay \
                         --all"
                    ),
                ))
            }
            StatusCode::BAD_REQUEST if said.about("name").is_some() => {
                Err(unsupported(format!("{what}: Bitbucket rejects this login{quoted}. Map it in the policy.")))
            }
            StatusCode::FORBIDDEN if self.default_group => Err(self.refused_access(&ask, &answer, deadline).await),
            _ => Err(self.refused_end(&ask, &answer, "Check it in Bitbucket")),
        }
    }

    pub(super) async fn update_user(
        &self,
        account: &AccountId,
        name: &str,
        fields: &UserFields,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        if fields.is_empty() {
            return Ok(Applied::Done);
        }
        let what = format!("updating {name}");
        for (field, value) in [("display name", &fields.display_name), ("e-mail address", &fields.email)] {
            if value.as_deref().is_some_and(|value| value.trim().is_empty()) {
                let text = format!(
                    "{what}: Bitbucket does not accept an empty {field}. Keep the old value in the policy, or set a \
                     default."
                );
                return Err(unsupported(text));
            }
        }
        let deadline = Some(deadline);
        let user = self.account_with_login(account, name, &what, deadline).await?;
        changeable(&user, &what)?;
        let (Some(display_name), Some(email)) = (
            fields.display_name.as_deref().or(Some(&user.display_name)),
            fields.email.as_deref().or(user.email.as_deref()),
        ) else {
            return Err(unsupported(format!(
                "{what}: Bitbucket requires an e-mail address. Set one for the user in Keycloak."
            )));
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
        Err(self.refused_end(&ask, &answer, "Change it manually in Bitbucket"))
    }

    pub(super) async fn rename_user(
        &self,
        account: &AccountId,
        name: &str,
        to: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("renaming {name} to {to}");
        let deadline = Some(deadline);
        let user = match self.account_with_login(account, name, &what, deadline).await {
            Ok(user) => user,
            Err(lost) if lost.kind == TargetErrorKind::NotFound => {
                // An earlier attempt may have renamed it already.
                let now = self.user_by_login(to, deadline).await?;
                now.filter(|now| now.id == *account).ok_or(lost)?
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
            let text = format!("{what}: Bitbucket answered 200, but the login is {}. Rename it manually.", now.name);
            return Err(unsupported(text));
        }
        let said = self.rest.said(&answer, Some(to));
        let quoted = said.quoted();
        if said.own && matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) {
            if self.user_by_login(to, deadline).await?.is_some_and(|holder| holder.id != *account) {
                return Err(error(TargetErrorKind::NameTaken, format!("{what}: the login is taken{quoted}.")));
            }
            let text = format!("{what}: Bitbucket rejects this login{quoted}. Map it in the policy.");
            return Err(unsupported(text));
        }
        Err(self.refused_end(&ask, &answer, "Rename it manually in Bitbucket"))
    }

    /// Deletes an account. Succeeds if the account no longer exists.
    pub(super) async fn delete_user(
        &self,
        account: &AccountId,
        name: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("deleting {name}");
        let deadline = Some(deadline);
        let user = match self.account_with_login(account, name, &what, deadline).await {
            Ok(user) => user,
            Err(lost) if lost.kind == TargetErrorKind::NotFound => {
                return match self.user_by_id(account, deadline).await? {
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
                return Err(self.refused_end(
                    &ask,
                    &answer,
                    "Delete it manually, or deactivate it (leavers: deactivate)",
                ));
            }
        }
        self.seen.forget(account);
        // Bitbucket answers with the user that it deleted.
        let reported = !answer.status.is_success() || !answer.body.trim_ascii().is_empty();
        Ok(if reported { Applied::Done } else { Applied::Undocumented })
    }

    /// Returns the user from the answer to a change.
    fn changed(&self, ask: &Ask<'_>, answer: &Answer) -> Result<CompleteUser, TargetError> {
        let user = self.rest.parse::<User>(ask, answer)?.whole();
        let user = user.ok_or_else(|| self.rest.unreadable(ask, "it lacks id, name or active"))?;
        self.seen.note(&user);
        Ok(user)
    }
}

/// Checks that the details of a user can be changed here.
fn changeable(user: &CompleteUser, what: &str) -> Result<(), TargetError> {
    if user.mutable_details {
        return Ok(());
    }
    Err(unsupported(format!(
        "{what}: its details are stored in {}, which is read-only for Bitbucket. Change them there.",
        user.home()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_the_same_and_need_no_encoding() {
        let (one, other) = (random_password(), random_password());
        assert_ne!(one.expose_secret(), other.expose_secret());
        let encoded: String = url::form_urlencoded::byte_serialize(one.expose_secret().as_bytes()).collect();
        assert_eq!(encoded, one.expose_secret());
        assert!(one.expose_secret().len() >= 40);
    }
}
