//! A simulator of Keycloak: realms with users, groups and events, behind the Admin REST API.
//!
//! Its answers were compared with Keycloak 26.7.0. `tests/contract_keycloak/main.rs` compares them again if a real one
//! is available.

mod access_change;
mod change;
mod event;
mod events_read;
mod groups_change;
mod groups_read;
mod handle;
mod page;
mod read;
mod realm_read;
mod refused;
mod render;
mod rep;
mod rights;
mod state;
mod token;
mod users_change;
mod users_read;
mod values;
mod webhook;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use parking_lot::RwLock;
use serde_json::json;

use self::change::{Actor, Draws, Tx};
use self::refused::Refused as Refusal;
use self::rights::demand;
use self::state::{Realm, management_client, new_id};
use self::token::{Grant, Tokens};
use super::fault::{Faults, Stale};
use super::front::{self, App, Reply, Request};
use super::journal::Journal;
use super::server::Server;
use super::versions::Versions;

pub use handle::RealmHandle;
pub use refused::Refused;
pub use values::{GroupState, NewUser, RealmSnapshot, UserChange, UserState};
pub use webhook::{Delivery, Form, LISTENER_USER_EVENTS, Timing, Webhook};

/// Options of a simulated Keycloak.
#[derive(Clone, Debug)]
pub struct KeycloakOptions {
    /// Base path, such as `/auth`; empty: none.
    pub prefix: String,
    /// The version that the server reports.
    pub version: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the administrator in `master`.
    pub admin: (String, String),
    /// Lifetime of tokens.
    pub token_life: Duration,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for KeycloakOptions {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            version: "26.7.0".into(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token_life: Duration::from_mins(5),
            journal: true,
            history: 0,
        }
    }
}

/// A realm with its listener.
#[derive(Debug)]
pub(crate) struct RealmCell {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) versions: Versions<Realm>,
    pub(crate) sender: webhook::Sender,
    gone: AtomicBool,
}

impl RealmCell {
    fn start(realm: Realm, history: usize) -> Self {
        Self {
            name: realm.name.clone(),
            id: realm.id.to_string(),
            versions: Versions::new(realm, history),
            sender: webhook::Sender::start(),
            gone: AtomicBool::new(false),
        }
    }

    /// Makes one change; posts its events before or after the commit, as the webhook's timing says.
    pub(crate) async fn change<R>(
        &self,
        actor: &Actor,
        work: impl Fn(&mut Tx<'_>) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let mut draws = Draws::new();
        if let Some(wait) = self.sender.pre_commit() {
            let mut draft = self.versions.draft();
            let mut tx = Tx::new(&mut draft, actor, &mut draws);
            work(&mut tx)?;
            let events = self.sender.prepare(&self.id, &self.name, &tx.out);
            if !events.is_empty() {
                self.sender.post(events).await;
                tokio::time::sleep(wait).await;
            }
            draws.again();
            // The change can be refused now; then the posted events describe a change that never happened.
            return self.versions.write(|realm| work(&mut Tx::new(realm, actor, &mut draws)));
        }
        let (result, events) = self.versions.write(|realm| {
            let mut tx = Tx::new(realm, actor, &mut draws);
            let result = work(&mut tx)?;
            let events = self.sender.prepare(&self.id, &self.name, &tx.out);
            Ok((result, events))
        })?;
        self.sender.queue(events);
        Ok(result)
    }
}

/// State of the server.
#[derive(Debug)]
pub(crate) struct Keycloak {
    pub(crate) prefix: String,
    version: String,
    admin: (String, String),
    admin_id: String,
    token_life: Duration,
    history: usize,
    tokens: Tokens,
    realms: RwLock<BTreeMap<String, Arc<RealmCell>>>,
}

impl Keycloak {
    /// Returns the realm of this name, unless it is removed.
    fn cell(&self, name: &str) -> Option<Arc<RealmCell>> {
        let realms = self.realms.read();
        realms.get(name).filter(|cell| !cell.gone.load(Ordering::SeqCst)).cloned()
    }

    /// Adds a realm, and its rights to `master`; false if it exists.
    fn add(&self, realm: Realm) -> bool {
        let name = realm.name.clone();
        let mut realms = self.realms.write();
        if realms.contains_key(&name) {
            return false;
        }
        if let Some(master) = realms.get("master") {
            let client = management_client(&format!("{name}-realm"));
            let added: Result<(), Refusal> = master.versions.write(|master| {
                master.clients.insert(client.name.clone(), client);
                Ok(())
            });
            debug_assert!(added.is_ok());
        }
        realms.insert(name, Arc::new(RealmCell::start(realm, self.history)));
        true
    }

    /// Returns the token's grant if its realm is the one that issued it and its account still exists.
    fn authenticate(&self, request: &Request) -> Result<Grant, Refusal> {
        let grant = self.tokens.check(request)?;
        let cell = self.cell(&grant.realm).filter(|cell| cell.id == grant.realm_id);
        let account = &grant.actor.user;
        let alive = cell.is_some_and(|cell| {
            grant.is_administrator() || cell.versions.read(None, |realm| realm.users.contains_key(account.as_str()))
        });
        if alive { Ok(grant) } else { Err(Refusal::unauthorized()) }
    }

    async fn route(&self, request: &Request, stale: Option<Stale>) -> Result<Reply, Refusal> {
        let Some(segments) = request.segments(&self.prefix) else {
            return Err(Refusal::error(404, "Unable to find matching target resource method"));
        };
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
        match (method, path.as_slice()) {
            ("GET", []) => Ok(read::welcome()),
            (_, ["realms", name, rest @ ..]) => {
                let cell = self.cell(name).ok_or_else(|| Refusal::error(404, "Realm does not exist"))?;
                match (method, rest) {
                    ("POST", ["protocol", "openid-connect", "token"]) => Ok(token::answer(self, &cell, request).await),
                    (_, ["protocol", "openid-connect", "token"]) => Err(Refusal::no_method()),
                    ("GET", []) => Ok(read::public_realm(self, request, name)),
                    ("GET", [".well-known", "openid-configuration"]) => Ok(read::discovery(self, request, name)),
                    _ => Err(Refusal::no_path()),
                }
            }
            (_, ["admin", "realms", name, rest @ ..]) => {
                let grant = self.authenticate(request)?;
                let cell = self.cell(name).ok_or_else(|| Refusal::error(404, "Realm not found."))?;
                if method == "GET" {
                    return cell.versions.read(stale, |realm| read::answer(realm, &grant.rights(realm), request, rest));
                }
                if (method, rest) == ("DELETE", &[]) {
                    demand(grant.is_administrator())?;
                    self.realms.write().remove(*name);
                    return Ok(Reply::empty(204));
                }
                let rights = cell.versions.read(None, |realm| grant.rights(realm));
                write::answer(self, &cell, &grant.actor, &rights, request, method, rest).await
            }
            ("GET", ["admin", "realms"]) => {
                let grant = self.authenticate(request)?;
                self.list_realms(&grant)
            }
            ("POST", ["admin", "realms"]) => {
                let grant = self.authenticate(request)?;
                demand(grant.is_administrator())?;
                write::create_realm(self, request)
            }
            ("GET", ["admin", "serverinfo"]) => {
                let grant = self.authenticate(request)?;
                let cell = self.cell(&grant.realm).ok_or_else(Refusal::unauthorized)?;
                let rights = cell.versions.read(None, |realm| grant.rights(realm));
                demand(!rights.is_none())?;
                let mut shown = json!({ "profileInfo": { "name": "default" } });
                // Only callers that may manage the realm see the version.
                if rights.manage_realm() {
                    shown["systemInfo"] = json!({ "version": self.version });
                }
                Ok(Reply::json(200, &shown))
            }
            (_, ["admin", ..]) => Err(Refusal::no_method()),
            _ => Err(Refusal::error(404, "Unable to find matching target resource method")),
        }
    }

    fn list_realms(&self, grant: &Grant) -> Result<Reply, Refusal> {
        let realms = self.realms.read();
        let shown: Vec<_> = realms
            .values()
            .filter_map(|cell| {
                cell.versions.read(None, |realm| {
                    let rights = grant.rights(realm);
                    (!rights.is_none()).then(|| read::listed_realm(realm, &rights))
                })
            })
            .collect();
        demand(!shown.is_empty())?;
        Ok(Reply::json(200, &shown))
    }
}

impl App for Keycloak {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let mut reply = self.route(&request, stale).await.unwrap_or_else(Reply::from);
        if request.method == "HEAD" {
            reply.body.clear();
        }
        reply
    }
}

/// A running simulated Keycloak; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedKeycloak {
    server: Server,
    keycloak: Arc<Keycloak>,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
}

impl SimulatedKeycloak {
    /// Starts a Keycloak on a loopback port, with only the realm `master`.
    pub async fn start(options: KeycloakOptions) -> io::Result<Self> {
        let (keycloak, router, faults, journal) = Self::assemble(&options);
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, keycloak, faults, journal })
    }

    /// Starts a Keycloak with realm `acme`; its client `usersync` (secret `usersync-secret`) may read users and events.
    pub async fn start_with_realm() -> io::Result<(Self, RealmHandle)> {
        let simulator = Self::start(KeycloakOptions::default()).await?;
        let realm = simulator.add_realm("acme");
        realm.add_service_client("usersync", "usersync-secret", &["view-users", "view-events"]);
        Ok((simulator, realm))
    }

    fn assemble(options: &KeycloakOptions) -> (Arc<Keycloak>, Router, Faults, Journal) {
        let keycloak = Arc::new(Keycloak {
            prefix: options.prefix.trim_end_matches('/').to_owned(),
            version: options.version.clone(),
            admin: options.admin.clone(),
            admin_id: new_id().to_string(),
            token_life: options.token_life,
            history: options.history,
            tokens: Tokens::default(),
            realms: RwLock::default(),
        });
        keycloak.add(Realm::new("master"));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&keycloak), faults.clone(), journal.clone());
        (keycloak, router, faults, journal)
    }

    /// Returns the URL with the base path, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.keycloak.prefix)
    }

    /// Adds a realm that stores events, allows login changes and keeps every attribute; or returns the one of that
    /// name.
    pub fn add_realm(&self, name: &str) -> RealmHandle {
        let mut realm = Realm::new(name);
        realm.settings.admin_events = true;
        realm.settings.admin_event_details = true;
        realm.settings.user_events = true;
        realm.settings.edit_username = true;
        realm.settings.unmanaged_attributes = true;
        self.keycloak.add(realm);
        let realms = self.keycloak.realms.read();
        RealmHandle::new(Arc::clone(&realms[name]), &self.keycloak.admin_id)
    }

    /// Returns the realm of this name.
    pub fn realm(&self, name: &str) -> Option<RealmHandle> {
        let realms = self.keycloak.realms.read();
        realms.get(name).map(|cell| RealmHandle::new(Arc::clone(cell), &self.keycloak.admin_id))
    }

    /// Revokes all tokens: the next call with one of them is answered with 401.
    pub fn revoke_tokens(&self) {
        self.keycloak.tokens.revoke_all();
    }

    /// Saves the current state of all realms for [`Stale::Frozen`] reads.
    pub fn freeze(&self) {
        for cell in self.keycloak.realms.read().values() {
            cell.versions.freeze();
        }
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
