//! Describes the cause of a change in words, from the event behind it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::exit::Failure;
use crate::{
    model::{Cause, EventRecord},
    store::{EventFilter, Store},
};

/// Maximum number of events that are read; further events are shown by id.
const LOOKED_UP: usize = 1_000;

/// The events behind a number of causes, by event id.
#[derive(Default)]
pub(super) struct Causes(BTreeMap<String, EventRecord>);

impl Causes {
    /// Reads the events of these causes.
    pub async fn read<'c>(store: &dyn Store, causes: impl Iterator<Item = &'c Cause>) -> Result<Self, Failure> {
        let ids: BTreeSet<&String> = causes
            .filter_map(|cause| match cause {
                Cause::Event { id } => Some(id),
                Cause::Run { .. } | Cause::Other { .. } => None,
            })
            .collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let ids = ids.into_iter().take(LOOKED_UP).cloned().collect();
        let events = store.events(&EventFilter { ids, limit: 0, ..EventFilter::default() }).await?;
        Ok(Self(events.into_iter().map(|event| (event.id.clone(), event)).collect()))
    }

    /// Describes a cause in words, with the number of its event or run.
    pub fn because(&self, cause: &Cause) -> String {
        match cause {
            Cause::Event { id } => match self.0.get(id) {
                Some(event) => format!("{} (event {})", what_happened(event), event.seq),
                None => format!("event {id}"),
            },
            Cause::Run { id } => format!("full reconcile {id}"),
            Cause::Other { what } => what.clone(),
        }
    }
}

/// Returns the login of the user that an event is about, if the event has it. usersync's own listener sends it as
/// `username`, a user event in its details, an admin event in the user representation.
pub(super) fn login(event: &EventRecord) -> Option<String> {
    let body: Value = serde_json::from_str(&event.body).ok()?;
    // In events of other listeners, `username` outside the details may be the administrator's.
    let own = body.get("kind").and(body["username"].as_str());
    let login = own.or(body["details"]["username"].as_str()).map(str::to_owned);
    login.or_else(|| carried(&body)?["username"].as_str().map(str::to_owned)).filter(|login| !login.is_empty())
}

/// Returns the representation in an admin event. Keycloak sends it as JSON within JSON.
fn carried(body: &Value) -> Option<Value> {
    match &body["representation"] {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Object(object) => Some(Value::Object(object.clone())),
        _ => None,
    }
}

/// Describes an event in words, such as `user updated in Keycloak`.
pub(super) fn what_happened(event: &EventRecord) -> String {
    let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
    let (operation, resource) = match event.kind.split_once(' ') {
        Some(parts) => parts,
        // An event of Keycloak's model has its own type instead of an operation.
        None if body["kind"] == "model" => (of_model(body["type"].as_str().unwrap_or_default()), event.kind.as_str()),
        None => (event.kind.as_str(), ""),
    };
    let done = match operation {
        "CREATE" => "created",
        "UPDATE" => "updated",
        "DELETE" => "deleted",
        _ => "changed",
    };
    match (operation, resource) {
        ("CREATE", "GROUP_MEMBERSHIP") => format!("added to {} in Keycloak", group(&body)),
        ("DELETE", "GROUP_MEMBERSHIP") => format!("removed from {} in Keycloak", group(&body)),
        ("CREATE", "ORGANIZATION_MEMBERSHIP") => format!("added to {} in Keycloak", organization(&body)),
        ("DELETE", "ORGANIZATION_MEMBERSHIP") => format!("removed from {} in Keycloak", organization(&body)),
        ("CREATE", "REALM_ROLE_MAPPING" | "CLIENT_ROLE_MAPPING") => "role granted in Keycloak".to_owned(),
        ("DELETE", "REALM_ROLE_MAPPING" | "CLIENT_ROLE_MAPPING") => "role revoked in Keycloak".to_owned(),
        ("REGISTER", "") => "user registered".to_owned(),
        ("UPDATE_PROFILE", "") => "user changed the profile".to_owned(),
        ("UPDATE_EMAIL", "") => "user changed the e-mail address".to_owned(),
        ("DELETE_ACCOUNT", "") => "user deleted the account".to_owned(),
        (_, "") => operation.to_lowercase().replace('_', " "),
        (_, resource) => format!("{} {done} in Keycloak", resource.to_lowercase().replace('_', " ")),
    }
}

/// Returns the operation of a model event type, such as `GroupMemberJoinEvent` or `GROUP_MEMBER_JOIN`.
fn of_model(kind: &str) -> &'static str {
    let kind = kind.to_lowercase().replace('_', "");
    let kind = kind.trim_end_matches("event");
    let ends = |endings: [&str; 3]| endings.into_iter().any(|ending| kind.ends_with(ending));
    match () {
        () if ends(["created", "join", "granted"]) => "CREATE",
        () if ends(["removed", "leave", "revoked"]) => "DELETE",
        () => "UPDATE",
    }
}

/// Describes the group that a membership event is about, as far as the event names it.
fn group(body: &Value) -> String {
    let name =
        carried(body).and_then(|group| group["path"].as_str().or_else(|| group["name"].as_str()).map(str::to_owned));
    name.map_or_else(|| "a group".to_owned(), |name| format!("group {name}"))
}

/// Describes the organization that a membership event is about, as far as the event names it.
fn organization(body: &Value) -> String {
    let name = carried(body).and_then(|organization| organization["name"].as_str().map(str::to_owned));
    name.map_or_else(|| "an organization".to_owned(), |name| format!("organization {name}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::model::EventOutcome;

    fn event(kind: &str, body: &Value) -> EventRecord {
        EventRecord {
            seq: 7,
            connector: "acme".into(),
            id: "e".to_owned(),
            kind: kind.to_owned(),
            about: "users/1".to_owned(),
            occurred_at: None,
            received_at: Timestamp::UNIX_EPOCH,
            duplicates: 0,
            hints: Vec::new(),
            outcome: EventOutcome::Accepted,
            body: body.to_string(),
        }
    }

    #[test]
    fn an_event_is_told_in_words() {
        let group = json!({ "representation": "{\"name\":\"eng\",\"path\":\"/eng\"}" });
        for (kind, body, words) in [
            ("UPDATE USER", json!({}), "user updated in Keycloak"),
            ("CREATE GROUP_MEMBERSHIP", group.clone(), "added to group /eng in Keycloak"),
            ("DELETE GROUP_MEMBERSHIP", json!({}), "removed from a group in Keycloak"),
            ("CREATE CLIENT_ROLE_MAPPING", json!({}), "role granted in Keycloak"),
            (
                "CREATE ORGANIZATION_MEMBERSHIP",
                json!({"representation": "{\"name\":\"Acme Inc\",\"alias\":\"acme\"}"}),
                "added to organization Acme Inc in Keycloak",
            ),
            ("DELETE ORGANIZATION_MEMBERSHIP", json!({}), "removed from an organization in Keycloak"),
            ("ACTION REALM", json!({}), "realm changed in Keycloak"),
            ("GROUP", json!({ "kind": "model", "type": "GroupCreatedEvent" }), "group created in Keycloak"),
            (
                "GROUP_MEMBERSHIP",
                json!({ "kind": "model", "type": "GroupMemberLeaveEvent" }),
                "removed from a group in Keycloak",
            ),
            ("UPDATE_PROFILE", json!({}), "user changed the profile"),
            ("RESET_PASSWORD", json!({}), "reset password"),
        ] {
            assert_eq!(what_happened(&event(kind, &body)), words);
        }
    }

    #[test]
    fn the_login_is_shown_where_the_event_has_it() {
        for (body, wanted) in [
            (json!({ "kind": "admin", "username": "alice" }), Some("alice")),
            (json!({ "username": "an-administrator" }), None),
            (json!({ "details": { "username": "alice" } }), Some("alice")),
            (json!({ "representation": "{\"username\":\"alice\"}" }), Some("alice")),
            (json!({ "representation": { "username": "alice" } }), Some("alice")),
            (json!({ "representation": "not JSON", "details": {} }), None),
            (json!({}), None),
        ] {
            assert_eq!(login(&event("UPDATE USER", &body)).as_deref(), wanted, "{body}");
        }
    }
}
