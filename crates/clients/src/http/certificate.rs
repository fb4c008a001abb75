//! The client certificate that usersync presents to a server or gateway that requires one.

use std::{
    io,
    path::{Path, PathBuf},
};

use reqwest::{Client, Identity};
use secrecy::zeroize::Zeroizing;

use super::root_cause;

/// A client certificate and its private key, in PEM. Both files are read at start, when a client is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by the chain up to an authority that the server trusts.
    pub cert_file: PathBuf,
    /// The private key, without a passphrase.
    pub key_file: PathBuf,
}

/// Reason why a client certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{key} {} cannot be read: {why}.", file.display())]
    Unreadable {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// The cause of the failed read.
        why: io::Error,
    },
    /// The file contains no certificate.
    #[error("client_cert_file {} holds no PEM certificate.", .0.display())]
    NoCertificate(PathBuf),
    /// The file contains no private key.
    #[error("client_key_file {} holds no PEM private key.", .0.display())]
    NoKey(PathBuf),
    /// The private key has a passphrase.
    #[error(
        "client_key_file {} holds an encrypted key, and usersync has no passphrase. Write the key without one: openssl \
         pkey -in encrypted.pem -out client.key, then chmod 600 client.key.",
        .0.display()
    )]
    Encrypted(PathBuf),
    /// Certificate and key do not match.
    #[error("client_key_file {} does not hold the key of the certificate in client_cert_file {}.", key.display(), cert.display())]
    Mismatched {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The TLS library rejects them.
    #[error("client_cert_file {} cannot be used with its key: {why}.", cert.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The message of the TLS library.
        why: String,
    },
}

impl CertificateError {
    /// Returns the setting that the error concerns.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } => key,
            Self::NoCertificate(_) | Self::Unusable { .. } => "client_cert_file",
            Self::NoKey(_) | Self::Encrypted(_) | Self::Mismatched { .. } => "client_key_file",
        }
    }
}

impl ClientCertificate {
    /// Checks whether the certificate can be used; nothing is sent.
    pub fn check(&self) -> Result<(), CertificateError> {
        let client = Client::builder().identity(self.identity()?).build();
        client.map(drop).map_err(|error| self.unusable(&root_cause(&error)))
    }

    /// Reads certificate and key now.
    pub(super) fn identity(&self) -> Result<Identity, CertificateError> {
        let text = read("client_cert_file", &self.cert_file)?;
        let certificates = blocks(&text, "CERTIFICATE");
        if certificates.is_empty() {
            return Err(CertificateError::NoCertificate(self.cert_file.clone()));
        }
        let text = read("client_key_file", &self.key_file)?;
        // PKCS #8 marks encryption in the label, the older form in a header.
        if text.contains("ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(CertificateError::Encrypted(self.key_file.clone()));
        }
        let keys = blocks(&text, "PRIVATE KEY");
        let Some(key) = keys.first() else { return Err(CertificateError::NoKey(self.key_file.clone())) };
        let mut pem = Zeroizing::new(certificates.concat());
        pem.push_str(key);
        Identity::from_pem(pem.as_bytes()).map_err(|error| self.unusable(&root_cause(&error)))
    }

    /// Returns the error for a certificate that the TLS library rejects.
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

/// Returns the PEM blocks with a label that ends in `label`. Files often contain more: the key beside the certificate,
/// parameters of a curve.
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

/// Interprets a server's TLS alert about the client certificate; `None`: the alert has another cause. The handshake
/// failed, so the server read nothing of the request.
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
        (true, false) => Some("requires a client certificate. Set client_cert_file and client_key_file"),
        (true, true) => Some("rejects the client certificate. Check client_cert_file and its issuer"),
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
