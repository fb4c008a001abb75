//! The configuration for the rest of the program: checked, with all defaults filled in.

use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use url::Url;

use super::{Problem, Schedule, Secret};
use crate::{
    http::{ClientCertificate, ProxyUser},
    model::{ConnectorName, Policy, TargetName},
    target::{TargetKind, scim::Habits},
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

/// The credentials for a target.
#[derive(Clone, Debug)]
pub enum TargetAuth {
    /// A personal access token.
    Token(Secret),
    /// Login and password.
    Password {
        /// The login.
        user: String,
        /// The password.
        password: Secret,
    },
    /// OAuth 2.0 client credentials.
    Client {
        /// The token endpoint.
        token_url: Url,
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: Secret,
        /// How the client authenticates.
        client_auth: ClientAuth,
        /// The scope of the token; `None`: none is requested.
        scope: Option<String>,
        /// Further parameters of the request, in this order.
        parameters: Vec<(String, String)>,
    },
}

/// How a client authenticates at the token endpoint (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// HTTP Basic authentication.
    #[default]
    Basic,
    /// `client_id` and `client_secret` in the form body.
    Form,
}

/// `[[target]]`
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// The name of the target.
    pub name: TargetName,
    /// The kind of the target.
    pub kind: &'static TargetKind,
    /// The base URL.
    pub url: Url,
    /// The credentials.
    pub auth: TargetAuth,
    /// The connection settings.
    pub reach: Reach,
    /// Applications to which new accounts get access.
    pub applications: Vec<String>,
    /// Whether new accounts are added to Bitbucket's default group.
    pub default_group: bool,
    /// Groups that are never changed, and whose members are neither added nor removed.
    pub protected_groups: Vec<String>,
    /// Groups that are never changed, and whose accounts are never changed.
    pub frozen_groups: Vec<String>,
    /// Groups that give access to the product, but from which usersync also removes members.
    pub managed_access_groups: Vec<String>,
    /// Logins that are never changed.
    pub protected_users: Vec<String>,
    /// The SCIM server's profile, by name; `None`: it is detected.
    pub profile: Option<&'static str>,
    /// The SCIM server's differences from its profile.
    pub habits: Habits,
    /// Further attributes that the connectors' policies use, by the target's names.
    pub attributes: BTreeSet<String>,
}

/// Connection settings and request limits for another server.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Certificates (PEM) to trust in addition to the system's; `None`: none.
    pub ca_file: Option<PathBuf>,
    /// The certificate that usersync presents; `None`: none.
    pub client_certificate: Option<ClientCertificate>,
    /// The HTTP proxy; `None`: none, and none is taken from the environment.
    pub proxy: Option<Url>,
    /// The credentials for the proxy; `None`: none.
    pub proxy_user: Option<ProxyUser>,
    /// Maximum number of concurrent requests.
    pub parallel: NonZeroU32,
    /// Maximum number of requests per second; `None`: unlimited.
    pub per_second: Option<NonZeroU32>,
    /// Timeout of one request.
    pub timeout: Duration,
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
    /// The policy for the targets.
    pub policy: Policy,
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
