//! The server: its state, its settings, and the context of a request.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::JiraOptions;
use super::auth::{Bucket, Credentials};
use super::errors::Refused;
use super::state::{Account, Application, Directory, Profile, World};
use super::switches::Switches;
use crate::front::Request;
use crate::versions::Versions;

/// Identity that the server reports.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) server_id: String,
    pub(crate) title: String,
    /// The base URL set by an administrator; `None`: the address of the request.
    pub(crate) base_url: Option<String>,
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Jira {
    pub(crate) version_text: String,
    pub(crate) version: (u32, u32),
    pub(crate) base_path: String,
    pub(crate) versions: Versions<World>,
    pub(crate) switches: RwLock<Switches>,
    pub(crate) credentials: RwLock<Credentials>,
    pub(crate) identity: RwLock<Identity>,
    pub(crate) bucket: Mutex<Option<Bucket>>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    /// Name of the signed-in account.
    pub(crate) name: Option<&'a str>,
    /// The API's URL as the caller wrote it.
    pub(crate) api: String,
}

impl Call<'_> {
    /// Returns a number from the query.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        let Some(text) = self.request.param(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let number: i64 = text.parse().map_err(|_| Refused::message(404, format!("{name} is not a number")))?;
        Ok(usize::try_from(number).ok())
    }

    pub(crate) fn account<'w>(&self, world: &'w World) -> Option<&'w Arc<Account>> {
        self.name.and_then(|name| world.identities.named(name)).filter(|account| account.active())
    }

    pub(crate) fn is_admin(&self, world: &World) -> bool {
        self.account(world).is_some_and(|account| world.is_admin(account))
    }

    pub(crate) fn demand_user(&self, world: &World) -> Result<(), Refused> {
        self.account(world).map(|_| ()).ok_or_else(Refused::unauthorized)
    }

    pub(crate) fn demand_admin(&self, world: &World) -> Result<(), Refused> {
        self.demand_user(world)?;
        if self.is_admin(world) { Ok(()) } else { Err(Refused::forbidden()) }
    }

    /// Checks that the caller may change the account: only system administrators change system administrators.
    pub(crate) fn demand_over(&self, world: &World, account: &Account) -> Result<(), Refused> {
        let may = !world.is_sysadmin(account) || self.account(world).is_some_and(|caller| world.is_sysadmin(caller));
        if may { Ok(()) } else { Err(Refused::forbidden()) }
    }
}

impl Jira {
    pub(crate) fn new(options: &JiraOptions) -> Self {
        let mut numbers = options.version.split('.').map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let mut world = World { next_number: 10_000, ..World::default() };
        world.directories.push(Directory { name: "Jira Internal Directory".into(), read_only: false });
        for group in ["jira-administrators", "jira-software-users"] {
            world.add_group(group);
        }
        world.sysadmin_groups.insert("jira-administrators".into());
        world.applications.push(Application {
            key: "jira-software".into(),
            name: "Jira Software".into(),
            groups: ["jira-administrators", "jira-software-users"].map(str::to_owned).into(),
            default_groups: ["jira-software-users"].map(str::to_owned).into(),
            seats: None,
            selected_by_default: true,
        });
        let mut credentials = Credentials::default();
        let (name, password) = &options.admin;
        let email = format!("{name}@example.org");
        let profile = Profile { directory: 0, display_name: "Administrator".into(), email, active: true };
        let key = world.add(name, profile);
        for group in ["jira-administrators", "jira-software-users"] {
            world.identities.add_member(&key, group);
        }
        credentials.passwords.insert(name.to_lowercase(), password.clone());
        credentials.tokens.insert(options.token.clone(), name.to_lowercase());
        Self {
            version_text: options.version.clone(),
            version,
            base_path: options.base_path.trim_end_matches('/').to_owned(),
            versions: Versions::new(world, options.history),
            switches: RwLock::new(Switches::of(version)),
            credentials: RwLock::new(credentials),
            identity: RwLock::new(Identity {
                server_id: uuid::Uuid::new_v4().to_string(),
                title: "Jira".into(),
                base_url: None,
            }),
            bucket: Mutex::default(),
        }
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches.read().clone()
    }

    pub(crate) fn set_password(&self, name: &str, password: &str) {
        let mut credentials = self.credentials.write();
        credentials.passwords.insert(name.to_lowercase(), password.to_owned());
    }
}
