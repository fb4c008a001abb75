//! Reads accounts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    ConfluenceTarget,
    wire::{Group, ResultPage, User},
};
use crate::{
    model::{Account, AccountId, TargetGroupId},
    targets::{
        TargetError, TargetErrorKind,
        rest::{Ask, Protection, error, fold, lenient::some, unconfirmed},
    },
};

/// Page size for groups.
const PAGE: &str = "200";

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
    pub(super) async fn account_by_key(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        self.whole_account(By::Key(id.as_str()), &format!("reading account {id}"), deadline).await
    }

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
    async fn with_status(&self, mut user: User, what: &str, deadline: Option<Timestamp>) -> Result<User, TargetError> {
        if user.active().is_none()
            && let Some(login) = &user.username
            && let Some(active) = self.active_by_rpc(login, deadline).await?
        {
            user.status = Some(if active { "current" } else { "deactivated" }.to_owned());
        }
        let is_told = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
        let whole = is_told(&user.key) && is_told(&user.username) && user.active().is_some();
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
        account: &AccountId,
        login: &str,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Option<User>, TargetError> {
        let Some(user) = self.user(By::Key(account.as_str()), what, Some(deadline)).await? else { return Ok(None) };
        match &user.username {
            Some(now) if fold(now) != fold(login) => Err(error(
                TargetErrorKind::NotFound,
                format!("{what}: the account's login is now {now}, so nothing was sent. usersync re-reads it."),
            )),
            _ => Ok(Some(user)),
        }
    }
}

fn lacking(what: &str) -> TargetError {
    unconfirmed(format!("{what}: Confluence's answer lacks the user's key, login or status."))
}
