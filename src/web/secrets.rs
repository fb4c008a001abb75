//! A connector's hook secrets, read anew when they may have been rotated.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use secrecy::SecretString;

use crate::{
    keycloak::signature::{SignatureError, SignatureHeaders, Verified, WebhookSecret, verify},
    model::BadHookSecret,
};

/// Reads one secret as it is now, or says why it cannot; no secret in the text.
pub type ReadSecret = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// How often a wrong signature may make the secrets be read anew.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How old they may grow, so that a secret that was taken away stops being good.
const TOO_OLD: Duration = Duration::from_secs(10);

/// The secrets of one connector.
pub struct HookSecrets {
    standard: Vec<ReadSecret>,
    p2: Option<ReadSecret>,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    standard: Arc<Vec<WebhookSecret>>,
    p2: Arc<Vec<WebhookSecret>>,
    read_at: Option<Instant>,
}

impl HookSecrets {
    /// Secrets of Standard Webhooks, the one in use first, and that of the p2 form where it is accepted.
    pub fn new(standard: Vec<ReadSecret>, p2: Option<ReadSecret>) -> Self {
        Self { standard, p2, known: RwLock::default() }
    }

    /// Verifies a body; secrets that may have been rotated are read anew first.
    pub async fn verify<'a>(
        self: &Arc<Self>,
        headers: &SignatureHeaders<'_>,
        body: &'a [u8],
        now: jiff::Timestamp,
    ) -> Result<Verified<'a>, SignatureError> {
        if self.older_than(TOO_OLD) {
            self.read_again().await;
        }
        match self.verify_with_known(headers, body, now) {
            Err(SignatureError::Mismatch) if self.older_than(READ_AGAIN_AFTER) => {
                self.read_again().await;
                self.verify_with_known(headers, body, now)
            }
            result => result,
        }
    }

    fn verify_with_known<'a>(
        &self,
        headers: &SignatureHeaders<'_>,
        body: &'a [u8],
        now: jiff::Timestamp,
    ) -> Result<Verified<'a>, SignatureError> {
        // The p2 form has no timestamp: its secret never opens the way for the other form, nor the other way round.
        let p2_form = headers.signature.is_none() && headers.keycloak.is_some();
        let secrets = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(if p2_form { &known.p2 } else { &known.standard })
        };
        verify(&secrets, headers, body, now)
    }

    fn older_than(&self, age: Duration) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.read_at.is_none_or(|read_at| read_at.elapsed() > age)
    }

    async fn read_again(self: &Arc<Self>) {
        let this = Arc::clone(self);
        // Files may be slow; a failure leaves what is known until the next time.
        let _ = tokio::task::spawn_blocking(move || this.read_blocking()).await;
    }

    fn read_blocking(&self) {
        let standard = self.standard.iter().filter_map(|secret| read(secret, WebhookSecret::parse)).collect();
        let p2 = self.p2.iter().filter_map(|secret| read(secret, WebhookSecret::parse_p2)).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Known { standard: Arc::new(standard), p2: Arc::new(p2), read_at: Some(Instant::now()) };
    }
}

fn read(
    secret: &ReadSecret,
    parse: impl Fn(&SecretString) -> Result<WebhookSecret, BadHookSecret>,
) -> Option<WebhookSecret> {
    let parsed = secret().and_then(|text| parse(&text).map_err(|error| error.to_string()));
    parsed.inspect_err(|why| tracing::error!("a hook secret cannot be used: {why}")).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;

    use super::*;

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(&text.to_owned().into()).expect("a good secret")
    }

    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    async fn good(secrets: &Arc<HookSecrets>, signed_with: &str) -> bool {
        let now = Timestamp::now();
        let signature = secret(signed_with).sign("msg_1", now, b"{}").expect("signs");
        let timestamp = now.as_second().to_string();
        let headers = SignatureHeaders {
            id: Some("msg_1"),
            timestamp: Some(&timestamp),
            signature: Some(&signature),
            keycloak: None,
        };
        secrets.verify(&headers, b"{}", now).await.is_ok()
    }

    #[tokio::test]
    async fn a_rotated_secret_is_taken_without_a_restart() {
        let current = Arc::new(Mutex::new(OLD));
        let read: ReadSecret = {
            let current = Arc::clone(&current);
            Arc::new(move || Ok((*current.lock().expect("not poisoned")).to_owned().into()))
        };
        let secrets = Arc::new(HookSecrets::new(vec![read], None));
        assert!(good(&secrets, OLD).await);
        assert!(!good(&secrets, NEW).await);
        *current.lock().expect("not poisoned") = NEW;
        secrets.known.write().expect("not poisoned").read_at = Instant::now().checked_sub(Duration::from_secs(2));
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
        assert!(p2_only.verify(&headers, b"{}", Timestamp::now()).await.is_ok());
        let standard_only = Arc::new(HookSecrets::new(vec![read], None));
        assert!(standard_only.verify(&headers, b"{}", Timestamp::now()).await.is_err());
    }

    #[tokio::test]
    async fn no_readable_secret_lets_nobody_in() {
        let secrets = Arc::new(HookSecrets::new(vec![Arc::new(|| Err("the file is not there".to_owned()))], None));
        assert!(!good(&secrets, OLD).await);
    }
}
