//! HTTP client settings for all servers: trusted certificates, client certificate, proxy, and what is never done.

use std::{error::Error, path::Path, time::Duration};

use reqwest::{Certificate, Client, Proxy, redirect};
use url::Url;

mod certificate;
mod proxy;
mod retry_after;

pub use certificate::{CertificateError, ClientCertificate, refused_certificate};
pub use proxy::{PROXY_SIGN_IN, ProxyUser};
pub use retry_after::{http_date, retry_after};

/// Maximum buffer that is allocated before an answer arrives, whatever length it announces; in bytes.
pub const MAX_PREALLOCATED: usize = 4 << 20;

/// Connection settings for a server.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// PEM file of certificates to trust in addition to the system's.
    pub ca_file: Option<&'a Path>,
    /// The client certificate to present.
    pub certificate: Option<&'a ClientCertificate>,
    /// A proxy for all calls; none is taken from the environment.
    pub proxy: Option<&'a Url>,
    /// The user that authenticates at the proxy.
    pub proxy_user: Option<&'a ProxyUser>,
    /// Timeout for a connection.
    pub connect: Duration,
}

/// Creates a client that keeps no cookies, ignores proxies in the environment and follows no redirects, which would
/// forward credentials. The error is a sentence about the invalid setting.
pub fn client(way: Way<'_>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("usersync/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(way.connect)
        // Shorter than the 20 s after which Tomcat closes, so that few calls meet a closing connection.
        .pool_idle_timeout(Duration::from_secs(15))
        .no_proxy();
    if let Some(file) = way.ca_file {
        builder = builder.tls_certs_merge(trusted(file)?.1);
    }
    if let Some(certificate) = way.certificate {
        builder = builder.identity(certificate.identity().map_err(|error| error.to_string())?);
    }
    if let Some(url) = way.proxy {
        // With a proxy user, the closure below supplies the address and cannot report an invalid one.
        let plain = Proxy::all(url.as_str())
            .map_err(|_| "The proxy address is invalid. Example: http://proxy.example.org:3128.".to_owned())?;
        builder = builder.proxy(match way.proxy_user {
            Some(user) => user.at(url),
            None => plain,
        });
    }
    builder.build().map_err(|error| match way.certificate {
        Some(certificate) => certificate.unusable(&root_cause(&error)).to_string(),
        None => format!("The HTTP client cannot be set up: {}.", root_cause(&error)),
    })
}

/// Reads a file of certificates to trust; the error is a sentence about it. Returns PEM, for clients without HTTP.
pub fn trusted_pem(ca_file: &Path) -> Result<Vec<u8>, String> {
    trusted(ca_file).map(|(pem, _)| pem)
}

fn trusted(ca_file: &Path) -> Result<(Vec<u8>, Vec<Certificate>), String> {
    let shown = ca_file.display();
    let pem = std::fs::read(ca_file).map_err(|error| format!("ca_file {shown} cannot be read: {error}."))?;
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|_| format!("ca_file {shown} is not a file of PEM certificates."))?;
    if certificates.is_empty() {
        return Err(format!("ca_file {shown} holds no PEM certificate."));
    }
    Ok((pem, certificates))
}

/// Returns the message of the innermost cause. The outer ones repeat addresses, which may contain secrets.
pub fn root_cause(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
