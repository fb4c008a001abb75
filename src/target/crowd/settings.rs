//! What a Crowd target is made from.

use std::{collections::BTreeSet, fmt};

use url::Url;

use crate::{
    config::TargetConfig,
    target::{
        Credentials,
        http::{HttpSettings, SecretProvider, server},
    },
};

/// The groups that make administrators in Atlassian's products, by the names that they come with. This interface does
/// not tell which groups do.
pub(super) const ADMINISTRATORS: [&str; 5] = [
    "crowd-administrators",
    "jira-administrators",
    "jira-system-administrators",
    "confluence-administrators",
    "bamboo-admin",
];

/// The groups that products give access by, as they are named out of the box; Crowd does not tell.
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

/// A Crowd, and how usersync works with it.
#[derive(Clone)]
pub struct CrowdSettings {
    /// The address that people type: mostly `https://host/crowd`, or a Jira's.
    pub base_url: Url,
    /// The application's name and password.
    pub credentials: Credentials,
    /// Groups that are never touched, nor who is in them.
    pub protected_groups: Vec<String>,
    /// Groups that are never touched, and whose members are protected accounts, besides the administrators' known by
    /// name.
    pub frozen_groups: Vec<String>,
    /// Groups that give access to the product, and from which usersync removes members all the same.
    pub managed_access_groups: Vec<String>,
    /// Logins of further protected accounts.
    pub protected_users: Vec<String>,
    /// Names of further attributes that accounts are given.
    pub attributes: BTreeSet<String>,
    /// How the server is reached.
    pub http: HttpSettings,
}

/// An address may be mistyped with a password in it, so only its server is shown.
impl fmt::Debug for CrowdSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrowdSettings")
            .field("base_url", &server(&self.base_url))
            .field("credentials", &self.credentials)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl CrowdSettings {
    /// Settings with the defaults.
    pub fn new(base_url: Url, application: &str, password: SecretProvider) -> Self {
        Self::with(base_url, Credentials::Basic { user: application.to_owned(), password })
    }

    fn with(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            protected_groups: Vec::new(),
            frozen_groups: Vec::new(),
            managed_access_groups: Vec::new(),
            protected_users: Vec::new(),
            attributes: BTreeSet::new(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for CrowdSettings {
    fn from(config: &TargetConfig) -> Self {
        let mut settings = Self::with(config.url.clone(), Credentials::from(&config.auth));
        settings.protected_groups.clone_from(&config.protected_groups);
        settings.frozen_groups.clone_from(&config.frozen_groups);
        settings.managed_access_groups.clone_from(&config.managed_access_groups);
        settings.protected_users.clone_from(&config.protected_users);
        settings.attributes.clone_from(&config.attributes);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
