//! The token endpoint: `client_credentials` for service accounts, `password` for the master administrator.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::auth::Grant;
use super::change::Actor;
use super::errors::Refused;
use super::instance::{Keycloak, RealmCell};
use super::state::User;
use crate::front::{Reply, Request};

fn oauth(status: u16, error: &str, text: &str) -> Refused {
    Refused { status, body: json!({ "error": error, "error_description": text }) }
}

/// Answers the token endpoint.
pub(crate) async fn answer(keycloak: &Keycloak, cell: &RealmCell, request: &Request) -> Reply {
    let reply = match grant(keycloak, cell, request).await {
        Ok(body) => Reply::json(200, &body),
        Err(refused) => refused.into(),
    };
    reply.with("cache-control", "no-store").with("pragma", "no-cache")
}

async fn grant(keycloak: &Keycloak, cell: &RealmCell, request: &Request) -> Result<Value, Refused> {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let (client_id, secret) = credentials(request, &form);
    let nobody = || oauth(401, "invalid_client", "Invalid client or Invalid client credentials");
    let client = cell
        .versions
        .read(None, |realm| realm.clients.get(&client_id).cloned())
        .filter(|_| !client_id.is_empty())
        .ok_or_else(nobody)?;
    if client.secret.is_some() && client.secret != secret {
        return Err(oauth(401, "unauthorized_client", "Invalid client or Invalid client credentials"));
    }
    let kind = form.get("grant_type").map(String::as_str);
    match kind {
        None => Err(oauth(400, "invalid_request", "Missing form parameter: grant_type")),
        Some("client_credentials") => {
            let text = "Public client not allowed to retrieve service account";
            if client.secret.is_none() {
                return Err(oauth(401, "unauthorized_client", text));
            }
            let account = client.service_account.as_ref();
            let user = account.and_then(|id| cell.versions.read(None, |realm| realm.users.get(id).cloned()));
            let text = "Client not enabled to retrieve service account";
            let user = user.ok_or_else(|| oauth(401, "unauthorized_client", text))?;
            let actor = Actor { realm: cell.id.clone(), client: client.id.to_string(), user: user.id.to_string() };
            let issued = issue(keycloak, cell, request, actor.clone(), &user, &client_id);
            let details = BTreeMap::from([
                ("grant_type".to_owned(), "client_credentials".to_owned()),
                ("scope".to_owned(), "email profile".to_owned()),
                ("client_auth_method".to_owned(), "client-secret".to_owned()),
                ("username".to_owned(), user.username.clone()),
            ]);
            // Stored like any user event: a poller that requests all types reads its own logins.
            let stored = cell.change(&actor, |tx| {
                tx.user_event("CLIENT_LOGIN", Some(&client_id), Some(&user.id), None, details.clone());
                Ok(())
            });
            stored.await?;
            Ok(issued)
        }
        Some("password") if cell.name == "master" && client_id == "admin-cli" => {
            let given = (form.get("username"), form.get("password"));
            if given != (Some(&keycloak.admin.0), Some(&keycloak.admin.1)) {
                return Err(oauth(400, "invalid_grant", "Invalid user credentials"));
            }
            Ok(issue_admin(keycloak, cell, request))
        }
        Some("password") => Err(oauth(400, "unauthorized_client", "Client not allowed for direct access grants")),
        Some(_) => Err(oauth(400, "unsupported_grant_type", "Unsupported grant_type")),
    }
}

/// Returns client id and secret, from the form or from Basic credentials.
fn credentials(request: &Request, form: &BTreeMap<String, String>) -> (String, Option<String>) {
    let basic = request.header("authorization").and_then(|header| {
        let bytes = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (id, secret) = text.split_once(':')?;
        // RFC 6749 2.3.1: both parts are form-encoded inside the Basic credentials.
        let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        Some((decode(id), Some(decode(secret))))
    });
    basic.unwrap_or_else(|| (form.get("client_id").cloned().unwrap_or_default(), form.get("client_secret").cloned()))
}

fn issue(keycloak: &Keycloak, cell: &RealmCell, request: &Request, actor: Actor, user: &User, client: &str) -> Value {
    let (roles, realm_roles) = cell.versions.read(None, |realm| {
        let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut realm_roles: Vec<String> = Vec::new();
        for (client, name) in realm.effective_roles(user) {
            match client.map(|client| realm.client(&client)) {
                None => realm_roles.push(name),
                Some(client) => {
                    roles.entry(client.map_or_else(String::new, |one| one.name.clone())).or_default().push(name);
                }
            }
        }
        (roles, realm_roles)
    });
    let access: BTreeMap<&String, Value> = roles
        .iter()
        .filter(|(_, roles)| !roles.is_empty())
        .map(|(name, roles)| (name, json!({ "roles": roles })))
        .collect();
    let claims = json!({
        "aud": access.keys().collect::<Vec<_>>(),
        "sub": actor.user,
        "azp": client,
        "client_id": client,
        "acr": "1",
        "realm_access": { "roles": realm_roles },
        "resource_access": access,
        "preferred_username": user.username,
        "email_verified": false,
    });
    let grant = Grant {
        realm: cell.name.clone(),
        realm_id: cell.id.clone(),
        actor,
        roles,
        administrator: false,
        ends: Instant::now() + keycloak.token_life,
    };
    signed(keycloak, cell, request, claims, grant, keycloak.token_life)
}

fn issue_admin(keycloak: &Keycloak, cell: &RealmCell, request: &Request) -> Value {
    let client_id = cell
        .versions
        .read(None, |realm| realm.clients.get("admin-cli").map(|client| client.id.to_string()).unwrap_or_default());
    let life = Duration::from_mins(1);
    let actor = Actor { realm: cell.id.clone(), client: client_id, user: keycloak.admin_id.clone() };
    let grant = Grant {
        realm: cell.name.clone(),
        realm_id: cell.id.clone(),
        actor,
        roles: BTreeMap::new(),
        administrator: true,
        ends: Instant::now() + life,
    };
    // Lightweight token: `admin-cli` puts neither subject nor roles into its tokens.
    signed(keycloak, cell, request, json!({ "azp": "admin-cli" }), grant, life)
}

fn signed(
    keycloak: &Keycloak,
    cell: &RealmCell,
    request: &Request,
    mut claims: Value,
    grant: Grant,
    life: Duration,
) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    if let Some(claims) = claims.as_object_mut() {
        claims.insert("iss".into(), json!(format!("{}{}/realms/{}", request.origin(), keycloak.prefix, cell.name)));
        claims.insert("iat".into(), json!(now));
        claims.insert("exp".into(), json!(now.saturating_add(seconds)));
        claims.insert("jti".into(), json!(uuid::Uuid::new_v4().to_string()));
        claims.insert("typ".into(), json!("Bearer"));
        claims.insert("scope".into(), json!("email profile"));
    }
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT","kid":"simulator"}"#);
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    // No client verifies the signature; it must only be unguessable and have the right form.
    let signature =
        URL_SAFE_NO_PAD.encode([uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat());
    let token = format!("{header}.{payload}.{signature}");
    keycloak.tokens.add(token.clone(), grant);
    json!({
        "access_token": token, "expires_in": seconds, "refresh_expires_in": 0, "token_type": "Bearer",
        "not-before-policy": 0, "scope": "email profile",
    })
}
