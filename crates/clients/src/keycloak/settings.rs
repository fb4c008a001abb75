//! The settings of a Keycloak client.

use std::{fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use crate::{
    clock::{Clock, SystemClock},
    http::{ClientCertificate, ProxyUser},
    secret::SecretProvider,
    settings::Reach,
};

/// Timeouts of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOuts {
    /// Until the connection is established.
    pub connect: Duration,
    /// Until a short answer is read.
    pub call: Duration,
    /// Until a page of a listing is read.
    pub long: Duration,
}

impl Default for TimeOuts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), call: Duration::from_secs(30), long: Duration::from_mins(2) }
    }
}

/// The connection to Keycloak; the same for reading and for setup.
#[derive(Clone)]
pub struct Connection {
    /// The base URL as given: with or without `/auth`, a trailing slash, a path.
    pub url: Url,
    /// Certificates (PEM) to trust in addition to the system's; `None`: none.
    pub ca_file: Option<PathBuf>,
    /// The certificate that usersync presents; `None`: none.
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy for all calls; `None`: none, and none is taken from the environment.
    pub proxy: Option<Url>,
    /// The credentials for the proxy; `None`: none.
    pub proxy_user: Option<ProxyUser>,
    /// Maximum number of concurrent requests.
    pub parallel: usize,
    /// Maximum number of requests per second; `None`: unlimited.
    pub per_second: Option<NonZeroU32>,
    /// Timeouts of calls.
    pub time_outs: TimeOuts,
    /// The clock by which the server's rate limits are measured.
    pub clock: Arc<dyn Clock>,
}

impl Connection {
    /// Creates a connection to this address, with defaults for all other settings.
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
    /// Creates a connection to this address with the configured settings.
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

/// The settings of a realm's client.
#[derive(Clone)]
pub struct KeycloakSettings {
    /// The connection to Keycloak.
    pub connection: Connection,
    /// The realm that is read.
    pub realm: String,
    /// The realm that contains the client, if it is another: `master` holds the rights on realm `acme` as roles of its
    /// client `acme-realm`.
    pub client_realm: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub secret: SecretProvider,
    /// Users or groups per page of a listing.
    pub page: usize,
}

impl KeycloakSettings {
    /// Creates settings with defaults for all other values.
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

    /// Returns the realm that issues the token.
    pub fn token_realm(&self) -> &str {
        self.client_realm.as_deref().unwrap_or(&self.realm)
    }

    /// Returns the client that holds the rights as roles: a client of the realm itself, or of `master`.
    pub fn rights_client(&self) -> String {
        rights_client(&self.realm, self.token_realm())
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

/// Returns the client that holds the rights on `realm` as roles, for a client or user in `token_realm`.
pub(super) fn rights_client(realm: &str, token_realm: &str) -> String {
    if token_realm != realm || realm == "master" { format!("{realm}-realm") } else { "realm-management".to_owned() }
}
