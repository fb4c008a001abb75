//! Cache of the login last seen for each id, since Bitbucket finds users only by text, never by id.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::wire::CompleteUser;
use crate::{
    model::{AccountId, IdMap},
    targets::rest::fold,
};

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
