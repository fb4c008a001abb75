//! A simulator of a SCIM 2.0 service provider (RFC 7643, RFC 7644; cursors by RFC 9865) with an OAuth token endpoint.
//! The deviations of real servers are switches.

mod auth;
mod bulk;
mod control;
mod discovery;
mod errors;
mod groups;
mod http;
mod instance;
mod lists;
mod patch;
mod render;
mod state;
mod switches;
mod users;

pub use control::{AccountState, NewAccount, ScimSnapshot, SimulatedScim};
pub use switches::{Counted, Filters, InvalidField, MemberAddition, MemberRemoval, ScimSwitches, Visibility};

/// Options of a simulated SCIM server.
#[derive(Clone, Debug)]
pub struct ScimOptions {
    /// Base path.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// A static token that never expires.
    pub token: String,
    /// Id and secret of the client that may request access tokens.
    pub client: (String, String),
    /// Switches of the server.
    pub switches: ScimSwitches,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for ScimOptions {
    fn default() -> Self {
        Self {
            base_path: "/scim/v2".into(),
            port: 0,
            token: "scim-simulator-token".into(),
            client: ("usersync".into(), "scim-client-secret".into()),
            switches: ScimSwitches::default(),
            journal: true,
            history: 0,
        }
    }
}

impl ScimOptions {
    /// Returns the options of a server that behaves as Keycloak's SCIM server was observed to, in the realm `acme`.
    pub fn keycloak() -> Self {
        Self { base_path: "/realms/acme/scim/v2".into(), switches: ScimSwitches::keycloak(), ..Self::default() }
    }
}
