//! State of a simulated Crowd.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::identities::{self, Identities, fold};
use crate::roster::Id;

/// A user directory; new accounts are created in the first writable one.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) name: String,
    pub(crate) read_only: bool,
    /// Whether it stores the active flag; some LDAP directories ignore it.
    pub(crate) keeps_status: bool,
}

/// An account.
pub(crate) type Account = identities::Account<AccountData>;

/// A group.
pub(crate) type Group = identities::Group<GroupData>;

/// Data of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountData {
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    /// Index of the account's directory.
    pub(crate) directory: usize,
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
}

/// Data of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupData {
    pub(crate) description: String,
    pub(crate) active: bool,
    /// Folded names of the nested groups.
    pub(crate) children: BTreeSet<String>,
}

impl Default for GroupData {
    fn default() -> Self {
        Self { description: String::new(), active: true, children: BTreeSet::new() }
    }
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) identities: Identities<AccountData, GroupData>,
    pub(crate) directories: Vec<Directory>,
    next_number: u64,
}

impl World {
    /// Returns the data of the account with this login for a change in place.
    pub(crate) fn account_mut(&mut self, name: &str) -> Option<&mut AccountData> {
        self.identities.get_mut(&self.identities.id_of(name)?)
    }

    /// Returns the index of the directory that receives new accounts.
    pub(crate) fn writable(&self) -> Option<usize> {
        self.directories.iter().position(|directory| !directory.read_only)
    }

    /// Adds an account with a new key; returns the key.
    pub(crate) fn add(&mut self, name: String, data: AccountData) -> Id {
        self.next_number += 1;
        let key = format!("557057:{:08x}-0000-4000-8000-{:012x}", self.next_number, self.next_number);
        self.identities.add(key, name, data)
    }

    /// Deletes a group, also as a nested group of others.
    pub(crate) fn remove_group(&mut self, name: &str) {
        if self.identities.remove_group(name) {
            let folded = fold(name);
            let parents = self.identities.groups().filter(|(_, group)| group.children.contains(&folded));
            for parent in parents.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                if let Some(group) = self.identities.group_mut(&parent) {
                    group.children.remove(&folded);
                }
            }
        }
    }

    /// Returns the folded names of the nested groups of a group, at any depth. The group itself is included only in a
    /// cycle.
    pub(crate) fn below(&self, group: &str) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![fold(group)]);
        while let Some(next) = open.pop() {
            for child in self.identities.group(&next).into_iter().flat_map(|group| &group.children) {
                if found.insert(child.clone()) {
                    open.push(child.clone());
                }
            }
        }
        found
    }

    /// Returns the keys of a group's members, sorted by login; with `nested`, those of nested groups too.
    pub(crate) fn members(&self, group: &str, nested: bool) -> Vec<Id> {
        let Some(found) = self.identities.group(group) else {
            return Vec::new();
        };
        if !nested {
            return found.members.ids().to_vec();
        }
        let mut all = BTreeMap::new();
        for name in self.below(group).iter().map(String::as_str).chain([group]) {
            let group = self.identities.group(name);
            let members = group.into_iter().flat_map(|group| self.identities.members(group));
            all.extend(members.map(|account| (fold(&account.name), Arc::clone(&account.id))));
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
        self.identities.groups().map(|(name, _)| name).filter(holds).cloned().collect()
    }
}
