//! The simulated SCIM server as tests control it: seeds, drift, switches and the current state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::ScimOptions;
use super::auth;
use super::instance::Scim;
use super::state::{Item, World};
use super::switches::ScimSwitches;
use crate::agree::{Held, HeldAccount, Holds};
use crate::fault::Faults;
use crate::front;
use crate::journal::Journal;
use crate::server::Server;

/// An account to seed.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The login.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address; empty: none.
    pub email: String,
    /// Whether it is inactive.
    pub inactive: bool,
    /// Groups of the account; missing groups are created.
    pub groups: Vec<String>,
    /// Further attributes.
    pub others: Map<String, Value>,
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

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.others.insert(name.to_owned(), value);
        self
    }
}

/// Current state of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The login.
    pub name: String,
    /// Whether it is active.
    pub active: bool,
    /// All its attributes.
    pub fields: Map<String, Value>,
    /// Names of the account's groups.
    pub groups: BTreeSet<String>,
}

/// Users and groups of a server at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScimSnapshot {
    /// Accounts by id.
    pub accounts: BTreeMap<String, AccountState>,
    /// Logins of members by group name.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl ScimSnapshot {
    /// Returns the account with this login.
    pub fn account(&self, name: &str) -> Option<&AccountState> {
        self.accounts.values().find(|account| account.name == name)
    }
}

/// A running simulated SCIM server; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedScim {
    server: Server,
    scim: Arc<Scim>,
    token: String,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
}

impl Holds for SimulatedScim {
    fn held(&self) -> Held {
        let snapshot = self.snapshot();
        let accounts = snapshot.accounts.into_values().map(|account| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (shown, emails) = (account.fields.get("displayName"), account.fields.get("emails"));
            let held = HeldAccount {
                display_name: shown.map(text).unwrap_or_default(),
                email: emails.map(|emails| text(&emails[0]["value"])).unwrap_or_default(),
                active: account.active,
            };
            (account.name, held)
        });
        Held::of("SCIM", accounts, &snapshot.groups)
    }
}

impl SimulatedScim {
    /// Starts an empty server on a loopback port.
    pub async fn start(options: ScimOptions) -> io::Result<Self> {
        let scim = Arc::new(Scim::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&scim), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, scim, token: options.token, faults, journal })
    }

    /// Returns the SCIM base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.scim.base_path)
    }

    /// Returns the URL of the token endpoint.
    pub fn token_url(&self) -> String {
        format!("http://{}{}", self.server.address(), auth::TOKEN_PATH)
    }

    /// Returns the static token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }

    fn change<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        self.scim.versions.change(work)
    }

    /// Changes the switches.
    pub fn switch(&self, work: impl FnOnce(&mut ScimSwitches)) {
        work(&mut self.scim.switches.write());
    }

    /// Replaces the static token, which never expires.
    pub fn set_token(&self, token: &str) {
        self.scim.access.lock().set_token(token);
    }

    /// Replaces the client's secret.
    pub fn set_client_secret(&self, secret: &str) {
        self.scim.access.lock().set_secret(secret);
    }

    /// Revokes all issued access tokens.
    pub fn revoke_tokens(&self) {
        self.scim.access.lock().revoke();
    }

    /// Seeds an account; returns its id.
    pub fn add_account(&self, account: NewAccount) -> String {
        let apart = self.scim.switches().names_apart;
        self.change(|world| seed(world, account, apart))
    }

    /// Seeds a group; returns its id.
    pub fn add_group(&self, name: &str) -> String {
        self.change(|world| group(world, name))
    }

    /// Drift: adds a member to a group.
    pub fn add_member(&self, group: &str, name: &str) {
        self.membership(group, name, |item, id| item.members.insert(id));
    }

    /// Drift: removes a member from a group.
    pub fn remove_member(&self, group: &str, name: &str) {
        self.membership(group, name, |item, id| item.members.remove(&id));
    }

    fn membership(&self, group: &str, name: &str, work: impl FnOnce(&mut Item, String) -> bool) {
        self.change(|world| {
            let user = world.user_named(name).map(|user| user.id.clone());
            let group = world.group_named(group).map(|group| group.id.clone());
            if let (Some(user), Some(group)) = (user, group)
                && let Some(item) = world.groups.get_mut(&group)
            {
                item.version += 1;
                work(item, user);
            }
        });
    }

    /// Drift: sets an attribute of an account.
    pub fn set(&self, name: &str, attribute: &str, value: Value) {
        self.change(|world| {
            if let Some(mut item) = world.user_named(name).map(|user| Item::clone(user)) {
                item.version += 1;
                item.fields.insert(attribute.to_owned(), value);
                world.users.put(item);
            }
        });
    }

    /// Drift: deletes an account.
    pub fn remove_account(&self, name: &str) {
        self.change(|world| {
            if let Some(id) = world.user_named(name).map(|user| user.id.clone()) {
                world.remove_user(&id);
            }
        });
    }

    /// Returns the number of accounts.
    pub fn len(&self) -> usize {
        self.scim.versions.read(None, |world| world.users.len())
    }

    /// Returns whether there are no accounts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the current users and groups.
    pub fn snapshot(&self) -> ScimSnapshot {
        self.scim.versions.read(None, |world| {
            let login = |id: &String| world.users.get(id).map(|user| user.text("userName").to_owned());
            let groups = world
                .groups
                .all()
                .map(|group| (group.text("displayName").to_owned(), group.members.iter().filter_map(login).collect()));
            let accounts = world.users.all().map(|user| {
                let inside = world.groups.all().filter(|group| group.members.contains(&user.id));
                let state = AccountState {
                    name: user.text("userName").to_owned(),
                    active: user.active(),
                    fields: user.fields.clone(),
                    groups: inside.map(|group| group.text("displayName").to_owned()).collect(),
                };
                (user.id.clone(), state)
            });
            ScimSnapshot { accounts: accounts.collect(), groups: groups.collect() }
        })
    }
}

fn group(world: &mut World, name: &str) -> String {
    if let Some(group) = world.group_named(name) {
        return group.id.clone();
    }
    let item = world.item(Map::from_iter([("displayName".to_owned(), json!(name))]));
    let id = item.id.clone();
    world.groups.put(item);
    id
}

fn seed(world: &mut World, account: NewAccount, apart: bool) -> String {
    let mut fields = account.others;
    fields.insert("userName".into(), json!(account.name));
    fields.insert("active".into(), json!(!account.inactive));
    if apart {
        let (given, family) = account.display_name.rsplit_once(' ').unwrap_or((&account.display_name, "-"));
        let formatted = format!(" {given}  {family} ");
        fields.insert("name".into(), json!({ "formatted": formatted, "givenName": given, "familyName": family }));
    } else {
        fields.insert("displayName".into(), json!(account.display_name));
        fields.insert("name".into(), json!({ "formatted": account.display_name }));
    }
    if !account.email.is_empty() {
        fields.entry("emails").or_insert(json!([{ "value": account.email, "type": "work", "primary": true }]));
    }
    let item = world.item(fields);
    let id = item.id.clone();
    world.users.put(item);
    for name in &account.groups {
        let group = group(world, name);
        if let Some(item) = world.groups.get_mut(&group) {
            item.members.insert(id.clone());
        }
    }
    id
}
