//! Settings of a Bitbucket target.

use std::fmt;

use url::Url;

use crate::targets::{Credentials, TargetConfig, http::HttpSettings, rest::debug_settings};

/// Address, credentials and protection rules of a Bitbucket target.
#[derive(Clone)]
pub struct BitbucketSettings {
    /// Base URL as users enter it, with the path prefix if there is one.
    pub base_url: Url,
    /// Credentials that usersync signs in with.
    pub credentials: Credentials,
    /// Whether new accounts are added to the default group, which lets them sign in.
    pub default_group: bool,
    /// Groups that usersync never changes, nor their memberships.
    pub protected_groups: Vec<String>,
    /// Groups that usersync never changes, in addition to those that grant administrator rights; their members are
    /// protected accounts.
    pub frozen_groups: Vec<String>,
    /// Groups that grant access to the product, but from which usersync still removes members.
    pub managed_access_groups: Vec<String>,
    /// Logins of further protected accounts.
    pub protected_users: Vec<String>,
    /// HTTP settings of the connection to the server.
    pub http: HttpSettings,
}

impl fmt::Debug for BitbucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_settings(f, "BitbucketSettings", &self.base_url, &self.credentials, &self.http).finish_non_exhaustive()
    }
}

impl BitbucketSettings {
    /// Creates settings with the defaults.
    pub fn new(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            default_group: true,
            protected_groups: Vec::new(),
            frozen_groups: Vec::new(),
            managed_access_groups: Vec::new(),
            protected_users: Vec::new(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for BitbucketSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::new(config.url.clone(), Credentials::from(&config.auth));
        settings.default_group = config.default_group;
        settings.protected_groups.clone_from(&config.protected_groups);
        settings.frozen_groups.clone_from(&config.frozen_groups);
        settings.managed_access_groups.clone_from(&config.managed_access_groups);
        settings.protected_users.clone_from(&config.protected_users);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
