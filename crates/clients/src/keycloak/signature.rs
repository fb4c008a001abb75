//! Verifies webhook signatures over the raw bytes: Standard Webhooks, and the header of the p2-inc listener.
//!
//! Only a [`Verified`] body can be decoded, so that no caller decodes before the verification.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;

use crate::model::{BadHookSecret, HOOK_SECRET_PREFIX, hook_secret};

/// Largest difference between the sender's clock and usersync's; the reference libraries of Standard Webhooks use the
/// same.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

type HmacSha256 = Hmac<Sha256>;

/// A body that may be decoded.
#[derive(Clone, Copy)]
pub struct Verified<'a>(&'a [u8]);

impl<'a> Verified<'a> {
    /// Wraps a body that usersync's own client read from Keycloak, over a connection that it opened itself.
    pub fn read_at_source(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// Returns the bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({} bytes)", self.0.len())
    }
}

/// A secret that signs webhooks, in one of the two forms.
#[derive(Clone)]
pub struct WebhookSecret {
    /// The bytes that sign Standard Webhooks; `None`: the secret has the p2 form.
    decoded: Option<SecretSlice<u8>>,
    /// The text as written; the p2 form signs with it.
    text: SecretString,
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

impl WebhookSecret {
    /// Parses a secret of Standard Webhooks as it is written in a file.
    pub fn parse(text: &SecretString) -> Result<Self, BadHookSecret> {
        let decoded = hook_secret(text.expose_secret())?;
        Ok(Self { decoded: Some(decoded), text: text.expose_secret().trim().into() })
    }

    /// Parses a secret of the p2 form: any text, which signs by its bytes. Surrounding whitespace is removed.
    pub fn parse_p2(text: &SecretString) -> Result<Self, BadHookSecret> {
        match text.expose_secret().trim() {
            "" => Err(BadHookSecret::Empty),
            text => Ok(Self { decoded: None, text: text.into() }),
        }
    }

    /// Generates a secret of 32 random bytes, as text.
    pub fn generate() -> SecretString {
        format!("{HOOK_SECRET_PREFIX}{}", STANDARD.encode(rand::random::<[u8; 32]>())).into()
    }

    /// Returns the signature header of a sender of Standard Webhooks: for tests, the simulator and the demo.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> Option<String> {
        let mac = self.standard_mac(id, &at.as_second().to_string(), body)?;
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }

    /// Returns the `X-Keycloak-Signature` header of the p2 listener: for tests, the simulator and the demo.
    pub fn sign_p2(&self, body: &[u8]) -> Option<String> {
        Some(hex::encode(self.p2_mac(body)?.finalize().into_bytes()))
    }

    fn standard_mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<HmacSha256> {
        let mut mac = HmacSha256::new_from_slice(self.decoded.as_ref()?.expose_secret()).ok()?;
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        Some(mac)
    }

    fn p2_mac(&self, body: &[u8]) -> Option<HmacSha256> {
        let mut mac = HmacSha256::new_from_slice(self.text.expose_secret().as_bytes()).ok()?;
        mac.update(body);
        Some(mac)
    }
}

/// The headers that carry a signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignatureHeaders<'a> {
    /// `webhook-id`
    pub id: Option<&'a str>,
    /// `webhook-timestamp`
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`
    pub signature: Option<&'a str>,
    /// `X-Keycloak-Signature`
    pub keycloak: Option<&'a str>,
}

impl<'a> SignatureHeaders<'a> {
    /// Reads the headers with `header`; names are requested in lower case.
    pub fn read(header: impl Fn(&'static str) -> Option<&'a str>) -> Self {
        Self {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            keycloak: header("x-keycloak-signature"),
        }
    }

    /// Returns the signature if its headers are well-formed and, for a form with a timestamp, fresh. That is all that
    /// can be checked before the body is read. If headers of Standard Webhooks are present, only they count.
    pub fn signature(&self, now: Timestamp) -> Result<Signature<'a>, SignatureError> {
        match (self.id, self.timestamp, self.signature, self.keycloak) {
            (Some(id), Some(timestamp), Some(signature), _) => standard(id, timestamp, signature, now),
            (None, None, None, Some(signature)) => p2(signature),
            _ => Err(SignatureError::Missing),
        }
    }
}

/// A signature over a body that is not yet read.
#[derive(Clone, Debug)]
pub struct Signature<'a>(Form<'a>);

type Tag = [u8; 32];

#[derive(Clone, Debug)]
enum Form<'a> {
    Standard { id: &'a str, timestamp: &'a str, tags: Vec<Tag> },
    P2(Tag),
}

impl Signature<'_> {
    /// Whether it has the form of the p2-inc listener.
    pub fn is_p2(&self) -> bool {
        matches!(self.0, Form::P2(_))
    }
}

/// Maximum number of signatures on one request; a sender that rotates its secret needs fewer.
const MOST_TAGS: usize = 8;

fn standard<'a>(
    id: &'a str,
    timestamp: &'a str,
    signature: &str,
    now: Timestamp,
) -> Result<Signature<'a>, SignatureError> {
    // A full stop in the id would let two different messages have the same signed bytes.
    if id.is_empty() || id.contains('.') || !timestamp.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SignatureError::Unreadable);
    }
    let signed = timestamp.parse().map_err(|_| SignatureError::Unreadable)?;
    let age = now.as_second().saturating_sub(signed);
    if age > TOLERANCE.as_secs() {
        return Err(SignatureError::TooOld);
    }
    if age < -TOLERANCE.as_secs() {
        return Err(SignatureError::TooNew);
    }
    let encoded = signature.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    let tags = encoded.filter_map(|tag| STANDARD.decode(tag).ok()?.try_into().ok()).take(MOST_TAGS);
    let tags: Vec<Tag> = tags.collect();
    if tags.is_empty() {
        return Err(SignatureError::Unreadable);
    }
    Ok(Signature(Form::Standard { id, timestamp, tags }))
}

fn p2<'a>(signature: &str) -> Result<Signature<'a>, SignatureError> {
    if signature.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(SignatureError::Unreadable);
    }
    let tag = hex::decode(signature).ok().and_then(|bytes| bytes.try_into().ok());
    tag.map(|tag| Signature(Form::P2(tag))).ok_or(SignatureError::Unreadable)
}

/// Why a request is not authentic. The sender receives only 401.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// There is no signature, or some of its headers are missing.
    #[error(
        "the request is not signed: webhook-id, webhook-timestamp and webhook-signature, or X-Keycloak-Signature, are missing"
    )]
    Missing,
    /// The headers are malformed.
    #[error("the signature headers are malformed")]
    Unreadable,
    /// The timestamp is too old.
    #[error("the request was signed more than five minutes ago: a replay, or the clocks differ")]
    TooOld,
    /// The timestamp is in the future.
    #[error("the request was signed more than five minutes in the future: the clocks differ")]
    TooNew,
    /// No secret matches.
    #[error("the signature matches none of the connector's secrets: sender and usersync use different secrets")]
    Mismatch,
}

/// Verifies a body with any of the secrets. Each secret takes the same time, whether it matches or not.
pub fn verify<'a>(
    secrets: &[WebhookSecret],
    signature: &Signature<'_>,
    body: &'a [u8],
) -> Result<Verified<'a>, SignatureError> {
    let mac = |secret: &WebhookSecret| match &signature.0 {
        Form::Standard { id, timestamp, .. } => secret.standard_mac(id, timestamp, body),
        Form::P2(_) => secret.p2_mac(body),
    };
    let tags = match &signature.0 {
        Form::Standard { tags, .. } => tags.as_slice(),
        Form::P2(tag) => std::slice::from_ref(tag),
    };
    let mut fits = false;
    for mac in secrets.iter().filter_map(mac) {
        for tag in tags {
            fits |= mac.clone().verify_slice(tag).is_ok();
        }
    }
    if fits { Ok(Verified(body)) } else { Err(SignatureError::Mismatch) }
}

#[cfg(test)]
mod tests;
