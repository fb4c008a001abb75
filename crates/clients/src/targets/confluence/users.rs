//! Accounts: reads and writes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;

use super::{
    ConfluenceTarget,
    errors::is_absent,
    paging::ResultPage,
    rpc,
    wire::{Group, Made, NewUser, Submitted, User, UserChange, path_segment},
};
use crate::{
    model::{Account, AccountId, TargetGroupId, UserFields, UserId},
    targets::{
        AccountRef, Applied, TargetError, TargetErrorKind, UserWrites, WriteResult,
        rest::{
            Ask, MANUALLY, Protection, after_the_fact, error, fold, gone, lenient::some, login_taken, random_password,
            shown_name, unconfirmed, unsupported,
        },
    },
};

/// Page size for groups.
const PAGE: &str = "200";

/// A name that Confluence reserves.
const ANONYMOUS: &str = "anonymous";

/// How a user is addressed.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// By the stable key.
    Key(&'a str),
    /// By the login.
    Login(&'a str),
}

impl User {
    /// Converts to an account; `None` if a field is missing that every account has.
    pub(super) fn into_account(self, protection: &Protection, groups: Option<Vec<TargetGroupId>>) -> Option<Account> {
        let active = self.active()?;
        let (key, name) = (some(self.key)?, some(self.username)?);
        Some(Account {
            protected: protection.account(&key, &name, groups.as_deref()),
            immutable: None,
            display_name: self.display_name.unwrap_or_else(|| name.clone()),
            email: None,
            id: key.into(),
            name,
            active,
            access: Vec::new(),
            attributes: BTreeMap::new(),
            groups,
        })
    }
}

impl ConfluenceTarget {
    /// Reads an account by its stable key, with its groups.
    pub(super) async fn account_by_key(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        self.whole_account(By::Key(id.as_str()), &format!("reading account {id}"), deadline).await
    }

    /// Reads an account by its login, with its groups.
    pub(super) async fn account_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        let found = self.whole_account(By::Login(name), &format!("reading {name}"), deadline).await?;
        Ok(found.filter(|account| fold(&account.name) == fold(name)))
    }

    /// Reads an account with its groups, which Confluence returns by a separate call.
    async fn whole_account(
        &self,
        by: By<'_>,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        let protection = self.protection(deadline).await?;
        let Some(user) = self.user(by, what, deadline).await? else { return Ok(None) };
        let key = user.key.clone().ok_or_else(|| lacking(what))?;
        let groups = match self.groups_of(&key, what, deadline).await {
            // Only the answer about the account itself shows that it is gone; here its groups are unknown.
            Err(TargetError { kind: TargetErrorKind::NotFound, .. }) => None,
            groups => groups?,
        };
        let account = user.into_account(&protection, groups).ok_or_else(|| lacking(what))?;
        self.protected_by_groups(account, deadline).await.map(Some)
    }

    /// Reads a user with key, login and status; `None` if there is no such user.
    pub(super) async fn user(
        &self,
        by: By<'_>,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<User>, TargetError> {
        let ask = Ask::get("/user", what).query("expand", "status").deadline(deadline);
        let ask = match by {
            By::Key(key) => ask.query("key", key),
            By::Login(login) => ask.query("username", login).login(login),
        };
        let Some(user) = self.rest.find::<User>(&ask).await?.filter(User::known) else { return Ok(None) };
        self.with_status(user, what, deadline).await.map(Some)
    }

    /// Adds the status over JSON-RPC, if that is enabled, where REST does not return it.
    ///
    /// # Errors
    /// [`ErrorClass::Unconfirmed`] if key, login or status remain unknown.
    pub(super) async fn with_status(
        &self,
        mut user: User,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<User, TargetError> {
        if user.active().is_none()
            && let Some(login) = &user.username
            && let Some(active) = self.active_by_rpc(login, deadline).await?
        {
            user.status = Some(if active { "current" } else { "deactivated" }.to_owned());
        }
        let is_reported = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
        let whole = is_reported(&user.key) && is_reported(&user.username) && user.active().is_some();
        if whole { Ok(user) } else { Err(lacking(what)) }
    }

    /// Returns the groups of an account; `None` if the listing may be incomplete.
    pub(super) async fn groups_of(
        &self,
        key: &str,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Vec<TargetGroupId>>, TargetError> {
        let mut groups = Vec::new();
        let mut at = 0;
        loop {
            let start = at.to_string();
            let ask = Ask::get("/user/memberof", what)
                .query("key", key)
                .query("start", &start)
                .query("limit", PAGE)
                .deadline(deadline);
            let page: ResultPage<Group> = self.rest.read(&ask).await?;
            let (next, mut why) = page.next(at);
            for group in page.results {
                match some(group.name) {
                    Some(name) => groups.push(TargetGroupId::from(fold(&name))),
                    None => why = Some("a group was returned without a name".to_owned()),
                }
            }
            match (next, why) {
                (_, Some(_)) => return Ok(None),
                (Some(next), None) => at = next,
                (None, None) => break,
            }
        }
        // Pages that overlap after a concurrent change list a group twice.
        groups.sort();
        groups.dedup();
        Ok(Some(groups))
    }

    /// Checks that a login still belongs to an account, since everything but reading is addressed by login. Returns
    /// `None` if the account is gone.
    pub(super) async fn read_first(
        &self,
        account: AccountRef<'_>,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Option<User>, TargetError> {
        let Some(user) = self.user(By::Key(account.id.as_str()), what, Some(deadline)).await? else { return Ok(None) };
        match &user.username {
            Some(now) if fold(now) != fold(account.name) => Err(error(
                TargetErrorKind::NotFound,
                format!("{what}: the account's login is now {now}, so nothing was sent. usersync re-reads it."),
            )),
            _ => Ok(Some(user)),
        }
    }

    /// Reads usersync's own account.
    pub(super) async fn myself(&self, deadline: Option<Timestamp>) -> Result<Account, TargetError> {
        let what = "reading usersync's own account";
        let mut me: User = self.rest.read(&Ask::get("/user/current", what).deadline(deadline)).await?;
        // The account is active: it has just signed in.
        me.status = Some("current".to_owned());
        let me = me.into_account(&Protection::default(), None);
        let me =
            me.ok_or_else(|| unconfirmed(format!("{what}: Confluence's answer lacks the user's key or login.")))?;
        self.rest.signed_in_as(&me.name);
        Ok(me)
    }

    /// Writes the active status, and confirms it.
    async fn set_active(&self, account: AccountRef<'_>, active: bool, deadline: Timestamp) -> WriteResult {
        let name = account.name;
        let what = format!("{} {name}", if active { "activating" } else { "deactivating" });
        let verb = if active { "enable" } else { "disable" };
        let path = format!("/admin/user/{}/{verb}", path_segment(&what, name)?);
        let seen = self.read_first(account, &what, deadline).await?.ok_or_else(|| gone(&what, "account"))?;
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
        let now =
            self.user(By::Key(account.id.as_str()), &what, Some(deadline)).await.map_err(after_the_fact(&what))?;
        if now.is_some_and(|user| user.active() == Some(active)) {
            return Ok(Applied::Done);
        }
        Err(self.rest.still(&what, !active, MANUALLY))
    }
}

#[async_trait]
impl UserWrites for ConfluenceTarget {
    /// Creates an account. Without a mail to the user, Confluence requires a password: usersync sends a random one and
    /// discards it.
    async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        _external_id: Option<&UserId>,
        deadline: Timestamp,
    ) -> WriteResult {
        let what = format!("creating {name}");
        path_segment(&what, name)?;
        if fold(name) == ANONYMOUS {
            return Err(unsupported(format!(
                "{what}: Confluence reserves this login. Give the user another one in Keycloak."
            )));
        }
        let email = self.rest.required_email(&what, fields)?.trim();
        let shown = shown_name(fields, name);
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
            let Some(key) = some(made.key) else {
                let found = self.account_by_login(name, Some(deadline)).await.ok().flatten();
                return found.map(Applied::Account).ok_or_else(|| self.rest.account_not_returned(&what));
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
        let taken = answer.status == StatusCode::CONFLICT
            || (answer.status == StatusCode::BAD_REQUEST
                && self.account_by_login(name, Some(deadline)).await?.is_some());
        if taken {
            return Err(login_taken(&what, &self.rest.said(&answer, Some(name))));
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }

    async fn update_user(&self, account: AccountRef<'_>, fields: &UserFields, deadline: Timestamp) -> WriteResult {
        if fields.is_empty() {
            return Ok(Applied::Done);
        }
        let name = account.name;
        let what = format!("updating {name}");
        self.rest.refuse_empty(&what, fields)?;
        if let Some(shown) = &fields.display_name {
            check_full_name(&what, shown)?;
        }
        let path = format!("/admin/user/{}", path_segment(&what, name)?);
        let seen = self.read_first(account, &what, deadline).await?.ok_or_else(|| gone(&what, "account"))?;
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

    async fn rename_user(&self, account: AccountRef<'_>, to: &str, _deadline: Timestamp) -> WriteResult {
        Err(unsupported(format!(
            "renaming {} to {to}: Confluence cannot change logins over REST or RPC. Rename it manually in User \
             management, or keep its users in a directory that Confluence shares with Crowd or Jira and rename there.",
            account.name
        )))
    }

    async fn activate_user(&self, account: AccountRef<'_>, _gives: &[String], deadline: Timestamp) -> WriteResult {
        self.set_active(account, true, deadline).await
    }

    async fn deactivate_user(&self, account: AccountRef<'_>, _takes: &[String], deadline: Timestamp) -> WriteResult {
        self.set_active(account, false, deadline).await
    }

    /// Deletes an account, and waits until Confluence has completed the deletion.
    async fn delete_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let name = account.name;
        let what = format!("deleting {name}");
        let path = format!("/admin/user/{}", path_segment(&what, name)?);
        if self.read_first(account, &what, deadline).await?.is_none() {
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
        let why = self.await_task(task.id.as_deref(), &what, deadline).await.map_err(after_the_fact(&what))?;
        if self
            .user(By::Key(account.id.as_str()), &what, Some(deadline))
            .await
            .map_err(after_the_fact(&what))?
            .is_none()
        {
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
                    "{what}: Confluence accepted the deletion, but the account still exists. usersync checks again."
                ),
            )),
        }
    }
}

/// Checks a full name against Confluence's rules.
fn check_full_name(what: &str, shown: &str) -> Result<(), TargetError> {
    let why = if shown.contains(['<', '>']) {
        "does not accept a display name with < or >"
    } else if fold(shown) == ANONYMOUS {
        "reserves the display name Anonymous"
    } else {
        return Ok(());
    };
    Err(unsupported(format!("{what}: Confluence {why}. Change the user's name in Keycloak.")))
}

fn lacking(what: &str) -> TargetError {
    unconfirmed(format!("{what}: Confluence's answer lacks the user's key, login or status."))
}
