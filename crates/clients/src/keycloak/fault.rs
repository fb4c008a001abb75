//! Error messages for operators, and the meaning of Keycloak's answers.

use std::fmt;

use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER},
};
use serde::Deserialize;

use super::{SourceError, base::Base};
use crate::{
    http::{PROXY_SIGN_IN, retry_after},
    model::ErrorClass,
};

/// Start of Keycloak's answer to all requests about organizations in a realm that has turned them off.
const ORGANIZATIONS_OFF: &str = "Organizations not enabled";

pub(super) fn error(class: ErrorClass, text: impl Into<String>) -> SourceError {
    SourceError { class, text: text.into(), retry_after: None }
}

pub(super) fn transient(text: impl Into<String>) -> SourceError {
    error(ErrorClass::Transient, text)
}

/// The kind of resource that is read, with the role that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Users,
    Groups,
    Roles,
    Clients,
    Organizations,
    Events,
    Realm,
    Server,
    Token,
}

impl Asked {
    /// Returns the role that is missing if Keycloak answers 403.
    pub fn role(self) -> Option<&'static str> {
        match self {
            Self::Users | Self::Groups => Some("view-users"),
            Self::Events => Some("view-events"),
            Self::Realm | Self::Roles => Some("view-realm"),
            Self::Clients => Some("view-clients"),
            Self::Organizations => Some("view-organizations"),
            Self::Server | Self::Token => None,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Users => "users",
            Self::Groups => "groups",
            Self::Roles => "roles",
            Self::Clients => "clients and their roles",
            Self::Organizations => "organizations",
            Self::Events => "events",
            Self::Realm => "the realm",
            Self::Server => "the server's information",
            Self::Token => "a token",
        })
    }
}

/// The names of realm and client that every error message needs.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub realm: String,
    pub token_realm: String,
    pub client_id: String,
    pub rights_client: String,
}

impl Names {
    /// Returns the beginning of messages about the realm.
    pub fn at(&self, base: &Base) -> String {
        format!("realm {} at {base}", self.realm)
    }

    /// Converts an unexpected status into an error.
    pub fn status(
        &self,
        asked: Asked,
        base: &Base,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> SourceError {
        let realm = &self.realm;
        let reported = reported(body);
        let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| retry_after(value, Timestamp::now()));
        let mut error = match status {
            StatusCode::TOO_MANY_REQUESTS => error(
                ErrorClass::Throttled,
                format!(
                    "realm {realm} at {base}: rate limited (429) when reading {asked}. Lower the connector's \
                     per_second if this persists"
                ),
            ),
            StatusCode::FORBIDDEN => error(ErrorClass::Forbidden, self.forbidden(asked, base)),
            StatusCode::UNAUTHORIZED => transient(format!(
                "realm {realm} at {base}: 401 when reading {asked}, although the token is fresh. The realm's tokens \
                 were revoked, or Keycloak's own address (hostname) differs from this one"
            )),
            StatusCode::NOT_FOUND if reported.as_deref().is_some_and(|text| text.starts_with("Realm ")) => {
                no_realm(realm, base)
            }
            StatusCode::NOT_FOUND if reported.as_deref().is_some_and(|text| text.starts_with(ORGANIZATIONS_OFF)) => {
                error(
                    ErrorClass::Permanent,
                    format!(
                        "realm {realm} at {base}: organizations are turned off in this realm. Turn them on (Realm \
                         settings, General, Organizations), or remove required_organizations from the policy's scope"
                    ),
                )
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => transient(format!(
                "realm {realm} at {base}: the proxy requires authentication (407). {}",
                PROXY_SIGN_IN.trim_end_matches('.')
            )),
            StatusCode::INTERNAL_SERVER_ERROR if asked == Asked::Events => transient(format!(
                "realm {realm} at {base}: 500 when reading events. If its log says \"no event store provider \
                 configured\", a listener installed its own event store: start Keycloak with \
                 --spi-events-store--provider=jpa"
            )),
            status if status.is_redirection() => error(
                ErrorClass::Permanent,
                format!(
                    "realm {realm} at {base}: redirected to {}. Set url to the address at which Keycloak itself \
                     answers",
                    location(headers)
                ),
            ),
            status if status.is_server_error() => transient(format!(
                "realm {realm} at {base}: {} when reading {asked}{}. Check Keycloak, or the proxy in front of it",
                status.as_u16(),
                received(headers, body)
            )),
            StatusCode::NOT_FOUND => transient(format!(
                "realm {realm} at {base}: 404 when reading {asked}{}. This is not Keycloak's own answer for a deleted \
                 object, so it confirms no deletion",
                received(headers, body)
            )),
            status => error(
                ErrorClass::Permanent,
                format!("realm {realm} at {base}: {} when reading {asked}{}", status.as_u16(), received(headers, body)),
            ),
        };
        error.retry_after = wait;
        error
    }

    /// Returns the error for a listing that is empty only because a role is missing.
    pub fn lacks(&self, asked: Asked, base: &Base) -> SourceError {
        error(ErrorClass::Forbidden, self.forbidden(asked, base))
    }

    /// Returns which role is missing, and how to grant it.
    pub fn grant(&self, asked: Asked, role: &str) -> String {
        let Self { token_realm, client_id, rights_client, .. } = self;
        let (older, option) = match asked {
            Asked::Organizations => (" (before Keycloak 26.7: manage-realm)", " --view-organizations"),
            _ => ("", ""),
        };
        format!(
            "Client {client_id} lacks the role {role}{older}. Grant it: realm {token_realm}, Clients, {client_id}, \
             Service account roles, {rights_client} > {role}; or usersync keycloak setup{option}"
        )
    }

    fn forbidden(&self, asked: Asked, base: &Base) -> String {
        let realm = &self.realm;
        match asked.role() {
            Some(role) => {
                format!("realm {realm} at {base}: 403 when reading {asked}. {}", self.grant(asked, role))
            }
            None => {
                format!(
                    "realm {realm} at {base}: 403 when reading {asked}. A proxy in front of Keycloak may have \
                         refused it"
                )
            }
        }
    }

    /// Creates the error for an answer that is not the expected JSON.
    pub fn not_as_expected(
        &self,
        asked: Asked,
        base: &Base,
        headers: &HeaderMap,
        body: &[u8],
        error: &serde_json::Error,
    ) -> SourceError {
        let realm = &self.realm;
        let at = format!("at line {}, column {}", error.line(), error.column());
        let text = if !looks_like_json(body) {
            format!(
                "realm {realm} at {base}: no JSON when reading {asked}{}. A server other than Keycloak answered",
                received(headers, body)
            )
        } else if error.is_eof() {
            format!(
                "realm {realm} at {base}: the answer when reading {asked} ends too early, {at} ({} bytes). It was \
                 truncated in transit",
                body.len()
            )
        } else if error.is_data() {
            format!(
                "realm {realm} at {base}: the answer when reading {asked} has an unexpected format {at}. Is this \
                 Keycloak 26 or newer?"
            )
        } else {
            format!("realm {realm} at {base}: the answer when reading {asked} is invalid JSON {at}")
        };
        transient(text)
    }
}

/// Creates the error for a realm that does not exist.
pub(super) fn no_realm(realm: &str, base: &Base) -> SourceError {
    error(
        ErrorClass::Unconfirmed,
        format!(
            "realm {realm}: Keycloak at {base} has no such realm. Check its name, including upper and lower case, and \
             that it was not removed"
        ),
    )
}

/// Returns Keycloak's own error text, `{"error": …}` or `{"errorMessage": …}`, if the body has that form.
pub(super) fn reported(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        #[serde(alias = "errorMessage")]
        error: String,
    }
    serde_json::from_slice::<ErrorBody>(body).ok().map(|reported| reported.error)
}

fn looks_like_json(body: &[u8]) -> bool {
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    first.is_some_and(|b| b"{[\"0123456789-tfn".contains(b)) && !body.is_empty()
}

/// Describes what was received instead: Keycloak's own error text, or the content type and the first words. Content of
/// JSON is never included, as it may be personal data.
fn received(headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(text) = reported(body) {
        return format!(", \"{}\"", first_words(&text));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
    if body.is_empty() {
        return " without content".to_owned();
    }
    if looks_like_json(body) {
        return format!(" ({kind}, {} bytes)", body.len());
    }
    format!(" (received {}: \"{}\")", first_words(kind), first_words(&without_tags(body)))
}

fn without_tags(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(2000)]);
    let mut inside = false;
    let words: String = text
        .chars()
        .filter_map(|c| match c {
            '<' => {
                inside = true;
                Some(' ')
            }
            '>' => {
                inside = false;
                None
            }
            c => (!inside).then_some(c),
        })
        .collect();
    if words.trim().is_empty() { text.into_owned() } else { words }
}

fn first_words(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().filter(|c| !c.is_control()).take(60).collect();
    if short.len() < words.len() { format!("{short}…") } else { short }
}

/// Returns the target of a redirect, without its query, which may contain secrets.
fn location(headers: &HeaderMap) -> String {
    let Some(to) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else { return "nowhere".to_owned() };
    match url::Url::parse(to) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => to.split('?').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn what_was_received_is_described_in_a_few_words() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let page = b"<html><head><title>502 Bad\n Gateway</title></head><body>nginx</body></html>";
        assert_eq!(received(&headers, page), " (received text/html: \"502 Bad Gateway nginx\")");
        assert_eq!(received(&headers, b""), " without content");
        assert_eq!(received(&headers, br#"{"error":"unknown_error"}"#), ", \"unknown_error\"");
        assert_eq!(received(&headers, br#"[{"email":"anna@example.org"}]"#), " (text/html, 30 bytes)");
    }

    #[test]
    fn a_redirect_is_told_without_its_query() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("https://u:p@sso.example.org/login?state=secret#x"));
        assert_eq!(location(&headers), "https://sso.example.org/login");
        headers.insert(LOCATION, HeaderValue::from_static("/login?state=secret"));
        assert_eq!(location(&headers), "/login");
    }
}
