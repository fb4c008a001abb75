//! Settings of the clients, as the configuration fills them in.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use url::Url;

use crate::{
    http::{ClientCertificate, ProxyUser},
    secret::Secret,
};

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
