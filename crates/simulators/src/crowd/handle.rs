//! The Rust side of a Crowd: seeds, changes behind everybody's back, switches and a look at the bare state.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};

use super::SimulatedCrowd;
use super::state::{Account, Directory, World, fold};
use super::switches::{Permission, Switches};
use crate::agree::{Held, HeldAccount, Holds};

/// An account to be seeded.
#[derive(Clone, Debug, Default)]
pub struct NewCrowdUser {
    /// The login, kept as given.
    pub name: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Not active.
    pub inactive: bool,
    /// The number of its directory.
    pub directory: usize,
    /// Groups to be in; made if they are missing.
    pub groups: Vec<String>,
    /// Attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl NewCrowdUser {
    /// An active account `name` with names and an address made from it.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            first_name: name.clone(),
            last_name: "Example".into(),
            display_name: format!("{name} Example"),
            email: format!("{name}@example.org"),
            name,
            ..Self::default()
        }
    }

    /// The same in these groups.
    #[must_use]
    pub fn in_groups(mut self, groups: &[&str]) -> Self {
        self.groups = groups.iter().map(|&group| group.to_owned()).collect();
        self
    }

    /// The same, not active.
    #[must_use]
    pub fn inactive(mut self) -> Self {
        self.inactive = true;
        self
    }
}

/// An account as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserState {
    /// The stable key.
    pub key: String,
    /// The login.
    pub name: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Active.
    pub active: bool,
    /// The name of its directory.
    pub directory: String,
    /// The groups that it is in.
    pub groups: BTreeSet<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// A Crowd's users and groups as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrowdSnapshot {
    /// Accounts by key.
    pub users: BTreeMap<String, UserState>,
    /// Logins of direct members by name of group.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl CrowdSnapshot {
    /// The account with this login.
    pub fn user(&self, name: &str) -> Option<&UserState> {
        let name = fold(name);
        self.users.values().find(|user| fold(&user.name) == name)
    }
}

impl Holds for SimulatedCrowd {
    fn held(&self) -> Held {
        let snapshot = self.snapshot();
        let accounts = snapshot.users.into_values().map(|user| {
            (user.name, HeldAccount { display_name: user.display_name, email: user.email, active: user.active })
        });
        Held::of("Crowd", accounts, &snapshot.groups)
    }
}

impl SimulatedCrowd {
    fn change<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        let Ok(result) = self.crowd.versions.write(|world| Ok::<R, Infallible>(work(world)));
        result
    }

    fn set(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.crowd.switches.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Seeds an account; gives its key.
    pub fn add_user(&self, user: NewCrowdUser) -> String {
        self.add_users([user]).pop().unwrap_or_default()
    }

    /// Seeds many accounts at once; gives their keys.
    pub fn add_users(&self, users: impl IntoIterator<Item = NewCrowdUser>) -> Vec<String> {
        self.change(|world| users.into_iter().map(|user| seed(world, user)).collect())
    }

    /// Seeds a group; false where there was one.
    pub fn add_group(&self, name: &str) -> bool {
        self.change(|world| world.add_group(name, "", true))
    }

    /// Puts a group into another; both are made if they are missing.
    pub fn nest(&self, child: &str, parent: &str) {
        self.change(|world| {
            world.add_group(child, "", true);
            world.add_group(parent, "", true);
            if let Some(parent) = world.groups.get_mut(&fold(parent)) {
                Arc::make_mut(parent).children.insert(fold(child));
            }
        });
    }

    /// Adds a directory after the others; gives its number.
    pub fn add_directory(&self, name: &str, read_only: bool) -> usize {
        self.change(|world| {
            world.directories.push(Directory { name: name.into(), read_only, keeps_status: true });
            world.directories.len() - 1
        })
    }

    /// Makes a directory read-only, or writable.
    pub fn set_read_only(&self, directory: usize, read_only: bool) {
        self.directory(directory, |directory| directory.read_only = read_only);
    }

    /// Has a directory keep who is active, or pass it over in silence.
    pub fn set_keeps_status(&self, directory: usize, keeps: bool) {
        self.directory(directory, |directory| directory.keeps_status = keeps);
    }

    fn directory(&self, directory: usize, work: impl FnOnce(&mut Directory)) {
        self.change(|world| {
            if let Some(directory) = world.directories.get_mut(directory) {
                work(directory);
            }
        });
    }

    /// Drift: gives an account another login.
    pub fn rename_user(&self, from: &str, to: &str) {
        self.change(|world| world.rename(from, to));
    }

    /// Drift: takes an account away.
    pub fn remove_user(&self, name: &str) {
        self.change(|world| world.remove(name));
    }

    /// Drift: activates or deactivates an account.
    pub fn set_active(&self, name: &str, active: bool) {
        self.change(|world| {
            if let Some(account) = world.account_mut(name) {
                account.active = active;
            }
        });
    }

    /// Drift: gives an account an attribute with these values; none take it away.
    pub fn set_attribute(&self, name: &str, attribute: &str, values: &[&str]) {
        self.change(|world| {
            let Some(account) = world.account_mut(name) else { return };
            if values.is_empty() {
                account.attributes.remove(attribute);
            } else {
                let values = values.iter().map(|&value| value.to_owned()).collect();
                account.attributes.insert(attribute.to_owned(), values);
            }
        });
    }

    /// Drift: activates or deactivates a group.
    pub fn set_group_active(&self, name: &str, active: bool) {
        self.change(|world| {
            if let Some(group) = world.groups.get_mut(&fold(name)) {
                Arc::make_mut(group).active = active;
            }
        });
    }

    /// Drift: puts an account into a group; false where it was in it, or one of them is missing.
    pub fn add_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| world.join(name, group))
    }

    /// Drift: takes an account out of a group; false where it was not in it.
    pub fn remove_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| world.leave(name, group))
    }

    /// Refuses the application's credentials, or accepts the right ones again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.set(|switches| switches.bad_credentials = refuse);
    }

    /// Takes the caller's address off the application's list, or puts it back.
    pub fn refuse_address(&self, refuse: bool) {
        self.set(|switches| switches.address_refused = refuse);
    }

    /// Gives the application a permission, or takes it away.
    pub fn permit(&self, permission: Permission, given: bool) {
        self.set(|switches| {
            if given {
                switches.lacking.remove(&permission);
            } else {
                switches.lacking.insert(permission);
            }
        });
    }

    /// Sends the header that every Crowd sends, or leaves it out.
    pub fn set_version_header(&self, on: bool) {
        self.set(|switches| switches.version_header = on);
    }

    /// Tells users' keys, or not, as old versions.
    pub fn set_tells_keys(&self, on: bool) {
        self.set(|switches| switches.tells_keys = on);
    }

    /// Tells all memberships at once, or knows no such path, as very old versions.
    pub fn set_tells_memberships(&self, on: bool) {
        self.set(|switches| switches.tells_memberships = on);
    }

    /// Expands lists when that is asked for, or gives names only.
    pub fn set_expands(&self, on: bool) {
        self.set(|switches| switches.expands = on);
    }

    /// How many entries a page holds at most.
    pub fn set_page_cap(&self, cap: usize) {
        self.set(|switches| switches.page_cap = cap.max(1));
    }

    /// The shortest password that is taken.
    pub fn set_password_min(&self, length: usize) {
        self.set(|switches| switches.password_min = length);
    }

    /// The server id, which only a Jira tells.
    pub fn server_id(&self) -> &str {
        &self.crowd.server_id
    }

    /// Keeps the present state for reads from [`Stale::Frozen`](crate::fault::Stale::Frozen).
    pub fn freeze(&self) {
        self.crowd.versions.freeze();
    }

    /// Users and groups as they are now.
    pub fn snapshot(&self) -> CrowdSnapshot {
        self.crowd.versions.read(None, |world| {
            let spelled =
                |name: &String| world.groups.get(name).map_or_else(|| name.clone(), |group| group.name.clone());
            let users = world.accounts.values().map(|account| {
                let directory = world.directories.get(account.directory);
                let state = UserState {
                    key: account.key.clone(),
                    name: account.name.clone(),
                    first_name: account.first_name.clone(),
                    last_name: account.last_name.clone(),
                    display_name: account.display_name.clone(),
                    email: account.email.clone(),
                    active: account.active,
                    directory: directory.map(|directory| directory.name.clone()).unwrap_or_default(),
                    groups: account.groups.iter().map(spelled).collect(),
                    attributes: account.attributes.clone(),
                };
                (state.key.clone(), state)
            });
            let groups = world.groups.values().map(|group| {
                let members = group.members.ids().iter().filter_map(|key| world.accounts.get(key));
                (group.name.clone(), members.map(|account| account.name.clone()).collect())
            });
            CrowdSnapshot { users: users.collect(), groups: groups.collect() }
        })
    }
}

/// Seeds an account; one that is there already only gets the groups.
fn seed(world: &mut World, user: NewCrowdUser) -> String {
    let NewCrowdUser { name, groups, .. } = &user;
    let (name, groups) = (name.clone(), groups.clone());
    if world.named(&name).is_none() {
        world.add(Account {
            name: user.name,
            first_name: user.first_name,
            last_name: user.last_name,
            display_name: user.display_name,
            email: user.email,
            active: !user.inactive,
            directory: user.directory,
            attributes: user.attributes,
            ..Account::default()
        });
    }
    for group in &groups {
        world.add_group(group, "", true);
        world.join(&name, group);
    }
    world.named(&name).map(|account| account.key.clone()).unwrap_or_default()
}
