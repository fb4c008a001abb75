//! Confluence's REST dialect, and what its refusals mean.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{
    ConfluenceTarget,
    probe::Rights,
    wire::{Refusal, User},
};
use crate::targets::{
    TargetError,
    http::Answer,
    rest::{Ask, Dialect, Said, Verdict, Words, atlassian},
};

/// Confluence's REST interface.
pub(super) static CONFLUENCE: Dialect = Dialect {
    product: "Confluence",
    api: "/rest/api",
    media: "application/json",
    headers: atlassian::HEADERS,
    verdict,
    caller: atlassian::caller,
    said,
    token: "the personal access token",
    grant: "make it a Confluence Administrator (group confluence-administrators)",
    token_hint: atlassian::TOKEN_HINT,
    password_hint: "Check them. If an administrator disabled Basic authentication, Confluence accepts only personal \
                    access tokens.",
    captcha_hint: ", or use a personal access token",
    writable_hint: atlassian::WRITABLE_HINT,
    pace_hint: " or raise the account's limit in Confluence under General configuration > Rate limiting",
};

/// Maximum size in bytes of an answer about the anonymous user, which has no more than a picture.
const ANONYMOUS_MAX: usize = 4096;

/// Returns the verdict on the credentials, as for the other Atlassian products. But Confluence answers "who am I" to
/// anyone with 200, and names the anonymous user in the body only.
fn verdict(answer: &Answer) -> Verdict {
    match atlassian::verdict(answer) {
        Verdict::Accepted if is_anonymous(answer) => Verdict::Refused,
        verdict => verdict,
    }
}

fn is_anonymous(answer: &Answer) -> bool {
    answer.body.len() <= ANONYMOUS_MAX
        && serde_json::from_slice::<User>(&answer.body)
            .is_ok_and(|user| user.kind.as_deref() == Some("anonymous") && user.key.is_none())
}

/// Reads Confluence's refusals: a message, and validation errors.
fn said(answer: &Answer) -> Words {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer.body) else { return Words::default() };
    let own = refusal.status_code.is_some();
    let mut messages: Vec<String> = refusal.message.into_iter().collect();
    let found = refusal.data.and_then(|data| data.errors).unwrap_or_default();
    messages.extend(found.as_array().into_iter().flatten().filter_map(text_of));
    messages.dedup();
    Words { fields: Vec::new(), messages, own }
}

/// Returns an error's text: plain, as `{"message": {"translation": "…"}}`, or only the message's key.
fn text_of(error: &serde_json::Value) -> Option<String> {
    let message = if error["message"].is_null() { error } else { &error["message"] };
    let text = [message, &message["translation"], &message["key"]].into_iter().find_map(|text| text.as_str());
    text.map(str::to_owned)
}

/// Whether a resource does not exist: 405, or a 404 that is neither Confluence's own about a user or group nor an HTML
/// page of a proxy.
pub(super) fn is_absent(answer: &Answer, said: &Said) -> bool {
    answer.status == StatusCode::METHOD_NOT_ALLOWED
        || (answer.status == StatusCode::NOT_FOUND && !said.own && !answer.is_html())
}

impl ConfluenceTarget {
    /// Classifies a refused write that has no specific meaning: no free seat, a read-only directory, or a missing
    /// permission.
    pub(super) async fn refused_write(&self, ask: &Ask<'_>, answer: &Answer, deadline: Timestamp) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        let refused = matches!(answer.status.as_u16(), 400 | 403 | 405);
        if answer.status == StatusCode::PAYMENT_REQUIRED || (refused && said.licence_full()) {
            return self.rest.no_seat(ask.what, &said);
        }
        let administers = async { matches!(self.rights(Some(deadline)).await, Ok(Rights::Administrator)) };
        atlassian::refused_write(&self.rest, ask, answer, administers).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_have_texts_in_several_shapes() {
        assert_eq!(text_of(&json!("no")).as_deref(), Some("no"));
        assert_eq!(text_of(&json!({ "message": { "translation": "no", "key": "k" } })).as_deref(), Some("no"));
        assert_eq!(text_of(&json!({ "message": { "key": "k", "args": [] } })).as_deref(), Some("k"));
        assert_eq!(text_of(&json!({ "message": "no" })).as_deref(), Some("no"));
        assert_eq!(text_of(&json!(7)), None);
    }
}
