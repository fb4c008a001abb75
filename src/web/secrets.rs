//! A connector's hook secrets, read again when they may have been rotated.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use secrecy::SecretString;

use crate::{
    keycloak::signature::{Signature, Verified, WebhookSecret, verify},
    model::{BadHookSecret, RefusalReason},
};

/// Reads the current value of a secret. An error says why it cannot be read, without the secret.
pub type ReadSecret = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// Minimum time between two reads of the secrets that a wrong signature causes.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Maximum age of the secrets, so that a removed secret is no longer accepted.
const TOO_OLD: Duration = Duration::from_secs(10);

/// The hook secrets of one connector.
pub struct HookSecrets {
    readers: RwLock<Readers>,
    known: RwLock<Known>,
    decoys: Decoys,
}

#[derive(Default)]
struct Readers {
    standard: Vec<ReadSecret>,
    p2: Option<ReadSecret>,
}

#[derive(Default)]
struct Known {
    standard: Arc<Vec<WebhookSecret>>,
    p2: Arc<Vec<WebhookSecret>>,
    /// Why other secrets cannot be used.
    troubles: Vec<String>,
    read_at: Option<Instant>,
}

/// Random secrets that no sender has. They are verified against if there is no other secret, so that the response time
/// does not reveal that.
struct Decoys {
    standard: Vec<WebhookSecret>,
    p2: Vec<WebhookSecret>,
}

impl Decoys {
    fn new() -> Self {
        let text = WebhookSecret::generate();
        let decoys = |parsed: Result<WebhookSecret, BadHookSecret>| parsed.into_iter().collect();
        Self { standard: decoys(WebhookSecret::parse(&text)), p2: decoys(WebhookSecret::parse_p2(&text)) }
    }
}

impl HookSecrets {
    /// Creates the secrets: those of Standard Webhooks, current one first, and that of the p2 form if it is accepted.
    pub fn new(standard: Vec<ReadSecret>, p2: Option<ReadSecret>) -> Self {
        Self { readers: RwLock::new(Readers { standard, p2 }), known: RwLock::default(), decoys: Decoys::new() }
    }

    /// Creates secrets that match nothing and are read like all others, for unknown connectors.
    pub(super) fn decoys() -> Self {
        let nobody: ReadSecret = Arc::new(|| Ok(WebhookSecret::generate()));
        Self::new(vec![Arc::clone(&nobody)], Some(nobody))
    }

    /// Replaces the secrets for all requests from now on.
    pub fn replace(&self, standard: Vec<ReadSecret>, p2: Option<ReadSecret>) {
        *self.readers.write() = Readers { standard, p2 };
        *self.known.write() = Known::default();
    }

    /// Verifies a body; first reads secrets again that may have been rotated.
    pub async fn verify<'a>(
        self: &Arc<Self>,
        signature: &Signature<'_>,
        body: &'a [u8],
    ) -> Result<Verified<'a>, RefusalReason> {
        if self.older_than(TOO_OLD) {
            self.read_again().await;
        }
        match self.verify_with_known(signature, body) {
            Err(_) if self.older_than(READ_AGAIN_AFTER) => {
                self.read_again().await;
                self.verify_with_known(signature, body)
            }
            result => result,
        }
    }

    fn verify_with_known<'a>(&self, signature: &Signature<'_>, body: &'a [u8]) -> Result<Verified<'a>, RefusalReason> {
        // The p2 form has no timestamp, so neither form's secret is valid for the other.
        let known = {
            let known = self.known.read();
            Arc::clone(if signature.is_p2() { &known.p2 } else { &known.standard })
        };
        let decoys = if signature.is_p2() { &self.decoys.p2 } else { &self.decoys.standard };
        let secrets = if known.is_empty() { decoys } else { known.as_ref() };
        verify(secrets, signature, body).map_err(|_| match (signature.is_p2(), known.is_empty()) {
            (true, true) if self.readers.read().p2.is_none() => RefusalReason::P2NotAccepted,
            (_, true) => RefusalReason::NoSecret,
            (true, false) => RefusalReason::WrongP2Secret,
            (false, false) => RefusalReason::WrongSecret,
        })
    }

    fn older_than(&self, age: Duration) -> bool {
        let known = self.known.read();
        known.read_at.is_none_or(|read_at| read_at.elapsed() > age)
    }

    async fn read_again(self: &Arc<Self>) {
        let this = Arc::clone(self);
        // Reading files may block. If the task fails, the known secrets stay until the next attempt.
        let _ = tokio::task::spawn_blocking(move || this.read_blocking()).await;
    }

    fn read_blocking(&self) {
        let (standard, p2) = {
            let readers = self.readers.read();
            (readers.standard.clone(), readers.p2.clone())
        };
        let mut troubles = Vec::new();
        let standard = standard.iter().filter_map(|secret| read(secret, WebhookSecret::parse, &mut troubles)).collect();
        let p2 = p2.iter().filter_map(|secret| read(secret, WebhookSecret::parse_p2, &mut troubles)).collect();
        let mut known = self.known.write();
        // Any sender can cause a read, so each problem is logged once.
        if troubles != known.troubles {
            for why in &troubles {
                tracing::error!("a hook secret cannot be used: {why}");
            }
        }
        *known = Known { standard: Arc::new(standard), p2: Arc::new(p2), troubles, read_at: Some(Instant::now()) };
    }
}

fn read(
    secret: &ReadSecret,
    parse: impl Fn(&SecretString) -> Result<WebhookSecret, BadHookSecret>,
    troubles: &mut Vec<String>,
) -> Option<WebhookSecret> {
    let parsed = secret().and_then(|text| parse(&text).map_err(|error| error.to_string()));
    parsed.map_err(|why| troubles.push(why)).ok()
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use jiff::Timestamp;

    use super::*;
    use crate::keycloak::signature::SignatureHeaders;

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(&text.to_owned().into()).expect("a good secret")
    }

    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    async fn good(secrets: &Arc<HookSecrets>, signed_with: &str) -> bool {
        outcome(secrets, signed_with).await.is_ok()
    }

    async fn outcome(secrets: &Arc<HookSecrets>, signed_with: &str) -> Result<(), RefusalReason> {
        let now = Timestamp::now();
        let signature = secret(signed_with).sign("msg_1", now, b"{}").expect("signs");
        let timestamp = now.as_second().to_string();
        let headers = SignatureHeaders {
            id: Some("msg_1"),
            timestamp: Some(&timestamp),
            signature: Some(&signature),
            keycloak: None,
        };
        secrets.verify(&headers.signature(now).expect("well-formed"), b"{}").await.map(|_| ())
    }

    #[tokio::test]
    async fn a_rotated_secret_is_taken_without_a_restart() {
        let current = Arc::new(Mutex::new(OLD));
        let read: ReadSecret = {
            let current = Arc::clone(&current);
            Arc::new(move || Ok((*current.lock()).to_owned().into()))
        };
        let secrets = Arc::new(HookSecrets::new(vec![read], None));
        assert!(good(&secrets, OLD).await);
        assert!(!good(&secrets, NEW).await);
        *current.lock() = NEW;
        secrets.known.write().read_at = Instant::now().checked_sub(Duration::from_secs(2));
        assert!(good(&secrets, NEW).await);
        assert!(!good(&secrets, OLD).await);
    }

    #[tokio::test]
    async fn the_p2_secret_signs_nothing_but_the_p2_form() {
        let read: ReadSecret = Arc::new(|| Ok(OLD.to_owned().into()));
        let p2_only = Arc::new(HookSecrets::new(vec![], Some(Arc::clone(&read))));
        assert!(!good(&p2_only, OLD).await);
        let tag = secret(OLD).sign_p2(b"{}").expect("signs");
        let headers = SignatureHeaders { keycloak: Some(&tag), ..SignatureHeaders::default() };
        let signature = headers.signature(Timestamp::now()).expect("well-formed");
        assert!(p2_only.verify(&signature, b"{}").await.is_ok());
        let standard_only = Arc::new(HookSecrets::new(vec![read], None));
        assert_eq!(standard_only.verify(&signature, b"{}").await.err(), Some(RefusalReason::P2NotAccepted));
        let other: ReadSecret = Arc::new(|| Ok(NEW.to_owned().into()));
        let rotated = Arc::new(HookSecrets::new(vec![], Some(other)));
        assert_eq!(rotated.verify(&signature, b"{}").await.err(), Some(RefusalReason::WrongP2Secret));
    }

    #[tokio::test]
    async fn replaced_secrets_are_good_at_once_and_the_old_ones_are_not() {
        let secrets = Arc::new(HookSecrets::new(vec![Arc::new(|| Ok(OLD.to_owned().into()))], None));
        assert!(good(&secrets, OLD).await);
        secrets.replace(vec![Arc::new(|| Ok(NEW.to_owned().into()))], None);
        assert!(good(&secrets, NEW).await);
        assert!(!good(&secrets, OLD).await);
    }

    #[tokio::test]
    async fn no_readable_secret_lets_nobody_in() {
        let secrets = Arc::new(HookSecrets::new(vec![Arc::new(|| Err("the file is not there".to_owned()))], None));
        assert_eq!(outcome(&secrets, OLD).await, Err(RefusalReason::NoSecret));
        let other = Arc::new(HookSecrets::new(vec![Arc::new(|| Ok(NEW.to_owned().into()))], None));
        assert_eq!(outcome(&other, OLD).await, Err(RefusalReason::WrongSecret));
        assert!(outcome(&Arc::new(HookSecrets::decoys()), OLD).await.is_err());
    }
}
