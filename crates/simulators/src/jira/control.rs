//! The simulated Jira as tests control it: seeds, drift, switches and the current state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::JiraOptions;
use super::auth::Bucket;
use super::instance::Jira;
use super::state::{AccountData, Application, Component, Directory, GroupData, Profile, Project, World};
use super::switches::{RateLimit, ShownGroups, Switches};
use crate::agree::{Held, HeldAccount, Holds};
use crate::fault::Faults;
use crate::front;
use crate::identities::fold;
use crate::journal::Journal;
use crate::roster::Id;
use crate::server::Server;

/// An account to seed.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The login; stored in lower case.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether it is inactive.
    pub inactive: bool,
    /// Groups of the account; missing groups are created.
    pub groups: Vec<String>,
}

impl NewAccount {
    /// Returns an active account `name`; display name and address are derived from it.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { display_name: format!("{name} Example"), email: format!("{name}@example.org"), name, ..Self::default() }
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
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether it is active.
    pub active: bool,
    /// Name of the directory that takes precedence.
    pub directory: String,
    /// Groups of the account.
    pub groups: BTreeSet<String>,
}

/// Users and groups of a Jira at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JiraSnapshot {
    /// Accounts by key, without deleted ones.
    pub accounts: BTreeMap<String, AccountState>,
    /// Names of members by group name.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl JiraSnapshot {
    /// Returns the account with this login.
    pub fn account(&self, name: &str) -> Option<&AccountState> {
        let name = fold(name);
        self.accounts.values().find(|account| account.name == name)
    }
}

/// A running simulated Jira; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedJira {
    server: Server,
    jira: Arc<Jira>,
    token: String,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
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
    /// Starts a Jira on a loopback port, with an administrator, the groups `jira-administrators` and
    /// `jira-software-users`, and an unlimited licence.
    pub async fn start(options: JiraOptions) -> io::Result<Self> {
        let jira = Arc::new(Jira::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&jira), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, jira, token: options.token, faults, journal })
    }

    /// Returns the URL with the base path, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.jira.base_path)
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
        self.jira.versions.change(work)
    }

    fn set(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.jira.switches.write());
    }

    /// Seeds an account into the first writable directory; returns its key. An account that exists only gets the
    /// groups.
    pub fn add_account(&self, account: NewAccount) -> String {
        self.add_accounts([account]).pop().unwrap_or_default()
    }

    /// Seeds accounts in one change; returns their keys.
    pub fn add_accounts(&self, accounts: impl IntoIterator<Item = NewAccount>) -> Vec<String> {
        self.change(|world| {
            let directory = world.writable().unwrap_or(0);
            accounts.into_iter().map(|account| seed(world, directory, account)).collect()
        })
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
        self.change(|world| world.identities.id_of(name).is_some_and(|key| world.identities.add_member(&key, group)))
    }

    /// Drift: removes a member from a group; false if it is not a member.
    pub fn remove_member(&self, group: &str, name: &str) -> bool {
        self.change(|world| world.identities.id_of(name).is_some_and(|key| world.identities.remove_member(&key, group)))
    }

    /// Drift: deletes an account; an account of the same name in another directory is no longer shadowed.
    pub fn remove_account(&self, name: &str) {
        self.change(|world| {
            if let Some(key) = world.identities.id_of(name) {
                world.remove(&key);
            }
        });
    }

    /// Drift: renames an account.
    pub fn rename_account(&self, from: &str, to: &str) {
        self.change(|world| {
            if let Some(key) = world.identities.id_of(from) {
                world.identities.rename(&key, fold(to));
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

    fn account(&self, name: &str, work: impl FnOnce(&mut AccountData)) {
        self.change(|world| {
            if let Some(account) = world.identities.id_of(name).and_then(|key| world.identities.get_mut(&key)) {
                work(account);
            }
        });
    }

    fn group(&self, name: &str, work: impl FnOnce(&mut GroupData)) {
        self.change(|world| world.identities.group_mut(name).map(work));
    }

    /// Marks an account as one with reported issues or comments, which cannot be deleted.
    pub fn set_content(&self, name: &str, content: bool) {
        self.account(name, |account| account.content = content);
    }

    /// Signs an account in with a browser, which opens a session.
    pub fn open_session(&self, name: &str) {
        self.account(name, |account| account.sessions += 1);
    }

    /// Returns the number of open sessions of an account.
    pub fn sessions(&self, name: &str) -> usize {
        self.jira.versions.read(None, |world| world.identities.named(name).map_or(0, |account| account.sessions))
    }

    /// Adds a project, or gives it another lead. An account that leads a project cannot be deactivated.
    pub fn set_project_lead(&self, project: &str, lead: &str) {
        self.change(|world| {
            let (lead, id) = (world.identities.id_of(lead), format!("{}", 10_000 + world.projects.len()));
            world.projects.entry(project.into()).or_insert_with(|| Project { id, ..Project::default() }).lead = lead;
        });
    }

    /// Adds a component with this lead to a project.
    pub fn add_component(&self, project: &str, name: &str, lead: &str) {
        self.change(|world| {
            let lead = world.identities.id_of(lead);
            let number: usize = world.projects.values().map(|project| project.components.len()).sum();
            let component = Component { id: format!("{}", 20_000 + number), name: name.into(), lead };
            world.projects.entry(project.into()).or_default().components.push(component);
        });
    }

    /// Returns the logins of the leads of a project and its components: `ALPHA`, `ALPHA/web`.
    pub fn leads(&self) -> BTreeMap<String, String> {
        self.jira.versions.read(None, |world| {
            let name = |lead: &Option<Id>| {
                let account = lead.as_ref().and_then(|id| world.identities.get(id));
                account.map(|account| account.name.clone()).unwrap_or_default()
            };
            let one = |(key, project): (&String, &Project)| {
                let components = project.components.iter();
                let components = components.map(|one| (format!("{key}/{}", one.name), name(&one.lead)));
                std::iter::once((key.clone(), name(&project.lead))).chain(components).collect::<Vec<_>>()
            };
            world.projects.iter().flat_map(one).collect()
        })
    }

    /// Refuses to deactivate or delete accounts that lead projects (default: on) or components (default: off).
    pub fn refuse_leads(&self, of_projects: bool, of_components: bool) {
        self.set(|switches| {
            (switches.refuse_project_leads, switches.refuse_component_leads) = (of_projects, of_components);
        });
    }

    /// Shows all projects to every user, or none to any ("Browse Projects").
    pub fn set_browse_projects(&self, on: bool) {
        self.set(|switches| switches.browse_projects = on);
    }

    /// Marks a group as used in restrictions; it can be deleted only with a replacement group.
    pub fn set_group_in_use(&self, name: &str, in_use: bool) {
        self.group(name, |group| group.in_use = in_use);
    }

    /// Marks a group as one from a read-only directory.
    pub fn set_group_read_only(&self, name: &str, read_only: bool) {
        self.group(name, |group| group.read_only = read_only);
    }

    /// Makes the first directory read-only or writable.
    pub fn set_read_only(&self, read_only: bool) {
        self.change(|world| {
            if let Some(directory) = world.directories.first_mut() {
                directory.read_only = read_only;
            }
        });
    }

    /// Adds a directory after the others; returns its number.
    pub fn add_directory(&self, name: &str, read_only: bool) -> usize {
        self.change(|world| {
            world.directories.push(Directory { name: name.into(), read_only });
            world.directories.len() - 1
        })
    }

    /// Seeds an account into this directory. The same name in an earlier directory shadows it; it shadows the same name
    /// in a later one.
    pub fn add_account_in(&self, directory: usize, account: NewAccount) -> String {
        self.change(|world| seed(world, directory, account))
    }

    /// Adds or replaces an application: its licensed groups (created if missing; the first is the default) and its
    /// seats.
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

    /// Limits the seats of an application; `None`: unlimited.
    pub fn set_seats(&self, application: &str, seats: Option<usize>) {
        self.change(|world| {
            if let Some(found) = world.applications.iter_mut().find(|one| one.key == application) {
                found.seats = seats;
            }
        });
    }

    /// Makes the members of a group administrators, or revokes that. `system`: system administrators, which only system
    /// administrators may change.
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

    /// Sets the password and the personal access token of an account.
    pub fn set_credentials(&self, name: &str, password: &str, token: &str) {
        let mut credentials = self.jira.credentials.write();
        credentials.passwords.insert(fold(name), password.to_owned());
        credentials.tokens.insert(token.to_owned(), fold(name));
    }

    /// Revokes a personal access token.
    pub fn revoke_token(&self, token: &str) {
        self.jira.credentials.write().tokens.remove(token);
    }

    /// Refuses all credentials with 401, or accepts valid ones again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.set(|switches| switches.bad_credentials = refuse);
    }

    /// Refuses all credentials and answers as to an anonymous caller: 200 with empty lists from public resources, and
    /// `X-Seraph-LoginReason: AUTHENTICATED_FAILED`.
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

    /// Accepts or refuses Basic credentials.
    pub fn set_basic_allowed(&self, allowed: bool) {
        self.set(|switches| switches.basic_allowed = allowed);
    }

    /// Turns external user management on or off; while on, users cannot be created.
    pub fn set_external_management(&self, on: bool) {
        self.set(|switches| switches.external_management = on);
    }

    /// Includes inactive accounts in `user/list`, or not.
    pub fn set_list_inactive(&self, on: bool) {
        self.set(|switches| switches.list_inactive = on);
    }

    /// Stores new groups in lower case, or case-preserving.
    pub fn set_fold_groups(&self, on: bool) {
        self.set(|switches| switches.fold_groups = on);
    }

    /// Sets what an account's own bean shows of its groups.
    pub fn set_shown_groups(&self, shown: ShownGroups) {
        self.set(|switches| switches.shown_groups = shown);
    }

    /// Grants the global permission "Browse users and groups" to everyone, or to no one. Without it the group picker
    /// and the user search find nothing ("Unable to browse for users and groups", Jira knowledge base).
    pub fn set_browse_users(&self, on: bool) {
        self.set(|switches| switches.browse_users = on);
    }

    /// Sets the maximum number of groups in a group picker (Jira's property `jira.ajax.autocomplete.limit`).
    pub fn set_picker_cap(&self, cap: usize) {
        self.set(|switches| switches.picker_cap = cap);
    }

    /// Sets the maximum number of accounts on a page of `user/list`.
    pub fn set_list_cap(&self, cap: usize) {
        self.set(|switches| switches.list_cap = cap.max(1));
    }

    /// Sets or removes the rate limit; the bucket starts full.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        *self.jira.bucket.lock() = limit.map(Bucket::new);
    }

    /// Changes the server id and title, as another server at the same address would.
    pub fn set_identity(&self, server_id: &str, title: &str) {
        let mut identity = self.jira.identity.write();
        (identity.server_id, identity.title) = (server_id.into(), title.into());
    }

    /// Sets the base URL that the server reports, as an administrator does in the general configuration.
    pub fn set_base_url(&self, base_url: &str) {
        self.jira.identity.write().base_url = Some(base_url.into());
    }

    /// Returns the server id.
    pub fn server_id(&self) -> String {
        self.jira.identity.read().server_id.clone()
    }

    /// Saves the current state for [`Stale::Frozen`](crate::fault::Stale::Frozen) reads.
    pub fn freeze(&self) {
        self.jira.versions.freeze();
    }

    /// Returns the current users and groups.
    pub fn snapshot(&self) -> JiraSnapshot {
        self.jira.versions.read(None, |world| {
            let accounts = world.identities.accounts().map(|account| {
                let profile = account.profile();
                let directory = profile.and_then(|profile| world.directories.get(profile.directory));
                let state = AccountState {
                    key: account.id.to_string(),
                    name: account.name.clone(),
                    display_name: profile.map(|profile| profile.display_name.clone()).unwrap_or_default(),
                    email: profile.map(|profile| profile.email.clone()).unwrap_or_default(),
                    active: account.active(),
                    directory: directory.map(|directory| directory.name.clone()).unwrap_or_default(),
                    groups: world.identities.group_names(&account.groups),
                };
                (state.key.clone(), state)
            });
            JiraSnapshot { accounts: accounts.collect(), groups: world.identities.memberships() }
        })
    }
}

/// Seeds an account into a directory. A name that the directory has only gets the groups; one that another directory
/// has gets one more profile.
fn seed(world: &mut World, directory: usize, account: NewAccount) -> String {
    let active = !account.inactive;
    let profile = Profile { directory, display_name: account.display_name, email: account.email, active };
    let key = match world.identities.id_of(&account.name) {
        Some(key) => {
            if let Some(account) = world.identities.get_mut(&key)
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
        world.identities.add_member(&key, group);
    }
    key.to_string()
}
