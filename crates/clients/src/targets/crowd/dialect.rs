//! Crowd's REST dialect.

use reqwest::StatusCode;

use super::wire::Refusal;
use crate::targets::{
    http::Answer,
    rest::{Dialect, Verdict, Words, atlassian},
};

/// Header of every Crowd answer, with a value such as `Crowd/5.2.3`. An answer without it is not from Crowd.
pub(super) const VERSION: &str = "x-embedded-crowd-version";

/// Crowd's REST interface for users and groups.
pub(super) static CROWD: Dialect = Dialect {
    product: "Crowd",
    api: "/rest/usermanagement/1",
    media: "application/json",
    headers: atlassian::HEADERS,
    verdict,
    caller: |_| None,
    said,
    token: "the token",
    grant: "grant it the permission in Crowd (Applications > its name > Directories)",
    token_hint: "",
    password_hint: "Use the name and password of an application (Crowd: Applications; Jira: User management > Jira \
                    user server), not of a user.",
    captcha_hint: "",
    pace_hint: " or raise the limit in Crowd",
};

/// Returns Crowd's own refusal, if the answer contains one.
pub(super) fn refusal(answer: &Answer) -> Option<Refusal> {
    if answer.status.is_success() { None } else { serde_json::from_slice(&answer.body).ok() }
}

/// Returns the reason of Crowd's own refusal; empty if there is none.
pub(super) fn reason(answer: &Answer) -> String {
    refusal(answer).map(|refusal| refusal.reason).unwrap_or_default()
}

/// Returns what an answer says about the credentials. Crowd refuses a client address that is not allowed before it
/// checks the password.
fn verdict(answer: &Answer) -> Verdict {
    if answer.status == StatusCode::UNAUTHORIZED {
        return Verdict::Refused;
    }
    let own = answer.status.is_success() || matches!(answer.status.as_u16(), 400 | 404 | 409);
    if own && answer.header(VERSION).is_some() { Verdict::Accepted } else { Verdict::Unknown }
}

fn said(answer: &Answer) -> Words {
    let Some(refusal) = refusal(answer) else { return Words::default() };
    let message = refusal.message.unwrap_or_default();
    Words { fields: Vec::new(), messages: vec![format!("{}: {message}", refusal.reason)], own: true }
}
