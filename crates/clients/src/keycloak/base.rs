//! The addresses below Keycloak's base URL.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters to escape in a path segment: all except the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The base URL that answered, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base(pub(super) String);

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Base {
    /// Returns the URL of a realm's public page, which needs no token.
    pub fn realm(&self, realm: &str) -> String {
        format!("{self}/realms/{}", segment(realm))
    }

    /// Returns the URL of a realm's token endpoint.
    pub fn token_endpoint(&self, realm: &str) -> String {
        format!("{}/protocol/openid-connect/token", self.realm(realm))
    }

    /// Returns the URL of a realm's Admin REST API, or of a resource below it.
    pub fn admin(&self, realm: &str, below: &[&str]) -> String {
        let mut url = format!("{self}/admin/realms/{}", segment(realm));
        for part in below {
            url.push('/');
            url.push_str(&segment(part));
        }
        url
    }

    /// Returns the URL of the server's information.
    pub fn server_info(&self) -> String {
        format!("{self}/admin/serverinfo")
    }
}

/// Escapes one segment of a path. A segment of dots only would leave its folder, so each dot becomes `%00`.
fn segment(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|b| b == b'.') {
        return "%00".repeat(text.len());
    }
    utf8_percent_encode(text, SEGMENT).to_string()
}
