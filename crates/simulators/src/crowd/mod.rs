//! A simulator of Crowd's REST API for applications (`usermanagement/1`), for users and groups. It acts as Crowd itself
//! or as the user server of a Jira.

mod attributes;
mod groups;
mod handle;
mod refused;
mod render;
mod state;
mod switches;
mod users;

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::RwLock;
use serde_json::{Value, json};

use self::refused::Refused;
use self::state::{Directory, World};
use self::switches::Switches;
use super::fault::{Faults, Stale};
use super::front::{self, App, Reply, Request};
use super::journal::Journal;
use super::server::Server;
use super::versions::Versions;

pub use handle::{CrowdSnapshot, NewCrowdUser, UserState};
pub use switches::Permission;

/// Page size if the request names none.
const PAGE: i64 = 1000;

/// Options of a simulated Crowd.
#[derive(Clone, Debug)]
pub struct CrowdOptions {
    /// The version, such as `5.2.3`; it decides which endpoints exist.
    pub version: String,
    /// Version of the Jira that the user server belongs to; `None`: a Crowd.
    pub jira: Option<String>,
    /// Base path, such as `/crowd`; empty: none.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the application.
    pub application: (String, String),
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for CrowdOptions {
    fn default() -> Self {
        Self {
            version: "7.1.3".into(),
            jira: None,
            base_path: "/crowd".into(),
            port: 0,
            application: ("usersync".into(), "simulator-password".into()),
            journal: true,
            history: 0,
        }
    }
}

impl CrowdOptions {
    /// Returns the options of a Crowd of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// Returns the options of the user server of a Jira of this version.
    pub fn jira(version: &str) -> Self {
        Self { version: "5.1.4".into(), jira: Some(version.into()), base_path: "/jira".into(), ..Self::default() }
    }
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Crowd {
    version_text: String,
    version: Vec<u32>,
    jira: Option<String>,
    server_id: String,
    base_path: String,
    application: (String, String),
    versions: Versions<World>,
    switches: RwLock<Switches>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    request: &'a Request,
    crowd: &'a Crowd,
    /// The API's URL as the caller wrote it.
    api: String,
}

impl Call<'_> {
    /// Returns a query parameter that must be present.
    fn required(&self, name: &str) -> Result<String, Refused> {
        let value = self.request.param(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refused::argument(format!("The parameter {name} is missing.")))
    }

    /// Returns whether entries of this kind are expanded.
    fn expands(&self, what: &str) -> bool {
        let asked = self.request.params("expand").join(",");
        self.crowd.switches().expands && asked.split(',').any(|one| one.trim() == what)
    }

    /// Returns the requested page; -1 requests all entries.
    fn page<'l, T>(&self, list: &'l [T]) -> Result<&'l [T], Refused> {
        let number = |name: &str, fallback: i64| match self.request.param(name) {
            Some(text) => text.parse().map_err(|_| Refused::argument(format!("{name} is not a number."))),
            None => Ok(fallback),
        };
        let start = usize::try_from(number("start-index", 0)?).unwrap_or(0).min(list.len());
        let most = usize::try_from(number("max-results", PAGE)?).unwrap_or(usize::MAX);
        let most = most.min(self.crowd.switches().page_cap).min(list.len() - start);
        Ok(&list[start..start + most])
    }

    /// Checks that the application has this permission.
    fn demand(&self, permission: Permission) -> Result<(), Refused> {
        if self.crowd.switches().lacking.contains(&permission) {
            let text = format!("Not allowed: {permission:?} in any directory of the application.");
            return Err(Refused::new(403, "APPLICATION_PERMISSION_DENIED", text));
        }
        Ok(())
    }
}

/// Returns the name in a field of the body.
pub(crate) fn named(call: &Call<'_>, field: &str) -> Result<String, Refused> {
    let sent: Value = serde_json::from_slice(&call.request.body).unwrap_or_default();
    let name = sent[field].as_str().map(str::trim).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| Refused::argument(format!("The body gives no {field}.")))
}

impl Crowd {
    fn new(options: &CrowdOptions) -> Self {
        let version: Vec<u32> = options.version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        let mut world = World::default();
        let name = if options.jira.is_some() { "Jira Internal Directory" } else { "Crowd Internal Directory" };
        world.directories.push(Directory { name: name.into(), read_only: false, keeps_status: true });
        world.add_group(if options.jira.is_some() { "jira-administrators" } else { "crowd-administrators" }, "", true);
        Self {
            version_text: options.version.clone(),
            jira: options.jira.clone(),
            server_id: uuid::Uuid::new_v4().to_string(),
            base_path: options.base_path.trim_end_matches('/').to_owned(),
            application: options.application.clone(),
            versions: Versions::new(world, options.history),
            switches: RwLock::new(Switches::of(&version)),
            version,
        }
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches.read().clone()
    }

    /// Returns whether its version is older than this one.
    fn before(&self, version: &[u32]) -> bool {
        self.version.as_slice() < version
    }

    /// Returns whether the application's credentials are valid.
    fn knows(&self, request: &Request) -> bool {
        let sent = request.header("authorization").and_then(|header| header.strip_prefix("Basic "));
        let sent = sent.and_then(|text| STANDARD.decode(text).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
        let (name, password) = &self.application;
        sent.is_some_and(|sent| sent == format!("{name}:{password}"))
    }

    fn route(&self, request: &Request, stale: Option<Stale>) -> Result<Reply, Refused> {
        let segments = request.segments(&self.base_path).ok_or_else(|| Refused::bare(404))?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (rest, version) = match path.as_slice() {
            ["rest", "usermanagement", version @ ("1" | "latest"), rest @ ..] => (rest, *version),
            ["rest", "applinks", "1.0", "manifest"] => return self.manifest(request),
            _ => return Err(Refused::bare(404)),
        };
        let switches = self.switches();
        if switches.address_refused {
            let text = "Client with address \"127.0.0.1\" is forbidden from making requests to the application";
            return Err(Refused::new(403, "APPLICATION_ACCESS_DENIED", text));
        }
        if switches.bad_credentials || !self.knows(request) {
            let mut reply = Reply::empty(401)
                .with("content-type", "text/plain;charset=UTF-8")
                .with("www-authenticate", "Basic realm=\"Crowd REST Service\"");
            reply.body = "Application failed to authenticate".into();
            return Ok(reply);
        }
        let api = format!("{}{}/rest/usermanagement/{version}", request.origin(), self.base_path);
        let call = Call { request, crowd: self, api };
        if request.method == "GET" {
            return self.versions.read(stale, |world| read(world, &call, rest));
        }
        self.versions.write(|world| write(world, &call, rest))
    }

    /// Returns the application link manifest of a Jira, the only public source of its server id.
    fn manifest(&self, request: &Request) -> Result<Reply, Refused> {
        let version = self.jira.as_ref().ok_or_else(|| Refused::bare(404))?;
        let site = format!("{}{}", request.origin(), self.base_path);
        Ok(Reply::json(
            200,
            &json!({ "id": self.server_id, "name": "Jira", "typeId": "jira", "version": version, "url": site }),
        ))
    }
}

fn read(world: &World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
    match rest {
        ["user"] => users::get(world, call),
        ["user", "attribute"] => attributes::get(world, call),
        ["user", "group", depth @ ("direct" | "nested")] => users::groups(world, call, *depth == "nested"),
        ["search"] => users::search(world, call),
        ["group"] => groups::get(world, call),
        ["group", "membership"] => groups::memberships(world, call),
        ["group", "user", depth @ ("direct" | "nested")] => groups::members(world, call, *depth == "nested"),
        ["group", "child-group", depth @ ("direct" | "nested")] => groups::children(world, call, *depth == "nested"),
        _ => Err(Refused::bare(404)),
    }
}

fn write(world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
    match (call.request.method.as_str(), rest) {
        ("POST", ["user"]) => users::create(world, call),
        ("PUT", ["user"]) => users::update(world, call),
        ("DELETE", ["user"]) => users::delete(world, call),
        ("POST", ["user", "rename"]) => users::rename(world, call),
        ("POST", ["user", "attribute"]) => attributes::store(world, call),
        ("DELETE", ["user", "attribute"]) => attributes::remove(world, call),
        ("POST", ["group"]) => groups::create(world, call),
        ("PUT", ["group"]) => groups::update(world, call),
        ("DELETE", ["group"]) => groups::delete(world, call),
        ("POST", ["group", "user", "direct"]) => groups::join(world, call),
        ("DELETE", ["group", "user", "direct"]) => groups::leave(world, call),
        (_, ["user" | "group" | "search"]) => Err(Refused::bare(405)),
        _ => Err(Refused::bare(404)),
    }
}

impl App for Crowd {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let reply = self.route(&request, stale).unwrap_or_else(Reply::from);
        if !self.switches().version_header {
            return reply;
        }
        reply.with("x-embedded-crowd-version", format!("Crowd/{}", self.version_text))
    }
}

/// A running simulated Crowd; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedCrowd {
    server: Server,
    crowd: Arc<Crowd>,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
}

impl SimulatedCrowd {
    /// Starts a Crowd on a loopback port, with an empty internal directory and the administrators' group.
    pub async fn start(options: CrowdOptions) -> io::Result<Self> {
        let crowd = Arc::new(Crowd::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&crowd), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, crowd, faults, journal })
    }

    /// Returns the URL with the base path, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.crowd.base_path)
    }

    /// Returns the application's name and password.
    pub fn application(&self) -> (&str, &str) {
        (&self.crowd.application.0, &self.crowd.application.1)
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
