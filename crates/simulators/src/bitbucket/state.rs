//! State of a simulated Bitbucket.

use std::collections::BTreeMap;

use crate::identities::{self, Identities, fold};
use crate::roster::Id;

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
pub(crate) type Account = identities::Account<AccountData>;

/// A group.
pub(crate) type Group = identities::Group<GroupData>;

/// Data of an account.
#[derive(Clone, Debug)]
pub(crate) struct AccountData {
    pub(crate) display_name: String,
    pub(crate) email: String,
    /// Active flag of the account's directory.
    pub(crate) active: bool,
    pub(crate) service: bool,
    /// Index of the account's directory.
    pub(crate) directory: usize,
}

/// Data of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupData {
    /// Comes from an external directory.
    pub(crate) fixed: bool,
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) identities: Identities<AccountData, GroupData>,
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

impl World {
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
        self.identities.accounts().filter(|account| account.active && self.level(account).is_some()).count()
    }

    /// Returns whether no seat is left.
    pub(crate) fn is_full(&self) -> bool {
        self.seats.is_some_and(|seats| self.licensed() >= seats)
    }

    /// Adds an account; returns its id.
    pub(crate) fn add(&mut self, name: &str, display_name: &str, email: &str, directory: usize) -> Id {
        self.next_id += 1;
        let (display_name, email) = (display_name.to_owned(), email.to_owned());
        let data = AccountData { display_name, email, active: true, service: false, directory };
        self.identities.add(self.next_id.to_string(), name.to_owned(), data)
    }

    /// Deletes an account with its permission.
    pub(crate) fn remove(&mut self, id: &str) {
        self.identities.remove(id);
        self.user_permissions.remove(id);
    }

    /// Adds a group; returns false if one of this name exists.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        self.identities.add_group(name, GroupData { fixed: false })
    }

    /// Deletes a group with its permission.
    pub(crate) fn remove_group(&mut self, name: &str) {
        if self.identities.remove_group(name) {
            self.group_permissions.remove(&fold(name));
        }
    }
}
