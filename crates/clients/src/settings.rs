//! Settings of the clients, as the configuration fills them in.

use std::{collections::BTreeSet, num::NonZeroU32, path::PathBuf, time::Duration};

use url::Url;

use crate::{
    http::{ClientCertificate, ProxyUser},
    model::TargetName,
    secret::Secret,
    targets::{TargetKind, scim::Habits},
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

/// A target.
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
