//! Writes to an account. Crowd addresses an account by login, so it is first read by its id and then addressed by its
//! current login.
//!
//! A change replaces all core fields, so they are read and sent back; attributes are sent separately. usersync manages
//! only the display name. For a new account, its last word becomes the last name, which some Crowd versions require,
//! and the rest the first name. Later changes keep both as they are.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;

use super::{
    CrowdTarget,
    attributes::refuse_long,
    dialect::{VERSION, reason},
    refusal::{Right, gone, unanswered},
    users::login_of,
    wire::{Password, Rename, User, UserWrite},
};
use crate::{
    model::{AccountId, ErrorClass, UserFields},
    personal::Personal,
    targets::{
        Applied, TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, after_the_fact, applied, error, fold, not_done, random_password, unsupported},
    },
};

/// Splits a display name into first and last name.
fn names(shown: &str) -> (&str, &str) {
    shown.trim().rsplit_once(char::is_whitespace).map_or(("", shown.trim()), |(first, last)| (first.trim_end(), last))
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

impl CrowdTarget {
    /// Creates an account with a random password, which Crowd requires and which is not kept.
    pub(super) async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("creating {name}");
        let shown = fields.display_name.as_deref().filter(|shown| !shown.trim().is_empty()).unwrap_or(name);
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
            None => self.user_by_login(name, Some(deadline)).await.map_err(|why| unanswered(&what, &why.text))?,
        };
        let made = made.filter(|user| user.name.as_deref().is_some_and(|reported| fold(reported) == fold(name)));
        let lost = || unanswered(&what, "Crowd accepted it, but does not return the account.");
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
        if fields.display_name.as_deref().is_some_and(|shown| shown.trim().is_empty()) {
            let text = "Crowd does not accept an empty display name. Keep the old value in the policy, or set a \
                        default.";
            return Err(unsupported(format!("{what}: {text}")));
        }
        let user = self.user_by_id(account, Some(deadline)).await?.ok_or_else(|| gone(&what))?;
        let mut body = as_read(&user);
        body.display_name = fields.display_name.as_deref().unwrap_or(body.display_name);
        body.email = fields.email.as_deref().unwrap_or(body.email);
        let put = self.put_user(&what, &user, &body, deadline).await?;
        let given = self.write_attributes(&what, &user, &fields.attributes, deadline).await;
        if given.map_err(|why| if put { after_the_fact(why) } else { why })? {
            self.see_attributes(&what, account, &fields.attributes, deadline).await?;
        }
        refuse_long(&what, &fields.attributes)?;
        Ok(Applied::Done)
    }

    pub(super) async fn rename_user(
        &self,
        account: &AccountId,
        name: &str,
        to: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("renaming {name} to {to}");
        if login_of(account).is_some() {
            return Err(unsupported(format!(
                "{what}: Crowd returns no key for this account, so usersync cannot identify it after a rename. Rename \
                 it manually; it then waits to be adopted: usersync approvals list"
            )));
        }
        let user = self.user_by_id(account, Some(deadline)).await?.ok_or_else(|| gone(&what))?;
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
                    Some(name) => Err(unsupported(format!(
                        "{what}: Crowd accepted it, but the login is {name}. Rename it \
                                                 manually."
                    ))),
                    None => Ok(Applied::Done),
                }
            }
            _ => Err(self.refused_user(&ask, &answer, to, Some((account, &user)), deadline).await),
        }
    }

    pub(super) async fn set_active(
        &self,
        account: &AccountId,
        name: &str,
        active: bool,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("{} {name}", if active { "activating" } else { "deactivating" });
        let user = self.user_by_id(account, Some(deadline)).await?.ok_or_else(|| gone(&what))?;
        let body = UserWrite { active, ..as_read(&user) };
        if !self.put_user(&what, &user, &body, deadline).await? {
            return Ok(Applied::Done);
        }
        // The answer is empty, and a directory that cannot store the state ignores it silently.
        let now = self.user_by_id(account, Some(deadline)).await.map_err(|why| unanswered(&what, &why.text))?;
        let now = now.ok_or_else(|| unanswered(&what, "the account no longer exists."))?;
        if now.active == Some(active) {
            return Ok(Applied::Done);
        }
        let (state, place) = (if active { "inactive" } else { "active" }, now.directory_name.as_deref());
        Err(unsupported(format!(
            "{what}: Crowd accepted it, but the account is still {state}. {} does not store the state. Change it in \
             the system that holds the account, or let Crowd manage the status locally (the directory's connector \
             settings).",
            place.map_or_else(|| "Its directory".to_owned(), |name| format!("Directory {name}"))
        )))
    }

    pub(super) async fn delete_user(
        &self,
        account: &AccountId,
        name: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("deleting {name}");
        let Some(user) = self.user_by_id(account, Some(deadline)).await? else { return Ok(Applied::Done) };
        let now = user.name.as_deref().unwrap_or_default();
        let ask = Ask::new(Method::DELETE, "/user", &what).query("username", now).login(now).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            status if status.is_success() => Ok(applied(&answer, StatusCode::NO_CONTENT)),
            // The account was deleted or renamed after it was read.
            StatusCode::NOT_FOUND if reason(&answer) == "USER_NOT_FOUND" => {
                match self.user_by_id(account, Some(deadline)).await? {
                    None => Ok(Applied::Done),
                    Some(_) => Err(gone(&what)),
                }
            }
            _ => {
                let right = Right { name: "Remove user", directory: user.directory_name.as_deref() };
                Err(self.refused_write(&ask, &answer, &right))
            }
        }
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
        let (what, quoted) = (ask.what, said.quoted());
        if !said.read_only() && matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) {
            let reason = reason(answer);
            let holder = match self.user_by_login(login, Some(deadline)).await {
                Ok(holder) => holder.and_then(|user| user.id()),
                Err(why) => return why,
            };
            if holder.is_some_and(|holder| renamed.is_none_or(|(account, _)| holder != *account)) {
                return error(TargetErrorKind::NameTaken, format!("{what}: the login is taken{quoted}."));
            }
            if reason == "INVALID_CREDENTIAL" {
                return not_done(
                    ErrorClass::Permanent,
                    format!(
                        "{what}: Crowd's password policy rejects a random password of 47 characters{quoted}. Relax it \
                         (the directory's settings), then: usersync dead replay --all"
                    ),
                );
            }
            if reason == "INVALID_USER" && !said.licence_full() {
                return unsupported(format!("{what}: Crowd rejects this user{quoted}. Map it in the policy."));
            }
        }
        let directory = renamed.and_then(|(_, user)| user.directory_name.as_deref());
        let name = if renamed.is_some() { "Modify user" } else { "Add user" };
        self.refused_write(ask, answer, &Right { name, directory })
    }
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
