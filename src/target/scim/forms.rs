//! The forms in which a group's members are written, what each was seen to do, and one write at a time for each group.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use jiff::Timestamp;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::timeout,
};

use crate::{
    model::TargetGroupId,
    target::{
        TargetError,
        http::{NoAnswer, left},
    },
};

/// How a group's members are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// PATCH, `add` at `members`.
    Add,
    /// PATCH, `remove` at `members[value eq "id"]`.
    RemoveByFilter,
    /// PATCH, `remove` at `members` with the member as value.
    RemoveByValue,
    /// PUT of the whole group.
    Whole,
}

/// What a form was seen to do to the other members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Not verified yet: no write of it met a group with other members.
    #[default]
    Unproven,
    /// It left them alone.
    Proven,
    /// It removed them.
    Harmful,
}

/// What each form was seen to do.
#[derive(Default)]
pub(super) struct Forms(Mutex<[Standing; 4]>);

/// Whether the server shows the members of its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shown {
    /// No member was seen so far.
    #[default]
    Unknown,
    /// With the group itself.
    Alone,
    /// In lists of groups, but not with the group itself.
    InLists,
    /// Nowhere: a member that was added is not shown.
    Never,
}

impl Forms {
    pub(super) fn is_proven(&self, form: Form) -> bool {
        locked(&self.0)[form as usize] == Standing::Proven
    }

    /// Whether nothing is known of it yet.
    pub(super) fn is_unproven(&self, form: Form) -> bool {
        locked(&self.0)[form as usize] == Standing::Unproven
    }

    pub(super) fn is_harmful(&self, form: Form) -> bool {
        locked(&self.0)[form as usize] == Standing::Harmful
    }

    pub(super) fn proven(&self, form: Form) {
        locked(&self.0)[form as usize] = Standing::Proven;
    }

    pub(super) fn harmful(&self, form: Form) {
        locked(&self.0)[form as usize] = Standing::Harmful;
    }
}

/// One write at a time for each group. Servers that read, change and write a group lose a member when two writes meet.
#[derive(Default)]
pub(super) struct GroupLocks(Mutex<HashMap<TargetGroupId, Weak<AsyncMutex<()>>>>);

impl GroupLocks {
    /// Waits for its turn at each of these groups, until `deadline`; `what` is the write in words.
    pub(super) async fn lock(
        &self,
        groups: impl IntoIterator<Item = &TargetGroupId>,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Vec<OwnedMutexGuard<()>>, TargetError> {
        // In one order, so that two that want the same ones do not wait for each other.
        let groups: BTreeSet<&TargetGroupId> = groups.into_iter().collect();
        let mut held = Vec::with_capacity(groups.len());
        for group in groups {
            let turn = timeout(left(deadline), self.of(group).lock_owned()).await;
            held.push(turn.map_err(|_| NoAnswer::late().into_error(what, true))?);
        }
        Ok(held)
    }

    fn of(&self, group: &TargetGroupId) -> Arc<AsyncMutex<()>> {
        let mut locks = locked(&self.0);
        if let Some(lock) = locks.get(group).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::default());
        locks.insert(group.clone(), Arc::downgrade(&lock));
        lock
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
