//! Authentication at a proxy.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Proxy;
use secrecy::{ExposeSecret, zeroize::Zeroizing};
use url::Url;

use crate::secret::Secret;

/// Advice for a proxy that requires authentication.
pub const PROXY_SIGN_IN: &str = "Check proxy_user and proxy_password.";

/// A user of a proxy, with HTTP Basic authentication.
#[derive(Clone)]
pub struct ProxyUser {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl ProxyUser {
    /// Returns the proxy at this address with this user. The password is read for each connection, and for each call
    /// that the proxy sees. A rotated password is used without a restart.
    pub(super) fn at(&self, address: &Url) -> Proxy {
        let (user, address) = (self.clone(), address.clone());
        Proxy::custom(move |_| Some(user.signed_in(&address)))
    }

    /// Returns the address with user and password. If the password cannot be read, it has neither, and the proxy
    /// answers with 407.
    fn signed_in(&self, address: &Url) -> Url {
        let mut url = address.clone();
        match self.password.read() {
            Ok(password) => {
                let encoded = |text: &str| Zeroizing::new(utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
                // Neither can fail for an http address with a host.
                let _ = url.set_username(&encoded(&self.user));
                let _ = url.set_password(Some(&encoded(password.expose_secret())));
            }
            Err(error) => tracing::error!("the proxy's password cannot be used: {error}."),
        }
        url
    }
}

impl fmt::Debug for ProxyUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUser({})", self.user)
    }
}
