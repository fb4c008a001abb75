//! Authentication. A refused secret is not sent again until it changes or the engine probes it.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use parking_lot::Mutex;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use url::Url;

use super::oauth::{ClientCredentials, NoToken, Tokens};
use crate::{
    model::ErrorClass,
    settings::TargetAuth,
    targets::{
        TargetError, TargetErrorKind,
        http::{Http, HttpSettings, SecretProvider, provider, server},
    },
};

/// Credentials of usersync.
#[derive(Clone)]
pub enum Credentials {
    /// A token that is sent unchanged.
    Token(SecretProvider),
    /// A name and password.
    Basic {
        /// The login, or the application's name.
        user: String,
        /// The password.
        password: SecretProvider,
    },
    /// A client that obtains access tokens (OAuth 2.0).
    Client(Box<ClientCredentials>),
}

impl Credentials {
    fn secret(&self) -> Result<SecretString, String> {
        match self {
            Self::Token(secret) | Self::Basic { password: secret, .. } => secret(),
            Self::Client(client) => (client.secret)(),
        }
    }
}

impl From<&TargetAuth> for Credentials {
    fn from(auth: &TargetAuth) -> Self {
        match auth {
            TargetAuth::Token(token) => Self::Token(provider(token)),
            TargetAuth::Password { user, password } => Self::Basic { user: user.clone(), password: provider(password) },
            TargetAuth::Client { token_url, id, secret, client_auth, scope, parameters } => {
                Self::Client(Box::new(ClientCredentials {
                    token_url: token_url.clone(),
                    client_id: id.clone(),
                    secret: provider(secret),
                    client_auth: *client_auth,
                    scope: scope.clone(),
                    parameters: parameters.clone(),
                }))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
            Self::Client(client) => client.fmt(f),
        }
    }
}

/// Starts the debug output of a target's settings. A mistyped address may contain a password, so only its server is
/// shown.
pub fn debug_settings<'a, 'b: 'a>(
    f: &'a mut fmt::Formatter<'b>,
    name: &str,
    base_url: &Url,
    credentials: &Credentials,
    http: &HttpSettings,
) -> fmt::DebugStruct<'a, 'b> {
    let mut shown = f.debug_struct(name);
    shown.field("base_url", &server(base_url)).field("credentials", credentials).field("http", http);
    shown
}

/// Known state of a secret.
#[derive(Clone)]
enum Standing {
    Accepted,
    Refused(SignInRefusal),
}

/// A server's refusal of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInRefusal {
    /// The server's message, and what to do.
    pub text: String,
    /// Whether the user is locked out, so that further sign-ins make it worse.
    pub locked: bool,
}

/// The credentials, and whether the server accepted them.
pub struct Auth {
    credentials: Credentials,
    /// The product's name for a token.
    token: &'static str,
    known: Mutex<Option<([u8; 32], Standing)>>,
    trial: AsyncMutex<()>,
    tokens: Tokens,
}

/// The right to send one call with the current secret. Until the secret is known to be good, only one permit exists at
/// a time.
pub struct Permit<'a> {
    pub header: HeaderValue,
    fingerprint: [u8; 32],
    /// The access token's number, and whether it was fetched for this call.
    token: Option<(u64, bool)>,
    _trial: Option<MutexGuard<'a, ()>>,
}

impl Auth {
    pub fn new(credentials: Credentials, token: &'static str) -> Self {
        Self { credentials, token, known: Mutex::new(None), trial: AsyncMutex::new(()), tokens: Tokens::default() }
    }

    pub fn is_basic(&self) -> bool {
        matches!(self.credentials, Credentials::Basic { .. })
    }

    /// Describes the credentials for messages about a refusal, as far as the settings identify them.
    pub fn whose(&self) -> String {
        match &self.credentials {
            Credentials::Token(_) => self.token.to_owned(),
            Credentials::Basic { user, .. } => format!("the password of {user}"),
            Credentials::Client(client) => format!("the token of client {}", client.client_id),
        }
    }

    /// Returns the name of the signed-in user or client, as far as the settings identify it.
    pub fn name(&self) -> String {
        match &self.credentials {
            Credentials::Token(_) => "the bearer of the token".to_owned(),
            Credentials::Basic { user, .. } => user.clone(),
            Credentials::Client(client) => format!("client {}", client.client_id),
        }
    }

    /// Waits for the right to send; fails if the secret was refused before. Fetches a required access token with
    /// `http`, before `deadline`.
    pub async fn permit(
        &self,
        what: &str,
        http: &Http,
        deadline: Option<Timestamp>,
    ) -> Result<Permit<'_>, TargetError> {
        let (secret, fingerprint) = self.secret(what)?;
        match self.standing(&fingerprint) {
            Some(Standing::Accepted) => return self.granted(what, http, deadline, &secret, fingerprint, None).await,
            Some(Standing::Refused(refusal)) => return Err(refused(what, &refusal)),
            None => {}
        }
        let trial = self.trial.lock().await;
        // During the wait the secret may have changed, or another call may have tried it.
        let (secret, fingerprint) = self.secret(what)?;
        let trial = match self.standing(&fingerprint) {
            Some(Standing::Accepted) => None,
            Some(Standing::Refused(refusal)) => return Err(refused(what, &refusal)),
            None => Some(trial),
        };
        self.granted(what, http, deadline, &secret, fingerprint, trial).await
    }

    async fn granted<'a>(
        &'a self,
        what: &str,
        http: &Http,
        deadline: Option<Timestamp>,
        secret: &SecretString,
        fingerprint: [u8; 32],
        trial: Option<MutexGuard<'a, ()>>,
    ) -> Result<Permit<'a>, TargetError> {
        let (header, token) = match &self.credentials {
            Credentials::Token(_) => {
                (self.header(what, &format!("Bearer {}", secret.expose_secret().trim()).into())?, None)
            }
            Credentials::Basic { user, .. } => {
                let pair = SecretString::from(format!("{user}:{}", secret.expose_secret()));
                let encoded = BASE64_STANDARD.encode(pair.expose_secret());
                (self.header(what, &format!("Basic {encoded}").into())?, None)
            }
            Credentials::Client(client) => {
                match self.tokens.get(client, secret, fingerprint, http, what, deadline).await {
                    Ok(token) => (token.header, Some((token.number, token.fresh))),
                    Err(NoToken::Failed(error)) => return Err(error),
                    Err(NoToken::Refused(text)) => {
                        http.refused_sign_in();
                        let refusal = SignInRefusal { text, locked: false };
                        self.note(fingerprint, Standing::Refused(refusal.clone()));
                        return Err(refused(what, &refusal));
                    }
                }
            }
        };
        Ok(Permit { header, fingerprint, token, _trial: trial })
    }

    /// Whether a refused call should be retried with a new access token, because a cached one may have been revoked.
    pub async fn renew(&self, permit: &Permit<'_>) -> bool {
        match permit.token {
            Some((number, false)) => {
                self.tokens.drop(number).await;
                true
            }
            _ => false,
        }
    }

    /// Records that the server accepted the credentials.
    pub fn accept(&self, permit: &Permit<'_>) {
        self.note(permit.fingerprint, Standing::Accepted);
    }

    /// Records that the server refused the credentials.
    pub fn refuse(&self, permit: &Permit<'_>, what: &str, refusal: SignInRefusal) -> TargetError {
        let error = refused(what, &refusal);
        self.note(permit.fingerprint, Standing::Refused(refusal));
        error
    }

    /// Allows another attempt with the current secret.
    pub fn forget(&self) {
        *self.known.lock() = None;
    }

    /// Whether the last credentials were refused because the user is locked out.
    pub fn locked_out(&self) -> bool {
        let known = self.known.lock();
        matches!(&*known, Some((_, Standing::Refused(SignInRefusal { locked: true, .. }))))
    }

    fn note(&self, fingerprint: [u8; 32], standing: Standing) {
        *self.known.lock() = Some((fingerprint, standing));
    }

    fn standing(&self, fingerprint: &[u8; 32]) -> Option<Standing> {
        let known = self.known.lock();
        known.as_ref().filter(|(known, _)| known == fingerprint).map(|(_, standing)| standing.clone())
    }

    fn secret(&self, what: &str) -> Result<(SecretString, [u8; 32]), TargetError> {
        let secret = self.credentials.secret();
        let secret = secret.map_err(|why| none(what, &format!("there is no secret for signing in: {why}")))?;
        let fingerprint = Sha256::digest(secret.expose_secret().as_bytes()).into();
        Ok((secret, fingerprint))
    }

    fn header(&self, what: &str, value: &SecretString) -> Result<HeaderValue, TargetError> {
        let mut header = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| none(what, &format!("{} contains characters that cannot be sent.", self.whose())))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn none(what: &str, text: &str) -> TargetError {
    TargetError {
        kind: TargetErrorKind::NotDone(ErrorClass::Credentials),
        text: format!("{what}: {text}"),
        retry_after: None,
    }
}

fn refused(what: &str, SignInRefusal { text, locked }: &SignInRefusal) -> TargetError {
    let next = if *locked {
        "usersync does not retry until they change."
    } else {
        "usersync retries when they change, or after 1, 5 and 15 minutes and then every hour."
    };
    TargetError {
        kind: TargetErrorKind::NotDone(ErrorClass::Credentials),
        text: format!("{what}: {text} {next}"),
        retry_after: None,
    }
}

/// What an answer says about the credentials that were sent with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted.
    Accepted,
    /// A CAPTCHA must be solved in a browser, after too many failed sign-ins.
    Captcha,
    /// Refused, or ignored, so that the call was anonymous.
    Refused,
    /// The answer does not say.
    Unknown,
}
