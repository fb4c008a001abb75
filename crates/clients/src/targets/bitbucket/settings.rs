//! Settings of a Bitbucket target.

use std::fmt;

use url::Url;

use crate::targets::{Credentials, ProtectionSettings, TargetConfig, http::HttpSettings, rest::debug_settings};

/// Address, credentials and protection rules of a Bitbucket target.
#[derive(Clone)]
pub struct BitbucketSettings {
    /// Base URL as users enter it, with the path prefix if there is one.
    pub base_url: Url,
    /// Credentials that usersync signs in with.
    pub credentials: Credentials,
    /// Whether new accounts are added to the default group, which lets them sign in.
    pub default_group: bool,
    /// Groups and accounts that usersync does not change.
    pub protection: ProtectionSettings,
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
            protection: ProtectionSettings::default(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for BitbucketSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::new(config.url.clone(), Credentials::from(&config.auth));
        settings.default_group = config.default_group;
        settings.protection.add(&config.protection);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
