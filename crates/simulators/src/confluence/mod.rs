//! A simulator of Confluence Data Center's REST API and JSON-RPC for users and groups.

mod auth;
mod control;
mod errors;
mod groups;
mod http;
mod instance;
mod render;
mod rpc;
mod state;
mod switches;
mod tasks;
mod users;

pub use control::{AccountState, ConfluenceSnapshot, NewAccount, SimulatedConfluence};

/// Options of a simulated Confluence.
#[derive(Clone, Debug)]
pub struct ConfluenceOptions {
    /// The version, such as `10.0`; it decides which endpoints exist.
    pub version: String,
    /// Base path, such as `/confluence`; empty: none.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the first administrator.
    pub admin: (String, String),
    /// The administrator's personal access token.
    pub token: String,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for ConfluenceOptions {
    fn default() -> Self {
        Self {
            version: "10.0.3".into(),
            base_path: String::new(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token: "simulator-token".into(),
            journal: true,
            history: 0,
        }
    }
}

impl ConfluenceOptions {
    /// Returns the options of a Confluence of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}
