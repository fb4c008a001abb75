//! The kinds of targets: their configuration keys, and how their clients are created.

use std::{fmt, sync::Arc};

use super::{Target, TargetError, bitbucket, confluence, crowd, jira, scim};
use crate::settings::TargetConfig;

/// Checks whether accounts can have an additional attribute of this name; the error gives the reason.
pub type CheckAttribute = fn(&str) -> Result<(), String>;

/// Why a kind does not accept a fixed token, as text for messages.
#[derive(Clone, Copy, Debug)]
pub struct NoToken {
    /// The reason; empty if the kind has no tokens at all.
    pub why: &'static str,
    /// Instruction to configure a user name and password instead: `add user`.
    pub user: &'static str,
}

/// A kind of target, defined by its folder.
pub struct TargetKind {
    /// Name of the kind in the configuration.
    pub name: &'static str,
    /// Keys of `[[target]]` that apply to this kind, but not to all kinds.
    pub keys: &'static [&'static str],
    /// Why it does not accept a fixed token; `None`: it does.
    pub no_token: Option<NoToken>,
    /// Whether usersync can sign in with OAuth 2.0 client credentials.
    pub client_credentials: bool,
    /// Check of the name of an additional attribute; `None`: the kind has no additional attributes.
    pub attribute: Option<CheckAttribute>,
    /// Creates a client; sends nothing yet. The error names the invalid setting.
    pub(super) build: fn(&TargetConfig) -> Result<Arc<dyn Target>, TargetError>,
}

/// All kinds of targets.
pub static KINDS: [TargetKind; 5] = [jira::KIND, confluence::KIND, bitbucket::KIND, crowd::KIND, scim::KIND];

/// Creates the client of a configured target; sends nothing yet.
///
/// # Errors
/// The error names the invalid setting.
pub fn build(config: &TargetConfig) -> Result<Arc<dyn Target>, TargetError> {
    (config.kind.build)(config)
}

impl fmt::Debug for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
