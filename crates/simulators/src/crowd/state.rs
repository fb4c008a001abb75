//! What a Crowd holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::roster::{Id, Roster};

/// A user directory; new accounts land in the first one that may be written.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) name: String,
    pub(crate) read_only: bool,
    /// Whether it keeps who is active; some LDAP directories pass it over.
    pub(crate) keeps_status: bool,
}

/// An account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) key: String,
    /// As it was given.
    pub(crate) name: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    /// The index of its directory.
    pub(crate) directory: usize,
    /// Groups by folded name.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// As it was given.
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) active: bool,
    /// Keys by folded login.
    pub(crate) members: Roster,
    /// Folded names of the groups in it.
    pub(crate) children: BTreeSet<String>,
}

/// The whole of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) accounts: HashMap<Id, Arc<Account>>,
    /// Keys by folded login, in listing order.
    pub(crate) names: Roster,
    pub(crate) by_name: HashMap<String, Id>,
    /// By folded name.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) directories: Vec<Directory>,
    pub(crate) next_number: u64,
}

/// How names of users and groups are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl World {
    /// The account of this login.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Account>> {
        self.by_name.get(&fold(name)).and_then(|key| self.accounts.get(key))
    }

    /// The group of this name.
    pub(crate) fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(&fold(name))
    }

    /// Changes an account in place.
    pub(crate) fn account_mut(&mut self, name: &str) -> Option<&mut Account> {
        let key = self.by_name.get(&fold(name))?;
        self.accounts.get_mut(key).map(Arc::make_mut)
    }

    /// The directory that new accounts land in.
    pub(crate) fn writable(&self) -> Option<usize> {
        self.directories.iter().position(|directory| !directory.read_only)
    }

    /// Adds an account with a new key; gives the key.
    pub(crate) fn add(&mut self, mut account: Account) -> Id {
        self.next_number += 1;
        account.key = format!("557057:{:08x}-0000-4000-8000-{:012x}", self.next_number, self.next_number);
        let key: Id = account.key.as_str().into();
        let folded = fold(&account.name);
        self.names.insert(&folded, &key);
        self.by_name.insert(folded, Arc::clone(&key));
        self.accounts.insert(Arc::clone(&key), Arc::new(account));
        key
    }

    /// Gives an account another login; its key stays.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let (from, folded) = (fold(from), fold(to));
        let Some(key) = self.by_name.remove(&from) else {
            return;
        };
        self.names.remove(&from);
        self.names.insert(&folded, &key);
        self.by_name.insert(folded.clone(), Arc::clone(&key));
        let Some(account) = self.accounts.get_mut(&key).map(Arc::make_mut) else {
            return;
        };
        to.clone_into(&mut account.name);
        for group in &account.groups {
            if let Some(group) = self.groups.get_mut(group).map(Arc::make_mut) {
                group.members.remove(&from);
                group.members.insert(&folded, &key);
            }
        }
    }

    /// Takes an account away.
    pub(crate) fn remove(&mut self, name: &str) {
        let folded = fold(name);
        let Some(account) = self.by_name.remove(&folded).and_then(|key| self.accounts.remove(&key)) else {
            return;
        };
        self.names.remove(&folded);
        for group in &account.groups {
            if let Some(group) = self.groups.get_mut(group).map(Arc::make_mut) {
                group.members.remove(&folded);
            }
        }
    }

    /// Adds a group, unless there is one of this name.
    pub(crate) fn add_group(&mut self, name: &str, description: &str, active: bool) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        let group = Group { name: name.into(), description: description.into(), active, ..Group::default() };
        self.groups.insert(folded, Arc::new(group));
        true
    }

    /// Takes a group away.
    pub(crate) fn remove_group(&mut self, name: &str) {
        let folded = fold(name);
        let Some(group) = self.groups.remove(&folded) else {
            return;
        };
        for key in group.members.ids() {
            if let Some(account) = self.accounts.get_mut(key) {
                Arc::make_mut(account).groups.remove(&folded);
            }
        }
        for other in self.groups.values_mut().filter(|other| other.children.contains(&folded)) {
            Arc::make_mut(other).children.remove(&folded);
        }
    }

    /// Puts an account into a group; false where it was in it, or one of them is missing.
    pub(crate) fn join(&mut self, name: &str, group: &str) -> bool {
        let (login, folded) = (fold(name), fold(group));
        let Some(key) = self.by_name.get(&login).cloned() else {
            return false;
        };
        let (Some(account), Some(group)) = (self.accounts.get_mut(&key), self.groups.get_mut(&folded)) else {
            return false;
        };
        Arc::make_mut(group).members.insert(&login, &key);
        Arc::make_mut(account).groups.insert(folded)
    }

    /// Takes an account out of a group; false where it was not in it.
    pub(crate) fn leave(&mut self, name: &str, group: &str) -> bool {
        let (login, folded) = (fold(name), fold(group));
        let Some(key) = self.by_name.get(&login) else {
            return false;
        };
        let (Some(account), Some(group)) = (self.accounts.get_mut(key), self.groups.get_mut(&folded)) else {
            return false;
        };
        Arc::make_mut(group).members.remove(&login);
        Arc::make_mut(account).groups.remove(&folded)
    }

    /// The groups inside a group, at any depth, by folded name; the group itself is among them only in a circle.
    pub(crate) fn below(&self, group: &str) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![fold(group)]);
        while let Some(next) = open.pop() {
            for child in self.groups.get(&next).into_iter().flat_map(|group| &group.children) {
                if found.insert(child.clone()) {
                    open.push(child.clone());
                }
            }
        }
        found
    }

    /// Keys of a group's members in the order of their logins; those of the groups inside it, too, if `nested`.
    pub(crate) fn members(&self, group: &str, nested: bool) -> Vec<Id> {
        let Some(found) = self.group(group) else {
            return Vec::new();
        };
        if !nested {
            return found.members.ids().to_vec();
        }
        let mut all = BTreeMap::new();
        for name in self.below(group).iter().map(String::as_str).chain([group]) {
            for key in self.group(name).into_iter().flat_map(|group| group.members.ids()) {
                if let Some(account) = self.accounts.get(key) {
                    all.insert(fold(&account.name), Arc::clone(key));
                }
            }
        }
        all.into_values().collect()
    }

    /// Folded names of the groups that an account is in; those that these are inside of, too, if `nested`.
    pub(crate) fn groups_of(&self, account: &Account, nested: bool) -> Vec<String> {
        if !nested {
            return account.groups.iter().cloned().collect();
        }
        let holds = |name: &&String| {
            account.groups.contains(*name) || self.below(name).iter().any(|below| account.groups.contains(below))
        };
        self.groups.keys().filter(holds).cloned().collect()
    }
}
