//! Reads the current state of a realm, limited to what setup uses.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{SetupOptions, admin::Admin};
use crate::{
    keycloak::{SourceError, fault},
    model::ErrorClass,
};

/// A representation that is changed in a few members and sent back complete.
pub(super) type Raw = Map<String, Value>;

#[derive(Clone, Debug, Default)]
pub(super) struct Present {
    /// The client; `None` if it does not exist.
    pub client: Option<Client>,
    /// `events/config`, complete.
    pub events: Raw,
    /// The realm's attributes, complete.
    pub attributes: BTreeMap<String, String>,
    /// Ids of the event listeners that the server has installed; `None` if the administrator may not see them.
    pub listeners: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    /// The complete representation.
    pub raw: Raw,
    /// Roles of the rights client that its service account has, direct or inherited.
    pub roles: BTreeSet<String>,
    /// Roles that its tokens can carry; `None` if they carry all.
    pub scope: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub id: String,
}

impl Present {
    pub async fn read(admin: &Admin, options: &SetupOptions) -> Result<Self, SourceError> {
        #[derive(Deserialize)]
        struct Realm {
            #[serde(default)]
            attributes: Option<BTreeMap<String, String>>,
        }
        #[derive(Deserialize)]
        struct Server {
            providers: BTreeMap<String, Spi>,
        }
        #[derive(Deserialize)]
        struct Spi {
            #[serde(default)]
            providers: BTreeMap<String, Value>,
        }
        let realm: Realm = admin.get(&options.realm, &[]).await?;
        let events = admin.get(&options.realm, &["events", "config"]).await?;
        let server: Option<Server> = admin.server_info().await?;
        let listeners = server
            .and_then(|mut server| server.providers.remove("eventsListener"))
            .map(|spi| spi.providers.into_keys().collect());
        let client = client(admin, options).await?;
        Ok(Self { client, events, attributes: realm.attributes.unwrap_or_default(), listeners })
    }
}

async fn client(admin: &Admin, options: &SetupOptions) -> Result<Option<Client>, SourceError> {
    let Some(raw) = client_raw(admin, options).await? else { return Ok(None) };
    let id = text(&raw, "id");
    let rights = rights_client_id(admin, options).await?;
    let names = |roles: Vec<Role>| roles.into_iter().map(|role| role.name).collect::<BTreeSet<_>>();
    let realm = options.token_realm();
    let mut roles = BTreeSet::new();
    if let Some(user) = service_account(admin, options, &id).await? {
        let below = ["users", &user, "role-mappings", "clients", &rights, "composite"];
        roles = names(admin.get(realm, &below).await?);
    }
    let scope = match raw.get("fullScopeAllowed") {
        Some(Value::Bool(false)) => {
            let below = ["clients", &id, "scope-mappings", "clients", &rights, "composite"];
            Some(names(admin.get(realm, &below).await?))
        }
        _ => None,
    };
    Ok(Some(Client { raw, roles, scope }))
}

/// Returns a member that is a string.
pub(super) fn text(raw: &Raw, name: &str) -> String {
    raw.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Reads the client; `None` if it does not exist.
pub(super) async fn client_raw(admin: &Admin, options: &SetupOptions) -> Result<Option<Raw>, SourceError> {
    find_client(admin, options.token_realm(), &options.client_id).await
}

async fn find_client(admin: &Admin, realm: &str, client_id: &str) -> Result<Option<Raw>, SourceError> {
    let found: Vec<Raw> = admin.find(realm, &["clients"], &[("clientId", client_id)]).await?.unwrap_or_default();
    Ok(found.into_iter().find(|raw| text(raw, "clientId") == client_id))
}

/// Reads the client, which is known to exist.
pub(super) async fn must_client(admin: &Admin, options: &SetupOptions) -> Result<Raw, SourceError> {
    client_raw(admin, options).await?.ok_or_else(|| missing(options.token_realm(), &options.client_id))
}

/// Returns the id of the client that holds the rights as roles.
pub(super) async fn rights_client_id(admin: &Admin, options: &SetupOptions) -> Result<String, SourceError> {
    let name = options.rights_client();
    let found = find_client(admin, options.token_realm(), &name).await?;
    found.map(|raw| text(&raw, "id")).ok_or_else(|| missing(options.token_realm(), &name))
}

fn missing(realm: &str, client_id: &str) -> SourceError {
    fault::error(
        ErrorClass::Permanent,
        format!("realm {realm}: client {client_id} does not exist. A client outside the realm must be in realm master"),
    )
}

/// Returns the user of the client's service account; `None` while the service account is disabled.
pub(super) async fn service_account(
    admin: &Admin,
    options: &SetupOptions,
    client: &str,
) -> Result<Option<String>, SourceError> {
    let raw = must_client(admin, options).await?;
    if raw.get("serviceAccountsEnabled") != Some(&Value::Bool(true)) {
        return Ok(None);
    }
    let found: Option<Named> =
        admin.find(options.token_realm(), &["clients", client, "service-account-user"], &[]).await?;
    Ok(found.map(|user| user.id))
}

/// Reads the client's secret.
pub(super) async fn client_secret(admin: &Admin, options: &SetupOptions) -> Result<SecretString, SourceError> {
    #[derive(Deserialize)]
    struct Secret {
        value: String,
    }
    let client = text(&must_client(admin, options).await?, "id");
    let secret: Secret = admin.get(options.token_realm(), &["clients", &client, "client-secret"]).await?;
    Ok(secret.value.into())
}
