//! What a Confluence holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::roster::{Id, Roster};

/// The group whose members may use Confluence; new accounts are put into it.
pub(crate) const USERS: &str = "confluence-users";
/// The group whose members administer it.
pub(crate) const ADMINISTRATORS: &str = "confluence-administrators";

/// An account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) key: Id,
    /// In lower case, as Confluence stores it.
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
    /// As it was given.
    pub(crate) name: String,
    /// Keys by name.
    pub(crate) members: Roster,
    /// Makes administrators.
    pub(crate) administers: bool,
}

/// The whole of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// By key.
    pub(crate) accounts: HashMap<Id, Arc<Account>>,
    /// Keys by name, in listing order.
    pub(crate) names: Roster,
    pub(crate) by_name: HashMap<String, Id>,
    /// By folded name.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    /// Seats of the licence; `None` for unlimited.
    pub(crate) seats: Option<usize>,
    pub(crate) next_number: u64,
}

/// How names of users and groups are compared.
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

    /// Whether an account takes a seat.
    pub(crate) fn counts(account: &Account) -> bool {
        account.active && (account.groups.contains(USERS) || account.groups.contains(ADMINISTRATORS))
    }

    /// How many seats are free; `None` for as many as one likes.
    pub(crate) fn free_seats(&self) -> Option<usize> {
        let used = self.accounts.values().filter(|account| Self::counts(account)).count();
        self.seats.map(|seats| seats.saturating_sub(used))
    }

    /// Adds an account; gives its key.
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

    /// Gives an account another name; its key stays.
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

    /// Takes an account away.
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

    /// Adds a group, unless there is one of this name.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        let group = Group { name: name.to_owned(), administers: folded == ADMINISTRATORS, ..Group::default() };
        self.groups.insert(folded, Arc::new(group));
        true
    }

    /// Takes a group away.
    pub(crate) fn remove_group(&mut self, name: &str) {
        let folded = fold(name);
        let Some(group) = self.groups.remove(&folded) else { return };
        for key in group.members.ids() {
            if let Some(account) = self.accounts.get_mut(key) {
                Arc::make_mut(account).groups.remove(&folded);
            }
        }
    }

    /// Puts an account into a group; false where it was in it, or one of them is missing.
    pub(crate) fn join(&mut self, name: &str, group: &str) -> bool {
        let (folded, key) = (fold(group), self.by_name.get(&fold(name)).cloned());
        let account = key.and_then(|key| self.accounts.get_mut(&key));
        let (Some(account), Some(group)) = (account, self.groups.get_mut(&folded)) else { return false };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.insert(&account.name, &account.key);
        account.groups.insert(folded)
    }

    /// Takes an account out of a group; false where it was not in it.
    pub(crate) fn leave(&mut self, name: &str, group: &str) -> bool {
        let (folded, key) = (fold(group), self.by_name.get(&fold(name)).cloned());
        let account = key.and_then(|key| self.accounts.get_mut(&key));
        let (Some(account), Some(group)) = (account, self.groups.get_mut(&folded)) else { return false };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.remove(&account.name);
        account.groups.remove(&folded)
    }
}
