//! Settings of a Jira target.

use std::fmt;

use url::Url;

use crate::targets::{Credentials, ProtectionSettings, TargetConfig, http::HttpSettings, rest::debug_settings};

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
    /// Login of the account that takes over projects and components from an account that Jira refuses to deactivate or
    /// delete; `None`: nobody does.
    pub new_lead: Option<String>,
    /// Groups and accounts that usersync does not change.
    pub protection: ProtectionSettings,
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
            new_lead: None,
            protection: ProtectionSettings {
                frozen_groups: vec!["jira-administrators".to_owned(), "jira-system-administrators".to_owned()],
                ..ProtectionSettings::default()
            },
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for JiraSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::new(config.url.clone(), Credentials::from(&config.auth));
        settings.applications = Some(config.applications.clone());
        settings.new_lead.clone_from(&config.new_lead);
        settings.protection.add(&config.protection);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
