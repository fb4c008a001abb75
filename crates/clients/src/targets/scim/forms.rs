//! The forms in which group members are written, the observed effect of each form, and a lock for each group.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::timeout,
};

use crate::{
    model::TargetGroupId,
    targets::{
        TargetError,
        http::{NoAnswer, left},
    },
};

/// Form of a write to a group's members.
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

/// Observed effect of a form on the other members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Effect {
    /// Not verified: no write of this form met a group with other members.
    #[default]
    Unproven,
    /// The other members stayed.
    Proven,
    /// The other members were removed.
    Harmful,
}

/// The observed effect of each form.
#[derive(Default)]
pub(super) struct Forms(Mutex<[Effect; 4]>);

/// Whether the server shows the members of its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shown {
    /// No member has been seen.
    #[default]
    Unknown,
    /// Members are shown with the group itself.
    Alone,
    /// Members are shown in lists of groups, but not with the group itself.
    InLists,
    /// Members are never shown: an added member is missing from the answer.
    Never,
}

impl Forms {
    pub(super) fn is_proven(&self, form: Form) -> bool {
        self.0.lock()[form as usize] == Effect::Proven
    }

    /// Whether the form is not verified yet.
    pub(super) fn is_unproven(&self, form: Form) -> bool {
        self.0.lock()[form as usize] == Effect::Unproven
    }

    pub(super) fn is_harmful(&self, form: Form) -> bool {
        self.0.lock()[form as usize] == Effect::Harmful
    }

    pub(super) fn proven(&self, form: Form) {
        self.0.lock()[form as usize] = Effect::Proven;
    }

    pub(super) fn harmful(&self, form: Form) {
        self.0.lock()[form as usize] = Effect::Harmful;
    }
}

/// A lock for each group. Servers that read, change and write a group lose a member when two writes overlap.
#[derive(Default)]
pub(super) struct GroupLocks(Mutex<HashMap<TargetGroupId, Weak<AsyncMutex<()>>>>);

impl GroupLocks {
    /// Locks each of these groups, until `deadline`; `what` describes the write.
    pub(super) async fn lock(
        &self,
        groups: impl IntoIterator<Item = &TargetGroupId>,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Vec<OwnedMutexGuard<()>>, TargetError> {
        // A fixed order prevents deadlocks between writes to the same groups.
        let groups: BTreeSet<&TargetGroupId> = groups.into_iter().collect();
        let mut held = Vec::with_capacity(groups.len());
        for group in groups {
            let turn = timeout(left(deadline), self.of(group).lock_owned()).await;
            held.push(turn.map_err(|_| NoAnswer::late().into_error(what, true))?);
        }
        Ok(held)
    }

    fn of(&self, group: &TargetGroupId) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock();
        if let Some(lock) = locks.get(group).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::default());
        locks.insert(group.clone(), Arc::downgrade(&lock));
        lock
    }
}
