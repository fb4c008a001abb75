//! Accounts: reads and writes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    JiraTarget,
    wire::{User, UserWrite},
};
use crate::{
    model::{Account, AccountId, TargetGroupId, UserFields, UserId},
    targets::{
        AccountRef, Applied, TargetError, UserWrites, WriteResult,
        rest::{
            Ask, MANUALLY, Protection, after_the_fact, applied, fold, lenient::some, login_taken, segment, shown_name,
            unanswered, unconfirmed,
        },
    },
};

/// Advice for a deactivation that Jira refuses although usersync sees nothing that the account leads.
const DEACTIVATE_ADVICE: &str = "If it leads projects or components that usersync's account may not browse, set another \
                                 lead in Jira, then: usersync dead replay --all";
/// Advice for a deletion that Jira refuses.
const DELETE_ADVICE: &str = "Deactivate the account instead (leavers: deactivate), or remove in Jira what it names.";

impl User {
    /// Converts to an account; `None` if a field is missing that every account has.
    pub(super) fn into_account(self, protection: &Protection) -> Option<Account> {
        let (key, name, active) = (some(self.key)?, some(self.name)?, self.active?);
        let groups = self.groups.and_then(|groups| {
            let (size, items) = (groups.size, groups.items);
            let whole = items.reported && size.is_none_or(|size| size <= items.len());
            let named = items.into_iter().map(|group| some(group.name).map(|name| TargetGroupId::from(fold(&name))));
            named.collect::<Option<Vec<_>>>().filter(|_| whole)
        });
        Some(Account {
            protected: protection.account(&key, &name, groups.as_deref()),
            immutable: protection.immutable(&name),
            display_name: self.display_name.unwrap_or_else(|| name.clone()),
            // Jira may be configured to mask addresses: "ada at example dot org".
            email: self.email_address.filter(|email| email.contains('@')),
            access: Vec::new(),
            attributes: BTreeMap::new(),
            id: key.into(),
            name,
            active,
            groups,
        })
    }
}

impl JiraTarget {
    /// Reads an account by its stable key, with its groups.
    pub(super) async fn account_by_key(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        let what = format!("reading account {id}");
        let ask = Ask::get("/user", &what).query("key", id.as_str()).query("expand", "groups").deadline(deadline);
        self.one_account(&ask).await
    }

    /// Reads an account by its login, with its groups.
    pub(super) async fn account_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        let what = format!("reading {name}");
        let ask =
            Ask::get("/user", &what).query("username", name).query("expand", "groups").login(name).deadline(deadline);
        Ok(self.one_account(&ask).await?.filter(|account| fold(&account.name) == fold(name)))
    }

    /// Reads the account that a call addresses, and adds its protection.
    async fn one_account(&self, ask: &Ask<'_>) -> Result<Option<Account>, TargetError> {
        let protection = self.protection(None).await?;
        let Some(user) = self.rest.find::<User>(ask).await? else { return Ok(None) };
        if user.is_gone() {
            return Ok(None);
        }
        let account = user.into_account(&protection);
        let account =
            account.ok_or_else(|| unconfirmed(format!("{}: Jira's answer lacks key, name or active.", ask.what)))?;
        self.protected_by_groups(account, &protection, None).await.map(Some)
    }

    /// Reads usersync's own account.
    pub(super) async fn myself(&self, deadline: Option<Timestamp>) -> Result<Account, TargetError> {
        let me: User =
            self.rest.read(&Ask::get("/myself", "reading usersync's own account").deadline(deadline)).await?;
        let me = me.into_account(&Protection::default());
        let me =
            me.ok_or_else(|| unconfirmed("reading usersync's own account: Jira's answer lacks key, name or active."))?;
        self.rest.signed_in_as(&me.name);
        Ok(me)
    }

    /// Ends the open sessions of an account on all nodes.
    ///
    /// # Source
    /// "Invalidating user sessions in Jira Data Center", Jira knowledge base: since Jira 9.11. Earlier versions answer
    /// 404, as does a server without this login.
    pub(super) async fn end_sessions_of(&self, login: &str, deadline: Timestamp) -> Result<(), TargetError> {
        let what = format!("ending the sessions of {login}");
        let path = format!("/user/session/{}", segment(login));
        let ask = Ask::new(Method::DELETE, path, &what).login(login).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    /// Writes the active status, and confirms it.
    async fn set_active(
        &self,
        account: AccountRef<'_>,
        active: bool,
        deadline: Timestamp,
    ) -> Result<Applied, NotWritten> {
        let what = format!("{} {}", if active { "activating" } else { "deactivating" }, account.name);
        let body = UserWrite { active: Some(active), ..UserWrite::default() };
        let reported =
            self.put_user(account.id, account.name, &what, &body, deadline).await?.and_then(|user| user.active);
        // Some answers do not return the new state, so it is read.
        let now = match reported {
            Some(reported) if reported == active => return Ok(Applied::Done),
            _ => {
                let read = self.account_by_key(account.id, Some(deadline)).await.map_err(after_the_fact(&what))?;
                read.map(|account| account.active)
            }
        };
        if now == Some(active) {
            return Ok(Applied::Done);
        }
        let still = self.rest.still(&what, !active, MANUALLY);
        Err(if active { NotWritten::Failed(still) } else { NotWritten::Refused(still) })
    }

    /// Writes to an account, addressed by its key. Returns the user from the answer; `None` if the answer is empty.
    async fn put_user(
        &self,
        account: &AccountId,
        login: &str,
        what: &str,
        body: &UserWrite<'_>,
        deadline: Timestamp,
    ) -> Result<Option<User>, NotWritten> {
        let ask = Ask::new(Method::PUT, "/user", what)
            .query("key", account.as_str())
            .login(login)
            .deadline(Some(deadline))
            .json(body)?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let empty = answer.body.trim_ascii().is_empty();
            return if empty { Ok(None) } else { Ok(Some(self.rest.parse(&ask, &answer)?)) };
        }
        let said = self.rest.said(&answer, Some(login));
        if answer.status == StatusCode::BAD_REQUEST {
            // The message is in the language of usersync's account; whatever it says, the same call is refused again.
            if body.active == Some(false) && !said.is_empty() && !said.read_only() {
                return Err(NotWritten::Refused(self.rest.refuses(what, &said, "")));
            }
            if body.active == Some(true) && said.licence_full() {
                return Err(self.rest.no_seat(what, &said).into());
            }
            if let Some(to) = body.name {
                let complaint = said.about("username").or_else(|| said.about("name")).is_some();
                let holder = self.account_by_login(to, Some(deadline)).await?;
                if (complaint && said.taken()) || holder.is_some_and(|holder| holder.id != *account) {
                    return Err(login_taken(what, &said).into());
                }
                if complaint {
                    return Err(self.rest.rejects(what, "login", &said).into());
                }
            }
        }
        Err(self.refused_write(&ask, &answer, deadline).await.into())
    }

    /// Deletes an account that nothing refers to.
    async fn try_delete(
        &self,
        account: AccountRef<'_>,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Applied, NotWritten> {
        let ask = Ask::new(Method::DELETE, "/user", what)
            .query("key", account.id.as_str())
            .login(account.name)
            .deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, Some(account.name));
        match answer.status {
            status if status.is_success() => Ok(applied(&answer, StatusCode::NO_CONTENT)),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            StatusCode::BAD_REQUEST if said.is_empty() => {
                Err(unanswered(what, "Jira answered 400 without a reason.").into())
            }
            StatusCode::BAD_REQUEST if !said.read_only() => {
                Err(NotWritten::Refused(self.rest.refuses(what, &said, "")))
            }
            _ => Err(self.refused_write(&ask, &answer, deadline).await.into()),
        }
    }
}

/// Why a write did not take effect.
enum NotWritten {
    /// Jira refuses to deactivate or delete the account; the error has no advice yet.
    Refused(TargetError),
    /// Any other reason.
    Failed(TargetError),
}

impl From<TargetError> for NotWritten {
    fn from(error: TargetError) -> Self {
        Self::Failed(error)
    }
}

impl NotWritten {
    fn into_error(self) -> TargetError {
        match self {
            Self::Refused(error) | Self::Failed(error) => error,
        }
    }
}

#[async_trait]
impl UserWrites for JiraTarget {
    /// Creates an account. Jira generates a password that remains unknown, and sends no mail unless requested.
    async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        _external_id: Option<&UserId>,
        deadline: Timestamp,
    ) -> WriteResult {
        let what = format!("creating {name}");
        let body = UserWrite {
            name: Some(name),
            display_name: Some(shown_name(fields, name)),
            email_address: Some(self.rest.required_email(&what, fields)?),
            application_keys: self.settings.applications.as_deref(),
            active: None,
        };
        let protection = self.protection(Some(deadline)).await?;
        let ask = Ask::new(Method::POST, "/user", &what).login(name).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let mut user: User = self.rest.parse(&ask, &answer)?;
            user.active = user.active.or(Some(true));
            if let Some(account) = user.into_account(&protection).filter(|account| fold(&account.name) == fold(name)) {
                return Ok(Applied::Account(account));
            }
            let found = self.account_by_login(name, Some(deadline)).await.ok().flatten();
            return found.map(Applied::Account).ok_or_else(|| self.rest.account_not_returned(&what));
        }
        let said = self.rest.said(&answer, Some(name));
        if said.licence_full() {
            return Err(self.rest.no_seat(&what, &said));
        }
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) {
            let complaint = said.about("username").or_else(|| said.about("name"));
            let certain = complaint.is_some() && said.taken();
            if certain || self.account_by_login(name, Some(deadline)).await?.is_some() {
                return Err(login_taken(&what, &said));
            }
            if complaint.is_some() {
                return Err(self.rest.rejects(&what, "login", &said));
            }
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }

    async fn update_user(&self, account: AccountRef<'_>, fields: &UserFields, deadline: Timestamp) -> WriteResult {
        if fields.is_empty() {
            return Ok(Applied::Done);
        }
        let what = format!("updating {}", account.name);
        self.rest.refuse_empty(&what, fields)?;
        let body = UserWrite {
            display_name: fields.display_name.as_deref(),
            email_address: fields.email.as_deref(),
            ..UserWrite::default()
        };
        let reported = self.put_user(account.id, account.name, &what, &body, deadline).await;
        let reported = reported.map_err(NotWritten::into_error)?;
        Ok(if reported.is_some() { Applied::Done } else { Applied::Undocumented })
    }

    async fn rename_user(&self, account: AccountRef<'_>, to: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("renaming {} to {to}", account.name);
        let body = UserWrite { name: Some(to), ..UserWrite::default() };
        let user = self.put_user(account.id, to, &what, &body, deadline).await.map_err(NotWritten::into_error)?;
        match user.and_then(|user| user.name) {
            Some(now) if fold(&now) != fold(to) => Err(self.rest.named_otherwise(&what, "login", &now)),
            Some(_) => Ok(Applied::Done),
            None => Ok(Applied::Undocumented),
        }
    }

    async fn activate_user(&self, account: AccountRef<'_>, _gives: &[String], deadline: Timestamp) -> WriteResult {
        self.set_active(account, true, deadline).await.map_err(NotWritten::into_error)
    }

    async fn deactivate_user(&self, account: AccountRef<'_>, _takes: &[String], deadline: Timestamp) -> WriteResult {
        let what = format!("deactivating {}", account.name);
        let again = || self.set_active(account, false, deadline);
        match again().await {
            Err(NotWritten::Refused(refusal)) => {
                let also = self.hand_over_leads(account, &what, refusal, DEACTIVATE_ADVICE, deadline).await?;
                after_hand_over(again().await, also, DEACTIVATE_ADVICE)
            }
            written => written.map_err(NotWritten::into_error),
        }
    }

    async fn anonymize_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        self.anonymize(account, deadline).await
    }

    async fn delete_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("deleting {}", account.name);
        let again = || self.try_delete(account, &what, deadline);
        match again().await {
            Err(NotWritten::Refused(refusal)) => {
                let also = self.hand_over_leads(account, &what, refusal, DELETE_ADVICE, deadline).await?;
                after_hand_over(again().await, also, DELETE_ADVICE)
            }
            written => written.map_err(NotWritten::into_error),
        }
    }
}

/// Returns the result of a call that was sent again after leads were handed over; `also` is the second half of a
/// sentence.
fn after_hand_over(written: Result<Applied, NotWritten>, also: String, advice: &str) -> WriteResult {
    match written {
        Ok(Applied::Done) => Ok(Applied::DoneWith(also)),
        Ok(applied) => Ok(applied),
        Err(NotWritten::Refused(error)) => {
            let text = format!("{} {advice} Before, {also}.", error.text.trim_end());
            Err(TargetError { text, ..error })
        }
        Err(NotWritten::Failed(error)) => Err(error),
    }
}
