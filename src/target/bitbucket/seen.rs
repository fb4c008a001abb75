//! The logins that ids were last seen with: Bitbucket finds users by words only, never by id.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::wire::Person;
use crate::{
    model::{AccountId, IdMap},
    target::rest::fold,
};

/// How long a login is believed to be still that id's, where nothing is taken away.
const LATELY: Duration = Duration::from_mins(1);

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    logins: Mutex<IdMap<AccountId, (String, Option<Instant>)>>,
    /// Held while somebody goes through all users.
    pub walk: AsyncMutex<()>,
}

impl Seen {
    /// Notes a user who was just read.
    pub(super) fn note(&self, person: &Person) {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.insert(person.id.clone(), (person.name.clone(), Some(Instant::now())));
    }

    /// An id that is gone.
    pub(super) fn forget(&self, id: &AccountId) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// An id whose login may be another one by now.
    pub(super) fn unconfirmed(&self, id: &AccountId) {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, at)) = logins.get_mut(id) {
            *at = None;
        }
    }

    /// The login that an id was last seen with, after `since` if that is given.
    pub(super) fn login(&self, id: &AccountId, since: Option<Instant>) -> Option<String> {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let (login, at) = logins.get(id)?;
        since.is_none_or(|since| at.is_some_and(|at| at >= since)).then(|| login.clone())
    }

    /// Whether an id was lately seen with this login.
    pub(super) fn lately(&self, id: &AccountId, login: &str) -> bool {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((seen, Some(at))) = logins.get(id) else { return false };
        at.elapsed() < LATELY && fold(seen) == fold(login)
    }
}
