//! The simulated Confluence as tests control it: seeds, drift, switches and the current state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::ConfluenceOptions;
use super::instance::Confluence;
use super::state::{AccountData, World};
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
    /// The login; stored in lower case.
    pub name: String,
    /// The full name.
    pub full_name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether it is inactive.
    pub inactive: bool,
    /// Groups of the account; missing groups are created.
    pub groups: Vec<String>,
}

impl NewAccount {
    /// Returns an active account `name`; full name and address are derived from it.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { full_name: format!("{name} Example"), email: format!("{name}@example.org"), name, ..Self::default() }
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
pub struct AccountState {
    /// The stable key.
    pub key: String,
    /// The login.
    pub name: String,
    /// The full name.
    pub full_name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether it is active.
    pub active: bool,
    /// Groups of the account.
    pub groups: BTreeSet<String>,
}

/// Users and groups of a Confluence at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfluenceSnapshot {
    /// Accounts by key.
    pub accounts: BTreeMap<String, AccountState>,
    /// Names of members by group name.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl ConfluenceSnapshot {
    /// Returns the account with this login.
    pub fn account(&self, name: &str) -> Option<&AccountState> {
        let name = fold(name);
        self.accounts.values().find(|account| account.name == name)
    }
}

/// A running simulated Confluence; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedConfluence {
    server: Server,
    confluence: Arc<Confluence>,
    token: String,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
}

impl Holds for SimulatedConfluence {
    fn held(&self) -> Held {
        let snapshot = self.snapshot();
        let accounts = snapshot.accounts.into_values().map(|account| {
            (
                account.name,
                HeldAccount { display_name: account.full_name, email: account.email, active: account.active },
            )
        });
        Held::of("Confluence", accounts, &snapshot.groups).brings(&["confluence-administrators", "confluence-users"])
    }
}

impl SimulatedConfluence {
    /// Starts a Confluence on a loopback port, with an administrator, the groups `confluence-administrators` and
    /// `confluence-users`, and an unlimited licence.
    pub async fn start(options: ConfluenceOptions) -> io::Result<Self> {
        let confluence = Arc::new(Confluence::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&confluence), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, confluence, token: options.token, faults, journal })
    }

    /// Returns the URL with the base path, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.confluence.base_path)
    }

    /// Returns the first administrator's personal access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }

    fn change<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        self.confluence.versions.change(work)
    }

    fn set(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.confluence.switches.write());
    }

    fn account(&self, name: &str, work: impl FnOnce(&mut AccountData)) {
        self.change(|world| world.account_mut(name).map(work));
    }

    /// Seeds an account; returns its key. An account that exists only gets the groups.
    pub fn add_account(&self, account: NewAccount) -> String {
        self.add_accounts([account]).pop().unwrap_or_default()
    }

    /// Seeds accounts in one change; returns their keys.
    pub fn add_accounts(&self, accounts: impl IntoIterator<Item = NewAccount>) -> Vec<String> {
        self.change(|world| accounts.into_iter().map(|account| seed(world, &account)).collect())
    }

    /// Seeds a group; false if it exists.
    pub fn add_group(&self, name: &str) -> bool {
        self.change(|world| world.add_group(name))
    }

    /// Drift: deletes a group.
    pub fn remove_group(&self, name: &str) {
        self.change(|world| world.identities.remove_group(name));
    }

    /// Makes the members of a group administrators, or revokes that.
    pub fn set_admin_group(&self, name: &str, on: bool) {
        self.change(|world| {
            world.add_group(name);
            if let Some(group) = world.identities.group_mut(name) {
                group.administers = on;
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

    /// Drift: deletes an account.
    pub fn remove_account(&self, name: &str) {
        self.change(|world| {
            if let Some(key) = world.identities.id_of(name) {
                world.identities.remove(&key);
            }
        });
    }

    /// Drift: renames an account, as an administrator can in the Confluence user interface.
    pub fn rename_account(&self, from: &str, to: &str) {
        self.change(|world| {
            if let Some(key) = world.identities.id_of(from) {
                world.identities.rename(&key, fold(to));
            }
        });
    }

    /// Drift: activates or deactivates an account.
    pub fn set_active(&self, name: &str, active: bool) {
        self.account(name, |account| account.active = active);
    }

    /// Drift: changes an account's full name.
    pub fn set_full_name(&self, name: &str, full_name: &str) {
        self.account(name, |account| full_name.clone_into(&mut account.full_name));
    }

    /// Limits the seats; `None`: unlimited.
    pub fn set_seats(&self, seats: Option<usize>) {
        self.change(|world| world.seats = seats);
    }

    /// Sets the password and the personal access token of an account.
    pub fn set_credentials(&self, name: &str, password: &str, token: &str) {
        let mut credentials = self.confluence.credentials.write();
        credentials.passwords.insert(fold(name), password.to_owned());
        credentials.tokens.insert(token.to_owned(), fold(name));
    }

    /// Refuses all credentials with 401, or accepts valid ones again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.set(|switches| switches.bad_credentials = refuse);
    }

    /// Refuses all credentials and answers as to an anonymous caller.
    pub fn refuse_credentials_silently(&self, refuse: bool) {
        self.set(|switches| {
            switches.bad_credentials = refuse;
            switches.refused_as_anonymous = refuse;
        });
    }

    /// Answers Basic logins with a CAPTCHA challenge.
    pub fn set_captcha(&self, captcha: bool) {
        self.set(|switches| switches.captcha = captcha);
    }

    /// Turns the remote API (JSON-RPC) on or off; `refusals` is the HTTP status of its refusals.
    pub fn set_remote_api(&self, on: bool, refusals: u16) {
        self.set(|switches| (switches.remote_api, switches.rpc_refusal) = (on, refusals));
    }

    /// Turns secure administrator sessions on or off; while on, administrator changes over RPC are refused.
    pub fn set_secure_sessions(&self, on: bool) {
        self.set(|switches| switches.websudo = on);
    }

    /// Makes the user directory read-only or writable.
    pub fn set_read_only(&self, read_only: bool) {
        self.set(|switches| switches.read_only = read_only);
    }

    /// Sets the maximum number of entries on a page.
    pub fn set_page_cap(&self, cap: usize) {
        self.set(|switches| switches.page_cap = cap.max(1));
    }

    /// Includes the total count in pages, or not.
    pub fn set_total_count(&self, reported: bool) {
        self.set(|switches| switches.total_count = reported);
    }

    /// Sets how many requests of any kind pass before a deletion is done. `fails` is the message of a deletion that
    /// fails.
    pub fn set_deletion(&self, requests: u32, fails: Option<&str>) {
        self.set(|switches| {
            switches.deletion_requests = requests.max(1);
            switches.deletion_fails = fails.map(str::to_owned);
        });
    }

    /// Requires full name and e-mail address in an update, or accepts one of them.
    pub fn set_update_wants_both(&self, both: bool) {
        self.set(|switches| switches.update_wants_both = both);
    }

    /// Honours `expand=status`, or ignores it.
    pub fn set_tells_status(&self, reported: bool) {
        self.set(|switches| switches.returns_status = reported);
    }

    /// Sets how groups are created: `lower` folds upper-case letters, else they are refused; `status` is the status of
    /// the answer.
    pub fn set_new_groups(&self, lower: bool, status: u16) {
        self.set(|switches| (switches.fold_groups, switches.group_created) = (lower, status));
    }

    /// Sets the answer for a missing group: the status, and whether its members are an empty list with 200.
    pub fn set_absent_groups(&self, status: u16, members_empty: bool) {
        self.set(|switches| (switches.no_group, switches.no_group_is_empty) = (status, members_empty));
    }

    /// Makes `disable` and `enable` report success and change nothing.
    pub fn set_idle_activity(&self, idle: bool) {
        self.set(|switches| switches.idle_activity = idle);
    }

    /// Answers OPTIONS with the methods of a resource, or not.
    pub fn set_tells_options(&self, reported: bool) {
        self.set(|switches| switches.answers_options = reported);
    }

    /// Makes the application link manifest public, or unavailable.
    pub fn set_manifest_open(&self, open: bool) {
        self.set(|switches| switches.manifest_open = open);
    }

    /// Changes the server id, as another server at the same address would.
    pub fn set_server_id(&self, id: &str) {
        id.clone_into(&mut self.confluence.server_id.write());
    }

    /// Returns the server id.
    pub fn server_id(&self) -> String {
        self.confluence.server_id.read().clone()
    }

    /// Saves the current state for [`Stale::Frozen`](crate::fault::Stale::Frozen) reads.
    pub fn freeze(&self) {
        self.confluence.versions.freeze();
    }

    /// Returns the current users and groups.
    pub fn snapshot(&self) -> ConfluenceSnapshot {
        self.confluence.versions.read(None, |world| {
            let accounts = world.identities.accounts().map(|account| {
                let state = AccountState {
                    key: account.id.to_string(),
                    name: account.name.clone(),
                    full_name: account.full_name.clone(),
                    email: account.email.clone(),
                    active: account.active,
                    groups: world.identities.group_names(&account.groups),
                };
                (state.key.clone(), state)
            });
            ConfluenceSnapshot { accounts: accounts.collect(), groups: world.identities.memberships() }
        })
    }
}

fn seed(world: &mut World, account: &NewAccount) -> String {
    let known = world.identities.id_of(&account.name);
    let key = known.unwrap_or_else(|| world.add(&account.name, &account.full_name, &account.email, !account.inactive));
    for group in &account.groups {
        world.add_group(group);
        world.identities.add_member(&key, group);
    }
    key.to_string()
}
