//! Accounts and groups of a product, with their memberships and the index by name. Every change keeps them consistent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use super::roster::{Id, Roster};

/// Folds the name of an account or group for comparison.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// An account; it dereferences to the product's data.
#[derive(Clone, Debug)]
pub(crate) struct Account<A> {
    pub(crate) id: Id,
    /// The name as the product stores it.
    pub(crate) name: String,
    /// Groups by folded name.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) data: A,
}

impl<A> Deref for Account<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.data
    }
}

/// A group; it dereferences to the product's data.
#[derive(Clone, Debug)]
pub(crate) struct Group<G> {
    /// The name as given when the group was created.
    pub(crate) name: String,
    /// Ids of members, sorted by folded name.
    pub(crate) members: Roster,
    data: G,
}

impl<G> Deref for Group<G> {
    type Target = G;

    fn deref(&self) -> &G {
        &self.data
    }
}

/// All accounts and groups. Names are case-insensitive; ids of accounts never change.
#[derive(Clone, Debug)]
pub(crate) struct Identities<A, G> {
    accounts: HashMap<Id, Arc<Account<A>>>,
    /// Ids by folded name, in listing order.
    names: Roster,
    /// Groups by folded name.
    groups: BTreeMap<String, Arc<Group<G>>>,
}

impl<A, G> Default for Identities<A, G> {
    fn default() -> Self {
        Self { accounts: HashMap::new(), names: Roster::default(), groups: BTreeMap::new() }
    }
}

impl<A, G> Identities<A, G> {
    /// Returns the account with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Account<A>>> {
        self.accounts.get(id)
    }

    /// Returns the account of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Account<A>>> {
        self.names.get(&fold(name)).and_then(|id| self.accounts.get(id))
    }

    /// Returns the id of the account of this name.
    pub(crate) fn id_of(&self, name: &str) -> Option<Id> {
        self.named(name).map(|account| Arc::clone(&account.id))
    }

    /// Returns all accounts, in any order.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Arc<Account<A>>> {
        self.accounts.values()
    }

    /// Returns the ids of all accounts, sorted by folded name.
    pub(crate) fn ids(&self) -> &[Id] {
        self.names.ids()
    }

    /// Returns all accounts, sorted by folded name.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Arc<Account<A>>> {
        self.ids().iter().filter_map(|id| self.accounts.get(id))
    }

    /// Returns the group of this name.
    pub(crate) fn group(&self, name: &str) -> Option<&Arc<Group<G>>> {
        self.groups.get(&fold(name))
    }

    /// Returns all groups with their folded names, sorted by these.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&String, &Arc<Group<G>>)> {
        self.groups.iter()
    }

    /// Returns the members of a group, sorted by folded name.
    pub(crate) fn members<'a>(&'a self, group: &'a Group<G>) -> impl Iterator<Item = &'a Arc<Account<A>>> {
        group.members.ids().iter().filter_map(|id| self.accounts.get(id))
    }

    /// Returns the names of groups that are given by folded name.
    pub(crate) fn group_names<C: FromIterator<String>>(&self, folded: &BTreeSet<String>) -> C {
        folded.iter().map(|name| self.groups.get(name).map_or(name, |group| &group.name).clone()).collect()
    }

    /// Returns the names of members by group name.
    pub(crate) fn memberships(&self) -> BTreeMap<String, BTreeSet<String>> {
        let names = |group| self.members(group).map(|account| account.name.clone()).collect();
        self.groups.values().map(|group| (group.name.clone(), names(group))).collect()
    }
}

impl<A: Clone, G: Clone> Identities<A, G> {
    /// Returns the product's data of an account for a change in place.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut A> {
        self.accounts.get_mut(id).map(|account| &mut Arc::make_mut(account).data)
    }

    /// Returns the product's data of a group for a change in place.
    pub(crate) fn group_mut(&mut self, name: &str) -> Option<&mut G> {
        self.groups.get_mut(&fold(name)).map(|group| &mut Arc::make_mut(group).data)
    }

    /// Adds an account without groups; returns its id.
    pub(crate) fn add(&mut self, id: String, name: String, data: A) -> Id {
        let id: Id = id.into();
        self.names.insert(&fold(&name), &id);
        let account = Account { id: Arc::clone(&id), name, groups: BTreeSet::new(), data };
        self.accounts.insert(Arc::clone(&id), Arc::new(account));
        id
    }

    /// Renames an account.
    pub(crate) fn rename(&mut self, id: &str, to: String) {
        let Some(account) = self.accounts.get_mut(id).map(Arc::make_mut) else { return };
        let (from, folded) = (fold(&account.name), fold(&to));
        account.name = to;
        self.names.rename(&from, &folded, &account.id);
        for group in &account.groups {
            if let Some(group) = self.groups.get_mut(group) {
                Arc::make_mut(group).members.rename(&from, &folded, &account.id);
            }
        }
    }

    /// Deletes an account with its memberships, and returns it.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Account<A>> {
        let mut account = self.accounts.remove(id).map(Arc::unwrap_or_clone)?;
        let name = fold(&account.name);
        for group in std::mem::take(&mut account.groups) {
            if let Some(group) = self.groups.get_mut(&group) {
                Arc::make_mut(group).members.remove(&name);
            }
        }
        self.names.remove(&name);
        Some(account)
    }

    /// Adds a group; returns false if one of this name exists.
    pub(crate) fn add_group(&mut self, name: &str, data: G) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        self.groups.insert(folded, Arc::new(Group { name: name.to_owned(), members: Roster::default(), data }));
        true
    }

    /// Deletes a group; returns false if it is missing.
    pub(crate) fn remove_group(&mut self, name: &str) -> bool {
        let folded = fold(name);
        let Some(group) = self.groups.remove(&folded) else { return false };
        for id in group.members.ids() {
            if let Some(account) = self.accounts.get_mut(id) {
                Arc::make_mut(account).groups.remove(&folded);
            }
        }
        true
    }

    /// Adds a member to a group; returns false if it is a member already, or if the account or the group is missing.
    pub(crate) fn add_member(&mut self, id: &str, group: &str) -> bool {
        self.membership(id, group, |account, group, folded| {
            group.members.insert(&fold(&account.name), &account.id);
            account.groups.insert(folded)
        })
    }

    /// Removes a member from a group; returns false if it is not a member.
    pub(crate) fn remove_member(&mut self, id: &str, group: &str) -> bool {
        self.membership(id, group, |account, group, folded| {
            group.members.remove(&fold(&account.name));
            account.groups.remove(&folded)
        })
    }

    fn membership(
        &mut self,
        id: &str,
        group: &str,
        change: impl FnOnce(&mut Account<A>, &mut Group<G>, String) -> bool,
    ) -> bool {
        let folded = fold(group);
        match (self.accounts.get_mut(id), self.groups.get_mut(&folded)) {
            (Some(account), Some(group)) => change(Arc::make_mut(account), Arc::make_mut(group), folded),
            _ => false,
        }
    }
}
