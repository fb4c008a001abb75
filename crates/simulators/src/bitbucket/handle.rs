//! The Rust side of a Bitbucket: seeds, changes behind everybody's back, switches and a look at the bare state.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};

use super::SimulatedBitbucket;
use super::state::{Account, Directory, Permission, World, fold};
use super::switches::Switches;
use crate::agree::{Held, HeldAccount, Holds};

/// An account to be seeded.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The login.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Groups to be in; made if they are missing.
    pub groups: Vec<String>,
}

impl NewAccount {
    /// An account `name` in no group, with a display name and an address made from it.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { display_name: format!("{name} Example"), email: format!("{name}@example.org"), name, groups: Vec::new() }
    }

    /// The same in these groups.
    #[must_use]
    pub fn in_groups(mut self, groups: &[&str]) -> Self {
        self.groups = groups.iter().map(|&group| group.to_owned()).collect();
        self
    }
}

/// An account as it is.
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
    /// What its directory says.
    pub active: bool,
    /// Whether it has a global permission, by a group or by itself.
    pub licensed: bool,
    /// The permission that it has itself.
    pub permission: Option<Permission>,
    /// The groups that it is in.
    pub groups: BTreeSet<String>,
}

/// A Bitbucket's users and groups as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitbucketSnapshot {
    /// Accounts by id.
    pub accounts: BTreeMap<String, AccountState>,
    /// Names of members by name of group.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl BitbucketSnapshot {
    /// The account with this login.
    pub fn account(&self, name: &str) -> Option<&AccountState> {
        self.accounts.values().find(|account| fold(&account.name) == fold(name))
    }
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
    fn change<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        let Ok(result) = self.bitbucket.versions.write(|world| Ok::<R, Infallible>(work(world)));
        result
    }

    fn set(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.bitbucket.switches.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn account(&self, name: &str, work: impl FnOnce(&mut Account)) {
        self.change(|world| {
            let id = world.named(name).map(|account| Arc::clone(&account.id));
            if let Some(account) = id.and_then(|id| world.account_mut(&id)) {
                work(account);
            }
        });
    }

    /// Seeds an account into the internal directory; gives its id. One that is there already only gets the groups.
    pub fn add_account(&self, account: NewAccount) -> String {
        self.add_accounts([account]).pop().unwrap_or_default()
    }

    /// Seeds many accounts at once; gives their ids.
    pub fn add_accounts(&self, accounts: impl IntoIterator<Item = NewAccount>) -> Vec<String> {
        self.change(|world| accounts.into_iter().map(|account| seed(world, 0, &account)).collect())
    }

    /// Seeds an account into another directory.
    pub fn add_account_in(&self, directory: usize, account: &NewAccount) -> String {
        self.change(|world| seed(world, directory, account))
    }

    /// Adds a directory; gives its number. `details`: its users cannot be changed from here; `groups`: nor their groups.
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

    /// Switches the internal directory off or on.
    pub fn set_directory_active(&self, active: bool) {
        self.change(|world| world.directories.iter_mut().take(1).for_each(|directory| directory.active = active));
    }

    /// Seeds a group; false where there was one.
    pub fn add_group(&self, name: &str) -> bool {
        self.change(|world| world.add_group(name))
    }

    /// Drift: takes a group away.
    pub fn remove_group(&self, name: &str) {
        self.change(|world| world.remove_group(name));
    }

    /// Drift: puts an account into a group; false where it was in it, or one of them is missing.
    pub fn add_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| {
            let id = world.named(name).map(|account| Arc::clone(&account.id));
            id.is_some_and(|id| world.join(&id, group))
        })
    }

    /// Drift: takes an account out of a group; false where it was not in it.
    pub fn remove_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| {
            let id = world.named(name).map(|account| Arc::clone(&account.id));
            id.is_some_and(|id| world.leave(&id, group))
        })
    }

    /// Drift: takes an account away.
    pub fn remove_account(&self, name: &str) {
        self.change(|world| {
            if let Some(id) = world.named(name).map(|account| Arc::clone(&account.id)) {
                world.remove(&id);
            }
        });
    }

    /// Drift: gives an account another name.
    pub fn rename_account(&self, from: &str, to: &str) {
        self.change(|world| {
            if let Some(id) = world.named(from).map(|account| Arc::clone(&account.id)) {
                world.rename(&id, to);
            }
        });
    }

    /// What an account's directory says of it, as one that is kept elsewhere may.
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

    /// Makes an account a service user, or a person's.
    pub fn set_service(&self, name: &str, service: bool) {
        self.account(name, |account| account.service = service);
    }

    /// Gives a group (made if missing) a global permission, or takes it away.
    pub fn set_group_permission(&self, group: &str, permission: Option<Permission>) {
        self.change(|world| {
            world.add_group(group);
            match permission {
                Some(permission) => world.group_permissions.insert(fold(group), permission),
                None => world.group_permissions.remove(&fold(group)),
            }
        });
    }

    /// Gives a user a global permission of its own, or takes it away.
    pub fn set_user_permission(&self, name: &str, permission: Option<Permission>) {
        self.change(|world| {
            let Some(id) = world.named(name).map(|account| Arc::clone(&account.id)) else { return };
            match permission {
                Some(permission) => world.user_permissions.insert(id, permission),
                None => world.user_permissions.remove(&id),
            };
        });
    }

    /// The group that new accounts are put into, if any.
    pub fn set_default_group(&self, group: Option<&str>) {
        self.change(|world| world.default_group = group.map(str::to_owned));
    }

    /// Limits the seats of the licence; `None` for unlimited.
    pub fn set_seats(&self, seats: Option<usize>) {
        self.change(|world| world.seats = seats);
    }

    /// Gives an account a password and an HTTP access token.
    pub fn set_credentials(&self, name: &str, password: &str, token: &str) {
        let mut credentials = self.bitbucket.credentials.write().unwrap_or_else(PoisonError::into_inner);
        credentials.passwords.insert(fold(name), password.to_owned());
        credentials.tokens.insert(token.to_owned(), fold(name));
    }

    /// Gives an account an access token of OAuth 2.0, with the scope of system administration.
    pub fn add_access_token(&self, name: &str, token: &str) {
        let mut credentials = self.bitbucket.credentials.write().unwrap_or_else(PoisonError::into_inner);
        credentials.access_tokens.insert(token.to_owned(), fold(name));
    }

    /// Refuses all credentials with 401, or accepts the right ones again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.set(|switches| switches.bad_credentials = refuse);
    }

    /// Meets Basic logins with a CAPTCHA.
    pub fn set_captcha(&self, captcha: bool) {
        self.set(|switches| switches.captcha = captcha);
    }

    /// Accepts Basic credentials, or not.
    pub fn set_basic_allowed(&self, allowed: bool) {
        self.set(|switches| switches.basic_allowed = allowed);
    }

    /// Tells beside each answer whom it is for, or not.
    pub fn set_names_caller(&self, on: bool) {
        self.set(|switches| switches.names_caller = on);
    }

    /// How many entries a page holds at most.
    pub fn set_page_cap(&self, cap: usize) {
        self.set(|switches| switches.page_cap = cap.max(1));
    }

    /// Has pages with a filter hold fewer than they could, with more to come all the same.
    pub fn set_sparse(&self, on: bool) {
        self.set(|switches| switches.sparse = on);
    }

    /// Answers members of what is not there with 404 instead of an empty page.
    pub fn set_unknown_is_404(&self, on: bool) {
        self.set(|switches| switches.unknown_is_404 = on);
    }

    /// Refuses to add members twice (409), and to remove who is none (404).
    pub fn set_strict_members(&self, on: bool) {
        self.set(|switches| switches.strict_members = on);
    }

    /// The status by which a rename to a taken login is refused.
    pub fn set_clash(&self, status: u16) {
        self.set(|switches| switches.clash = status);
    }

    /// Keeps logins in lower case, or as given.
    pub fn set_lower_logins(&self, on: bool) {
        self.set(|switches| switches.lower_logins = on);
    }

    /// Another server at the same address.
    pub fn set_server_id(&self, id: &str) {
        id.clone_into(&mut self.bitbucket.server_id.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The server's id.
    pub fn server_id(&self) -> String {
        self.bitbucket.server_id.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the present state for reads from [`Stale::Frozen`](crate::fault::Stale::Frozen).
    pub fn freeze(&self) {
        self.bitbucket.versions.freeze();
    }

    /// Users and groups as they are now.
    pub fn snapshot(&self) -> BitbucketSnapshot {
        self.bitbucket.versions.read(None, |world| {
            let name_of =
                |group: &String| world.groups.get(group).map_or_else(|| group.clone(), |one| one.name.clone());
            let accounts = world.accounts.values().map(|account| {
                let state = AccountState {
                    id: account.id.to_string(),
                    name: account.name.clone(),
                    display_name: account.display_name.clone(),
                    email: account.email.clone(),
                    active: account.active,
                    licensed: world.level(account).is_some(),
                    permission: world.user_permissions.get(&account.id).copied(),
                    groups: account.groups.iter().map(name_of).collect(),
                };
                (state.id.clone(), state)
            });
            let groups = world.groups.values().map(|group| {
                let members = group.members.ids().iter().filter_map(|id| world.accounts.get(id));
                (group.name.clone(), members.map(|account| account.name.clone()).collect())
            });
            BitbucketSnapshot { accounts: accounts.collect(), groups: groups.collect() }
        })
    }
}

fn seed(world: &mut World, directory: usize, account: &NewAccount) -> String {
    let known = world.named(&account.name).map(|known| Arc::clone(&known.id));
    let id = known.unwrap_or_else(|| world.add(&account.name, &account.display_name, &account.email, directory));
    for group in &account.groups {
        world.add_group(group);
        world.join(&id, group);
    }
    id.to_string()
}
