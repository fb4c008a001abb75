//! The server and its realms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::KeycloakOptions;
use super::auth::{Grant, Tokens};
use super::change::{Actor, Draws, Tx};
use super::errors::Refused;
use super::state::{Realm, management_client, new_id};
use super::webhook::Sender;
use crate::front::Request;
use crate::versions::Versions;

/// A realm with its listener.
#[derive(Debug)]
pub(crate) struct RealmCell {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) versions: Versions<Realm>,
    pub(crate) sender: Sender,
    pub(crate) gone: AtomicBool,
}

impl RealmCell {
    pub(crate) fn start(realm: Realm, history: usize) -> Self {
        Self {
            name: realm.name.clone(),
            id: realm.id.to_string(),
            versions: Versions::new(realm, history),
            sender: Sender::start(),
            gone: AtomicBool::new(false),
        }
    }

    /// Makes one change; posts its events before or after the commit, as the webhook's timing says.
    pub(crate) async fn change<R>(
        &self,
        actor: &Actor,
        work: impl Fn(&mut Tx<'_>) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
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
    pub(crate) version: String,
    pub(crate) admin: (String, String),
    pub(crate) admin_id: String,
    pub(crate) token_life: Duration,
    pub(crate) history: usize,
    pub(crate) tokens: Tokens,
    pub(crate) realms: RwLock<BTreeMap<String, Arc<RealmCell>>>,
}

impl Keycloak {
    /// Returns a server with only the realm `master`.
    pub(crate) fn new(options: &KeycloakOptions) -> Self {
        let keycloak = Self {
            prefix: options.prefix.trim_end_matches('/').to_owned(),
            version: options.version.clone(),
            admin: options.admin.clone(),
            admin_id: new_id().to_string(),
            token_life: options.token_life,
            history: options.history,
            tokens: Tokens::default(),
            realms: RwLock::default(),
        };
        keycloak.add(Realm::new("master"));
        keycloak
    }

    /// Returns the realm of this name, unless it is removed.
    pub(crate) fn cell(&self, name: &str) -> Option<Arc<RealmCell>> {
        let realms = self.realms.read();
        realms.get(name).filter(|cell| !cell.gone.load(Ordering::SeqCst)).cloned()
    }

    /// Adds a realm, and its rights to `master`; false if it exists.
    pub(crate) fn add(&self, realm: Realm) -> bool {
        let name = realm.name.clone();
        let mut realms = self.realms.write();
        if realms.contains_key(&name) {
            return false;
        }
        if let Some(master) = realms.get("master") {
            let client = management_client(&format!("{name}-realm"));
            master.versions.change(|master| master.clients.insert(client.name.clone(), client));
        }
        realms.insert(name, Arc::new(RealmCell::start(realm, self.history)));
        true
    }

    /// Returns the token's grant if its realm is the one that issued it and its account still exists.
    pub(crate) fn authenticate(&self, request: &Request) -> Result<Grant, Refused> {
        let grant = self.tokens.check(request)?;
        let cell = self.cell(&grant.realm).filter(|cell| cell.id == grant.realm_id);
        let account = &grant.actor.user;
        let alive = cell.is_some_and(|cell| {
            grant.is_administrator() || cell.versions.read(None, |realm| realm.users.contains_key(account.as_str()))
        });
        if alive { Ok(grant) } else { Err(Refused::unauthorized()) }
    }
}
