//! How servers are reached: whom we trust, as whom we present ourselves, by which way, and what is never done.

use std::{error::Error, path::Path, time::Duration};

use reqwest::{Certificate, Client, Proxy, redirect};
use url::Url;

mod certificate;
mod proxy;

pub use certificate::{CertificateError, ClientCertificate, refused_certificate};
pub use proxy::{PROXY_SIGN_IN, ProxyUser};

/// No more room than this is made for an answer before it is there, whatever length it announces; in bytes.
pub const BELIEVED: usize = 4 << 20;

/// The way to a server.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<&'a Path>,
    /// The certificate that we present.
    pub certificate: Option<&'a ClientCertificate>,
    /// A proxy for all calls; none is taken from the environment.
    pub proxy: Option<&'a Url>,
    /// Who signs in to the proxy.
    pub proxy_user: Option<&'a ProxyUser>,
    /// How long a connection may take to come about.
    pub connect: Duration,
}

/// A client that follows no redirect, which would carry credentials elsewhere, keeps no cookie and takes no proxy from
/// the environment. The error is a sentence about the setting that does not work.
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
        let shown = file.display();
        let pem = std::fs::read(file).map_err(|error| format!("ca_file {shown} cannot be read: {error}."))?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|_| format!("ca_file {shown} is not a file of PEM certificates."))?;
        if certificates.is_empty() {
            return Err(format!("ca_file {shown} holds no PEM certificate."));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(certificate) = way.certificate {
        builder = builder.identity(certificate.identity().map_err(|error| error.to_string())?);
    }
    if let Some(url) = way.proxy {
        // With a user, the closure below is asked instead, which cannot say that the address is none.
        let plain = Proxy::all(url.as_str())
            .map_err(|_| "The proxy's address is not one. It looks like http://proxy.example.org:3128.".to_owned())?;
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

/// The innermost cause in its own words; the outer ones repeat addresses, which may hold more than they should.
pub fn root_cause(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
