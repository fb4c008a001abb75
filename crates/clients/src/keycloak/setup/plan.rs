//! Computes the steps from the present state to the wanted state, as a pure function, and applies each step.

use std::{collections::BTreeMap, fmt};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    ADDRESS_ATTRIBUTE, BEFORE_ATTRIBUTE, SetupOptions, VIEW_ORGANIZATIONS,
    admin::Admin,
    present::{self, Client, Present, Raw},
};
use crate::{
    keycloak::{
        SourceError, fault,
        realm_settings::{ADMIN_EXPIRY, DIRECTORY_EVENTS, KEY_ATTRIBUTE, LISTENER, span},
    },
    model::ErrorClass,
    targets::{Note, NoteState},
};

/// Rights that a read-only client does not need.
const TOO_MUCH: [&str; 5] = ["realm-admin", "manage-users", "manage-realm", "manage-clients", "manage-events"];

/// One step. It contains secrets, but neither its text nor its `Debug` output shows them.
pub(super) enum Step {
    CreateClient { client_id: String, realm: String },
    RepairClient { client_id: String, words: Vec<&'static str>, raw: Raw },
    GiveRoles { client_id: String, roles: Vec<&'static str> },
    WidenScope { client_id: String, roles: Vec<&'static str> },
    Attributes { words: Vec<String>, all: BTreeMap<String, String> },
    Events { words: Vec<String>, config: Raw },
    DeleteClient { client_id: String, realm: String, id: String },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateClient { client_id, realm } => {
                write!(
                    f,
                    "create client {client_id} in realm {realm}: confidential, service account, no interactive sign-in"
                )
            }
            Self::RepairClient { client_id, words, .. } => write!(f, "repair client {client_id}: {}", words.join(", ")),
            Self::GiveRoles { client_id, roles } => {
                write!(f, "grant the service account of {client_id}: {}", roles.join(", "))
            }
            Self::WidenScope { client_id, roles } => {
                write!(f, "include in tokens of {client_id}: {}", roles.join(", "))
            }
            Self::Attributes { words, .. } => write!(f, "realm attributes: {}", words.join(", ")),
            Self::Events { words, .. } => write!(f, "realm events: {}", words.join(", ")),
            Self::DeleteClient { client_id, realm, .. } => write!(f, "delete client {client_id} in realm {realm}"),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Step({self})")
    }
}

impl Step {
    pub async fn apply(&self, admin: &Admin, options: &SetupOptions) -> Result<(), SourceError> {
        let realm = options.token_realm();
        match self {
            Self::CreateClient { .. } => {
                let body = Value::Object(new_client(&options.client_id));
                admin.change(Method::POST, realm, &["clients"], Some(&body)).await
            }
            Self::RepairClient { raw, .. } => {
                let id = present::text(raw, "id");
                admin.change(Method::PUT, realm, &["clients", &id], Some(&Value::Object(raw.clone()))).await
            }
            Self::GiveRoles { roles, .. } => {
                let client = present::text(&present::must_client(admin, options).await?, "id");
                let Some(user) = present::service_account(admin, options, &client).await? else {
                    return Err(fault::error(
                        ErrorClass::Permanent,
                        format!(
                            "client {} in realm {realm}: it has no service account although the setting is on",
                            options.client_id
                        ),
                    ));
                };
                let rights = present::rights_client_id(admin, options).await?;
                let body = role_representations(admin, realm, &rights, roles).await?;
                let below = ["users", &user, "role-mappings", "clients", &rights];
                admin.change(Method::POST, realm, &below, Some(&body)).await
            }
            Self::WidenScope { roles, .. } => {
                let client = present::text(&present::must_client(admin, options).await?, "id");
                let rights = present::rights_client_id(admin, options).await?;
                let body = role_representations(admin, realm, &rights, roles).await?;
                let below = ["clients", &client, "scope-mappings", "clients", &rights];
                admin.change(Method::POST, realm, &below, Some(&body)).await
            }
            Self::Attributes { all, .. } => {
                // Keycloak removes attributes that are not sent, so all are sent.
                let body = json!({ "attributes": all });
                admin.change(Method::PUT, &options.realm, &[], Some(&body)).await
            }
            Self::Events { config, .. } => {
                let body = Value::Object(config.clone());
                admin.change(Method::PUT, &options.realm, &["events", "config"], Some(&body)).await
            }
            Self::DeleteClient { id, .. } => admin.change(Method::DELETE, realm, &["clients", id], None).await,
        }
    }
}

/// Returns the error of a Keycloak that is too old for the role.
fn no_role_for_organizations(realm: &str) -> SourceError {
    let text = format!(
        "realm {realm}: this Keycloak has no role {VIEW_ORGANIZATIONS}; it exists since 26.7. Update Keycloak, or grant \
         manage-realm to the service account and run this again without --view-organizations"
    );
    fault::error(ErrorClass::Permanent, text)
}

async fn role_representations(admin: &Admin, realm: &str, rights: &str, roles: &[&str]) -> Result<Value, SourceError> {
    let mut found = Vec::new();
    for role in roles {
        let read = admin.get::<Value>(realm, &["clients", rights, "roles", role]).await;
        found.push(read.map_err(|error| match *role {
            VIEW_ORGANIZATIONS if error.text.contains("Could not find role") => no_role_for_organizations(realm),
            _ => error,
        })?);
    }
    Ok(Value::Array(found))
}

/// Required settings of the client, with the text of the repair.
const CLIENT: [(&str, bool, &str); 7] = [
    ("enabled", true, "turn it on"),
    ("publicClient", false, "client authentication on"),
    ("bearerOnly", false, "bearer-only off"),
    ("serviceAccountsEnabled", true, "service account on"),
    ("standardFlowEnabled", false, "standard flow off"),
    ("implicitFlowEnabled", false, "implicit flow off"),
    ("directAccessGrantsEnabled", false, "direct access grants off"),
];

fn new_client(client_id: &str) -> Raw {
    let mut raw = Raw::new();
    raw.insert("clientId".into(), client_id.into());
    raw.insert("name".into(), "usersync".into());
    raw.insert("description".into(), "Reads users and groups; made by usersync keycloak setup".into());
    raw.insert("protocol".into(), "openid-connect".into());
    raw.insert("clientAuthenticatorType".into(), "client-secret".into());
    for (name, value, _) in CLIENT {
        raw.insert(name.into(), value.into());
    }
    raw
}

/// Returns the steps that lead to the wanted state, and notes for the operator.
pub(super) fn plan(options: &SetupOptions, present: &Present) -> (Vec<Step>, Vec<Note>) {
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    client_steps(options, present.client.as_ref(), &mut steps, &mut notes);
    let mut attributes = present.attributes.clone();
    let mut words = Vec::new();
    let mut before = Before::default();
    let events = event_step(options, present, &mut attributes, &mut words, &mut before, &mut notes);
    if before != Before::default() && !attributes.contains_key(BEFORE_ATTRIBUTE) {
        let text = serde_json::to_string(&before).unwrap_or_default();
        attributes.insert(BEFORE_ATTRIBUTE.into(), text);
        words.push(format!("{BEFORE_ATTRIBUTE} (the previous event settings)"));
    }
    let address = options.address.as_ref().map(url::Url::as_str);
    for (name, value) in [(ADDRESS_ATTRIBUTE, address), (KEY_ATTRIBUTE, options.key.as_deref())] {
        let Some(value) = value else { continue };
        if attributes.insert(name.into(), value.into()).as_deref() != Some(value) {
            words.push(name.to_owned());
        }
    }
    if !words.is_empty() {
        steps.push(Step::Attributes { words, all: attributes });
    }
    steps.extend(events);
    (steps, notes)
}

fn client_steps(options: &SetupOptions, present: Option<&Client>, steps: &mut Vec<Step>, notes: &mut Vec<Note>) {
    let client_id = options.client_id.clone();
    let wanted = options.roles();
    let Some(client) = present else {
        steps.push(Step::CreateClient { client_id: client_id.clone(), realm: options.token_realm().to_owned() });
        steps.push(Step::GiveRoles { client_id, roles: wanted });
        return;
    };
    let wrong: Vec<_> =
        CLIENT.into_iter().filter(|(name, value, _)| client.raw.get(*name) != Some(&Value::Bool(*value))).collect();
    if !wrong.is_empty() {
        let mut raw = client.raw.clone();
        for (name, value, _) in &wrong {
            raw.insert((*name).into(), (*value).into());
        }
        let words = wrong.into_iter().map(|(_, _, words)| words).collect();
        steps.push(Step::RepairClient { client_id: client_id.clone(), words, raw });
    }
    let lacking = |has: &std::collections::BTreeSet<String>| -> Vec<&'static str> {
        wanted.iter().copied().filter(|role| !has.contains(*role)).collect()
    };
    let roles = lacking(&client.roles);
    if !roles.is_empty() {
        steps.push(Step::GiveRoles { client_id: client_id.clone(), roles });
    }
    let roles = client.scope.as_ref().map(lacking).unwrap_or_default();
    if !roles.is_empty() {
        steps.push(Step::WidenScope { client_id: client_id.clone(), roles });
    }
    let more: Vec<_> = TOO_MUCH.into_iter().filter(|role| client.roles.contains(*role)).collect();
    if !more.is_empty() {
        let text = format!(
            "{} is more than usersync needs: it only reads. Remove it: Clients, {client_id}, Service account roles",
            more.join(", ")
        );
        notes.push(Note { state: NoteState::Note, about: "rights".into(), text });
    }
}

/// The previous values of the event settings that were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Before {
    /// Members of `events/config`; `null` for a member that did not exist.
    #[serde(skip_serializing_if = "Raw::is_empty")]
    pub config: Raw,
    /// The previous expiry of admin events; empty if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_expiry: Option<String>,
}

fn event_step(
    options: &SetupOptions,
    present: &Present,
    attributes: &mut BTreeMap<String, String>,
    attribute_words: &mut Vec<String>,
    before: &mut Before,
    notes: &mut Vec<Note>,
) -> Option<Step> {
    let old = &present.events;
    let mut config = old.clone();
    let mut words = Vec::new();
    let on = |name: &str| old.get(name) == Some(&Value::Bool(true));
    let mut change = |config: &mut Raw, name: &str, value: Value| {
        before.config.insert(name.into(), old.get(name).cloned().unwrap_or(Value::Null));
        config.insert(name.into(), value);
    };
    for (name, what) in [
        ("adminEventsEnabled", "keep admin events"),
        ("adminEventsDetailsEnabled", "with details"),
        ("eventsEnabled", "keep user events"),
    ] {
        if !on(name) {
            change(&mut config, name, true.into());
            words.push(what.to_owned());
        }
    }
    let wanted = i64::try_from(options.expiry.as_secs()).unwrap_or(i64::MAX);
    let present_expiry = old.get("eventsExpiration").and_then(Value::as_i64);
    match expiry(present_expiry, on("eventsEnabled"), wanted) {
        Expiry::Set => {
            change(&mut config, "eventsExpiration", wanted.into());
            words.push(format!("user events for {}", span(wanted.unsigned_abs())));
        }
        Expiry::ForEver => notes.push(for_ever("user events")),
        Expiry::Keep => {}
    }
    let types: Vec<&str> = old
        .get("enabledEventTypes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let missing: Vec<_> = DIRECTORY_EVENTS.into_iter().filter(|kind| !types.contains(kind)).collect();
    // Keycloak returns its default types if none are chosen; sending them back would store them as a choice.
    config.remove("enabledEventTypes");
    if !types.is_empty() && !missing.is_empty() {
        let all: Vec<_> = types.iter().copied().chain(missing.iter().copied()).collect();
        change(&mut config, "enabledEventTypes", json!(all));
        words.push(format!("user event types {}", missing.join(", ")));
    }
    if !on("eventsEnabled") && (types.is_empty() || types.contains(&"LOGIN")) {
        let text = "user events of all types selected in the realm are kept, so each sign-in is a row in Keycloak's \
                    database. Fewer: Realm settings, Events, User events settings";
        notes.push(Note { state: NoteState::Note, about: "user events".into(), text: text.into() });
    }
    let present_expiry = present.attributes.get(ADMIN_EXPIRY).and_then(|text| text.parse().ok());
    match expiry(present_expiry, on("adminEventsEnabled"), wanted) {
        Expiry::Set => {
            before.admin_expiry = Some(attributes.insert(ADMIN_EXPIRY.into(), wanted.to_string()).unwrap_or_default());
            attribute_words.push(format!("admin events for {}", span(wanted.unsigned_abs())));
        }
        Expiry::ForEver => notes.push(for_ever("admin events")),
        Expiry::Keep => {}
    }
    listener(present, &mut config, &mut words, notes);
    (!words.is_empty()).then_some(Step::Events { words, config })
}

enum Expiry {
    Keep,
    Set,
    ForEver,
}

/// Returns what to do with an expiry. A longer one is kept, and so is "for ever" if events are already stored.
fn expiry(present: Option<i64>, in_use: bool, wanted: i64) -> Expiry {
    match present.filter(|seconds| *seconds > 0) {
        Some(seconds) if seconds >= wanted => Expiry::Keep,
        None if in_use => Expiry::ForEver,
        _ => Expiry::Set,
    }
}

fn for_ever(what: &str) -> Note {
    let text = format!(
        "{what} have no expiry, so their table grows without limit. Set an expiry: Realm settings, \
                        Events"
    );
    Note { state: NoteState::Note, about: "expiry".into(), text }
}

fn listener(present: &Present, config: &mut Raw, words: &mut Vec<String>, notes: &mut Vec<Note>) {
    let mut listeners: Vec<Value> =
        present.events.get("eventsListeners").and_then(Value::as_array).cloned().unwrap_or_default();
    let there = listeners.iter().any(|id| id == LISTENER);
    let installed = present.listeners.as_ref().map(|known| known.contains(LISTENER));
    // The list may contain a listener that is not installed, which makes Keycloak reject the whole change.
    config.remove("eventsListeners");
    let note = |state, text: &str| Note { state, about: "listener".into(), text: text.into() };
    match installed {
        Some(true) if !there => {
            listeners.push(LISTENER.into());
            config.insert("eventsListeners".into(), Value::Array(listeners));
            words.push(format!("listener {LISTENER}"));
        }
        Some(true) => {}
        Some(false) => notes.push(note(
            NoteState::Wait,
            "Keycloak does not have it yet. Copy the provider's jar into its folder providers, restart Keycloak, then \
             run this command again. Until then, changes are found by the full reconcile",
        )),
        None if there => {}
        None => notes.push(note(
            NoteState::Wait,
            "this administrator cannot see whether Keycloak has it. Sign in as an administrator of realm master, or \
             add usersync under Realm settings, Events, Event listeners",
        )),
    }
}

#[cfg(test)]
mod tests;
