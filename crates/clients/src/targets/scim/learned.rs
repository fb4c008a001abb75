//! Behaviour of a server observed during work, and notes about it for operators.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicBool, AtomicU8, AtomicUsize},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::{
    ScimTarget,
    forms::{Forms, Shown},
};
use crate::{
    model::TargetGroupId,
    targets::{Note, NoteState, rest::note},
};

/// How long a group counts as empty after its creation.
const NEW: Duration = Duration::from_mins(1);
/// Subject of operator notes about hidden members.
pub(super) const HIDDEN: &str = "hidden members";
/// Maximum number of notes kept.
const OBSERVED: usize = 100;

/// Behaviour of a server observed during work.
#[derive(Default)]
pub(super) struct Learned {
    /// The server refused PATCH of users, or of groups, although it declares support.
    pub no_patch: [AtomicBool; 2],
    /// The server refused a bulk call although it declares support.
    pub no_bulk: AtomicBool,
    /// The server returned the groups of an account with the account.
    pub accounts_show_groups: AtomicBool,
    /// Whether groups can be found by a member; see `memberships`.
    pub member_filter: AtomicU8,
    /// Lists of groups show no members, although single groups do.
    pub lists_hide: AtomicBool,
    /// Accounts were seen with a given or a family name.
    pub name_parts: AtomicBool,
    /// Whether answers to changes are correct, by attribute name, as verified by a later read.
    pub answers: Mutex<HashMap<String, bool>>,
    /// Number of members in one write that the server refused as too large; 0: none.
    pub too_many: AtomicUsize,
    /// Held by the write that verifies the effect of adding members.
    pub proving: AsyncMutex<()>,
    /// Further attributes seen on an account, and in lists. An account that lacks a seen attribute has none.
    pub shown: Mutex<BTreeSet<String>>,
    pub shown_in_lists: Mutex<BTreeSet<String>>,
    /// Observed effect of each form of member writes.
    pub forms: Forms,
    /// Attributes by which the server's filter has found an account.
    pub filters: Mutex<BTreeSet<String>>,
    /// Whether the server shows the members of groups.
    pub members: Mutex<Shown>,
    /// Groups that usersync created and has not written members to, with the time of creation.
    pub new_groups: Mutex<HashMap<TargetGroupId, Instant>>,
    /// Folded names of groups that a recent read did not find, with the time of the read.
    pub absent_groups: Mutex<HashMap<String, Instant>>,
    /// Ids of accounts, and of groups, that the server's filter does not find, by name in lower case.
    pub accounts_spelled: Mutex<HashMap<String, String>>,
    pub groups_spelled: Mutex<HashMap<String, String>>,
    /// Notes for the operator.
    pub observed: Mutex<Vec<Note>>,
}

impl Learned {
    /// Returns whether the server shows members, as far as is known.
    pub(super) fn members_shown(&self) -> Shown {
        *self.members.lock()
    }

    /// Records where members were seen. "With the group itself" is the strongest evidence and is kept.
    pub(super) fn set_shown(&self, shown: Shown) {
        let mut known = self.members.lock();
        if *known != Shown::Alone {
            *known = shown;
        }
    }

    /// Whether usersync created a group and has not written members to it.
    pub(super) fn is_new_group(&self, group: &TargetGroupId) -> bool {
        self.new_groups.lock().contains_key(group)
    }

    /// Whether a group was created recently and not written since, so that it has no members.
    pub(super) fn is_just_created(&self, group: &TargetGroupId) -> bool {
        self.new_groups.lock().get(group).is_some_and(|made| made.elapsed() < NEW)
    }

    /// Records that a group may have members.
    pub(super) fn was_written(&self, group: &TargetGroupId) {
        self.new_groups.lock().remove(group);
    }
}

impl ScimTarget {
    /// Records a note for the operator and logs it.
    pub(super) fn observe(&self, state: NoteState, about: &str, text: String) {
        let mut observed = self.learned.observed.lock();
        if observed.iter().any(|known| known.text == text) || observed.len() >= OBSERVED {
            return;
        }
        tracing::error!("SCIM server {}: {text}", self.rest.address());
        observed.push(note(state, about, text));
    }

    /// Discards the notes about a subject.
    pub(super) fn forget_observed(&self, about: &str) {
        self.learned.observed.lock().retain(|note| note.about != about);
    }
}
