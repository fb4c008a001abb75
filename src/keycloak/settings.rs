//! What a Keycloak client is told.

use std::{fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use crate::{
    clock::{Clock, SystemClock},
    config::{ClientCertificate, ConnectorConfig, ProxyUser, Reach},
};

/// Reads the client's secret anew each time, so that a rotated one is taken without a restart. An error is a readable
/// line without the secret.
pub type SecretProvider = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOuts {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until a short answer is read.
    pub call: Duration,
    /// Until a page of a walk is read.
    pub long: Duration,
}

impl Default for TimeOuts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), call: Duration::from_secs(30), long: Duration::from_mins(2) }
    }
}

/// How Keycloak is reached; the same for reading and for setting up.
#[derive(Clone)]
pub struct Connection {
    /// The base URL as given: with or without `/auth`, a trailing slash, a path.
    pub url: Url,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate that usersync presents; `None`: none.
    pub client_certificate: Option<ClientCertificate>,
    /// A proxy for all calls; none is taken from the environment.
    pub proxy: Option<Url>,
    /// Who signs in to the proxy; `None`: nobody.
    pub proxy_user: Option<ProxyUser>,
    /// Requests at the same time.
    pub parallel: usize,
    /// Requests per second, if they are limited.
    pub per_second: Option<NonZeroU32>,
    /// How long calls may take.
    pub time_outs: TimeOuts,
    /// What the server's limits are measured with.
    pub clock: Arc<dyn Clock>,
}

impl Connection {
    /// To this address, all else by default.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            ca_file: None,
            client_certificate: None,
            proxy: None,
            proxy_user: None,
            parallel: 8,
            per_second: None,
            time_outs: TimeOuts::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Connection {
    /// To this address, in the configured way.
    pub fn by(url: &Url, reach: &Reach) -> Self {
        let default = TimeOuts::default();
        Self {
            url: url.clone(),
            ca_file: reach.ca_file.clone(),
            client_certificate: reach.client_certificate.clone(),
            proxy: reach.proxy.clone(),
            proxy_user: reach.proxy_user.clone(),
            parallel: usize::try_from(reach.parallel.get()).unwrap_or(usize::MAX),
            per_second: reach.per_second,
            time_outs: TimeOuts { call: reach.timeout, long: default.long.max(reach.timeout), ..default },
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs can carry passwords.
        f.debug_struct("Connection").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// What the client of a realm is told.
#[derive(Clone)]
pub struct KeycloakSettings {
    /// How Keycloak is reached.
    pub connection: Connection,
    /// The realm that is read.
    pub realm: String,
    /// The realm that the client is in, where that is another: `master` holds the rights on realm `acme` as roles of
    /// its client `acme-realm`.
    pub client_realm: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub secret: SecretProvider,
    /// Users and groups a page in walks inside the client.
    pub page: usize,
}

impl KeycloakSettings {
    /// With all else by default.
    pub fn new(url: Url, realm: impl Into<String>, client_id: impl Into<String>, secret: SecretProvider) -> Self {
        Self {
            connection: Connection::new(url),
            realm: realm.into(),
            client_realm: None,
            client_id: client_id.into(),
            secret,
            page: 500,
        }
    }

    /// The realm that gives the token.
    pub fn token_realm(&self) -> &str {
        self.client_realm.as_deref().unwrap_or(&self.realm)
    }

    /// The client whose roles are the rights: of the realm itself, or of `master` for it.
    pub fn rights_client(&self) -> String {
        rights_client(&self.realm, self.token_realm())
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

impl fmt::Debug for KeycloakSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeycloakSettings")
            .field("connection", &self.connection)
            .field("realm", &self.realm)
            .field("client_realm", &self.client_realm)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The client whose roles are the rights on `realm` for somebody in `token_realm`.
pub(super) fn rights_client(realm: &str, token_realm: &str) -> String {
    if token_realm != realm || realm == "master" { format!("{realm}-realm") } else { "realm-management".to_owned() }
}
