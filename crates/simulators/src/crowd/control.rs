//! The simulated Crowd as tests control it: seeds, drift, switches and the current state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::CrowdOptions;
use super::instance::Crowd;
use super::state::{AccountData, Directory, GroupData, World};
use super::switches::{Permission, Switches};
use crate::agree::{Held, HeldAccount, Holds};
use crate::fault::Faults;
use crate::front;
use crate::identities::fold;
use crate::journal::Journal;
use crate::server::Server;

/// An account to seed.
#[derive(Clone, Debug, Default)]
pub struct NewCrowdUser {
    /// The login; stored case-preserving.
    pub name: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether it is inactive.
    pub inactive: bool,
    /// Number of its directory.
    pub directory: usize,
    /// Groups of the account; missing groups are created.
    pub groups: Vec<String>,
    /// Attributes of the account.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl NewCrowdUser {
    /// Returns an active account `name`; names and address are derived from it.
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

    /// Adds these groups.
    #[must_use]
    pub fn in_groups(mut self, groups: &[&str]) -> Self {
        self.groups = groups.iter().map(|&group| group.to_owned()).collect();
        self
    }

    /// Makes the account inactive.
    #[must_use]
    pub fn inactive(mut self) -> Self {
        self.inactive = true;
        self
    }
}

/// Current state of an account.
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
    /// Whether it is active.
    pub active: bool,
    /// Name of its directory.
    pub directory: String,
    /// Groups of the account.
    pub groups: BTreeSet<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// Users and groups of a Crowd at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrowdSnapshot {
    /// Accounts by key.
    pub users: BTreeMap<String, UserState>,
    /// Logins of direct members by group name.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl CrowdSnapshot {
    /// Returns the account with this login.
    pub fn user(&self, name: &str) -> Option<&UserState> {
        let name = fold(name);
        self.users.values().find(|user| fold(&user.name) == name)
    }
}

/// A running simulated Crowd; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedCrowd {
    server: Server,
    crowd: Arc<Crowd>,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
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
    /// Starts a Crowd on a loopback port, with an empty internal directory and the administrators' group.
    pub async fn start(options: CrowdOptions) -> io::Result<Self> {
        let crowd = Arc::new(Crowd::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&crowd), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, crowd, faults, journal })
    }

    /// Returns the URL with the base path, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.crowd.base_path)
    }

    /// Returns the application's name and password.
    pub fn application(&self) -> (&str, &str) {
        (&self.crowd.application.0, &self.crowd.application.1)
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }

    fn change<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        self.crowd.versions.change(work)
    }

    fn set(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.crowd.switches.write());
    }

    /// Seeds an account; returns its key.
    pub fn add_user(&self, user: NewCrowdUser) -> String {
        self.add_users([user]).pop().unwrap_or_default()
    }

    /// Seeds accounts in one change; returns their keys.
    pub fn add_users(&self, users: impl IntoIterator<Item = NewCrowdUser>) -> Vec<String> {
        self.change(|world| users.into_iter().map(|user| seed(world, user)).collect())
    }

    /// Seeds a group; false if it exists.
    pub fn add_group(&self, name: &str) -> bool {
        self.change(|world| world.identities.add_group(name, GroupData::default()))
    }

    /// Nests a group in another; missing groups are created.
    pub fn nest(&self, child: &str, parent: &str) {
        self.change(|world| {
            world.identities.add_group(child, GroupData::default());
            world.identities.add_group(parent, GroupData::default());
            if let Some(parent) = world.identities.group_mut(parent) {
                parent.children.insert(fold(child));
            }
        });
    }

    /// Adds a directory after the others; returns its number.
    pub fn add_directory(&self, name: &str, read_only: bool) -> usize {
        self.change(|world| {
            world.directories.push(Directory { name: name.into(), read_only, keeps_status: true });
            world.directories.len() - 1
        })
    }

    /// Makes a directory read-only or writable.
    pub fn set_read_only(&self, directory: usize, read_only: bool) {
        self.directory(directory, |directory| directory.read_only = read_only);
    }

    /// Makes a directory store the active flag, or ignore it silently.
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

    /// Drift: changes the login of an account.
    pub fn rename_user(&self, from: &str, to: &str) {
        self.change(|world| {
            if let Some(key) = world.identities.id_of(from) {
                world.identities.rename(&key, to.to_owned());
            }
        });
    }

    /// Drift: deletes an account.
    pub fn remove_user(&self, name: &str) {
        self.change(|world| {
            if let Some(key) = world.identities.id_of(name) {
                world.identities.remove(&key);
            }
        });
    }

    /// Drift: activates or deactivates an account.
    pub fn set_active(&self, name: &str, active: bool) {
        self.change(|world| {
            if let Some(account) = world.account_mut(name) {
                account.active = active;
            }
        });
    }

    /// Drift: sets the values of an account's attribute; no values remove it.
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
            if let Some(group) = world.identities.group_mut(name) {
                group.active = active;
            }
        });
    }

    /// Drift: adds a member to a group; false if it is a member already, or if the account or the group is missing.
    pub fn add_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| world.identities.id_of(name).is_some_and(|key| world.identities.add_member(&key, group)))
    }

    /// Drift: removes a member from a group; false if it is not a member.
    pub fn remove_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| world.identities.id_of(name).is_some_and(|key| world.identities.remove_member(&key, group)))
    }

    /// Refuses the application's credentials, or accepts valid ones again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.set(|switches| switches.bad_credentials = refuse);
    }

    /// Removes the caller's address from the application's list, or adds it again.
    pub fn refuse_address(&self, refuse: bool) {
        self.set(|switches| switches.address_refused = refuse);
    }

    /// Grants a permission to the application, or revokes it.
    pub fn permit(&self, permission: Permission, given: bool) {
        self.set(|switches| {
            if given {
                switches.lacking.remove(&permission);
            } else {
                switches.lacking.insert(permission);
            }
        });
    }

    /// Sends the version header of every Crowd, or omits it.
    pub fn set_version_header(&self, on: bool) {
        self.set(|switches| switches.version_header = on);
    }

    /// Includes the keys of users, or omits them as old versions do.
    pub fn set_tells_keys(&self, on: bool) {
        self.set(|switches| switches.returns_keys = on);
    }

    /// Serves all memberships in one answer, or answers as very old versions do, which have no such path.
    pub fn set_tells_memberships(&self, on: bool) {
        self.set(|switches| switches.returns_memberships = on);
    }

    /// Expands lists on request, or returns only names.
    pub fn set_expands(&self, on: bool) {
        self.set(|switches| switches.expands = on);
    }

    /// Sets the maximum number of entries on a page.
    pub fn set_page_cap(&self, cap: usize) {
        self.set(|switches| switches.page_cap = cap.max(1));
    }

    /// Sets the minimum password length.
    pub fn set_password_min(&self, length: usize) {
        self.set(|switches| switches.password_min = length);
    }

    /// Returns the server id, which only a Jira exposes.
    pub fn server_id(&self) -> &str {
        &self.crowd.server_id
    }

    /// Saves the current state for [`Stale::Frozen`](crate::fault::Stale::Frozen) reads.
    pub fn freeze(&self) {
        self.crowd.versions.freeze();
    }

    /// Returns the current users and groups.
    pub fn snapshot(&self) -> CrowdSnapshot {
        self.crowd.versions.read(None, |world| {
            let users = world.identities.accounts().map(|account| {
                let directory = world.directories.get(account.directory);
                let state = UserState {
                    key: account.id.to_string(),
                    name: account.name.clone(),
                    first_name: account.first_name.clone(),
                    last_name: account.last_name.clone(),
                    display_name: account.display_name.clone(),
                    email: account.email.clone(),
                    active: account.active,
                    directory: directory.map(|directory| directory.name.clone()).unwrap_or_default(),
                    groups: world.identities.group_names(&account.groups),
                    attributes: account.attributes.clone(),
                };
                (state.key.clone(), state)
            });
            CrowdSnapshot { users: users.collect(), groups: world.identities.memberships() }
        })
    }
}

/// Seeds an account; an account that exists only gets the groups.
fn seed(world: &mut World, user: NewCrowdUser) -> String {
    let key = world.identities.id_of(&user.name).unwrap_or_else(|| {
        let data = AccountData {
            first_name: user.first_name,
            last_name: user.last_name,
            display_name: user.display_name,
            email: user.email,
            active: !user.inactive,
            directory: user.directory,
            attributes: user.attributes,
        };
        world.add(user.name, data)
    });
    for group in &user.groups {
        world.identities.add_group(group, GroupData::default());
        world.identities.add_member(&key, group);
    }
    key.to_string()
}
