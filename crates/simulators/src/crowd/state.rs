//! State of a simulated Crowd.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::roster::{Id, Roster};

/// A user directory; new accounts are created in the first writable one.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) name: String,
    pub(crate) read_only: bool,
    /// Whether it stores the active flag; some LDAP directories ignore it.
    pub(crate) keeps_status: bool,
}

/// An account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) key: String,
    /// The login as given.
    pub(crate) name: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    /// Index of the account's directory.
    pub(crate) directory: usize,
    /// Groups by folded name.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// The name as given when the group was created.
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) active: bool,
    /// Keys of members, sorted by folded login.
    pub(crate) members: Roster,
    /// Folded names of the nested groups.
    pub(crate) children: BTreeSet<String>,
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) accounts: HashMap<Id, Arc<Account>>,
    /// Keys by folded login, in listing order.
    pub(crate) names: Roster,
    pub(crate) by_name: HashMap<String, Id>,
    /// Groups by folded name.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) directories: Vec<Directory>,
    pub(crate) next_number: u64,
}

/// Folds the name of a user or group for comparison.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl World {
    /// Returns the account with this login.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Account>> {
        self.by_name.get(&fold(name)).and_then(|key| self.accounts.get(key))
    }

    /// Returns the group of this name.
    pub(crate) fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(&fold(name))
    }

    /// Returns an account for a change in place.
    pub(crate) fn account_mut(&mut self, name: &str) -> Option<&mut Account> {
        let key = self.by_name.get(&fold(name))?;
        self.accounts.get_mut(key).map(Arc::make_mut)
    }

    /// Returns the index of the directory that receives new accounts.
    pub(crate) fn writable(&self) -> Option<usize> {
        self.directories.iter().position(|directory| !directory.read_only)
    }

    /// Adds an account with a new key; returns the key.
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

    /// Changes the login of an account; its key stays.
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

    /// Deletes an account.
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

    /// Adds a group; false if one of this name exists.
    pub(crate) fn add_group(&mut self, name: &str, description: &str, active: bool) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        let group = Group { name: name.into(), description: description.into(), active, ..Group::default() };
        self.groups.insert(folded, Arc::new(group));
        true
    }

    /// Deletes a group.
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

    /// Adds a member to a group; false if it is a member already, or if the account or the group is missing.
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

    /// Removes a member from a group; false if it is not a member.
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

    /// Returns the folded names of the nested groups of a group, at any depth. The group itself is included only in a
    /// cycle.
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

    /// Returns the keys of a group's members, sorted by login; with `nested`, those of nested groups too.
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

    /// Returns the folded names of an account's groups; with `nested`, those of their parent groups too.
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
