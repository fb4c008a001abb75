//! State of a simulated Confluence.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::roster::{Id, Roster};

/// Members of this group may use Confluence; new accounts are added to it.
pub(crate) const USERS: &str = "confluence-users";
/// Members of this group are administrators.
pub(crate) const ADMINISTRATORS: &str = "confluence-administrators";

/// An account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) key: Id,
    /// The name in lower case, as Confluence stores it.
    pub(crate) name: String,
    pub(crate) full_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    /// Groups by folded name.
    pub(crate) groups: BTreeSet<String>,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// The name as given when the group was created.
    pub(crate) name: String,
    /// Keys of members, sorted by name.
    pub(crate) members: Roster,
    /// Whether its members are administrators.
    pub(crate) administers: bool,
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// Accounts by key.
    pub(crate) accounts: HashMap<Id, Arc<Account>>,
    /// Keys by name, in listing order.
    pub(crate) names: Roster,
    pub(crate) by_name: HashMap<String, Id>,
    /// Groups by folded name.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    /// Seats of the licence; `None`: unlimited.
    pub(crate) seats: Option<usize>,
    pub(crate) next_number: u64,
}

/// Folds the name of a user or group for comparison.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl World {
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Account>> {
        self.by_name.get(&fold(name)).and_then(|key| self.accounts.get(key))
    }

    pub(crate) fn account_mut(&mut self, name: &str) -> Option<&mut Account> {
        let key = self.by_name.get(&fold(name))?;
        self.accounts.get_mut(key).map(Arc::make_mut)
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(&fold(name))
    }

    pub(crate) fn is_admin(&self, account: &Account) -> bool {
        account.groups.iter().any(|name| self.groups.get(name).is_some_and(|group| group.administers))
    }

    /// Returns whether an account takes a seat.
    pub(crate) fn counts(account: &Account) -> bool {
        account.active && (account.groups.contains(USERS) || account.groups.contains(ADMINISTRATORS))
    }

    /// Returns the number of free seats; `None`: unlimited.
    pub(crate) fn free_seats(&self) -> Option<usize> {
        let used = self.accounts.values().filter(|account| Self::counts(account)).count();
        self.seats.map(|seats| seats.saturating_sub(used))
    }

    /// Adds an account; returns its key.
    pub(crate) fn add(&mut self, name: &str, full_name: &str, email: &str, active: bool) -> Id {
        self.next_number += 1;
        let key: Id = format!("4028d676{:024x}", self.next_number).into();
        let name = fold(name);
        self.names.insert(&name, &key);
        self.by_name.insert(name.clone(), Arc::clone(&key));
        let account = Account {
            key: Arc::clone(&key),
            name,
            full_name: full_name.to_owned(),
            email: email.to_owned(),
            active,
            groups: BTreeSet::new(),
        };
        self.accounts.insert(Arc::clone(&key), Arc::new(account));
        key
    }

    /// Renames an account; its key stays.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let to = fold(to);
        let Some(account) = self.account_mut(from) else { return };
        let (from, key) = (std::mem::replace(&mut account.name, to.clone()), Arc::clone(&account.key));
        for group in account.groups.clone() {
            if let Some(group) = self.groups.get_mut(&group).map(Arc::make_mut) {
                group.members.remove(&from);
                group.members.insert(&to, &key);
            }
        }
        self.names.remove(&from);
        self.names.insert(&to, &key);
        self.by_name.remove(&from);
        self.by_name.insert(to, key);
    }

    /// Deletes an account.
    pub(crate) fn remove(&mut self, key: &str) {
        let Some(account) = self.accounts.remove(key) else { return };
        for group in &account.groups {
            if let Some(group) = self.groups.get_mut(group).map(Arc::make_mut) {
                group.members.remove(&account.name);
            }
        }
        self.names.remove(&account.name);
        self.by_name.remove(&account.name);
    }

    /// Adds a group; false if one of this name exists.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        let group = Group { name: name.to_owned(), administers: folded == ADMINISTRATORS, ..Group::default() };
        self.groups.insert(folded, Arc::new(group));
        true
    }

    /// Deletes a group.
    pub(crate) fn remove_group(&mut self, name: &str) {
        let folded = fold(name);
        let Some(group) = self.groups.remove(&folded) else { return };
        for key in group.members.ids() {
            if let Some(account) = self.accounts.get_mut(key) {
                Arc::make_mut(account).groups.remove(&folded);
            }
        }
    }

    /// Adds a member to a group; false if it is a member already, or if the account or the group is missing.
    pub(crate) fn join(&mut self, name: &str, group: &str) -> bool {
        let (folded, key) = (fold(group), self.by_name.get(&fold(name)).cloned());
        let account = key.and_then(|key| self.accounts.get_mut(&key));
        let (Some(account), Some(group)) = (account, self.groups.get_mut(&folded)) else { return false };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.insert(&account.name, &account.key);
        account.groups.insert(folded)
    }

    /// Removes a member from a group; false if it is not a member.
    pub(crate) fn leave(&mut self, name: &str, group: &str) -> bool {
        let (folded, key) = (fold(group), self.by_name.get(&fold(name)).cloned());
        let account = key.and_then(|key| self.accounts.get_mut(&key));
        let (Some(account), Some(group)) = (account, self.groups.get_mut(&folded)) else { return false };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.remove(&account.name);
        account.groups.remove(&folded)
    }
}
