//! Routing of reads.

use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::Keycloak;
use super::page::ok;
use super::rights::{Rights, demand};
use super::state::{Id, Realm};
use super::{events_read, groups_read, organizations_read, realm_read, roles_read, users_read};
use crate::front::{Reply, Request};

/// Answers a GET below `/admin/realms/{realm}`.
///
/// `imported`: the users that the request has imported.
pub(crate) fn answer(
    realm: &Realm,
    rights: &Rights,
    request: &Request,
    rest: &[&str],
    imported: &[Id],
) -> Result<Reply, Refused> {
    match rest {
        [] => {
            demand(!rights.is_none())?;
            Ok(ok(&listed_realm(realm, rights)))
        }
        ["users", rest @ ..] => users_read::answer(realm, rights, request, rest, imported),
        ["groups", rest @ ..] => groups_read::answer(realm, rights, request, rest),
        ["group-by-path", path @ ..] => groups_read::by_path(realm, rights, &path.join("/")),
        ["default-groups"] => groups_read::defaults(realm, rights),
        ["roles", rest @ ..] => roles_read::roles(realm, rights, request, rest),
        ["roles-by-id", rest @ ..] => roles_read::by_id(realm, rights, request, rest),
        ["organizations", rest @ ..] => organizations_read::answer(realm, rights, request, rest),
        ["clients", rest @ ..] => realm_read::clients(realm, rights, request, rest),
        ["components", rest @ ..] => realm_read::components(realm, rights, rest),
        ["user-storage", rest @ ..] => realm_read::user_storage(realm, rights, rest),
        ["admin-events"] => events_read::admin_events(realm, rights, request),
        ["events"] => events_read::user_events(realm, rights, request),
        ["events", "config"] => events_read::config(realm, rights),
        ["partialImport"] => Err(Refused::no_method()),
        _ => Err(Refused::no_path()),
    }
}

/// Returns a realm with the fields that the caller's rights allow.
pub(crate) fn listed_realm(realm: &Realm, rights: &Rights) -> Value {
    let mut shown = json!({
        "realm": realm.name, "bruteForceProtected": false, "supportedLocales": [],
        "organizationsEnabled": realm.has_organizations(),
    });
    if rights.view_users() {
        shown["registrationEmailAsUsername"] = json!(false);
    }
    if rights.view_realm() {
        shown["id"] = json!(*realm.id);
        shown["enabled"] = json!(true);
        shown["accessTokenLifespan"] = json!(300);
        shown["editUsernameAllowed"] = json!(realm.settings.edit_username);
        shown["eventsEnabled"] = json!(realm.settings.user_events);
        shown["eventsListeners"] = json!(realm.settings.listeners);
        shown["enabledEventTypes"] = json!(realm.settings.event_types);
        shown["adminEventsEnabled"] = json!(realm.settings.admin_events);
        shown["adminEventsDetailsEnabled"] = json!(realm.settings.admin_event_details);
        if let Some(fields) = shown.as_object_mut() {
            fields.extend(realm.settings.extra.clone());
        }
    }
    shown
}

/// Returns the page at the root.
pub(crate) fn welcome() -> Reply {
    let page = "<!doctype html><html><head><title>Keycloak Administration Console</title></head></html>";
    let mut reply = Reply::empty(200).with("content-type", "text/html; charset=utf-8");
    reply.body = page.into();
    reply
}

/// Returns the public part of a realm.
pub(crate) fn public_realm(keycloak: &Keycloak, request: &Request, name: &str) -> Reply {
    let base = format!("{}{}/realms/{name}", request.origin(), keycloak.prefix);
    ok(&json!({
        "realm": name, "public_key": "", "tokens-not-before": 0,
        "token-service": format!("{base}/protocol/openid-connect"), "account-service": format!("{base}/account"),
    }))
}

/// Returns the `OpenID` Connect discovery document.
pub(crate) fn discovery(keycloak: &Keycloak, request: &Request, name: &str) -> Reply {
    let base = format!("{}{}/realms/{name}", request.origin(), keycloak.prefix);
    let connect = format!("{base}/protocol/openid-connect");
    Reply::json(
        200,
        &json!({
            "issuer": base, "token_endpoint": format!("{connect}/token"),
            "authorization_endpoint": format!("{connect}/auth"), "jwks_uri": format!("{connect}/certs"),
            "introspection_endpoint": format!("{connect}/token/introspect"),
            "userinfo_endpoint": format!("{connect}/userinfo"), "end_session_endpoint": format!("{connect}/logout"),
            "grant_types_supported": ["authorization_code", "client_credentials", "password", "refresh_token"],
            "subject_types_supported": ["public", "pairwise"], "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }),
    )
}
