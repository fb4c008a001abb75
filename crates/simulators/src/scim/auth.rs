//! Authentication, and the endpoint that issues access tokens (RFC 6749, section 4.4).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::errors::Refused;
use crate::front::{Reply, Request};

/// The path of the token endpoint.
pub(crate) const TOKEN_PATH: &str = "/oauth/token";

/// The static token, the client's credentials and the issued access tokens.
#[derive(Debug)]
pub(crate) struct Access {
    token: String,
    client: (String, String),
    given: HashMap<String, Instant>,
    number: u64,
}

impl Access {
    pub(crate) fn new(token: &str, client: &(String, String)) -> Self {
        Self { token: token.to_owned(), client: client.clone(), given: HashMap::new(), number: 0 }
    }

    /// Checks the bearer token of a request.
    pub(crate) fn admit(&self, request: &Request) -> Result<(), Refused> {
        let bearer = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        let good = bearer.is_some_and(|bearer| {
            bearer == self.token || self.given.get(bearer).is_some_and(|ends| Instant::now() < *ends)
        });
        if good { Ok(()) } else { Err(Refused::new(401, None, "Bearer token required")) }
    }

    /// Replaces the static token, which never expires.
    pub(crate) fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// Replaces the client's secret.
    pub(crate) fn set_secret(&mut self, secret: &str) {
        secret.clone_into(&mut self.client.1);
    }

    /// Revokes all issued access tokens.
    pub(crate) fn revoke(&mut self) {
        self.given.clear();
    }

    /// Issues an access token.
    pub(crate) fn give(&mut self, request: &Request, life: u64) -> Reply {
        let refused = |status: u16, error: &str| {
            Reply::json(status, &json!({ "error": error, "error_description": "Invalid client credentials" }))
        };
        let form: HashMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        if request.method != "POST" || form.get("grant_type").is_none_or(|grant| grant != "client_credentials") {
            return refused(400, "unsupported_grant_type");
        }
        let basic = request.header("authorization").and_then(|header| header.strip_prefix("Basic "));
        let pair = basic.and_then(|pair| String::from_utf8(STANDARD.decode(pair).ok()?).ok());
        let decoded = |text: &str| {
            let whole = format!("x={text}");
            url::form_urlencoded::parse(whole.as_bytes())
                .next()
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let sent = pair.as_deref().and_then(|pair| pair.split_once(':')).map_or_else(
            || (field("client_id"), field("client_secret")),
            |(id, secret)| (decoded(id), decoded(secret)),
        );
        if sent != self.client {
            return refused(401, "invalid_client");
        }
        self.number += 1;
        let token = format!("access-token-{}", self.number);
        self.given.insert(token.clone(), Instant::now() + Duration::from_secs(life));
        let mut body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": life });
        if let Some(scope) = form.get("scope") {
            body["scope"] = json!(scope);
        }
        Reply::json(200, &body).with("cache-control", "no-store")
    }
}
