//! What a Jira target is made from.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use crate::{
    config::{TargetAuth, TargetConfig},
    target::http::{HttpSettings, SecretProvider, provider, server},
};

/// How usersync signs in.
#[derive(Clone)]
pub enum Credentials {
    /// A personal access token (Jira 8.14 and later; the only way that Jira 11 takes by default).
    Token(SecretProvider),
    /// A user and password.
    Basic {
        /// The login.
        user: String,
        /// The password.
        password: SecretProvider,
    },
}

impl Credentials {
    pub(super) fn secret(&self) -> Result<SecretString, String> {
        match self {
            Self::Token(secret) | Self::Basic { password: secret, .. } => secret(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
        }
    }
}

/// A Jira, and how usersync works with it.
#[derive(Clone)]
pub struct JiraSettings {
    /// The address that people type, with a path prefix if there is one.
    pub base_url: Url,
    /// How usersync signs in.
    pub credentials: Credentials,
    /// The applications (`jira-software`) that a new account is given: `None` for the instance's default, an empty
    /// list for none.
    pub applications: Option<Vec<String>>,
    /// Groups that are never touched, and whose members are protected accounts.
    pub protected_groups: Vec<String>,
    /// Logins of further protected accounts.
    pub protected_users: Vec<String>,
    /// How the server is reached.
    pub http: HttpSettings,
}

/// An address may be mistyped with a password in it, so only its server is shown.
impl fmt::Debug for JiraSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JiraSettings")
            .field("base_url", &server(&self.base_url))
            .field("credentials", &self.credentials)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl JiraSettings {
    /// Settings with the defaults.
    pub fn new(base_url: Url, credentials: Credentials) -> Self {
        Self {
            base_url,
            credentials,
            applications: None,
            protected_groups: vec!["jira-administrators".to_owned(), "jira-system-administrators".to_owned()],
            protected_users: Vec::new(),
            http: HttpSettings::default(),
        }
    }
}

impl From<&TargetConfig> for JiraSettings {
    fn from(config: &TargetConfig) -> Self {
        let credentials = match &config.auth {
            TargetAuth::Token(token) => Credentials::Token(provider(token)),
            TargetAuth::Password { user, password } => {
                Credentials::Basic { user: user.clone(), password: provider(password) }
            }
        };
        let mut settings = Self::new(config.url.clone(), credentials);
        settings.applications = Some(config.applications.clone());
        settings.protected_groups.extend(config.protected_groups.iter().cloned());
        settings.protected_users.clone_from(&config.protected_users);
        settings.http = HttpSettings::from(&config.reach);
        settings
    }
}
