//! Access tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4). A token is shared and cached. It is renewed
//! shortly before it expires and after a refusal.

use std::{
    fmt,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use super::errors::{error, not_done, unconfirmed};
use crate::{
    model::ErrorClass,
    settings::ClientAuth,
    targets::{
        TargetError, TargetErrorKind,
        http::{Answer, Call, Http, SecretProvider, server, tidy},
    },
};

/// A token is renewed this long before it expires, or when a quarter of its lifetime is left, whichever is later.
const RENEW_BEFORE: Duration = Duration::from_secs(30);
/// Lifetime of a token if the answer gives none, in seconds.
const DEFAULT_LIFETIME: u64 = 300;
/// Maximum lifetime that is accepted, in seconds.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// A client that obtains access tokens with its secret.
#[derive(Clone)]
pub struct ClientCredentials {
    /// The token endpoint.
    pub token_url: Url,
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub secret: SecretProvider,
    /// How the client authenticates.
    pub client_auth: ClientAuth,
    /// The requested scope; `None`: no scope is sent.
    pub scope: Option<String>,
    /// Further parameters of the request, for example `audience` and `resource` (RFC 8707), in this order.
    pub parameters: Vec<(String, String)>,
}

impl ClientCredentials {
    /// Creates credentials with Basic authentication, without a scope or further parameters.
    pub fn new(token_url: Url, client_id: impl Into<String>, secret: SecretProvider) -> Self {
        Self {
            token_url,
            client_id: client_id.into(),
            secret,
            client_auth: ClientAuth::default(),
            scope: None,
            parameters: Vec::new(),
        }
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} at {})", self.client_id, server(&self.token_url))
    }
}

/// Reason why no token is available.
pub enum NoToken {
    /// The client or its secret was refused.
    Refused(String),
    /// Anything else.
    Failed(TargetError),
}

/// An access token to send.
pub struct Token {
    pub header: HeaderValue,
    /// Distinguishes successive tokens.
    pub number: u64,
    /// Whether it was fetched for this request.
    pub fresh: bool,
}

struct Held {
    header: HeaderValue,
    secret: [u8; 32],
    renew_at: Instant,
}

/// The cached token of one client, shared by all its calls.
#[derive(Default)]
pub struct Tokens(Mutex<(u64, Option<Held>)>);

impl Tokens {
    /// Returns the current token for this secret. Fetches one if there is none, by one caller at a time.
    pub async fn get(
        &self,
        client: &ClientCredentials,
        secret: &SecretString,
        fingerprint: [u8; 32],
        http: &Http,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Token, NoToken> {
        let mut state = self.0.lock().await;
        let (number, held) = &mut *state;
        if let Some(held) = held.as_ref().filter(|held| held.secret == fingerprint && Instant::now() < held.renew_at) {
            return Ok(Token { header: held.header.clone(), number: *number, fresh: false });
        }
        let asked_at = Instant::now();
        let call = request(client, secret, what, deadline).map_err(NoToken::Failed)?;
        let whose = format!("{what}: signing in as client {}", client.client_id);
        let answer = http.send(&call).await.map_err(|why| NoToken::Failed(why.into_error(&whose, false)))?;
        let (header, life) = read(client, &whose, &answer)?;
        *number += 1;
        let margin = RENEW_BEFORE.min(life / 4);
        *held = Some(Held {
            header: header.clone(),
            secret: fingerprint,
            renew_at: asked_at + life.saturating_sub(margin),
        });
        Ok(Token { header, number: *number, fresh: true })
    }

    /// Discards a refused token; a newer one stays.
    pub async fn drop(&self, refused: u64) {
        let mut state = self.0.lock().await;
        if state.0 == refused {
            state.1 = None;
        }
    }
}

fn request(
    client: &ClientCredentials,
    secret: &SecretString,
    what: &str,
    deadline: Option<Timestamp>,
) -> Result<Call, TargetError> {
    let secret = secret.expose_secret().trim();
    let mut headers = HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static("application/json")),
        (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
    ]);
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    match client.client_auth {
        ClientAuth::Basic => drop(headers.insert(AUTHORIZATION, basic(&client.client_id, secret, what)?)),
        ClientAuth::Form => {
            form.append_pair("client_id", &client.client_id).append_pair("client_secret", secret);
        }
    }
    if let Some(scope) = &client.scope {
        form.append_pair("scope", scope);
    }
    form.extend_pairs(&client.parameters);
    Ok(Call {
        method: Method::POST,
        lane: "POST token".to_owned(),
        url: client.token_url.clone(),
        headers,
        body: Some(Bytes::from(form.finish())),
        // An unused token has no effect, so the call is not a write.
        writes: false,
        deadline,
    })
}

/// Encodes id and secret as a header. Both are form-encoded before they are joined (RFC 6749, section 2.3.1); every
/// server must accept this.
fn basic(id: &str, secret: &str, what: &str) -> Result<HeaderValue, TargetError> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = SecretString::from(format!("{}:{}", encoded(id), encoded(secret)));
    let basic = SecretString::from(format!("Basic {}", BASE64_STANDARD.encode(pair.expose_secret())));
    let mut authorization = HeaderValue::from_str(basic.expose_secret()).map_err(|_| {
        not_done(ErrorClass::Bug, format!("{what}: the client's id and secret cannot be written as a header."))
    })?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: Option<Seconds>,
}

/// A number, or a number as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

fn read(client: &ClientCredentials, whose: &str, answer: &Answer) -> Result<(HeaderValue, Duration), NoToken> {
    let from = server(&client.token_url);
    let id = &client.client_id;
    let status = answer.status;
    if status.is_success() {
        let unreadable = || {
            let text = format!("{whose}: {from} answered without a token. Check token_url.");
            NoToken::Failed(unconfirmed(text))
        };
        let given: Given = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        let bearer = SecretString::from(format!("Bearer {}", given.access_token));
        let mut header = HeaderValue::from_str(bearer.expose_secret()).map_err(|_| unreadable())?;
        header.set_sensitive(true);
        let life = match given.expires_in {
            Some(Seconds::Number(seconds)) => seconds,
            Some(Seconds::Text(text)) => text.trim().parse().unwrap_or(DEFAULT_LIFETIME),
            None => DEFAULT_LIFETIME,
        };
        return Ok((header, Duration::from_secs(life.min(LONGEST_LIFE))));
    }
    let said: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let words = tidy(&format!("{} {}", said.error, said.error_description), None);
    let quoted = if words.is_empty() { String::new() } else { format!(", saying \"{}\"", words.trim_end_matches('.')) };
    let code = status.as_u16();
    let wrong_client = matches!(said.error.as_str(), "invalid_client" | "unauthorized_client");
    if status == StatusCode::UNAUTHORIZED || wrong_client {
        return Err(NoToken::Refused(format!(
            "{from} refused a token for client {id} ({code}{quoted}). Check client_id, client_secret and client_auth, \
             and that the client may use client credentials (a service account)."
        )));
    }
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let class = if status == StatusCode::TOO_MANY_REQUESTS { ErrorClass::Throttled } else { ErrorClass::Transient };
        let text = format!("{whose}: {from} answered {code}{quoted}. usersync retries it.");
        let retry_after = answer.retry_after();
        let failed = error(TargetErrorKind::NotDone(class), text);
        return Err(NoToken::Failed(TargetError { retry_after, ..failed }));
    }
    if status.is_redirection() {
        let text = format!(
            "{whose}: {from} answered {code}, a redirect, when asked for a token. usersync tries again. If this is \
             not maintenance, check token_url."
        );
        return Err(NoToken::Failed(not_done(ErrorClass::Maintenance, text)));
    }
    let text = format!(
        "{whose}: {from} answered {code}{quoted} when asked for a token. Check token_url, scope, audience and resource."
    );
    Err(NoToken::Failed(not_done(ErrorClass::Permanent, text)))
}
