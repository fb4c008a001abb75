//! Events: hints that a subject has to be reconciled.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ConnectorName, Subject};

/// The outcome of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOutcome {
    /// Its hints raised tasks.
    Accepted,
    /// It needs no work, for this reason.
    Ignored(String),
}

/// A decoded event, as passed to the store.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Keycloak's id, else the listener's, else a hash of the body.
    pub id: String,
    /// The kind of event, such as `CREATE USER` or `UPDATE_PROFILE`.
    pub kind: String,
    /// The path or object that it names, such as `users/ID`.
    pub about: String,
    /// When it happened, by Keycloak's clock.
    pub occurred_at: Option<Timestamp>,
    /// The event as received, without addresses and session ids; JSON.
    pub body: String,
    /// The subjects to reconcile.
    pub hints: Vec<Subject>,
    /// Whether it may remove access: a user is deleted, perhaps disabled, or removed from a group.
    pub may_remove: bool,
    /// Whether it requires a full reconcile (an LDAP sync, an import).
    pub wants_run: bool,
    /// Whether its sender may have sent it before Keycloak's commit, so that a recheck is due.
    pub recheck: bool,
    /// Whether it was read from Keycloak's event store; `false`: a sender pushed it.
    pub polled: bool,
    /// Accepted, or ignored with the reason.
    pub outcome: EventOutcome,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Sequence number, in order of arrival.
    pub seq: i64,
    /// The connector that received it.
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
    /// Number of times it was received again.
    pub duplicates: i64,
    /// The subjects to reconcile.
    pub hints: Vec<Subject>,
    /// Accepted, or ignored with the reason.
    pub outcome: EventOutcome,
    /// The event as received, without addresses and session ids; JSON.
    pub body: String,
}
