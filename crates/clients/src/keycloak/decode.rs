//! Decodes the body of a webhook, or a page of Keycloak's event store, into events and the subjects to reconcile.
//!
//! An event is only a hint, so none of its content is applied. Accepted are Keycloak's own representations of admin and
//! user events, and the p2-inc webhook form. The flat form of other listeners and the form of usersync's own listener
//! are accepted too. A body is one event, an array of events, or `{"events": […]}`.

mod json;
mod path;
mod table;

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::error::Category;
use sha2::{Digest as _, Sha256};

use self::{
    json::Json,
    table::{Facts, Verdict, verdict},
};
use super::signature::Verified;
use crate::model::{EventOutcome, NewEvent, Uses};

/// Maximum number of events in one request.
pub const MOST_EVENTS: usize = 1000;

/// Largest lead of Keycloak's clock over usersync's; a later event time is discarded.
const CLOCK_AHEAD: SignedDuration = SignedDuration::from_hours(24);

const LONGEST_ID: usize = 255;

/// The prefix of p2-inc's listener for the type of a user event; its prefix for an admin event is `admin.`.
const P2_USER_EVENT: &str = "access.";

/// The realm and the time for which events are decoded.
#[derive(Clone, Copy, Debug)]
pub struct DecodeContext<'a> {
    /// The connector's realm, by name.
    pub realm: &'a str,
    /// The current time.
    pub now: Timestamp,
    /// What the connector's policy depends on. Events about the rest cause no work.
    pub uses: Uses,
}

impl<'a> DecodeContext<'a> {
    /// Creates a context for this realm and time, for a policy that depends on neither roles nor organizations.
    pub fn new(realm: &'a str, now: Timestamp) -> Self {
        Self { realm, now, uses: Uses::default() }
    }
}

/// Why a body contains no events. The messages contain nothing of the body.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The body is not JSON.
    #[error(
        "the body is not JSON: {what} at line {line}, column {column}. Send one event, an array of events, or {{\"events\": […]}}"
    )]
    NotJson {
        /// What is wrong.
        what: &'static str,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// The body is JSON, but contains no event.
    #[error("the body contains no Keycloak event: {0}. Send one event, an array of events, or {{\"events\": […]}}")]
    NoEvent(&'static str),
    /// The body contains too many events.
    #[error(
        "the body contains {0} events, but at most {MOST_EVENTS} are accepted in one request. Send them in \
             several requests"
    )]
    TooMany(usize),
}

/// Decodes all events of a body.
///
/// A batch item that is not an event is stored as ignored, so that the other events are not lost.
///
/// # Errors
/// The body contains no event at all, is not JSON, or contains too many events.
pub fn decode(body: Verified<'_>, context: &DecodeContext<'_>) -> Result<Vec<NewEvent>, DecodeError> {
    let parsed: Json<'_> = serde_json::from_slice(body.bytes()).map_err(|error| not_json(&error))?;
    let items = events(parsed)?;
    if items.len() > MOST_EVENTS {
        return Err(DecodeError::TooMany(items.len()));
    }
    if !items.is_empty() && !items.iter().any(is_event) {
        return Err(DecodeError::NoEvent("nothing in it has a type, an operationType or a resourcePath"));
    }
    Ok(items.into_iter().map(|item| new_event(item, context)).collect())
}

/// A stored event, with its time as Keycloak wrote it.
pub(super) struct Stored {
    /// Milliseconds since the epoch.
    pub millis: i64,
    pub event: NewEvent,
}

/// Decodes events as Keycloak's event store returns them; `None` if one of them has no id or no time, as before
/// Keycloak 26.2.
///
/// A stored event is committed with its change, so it needs no recheck.
///
/// # Errors
/// The body is not a JSON array.
pub(super) fn decode_stored(
    body: &[u8],
    context: &DecodeContext<'_>,
) -> Result<Option<Vec<Stored>>, serde_json::Error> {
    let items: Vec<Json<'_>> = serde_json::from_slice(body)?;
    let stored = |item: Json<'_>| {
        let millis = match item.get("time") {
            Some(Json::Number(millis)) => millis.as_i64()?,
            _ => return None,
        };
        item.text("id")?;
        Some(Stored { millis, event: NewEvent { polled: true, recheck: false, ..new_event(item, context) } })
    };
    Ok(items.into_iter().map(stored).collect())
}

fn not_json(error: &serde_json::Error) -> DecodeError {
    let what = match error.classify() {
        Category::Eof => "unexpected end of input",
        _ => "unexpected input",
    };
    DecodeError::NotJson { what, line: error.line(), column: error.column() }
}

fn events(parsed: Json<'_>) -> Result<Vec<Json<'_>>, DecodeError> {
    match parsed {
        Json::List(items) => Ok(items),
        Json::Object(mut members) => match members.iter().position(|(key, _)| key == "events") {
            Some(at) if matches!(members[at].1, Json::List(_)) => match members.swap_remove(at).1 {
                Json::List(items) => Ok(items),
                other => Ok(vec![other]),
            },
            _ => Ok(vec![Json::Object(members)]),
        },
        _ => Err(DecodeError::NoEvent("it is neither an object nor an array")),
    }
}

fn is_event(item: &Json<'_>) -> bool {
    ["type", "operationType", "resourcePath"].iter().any(|name| item.text(name).is_some())
}

fn new_event(mut item: Json<'_>, context: &DecodeContext<'_>) -> NewEvent {
    item.scrub();
    let body = serde_json::to_string(&item).unwrap_or_default();
    let id = event_id(&item, &body);
    let occurred_at = occurred_at(&item, context.now);
    if !is_event(&item) {
        let outcome = EventOutcome::Ignored("it is not a Keycloak event".into());
        let (kind, about) = ("UNKNOWN".into(), String::new());
        return NewEvent {
            id,
            kind,
            about,
            occurred_at,
            body,
            hints: vec![],
            may_remove: false,
            wants_run: false,
            recheck: false,
            polled: false,
            outcome,
        };
    }
    let read = Read::from(&item);
    let verdict = match other_realm(&item, context) {
        Some(realm) => Err(format!("it belongs to realm {realm}")),
        None => Ok(verdict(&Facts { uses: context.uses, ..read.facts() })),
    };
    let (Verdict { hints, may_remove, wants_run, ignored }, elsewhere) = match verdict {
        Ok(verdict) => (verdict, None),
        Err(why) => (Verdict::default(), Some(why)),
    };
    let outcome = match elsewhere.or_else(|| ignored.map(str::to_owned)) {
        Some(why) => EventOutcome::Ignored(why),
        None => EventOutcome::Accepted,
    };
    let recheck = !read.from_listener && outcome == EventOutcome::Accepted;
    NewEvent {
        id,
        kind: read.kind(),
        about: read.about(),
        occurred_at,
        body,
        hints,
        may_remove,
        wants_run,
        recheck,
        polled: false,
        outcome,
    }
}

/// Returns Keycloak's id, else the sender's delivery id. Without them, it returns a hash of the body if the event has a
/// time, else a new id. Without id and time, two equal bodies are two events.
fn event_id(item: &Json<'_>, body: &str) -> String {
    let usable = |name| item.text(name).filter(|id| id.len() <= LONGEST_ID && !id.chars().any(char::is_control));
    match usable("id").or_else(|| usable("uid")) {
        Some(id) => id.to_owned(),
        None if has_time(item) => hex::encode(Sha256::digest(body.as_bytes())),
        None => uuid::Uuid::new_v4().to_string(),
    }
}

/// Whether an event contains its time. Java writes 0 for a time that was never set.
fn has_time(item: &Json<'_>) -> bool {
    matches!(item.get("time"), Some(Json::Number(millis)) if millis.as_f64().is_some_and(|millis| millis > 0.0))
}

fn occurred_at(item: &Json<'_>, now: Timestamp) -> Option<Timestamp> {
    let Some(Json::Number(millis)) = item.get("time") else { return None };
    let time = Timestamp::from_millisecond(millis.as_i64()?).ok()?;
    (time <= now.saturating_add(CLOCK_AHEAD).unwrap_or(now)).then_some(time)
}

/// Returns the event's realm if it differs from the connector's realm.
fn other_realm<'a>(item: &'a Json<'_>, context: &DecodeContext<'_>) -> Option<&'a str> {
    if let Some(name) = item.text("realmName") {
        return (name != context.realm).then_some(name);
    }
    let id = item.text("realmId")?;
    if id == context.realm {
        return None;
    }
    // A UUID may be the internal id of the connector's realm; only a name proves another realm.
    uuid::Uuid::try_parse(id).is_err().then_some(id)
}

/// The raw facts of an event, before they are evaluated.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct Read<'a> {
    from_listener: bool,
    is_model: bool,
    /// A user event's type.
    user_event: Option<&'a str>,
    operation: Cow<'a, str>,
    resource: Cow<'a, str>,
    path: &'a str,
    user: Option<&'a str>,
    login: Option<&'a str>,
    object: Option<Cow<'a, str>>,
    provider_type: Option<String>,
    brokered: bool,
    failed: bool,
}

impl<'a> Read<'a> {
    fn from(item: &'a Json<'_>) -> Self {
        let from_listener = matches!(item.text("kind"), Some("admin" | "user" | "model"));
        let is_model = item.text("kind") == Some("model");
        let kind = item.text("type").unwrap_or_default();
        let path = item.text("resourcePath").unwrap_or_default();
        let user_event = user_event_type(item, kind);
        let (operation, resource) = match user_event {
            Some(_) => (Cow::Borrowed(""), Cow::Borrowed("")),
            None => operation_and_resource(item, kind),
        };
        let user = user(item, kind, user_event.is_some(), from_listener);
        let (object, provider_type) = object(item, from_listener, path);
        let brokered = item.get("details").and_then(|details| details.text("identity_provider")).is_some();
        let failed = item.text("error").is_some();
        Self {
            from_listener,
            is_model,
            user_event,
            operation,
            resource,
            path,
            user,
            login: login(item),
            object,
            provider_type,
            brokered,
            failed,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            user_event: self.user_event,
            operation: &self.operation,
            resource: &self.resource,
            path: self.path,
            user: self.user,
            login: self.login,
            object: self.object.as_deref(),
            provider_type: self.provider_type.as_deref(),
            brokered: self.brokered,
            failed: self.failed,
            from_listener: self.from_listener,
            is_model: self.is_model,
            uses: Uses::default(),
        }
    }

    fn kind(&self) -> String {
        match self.user_event {
            Some(kind) => kind.to_owned(),
            None => format!("{} {}", self.operation, self.resource).trim().to_owned(),
        }
    }

    fn about(&self) -> String {
        match (self.path, self.user) {
            ("", Some(user)) => format!("users/{user}"),
            ("", None) => String::new(),
            (path, _) => path.to_owned(),
        }
    }
}

/// Returns the type of a user event without p2's prefix; `None` for an admin or model event.
fn user_event_type<'a>(item: &'a Json<'_>, kind: &'a str) -> Option<&'a str> {
    match item.text("kind") {
        Some("user") => return Some(kind),
        Some("admin" | "model") => return None,
        _ => {}
    }
    if let Some(kind) = kind.strip_prefix(P2_USER_EVENT) {
        return Some(kind);
    }
    let admin = item.text("operationType").is_some()
        || item.text("resourcePath").is_some()
        || kind.starts_with("admin.")
        || kind.contains('-');
    (!admin).then_some(kind)
}

/// Returns the user that an event is about, never the acting administrator, whom other senders name in admin events.
fn user<'a>(item: &'a Json<'_>, kind: &str, is_user_event: bool, from_listener: bool) -> Option<&'a str> {
    match (is_user_event, from_listener) {
        // p2-inc writes user events in the form of admin events: the user that signs in is in the place of the actor.
        (true, false) if kind.starts_with(P2_USER_EVENT) => item.get("authDetails")?.text("userId"),
        (true, _) | (_, true) => item.text("userId"),
        (false, false) => None,
    }
}

/// Returns the login of the user that an admin event is about: in the details, or in the listener's own form.
fn login<'a>(item: &'a Json<'_>) -> Option<&'a str> {
    let reported = item.get("details").and_then(|details| details.text("username"));
    reported
        .or_else(|| item.text("username"))
        .filter(|login| !login.is_empty() && login.len() <= LONGEST_ID && !login.chars().any(char::is_control))
}

/// Returns the event's own members, else parses `admin.USER-CREATE` or `USER-CREATE`.
fn operation_and_resource<'a>(item: &'a Json<'_>, kind: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
    let named = kind.strip_prefix("admin.").unwrap_or(kind).rsplit_once('-');
    let operation = item.text("operationType").or(named.map(|(_, operation)| operation));
    let resource = item.text("resourceType").or(named.map(|(resource, _)| resource));
    (Cow::Borrowed(operation.unwrap_or_default()), Cow::Borrowed(resource.unwrap_or_default()))
}

/// Returns the object's id and the kind of component, from the representation if the path does not contain them.
fn object<'a>(item: &'a Json<'_>, from_listener: bool, path: &str) -> (Option<Cow<'a, str>>, Option<String>) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        id: Option<String>,
        #[serde(rename = "providerType")]
        provider_type: Option<String>,
    }
    let reported = item.text("resourceId").map(Cow::Borrowed);
    let last = path.rsplit('/').next().unwrap_or_default();
    if from_listener || !(matches!(last, "" | "users" | "groups" | "children") || path.starts_with("components/")) {
        return (reported, None);
    }
    match item.get("representation") {
        Some(Json::Text(text)) => {
            let named: Named = serde_json::from_str(text).unwrap_or_default();
            (named.id.map(Cow::Owned).or(reported), named.provider_type)
        }
        Some(object @ Json::Object(_)) => {
            (object.text("id").map(Cow::Borrowed).or(reported), object.text("providerType").map(str::to_owned))
        }
        _ => (reported, None),
    }
}

#[cfg(test)]
mod tests;
