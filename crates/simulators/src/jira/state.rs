//! State of a simulated Jira.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::identities::{self, Identities, fold};
use crate::roster::Id;

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

/// An account: one name, one key, and one profile in each directory that has the name. Jira stores the name in lower
/// case.
pub(crate) type Account = identities::Account<AccountData>;

/// A group.
pub(crate) type Group = identities::Group<GroupData>;

/// Data of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountData {
    /// The first directory's profile is effective and shadows the others.
    pub(crate) profiles: Vec<Profile>,
    /// Whether it has reported issues, comments or similar, which prevent deletion.
    pub(crate) content: bool,
    /// Number of open sessions; deactivation ends none of them.
    pub(crate) sessions: usize,
    pub(crate) deleted: bool,
}

impl AccountData {
    /// Returns the effective profile.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.profiles.first()
    }

    pub(crate) fn active(&self) -> bool {
        self.profile().is_some_and(|profile| profile.active)
    }
}

/// Data of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupData {
    /// Used in comment or worklog restrictions: deletion needs a replacement group.
    pub(crate) in_use: bool,
    /// Comes from a read-only directory.
    pub(crate) read_only: bool,
}

/// A project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Project {
    pub(crate) id: String,
    /// Key of the account that leads it.
    pub(crate) lead: Option<Id>,
    pub(crate) components: Vec<Component>,
}

/// A component of a project.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Key of the account that leads it.
    pub(crate) lead: Option<Id>,
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
    /// Accounts by key, without deleted ones, and groups.
    pub(crate) identities: Identities<AccountData, GroupData>,
    pub(crate) deleted: Vec<Arc<Account>>,
    /// Keys by number, for paging by cursor.
    pub(crate) by_number: BTreeMap<u64, Id>,
    pub(crate) applications: Vec<Application>,
    pub(crate) directories: Vec<Directory>,
    /// Projects by key.
    pub(crate) projects: BTreeMap<String, Project>,
    /// Key and former login of the account that was anonymized last.
    pub(crate) anonymized: Option<(String, String)>,
    pub(crate) next_number: u64,
    /// Folded names of the groups of Jira administrators; the next field has those of system administrators.
    pub(crate) admin_groups: BTreeSet<String>,
    pub(crate) sysadmin_groups: BTreeSet<String>,
}

impl World {
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
        let groups = application.groups.iter().filter_map(|name| self.identities.group(name));
        let members = groups.flat_map(|group| self.identities.members(group)).filter(|account| account.active());
        members.map(|account| &account.id).collect::<BTreeSet<_>>().len()
    }

    /// Returns whether an application has no free seat.
    pub(crate) fn is_full(&self, application: &Application) -> bool {
        application.seats.is_some_and(|seats| self.users_of(application) >= seats)
    }

    /// Returns whether the account has access to the application.
    pub(crate) fn uses(account: &Account, application: &Application) -> bool {
        account.groups.iter().any(|group| application.groups.contains(group))
    }

    /// Returns a component with the key of its project, by the component's id.
    pub(crate) fn component_mut(&mut self, id: &str) -> Option<(&String, &mut Component)> {
        self.projects.iter_mut().find_map(|(key, project)| {
            project.components.iter_mut().find(|component| component.id == id).map(|component| (key, component))
        })
    }

    /// Adds an account with one profile; returns its key.
    pub(crate) fn add(&mut self, name: &str, profile: Profile) -> Id {
        let number = self.next_number;
        self.next_number += 1;
        let data = AccountData { profiles: vec![profile], ..AccountData::default() };
        let key = self.identities.add(format!("JIRAUSER{number}"), fold(name), data);
        self.by_number.insert(number, Arc::clone(&key));
        key
    }

    /// Removes the effective profile of an account. The next profile becomes effective; without one the account is
    /// deleted.
    pub(crate) fn remove(&mut self, key: &str) {
        match self.identities.get_mut(key) {
            Some(account) if account.profiles.len() > 1 => drop(account.profiles.remove(0)),
            _ => {
                let Some(mut account) = self.identities.remove(key) else { return };
                (account.data.deleted, account.data.sessions) = (true, 0);
                self.deleted.push(Arc::new(account));
                self.by_number.retain(|_, one| &**one != key);
            }
        }
    }

    /// Adds a group; returns false if one of this name exists.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        self.identities.add_group(name, GroupData::default())
    }

    /// Deletes a group.
    pub(crate) fn remove_group(&mut self, name: &str) {
        if self.identities.remove_group(name) {
            for application in &mut self.applications {
                application.groups.remove(&fold(name));
                application.default_groups.remove(&fold(name));
            }
        }
    }
}
