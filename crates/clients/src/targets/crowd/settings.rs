//! Settings of a Crowd target.

use std::{collections::BTreeSet, fmt};

use url::Url;

use crate::targets::{
    Credentials, ProtectionSettings, TargetConfig,
    http::{HttpSettings, SecretProvider},
    rest::debug_settings,
};

/// Default names of the groups that grant administration in Atlassian products. This interface does not report which
/// groups do.
pub(super) const ADMINISTRATORS: [&str; 5] = [
    "crowd-administrators",
    "jira-administrators",
    "jira-system-administrators",
    "confluence-administrators",
    "bamboo-admin",
];

/// Default names of the groups that grant access to products. Crowd does not report them.
pub(super) const ACCESS_GROUPS: [&str; 8] = [
    "bamboo-users",
    "bitbucket-users",
    "confluence-users",
    "jira-core-users",
    "jira-servicedesk-users",
    "jira-software-users",
    "jira-users",
    "stash-users",
];

/// Address of a Crowd server and how usersync works with it.
#[derive(Clone)]
pub struct CrowdSettings {
    /// Base URL: mostly `https://host/crowd`, or that of Jira.
    pub base_url: Url,
    /// The application's name and password.
    pub credentials: Credentials,
    /// Groups and accounts that usersync does not change.
    pub protection: ProtectionSettings,
    /// Names of further attributes of accounts.
    pub attributes: BTreeSet<String>,
    /// Connection settings.
    pub http: HttpSettings,
}

impl fmt::Debug for CrowdSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_settings(f, "CrowdSettings", &self.base_url, &self.credentials, &self.http).finish_non_exhaustive()
    }
}

impl CrowdSettings {
    /// Creates settings with the defaults.
    pub fn new(base_url: Url, application: &str, password: SecretProvider) -> Self {
        Self::with(base_url, Credentials::Basic { user: application.to_owned(), password })
    }

    fn with(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            protection: ProtectionSettings::default(),
            attributes: BTreeSet::new(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for CrowdSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::with(config.url.clone(), Credentials::from(&config.auth));
        settings.protection.add(&config.protection);
        settings.attributes.clone_from(&config.attributes);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
