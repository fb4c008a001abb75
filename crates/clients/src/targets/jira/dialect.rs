//! Jira's REST dialect: headers, refusals and hints.

use super::wire::Refusal;
use crate::targets::{
    http::Answer,
    rest::{Dialect, Words, atlassian},
};

/// Jira's REST interface, version 2.
pub(super) static JIRA: Dialect = Dialect {
    product: "Jira",
    api: "/rest/api/2",
    media: "application/json",
    headers: atlassian::HEADERS,
    verdict: atlassian::verdict,
    caller: atlassian::caller,
    said,
    token: "the personal access token",
    grant: "make it a Jira administrator (group jira-administrators)",
    token_hint: atlassian::TOKEN_HINT,
    password_hint: "Check them. Jira 11, and earlier versions where an administrator chose so, accept only personal \
                    access tokens.",
    captcha_hint: ", or use a personal access token",
    pace_hint: " or raise the account's limit in Jira under System > Rate limiting",
};

/// Reads Jira's refusals: messages, and errors about fields.
fn said(answer: &Answer) -> Words {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer.body) else { return Words::default() };
    let own = refusal.error_messages.is_some() || refusal.errors.is_some();
    let fields = refusal.errors.unwrap_or_default().into_iter();
    Words {
        fields: fields.map(|(field, text)| (field, text.as_str().unwrap_or_default().to_owned())).collect(),
        messages: refusal.error_messages.unwrap_or_default(),
        own,
    }
}
