//! A simulator of Jira Data Center's REST API for users and groups.

mod anonymize;
mod auth;
mod control;
mod errors;
mod groups;
mod http;
mod instance;
mod projects;
mod render;
mod state;
mod switches;
mod users;

pub use control::{AccountState, JiraSnapshot, NewAccount, SimulatedJira};
pub use switches::{RateLimit, ShownGroups};

/// Options of a simulated Jira.
#[derive(Clone, Debug)]
pub struct JiraOptions {
    /// The version, such as `10.3`; it decides which endpoints exist.
    pub version: String,
    /// Base path, such as `/jira`; empty: none.
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

impl Default for JiraOptions {
    fn default() -> Self {
        Self {
            version: "10.3.24".into(),
            base_path: String::new(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token: "simulator-token".into(),
            journal: true,
            history: 0,
        }
    }
}

impl JiraOptions {
    /// Returns the options of a Jira of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}
