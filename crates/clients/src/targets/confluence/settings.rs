//! Settings of a Confluence target.

use std::fmt;

use url::Url;

use crate::targets::{Credentials, TargetConfig, http::HttpSettings, rest::debug_settings};

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
    /// Groups that usersync never changes, nor their memberships.
    pub protected_groups: Vec<String>,
    /// Groups that usersync never changes; their members are protected accounts.
    pub frozen_groups: Vec<String>,
    /// Groups that grant access to the product, but from which usersync still removes members.
    pub managed_access_groups: Vec<String>,
    /// Logins of further protected accounts.
    pub protected_users: Vec<String>,
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
            protected_groups: Vec::new(),
            frozen_groups: vec![ADMINISTRATORS.to_owned()],
            managed_access_groups: Vec::new(),
            protected_users: Vec::new(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for ConfluenceSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::new(config.url.clone(), Credentials::from(&config.auth));
        settings.protected_groups.clone_from(&config.protected_groups);
        settings.frozen_groups.extend(config.frozen_groups.iter().cloned());
        settings.managed_access_groups.clone_from(&config.managed_access_groups);
        settings.protected_users.clone_from(&config.protected_users);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
