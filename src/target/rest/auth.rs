//! Signing in: a secret that was refused is sent once, and not again until it changes.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use crate::{
    config::TargetAuth,
    model::ErrorClass,
    target::{
        TargetError, TargetErrorKind,
        http::{SecretProvider, provider},
    },
};

/// How usersync signs in.
#[derive(Clone)]
pub enum Credentials {
    /// A token that is sent as it is.
    Token(SecretProvider),
    /// A name and password.
    Basic {
        /// The login, or the application's name.
        user: String,
        /// The password.
        password: SecretProvider,
    },
}

impl Credentials {
    fn secret(&self) -> Result<SecretString, String> {
        match self {
            Self::Token(secret) | Self::Basic { password: secret, .. } => secret(),
        }
    }
}

impl From<&TargetAuth> for Credentials {
    fn from(auth: &TargetAuth) -> Self {
        match auth {
            TargetAuth::Token(token) => Self::Token(provider(token)),
            TargetAuth::Password { user, password } => Self::Basic { user: user.clone(), password: provider(password) },
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
        }
    }
}

/// What is known about a secret.
#[derive(Clone)]
enum Standing {
    Accepted,
    Refused(String),
}

/// The credentials, and whether the server took them.
pub struct Auth {
    credentials: Credentials,
    known: Mutex<Option<([u8; 32], Standing)>>,
    trial: AsyncMutex<()>,
}

/// The right to send one call with the present secret. While nobody knows whether the secret is good, only one is out.
pub struct Permit<'a> {
    pub header: HeaderValue,
    fingerprint: [u8; 32],
    _trial: Option<MutexGuard<'a, ()>>,
}

impl Auth {
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, known: Mutex::new(None), trial: AsyncMutex::new(()) }
    }

    pub fn is_basic(&self) -> bool {
        matches!(self.credentials, Credentials::Basic { .. })
    }

    /// Who refused credentials belong to, as far as is known before signing in.
    pub fn whose(&self) -> String {
        match &self.credentials {
            Credentials::Token(_) => "the token".to_owned(),
            Credentials::Basic { user, .. } => format!("the password of {user}"),
        }
    }

    /// Waits for the right to send, or says that the secret was refused before.
    pub async fn permit(&self, what: &str) -> Result<Permit<'_>, TargetError> {
        let (header, fingerprint) = self.header(what)?;
        match self.standing(&fingerprint) {
            Some(Standing::Accepted) => return Ok(Permit { header, fingerprint, _trial: None }),
            Some(Standing::Refused(text)) => return Err(refused(what, &text)),
            None => {}
        }
        let trial = self.trial.lock().await;
        // While this one waited, the secret may have changed, and another may have tried it.
        let (header, fingerprint) = self.header(what)?;
        match self.standing(&fingerprint) {
            Some(Standing::Accepted) => Ok(Permit { header, fingerprint, _trial: None }),
            Some(Standing::Refused(text)) => Err(refused(what, &text)),
            None => Ok(Permit { header, fingerprint, _trial: Some(trial) }),
        }
    }

    /// The server took the credentials.
    pub fn accept(&self, permit: &Permit<'_>) {
        self.note(permit, Standing::Accepted);
    }

    /// The server refused the credentials.
    pub fn refuse(&self, permit: &Permit<'_>, what: &str, text: &str) -> TargetError {
        self.note(permit, Standing::Refused(text.to_owned()));
        refused(what, text)
    }

    /// Lets the present secret be tried again.
    pub fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn note(&self, permit: &Permit<'_>, standing: Standing) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((permit.fingerprint, standing));
    }

    fn standing(&self, fingerprint: &[u8; 32]) -> Option<Standing> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(known, _)| known == fingerprint).map(|(_, standing)| standing.clone())
    }

    fn header(&self, what: &str) -> Result<(HeaderValue, [u8; 32]), TargetError> {
        let none = |text: String| TargetError {
            kind: TargetErrorKind::NotDone(ErrorClass::Credentials),
            text: format!("{what}: {text}"),
            retry_after: None,
        };
        let secret =
            self.credentials.secret().map_err(|why| none(format!("there is no secret to sign in with: {why}")))?;
        let fingerprint = Sha256::digest(secret.expose_secret().as_bytes()).into();
        let value = match &self.credentials {
            Credentials::Token(_) => SecretString::from(format!("Bearer {}", secret.expose_secret().trim())),
            Credentials::Basic { user, .. } => {
                let pair = SecretString::from(format!("{user}:{}", secret.expose_secret()));
                SecretString::from(format!("Basic {}", BASE64_STANDARD.encode(pair.expose_secret())))
            }
        };
        let mut header = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| none(format!("{} holds characters that cannot be sent.", self.whose())))?;
        header.set_sensitive(true);
        Ok((header, fingerprint))
    }
}

fn refused(what: &str, text: &str) -> TargetError {
    TargetError {
        kind: TargetErrorKind::NotDone(ErrorClass::Credentials),
        text: format!("{what}: {text} They are not sent again until they change."),
        retry_after: None,
    }
}

/// What an answer tells about the credentials that were sent with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Accepted,
    /// Too many wrong sign-ins: a CAPTCHA has to be solved in a browser first.
    Captcha,
    /// Refused, or passed over so that the call was an anonymous one.
    Refused,
    /// The answer does not tell.
    Unknown,
}
