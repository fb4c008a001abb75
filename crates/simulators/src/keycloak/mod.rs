//! A simulator of Keycloak: realms with users, groups and events, behind the Admin REST API.
//!
//! Its answers were compared with Keycloak 26.7.0. `tests/real/contract_keycloak` compares them again if a real one
//! is available.

mod access_change;
mod auth;
mod change;
mod control;
mod errors;
mod event;
mod events_read;
mod federation;
mod groups_change;
mod groups_read;
mod http;
mod instance;
mod organizations_change;
mod organizations_read;
mod page;
mod read;
mod realm_read;
mod render;
mod rep;
mod rights;
mod roles_change;
mod roles_read;
mod state;
mod token;
mod users_change;
mod users_read;
mod values;
mod webhook;
mod write;

use std::time::Duration;

pub use control::{RealmHandle, SimulatedKeycloak};
pub use errors::Refused;
pub use federation::{FederationState, GroupMapper};
pub use values::{GroupState, NewUser, RealmSnapshot, UserChange, UserState};
pub use webhook::{Delivery, Form, LISTENER_USER_EVENTS, Timing, Webhook};

/// Options of a simulated Keycloak.
#[derive(Clone, Debug)]
pub struct KeycloakOptions {
    /// Base path, such as `/auth`; empty: none.
    pub prefix: String,
    /// The version that the server reports.
    pub version: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the administrator in `master`.
    pub admin: (String, String),
    /// Lifetime of tokens.
    pub token_life: Duration,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for KeycloakOptions {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            version: "26.7.0".into(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token_life: Duration::from_mins(5),
            journal: true,
            history: 0,
        }
    }
}
