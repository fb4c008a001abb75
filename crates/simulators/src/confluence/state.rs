//! State of a simulated Confluence.

use crate::identities::{self, Identities, fold};
use crate::roster::Id;

/// Members of this group may use Confluence; new accounts are added to it.
pub(crate) const USERS: &str = "confluence-users";
/// Members of this group are administrators.
pub(crate) const ADMINISTRATORS: &str = "confluence-administrators";

/// An account. Confluence stores the name in lower case.
pub(crate) type Account = identities::Account<AccountData>;

/// A group.
pub(crate) type Group = identities::Group<GroupData>;

/// Data of an account.
#[derive(Clone, Debug)]
pub(crate) struct AccountData {
    pub(crate) full_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
}

/// Data of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupData {
    /// Whether its members are administrators.
    pub(crate) administers: bool,
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) identities: Identities<AccountData, GroupData>,
    /// Seats of the licence; `None`: unlimited.
    pub(crate) seats: Option<usize>,
    next_number: u64,
}

impl World {
    /// Returns the data of the account of this name for a change in place.
    pub(crate) fn account_mut(&mut self, name: &str) -> Option<&mut AccountData> {
        self.identities.get_mut(&self.identities.id_of(name)?)
    }

    pub(crate) fn is_admin(&self, account: &Account) -> bool {
        account.groups.iter().any(|name| self.identities.group(name).is_some_and(|group| group.administers))
    }

    /// Returns whether an account takes a seat.
    pub(crate) fn counts(account: &Account) -> bool {
        account.active && Self::may_use(account)
    }

    /// Returns whether an account takes a seat while it is active.
    pub(crate) fn may_use(account: &Account) -> bool {
        account.groups.contains(USERS) || account.groups.contains(ADMINISTRATORS)
    }

    /// Returns the number of free seats; `None`: unlimited.
    pub(crate) fn free_seats(&self) -> Option<usize> {
        let used = self.identities.accounts().filter(|account| Self::counts(account)).count();
        self.seats.map(|seats| seats.saturating_sub(used))
    }

    /// Adds an account; returns its key.
    pub(crate) fn add(&mut self, name: &str, full_name: &str, email: &str, active: bool) -> Id {
        self.next_number += 1;
        let data = AccountData { full_name: full_name.to_owned(), email: email.to_owned(), active };
        self.identities.add(format!("4028d676{:024x}", self.next_number), fold(name), data)
    }

    /// Adds a group; returns false if one of this name exists.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        self.identities.add_group(name, GroupData { administers: fold(name) == ADMINISTRATORS })
    }
}
