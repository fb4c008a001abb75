//! What defines a kind of target, and a configured target.

use std::{collections::BTreeSet, fmt, sync::Arc};

use url::Url;

use super::{Capabilities, ProtectionSettings, Target, TargetError, scim::Habits};
use crate::{
    model::TargetName,
    settings::{Reach, TargetAuth},
};

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
    /// Check of the name of an attribute by which accounts are searched; `None`: the kind has no such search.
    pub match_attribute: Option<CheckAttribute>,
    /// What a target is expected to support, as far as that is known before the first contact.
    pub(super) expected: fn(&TargetConfig) -> Capabilities,
    /// Creates a client; sends nothing yet. The error names the invalid setting.
    pub(super) build: fn(&TargetConfig) -> Result<Arc<dyn Target>, TargetError>,
}

impl fmt::Debug for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A target.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// The name of the target.
    pub name: TargetName,
    /// The kind of the target.
    pub kind: &'static TargetKind,
    /// The base URL.
    pub url: Url,
    /// The credentials.
    pub auth: TargetAuth,
    /// The connection settings.
    pub reach: Reach,
    /// Applications to which new accounts get access.
    pub applications: Vec<String>,
    /// Login of the account that takes over projects and components from leavers.
    pub new_lead: Option<String>,
    /// Whether new accounts are added to Bitbucket's default group.
    pub default_group: bool,
    /// Groups and accounts that are not changed.
    pub protection: ProtectionSettings,
    /// The SCIM server's profile, by name; `None`: it is detected.
    pub profile: Option<&'static str>,
    /// The SCIM server's differences from its profile.
    pub habits: Habits,
    /// Further attributes that the connectors' policies use, by the target's names.
    pub attributes: BTreeSet<String>,
    /// Attributes by which the connectors' policies match users to accounts, by the target's names.
    pub match_attributes: BTreeSet<String>,
}

impl TargetConfig {
    /// Returns what the target is expected to support, as far as that is known before the first contact.
    pub fn expected_capabilities(&self) -> Capabilities {
        (self.kind.expected)(self)
    }
}
