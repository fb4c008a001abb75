//! State of a simulated Bitbucket.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::roster::{Id, Roster};

/// A global permission; each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Sign in.
    LicensedUser,
    /// Create projects.
    ProjectCreate,
    /// Administer Bitbucket.
    Admin,
    /// Administer the system.
    SysAdmin,
}

impl Permission {
    /// Returns the name that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LicensedUser => "LICENSED_USER",
            Self::ProjectCreate => "PROJECT_CREATE",
            Self::Admin => "ADMIN",
            Self::SysAdmin => "SYS_ADMIN",
        }
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        [Self::LicensedUser, Self::ProjectCreate, Self::Admin, Self::SysAdmin]
            .into_iter()
            .find(|one| one.as_str() == text)
    }
}

/// A user directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Logins, names and addresses are read-only, and users cannot be deleted.
    pub(crate) details_fixed: bool,
    /// Memberships are read-only.
    pub(crate) groups_fixed: bool,
    pub(crate) active: bool,
}

/// An account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    /// Active flag of the account's directory.
    pub(crate) active: bool,
    pub(crate) service: bool,
    /// Index of the account's directory.
    pub(crate) directory: usize,
    /// Groups by folded name.
    pub(crate) groups: BTreeSet<String>,
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The name as given when the group was created.
    pub(crate) name: String,
    /// Ids of members, sorted by name.
    pub(crate) members: Roster,
    /// Comes from an external directory.
    pub(crate) fixed: bool,
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) accounts: HashMap<Id, Arc<Account>>,
    /// Ids by folded name, in listing order.
    pub(crate) names: Roster,
    pub(crate) by_name: HashMap<String, Id>,
    /// Groups by folded name.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) directories: Vec<Directory>,
    /// Permissions by folded name of the group.
    pub(crate) group_permissions: BTreeMap<String, Permission>,
    /// Permissions granted to users directly, by id.
    pub(crate) user_permissions: BTreeMap<Id, Permission>,
    pub(crate) default_group: Option<String>,
    /// Seats of the licence; `None`: unlimited.
    pub(crate) seats: Option<usize>,
    pub(crate) next_id: u64,
}

/// Folds the name of a user or group for comparison.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl World {
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Account>> {
        self.by_name.get(&fold(name)).and_then(|id| self.accounts.get(id))
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(&fold(name))
    }

    pub(crate) fn directory(&self, account: &Account) -> Option<&Directory> {
        self.directories.get(account.directory)
    }

    /// Returns the index of the directory that receives new accounts.
    pub(crate) fn writable(&self) -> Option<usize> {
        self.directories.iter().position(|directory| !directory.details_fixed && directory.active)
    }

    /// Returns the permission that a group grants.
    pub(crate) fn given_by(&self, group: &str) -> Option<Permission> {
        self.group_permissions.get(&fold(group)).copied()
    }

    /// Returns the highest permission of an account, its own or from a group.
    pub(crate) fn level(&self, account: &Account) -> Option<Permission> {
        let own = self.user_permissions.get(&account.id).copied();
        account.groups.iter().filter_map(|group| self.group_permissions.get(group).copied()).chain(own).max()
    }

    /// Returns the level of an account without one of its groups, or without its own permission.
    pub(crate) fn level_without(&self, account: &Account, group: Option<&str>) -> Option<Permission> {
        let own = self.user_permissions.get(&account.id).copied().filter(|_| group.is_some());
        let without = group.map(fold);
        let groups = account.groups.iter().filter(|one| Some(*one) != without.as_ref());
        groups.filter_map(|group| self.group_permissions.get(group).copied()).chain(own).max()
    }

    /// Returns the number of accounts that use a seat of the licence.
    pub(crate) fn licensed(&self) -> usize {
        self.accounts.values().filter(|account| account.active && self.level(account).is_some()).count()
    }

    /// Returns whether no seat is left.
    pub(crate) fn is_full(&self) -> bool {
        self.seats.is_some_and(|seats| self.licensed() >= seats)
    }

    pub(crate) fn add(&mut self, name: &str, display_name: &str, email: &str, directory: usize) -> Id {
        self.next_id += 1;
        let id: Id = self.next_id.to_string().into();
        self.names.insert(&fold(name), &id);
        self.by_name.insert(fold(name), Arc::clone(&id));
        let account = Account {
            id: Arc::clone(&id),
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            email: email.to_owned(),
            active: true,
            service: false,
            directory,
            groups: BTreeSet::new(),
        };
        self.accounts.insert(Arc::clone(&id), Arc::new(account));
        id
    }

    pub(crate) fn account_mut(&mut self, id: &str) -> Option<&mut Account> {
        self.accounts.get_mut(id).map(Arc::make_mut)
    }

    pub(crate) fn rename(&mut self, id: &str, to: &str) {
        let Some(account) = self.accounts.get_mut(id).map(Arc::make_mut) else { return };
        let (from, id) = (fold(&std::mem::replace(&mut account.name, to.to_owned())), Arc::clone(&account.id));
        for group in account.groups.clone() {
            if let Some(group) = self.groups.get_mut(&group).map(Arc::make_mut) {
                group.members.remove(&from);
                group.members.insert(&fold(to), &id);
            }
        }
        self.names.remove(&from);
        self.names.insert(&fold(to), &id);
        self.by_name.remove(&from);
        self.by_name.insert(fold(to), id);
    }

    pub(crate) fn remove(&mut self, id: &str) {
        let Some(account) = self.accounts.remove(id) else { return };
        let name = fold(&account.name);
        for group in &account.groups {
            if let Some(group) = self.groups.get_mut(group).map(Arc::make_mut) {
                group.members.remove(&name);
            }
        }
        self.names.remove(&name);
        self.by_name.remove(&name);
        self.user_permissions.remove(id);
    }

    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        let group = Group { name: name.to_owned(), members: Roster::default(), fixed: false };
        self.groups.insert(folded, Arc::new(group));
        true
    }

    pub(crate) fn remove_group(&mut self, name: &str) {
        let folded = fold(name);
        let Some(group) = self.groups.remove(&folded) else { return };
        for id in group.members.ids() {
            if let Some(account) = self.accounts.get_mut(id) {
                Arc::make_mut(account).groups.remove(&folded);
            }
        }
        self.group_permissions.remove(&folded);
    }

    /// Adds a member to a group; false if it is a member already.
    pub(crate) fn join(&mut self, id: &str, group: &str) -> bool {
        let folded = fold(group);
        let (Some(account), Some(group)) = (self.accounts.get_mut(id), self.groups.get_mut(&folded)) else {
            return false;
        };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.insert(&fold(&account.name), &account.id);
        account.groups.insert(folded)
    }

    /// Removes a member from a group; false if it is not a member.
    pub(crate) fn leave(&mut self, id: &str, group: &str) -> bool {
        let folded = fold(group);
        let (Some(account), Some(group)) = (self.accounts.get_mut(id), self.groups.get_mut(&folded)) else {
            return false;
        };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.remove(&fold(&account.name));
        account.groups.remove(&folded)
    }
}
