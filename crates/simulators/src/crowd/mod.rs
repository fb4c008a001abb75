//! A simulator of Crowd's REST API for applications (`usermanagement/1`), for users and groups. It acts as Crowd itself
//! or as the user server of a Jira.

mod attributes;
mod auth;
mod control;
mod errors;
mod groups;
mod http;
mod instance;
mod render;
mod state;
mod switches;
mod users;

pub use control::{CrowdSnapshot, NewCrowdUser, SimulatedCrowd, UserState};
pub use switches::Permission;

/// Options of a simulated Crowd.
#[derive(Clone, Debug)]
pub struct CrowdOptions {
    /// The version, such as `5.2.3`; it decides which endpoints exist.
    pub version: String,
    /// Version of the Jira that the user server belongs to; `None`: a Crowd.
    pub jira: Option<String>,
    /// Base path, such as `/crowd`; empty: none.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the application.
    pub application: (String, String),
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for CrowdOptions {
    fn default() -> Self {
        Self {
            version: "7.1.3".into(),
            jira: None,
            base_path: "/crowd".into(),
            port: 0,
            application: ("usersync".into(), "simulator-password".into()),
            journal: true,
            history: 0,
        }
    }
}

impl CrowdOptions {
    /// Returns the options of a Crowd of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// Returns the options of the user server of a Jira of this version.
    pub fn jira(version: &str) -> Self {
        Self { version: "5.1.4".into(), jira: Some(version.into()), base_path: "/jira".into(), ..Self::default() }
    }
}
