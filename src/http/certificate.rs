//! The certificate that usersync presents where a server, or the gateway in front of it, demands one.

use std::{
    io,
    path::{Path, PathBuf},
};

use reqwest::{Client, Identity};
use secrecy::zeroize::Zeroizing;

use super::root_cause;

/// A client certificate and its private key, in PEM. Both files are read when a client is made, at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, then the chain up to what the server knows.
    pub cert_file: PathBuf,
    /// The private key, without a passphrase.
    pub key_file: PathBuf,
}

/// Why a client certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{key} {} cannot be read: {why}.", file.display())]
    Unreadable {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What kept it from being read.
        why: io::Error,
    },
    /// There is no certificate in its file.
    #[error("client_cert_file {} holds no PEM certificate.", .0.display())]
    NoCertificate(PathBuf),
    /// There is no private key in its file.
    #[error("client_key_file {} holds no PEM private key.", .0.display())]
    NoKey(PathBuf),
    /// The private key has a passphrase.
    #[error(
        "client_key_file {} holds an encrypted key, and usersync has no passphrase. Write the key without one: openssl \
         pkey -in encrypted.pem -out client.key, then chmod 600 client.key.",
        .0.display()
    )]
    Encrypted(PathBuf),
    /// Certificate and key are not a pair.
    #[error("client_key_file {} does not hold the key of the certificate in client_cert_file {}.", key.display(), cert.display())]
    Mismatched {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The TLS library takes them not.
    #[error("client_cert_file {} cannot be used with its key: {why}.", cert.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The library's own words.
        why: String,
    },
}

impl CertificateError {
    /// The setting that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } => key,
            Self::NoCertificate(_) | Self::Unusable { .. } => "client_cert_file",
            Self::NoKey(_) | Self::Encrypted(_) | Self::Mismatched { .. } => "client_key_file",
        }
    }
}

impl ClientCertificate {
    /// Whether it can be used; nothing is sent.
    pub fn check(&self) -> Result<(), CertificateError> {
        let client = Client::builder().identity(self.identity()?).build();
        client.map(drop).map_err(|error| self.unusable(&root_cause(&error)))
    }

    /// Certificate and key, read now.
    pub(super) fn identity(&self) -> Result<Identity, CertificateError> {
        let text = read("client_cert_file", &self.cert_file)?;
        let certificates = blocks(&text, "CERTIFICATE");
        if certificates.is_empty() {
            return Err(CertificateError::NoCertificate(self.cert_file.clone()));
        }
        let text = read("client_key_file", &self.key_file)?;
        // PKCS #8 says it in the label, the older form in a header.
        if text.contains("ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(CertificateError::Encrypted(self.key_file.clone()));
        }
        let keys = blocks(&text, "PRIVATE KEY");
        let Some(key) = keys.first() else { return Err(CertificateError::NoKey(self.key_file.clone())) };
        let mut pem = Zeroizing::new(certificates.concat());
        pem.push_str(key);
        Identity::from_pem(pem.as_bytes()).map_err(|error| self.unusable(&root_cause(&error)))
    }

    /// What kept the TLS library from using it.
    pub(super) fn unusable(&self, why: &str) -> CertificateError {
        let (cert, key) = (self.cert_file.clone(), self.key_file.clone());
        if why.contains("KeyMismatch") {
            CertificateError::Mismatched { cert, key }
        } else {
            CertificateError::Unusable { cert, why: why.trim_end_matches('.').to_owned() }
        }
    }
}

fn read(key: &'static str, file: &Path) -> Result<Zeroizing<String>, CertificateError> {
    let bytes = std::fs::read(file).map(Zeroizing::new);
    let bytes = bytes.map_err(|why| CertificateError::Unreadable { key, file: file.to_owned(), why })?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The PEM blocks whose label ends so. Files often hold more: the key beside the certificate, parameters of a curve.
fn blocks<'t>(text: &'t str, label: &str) -> Vec<&'t str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN ") {
        rest = &rest[begin..];
        let Some(end) = rest.find("-----END ") else { break };
        let line = rest[end..].find('\n').map_or(rest.len(), |line| end + line + 1);
        let first = rest.lines().next().unwrap_or_default().trim_end();
        if first.strip_suffix("-----").is_some_and(|first| first.ends_with(label)) {
            found.push(&rest[..line]);
        }
        rest = &rest[line..];
    }
    found
}

/// What a server's alert says about the client certificate, if it is about that: the handshake failed, so that nothing of
/// the request was read.
pub fn refused_certificate(cause: &str, presented: bool) -> Option<&'static str> {
    if !cause.contains("received fatal alert") {
        return None;
    }
    let alerts = [
        "CertificateRequired",
        "UnknownCA",
        "BadCertificate",
        "UnsupportedCertificate",
        "CertificateUnknown",
        "CertificateExpired",
        "CertificateRevoked",
        "AccessDenied",
        // A signature that cannot be verified: another authority of the same name.
        "DecryptError",
    ];
    match (alerts.iter().any(|alert| cause.contains(alert)), presented) {
        (false, _) => None,
        (true, false) => Some("demands a client certificate. Name one in client_cert_file and client_key_file"),
        (true, true) => Some("does not accept the client certificate. Check client_cert_file and who issued it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_labels() {
        let cert = "-----BEGIN CERTIFICATE-----\r\nAA==\r\n-----END CERTIFICATE-----\r\n";
        let curve = "-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\n";
        let key = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----";
        let text = format!("subject=us\n{cert}{curve}{cert}\n{key}");
        assert_eq!(blocks(&text, "CERTIFICATE"), [cert, cert]);
        assert_eq!(blocks(&text, "PRIVATE KEY"), [key]);
        assert_eq!(blocks("-----BEGIN CERTIFICATE-----\nAA==", "CERTIFICATE"), Vec::<&str>::new());
    }
}
