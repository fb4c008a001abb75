//! A simulator of Jira Data Center's REST API for users and groups.

mod auth;
mod groups;
mod handle;
mod refused;
mod render;
mod state;
mod switches;
mod users;

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value, json};

use self::auth::{Bucket, Caller, Credentials};
use self::refused::Refused;
use self::render::answer;
use self::state::{Account, Application, Directory, Profile, World};
use self::switches::Switches;
use super::fault::{Faults, Stale};
use super::front::{self, App, Reply, Request};
use super::journal::Journal;
use super::server::Server;
use super::versions::Versions;

pub use handle::{AccountState, JiraSnapshot, NewAccount};
pub use switches::{RateLimit, ShownGroups};

/// Options of a simulated Jira.
#[derive(Clone, Debug)]
pub struct JiraOptions {
    /// The version, such as `10.3`; it decides which endpoints exist.
    pub version: String,
    /// Base path, such as `/jira`; empty: none.
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

impl Default for JiraOptions {
    fn default() -> Self {
        Self {
            version: "10.3.24".into(),
            base_path: String::new(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token: "simulator-token".into(),
            journal: true,
            history: 0,
        }
    }
}

impl JiraOptions {
    /// Returns the options of a Jira of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}

/// Identity that the server reports.
#[derive(Clone, Debug)]
struct Identity {
    server_id: String,
    title: String,
    /// The base URL set by an administrator; `None`: the address of the request.
    base_url: Option<String>,
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Jira {
    version_text: String,
    version: (u32, u32),
    base_path: String,
    versions: Versions<World>,
    switches: RwLock<Switches>,
    credentials: RwLock<Credentials>,
    identity: RwLock<Identity>,
    bucket: Mutex<Option<Bucket>>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    request: &'a Request,
    /// Name of the signed-in account.
    name: Option<&'a str>,
    /// The API's URL as the caller wrote it.
    api: String,
}

impl Call<'_> {
    /// Returns a number from the query.
    fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        let Some(text) = self.request.param(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let number: i64 = text.parse().map_err(|_| Refused::message(404, format!("{name} is not a number")))?;
        Ok(usize::try_from(number).ok())
    }

    fn account<'w>(&self, world: &'w World) -> Option<&'w Arc<Account>> {
        self.name.and_then(|name| world.named(name)).filter(|account| account.active())
    }

    fn is_admin(&self, world: &World) -> bool {
        self.account(world).is_some_and(|account| world.is_admin(account))
    }

    fn demand_user(&self, world: &World) -> Result<(), Refused> {
        self.account(world).map(|_| ()).ok_or_else(Refused::unauthorized)
    }

    fn demand_admin(&self, world: &World) -> Result<(), Refused> {
        self.demand_user(world)?;
        if self.is_admin(world) { Ok(()) } else { Err(Refused::forbidden()) }
    }

    /// Checks that the caller may change the account: only system administrators change system administrators.
    fn demand_over(&self, world: &World, account: &Account) -> Result<(), Refused> {
        let may = !world.is_sysadmin(account) || self.account(world).is_some_and(|caller| world.is_sysadmin(caller));
        if may { Ok(()) } else { Err(Refused::forbidden()) }
    }
}

impl Jira {
    fn new(options: &JiraOptions) -> Self {
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
            world.join(&key, group);
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

    fn route(&self, request: &Request, caller: &Caller, stale: Option<Stale>) -> Result<Reply, Refused> {
        let missing = || Refused::no_path(&request.path);
        let segments = request.segments(&self.base_path).ok_or_else(missing)?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let site = format!("{}{}", request.origin(), self.base_path);
        let name = match caller {
            Caller::Known(name) => Some(name.as_str()),
            _ => None,
        };
        let (rest, version) = match path.as_slice() {
            ["rest", "api", version @ ("2" | "latest"), rest @ ..] => (rest, *version),
            ["rest", "auth", "1" | "latest", "session"] => {
                return self.session(request, name, &site);
            }
            ["rest", "applinks", "1.0" | "latest", "manifest"] => return Ok(self.manifest(&site)),
            _ => return Err(missing()),
        };
        let call = Call { request, name, api: format!("{site}/rest/api/{version}") };
        if request.method == "GET" {
            // Refused credentials treated as none: an empty list that looks like a valid answer.
            if *caller == Caller::Refused
                && let Some(empty) = empty_answer(rest, &call)
            {
                return Ok(empty);
            }
            return self.versions.read(stale, |world| self.read(world, &call, rest, &site));
        }
        if request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"))
            && request.header("x-atlassian-token").is_none_or(|value| value != "no-check")
        {
            return Err(Refused::message(403, "XSRF check failed"));
        }
        self.versions.write(|world| self.write(world, &call, rest))
    }

    fn read(&self, world: &World, call: &Call<'_>, rest: &[&str], site: &str) -> Result<Reply, Refused> {
        match rest {
            ["serverInfo"] => Ok(self.server_info(site)),
            ["myself"] => {
                let account = call.account(world).ok_or_else(Refused::unauthorized)?;
                Ok(answer(200, &render::user(world, &call.api, account, "", ShownGroups::All)))
            }
            ["mypermissions"] => {
                let account = call.account(world).ok_or_else(Refused::unauthorized)?;
                Ok(answer(200, &permissions(world, account, self.switches().browse_users)))
            }
            ["applicationrole"] => {
                call.demand_admin(world)?;
                let all: Vec<Value> = world.applications.iter().map(|one| render::application(world, one)).collect();
                Ok(answer(200, &all).with("etag", format!("\"{}\"", all.len())))
            }
            ["applicationrole", key] => {
                call.demand_admin(world)?;
                let found = world.applications.iter().find(|one| one.key == *key);
                let found = found.ok_or_else(|| Refused::message(404, format!("There is no application '{key}'.")))?;
                Ok(answer(200, &render::application(world, found)))
            }
            ["groups", "picker"] | ["user", "search"] if !self.switches().browse_users => {
                call.demand_user(world)?;
                empty_answer(rest, call).ok_or_else(|| Refused::no_path(&call.request.path))
            }
            ["groups", "picker"] => groups::picker(self, world, call),
            ["user" | "group", ..] => {
                call.demand_user(world)?;
                match rest {
                    ["user"] => users::get(self, world, call),
                    ["user", "search"] => users::search(self, world, call),
                    ["user", "list"] => users::list(self, world, call),
                    ["user", "duplicated", "count"] => users::duplicated(world, call, true),
                    ["user", "duplicated", "list"] => users::duplicated(world, call, false),
                    ["group"] => groups::get(self, world, call),
                    ["group", "member"] => groups::members(world, call),
                    _ => Err(Refused::no_path(&call.request.path)),
                }
            }
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn write(&self, world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        match (call.request.method.as_str(), rest) {
            ("POST", ["user"]) => users::create(self, world, call),
            ("PUT", ["user"]) => users::update(self, world, call),
            ("DELETE", ["user"]) => users::delete(world, call),
            ("PUT", ["user", "password"]) => users::password(self, world, call),
            ("POST", ["user", "application"]) => users::access(world, call, true),
            ("DELETE", ["user", "application"]) => users::access(world, call, false),
            ("DELETE", ["user", "session", name]) => users::end_session(self, world, call, name),
            ("POST", ["password", "policy", "createUser"]) => {
                let sent: Value = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
                if sent["username"].as_str().is_none() || sent["password"].as_str().is_none() {
                    return Err(Refused::message(400, "Username and password must be given."));
                }
                Ok(answer(200, &json!([])))
            }
            ("POST", ["group"]) => groups::create(self, world, call),
            ("DELETE", ["group"]) => groups::delete(world, call),
            ("POST", ["group", "user"]) => groups::join(world, call),
            ("DELETE", ["group", "user"]) => groups::leave(world, call),
            (_, ["user" | "group" | "serverInfo" | "myself"]) => Err(Refused::bare(405)),
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn server_info(&self, site: &str) -> Reply {
        let identity = self.identity.read();
        let numbers: Vec<u32> = self.version_text.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        answer(
            200,
            &json!({
                "baseUrl": identity.base_url.as_deref().unwrap_or(site), "version": self.version_text, "versionNumbers": numbers, "deploymentType": "Server",
                "buildNumber": u64::from(self.version.0) * 100_000 + u64::from(self.version.1) * 1000,
                "buildDate": "2026-01-01T00:00:00.000+0000", "scmInfo": "simulator", "serverTitle": identity.title,
            }),
        )
    }

    /// Returns the application link manifest, the only public source of a Jira's server id.
    fn manifest(&self, site: &str) -> Reply {
        let identity = self.identity.read();
        answer(
            200,
            &json!({
                "id": identity.server_id, "name": identity.title, "typeId": "jira", "version": self.version_text,
                "url": identity.base_url.as_deref().unwrap_or(site), "publicSignup": false,
            }),
        )
    }

    fn session(&self, request: &Request, name: Option<&str>, site: &str) -> Result<Reply, Refused> {
        if request.method != "GET" {
            return Err(Refused::bare(405));
        }
        if !self.switches().basic_allowed {
            return Err(Refused::unauthorized());
        }
        let name = name.ok_or_else(Refused::unauthorized)?;
        let shown =
            json!({ "self": format!("{site}/rest/api/latest/user?username={name}"), "name": name, "loginInfo": {} });
        Ok(answer(200, &shown))
    }
}

/// Returns the answer to an anonymous caller from a public resource.
fn empty_answer(rest: &[&str], call: &Call<'_>) -> Option<Reply> {
    match rest {
        ["user", "search"] => Some(answer(200, &json!([]))),
        ["groups", "picker"] => {
            let header = "Showing 0 of 0 matching groups";
            Some(answer(200, &json!({ "header": header, "total": 0, "groups": [] })))
        }
        ["group", "member"] | ["user", "list"] => {
            let link = format!("{}/{}", call.api, rest.join("/"));
            let mut shown = json!({ "self": link, "maxResults": 50, "isLast": true, "values": [] });
            if rest[0] == "group" {
                shown["startAt"] = json!(0);
                shown["total"] = json!(0);
            }
            Some(answer(200, &shown))
        }
        _ => None,
    }
}

fn permissions(world: &World, account: &Account, browses: bool) -> Value {
    let one = |key: &str, name: &str, have: bool| {
        let shown = json!({
            "id": "0", "key": key, "name": name, "type": "GLOBAL", "description": "", "havePermission": have,
        });
        (key.to_owned(), shown)
    };
    let all = [
        one("ADMINISTER", "Jira Administrators", world.is_admin(account)),
        one("SYSTEM_ADMIN", "Jira System Administrators", world.is_sysadmin(account)),
        one("USER_PICKER", "Browse users and groups", browses),
    ];
    json!({ "permissions": Map::from_iter(all) })
}

impl App for Jira {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let switches = self.switches();
        let caller = {
            let credentials = self.credentials.read();
            auth::caller(&request, &credentials, &switches)
        };
        let limited = {
            let mut bucket = self.bucket.lock();
            bucket.as_mut().map(Bucket::take)
        };
        let site = format!("{}{}", request.origin(), self.base_path);
        let early = if limited.as_ref().is_some_and(|(granted, _)| !granted) {
            Some(Reply::empty(429))
        } else if caller == Caller::Refused && switches.refused_as_anonymous {
            None
        } else {
            auth::refusal(&caller, &site)
        };
        let mut reply = match early {
            Some(reply) => reply,
            None => self.route(&request, &caller, stale).unwrap_or_else(Reply::from),
        };
        if let Some((_, headers)) = limited {
            reply.headers.extend(headers);
        }
        if let Some(reason) = auth::reason(&caller) {
            reply.headers.push(("x-seraph-loginreason".into(), reason.into()));
        }
        let name = match &caller {
            Caller::Known(name) => name.as_str(),
            _ => "anonymous",
        };
        reply.with("x-ausername", name)
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
}
