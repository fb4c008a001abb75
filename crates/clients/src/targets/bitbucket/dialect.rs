//! Bitbucket's REST dialect: headers, refusals and hints.

use super::wire::Refusal;
use crate::targets::{
    http::Answer,
    rest::{Dialect, Words, atlassian},
};

/// Bitbucket's REST interface, version 1.0.
pub(super) static BITBUCKET: Dialect = Dialect {
    product: "Bitbucket",
    api: "/rest/api/1.0",
    media: "application/json",
    headers: atlassian::HEADERS,
    verdict: atlassian::verdict,
    caller: atlassian::caller,
    said,
    token: "the access token",
    grant: "grant it the global permission ADMIN (SYS_ADMIN to change system administrators or their groups)",
    token_hint: "Check that the token's scope covers administration and that its client still exists.",
    password_hint: "Check them. If Basic authentication is disabled, add the user to its allow-list (allowed-users in \
                    /rest/basicauth/1.0/config).",
    captcha_hint: "",
    pace_hint: " or exempt the account in Bitbucket under Administration > Rate limiting",
};

/// Reads Bitbucket's refusals: a list of messages, each about one field or about none.
fn said(answer: &Answer) -> Words {
    let Ok(Refusal { errors: Some(errors) }) = serde_json::from_slice::<Refusal>(&answer.body) else {
        return Words::default();
    };
    let mut words = Words { own: true, ..Words::default() };
    for error in errors {
        let text = error.message.unwrap_or_default();
        match error.context {
            Some(field) => words.fields.push((field, text)),
            None => words.messages.push(text),
        }
    }
    words
}
