//! The configuration as the rest of the program sees it: checked, with all defaults filled in.

use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use url::Url;

use super::{Problem, Schedule, Secret};
use crate::{
    http::{ClientCertificate, ProxyUser},
    model::{ConnectorName, Policy, TargetName},
    target::{TargetKind, scim::Habits},
};

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// How it listens.
    pub server: ServerConfig,
    /// Where it keeps what it knows.
    pub store: StoreConfig,
    /// How it logs.
    pub log: LogConfig,
    /// The targets, in the order of the file.
    pub targets: Vec<TargetConfig>,
    /// The connectors, in the order of the file. Their targets are all there.
    pub connectors: Vec<ConnectorConfig>,
    /// What works, but is unwise.
    pub warnings: Vec<Problem>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it listens; beyond this machine only with TLS or behind a proxy.
    pub listen: SocketAddr,
    /// Whether a proxy in front speaks TLS.
    pub behind_proxy: bool,
    /// Certificate and key, if it speaks TLS itself.
    pub tls: Option<TlsConfig>,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// The memory for all request bodies together; bytes.
    pub body_budget: usize,
    /// How long a stop waits for what is under way.
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
    /// How lines are written.
    pub format: LogFormat,
    /// Which lines.
    pub level: tracing::Level,
    /// Whether lines may tell who a user is.
    pub personal_data: bool,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How usersync signs in to a target.
#[derive(Clone, Debug)]
pub enum TargetAuth {
    /// With a personal access token.
    Token(Secret),
    /// With login and password.
    Password {
        /// The login.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// With access tokens that a client is given (OAuth 2.0 client credentials).
    Client {
        /// Where tokens are given.
        token_url: Url,
        /// The client.
        id: String,
        /// Its secret.
        secret: Secret,
        /// How the client shows who it is.
        client_auth: ClientAuth,
        /// What the token is to be good for.
        scope: Option<String>,
        /// Further parameters of the request, in this order.
        parameters: Vec<(String, String)>,
    },
}

/// How a client authenticates where it asks for a token (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// By HTTP Basic authentication.
    #[default]
    Basic,
    /// By `client_id` and `client_secret` in the form.
    Form,
}

/// `[[target]]`
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// How it is called everywhere.
    pub name: TargetName,
    /// What it is.
    pub kind: &'static TargetKind,
    /// Its base URL.
    pub url: Url,
    /// How usersync signs in.
    pub auth: TargetAuth,
    /// The way to it.
    pub reach: Reach,
    /// Applications that new accounts get access to.
    pub applications: Vec<String>,
    /// Whether new accounts are put into Bitbucket's default group.
    pub default_group: bool,
    /// Groups that are never changed, nor who is in them.
    pub protected_groups: Vec<String>,
    /// Groups that are never changed, nor the accounts in them.
    pub frozen_groups: Vec<String>,
    /// Groups that give access to the product, and from which usersync removes members all the same.
    pub managed_access_groups: Vec<String>,
    /// Logins that are never changed.
    pub protected_users: Vec<String>,
    /// The SCIM server's profile, by name; found out if none is given.
    pub profile: Option<&'static str>,
    /// What the SCIM server does otherwise than its profile says.
    pub habits: Habits,
    /// The further attributes that connectors' policies speak of, by the target's names for them.
    pub attributes: BTreeSet<String>,
}

/// How another server is reached, and how hard it is asked.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// The certificate that usersync presents; `None`: none.
    pub client_certificate: Option<ClientCertificate>,
    /// The HTTP proxy on the way, if there is one; none is taken from the environment.
    pub proxy: Option<Url>,
    /// Who signs in to the proxy; `None`: nobody.
    pub proxy_user: Option<ProxyUser>,
    /// Requests at the same time.
    pub parallel: NonZeroU32,
    /// Requests in a second; no limit if none is given.
    pub per_second: Option<NonZeroU32>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// `[[connector]]`
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// How it is called everywhere.
    pub name: ConnectorName,
    /// Whether it works.
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
    /// The way to Keycloak.
    pub reach: Reach,
    /// Users read with one request of a full reconcile.
    pub page_size: NonZeroU32,
    /// How pushed events are known to be Keycloak's.
    pub hook: HookConfig,
    /// The targets that it fills; at least one, each once.
    pub targets: Vec<TargetName>,
    /// When the full reconcile is due; never by itself if it is off.
    pub schedule: Option<Schedule>,
    /// What it wants of its targets.
    pub policy: Policy,
}

/// The secrets that pushed events may be signed with.
#[derive(Clone, Debug, Default)]
pub struct HookConfig {
    /// The one in use. Without it no pushed event of our own form is taken.
    pub secret: Option<Secret>,
    /// The one before, good as well while it is there.
    pub previous: Option<Secret>,
    /// The p2-inc listener's, if its form is accepted.
    pub p2: Option<Secret>,
}

impl HookConfig {
    /// The secrets of our own form, the one in use first.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secret.iter().chain(&self.previous)
    }
}
