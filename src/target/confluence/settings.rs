//! What a Confluence target is made from.

use std::fmt;

use url::Url;

use crate::{
    config::TargetConfig,
    target::{
        Credentials,
        http::{HttpSettings, server},
    },
};

/// A Confluence, and how usersync works with it.
#[derive(Clone)]
pub struct ConfluenceSettings {
    /// The address that people type, with a path prefix if there is one.
    pub base_url: Url,
    /// How usersync signs in.
    pub credentials: Credentials,
    /// The group that nearly everybody is in: what is listed where Confluence has no listing of all accounts.
    pub everybody: String,
    /// Groups that are never touched, nor who is in them.
    pub protected_groups: Vec<String>,
    /// Groups that are never touched, and whose members are protected accounts.
    pub frozen_groups: Vec<String>,
    /// Groups that give access to the product, and from which usersync removes members all the same.
    pub managed_access_groups: Vec<String>,
    /// Logins of further protected accounts.
    pub protected_users: Vec<String>,
    /// How the server is reached.
    pub http: HttpSettings,
}

/// An address may be mistyped with a password in it, so only its server is shown.
impl fmt::Debug for ConfluenceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfluenceSettings")
            .field("base_url", &server(&self.base_url))
            .field("credentials", &self.credentials)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl ConfluenceSettings {
    /// Settings with the defaults.
    pub fn new(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            everybody: "confluence-users".to_owned(),
            protected_groups: Vec::new(),
            frozen_groups: vec![super::protection::ADMINISTRATORS.to_owned()],
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
