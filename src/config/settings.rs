//! The configuration for the rest of the program: checked, with all defaults filled in.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use jiff::SignedDuration;
use lettre::message::Mailbox;
use url::Url;

use super::{Problem, Reach, Schedule, Secret, TargetConfig};
use crate::{
    keycloak::{Connection, KeycloakSettings},
    model::{AlertKind, ConnectorName, Policy, PolicyTests, TargetName},
};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The HTTP server.
    pub server: ServerConfig,
    /// The store.
    pub store: StoreConfig,
    /// The log.
    pub log: LogConfig,
    /// The targets, in the order of the file.
    pub targets: Vec<TargetConfig>,
    /// The connectors, in the order of the file. All their targets exist.
    pub connectors: Vec<ConnectorConfig>,
    /// The alerts, in the order of the file.
    pub alerts: Vec<AlertConfig>,
    /// Valid but unwise settings.
    pub warnings: Vec<Problem>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The listen address; beyond this machine only with TLS or behind a proxy.
    pub listen: SocketAddr,
    /// Whether a proxy in front terminates TLS.
    pub behind_proxy: bool,
    /// Certificate and key; `None`: usersync does not serve TLS itself.
    pub tls: Option<TlsConfig>,
    /// Maximum size of a request body, in bytes.
    pub body_limit: usize,
    /// Memory for all request bodies, in bytes.
    pub body_budget: usize,
    /// How long a shutdown waits for work in progress.
    pub drain: Duration,
}

/// `[server.tls]`
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The database file.
    pub path: PathBuf,
    /// How long finished events, changes and runs are kept.
    pub retention: SignedDuration,
}

/// `[log]`
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// The format of lines.
    pub format: LogFormat,
    /// The lowest level that is logged.
    pub level: tracing::Level,
    /// Whether lines may contain personal data such as logins.
    pub personal_data: bool,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Plain text for operators.
    Text,
    /// One JSON object per line.
    Json,
}

/// `[[connector]]`
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// The name of the connector.
    pub name: ConnectorName,
    /// Whether the connector is enabled.
    pub enabled: bool,
    /// Keycloak's address, with or without `/auth`.
    pub url: Url,
    /// The realm that is read.
    pub realm: String,
    /// The realm that the client signs in to.
    pub client_realm: String,
    /// The client with the service account.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
    /// The connection settings for Keycloak.
    pub reach: Reach,
    /// Number of users read with one request of a full reconcile.
    pub page_size: NonZeroU32,
    /// How pushed events are authenticated.
    pub hook: HookConfig,
    /// The connector's targets; at least one, each once.
    pub targets: Vec<TargetName>,
    /// The schedule of the full reconcile; `None`: off, it runs only by command.
    pub schedule: Option<Schedule>,
    /// The interval at which the events that Keycloak stores are polled; `None`: they are not.
    pub poll_events: Option<SignedDuration>,
    /// The interval at which users of federations such as LDAP are checked; `None`: they are not.
    pub federation_check: Option<SignedDuration>,
    /// The policy for the targets.
    pub policy: Policy,
    /// Tests of the policy.
    pub tests: PolicyTests,
}

/// `[[alert]]`
#[derive(Clone, Debug)]
pub struct AlertConfig {
    /// The name of the alert.
    pub name: String,
    /// The way to the operator.
    pub channel: AlertChannel,
    /// Timeout of one delivery.
    pub timeout: Duration,
    /// How long a change has to last before it is announced.
    pub after: SignedDuration,
    /// The problems that are announced.
    pub problems: Vec<AlertKind>,
    /// The connectors whose problems are announced; empty: all.
    pub connectors: Vec<ConnectorName>,
    /// When the daily digest is sent; `None`: there is none.
    pub digest: Option<Schedule>,
}

/// The way of an alert to the operator.
#[derive(Clone, Debug)]
pub enum AlertChannel {
    /// A signed HTTP request in the form of Standard Webhooks.
    Webhook {
        /// The address; its path may be a secret.
        url: Url,
        /// The signing secret.
        secret: Secret,
        /// Certificates (PEM) to trust in addition to the system's; `None`: none.
        ca_file: Option<PathBuf>,
        /// The HTTP proxy; `None`: none.
        proxy: Option<Url>,
    },
    /// A message by e-mail.
    Email(EmailConfig),
    /// A command, which is run without a shell.
    Command {
        /// The absolute path of the program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

impl AlertChannel {
    /// Returns the secret that signs or logs in; `None`: there is none.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Webhook { secret, .. } => Some(secret),
            Self::Email(email) => email.sign_in.as_ref().map(|(_, password)| password),
            Self::Command { .. } => None,
        }
    }
}

/// How alerts are sent by e-mail.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// The mail server: a name, or an IP address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// User and password; `None`: without a login. Never set if the password would leave this machine without TLS.
    pub sign_in: Option<(String, Secret)>,
    /// The sender.
    pub from: Mailbox,
    /// The recipients; at least one.
    pub to: Vec<Mailbox>,
    /// Certificates (PEM) to trust in addition to the system's; `None`: none.
    pub ca_file: Option<PathBuf>,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// It begins without TLS, and must change to TLS before anything is sent.
    Starttls,
    /// It begins with TLS.
    Implicit,
    /// It is not encrypted.
    None,
}

/// The secrets that may sign pushed events.
#[derive(Clone, Debug, Default)]
pub struct HookConfig {
    /// The current secret; `None`: no pushed event of usersync's own form is accepted.
    pub secret: Option<Secret>,
    /// The previous secret, accepted as well while it is set; `None`: none.
    pub previous: Option<Secret>,
    /// The p2-inc listener's secret; `None`: its form is not accepted.
    pub p2: Option<Secret>,
}

impl HookConfig {
    /// Returns the secrets of usersync's own form, the current one first.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secret.iter().chain(&self.previous)
    }
}

impl From<&ConnectorConfig> for KeycloakSettings {
    fn from(config: &ConnectorConfig) -> Self {
        let secret = config.client_secret.clone();
        Self {
            connection: Connection::by(&config.url, &config.reach),
            realm: config.realm.clone(),
            client_realm: (config.client_realm != config.realm).then(|| config.client_realm.clone()),
            client_id: config.client_id.clone(),
            secret: Arc::new(move || secret.read().map_err(|error| error.to_string())),
            page: usize::try_from(config.page_size.get()).unwrap_or(usize::MAX),
        }
    }
}
