//! Settings of a Jira target.

use std::fmt;

use url::Url;

use crate::targets::{Credentials, TargetConfig, http::HttpSettings, rest::debug_settings};

/// Address, credentials and protection rules of a Jira target.
#[derive(Clone)]
pub struct JiraSettings {
    /// Base URL as users enter it, with the path prefix if there is one.
    pub base_url: Url,
    /// Credentials that usersync signs in with.
    pub credentials: Credentials,
    /// Applications (`jira-software`) that a new account gets access to. `None`: the instance's default; an empty list:
    /// none.
    pub applications: Option<Vec<String>>,
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

impl fmt::Debug for JiraSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_settings(f, "JiraSettings", &self.base_url, &self.credentials, &self.http).finish_non_exhaustive()
    }
}

impl JiraSettings {
    /// Creates settings with the defaults.
    pub fn new(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            applications: None,
            protected_groups: Vec::new(),
            frozen_groups: vec!["jira-administrators".to_owned(), "jira-system-administrators".to_owned()],
            managed_access_groups: Vec::new(),
            protected_users: Vec::new(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for JiraSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::new(config.url.clone(), Credentials::from(&config.auth));
        settings.applications = Some(config.applications.clone());
        settings.protected_groups.clone_from(&config.protected_groups);
        settings.frozen_groups.extend(config.frozen_groups.iter().cloned());
        settings.managed_access_groups.clone_from(&config.managed_access_groups);
        settings.protected_users.clone_from(&config.protected_users);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
