//! A simulator of Crowd's REST API for applications (`usermanagement/1`), as far as users and groups are concerned;
//! of Crowd itself, or of a Jira by its user server.

mod attributes;
mod groups;
mod handle;
mod refused;
mod render;
mod state;
mod switches;
mod users;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

/// What a page holds if nobody asks for another number.
const PAGE: i64 = 1000;

/// How a simulated Crowd is set up.
#[derive(Clone, Debug)]
pub struct CrowdOptions {
    /// The version, as `5.2.3`; it decides what is there and what is not.
    pub version: String,
    /// The version of the Jira whose user server it is; `None` for a Crowd.
    pub jira: Option<String>,
    /// The path below which everything lies, as `/crowd`; empty for none.
    pub base_path: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Name and password of the application.
    pub application: (String, String),
    /// Whether requests are recorded.
    pub journal: bool,
    /// How many earlier states are kept for stale reads; 0 for none.
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
    /// A Crowd of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// The user server of a Jira of this version.
    pub fn jira(version: &str) -> Self {
        Self { version: "5.1.4".into(), jira: Some(version.into()), base_path: "/jira".into(), ..Self::default() }
    }
}

/// The server's state.
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

/// One request on its way through.
pub(crate) struct Call<'a> {
    request: &'a Request,
    crowd: &'a Crowd,
    /// The API's address as the caller wrote it.
    api: String,
}

impl Call<'_> {
    /// A parameter that must be there.
    fn required(&self, name: &str) -> Result<String, Refused> {
        let value = self.request.param(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refused::argument(format!("The parameter {name} is missing.")))
    }

    /// Whether entries of this kind are to be shown in full.
    fn expands(&self, what: &str) -> bool {
        let asked = self.request.params("expand").join(",");
        self.crowd.switches().expands && asked.split(',').any(|one| one.trim() == what)
    }

    /// The page that is asked for; -1 asks for all.
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

    /// The application has this permission.
    fn demand(&self, permission: Permission) -> Result<(), Refused> {
        if self.crowd.switches().lacking.contains(&permission) {
            let text = format!("Not allowed: {permission:?} in any directory of the application.");
            return Err(Refused::new(403, "APPLICATION_PERMISSION_DENIED", text));
        }
        Ok(())
    }
}

/// The name that a body gives in a field.
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
        self.switches.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its version is an earlier one.
    fn before(&self, version: &[u32]) -> bool {
        self.version.as_slice() < version
    }

    /// Whether the application is believed.
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

    /// The application link manifest of a Jira, the one public place where it tells its server's id.
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

/// A running simulated Crowd; it ends when this is dropped.
#[derive(Debug)]
pub struct SimulatedCrowd {
    server: Server,
    crowd: Arc<Crowd>,
    /// Its faults.
    pub faults: Faults,
    /// What was asked of it.
    pub journal: Journal,
}

impl SimulatedCrowd {
    /// Starts one on a loopback port, with an empty internal directory and the administrators' group.
    pub async fn start(options: CrowdOptions) -> io::Result<Self> {
        let crowd = Arc::new(Crowd::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&crowd), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, crowd, faults, journal })
    }

    /// Where it is, with the base path and without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.crowd.base_path)
    }

    /// The application's name and password.
    pub fn application(&self) -> (&str, &str) {
        (&self.crowd.application.0, &self.crowd.application.1)
    }

    /// Closes the port and returns when it is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
