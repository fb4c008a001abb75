//! What a Bitbucket target is made from.

use std::fmt;

use url::Url;

use crate::{
    config::TargetConfig,
    target::{
        Credentials,
        http::{HttpSettings, server},
    },
};

/// A Bitbucket, and how usersync works with it.
#[derive(Clone)]
pub struct BitbucketSettings {
    /// The address that people type, with a path prefix if there is one.
    pub base_url: Url,
    /// How usersync signs in.
    pub credentials: Credentials,
    /// Whether new accounts are put into the default group, which lets them sign in.
    pub default_group: bool,
    /// Groups that are never touched, nor who is in them.
    pub protected_groups: Vec<String>,
    /// Groups that are never touched, and whose members are protected accounts; beside those that make administrators.
    pub frozen_groups: Vec<String>,
    /// Groups that give access to the product, and from which usersync removes members all the same.
    pub managed_access_groups: Vec<String>,
    /// Logins of further protected accounts.
    pub protected_users: Vec<String>,
    /// How the server is reached.
    pub http: HttpSettings,
}

/// An address may be mistyped with a password in it, so only its server is shown.
impl fmt::Debug for BitbucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BitbucketSettings")
            .field("base_url", &server(&self.base_url))
            .field("credentials", &self.credentials)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl BitbucketSettings {
    /// Settings with the defaults.
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
