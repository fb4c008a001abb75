//! Reads of stored events.

use serde_json::json;

use super::errors::Refused;
use super::event::{STORED_BY_DEFAULT, UserEvent, is_known};
use super::page::{Page, ok};
use super::rights::{Rights, demand};
use super::state::Realm;
use crate::front::{Reply, Request};

/// Returns the bounds of a time range, in milliseconds, both inclusive.
fn range(request: &Request) -> Result<(i64, i64), Refused> {
    let end = |name: &str, last: bool| -> Result<Option<i64>, Refused> {
        let Some(text) = request.param(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if let Ok(millis) = text.parse() {
            return Ok(Some(millis));
        }
        let day: Option<jiff::civil::Date> =
            (text.len() == 10).then(|| jiff::civil::Date::strptime("%Y-%m-%d", &text).ok()).flatten();
        let start = day.and_then(|day| day.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).ok());
        let start = start.map(|start| start.timestamp().as_millisecond());
        let text = format!("Invalid value for '{name}', expected format is yyyy-MM-dd or an Epoch timestamp");
        let start = start.ok_or_else(|| Refused::error(400, &text))?;
        Ok(Some(if last { start + 86_399_999 } else { start }))
    };
    Ok((end("dateFrom", false)?.unwrap_or(i64::MIN), end("dateTo", true)?.unwrap_or(i64::MAX)))
}

/// Returns whether the order is oldest first.
fn ascending(request: &Request) -> Result<bool, Refused> {
    match request.param("direction").as_deref() {
        None | Some("desc") => Ok(false),
        Some("asc") => Ok(true),
        Some(_) => Err(Refused::error(400, "Invalid value for sortDirection, expected value is asc or desc")),
    }
}

/// Returns the filter's values; for a value that no event can have, Keycloak fails.
fn wanted(request: &Request, name: &str, known: impl Fn(&str) -> bool) -> Result<Vec<String>, Refused> {
    let values: Vec<String> = request.params(name).into_iter().filter(|value| !value.is_empty()).collect();
    if values.iter().all(|value| known(value)) { Ok(values) } else { Err(Refused::broke()) }
}

const OPERATIONS: &[&str] = &["CREATE", "UPDATE", "DELETE", "ACTION"];

const RESOURCES: &[&str] = &[
    "REALM",
    "REALM_ROLE",
    "REALM_ROLE_MAPPING",
    "REALM_SCOPE_MAPPING",
    "AUTH_FLOW",
    "AUTH_EXECUTION_FLOW",
    "AUTH_EXECUTION",
    "AUTHENTICATOR_CONFIG",
    "REQUIRED_ACTION_CONFIG",
    "REQUIRED_ACTION",
    "IDENTITY_PROVIDER",
    "IDENTITY_PROVIDER_MAPPER",
    "PROTOCOL_MAPPER",
    "USER",
    "USER_LOGIN_FAILURE",
    "USER_SESSION",
    "USER_FEDERATION_PROVIDER",
    "USER_FEDERATION_MAPPER",
    "GROUP",
    "GROUP_MEMBERSHIP",
    "CLIENT",
    "CLIENT_INITIAL_ACCESS_MODEL",
    "CLIENT_ROLE",
    "CLIENT_ROLE_MAPPING",
    "CLIENT_SCOPE",
    "CLIENT_SCOPE_MAPPING",
    "CLIENT_SCOPE_CLIENT_MAPPING",
    "CLUSTER_NODE",
    "COMPONENT",
    "AUTHORIZATION_RESOURCE_SERVER",
    "AUTHORIZATION_RESOURCE",
    "AUTHORIZATION_SCOPE",
    "AUTHORIZATION_POLICY",
    "CUSTOM",
    "USER_PROFILE",
    "ORGANIZATION",
    "ORGANIZATION_MEMBERSHIP",
    "ORGANIZATION_GROUP",
    "ORGANIZATION_GROUP_MEMBERSHIP",
];

fn one_of(values: &[String], value: &str) -> bool {
    values.is_empty() || values.iter().any(|one| one == value)
}

/// Matches a path against a pattern; `*` matches any text.
fn path_fits(pattern: Option<&str>, path: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Cuts a page. Keycloak sorts events by time only: those of one millisecond come in another order for another page.
fn page_of<T: Clone>(found: Vec<T>, time: impl Fn(&T) -> i64, ascending: bool, page: Page) -> Vec<T> {
    let mut found = found;
    if !ascending {
        found.reverse();
    }
    if page.first > 0 {
        found.chunk_by_mut(|one, other| time(one) == time(other)).for_each(|same| same.rotate_right(1));
    }
    page.cut(&found).to_vec()
}

fn is_visible(realm: &Realm, id: &str) -> bool {
    !realm.uncommitted.contains(id)
}

/// `GET admin-events`.
pub(crate) fn admin_events(realm: &Realm, rights: &Rights, request: &Request) -> Result<Reply, Refused> {
    demand(rights.view_events())?;
    let page = Page::of(request, 100)?;
    let (from, to) = range(request)?;
    let ascending = ascending(request)?;
    let operations = wanted(request, "operationTypes", |value| OPERATIONS.contains(&value))?;
    let resources = wanted(request, "resourceTypes", |value| RESOURCES.contains(&value))?;
    let pattern = request.param("resourcePath").filter(|pattern| !pattern.is_empty());
    let actor = |name: &str| request.param(name).filter(|value| !value.is_empty());
    let (by_realm, by_client, by_user, by_ip) =
        (actor("authRealm"), actor("authClient"), actor("authUser"), actor("authIpAddress"));
    let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
    let found = realm.admin_events.iter().filter(|event| {
        (from..=to).contains(&event.time)
            && is_visible(realm, &event.id)
            && one_of(&operations, event.operation_type)
            && one_of(&resources, event.resource_type)
            && path_fits(pattern.as_deref(), event.resource_path.as_deref().unwrap_or_default())
            && is(&by_realm, &event.auth_details.realm_id)
            && is(&by_client, &event.auth_details.client_id)
            && is(&by_user, &event.auth_details.user_id)
            && is(&by_ip, &event.auth_details.ip_address)
    });
    let shown = page_of(found.collect(), |event| event.time, ascending, page);
    Ok(ok(&shown.iter().map(|event| &***event).collect::<Vec<_>>()))
}

/// `GET events`.
pub(crate) fn user_events(realm: &Realm, rights: &Rights, request: &Request) -> Result<Reply, Refused> {
    demand(rights.view_events())?;
    let page = Page::of(request, 100)?;
    let (from, to) = range(request)?;
    let ascending = ascending(request)?;
    let kinds = wanted(request, "type", is_known)?;
    let by = |name: &str| request.param(name).filter(|value| !value.is_empty());
    let (client, user, ip) = (by("client"), by("user"), by("ipAddress"));
    let is =
        |wanted: &Option<String>, value: Option<&str>| wanted.as_ref().is_none_or(|wanted| Some(&**wanted) == value);
    let fits = |event: &&std::sync::Arc<UserEvent>| {
        (from..=to).contains(&event.time)
            && is_visible(realm, &event.id)
            && one_of(&kinds, &event.kind)
            && is(&client, event.client_id.as_deref())
            && is(&user, event.user_id.as_deref())
            && is(&ip, Some(&event.ip_address))
    };
    let shown = page_of(realm.user_events.iter().filter(fits).collect(), |event| event.time, ascending, page);
    Ok(ok(&shown.iter().map(|event| &***event).collect::<Vec<_>>()))
}

/// `GET events/config`.
pub(crate) fn config(realm: &Realm, rights: &Rights) -> Result<Reply, Refused> {
    demand(rights.view_events())?;
    let settings = &realm.settings;
    let mut types: Vec<String> = settings.event_types.iter().cloned().collect();
    if types.is_empty() {
        types = STORED_BY_DEFAULT.iter().flat_map(|kind| [(*kind).to_owned(), format!("{kind}_ERROR")]).collect();
    }
    let mut shown = json!({
        "eventsEnabled": settings.user_events, "eventsListeners": settings.listeners, "enabledEventTypes": types,
        "adminEventsEnabled": settings.admin_events, "adminEventsDetailsEnabled": settings.admin_event_details,
    });
    if let Some(expiration) = settings.extra.get("eventsExpiration").filter(|expiration| !expiration.is_null()) {
        shown["eventsExpiration"] = expiration.clone();
    }
    Ok(ok(&shown))
}
