//! Manages the service account's token: fetched once for all callers, renewed before it expires. A refused secret is
//! not sent again until it changes, or until the engine probes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::{
    KeycloakSettings, SourceError,
    base::Base,
    fault::{self, Asked, Names},
    http::{Answer, Http},
};
use crate::model::ErrorClass;

/// Time before expiry at which a token is renewed. If a quarter of its lifetime is shorter, that counts instead.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// Assumed lifetime, in seconds, of a token whose answer does not contain it.
const DEFAULT_LIFETIME: u64 = 60;

/// Maximum trusted lifetime of a token, in seconds.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

type Digest = [u8; 32];

/// The claims of a token about its bearer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Claims {
    pub iss: Option<String>,
    pub sub: Option<String>,
    iat: Option<i64>,
    #[serde(default)]
    resource_access: BTreeMap<String, Roles>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
struct Roles {
    #[serde(default)]
    roles: BTreeSet<String>,
}

impl Claims {
    /// Parses a token's payload. The signature is not verified, as the token came from Keycloak itself.
    pub fn of(token: &str) -> Option<Self> {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&payload).ok()
    }

    /// Returns the bearer's roles of this client.
    pub fn rights(&self, rights_client: &str) -> Vec<String> {
        self.resource_access.get(rights_client).map(|roles| roles.roles.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether the bearer has rights on a realm, but none that shows its users and groups. Then listings are empty, and
    /// older Keycloaks also count 0. A token without any rights says nothing about this.
    pub fn is_blind(&self, rights_client: &str) -> bool {
        let shows = ["view-users", "manage-users"];
        self.resource_access.contains_key(rights_client) && !shows.iter().any(|role| self.has(rights_client, role))
    }

    /// Whether the bearer has this role of this client.
    pub fn has(&self, client: &str, role: &str) -> bool {
        self.resource_access.get(client).is_some_and(|access| access.roles.contains(role))
    }
}

/// A token and its metadata.
#[derive(Clone)]
pub(super) struct Token {
    pub text: SecretString,
    pub claims: Claims,
    pub life: Duration,
    /// Seconds by which Keycloak's clock was ahead of usersync's when the token was issued; `None`: unknown.
    pub clock_ahead: Option<i64>,
    /// When the token was requested.
    pub asked_at: Instant,
    /// Distinguishes a token from the next one.
    pub number: u64,
    renew_at: Instant,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The hash of the refused secret, and the refusal.
    refused: Option<(Digest, SourceError)>,
    number: u64,
}

/// The tokens of one client.
#[derive(Default)]
pub(super) struct Tokens(Mutex<State>);

impl Tokens {
    /// Returns the current token. If there is none, one is fetched, by one caller at a time. `stale` is the number of a
    /// token that was refused.
    pub async fn get(
        &self,
        http: &Http,
        settings: &KeycloakSettings,
        names: &Names,
        base: &Base,
        stale: Option<u64>,
    ) -> Result<Token, SourceError> {
        let mut state = self.0.lock().await;
        if let Some(token) = &state.token
            && Some(token.number) != stale
            && Instant::now() < token.renew_at
        {
            return Ok(token.clone());
        }
        let mut digest = None;
        let mut answer = None;
        // A second attempt only if the secret was rotated between reading it and sending it.
        for _ in 0..2 {
            let secret = read_secret(settings).await?;
            let present: Digest = Sha256::digest(secret.expose_secret()).into();
            if digest == Some(present) {
                break;
            }
            if let Some((refused, error)) = &state.refused
                && *refused == present
            {
                return Err(error.clone());
            }
            digest = Some(present);
            let asked_at = Instant::now();
            let given = ask(http, settings, names, base, &secret).await?;
            let unauthorized = given.status == StatusCode::UNAUTHORIZED;
            answer = Some((given, asked_at));
            if !unauthorized {
                break;
            }
        }
        let Some((answer, asked_at)) = answer else { return Err(fault::transient("no token was requested")) };
        match read(names, base, &answer) {
            Ok((text, life)) => {
                state.number += 1;
                state.refused = None;
                let margin = RENEW_BEFORE.min(life / 4);
                let claims = Claims::of(text.expose_secret()).unwrap_or_default();
                let clock_ahead = claims.iat.map(|at| at.saturating_sub(Timestamp::now().as_second()));
                let token = Token {
                    clock_ahead,
                    asked_at,
                    text,
                    claims,
                    life,
                    number: state.number,
                    renew_at: asked_at + life.saturating_sub(margin),
                };
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                state.token = None;
                if error.class == ErrorClass::Credentials {
                    http.refused_sign_in();
                    state.refused = digest.map(|digest| (digest, error.clone()));
                }
                Err(error)
            }
        }
    }
}

impl Tokens {
    /// Allows a refused secret to be sent again.
    pub async fn forget_refusal(&self) {
        self.0.lock().await.refused = None;
    }
}

/// Reads the secret on a blocking thread: the provider may read a file or run a command.
async fn read_secret(settings: &KeycloakSettings) -> Result<SecretString, SourceError> {
    let provider = settings.secret.clone();
    let read = tokio::task::spawn_blocking(move || provider()).await;
    let client = &settings.client_id;
    match read {
        Ok(Ok(secret)) if !secret.expose_secret().trim().is_empty() => Ok(secret),
        Ok(Ok(_)) => {
            Err(fault::error(ErrorClass::Credentials, format!("client {client}: its secret is empty. Set one")))
        }
        Ok(Err(why)) => {
            Err(fault::error(ErrorClass::Credentials, format!("client {client}: its secret cannot be read: {why}")))
        }
        Err(_) => Err(fault::transient(format!("client {client}: reading its secret was interrupted"))),
    }
}

async fn ask(
    http: &Http,
    settings: &KeycloakSettings,
    names: &Names,
    base: &Base,
    secret: &SecretString,
) -> Result<Answer, SourceError> {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", settings.client_id.as_str()),
        ("client_secret", secret.expose_secret().trim()),
    ];
    let request = http.client().post(base.token_endpoint(settings.token_realm())).form(&form);
    http.send(&names.at(base), request, settings.connection.time_outs.call).await
}

fn read(names: &Names, base: &Base, answer: &Answer) -> Result<(SecretString, Duration), SourceError> {
    #[derive(Deserialize)]
    struct Given {
        access_token: String,
        expires_in: Option<u64>,
    }
    if answer.status != StatusCode::OK {
        return Err(refusal(names, base, answer));
    }
    let given: Given = serde_json::from_slice(&answer.body)
        .map_err(|error| names.not_as_expected(Asked::Token, base, &answer.headers, &answer.body, &error))?;
    Ok((given.access_token.into(), Duration::from_secs(given.expires_in.unwrap_or(DEFAULT_LIFETIME).min(LONGEST_LIFE))))
}

fn refusal(names: &Names, base: &Base, answer: &Answer) -> SourceError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refused {
        error: String,
        error_description: String,
    }
    let Names { token_realm, client_id, .. } = names;
    let refused: Refused = serde_json::from_slice(&answer.body).unwrap_or_default();
    let refused_client = matches!(refused.error.as_str(), "invalid_client" | "unauthorized_client");
    if refused_client && refused.error_description.contains("service account") {
        return fault::error(
            ErrorClass::Forbidden,
            format!(
                "client {client_id} in realm {token_realm} at {base}: it has no service account. Turn on \"Client \
                 authentication\" and \"Service accounts roles\" of the client, or: usersync keycloak setup"
            ),
        );
    }
    if refused_client {
        return fault::error(
            ErrorClass::Credentials,
            format!(
                "client {client_id} in realm {token_realm} at {base}: id or secret was refused ({}). Set the secret \
                 shown under Clients, {client_id}, Credentials. usersync retries when it changes, or after 1, 5 and \
                 15 minutes and then every hour",
                refused.error
            ),
        );
    }
    if answer.status == StatusCode::NOT_FOUND && refused.error.starts_with("Realm ") {
        return fault::no_realm(token_realm, base);
    }
    names.status(Asked::Token, base, answer.status, &answer.headers, &answer.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_from_the_middle_of_a_token() {
        let payload = r#"{"iss":"https://sso/realms/acme","sub":"s1","resource_access":{"realm-management":{"roles":["view-users"]}}}"#;
        let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(payload));
        let claims = Claims::of(&token).unwrap();
        assert_eq!((claims.iss.as_deref(), claims.sub.as_deref()), (Some("https://sso/realms/acme"), Some("s1")));
        assert!(claims.has("realm-management", "view-users"));
        assert_eq!(claims.rights("realm-management"), ["view-users"]);
        assert!(claims.rights("acme-realm").is_empty());
        assert!(!claims.has("realm-management", "view-events") && !claims.has("acme-realm", "view-users"));
        assert!(!claims.is_blind("realm-management") && !claims.is_blind("acme-realm"));
        let blind = r#"{"resource_access":{"realm-management":{"roles":["query-users"]}}}"#;
        let blind = Claims::of(&format!("h.{}.s", URL_SAFE_NO_PAD.encode(blind))).unwrap();
        assert!(blind.is_blind("realm-management") && !blind.is_blind("acme-realm"));
        for bad in ["", "opaque", "a.b", "a.!.c"] {
            assert_eq!(Claims::of(bad), None);
        }
    }
}
