//! A simulator of Bitbucket Data Center's REST API for users, groups and global permissions. No difference between its
//! versions 8 to 10 is known in that part; behaviour that is not known for certain is a switch.

mod auth;
mod control;
mod errors;
mod groups;
mod http;
mod instance;
mod permissions;
mod render;
mod state;
mod switches;
mod users;

pub use control::{AccountState, BitbucketSnapshot, NewAccount, SimulatedBitbucket};
pub use state::Permission;

/// Options of a simulated Bitbucket.
#[derive(Clone, Debug)]
pub struct BitbucketOptions {
    /// The version, such as `10.0.1`.
    pub version: String,
    /// Base path, such as `/bitbucket`; empty: none.
    pub base_path: String,
    /// The port; 0: a free one.
    pub port: u16,
    /// Name and password of the first system administrator.
    pub admin: (String, String),
    /// The administrator's HTTP access token, which has no administration rights.
    pub token: String,
    /// Whether the journal records requests.
    pub journal: bool,
    /// Number of earlier states kept for stale reads; 0: none.
    pub history: usize,
}

impl Default for BitbucketOptions {
    fn default() -> Self {
        Self {
            version: "10.0.1".into(),
            base_path: String::new(),
            port: 0,
            admin: ("admin".into(), "admin".into()),
            token: "simulator-token".into(),
            journal: true,
            history: 0,
        }
    }
}

impl BitbucketOptions {
    /// Returns the options of a Bitbucket of this version.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}
