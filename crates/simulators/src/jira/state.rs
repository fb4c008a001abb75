//! State of a simulated Jira.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::roster::{Id, Roster};

/// A user directory; new accounts are created in the first writable one.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) name: String,
    pub(crate) read_only: bool,
}

/// Profile of an account in one directory.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Index of the directory.
    pub(crate) directory: usize,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
}

/// An account: one name, one key, and one profile in each directory that has the name. The first directory's profile is
/// effective and shadows the others.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) key: Id,
    /// The name in lower case, as Jira stores it.
    pub(crate) name: String,
    pub(crate) profiles: Vec<Profile>,
    /// Groups by folded name.
    pub(crate) groups: BTreeSet<String>,
    /// Whether it has reported issues, comments or similar, which prevent deletion.
    pub(crate) content: bool,
    /// Whether it leads a project, which prevents deactivation.
    pub(crate) lead: bool,
    /// Number of open sessions; deactivation ends none of them.
    pub(crate) sessions: usize,
    pub(crate) deleted: bool,
}

impl Account {
    /// Returns the effective profile.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.profiles.first()
    }

    pub(crate) fn active(&self) -> bool {
        self.profile().is_some_and(|profile| profile.active)
    }
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The name as given when the group was created.
    pub(crate) name: String,
    /// Keys of members, sorted by name.
    pub(crate) members: Roster,
    /// Used in comment or worklog restrictions: deletion needs a replacement group.
    pub(crate) in_use: bool,
    /// Comes from a read-only directory.
    pub(crate) read_only: bool,
}

/// An application and its licence.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) key: String,
    pub(crate) name: String,
    /// Folded names of the groups that grant access.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) default_groups: BTreeSet<String>,
    /// Seats; `None`: unlimited.
    pub(crate) seats: Option<usize>,
    pub(crate) selected_by_default: bool,
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// Accounts by key; deleted ones stay.
    pub(crate) accounts: HashMap<Id, Arc<Account>>,
    /// Keys by name, in listing order, without deleted ones.
    pub(crate) names: Roster,
    pub(crate) by_name: HashMap<String, Id>,
    /// Keys by number, for paging by cursor.
    pub(crate) by_number: BTreeMap<u64, Id>,
    /// Groups by folded name.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) applications: Vec<Application>,
    pub(crate) directories: Vec<Directory>,
    pub(crate) next_number: u64,
    /// Folded names of the groups of Jira administrators; the next field has those of system administrators.
    pub(crate) admin_groups: BTreeSet<String>,
    pub(crate) sysadmin_groups: BTreeSet<String>,
}

/// Folds the name of a user or group for comparison.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl World {
    /// Returns the account of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Account>> {
        self.by_name.get(&fold(name)).and_then(|key| self.accounts.get(key))
    }

    /// Returns the group of this name.
    pub(crate) fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(&fold(name))
    }

    /// Returns the index of the directory that receives new accounts.
    pub(crate) fn writable(&self) -> Option<usize> {
        self.directories.iter().position(|directory| !directory.read_only)
    }

    /// Returns whether the account's profile is read-only.
    pub(crate) fn is_read_only(&self, account: &Account) -> bool {
        let directory = account.profile().and_then(|profile| self.directories.get(profile.directory));
        directory.is_none_or(|directory| directory.read_only)
    }

    pub(crate) fn is_admin(&self, account: &Account) -> bool {
        self.is_sysadmin(account) || account.groups.iter().any(|group| self.admin_groups.contains(group))
    }

    pub(crate) fn is_sysadmin(&self, account: &Account) -> bool {
        account.groups.iter().any(|group| self.sysadmin_groups.contains(group))
    }

    /// Returns the number of active accounts with access to an application.
    pub(crate) fn users_of(&self, application: &Application) -> usize {
        let mut users: BTreeSet<&Id> = BTreeSet::new();
        for group in application.groups.iter().filter_map(|name| self.groups.get(name)) {
            users.extend(group.members.ids().iter().filter(|key| self.accounts.get(*key).is_some_and(|a| a.active())));
        }
        users.len()
    }

    /// Returns whether an application has no free seat.
    pub(crate) fn is_full(&self, application: &Application) -> bool {
        application.seats.is_some_and(|seats| self.users_of(application) >= seats)
    }

    /// Returns whether the account has access to the application.
    pub(crate) fn uses(account: &Account, application: &Application) -> bool {
        account.groups.iter().any(|group| application.groups.contains(group))
    }

    /// Adds an account with one profile; returns its key.
    pub(crate) fn add(&mut self, name: &str, profile: Profile) -> Id {
        let number = self.next_number;
        self.next_number += 1;
        let key: Id = format!("JIRAUSER{number}").into();
        let name = fold(name);
        self.names.insert(&name, &key);
        self.by_name.insert(name.clone(), Arc::clone(&key));
        self.by_number.insert(number, Arc::clone(&key));
        let account = Account {
            key: Arc::clone(&key),
            name,
            profiles: vec![profile],
            groups: BTreeSet::new(),
            content: false,
            lead: false,
            sessions: 0,
            deleted: false,
        };
        self.accounts.insert(Arc::clone(&key), Arc::new(account));
        key
    }

    /// Returns an account for a change in place.
    pub(crate) fn account_mut(&mut self, key: &str) -> Option<&mut Account> {
        self.accounts.get_mut(key).map(Arc::make_mut)
    }

    /// Renames an account; its key stays.
    pub(crate) fn rename(&mut self, key: &str, to: &str) {
        let Some(account) = self.accounts.get_mut(key).map(Arc::make_mut) else {
            return;
        };
        let (from, to) = (std::mem::replace(&mut account.name, fold(to)), fold(to));
        let key = Arc::clone(&account.key);
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

    /// Removes the effective profile of an account. The next profile becomes effective; without one the account is
    /// deleted.
    pub(crate) fn remove(&mut self, key: &str) {
        let Some(account) = self.accounts.get_mut(key).map(Arc::make_mut) else {
            return;
        };
        if account.profiles.len() > 1 {
            account.profiles.remove(0);
            return;
        }
        account.deleted = true;
        account.sessions = 0;
        let (name, groups) = (account.name.clone(), std::mem::take(&mut account.groups));
        for group in groups {
            if let Some(group) = self.groups.get_mut(&group).map(Arc::make_mut) {
                group.members.remove(&name);
            }
        }
        self.names.remove(&name);
        self.by_name.remove(&name);
        self.by_number.retain(|_, one| &**one != key);
    }

    /// Adds a group; false if one of this name exists.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        let group = Group { name: name.to_owned(), members: Roster::default(), in_use: false, read_only: false };
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
        for application in &mut self.applications {
            application.groups.remove(&folded);
            application.default_groups.remove(&folded);
        }
    }

    /// Adds a member to a group; false if it is a member already.
    pub(crate) fn join(&mut self, key: &str, group: &str) -> bool {
        let folded = fold(group);
        let (Some(account), Some(group)) = (self.accounts.get_mut(key), self.groups.get_mut(&folded)) else {
            return false;
        };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.insert(&account.name, &account.key);
        account.groups.insert(folded)
    }

    /// Removes a member from a group; false if it is not a member.
    pub(crate) fn leave(&mut self, key: &str, group: &str) -> bool {
        let folded = fold(group);
        let (Some(account), Some(group)) = (self.accounts.get_mut(key), self.groups.get_mut(&folded)) else {
            return false;
        };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.remove(&account.name);
        account.groups.remove(&folded)
    }
}
