//! A simulator of a SCIM 2.0 service provider (RFC 7643, RFC 7644; cursors by RFC 9865) with an OAuth token endpoint.
//! The deviations of real servers are switches.

mod access;
mod bulk;
mod discovery;
mod groups;
mod handle;
mod lists;
mod patch;
mod refused;
mod render;
mod state;
mod switches;
mod users;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use self::access::Access;
use self::refused::Refused;
use self::state::{Item, World};
use super::fault::{Faults, Stale};
use super::front::{self, App, Reply, Request};
use super::journal::Journal;
use super::server::Server;
use super::versions::Versions;
use parking_lot::{Mutex, RwLock};

pub use handle::{AccountState, NewAccount, ScimSnapshot};
pub use switches::{Counted, Filters, InvalidField, MemberAddition, MemberRemoval, ScimSwitches, Visibility};

/// Delay of a PATCH between its read and its write, if PATCH requests race.
const RACE: Duration = Duration::from_millis(30);

/// Options of a simulated SCIM server.
#[derive(Clone, Debug)]
pub struct ScimOptions {
    /// Base path.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// A static token that never expires.
    pub token: String,
    /// Id and secret of the client that may request access tokens.
    pub client: (String, String),
    /// Switches of the server.
    pub switches: ScimSwitches,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for ScimOptions {
    fn default() -> Self {
        Self {
            base_path: "/scim/v2".into(),
            port: 0,
            token: "scim-simulator-token".into(),
            client: ("usersync".into(), "scim-client-secret".into()),
            switches: ScimSwitches::default(),
            journal: true,
            history: 0,
        }
    }
}

impl ScimOptions {
    /// Returns the options of a server that behaves as Keycloak's SCIM server was observed to, in the realm `acme`.
    pub fn keycloak() -> Self {
        Self { base_path: "/realms/acme/scim/v2".into(), switches: ScimSwitches::keycloak(), ..Self::default() }
    }
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Scim {
    base_path: String,
    versions: Versions<World>,
    switches: RwLock<ScimSwitches>,
    access: Mutex<Access>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    request: &'a Request,
    switches: &'a ScimSwitches,
    /// The base URL as the caller wrote it.
    base: String,
}

impl Scim {
    fn new(options: &ScimOptions) -> Self {
        Self {
            base_path: options.base_path.trim_end_matches('/').to_owned(),
            versions: Versions::new(World::default(), options.history),
            switches: RwLock::new(options.switches.clone()),
            access: Mutex::new(Access::new(&options.token, &options.client)),
        }
    }

    pub(crate) fn switches(&self) -> ScimSwitches {
        self.switches.read().clone()
    }

    /// Answers a request. `read` is an earlier state of the group; the change is applied to it and overwrites the
    /// current one.
    fn route(&self, request: &Request, stale: Option<Stale>, read: Option<Arc<Item>>) -> Result<Reply, Refused> {
        let switches = self.switches();
        let nothing = || Refused::new(404, None, "There is nothing at this address.");
        let segments = request.segments(&self.base_path).ok_or_else(nothing)?;
        self.access.lock().admit(request)?;
        let base = format!("{}{}", request.origin(), switches.own_base.unwrap_or(&self.base_path));
        let call = Call { request, switches: &switches, base };
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if switches.no_groups && path.first() == Some(&"Groups") {
            return Err(nothing());
        }
        if request.method == "GET" {
            return self.versions.read(stale, |world| match path.as_slice() {
                ["ServiceProviderConfig" | "ResourceTypes" | "Schemas", ..] if switches.discovery_off => Err(nothing()),
                ["ServiceProviderConfig"] => Ok(discovery::config(&call)),
                ["ResourceTypes"] => Ok(discovery::types(&call)),
                ["Schemas"] => Ok(discovery::schemas(&call)),
                ["Users"] => users::list(world, &call),
                ["Users", id] => users::get(world, &call, id),
                ["Groups"] => groups::list(world, &call),
                ["Groups", id] => groups::get(world, &call, id),
                _ => Err(nothing()),
            });
        }
        if request.method == "PATCH" && !switches.patch {
            return Err(Refused::new(501, None, "PATCH is not supported."));
        }
        if request.method == "POST" && path == ["Bulk"] && switches.bulk > 0 {
            return bulk::bulk(self, request, switches.bulk);
        }
        self.versions.write(|world| match (request.method.as_str(), path.as_slice()) {
            ("POST", ["Users"]) => users::create(world, &call),
            ("PUT", ["Users", id]) => users::replace(world, &call, id),
            ("PATCH", ["Users", id]) => users::patch(world, &call, id),
            ("DELETE", ["Users", id]) => users::delete(world, &call, id),
            ("POST", ["Groups"]) => groups::create(world, &call),
            ("PUT", ["Groups", id]) => groups::replace(world, &call, id),
            ("PATCH", ["Groups", id]) => {
                if let Some(read) = read {
                    world.groups.put(Item::clone(&read));
                }
                groups::patch(world, &call, id)
            }
            ("DELETE", ["Groups", id]) => groups::delete(world, &call, id),
            _ => Err(nothing()),
        })
    }
}

impl App for Scim {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        if request.method == "PATCH" && self.switches().patch_races {
            // An early read of the group, on which the write is based.
            let segments = request.segments(&self.base_path).unwrap_or_default();
            let read = segments.last().and_then(|id| self.versions.read(None, |world| world.groups.get(id).cloned()));
            tokio::time::sleep(RACE).await;
            return self.route(&request, stale, read).unwrap_or_else(Reply::from);
        }
        if request.path == access::TOKEN_PATH {
            let life = self.switches().token_life;
            return self.access.lock().give(&request, life);
        }
        let odd = self.switches().odd.filter(|odd| request.path.contains(odd.path));
        let mut reply = self.route(&request, stale, None).unwrap_or_else(Reply::from);
        if reply.status == 404 && self.switches().absent_page {
            reply.headers = vec![("content-type".into(), "text/html".into())];
            reply.body = format!("<html><h1>Not found</h1>{}</html>", request.path).into();
        }
        match (odd, serde_json::from_slice(&reply.body)) {
            (Some(odd), Ok(mut body)) if reply.status < 300 => {
                odd.apply(&mut body);
                Reply { body: body.to_string().into(), ..reply }
            }
            _ => reply,
        }
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
        format!("http://{}{}", self.server.address(), access::TOKEN_PATH)
    }

    /// Returns the static token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
