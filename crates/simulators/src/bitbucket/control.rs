//! The simulated Bitbucket as tests control it: seeds, drift, switches and the current state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::BitbucketOptions;
use super::instance::Bitbucket;
use super::state::{AccountData, Directory, Permission, World};
use super::switches::Switches;
use crate::agree::{Held, HeldAccount, Holds};
use crate::fault::Faults;
use crate::front;
use crate::identities::fold;
use crate::journal::Journal;
use crate::server::Server;

/// An account to seed.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The login.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Groups of the account; missing groups are created.
    pub groups: Vec<String>,
}

impl NewAccount {
    /// Returns an account `name` without groups; display name and address are derived from it.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { display_name: format!("{name} Example"), email: format!("{name}@example.org"), name, groups: Vec::new() }
    }

    /// Adds these groups.
    #[must_use]
    pub fn in_groups(mut self, groups: &[&str]) -> Self {
        self.groups = groups.iter().map(|&group| group.to_owned()).collect();
        self
    }
}

/// Current state of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The stable id.
    pub id: String,
    /// The login.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Active flag of the account's directory.
    pub active: bool,
    /// Whether it has a global permission, its own or from a group.
    pub licensed: bool,
    /// The account's own permission, not from a group.
    pub permission: Option<Permission>,
    /// Groups of the account.
    pub groups: BTreeSet<String>,
}

/// Users and groups of a Bitbucket at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitbucketSnapshot {
    /// Accounts by id.
    pub accounts: BTreeMap<String, AccountState>,
    /// Names of members by group name.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl BitbucketSnapshot {
    /// Returns the account with this login.
    pub fn account(&self, name: &str) -> Option<&AccountState> {
        self.accounts.values().find(|account| fold(&account.name) == fold(name))
    }
}

/// A running simulated Bitbucket; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedBitbucket {
    server: Server,
    bitbucket: Arc<Bitbucket>,
    token: String,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
}

impl Holds for SimulatedBitbucket {
    fn held(&self) -> Held {
        let snapshot = self.snapshot();
        let accounts = snapshot.accounts.into_values().map(|account| {
            let active = account.active && account.licensed;
            (account.name, HeldAccount { display_name: account.display_name, email: account.email, active })
        });
        Held::of("Bitbucket", accounts, &snapshot.groups).brings(&["stash-admins", "stash-users"])
    }
}

impl SimulatedBitbucket {
    /// Starts a Bitbucket on a loopback port, with a system administrator, the groups `stash-users` (the default one)
    /// and `stash-admins`, and an unlimited licence.
    pub async fn start(options: BitbucketOptions) -> io::Result<Self> {
        let bitbucket = Arc::new(Bitbucket::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&bitbucket), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, bitbucket, token: options.token, faults, journal })
    }

    /// Returns the URL with the base path, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.bitbucket.base_path)
    }

    /// Returns the first administrator's HTTP access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }

    fn change<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        self.bitbucket.versions.change(work)
    }

    fn set(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.bitbucket.switches.write());
    }

    fn account(&self, name: &str, work: impl FnOnce(&mut AccountData)) {
        self.change(|world| {
            if let Some(account) = world.identities.id_of(name).and_then(|id| world.identities.get_mut(&id)) {
                work(account);
            }
        });
    }

    /// Seeds an account into the internal directory; returns its id. An account that exists only gets the groups.
    pub fn add_account(&self, account: NewAccount) -> String {
        self.add_accounts([account]).pop().unwrap_or_default()
    }

    /// Seeds accounts in one change; returns their ids.
    pub fn add_accounts(&self, accounts: impl IntoIterator<Item = NewAccount>) -> Vec<String> {
        self.change(|world| accounts.into_iter().map(|account| seed(world, 0, &account)).collect())
    }

    /// Seeds an account into another directory.
    pub fn add_account_in(&self, directory: usize, account: &NewAccount) -> String {
        self.change(|world| seed(world, directory, account))
    }

    /// Adds a directory; returns its number. `details`: its users are read-only; `groups`: their groups are read-only
    /// too.
    pub fn add_directory(&self, name: &str, kind: &str, details: bool, groups: bool) -> usize {
        self.change(|world| {
            let (name, kind) = (name.to_owned(), kind.to_owned());
            world.directories.push(Directory {
                name,
                kind,
                details_fixed: details,
                groups_fixed: groups,
                active: true,
            });
            world.directories.len() - 1
        })
    }

    /// Disables or enables the internal directory.
    pub fn set_directory_active(&self, active: bool) {
        self.change(|world| world.directories.iter_mut().take(1).for_each(|directory| directory.active = active));
    }

    /// Seeds a group; false if it exists.
    pub fn add_group(&self, name: &str) -> bool {
        self.change(|world| world.add_group(name))
    }

    /// Drift: deletes a group.
    pub fn remove_group(&self, name: &str) {
        self.change(|world| world.remove_group(name));
    }

    /// Drift: adds a member to a group; false if it is a member already, or if the account or the group is missing.
    pub fn add_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| world.identities.id_of(name).is_some_and(|id| world.identities.add_member(&id, group)))
    }

    /// Drift: removes a member from a group; false if it is not a member.
    pub fn remove_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| world.identities.id_of(name).is_some_and(|id| world.identities.remove_member(&id, group)))
    }

    /// Drift: deletes an account.
    pub fn remove_account(&self, name: &str) {
        self.change(|world| {
            if let Some(id) = world.identities.id_of(name) {
                world.remove(&id);
            }
        });
    }

    /// Drift: renames an account.
    pub fn rename_account(&self, from: &str, to: &str) {
        self.change(|world| {
            if let Some(id) = world.identities.id_of(from) {
                world.identities.rename(&id, to.to_owned());
            }
        });
    }

    /// Sets the active flag of an account's directory, as an external directory may.
    pub fn set_active(&self, name: &str, active: bool) {
        self.account(name, |account| account.active = active);
    }

    /// Drift: changes an account's display name.
    pub fn set_display_name(&self, name: &str, display_name: &str) {
        self.account(name, |account| display_name.clone_into(&mut account.display_name));
    }

    /// Drift: changes an account's e-mail address.
    pub fn set_email(&self, name: &str, email: &str) {
        self.account(name, |account| email.clone_into(&mut account.email));
    }

    /// Marks an account as a service user or as a normal user.
    pub fn set_service(&self, name: &str, service: bool) {
        self.account(name, |account| account.service = service);
    }

    /// Grants a global permission to a group (created if missing), or revokes it.
    pub fn set_group_permission(&self, group: &str, permission: Option<Permission>) {
        self.change(|world| {
            world.add_group(group);
            match permission {
                Some(permission) => world.group_permissions.insert(fold(group), permission),
                None => world.group_permissions.remove(&fold(group)),
            }
        });
    }

    /// Grants a global permission to a user, or revokes it.
    pub fn set_user_permission(&self, name: &str, permission: Option<Permission>) {
        self.change(|world| {
            let Some(id) = world.identities.id_of(name) else { return };
            match permission {
                Some(permission) => world.user_permissions.insert(id, permission),
                None => world.user_permissions.remove(&id),
            };
        });
    }

    /// Sets the group that new accounts are added to; `None`: no group.
    pub fn set_default_group(&self, group: Option<&str>) {
        self.change(|world| world.default_group = group.map(str::to_owned));
    }

    /// Limits the seats of the licence; `None`: unlimited.
    pub fn set_seats(&self, seats: Option<usize>) {
        self.change(|world| world.seats = seats);
    }

    /// Sets the password and the HTTP access token of an account.
    pub fn set_credentials(&self, name: &str, password: &str, token: &str) {
        let mut credentials = self.bitbucket.credentials.write();
        credentials.passwords.insert(fold(name), password.to_owned());
        credentials.tokens.insert(token.to_owned(), fold(name));
    }

    /// Adds an OAuth 2.0 access token for an account, with the scope of system administration.
    pub fn add_access_token(&self, name: &str, token: &str) {
        let mut credentials = self.bitbucket.credentials.write();
        credentials.access_tokens.insert(token.to_owned(), fold(name));
    }

    /// Refuses all credentials with 401, or accepts valid ones again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.set(|switches| switches.bad_credentials = refuse);
    }

    /// Answers Basic logins with a CAPTCHA challenge.
    pub fn set_captcha(&self, captcha: bool) {
        self.set(|switches| switches.captcha = captcha);
    }

    /// Accepts or refuses Basic credentials.
    pub fn set_basic_allowed(&self, allowed: bool) {
        self.set(|switches| switches.basic_allowed = allowed);
    }

    /// Names the authenticated user in a header of each answer, or not.
    pub fn set_names_caller(&self, on: bool) {
        self.set(|switches| switches.names_caller = on);
    }

    /// Sets the maximum number of entries on a page.
    pub fn set_page_cap(&self, cap: usize) {
        self.set(|switches| switches.page_cap = cap.max(1));
    }

    /// Makes filtered pages hold fewer entries than fit, although more follow.
    pub fn set_sparse(&self, on: bool) {
        self.set(|switches| switches.sparse = on);
    }

    /// Answers the members of a missing group or user with 404 instead of an empty page.
    pub fn set_unknown_is_404(&self, on: bool) {
        self.set(|switches| switches.unknown_is_404 = on);
    }

    /// Refuses to add a member twice (409), and to remove a user that is not a member (404).
    pub fn set_strict_members(&self, on: bool) {
        self.set(|switches| switches.strict_members = on);
    }

    /// Sets the status that refuses a rename to a taken login.
    pub fn set_clash(&self, status: u16) {
        self.set(|switches| switches.clash = status);
    }

    /// Stores logins in lower case, or case-preserving.
    pub fn set_lower_logins(&self, on: bool) {
        self.set(|switches| switches.lower_logins = on);
    }

    /// Changes the server id, as another server at the same address would.
    pub fn set_server_id(&self, id: &str) {
        id.clone_into(&mut self.bitbucket.server_id.write());
    }

    /// Returns the server id.
    pub fn server_id(&self) -> String {
        self.bitbucket.server_id.read().clone()
    }

    /// Saves the current state for [`Stale::Frozen`](crate::fault::Stale::Frozen) reads.
    pub fn freeze(&self) {
        self.bitbucket.versions.freeze();
    }

    /// Returns the current users and groups.
    pub fn snapshot(&self) -> BitbucketSnapshot {
        self.bitbucket.versions.read(None, |world| {
            let accounts = world.identities.accounts().map(|account| {
                let state = AccountState {
                    id: account.id.to_string(),
                    name: account.name.clone(),
                    display_name: account.display_name.clone(),
                    email: account.email.clone(),
                    active: account.active,
                    licensed: world.level(account).is_some(),
                    permission: world.user_permissions.get(&account.id).copied(),
                    groups: world.identities.group_names(&account.groups),
                };
                (state.id.clone(), state)
            });
            BitbucketSnapshot { accounts: accounts.collect(), groups: world.identities.memberships() }
        })
    }
}

fn seed(world: &mut World, directory: usize, account: &NewAccount) -> String {
    let known = world.identities.id_of(&account.name);
    let id = known.unwrap_or_else(|| world.add(&account.name, &account.display_name, &account.email, directory));
    for group in &account.groups {
        world.add_group(group);
        world.identities.add_member(&id, group);
    }
    id.to_string()
}
