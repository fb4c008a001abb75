//! Settings of a SCIM target.

use std::{collections::BTreeSet, fmt};

use url::Url;

use super::profile::Habits;
use crate::targets::{Credentials, ProtectionSettings, TargetConfig, http::HttpSettings, rest::debug_settings};

/// Address of a SCIM 2.0 server and how usersync works with it.
#[derive(Clone)]
pub struct ScimSettings {
    /// Base URL: everything before `/Users`.
    pub base_url: Url,
    /// Credentials of usersync.
    pub credentials: Credentials,
    /// The name of the server's profile; `None`: found by the address.
    pub profile: Option<String>,
    /// Differences between the server and its profile.
    pub habits: Habits,
    /// Groups and accounts that usersync does not change.
    pub protection: ProtectionSettings,
    /// Paths of further attributes of accounts.
    pub attributes: BTreeSet<String>,
    /// Paths of attributes by which users are matched to accounts.
    pub match_attributes: BTreeSet<String>,
    /// Connection settings.
    pub http: HttpSettings,
}

impl fmt::Debug for ScimSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_settings(f, "ScimSettings", &self.base_url, &self.credentials, &self.http)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl ScimSettings {
    /// Creates settings with the defaults.
    pub fn new(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            profile: None,
            habits: Habits::default(),
            protection: ProtectionSettings::default(),
            attributes: BTreeSet::new(),
            match_attributes: BTreeSet::new(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for ScimSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::new(config.url.clone(), Credentials::from(&config.auth));
        settings.profile = config.profile.map(str::to_owned);
        settings.habits.clone_from(&config.habits);
        settings.protection.add(&config.protection);
        settings.attributes.clone_from(&config.attributes);
        settings.match_attributes.clone_from(&config.match_attributes);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
