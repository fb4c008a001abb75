//! The Rust side of a Jira: seeds, changes behind everybody's back, switches and a look at the bare state.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};

use super::SimulatedJira;
use super::auth::Bucket;
use super::state::{Account, Application, Directory, Profile, World, fold};
use super::switches::{RateLimit, ShownGroups, Switches};
use crate::agree::{Held, HeldAccount, Holds};

/// An account to be seeded.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The login; stored in lower case.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Not active.
    pub inactive: bool,
    /// Groups to be in; made if they are missing.
    pub groups: Vec<String>,
}

impl NewAccount {
    /// An active account `name` with a display name and an address made from it.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { display_name: format!("{name} Example"), email: format!("{name}@example.org"), name, ..Self::default() }
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
pub struct AccountState {
    /// The stable key.
    pub key: String,
    /// The login.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Active.
    pub active: bool,
    /// The name of the directory that counts.
    pub directory: String,
    /// The groups that it is in.
    pub groups: BTreeSet<String>,
}

/// A Jira's users and groups as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JiraSnapshot {
    /// Accounts by key; deleted ones are not among them.
    pub accounts: BTreeMap<String, AccountState>,
    /// Names of members by name of group.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl JiraSnapshot {
    /// The account with this login.
    pub fn account(&self, name: &str) -> Option<&AccountState> {
        let name = fold(name);
        self.accounts.values().find(|account| account.name == name)
    }
}

impl Holds for SimulatedJira {
    fn held(&self) -> Held {
        let snapshot = self.snapshot();
        let accounts = snapshot.accounts.into_values().map(|account| {
            let held = HeldAccount { display_name: account.display_name, email: account.email, active: account.active };
            (account.name, held)
        });
        Held::of("Jira", accounts, &snapshot.groups).brings(&["jira-administrators", "jira-software-users"])
    }
}

impl SimulatedJira {
    fn change<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        let Ok(result) = self.jira.versions.write(|world| Ok::<R, Infallible>(work(world)));
        result
    }

    fn set(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.jira.switches.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Seeds an account into the first writable directory; gives its key. One that is there already only gets the groups.
    pub fn add_account(&self, account: NewAccount) -> String {
        self.add_accounts([account]).pop().unwrap_or_default()
    }

    /// Seeds many accounts at once; gives their keys.
    pub fn add_accounts(&self, accounts: impl IntoIterator<Item = NewAccount>) -> Vec<String> {
        self.change(|world| {
            let directory = world.writable().unwrap_or(0);
            accounts.into_iter().map(|account| seed(world, directory, account)).collect()
        })
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
            let key = world.named(name).map(|account| Arc::clone(&account.key));
            key.is_some_and(|key| world.join(&key, group))
        })
    }

    /// Drift: takes an account out of a group; false where it was not in it.
    pub fn remove_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| {
            let key = world.named(name).map(|account| Arc::clone(&account.key));
            key.is_some_and(|key| world.leave(&key, group))
        })
    }

    /// Drift: takes an account away; what another directory has of the name comes to light.
    pub fn remove_account(&self, name: &str) {
        self.change(|world| {
            if let Some(key) = world.named(name).map(|account| Arc::clone(&account.key)) {
                world.remove(&key);
            }
        });
    }

    /// Drift: gives an account another name.
    pub fn rename_account(&self, from: &str, to: &str) {
        self.change(|world| {
            if let Some(key) = world.named(from).map(|account| Arc::clone(&account.key)) {
                world.rename(&key, to);
            }
        });
    }

    /// Drift: activates or deactivates an account.
    pub fn set_active(&self, name: &str, active: bool) {
        self.profile(name, |profile| profile.active = active);
    }

    /// Drift: changes an account's display name.
    pub fn set_display_name(&self, name: &str, display_name: &str) {
        self.profile(name, |profile| {
            display_name.clone_into(&mut profile.display_name);
        });
    }

    /// Drift: changes an account's e-mail address.
    pub fn set_email(&self, name: &str, email: &str) {
        self.profile(name, |profile| email.clone_into(&mut profile.email));
    }

    fn profile(&self, name: &str, work: impl FnOnce(&mut Profile)) {
        self.account(name, |account| {
            if let Some(profile) = account.profiles.first_mut() {
                work(profile);
            }
        });
    }

    fn account(&self, name: &str, work: impl FnOnce(&mut Account)) {
        self.change(|world| {
            let key = world.named(name).map(|account| Arc::clone(&account.key));
            if let Some(account) = key.and_then(|key| world.account_mut(&key)) {
                work(account);
            }
        });
    }

    /// The account has reported issues or comments: it cannot be deleted.
    pub fn set_content(&self, name: &str, content: bool) {
        self.account(name, |account| account.content = content);
    }

    /// Signs an account in with a browser, which opens a session.
    pub fn open_session(&self, name: &str) {
        self.account(name, |account| account.sessions += 1);
    }

    /// How many sessions an account has open.
    pub fn sessions(&self, name: &str) -> usize {
        self.jira.versions.read(None, |world| world.named(name).map_or(0, |account| account.sessions))
    }

    /// The account leads a project: it cannot be deactivated.
    pub fn set_lead(&self, name: &str, lead: bool) {
        self.account(name, |account| account.lead = lead);
    }

    /// The group is used in restrictions: it cannot be deleted without another one in its place.
    pub fn set_group_in_use(&self, name: &str, in_use: bool) {
        self.change(|world| {
            if let Some(group) = world.groups.get_mut(&fold(name)) {
                Arc::make_mut(group).in_use = in_use;
            }
        });
    }

    /// The group comes from a read-only directory.
    pub fn set_group_read_only(&self, name: &str, read_only: bool) {
        self.change(|world| {
            if let Some(group) = world.groups.get_mut(&fold(name)) {
                Arc::make_mut(group).read_only = read_only;
            }
        });
    }

    /// Makes the first directory read-only, or writable.
    pub fn set_read_only(&self, read_only: bool) {
        self.change(|world| {
            if let Some(directory) = world.directories.first_mut() {
                directory.read_only = read_only;
            }
        });
    }

    /// Adds a directory after the others; gives its number.
    pub fn add_directory(&self, name: &str, read_only: bool) -> usize {
        self.change(|world| {
            world.directories.push(Directory { name: name.into(), read_only });
            world.directories.len() - 1
        })
    }

    /// Seeds an account into a certain directory. Where the name is known in an earlier directory, that one shadows
    /// it; where in a later one, it shadows that.
    pub fn add_account_in(&self, directory: usize, account: NewAccount) -> String {
        self.change(|world| seed(world, directory, account))
    }

    /// Adds or replaces an application: its licensed groups (made if missing; the first is the default one) and seats.
    pub fn set_application(&self, key: &str, groups: &[&str], seats: Option<usize>, selected_by_default: bool) {
        self.change(|world| {
            for group in groups {
                world.add_group(group);
            }
            world.applications.retain(|application| application.key != key);
            world.applications.push(Application {
                key: key.into(),
                name: key.into(),
                groups: groups.iter().map(|group| fold(group)).collect(),
                default_groups: groups.iter().take(1).map(|group| fold(group)).collect(),
                seats,
                selected_by_default,
            });
        });
    }

    /// Limits the seats of an application; `None` for unlimited.
    pub fn set_seats(&self, application: &str, seats: Option<usize>) {
        self.change(|world| {
            if let Some(found) = world.applications.iter_mut().find(|one| one.key == application) {
                found.seats = seats;
            }
        });
    }

    /// Makes a group's members administrators, or no longer; `system` for system administrators, whom only their like
    /// may change.
    pub fn set_admin_group(&self, name: &str, on: bool, system: bool) {
        self.change(|world| {
            world.add_group(name);
            let set = if system { &mut world.sysadmin_groups } else { &mut world.admin_groups };
            if on {
                set.insert(fold(name));
            } else {
                set.remove(&fold(name));
            }
        });
    }

    /// Gives an account a password and a personal access token.
    pub fn set_credentials(&self, name: &str, password: &str, token: &str) {
        let mut credentials = self.jira.credentials.write().unwrap_or_else(PoisonError::into_inner);
        credentials.passwords.insert(fold(name), password.to_owned());
        credentials.tokens.insert(token.to_owned(), fold(name));
    }

    /// Ends a personal access token.
    pub fn revoke_token(&self, token: &str) {
        self.jira.credentials.write().unwrap_or_else(PoisonError::into_inner).tokens.remove(token);
    }

    /// Refuses all credentials with 401, or accepts the right ones again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.set(|switches| switches.bad_credentials = refuse);
    }

    /// Refuses all credentials and answers as if there were none: 200 with empty lists where anybody may look, and
    /// `X-Seraph-LoginReason: AUTHENTICATED_FAILED`.
    pub fn refuse_credentials_silently(&self, refuse: bool) {
        self.set(|switches| {
            switches.bad_credentials = refuse;
            switches.refused_as_anonymous = refuse;
        });
    }

    /// Meets Basic logins with a CAPTCHA.
    pub fn set_captcha(&self, captcha: bool) {
        self.set(|switches| switches.captcha = captcha);
    }

    /// Accepts Basic credentials, or not.
    pub fn set_basic_allowed(&self, allowed: bool) {
        self.set(|switches| switches.basic_allowed = allowed);
    }

    /// Users are managed elsewhere: creating is refused.
    pub fn set_external_management(&self, on: bool) {
        self.set(|switches| switches.external_management = on);
    }

    /// `user/list` shows inactive accounts, or not.
    pub fn set_list_inactive(&self, on: bool) {
        self.set(|switches| switches.list_inactive = on);
    }

    /// New groups are stored in lower case, or as given.
    pub fn set_fold_groups(&self, on: bool) {
        self.set(|switches| switches.fold_groups = on);
    }

    /// How many results `user/search` gives: at most in one page, or (`total`) at most of all.
    pub fn set_search_cap(&self, cap: usize, total: bool) {
        self.set(|switches| {
            switches.search_cap = cap;
            switches.search_cap_is_total = total;
        });
    }

    /// What an account's own bean shows of its groups.
    pub fn set_shown_groups(&self, shown: ShownGroups) {
        self.set(|switches| switches.shown_groups = shown);
    }

    /// The global permission "Browse users and groups" is everybody's or nobody's: without it the group picker and the search
    /// for users find nothing ("Unable to browse for users and groups", Jira knowledge base).
    pub fn set_browse_users(&self, on: bool) {
        self.set(|switches| switches.browse_users = on);
    }

    /// How many groups a group picker shows at most (Jira's property `jira.ajax.autocomplete.limit`).
    pub fn set_picker_cap(&self, cap: usize) {
        self.set(|switches| switches.picker_cap = cap);
    }

    /// How many accounts a page of `user/list` holds at most.
    pub fn set_list_cap(&self, cap: usize) {
        self.set(|switches| switches.list_cap = cap.max(1));
    }

    /// Limits the rate, or no longer; the bucket starts full.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        *self.jira.bucket.lock().unwrap_or_else(PoisonError::into_inner) = limit.map(Bucket::new);
    }

    /// Another server at the same address: another server id and title.
    pub fn set_identity(&self, server_id: &str, title: &str) {
        let mut identity = self.jira.identity.write().unwrap_or_else(PoisonError::into_inner);
        (identity.server_id, identity.title) = (server_id.into(), title.into());
    }

    /// The base URL that it reports, as an administrator sets it in the general configuration.
    pub fn set_base_url(&self, base_url: &str) {
        self.jira.identity.write().unwrap_or_else(PoisonError::into_inner).base_url = Some(base_url.into());
    }

    /// The server id.
    pub fn server_id(&self) -> String {
        self.jira.identity.read().unwrap_or_else(PoisonError::into_inner).server_id.clone()
    }

    /// Keeps the present state for reads from [`Stale::Frozen`](crate::fault::Stale::Frozen).
    pub fn freeze(&self) {
        self.jira.versions.freeze();
    }

    /// Users and groups as they are now.
    pub fn snapshot(&self) -> JiraSnapshot {
        self.jira.versions.read(None, |world| {
            let name_of =
                |group: &String| world.groups.get(group).map_or_else(|| group.clone(), |one| one.name.clone());
            let accounts = world.accounts.values().filter(|account| !account.deleted).map(|account| {
                let profile = account.profile();
                let directory = profile.and_then(|profile| world.directories.get(profile.directory));
                let state = AccountState {
                    key: account.key.to_string(),
                    name: account.name.clone(),
                    display_name: profile.map(|profile| profile.display_name.clone()).unwrap_or_default(),
                    email: profile.map(|profile| profile.email.clone()).unwrap_or_default(),
                    active: account.active(),
                    directory: directory.map(|directory| directory.name.clone()).unwrap_or_default(),
                    groups: account.groups.iter().map(name_of).collect(),
                };
                (state.key.clone(), state)
            });
            let groups = world.groups.values().map(|group| {
                let members = group.members.ids().iter().filter_map(|key| world.accounts.get(key));
                (group.name.clone(), members.map(|account| account.name.clone()).collect())
            });
            JiraSnapshot { accounts: accounts.collect(), groups: groups.collect() }
        })
    }
}

/// Seeds an account into a directory: a name that the directory knows only gets the groups, one that another directory
/// knows gets one more profile.
fn seed(world: &mut World, directory: usize, account: NewAccount) -> String {
    let active = !account.inactive;
    let profile = Profile { directory, display_name: account.display_name, email: account.email, active };
    let known = world.named(&account.name).map(|known| Arc::clone(&known.key));
    let key = match known {
        Some(key) => {
            if let Some(account) = world.account_mut(&key)
                && account.profiles.iter().all(|profile| profile.directory != directory)
            {
                account.profiles.push(profile);
                account.profiles.sort_by_key(|profile| profile.directory);
            }
            key
        }
        None => world.add(&account.name, profile),
    };
    for group in &account.groups {
        world.add_group(group);
        world.join(&key, group);
    }
    key.to_string()
}
