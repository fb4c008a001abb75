//! The kinds of targets: what the configuration has to know of each, and how its client is made.

use std::{fmt, sync::Arc};

use super::{Target, TargetError, bitbucket, confluence, crowd, jira, scim};
use crate::config::TargetConfig;

/// Whether accounts can have a further attribute of this name; the error says why not.
pub type CheckAttribute = fn(&str) -> Result<(), String>;

/// Why a kind takes no fixed token, for people.
#[derive(Clone, Copy, Debug)]
pub struct NoToken {
    /// The reason; empty where it simply knows none.
    pub why: &'static str,
    /// Whose name and password are given instead: `add user`.
    pub user: &'static str,
}

/// A kind of target, as its folder describes it.
pub struct TargetKind {
    /// Its word in the configuration.
    pub name: &'static str,
    /// Keys of `[[target]]` that mean something to it, and not to all others.
    pub keys: &'static [&'static str],
    /// Why it takes no fixed token, if so.
    pub no_token: Option<NoToken>,
    /// Whether usersync can sign in with OAuth 2.0 client credentials.
    pub client_credentials: bool,
    /// Whether it has a further attribute; `None` where it has none at all.
    pub attribute: Option<CheckAttribute>,
    /// Makes a client; nothing is sent yet. The error names the setting that does not work.
    pub(super) build: fn(&TargetConfig) -> Result<Arc<dyn Target>, TargetError>,
}

/// All kinds: one line each.
pub static KINDS: [TargetKind; 5] = [jira::KIND, confluence::KIND, bitbucket::KIND, crowd::KIND, scim::KIND];

/// The client of a configured target; nothing is sent yet. The error names the setting that does not work.
pub fn build(config: &TargetConfig) -> Result<Arc<dyn Target>, TargetError> {
    (config.kind.build)(config)
}

impl fmt::Debug for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
