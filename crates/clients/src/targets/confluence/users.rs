//! Writes to accounts.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;

use super::{
    ConfluenceTarget,
    accounts::By,
    rights::{is_absent, place},
    rpc,
    wire::{LongTask, Made, NewUser, Submitted, UserChange},
};
use crate::{
    model::{Account, AccountId, UserFields},
    targets::{
        Applied, TargetError, TargetErrorKind,
        rest::{Ask, after_the_fact, error, fold, random_password, segment, unsupported},
    },
};

/// First delay between two polls of a deletion. Each delay is twice the previous one, up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A name that Confluence reserves.
const ANONYMOUS: &str = "anonymous";

impl ConfluenceTarget {
    /// Creates an account. Without a mail to the user, Confluence requires a password: usersync sends a random one and
    /// discards it.
    pub(super) async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("creating {name}");
        place(&what, name)?;
        if fold(name) == ANONYMOUS {
            return Err(unsupported(format!(
                "{what}: Confluence reserves this login. Give the user another one in Keycloak."
            )));
        }
        let email = fields.email.as_deref().unwrap_or_default().trim();
        if email.is_empty() {
            return Err(unsupported(format!(
                "{what}: Confluence requires an e-mail address. Set one for the user in Keycloak."
            )));
        }
        let shown = fields.display_name.as_deref().filter(|shown| !shown.trim().is_empty()).unwrap_or(name);
        check_full_name(&what, shown)?;
        let protection = self.protection(Some(deadline)).await?;
        let password = random_password();
        let body = NewUser {
            user_name: name,
            full_name: shown,
            email,
            password: password.expose_secret(),
            notify_via_email: false,
        };
        let ask = Ask::new(Method::POST, "/admin/user", &what).login(name).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let made: Made = serde_json::from_slice(&answer.body).unwrap_or_default();
            let Some(key) = made.key else {
                let found = self.account_by_login(name, Some(deadline)).await.ok().flatten();
                let lost = || {
                    error(
                        TargetErrorKind::Unanswered,
                        format!("{what}: Confluence's answer does not name the account."),
                    )
                };
                return found.map(Applied::Account).ok_or_else(lost);
            };
            return Ok(Applied::Account(Account {
                protected: protection.account(&key, name, None),
                immutable: None,
                display_name: shown.to_owned(),
                email: Some(email.to_owned()),
                id: key.into(),
                name: name.to_owned(),
                active: true,
                access: Vec::new(),
                attributes: BTreeMap::new(),
                groups: None,
            }));
        }
        let quoted = self.rest.said(&answer, Some(name)).quoted();
        let taken = answer.status == StatusCode::CONFLICT
            || (answer.status == StatusCode::BAD_REQUEST
                && self.account_by_login(name, Some(deadline)).await?.is_some());
        if taken {
            return Err(error(TargetErrorKind::NameTaken, format!("{what}: the login is taken{quoted}.")));
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
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
        if let Some(shown) = &fields.display_name {
            check_full_name(&what, shown)?;
        }
        if fields.email.as_deref().is_some_and(|email| email.trim().is_empty()) {
            let text = format!(
                "{what}: Confluence does not accept an empty e-mail address. Set one for the user in \
                                Keycloak."
            );
            return Err(unsupported(text));
        }
        let path = format!("/admin/user/{}", place(&what, name)?);
        let seen = self.read_first(account, name, &what, deadline).await?.ok_or_else(|| gone(&what))?;
        // The current name is sent with a new address; the current address is unknown, so it is omitted.
        let shown = fields.display_name.as_deref().or(seen.display_name.as_deref());
        let mut body = UserChange { full_name: shown, email: fields.email.as_deref() };
        let put = |body: &UserChange<'_>| {
            let ask = Ask::new(Method::PUT, path.as_str(), &what).login(name).deadline(Some(deadline));
            ask.json(body)
        };
        let mut ask = put(&body)?;
        let mut answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(Applied::Done);
        }
        let absent = is_absent(&answer, &self.rest.said(&answer, Some(name)));
        let partial = answer.status == StatusCode::BAD_REQUEST && body.email.is_none();
        if !absent && !partial {
            return Err(self.refused_write(&ask, &answer, deadline).await);
        }
        let present = self.user_by_rpc(name, Some(deadline)).await?;
        match present {
            Some(mut present) if absent => {
                if let Some(shown) = shown {
                    shown.clone_into(&mut present.fullname);
                }
                if let Some(email) = &fields.email {
                    present.email.clone_from(email);
                }
                self.edit_by_rpc(&present, &what, deadline).await.map(|()| Applied::Done)
            }
            Some(present) => {
                body.email = Some(&present.email);
                ask = put(&body)?;
                answer = self.rest.ask(&ask).await?;
                if answer.status.is_success() {
                    return Ok(Applied::Done);
                }
                Err(self.refused_write(&ask, &answer, deadline).await)
            }
            None if absent => Err(unsupported(format!("{what}: this {}.", rpc::OFF))),
            None => Err(self.refused_write(&ask, &answer, deadline).await),
        }
    }

    /// Returns the error for a rename: the reason, and how an operator can rename the login.
    pub(super) fn no_rename(name: &str, to: &str) -> TargetError {
        unsupported(format!(
            "renaming {name} to {to}: Confluence cannot change logins over REST or RPC. Rename it manually in User \
             management, or keep its users in a directory that Confluence shares with Crowd or Jira and rename there."
        ))
    }

    pub(super) async fn set_active(
        &self,
        account: &AccountId,
        name: &str,
        active: bool,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("{} {name}", if active { "activating" } else { "deactivating" });
        let verb = if active { "enable" } else { "disable" };
        let path = format!("/admin/user/{}/{verb}", place(&what, name)?);
        let seen = self.read_first(account, name, &what, deadline).await?.ok_or_else(|| gone(&what))?;
        if seen.active() == Some(active) {
            return Ok(Applied::Done);
        }
        let ask = Ask::new(Method::PUT, path, &what).login(name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            if !is_absent(&answer, &self.rest.said(&answer, Some(name))) {
                return Err(self.refused_write(&ask, &answer, deadline).await);
            }
            if self.active_by_rpc(name, Some(deadline)).await?.is_none() {
                return Err(unsupported(format!("{what}: this {}.", rpc::OFF)));
            }
            self.set_active_by_rpc(name, active, &what, deadline).await?;
        }
        // The answer is empty, and some versions send it without making the change, so the state is read.
        let now = self.user(By::Key(account.as_str()), &what, Some(deadline)).await.map_err(after_the_fact)?;
        if now.is_some_and(|user| user.active() == Some(active)) {
            return Ok(Applied::Done);
        }
        let state = if active { "inactive" } else { "active" };
        Err(unsupported(format!(
            "{what}: Confluence reported success, but the account is still {state}. Change it manually in Confluence."
        )))
    }

    /// Deletes an account, and waits until Confluence has completed the deletion.
    pub(super) async fn delete_user(
        &self,
        account: &AccountId,
        name: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("deleting {name}");
        let path = format!("/admin/user/{}", place(&what, name)?);
        if self.read_first(account, name, &what, deadline).await?.is_none() {
            return Ok(Applied::Done);
        }
        let ask = Ask::new(Method::DELETE, path, &what).login(name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, Some(name));
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND if said.own => return Ok(Applied::Done),
            _ => return Err(self.refused_write(&ask, &answer, deadline).await),
        }
        let task: Submitted = serde_json::from_slice(&answer.body).unwrap_or_default();
        let why = self.await_deletion(task.id.as_deref(), &what, deadline).await.map_err(after_the_fact)?;
        if self.user(By::Key(account.as_str()), &what, Some(deadline)).await.map_err(after_the_fact)?.is_none() {
            return Ok(Applied::Done);
        }
        match why {
            Some(why) => Err(unsupported(format!(
                "{what}: Confluence's task failed{why}. Deactivate the account instead (leavers: deactivate), or \
                 remove in Confluence what the task names."
            ))),
            None => Err(error(
                TargetErrorKind::Unanswered,
                format!(
                    "{what}: Confluence accepted the deletion, but the account still exists. usersync checks \
                         again."
                ),
            )),
        }
    }

    /// Waits for the end of a task, if its id is known. Returns why the task failed, if it did.
    async fn await_deletion(
        &self,
        task: Option<&str>,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Option<String>, TargetError> {
        let Some(id) = task else { return Ok(None) };
        let mut wait = FIRST_WAIT;
        loop {
            let ask = Ask::get(format!("/longtask/{}", segment(id)), what).deadline(Some(deadline));
            // A task that Confluence no longer knows has ended; the account shows the result.
            let Some(task) = self.rest.find::<LongTask>(&ask).await? else { return Ok(None) };
            if task.percentage_complete.is_some_and(|percent| percent >= 100) {
                let said = task.messages.into_iter().filter_map(|message| message.translation);
                let said = crate::targets::http::tidy(&said.collect::<Vec<_>>().join(" "), None);
                let quoted = if said.is_empty() { said } else { format!(", saying \"{said}\"") };
                return Ok((task.successful == Some(false)).then_some(quoted));
            }
            let until = Timestamp::now() + SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
            if until >= deadline {
                let text = format!(
                    "{what}: Confluence has not finished the task. usersync checks whether it took \
                                    effect."
                );
                return Err(error(TargetErrorKind::Unanswered, text));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Checks a full name against Confluence's rules.
fn check_full_name(what: &str, shown: &str) -> Result<(), TargetError> {
    let why = if shown.trim().is_empty() {
        "does not accept an empty display name"
    } else if shown.contains(['<', '>']) {
        "does not accept a display name with < or >"
    } else if fold(shown) == ANONYMOUS {
        "reserves the display name Anonymous"
    } else {
        return Ok(());
    };
    Err(unsupported(format!("{what}: Confluence {why}. Change the user's name in Keycloak.")))
}

fn gone(what: &str) -> TargetError {
    error(TargetErrorKind::NotFound, format!("{what}: there is no such account."))
}
