//! Delivers an alert by an HTTP request, signed as in Standard Webhooks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::{
    Client,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use url::Url;

use super::Failed;
use crate::{
    config::Secret,
    http::{Way, client, retry_after, root_cause},
    model::hook_secret,
};

/// A webhook.
pub(super) struct Webhook {
    client: Client,
    url: Url,
    secret: Secret,
}

impl Webhook {
    pub fn new(url: &Url, secret: &Secret, way: Way<'_>) -> Result<Self, String> {
        Ok(Self { client: client(way)?, url: url.clone(), secret: secret.clone() })
    }

    /// Sends a body. The error does not contain the address, a part of which may be a secret.
    pub async fn send(&self, id: &str, body: &str, now: Timestamp) -> Result<(), Failed> {
        let timestamp = now.as_second();
        let signature = self.sign(id, timestamp, body)?;
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body.to_owned());
        let host = self.url.host_str().unwrap_or_default();
        let answer = request.send().await.map_err(|error| {
            let refused = if error.is_timeout() { "no answer in time".to_owned() } else { root_cause(&error) };
            format!("{host}: {refused}")
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
        let why = if status.is_redirection() { ", and redirects are not followed" } else { "" };
        let failed = Failed::from(format!("{host} answers HTTP {}{why}", status.as_u16()));
        Err(Failed { asked, ..failed })
    }

    /// Returns the value of the header `webhook-signature`.
    fn sign(&self, id: &str, timestamp: i64, body: &str) -> Result<String, String> {
        let text = self.secret.read().map_err(|error| format!("the signing secret: {error}"))?;
        let key = hook_secret(text.expose_secret()).map_err(|error| error.to_string())?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).map_err(|error| error.to_string())?;
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = Secret::inline("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let url = Url::parse("https://alerts.example.org/").unwrap();
        let connect = Duration::from_secs(1);
        let way = Way { ca_file: None, certificate: None, proxy: None, proxy_user: None, connect };
        let webhook = Webhook::new(&url, &secret, way).unwrap();
        let signature = webhook.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
