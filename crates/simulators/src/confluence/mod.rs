//! A simulator of Confluence Data Center's REST API and JSON-RPC for users and groups.

mod auth;
mod groups;
mod handle;
mod refused;
mod render;
mod rpc;
mod state;
mod switches;
mod tasks;
mod users;

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::json;

use self::auth::{Caller, Credentials};
use self::refused::Refused;
use self::state::{ADMINISTRATORS, Account, USERS, World};
use self::switches::{Features, Switches};
use self::tasks::Tasks;
use super::fault::{Faults, Stale};
use super::front::{self, App, Reply, Request};
use super::journal::Journal;
use super::server::Server;
use super::versions::Versions;

pub use handle::{AccountState, ConfluenceSnapshot, NewAccount};

/// Options of a simulated Confluence.
#[derive(Clone, Debug)]
pub struct ConfluenceOptions {
    /// The version, such as `10.0`; it decides which endpoints exist.
    pub version: String,
    /// Base path, such as `/confluence`; empty: none.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the first administrator.
    pub admin: (String, String),
    /// The administrator's personal access token.
    pub token: String,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for ConfluenceOptions {
    fn default() -> Self {
        Self {
            version: "10.0.3".into(),
            base_path: String::new(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token: "simulator-token".into(),
            journal: true,
            history: 0,
        }
    }
}

impl ConfluenceOptions {
    /// Returns the options of a Confluence of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Confluence {
    version_text: String,
    features: Features,
    base_path: String,
    versions: Versions<World>,
    switches: RwLock<Switches>,
    credentials: RwLock<Credentials>,
    server_id: RwLock<String>,
    tasks: Mutex<Tasks>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    request: &'a Request,
    /// Name of the signed-in account.
    name: Option<&'a str>,
    /// The server's URL as the caller wrote it, with the base path.
    site: String,
    base_path: &'a str,
    switches: &'a Switches,
    features: Features,
}

impl Call<'_> {
    /// Returns a number from the query.
    fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        let Some(text) = self.request.param(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refused::message(400, format!("{name} is not a number that can be.")))
    }

    fn account<'w>(&self, world: &'w World) -> Option<&'w Arc<Account>> {
        self.name.and_then(|name| world.named(name)).filter(|account| account.active)
    }

    fn is_admin(&self, world: &World) -> bool {
        self.account(world).is_some_and(|account| world.is_admin(account))
    }

    /// Checks that the caller may use Confluence.
    fn demand_user(&self, world: &World) -> Result<(), Refused> {
        let may = self.account(world).is_some_and(|account| World::counts(account) || world.is_admin(account));
        if may { Ok(()) } else { Err(Refused::forbidden()) }
    }

    fn demand_admin(&self, world: &World) -> Result<(), Refused> {
        self.account(world).ok_or_else(Refused::unauthorized)?;
        if self.is_admin(world) { Ok(()) } else { Err(Refused::forbidden()) }
    }
}

impl Confluence {
    fn new(options: &ConfluenceOptions) -> Self {
        let mut numbers = options.version.split('.').map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let mut world = World::default();
        let (name, password) = &options.admin;
        world.add(name, "Administrator", &format!("{name}@example.org"), true);
        for group in [ADMINISTRATORS, USERS] {
            world.add_group(group);
            world.join(name, group);
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

    fn switches(&self) -> Switches {
        self.switches.read().clone()
    }

    /// Advances background work; each request does so.
    fn advance(&self) {
        let done = self.tasks.lock().advance();
        if !done.is_empty() {
            let Ok(()) = self.versions.write(|world| {
                for key in &done {
                    world.remove(key);
                }
                Ok::<(), std::convert::Infallible>(())
            });
        }
    }

    fn route(&self, call: &Call<'_>, stale: Option<Stale>) -> Result<Reply, Refused> {
        let request = call.request;
        let missing = || Refused::no_path(&request.path);
        let segments = request.segments(&self.base_path).ok_or_else(missing)?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let rest = match path.as_slice() {
            ["rest", "api", rest @ ..] => rest,
            ["rest", "applinks", "1.0" | "latest", "manifest"] => return self.manifest(call),
            ["rest", "license", "1.0", "license", "remainingSeats"] => {
                return self.versions.read(stale, |world| {
                    call.demand_user(world)?;
                    Ok(Reply::json(200, &json!({ "count": world.free_seats().map_or(-1, usize::cast_signed) })))
                });
            }
            ["rpc", "json-rpc", "confluenceservice-v2"] if request.method == "POST" => {
                return self.versions.write(|world| Ok(rpc::call(world, call)));
            }
            _ => return Err(missing()),
        };
        match request.method.as_str() {
            "GET" => self.versions.read(stale, |world| self.read(world, call, rest)),
            "OPTIONS" => self.options(call, rest),
            _ if request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"))
                && request.header("x-atlassian-token").is_none_or(|value| value != "no-check") =>
            {
                Err(Refused::message(403, "XSRF check failed"))
            }
            "DELETE" if matches!(rest, ["admin", "user", _]) && self.features.administers => {
                self.versions.read(None, |world| users::delete(self, world, call, rest[2]))
            }
            _ => self.versions.write(|world| self.write(world, call, rest)),
        }
    }

    fn read(&self, world: &World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        match rest {
            ["server-information"] if self.features.ten => {
                call.account(world).ok_or_else(Refused::unauthorized)?;
                let shown = json!({
                    "baseUrl": call.site, "version": self.version_text, "buildNumber": 10_000,
                    "marketplaceBuildNumber": 10_000, "buildDate": "2026-01-01",
                });
                Ok(Reply::json(200, &shown))
            }
            ["user"] => users::get(world, call),
            ["user", "current"] => Ok(users::current(world, call)),
            ["user", "list"] if self.features.lists => users::list(world, call, false),
            ["user", "memberof"] => users::member_of(world, call),
            ["admin", "users", "list", "active"] if self.features.lists => users::list(world, call, true),
            ["group"] => groups::list(world, call),
            ["group", name] => groups::get(world, call, name),
            ["group", name, "member"] => groups::members(world, call, name),
            ["permissions", "group", name] if self.features.ten => groups::permissions(world, call, name),
            ["longtask", id] => {
                let tasks = self.tasks.lock();
                let shown = tasks.show(id).ok_or_else(|| Refused::message(404, format!("No task found: {id}")))?;
                Ok(Reply::json(200, &shown))
            }
            ["admin", "user", ..] => Err(Refused::no_method()),
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn write(&self, world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        let features = self.features;
        match (call.request.method.as_str(), rest) {
            ("POST", ["admin", "user"]) if features.creates => users::create(world, call),
            ("PUT", ["admin", "user", name]) if features.updates => users::update(world, call, name),
            ("PUT", ["admin", "user", name, "enable"]) if features.administers => {
                users::set_active(world, call, name, true)
            }
            ("PUT", ["admin", "user", name, "disable"]) if features.administers => {
                users::set_active(world, call, name, false)
            }
            ("PUT", ["user", name, "group", group]) if features.administers => {
                users::membership(world, call, name, group, true)
            }
            ("DELETE", ["user", name, "group", group]) if features.administers => {
                users::membership(world, call, name, group, false)
            }
            ("POST", ["admin", "group"]) => groups::create(world, call),
            ("DELETE", ["admin", "group", name]) => groups::delete(world, call, name),
            (_, ["admin", "user", _]) if features.administers => Err(Refused::no_method()),
            (_, ["user" | "group", ..]) => Err(Refused::no_method()),
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    /// Returns the methods of a resource.
    fn options(&self, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        if !call.switches.answers_options {
            return Err(Refused::no_method());
        }
        let allowed = match rest {
            ["admin", "user", _] if self.features.updates => "PUT,DELETE,OPTIONS",
            ["admin", "user", _] if self.features.administers => "DELETE,OPTIONS",
            _ => return Err(Refused::no_path(&call.request.path)),
        };
        Ok(Reply::empty(200).with("allow", allowed))
    }

    /// Returns the application link manifest, the only public source of a Confluence's server id.
    fn manifest(&self, call: &Call<'_>) -> Result<Reply, Refused> {
        if !call.switches.manifest_open {
            return Err(Refused::forbidden());
        }
        let id = self.server_id.read();
        let shown = json!({
            "id": *id, "name": "Confluence", "typeId": "confluence", "version": self.version_text, "url": call.site,
            "publicSignup": false,
        });
        Ok(Reply::json(200, &shown))
    }
}

impl App for Confluence {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        self.advance();
        let switches = self.switches();
        let caller = {
            let credentials = self.credentials.read();
            auth::caller(&request, &credentials, &switches)
        };
        let site = format!("{}{}", request.origin(), self.base_path);
        let low = request.path.to_ascii_lowercase();
        let early = if low.contains("%2f") || low.contains("%5c") {
            // The servlet container refuses these before Confluence sees them.
            let mut page = Reply::empty(400).with("content-type", "text/html");
            page.body = "<html><body><h1>HTTP Status 400 – Bad Request</h1></body></html>".into();
            Some(page)
        } else if caller == Caller::Refused && switches.refused_as_anonymous {
            None
        } else {
            auth::refusal(&caller, &site)
        };
        let name = match &caller {
            Caller::Known(name) => Some(name.as_str()),
            _ => None,
        };
        let (base_path, features) = (self.base_path.as_str(), self.features);
        let call = Call { request: &request, name, site, base_path, switches: &switches, features };
        let mut reply = early.unwrap_or_else(|| self.route(&call, stale).unwrap_or_else(Reply::from));
        if let Some(reason) = auth::reason(&caller) {
            reply.headers.push(("x-seraph-loginreason".into(), reason.into()));
        }
        // An HTTP header needs percent-encoding.
        let shown = url::form_urlencoded::byte_serialize(name.unwrap_or("anonymous").as_bytes()).collect::<String>();
        reply.with("x-ausername", shown)
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
}
