//! Events: hints that somebody or something should be looked at again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ConnectorName, Subject};

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOutcome {
    /// Its hints were put to work.
    Accepted,
    /// It asks for nothing, and this is why.
    Ignored(String),
}

/// An event as it is handed to the store, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Keycloak's id, else the listener's, else a hash of the body.
    pub id: String,
    /// What happened, as `CREATE USER` or `UPDATE_PROFILE`.
    pub kind: String,
    /// The path or object that it names, as `users/ID`.
    pub about: String,
    /// When it happened, by Keycloak's clock.
    pub occurred_at: Option<Timestamp>,
    /// As received, less addresses and session ids; JSON.
    pub body: String,
    /// Whom to look at again.
    pub hints: Vec<Subject>,
    /// Whether it may take access away: a user is deleted, perhaps disabled, or leaves a group.
    pub may_remove: bool,
    /// Whether it asks for a full reconcile (an LDAP sync, an import).
    pub wants_run: bool,
    /// Whether its sender may have sent it before Keycloak's commit, so that a second look is due.
    pub settle: bool,
    /// Accepted, or why not.
    pub outcome: EventOutcome,
}

/// An event as it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Order of arrival.
    pub seq: i64,
    /// The connector that it came in by.
    pub connector: ConnectorName,
    /// See [`NewEvent::id`].
    pub id: String,
    /// See [`NewEvent::kind`].
    pub kind: String,
    /// See [`NewEvent::about`].
    pub about: String,
    /// When it happened, by Keycloak's clock.
    pub occurred_at: Option<Timestamp>,
    /// When it was stored.
    pub received_at: Timestamp,
    /// How often it came again.
    pub duplicates: i64,
    /// Whom it asked to look at.
    pub hints: Vec<Subject>,
    /// Accepted, or why not.
    pub outcome: EventOutcome,
    /// As received, less addresses and session ids; JSON.
    pub body: String,
}
