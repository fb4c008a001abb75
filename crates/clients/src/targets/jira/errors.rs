//! Jira's REST dialect, and what its refusals mean.

use jiff::Timestamp;

use super::{JiraTarget, wire::Refusal};
use crate::targets::{
    TargetError,
    http::Answer,
    rest::{Ask, Dialect, Words, atlassian},
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
    writable_hint: atlassian::WRITABLE_HINT,
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

impl JiraTarget {
    /// Classifies a refused write that has no specific meaning: a read-only directory, or a missing permission.
    pub(super) async fn refused_write(&self, ask: &Ask<'_>, answer: &Answer, deadline: Timestamp) -> TargetError {
        let administers = async {
            let rights = self.own_rights(Some(deadline)).await;
            rights.is_ok_and(|rights| rights.has("ADMINISTER") || rights.has("SYSTEM_ADMIN"))
        };
        atlassian::refused_write(&self.rest, ask, answer, administers).await
    }
}
