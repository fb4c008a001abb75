//! What a Jira holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::roster::{Id, Roster};

/// A user directory; the first one that may be written takes new accounts.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) name: String,
    pub(crate) read_only: bool,
}

/// What one directory says about an account.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// The index of the directory.
    pub(crate) directory: usize,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
}

/// An account: one name, one key, one profile in each directory that knows the name. The first directory's counts,
/// the others are shadowed by it.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) key: Id,
    /// In lower case, as Jira stores it.
    pub(crate) name: String,
    pub(crate) profiles: Vec<Profile>,
    /// Groups by folded name.
    pub(crate) groups: BTreeSet<String>,
    /// Reported issues, comments and the like, which forbid deletion.
    pub(crate) content: bool,
    /// Leads a project, which forbids deactivation.
    pub(crate) lead: bool,
    /// Open sessions: deactivating ends none of them.
    pub(crate) sessions: usize,
    pub(crate) deleted: bool,
}

impl Account {
    /// The profile that counts.
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
    /// As it was given.
    pub(crate) name: String,
    /// Keys by name.
    pub(crate) members: Roster,
    /// Used in comment or worklog restrictions: deletion needs a group to swap with.
    pub(crate) in_use: bool,
    /// Given by a read-only directory.
    pub(crate) read_only: bool,
}

/// An application with its licence.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) key: String,
    pub(crate) name: String,
    /// Folded names of the groups that give access.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) default_groups: BTreeSet<String>,
    /// Seats; `None` for unlimited.
    pub(crate) seats: Option<usize>,
    pub(crate) selected_by_default: bool,
}

/// The whole of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// By key; deleted ones stay.
    pub(crate) accounts: HashMap<Id, Arc<Account>>,
    /// Keys by name, in listing order; deleted ones are not among them.
    pub(crate) names: Roster,
    pub(crate) by_name: HashMap<String, Id>,
    /// Keys by number, for walks by cursor.
    pub(crate) by_number: BTreeMap<u64, Id>,
    /// By folded name.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) applications: Vec<Application>,
    pub(crate) directories: Vec<Directory>,
    pub(crate) next_number: u64,
    /// Folded names of groups whose members administer Jira, and of those whose members administer the system.
    pub(crate) admin_groups: BTreeSet<String>,
    pub(crate) sysadmin_groups: BTreeSet<String>,
}

/// How names of users and groups are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl World {
    /// The account of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Account>> {
        self.by_name.get(&fold(name)).and_then(|key| self.accounts.get(key))
    }

    /// The group of this name.
    pub(crate) fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(&fold(name))
    }

    /// The directory that new accounts land in.
    pub(crate) fn writable(&self) -> Option<usize> {
        self.directories.iter().position(|directory| !directory.read_only)
    }

    /// True where the account's profile cannot be changed from here.
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

    /// How many active accounts use an application.
    pub(crate) fn users_of(&self, application: &Application) -> usize {
        let mut users: BTreeSet<&Id> = BTreeSet::new();
        for group in application.groups.iter().filter_map(|name| self.groups.get(name)) {
            users.extend(group.members.ids().iter().filter(|key| self.accounts.get(*key).is_some_and(|a| a.active())));
        }
        users.len()
    }

    /// True where an application has no seat left for one more.
    pub(crate) fn is_full(&self, application: &Application) -> bool {
        application.seats.is_some_and(|seats| self.users_of(application) >= seats)
    }

    /// True where the account has access to the application.
    pub(crate) fn uses(account: &Account, application: &Application) -> bool {
        account.groups.iter().any(|group| application.groups.contains(group))
    }

    /// Adds an account with one profile; gives its key.
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

    /// Changes an account in place.
    pub(crate) fn account_mut(&mut self, key: &str) -> Option<&mut Account> {
        self.accounts.get_mut(key).map(Arc::make_mut)
    }

    /// Gives an account another name; its key stays.
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

    /// Takes the counting profile of an account away. What it shadowed comes to light, else the account is gone.
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

    /// Adds a group, unless there is one of this name.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        let folded = fold(name);
        if self.groups.contains_key(&folded) {
            return false;
        }
        let group = Group { name: name.to_owned(), members: Roster::default(), in_use: false, read_only: false };
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
        for application in &mut self.applications {
            application.groups.remove(&folded);
            application.default_groups.remove(&folded);
        }
    }

    /// Puts an account into a group; false where it was in it.
    pub(crate) fn join(&mut self, key: &str, group: &str) -> bool {
        let folded = fold(group);
        let (Some(account), Some(group)) = (self.accounts.get_mut(key), self.groups.get_mut(&folded)) else {
            return false;
        };
        let account = Arc::make_mut(account);
        Arc::make_mut(group).members.insert(&account.name, &account.key);
        account.groups.insert(folded)
    }

    /// Takes an account out of a group; false where it was not in it.
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
