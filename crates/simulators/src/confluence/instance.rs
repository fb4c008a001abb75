//! The server: its state, its settings, and the context of a request.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::ConfluenceOptions;
use super::auth::Credentials;
use super::errors::Refused;
use super::state::{ADMINISTRATORS, Account, USERS, World};
use super::switches::{Features, Switches};
use super::tasks::Tasks;
use crate::front::Request;
use crate::versions::Versions;

/// State of the server.
#[derive(Debug)]
pub(crate) struct Confluence {
    pub(crate) version_text: String,
    pub(crate) features: Features,
    pub(crate) base_path: String,
    pub(crate) versions: Versions<World>,
    pub(crate) switches: RwLock<Switches>,
    pub(crate) credentials: RwLock<Credentials>,
    pub(crate) server_id: RwLock<String>,
    pub(crate) tasks: Mutex<Tasks>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    /// Name of the signed-in account.
    pub(crate) name: Option<&'a str>,
    /// The server's URL as the caller wrote it, with the base path.
    pub(crate) site: String,
    pub(crate) base_path: &'a str,
    pub(crate) switches: &'a Switches,
    pub(crate) features: Features,
}

impl Call<'_> {
    /// Returns a number from the query.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        let Some(text) = self.request.param(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refused::message(400, format!("{name} is not a number that can be.")))
    }

    pub(crate) fn account<'w>(&self, world: &'w World) -> Option<&'w Arc<Account>> {
        self.name.and_then(|name| world.identities.named(name)).filter(|account| account.active)
    }

    pub(crate) fn is_admin(&self, world: &World) -> bool {
        self.account(world).is_some_and(|account| world.is_admin(account))
    }

    /// Checks that the caller may use Confluence.
    pub(crate) fn demand_user(&self, world: &World) -> Result<(), Refused> {
        let may = self.account(world).is_some_and(|account| World::counts(account) || world.is_admin(account));
        if may { Ok(()) } else { Err(Refused::forbidden()) }
    }

    pub(crate) fn demand_admin(&self, world: &World) -> Result<(), Refused> {
        self.account(world).ok_or_else(Refused::unauthorized)?;
        if self.is_admin(world) { Ok(()) } else { Err(Refused::forbidden()) }
    }
}

impl Confluence {
    pub(crate) fn new(options: &ConfluenceOptions) -> Self {
        let mut numbers = options.version.split('.').map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let mut world = World::default();
        let (name, password) = &options.admin;
        let key = world.add(name, "Administrator", &format!("{name}@example.org"), true);
        for group in [ADMINISTRATORS, USERS] {
            world.add_group(group);
            world.identities.add_member(&key, group);
        }
        let mut credentials = Credentials::default();
        credentials.passwords.insert(name.to_lowercase(), password.clone());
        credentials.tokens.insert(options.token.clone(), name.to_lowercase());
        Self {
            version_text: options.version.clone(),
            features: Features::of(version),
            base_path: options.base_path.trim_end_matches('/').to_owned(),
            versions: Versions::new(world, options.history),
            switches: RwLock::default(),
            credentials: RwLock::new(credentials),
            server_id: RwLock::new(uuid::Uuid::new_v4().to_string()),
            tasks: Mutex::default(),
        }
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches.read().clone()
    }
}
