//! Finds one account. Bitbucket has no search by id or by exact login. It can only list all users with a text in their
//! login, display name or e-mail address.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    BitbucketTarget,
    paging::List,
    protection::Known,
    wire::{CompleteUser, Named, User},
};
use crate::{
    model::{Account, AccountId, ErrorClass, TargetGroupId},
    targets::{
        TargetError, TargetErrorKind,
        rest::{error, fold, lenient::some, not_done, unconfirmed},
    },
};

/// Number of walks through all users before an id counts as gone. One walk may miss a user that is renamed meanwhile.
const MAX_LIST_READS: usize = 2;

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

    /// Finds the user with this login, case-insensitive.
    pub(super) async fn user_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<CompleteUser>, TargetError> {
        let what = format!("reading {name}");
        let list = List::new("/admin/users", &what, deadline).filter(name.trim());
        self.pick(list, &what, |user| fold(&user.name) == fold(name)).await
    }

    /// Finds the user with this id: by its last seen login, otherwise by a walk through all users.
    pub(super) async fn user_by_id(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<CompleteUser>, TargetError> {
        if let Some(login) = self.seen.login(id, None)
            && let Some(user) = self.user_by_login(&login, deadline).await?
            && user.id == *id
        {
            return Ok(Some(user));
        }
        let asked = Instant::now();
        let _turn = self.seen.walk.lock().await;
        // While this call waited, another walk may have read the user.
        if let Some(login) = self.seen.login(id, Some(asked))
            && let Some(user) = self.user_by_login(&login, deadline).await?
            && user.id == *id
        {
            return Ok(Some(user));
        }
        let what = format!("searching for account {id} among all users");
        for _ in 0..MAX_LIST_READS {
            let (mut found, mut unreadable) = (None, None);
            let list = List::new("/admin/users", &what, deadline);
            // The walk continues after a match, so that later lookups of the other users need no walk.
            self.each(list, |user: User| {
                match whole(user, &what) {
                    Ok(user) => {
                        self.seen.note(&user);
                        if user.id == *id {
                            found = Some(user);
                        }
                    }
                    Err(why) => unreadable = Some(why),
                }
                Ok(false)
            })
            .await?;
            match (found, unreadable) {
                (Some(found), _) => return Ok(Some(found)),
                // The unreadable user may be the wanted one.
                (None, Some(why)) => return Err(why),
                (None, None) => {}
            }
        }
        self.seen.forget(id);
        Ok(None)
    }

    /// Returns the account of an operation, if it still has the login that it was last seen with.
    pub(super) async fn account_with_login(
        &self,
        id: &AccountId,
        name: &str,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<CompleteUser, TargetError> {
        match self.user_by_login(name, deadline).await? {
            Some(user) if user.id == *id => Ok(user),
            other => {
                let whose =
                    if other.is_some() { "now belongs to another account" } else { "now belongs to no account" };
                let text = format!("{what}: the login {whose}, so nothing was sent. usersync re-reads it.");
                Err(error(TargetErrorKind::NotFound, text))
            }
        }
    }

    /// Returns the names of the groups that a user is a direct member of.
    pub(super) async fn groups_of(
        &self,
        user: &CompleteUser,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<String>, TargetError> {
        let what = format!("reading the groups of {}", user.name);
        let list = List::new("/admin/users/more-members", &what, deadline).of(&user.name);
        let groups = match self.all::<Named>(list).await? {
            Some(groups) => groups
                .into_iter()
                .map(|group| {
                    some(group.name).ok_or_else(|| {
                        unconfirmed(format!(
                            "{what}: a group was returned without \
                                                                                 a name."
                        ))
                    })
                })
                .collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        // A user that was renamed a moment ago also gets an answer without groups.
        if groups.is_empty() {
            let now = self.user_by_login(&user.name, deadline).await?;
            if now.is_none_or(|now| now.id != user.id) {
                let text = format!("{what}: the account was renamed during the read. usersync retries it.");
                return Err(not_done(ErrorClass::Transient, text));
            }
        }
        Ok(groups)
    }

    /// Returns the first user of a list that matches.
    async fn pick(
        &self,
        list: List<'_>,
        what: &str,
        fits: impl Fn(&CompleteUser) -> bool,
    ) -> Result<Option<CompleteUser>, TargetError> {
        let (mut found, mut unreadable) = (None, None);
        self.each(list, |user: User| {
            match whole(user, what) {
                Ok(user) => {
                    self.seen.note(&user);
                    if fits(&user) {
                        found = Some(user);
                    }
                }
                // The unreadable user may be the wanted one.
                Err(why) => unreadable = Some(why),
            }
            Ok(found.is_some())
        })
        .await?;
        match (found, unreadable) {
            (None, Some(why)) => Err(why),
            (found, _) => Ok(found),
        }
    }
}

/// Converts a user.
///
/// # Errors
/// [`ErrorClass::Unconfirmed`] if a field is missing that every user has.
pub(super) fn whole(user: User, what: &str) -> Result<CompleteUser, TargetError> {
    user.whole().ok_or_else(|| unconfirmed(format!("{what}: Bitbucket's answer lacks id, name or active.")))
}
