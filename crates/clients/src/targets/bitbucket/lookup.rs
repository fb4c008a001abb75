//! Finds one user. Bitbucket has no search by id or by exact login. It can only list all users with a text in their
//! login, display name or e-mail address, so the login last seen for each id is cached.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::{
    BitbucketTarget,
    paging::List,
    wire::{CompleteUser, REQUIRED, User},
};
use crate::{
    model::{AccountId, IdMap},
    targets::{
        TargetError, TargetErrorKind,
        rest::{error, fold, unconfirmed},
    },
};

/// Number of walks through all users before an id counts as gone. One walk may miss a user that is renamed meanwhile.
const MAX_LIST_READS: usize = 2;
/// How long a seen login is trusted without a re-read, where no access is removed.
const TRUSTED_FOR: Duration = Duration::from_mins(1);

/// The cached logins.
#[derive(Default)]
pub(super) struct Seen {
    logins: Mutex<IdMap<AccountId, (String, Option<Instant>)>>,
    /// Held during a walk through all users.
    pub walk: AsyncMutex<()>,
}

impl Seen {
    /// Records a user that was just read.
    pub(super) fn note(&self, user: &CompleteUser) {
        let mut logins = self.logins.lock();
        logins.insert(user.id.clone(), (user.name.clone(), Some(Instant::now())));
    }

    /// Removes an id that is gone.
    pub(super) fn forget(&self, id: &AccountId) {
        self.logins.lock().remove(id);
    }

    /// Marks an id's login as not confirmed: it may have changed.
    pub(super) fn unconfirmed(&self, id: &AccountId) {
        let mut logins = self.logins.lock();
        if let Some((_, at)) = logins.get_mut(id) {
            *at = None;
        }
    }

    /// Returns the login last seen for an id; with `since`, only if it was seen at that time or later.
    pub(super) fn login(&self, id: &AccountId, since: Option<Instant>) -> Option<String> {
        let logins = self.logins.lock();
        let (login, at) = logins.get(id)?;
        since.is_none_or(|since| at.is_some_and(|at| at >= since)).then(|| login.clone())
    }

    /// Whether an id was recently seen with this login.
    pub(super) fn seen_recently(&self, id: &AccountId, login: &str) -> bool {
        let logins = self.logins.lock();
        let Some((seen, Some(at))) = logins.get(id) else { return false };
        at.elapsed() < TRUSTED_FOR && fold(seen) == fold(login)
    }
}

impl BitbucketTarget {
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

    /// Finds the users with this e-mail address, case-insensitive.
    pub(super) async fn users_by_email(&self, email: &str) -> Result<Vec<CompleteUser>, TargetError> {
        let what = "searching accounts by e-mail address";
        let listed: Option<Vec<User>> = self.all(List::new("/admin/users", what, None).filter(email.trim())).await?;
        let users = listed.unwrap_or_default().into_iter().map(|user| whole(user, what));
        let mut users = users.collect::<Result<Vec<_>, _>>()?;
        for user in &users {
            self.seen.note(user);
        }
        users.retain(|user| user.email.as_deref().is_some_and(|one| fold(one) == fold(email)));
        Ok(users)
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
fn whole(user: User, what: &str) -> Result<CompleteUser, TargetError> {
    user.whole().ok_or_else(|| unconfirmed(format!("{what}: Bitbucket's answer lacks {REQUIRED}.")))
}
