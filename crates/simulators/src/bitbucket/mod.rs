//! A simulator of Bitbucket Data Center's REST API for users, groups and global permissions. No difference between its
//! versions 8 to 10 is known in that part; behaviour that is not known for certain is a switch.

mod auth;
mod groups;
mod handle;
mod permissions;
mod refused;
mod render;
mod state;
mod switches;
mod users;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use serde_json::{Value, json};

use self::auth::{Caller, Credentials};
use self::refused::Refused;
use self::render::answer;
use self::state::{Account, Directory, World, fold};
use self::switches::Switches;
use super::fault::{Faults, Stale};
use super::front::{self, App, Reply, Request};
use super::journal::Journal;
use super::server::Server;
use super::versions::Versions;

pub use handle::{AccountState, BitbucketSnapshot, NewAccount};
pub use state::Permission;

/// Options of a simulated Bitbucket.
#[derive(Clone, Debug)]
pub struct BitbucketOptions {
    /// The version, such as `10.0.1`.
    pub version: String,
    /// Base path, such as `/bitbucket`; empty: none.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the first system administrator.
    pub admin: (String, String),
    /// The administrator's HTTP access token, which has no administration rights.
    pub token: String,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for BitbucketOptions {
    fn default() -> Self {
        Self {
            version: "10.0.1".into(),
            base_path: String::new(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token: "simulator-token".into(),
            journal: true,
            history: 0,
        }
    }
}

impl BitbucketOptions {
    /// Returns the options of a Bitbucket of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Bitbucket {
    version: String,
    base_path: String,
    versions: Versions<World>,
    switches: RwLock<Switches>,
    credentials: RwLock<Credentials>,
    server_id: RwLock<String>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    request: &'a Request,
    /// Folded name of the signed-in account.
    name: Option<&'a str>,
}

impl Call<'_> {
    /// Returns a number from the query.
    fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        let Some(text) = self.request.param(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| Refused::field(name, format!("{name} is not a number.")))
    }

    /// Returns a query parameter that must be present.
    fn demanded(&self, name: &str) -> Result<String, Refused> {
        self.request.param(name).filter(|text| !text.trim().is_empty()).ok_or_else(|| Refused::missing(name))
    }

    /// Returns the body, which must be JSON.
    fn body(&self) -> Result<Bytes, Refused> {
        let json = self.request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if json { Ok(self.request.body.clone()) } else { Err(Refused::bare(415)) }
    }

    fn account<'w>(&self, world: &'w World) -> Option<&'w Arc<Account>> {
        self.name.and_then(|name| world.named(name)).filter(|account| account.active)
    }

    /// Returns the highest permission of the caller.
    fn level(&self, world: &World) -> Option<Permission> {
        self.account(world).and_then(|account| world.level(account))
    }

    fn demand(&self, world: &World, least: Permission) -> Result<(), Refused> {
        if self.level(world) >= Some(least) { Ok(()) } else { Err(Refused::no_right()) }
    }
}

impl Bitbucket {
    fn new(options: &BitbucketOptions) -> Self {
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
            world.join(&id, group);
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

    fn route(&self, request: &Request, caller: &Caller, stale: Option<Stale>) -> Result<Reply, Refused> {
        let missing = || Refused::no_path(&request.path);
        let segments = request.segments(&self.base_path).ok_or_else(missing)?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let ["rest", "applinks", "1.0" | "latest", "manifest"] = path.as_slice() {
            return Ok(self.manifest(&format!("{}{}", request.origin(), self.base_path)));
        }
        let ["rest", "api", "1.0" | "latest", rest @ ..] = path.as_slice() else { return Err(missing()) };
        let name = match caller {
            // HTTP access tokens have no administration rights (BSERV-10482).
            Caller::ByToken(_) if rest.first() == Some(&"admin") => return Err(Refused::no_right()),
            Caller::Known(name) | Caller::ByToken(name) => Some(name.as_str()),
            _ => None,
        };
        let call = Call { request, name };
        if request.method == "GET" {
            return self.versions.read(stale, |world| self.read(world, &call, rest));
        }
        let checked = request.header("x-atlassian-token").is_some_and(|value| value == "no-check");
        let json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if !checked && !json && request.method == "POST" {
            return Err(Refused::message(403, "XSRF check failed"));
        }
        self.versions.write(|world| self.write(world, &call, rest))
    }

    fn read(&self, world: &World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        if rest == ["application-properties"] {
            return Ok(answer(
                200,
                &json!({
                    "version": self.version, "buildNumber": "10000001", "buildDate": "1768145580548",
                    "displayName": "Bitbucket",
                }),
            ));
        }
        let least = match rest {
            ["admin", "users" | "groups", ..] => Permission::LicensedUser,
            _ => Permission::Admin,
        };
        call.demand(world, least)?;
        match rest {
            ["admin", "users"] => users::list(self, world, call),
            ["admin", "users", "more-members"] => users::groups(self, world, call),
            ["admin", "groups"] => groups::list(self, world, call),
            ["admin", "groups", "more-members"] => groups::members(self, world, call),
            ["admin", "permissions", "groups"] => permissions::list(self, world, call, true),
            ["admin", "permissions", "users"] => permissions::list(self, world, call, false),
            ["admin", "license"] => Ok(answer(200, &self.license(world))),
            ["admin", "user-directories"] => Ok(answer(200, &directories(world, call.request.flag("includeInactive")))),
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn write(&self, world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        call.demand(world, Permission::Admin)?;
        match (call.request.method.as_str(), rest) {
            ("POST", ["admin", "users"]) => users::create(self, world, call),
            ("PUT", ["admin", "users"]) => users::update(world, call),
            ("DELETE", ["admin", "users"]) => users::delete(world, call),
            ("POST", ["admin", "users", "rename"]) => users::rename(self, world, call),
            ("PUT", ["admin", "users", "credentials"]) => users::password(self, world, call),
            ("POST", ["admin", "users", "add-groups"]) => groups::add_groups(self, world, call),
            ("POST", ["admin", "users", "remove-group"]) => groups::remove(self, world, call, true),
            ("POST", ["admin", "groups"]) => groups::create(world, call),
            ("DELETE", ["admin", "groups"]) => groups::delete(world, call),
            ("POST", ["admin", "groups", "add-users"]) => groups::add_users(self, world, call),
            ("POST", ["admin", "groups", "remove-user"]) => groups::remove(self, world, call, false),
            ("PUT", ["admin", "permissions", kind @ ("groups" | "users")]) => {
                permissions::give(world, call, *kind == "groups")
            }
            ("DELETE", ["admin", "permissions", kind @ ("groups" | "users")]) => {
                permissions::take(world, call, *kind == "groups")
            }
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    /// Returns the application link manifest.
    fn manifest(&self, site: &str) -> Reply {
        let id = self.server_id.read().clone();
        let shown = json!({
            "id": id, "name": "Bitbucket", "typeId": "stash", "version": self.version, "url": site, "publicSignup": false,
        });
        Reply::json(200, &shown)
    }

    fn license(&self, world: &World) -> Value {
        let server_id = self.server_id.read().clone();
        json!({
            "license": "simulator", "creationDate": 1_768_145_580_548_i64,
            "maximumNumberOfUsers": world.seats.map_or(-1, |seats| i64::try_from(seats).unwrap_or(i64::MAX)),
            "unlimitedNumberOfUsers": world.seats.is_none(), "serverId": server_id,
            "status": { "serverId": server_id, "currentNumberOfUsers": world.licensed() },
        })
    }
}

fn directories(world: &World, inactive: bool) -> Value {
    let shown = world.directories.iter().filter(|one| one.active || inactive);
    shown.map(|one| json!({ "name": one.name, "type": one.kind, "description": "", "active": one.active })).collect()
}

impl App for Bitbucket {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let switches = self.switches();
        let caller = {
            let credentials = self.credentials.read();
            auth::caller(&request, &credentials, &switches)
        };
        let site = format!("{}{}", request.origin(), self.base_path);
        let reply = match auth::refusal(&caller, &site) {
            Some(reply) => reply,
            None => self.route(&request, &caller, stale).unwrap_or_else(Reply::from),
        };
        match caller {
            Caller::Known(name) | Caller::ByToken(name) if switches.names_caller => {
                let shown = self.versions.read(None, |world| world.named(&name).map(|account| account.name.clone()));
                let name: String = url::form_urlencoded::byte_serialize(shown.unwrap_or(name).as_bytes()).collect();
                reply.with("x-ausername", name)
            }
            _ => reply,
        }
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
}
