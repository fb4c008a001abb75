//! The server: its state, its settings, and the context of a request.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::BitbucketOptions;
use super::auth::Credentials;
use super::errors::Refused;
use super::state::{Account, Directory, Permission, World};
use super::switches::Switches;
use crate::front::Request;
use crate::identities::fold;
use crate::versions::Versions;

/// State of the server.
#[derive(Debug)]
pub(crate) struct Bitbucket {
    pub(crate) version: String,
    pub(crate) base_path: String,
    pub(crate) versions: Versions<World>,
    pub(crate) switches: RwLock<Switches>,
    pub(crate) credentials: RwLock<Credentials>,
    pub(crate) server_id: RwLock<String>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    /// Folded name of the signed-in account.
    pub(crate) name: Option<&'a str>,
}

impl Call<'_> {
    /// Returns a number from the query.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        let Some(text) = self.request.param(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| Refused::field(name, format!("{name} is not a number.")))
    }

    /// Returns a query parameter that must be present.
    pub(crate) fn demanded(&self, name: &str) -> Result<String, Refused> {
        self.request.param(name).filter(|text| !text.trim().is_empty()).ok_or_else(|| Refused::missing(name))
    }

    /// Returns the body, which must be JSON.
    pub(crate) fn body(&self) -> Result<Bytes, Refused> {
        let json = self.request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if json { Ok(self.request.body.clone()) } else { Err(Refused::bare(415)) }
    }

    pub(crate) fn account<'w>(&self, world: &'w World) -> Option<&'w Arc<Account>> {
        self.name.and_then(|name| world.identities.named(name)).filter(|account| account.active)
    }

    /// Returns the highest permission of the caller.
    pub(crate) fn level(&self, world: &World) -> Option<Permission> {
        self.account(world).and_then(|account| world.level(account))
    }

    pub(crate) fn demand(&self, world: &World, least: Permission) -> Result<(), Refused> {
        if self.level(world) >= Some(least) { Ok(()) } else { Err(Refused::no_right()) }
    }
}

impl Bitbucket {
    pub(crate) fn new(options: &BitbucketOptions) -> Self {
        let mut world = World { next_id: 100, default_group: Some("stash-users".into()), ..World::default() };
        world.directories.push(Directory {
            name: "Bitbucket Internal Directory".into(),
            kind: "Internal".into(),
            details_fixed: false,
            groups_fixed: false,
            active: true,
        });
        for (group, permission) in [("stash-users", Permission::LicensedUser), ("stash-admins", Permission::SysAdmin)] {
            world.add_group(group);
            world.group_permissions.insert(group.into(), permission);
        }
        let mut credentials = Credentials::default();
        let (name, password) = &options.admin;
        let id = world.add(name, "Administrator", &format!("{name}@example.org"), 0);
        for group in ["stash-users", "stash-admins"] {
            world.identities.add_member(&id, group);
        }
        credentials.passwords.insert(fold(name), password.clone());
        credentials.tokens.insert(options.token.clone(), fold(name));
        Self {
            version: options.version.clone(),
            base_path: options.base_path.trim_end_matches('/').to_owned(),
            versions: Versions::new(world, options.history),
            switches: RwLock::default(),
            credentials: RwLock::new(credentials),
            server_id: RwLock::new(uuid::Uuid::new_v4().to_string()),
        }
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches.read().clone()
    }

    pub(crate) fn set_password(&self, name: &str, password: &str) {
        let mut credentials = self.credentials.write();
        credentials.passwords.insert(fold(name), password.to_owned());
    }

    /// Keeps the credentials of a renamed account valid.
    pub(crate) fn move_credentials(&self, from: &str, to: &str) {
        let mut credentials = self.credentials.write();
        if let Some(password) = credentials.passwords.remove(&fold(from)) {
            credentials.passwords.insert(fold(to), password);
        }
        let Credentials { tokens, access_tokens, .. } = &mut *credentials;
        let names = tokens.values_mut().chain(access_tokens.values_mut());
        names.filter(|name| **name == fold(from)).for_each(|name| *name = fold(to));
    }
}
