//! Settings of a Confluence target.

use std::fmt;

use url::Url;

use crate::targets::{Credentials, ProtectionSettings, TargetConfig, http::HttpSettings, rest::debug_settings};

/// The group that grants administrator rights in every Confluence.
pub(super) const ADMINISTRATORS: &str = "confluence-administrators";

/// Address, credentials and protection rules of a Confluence target.
#[derive(Clone)]
pub struct ConfluenceSettings {
    /// Base URL as users enter it, with the path prefix if there is one.
    pub base_url: Url,
    /// Credentials that usersync signs in with.
    pub credentials: Credentials,
    /// The group that holds nearly all users. Its members are listed where Confluence has no listing of all accounts.
    pub all_users_group: String,
    /// Groups and accounts that usersync does not change.
    pub protection: ProtectionSettings,
    /// HTTP settings of the connection to the server.
    pub http: HttpSettings,
}

impl fmt::Debug for ConfluenceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_settings(f, "ConfluenceSettings", &self.base_url, &self.credentials, &self.http).finish_non_exhaustive()
    }
}

impl ConfluenceSettings {
    /// Creates settings with the defaults.
    pub fn new(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            all_users_group: "confluence-users".to_owned(),
            protection: ProtectionSettings {
                frozen_groups: vec![ADMINISTRATORS.to_owned()],
                ..ProtectionSettings::default()
            },
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for ConfluenceSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::new(config.url.clone(), Credentials::from(&config.auth));
        settings.protection.add(&config.protection);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
