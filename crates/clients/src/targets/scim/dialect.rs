//! The REST dialect of SCIM servers.

use reqwest::StatusCode;

use super::wire::Refusal;
use crate::targets::{
    http::Answer,
    rest::{Dialect, Verdict, Words},
};

/// SCIM 2.0 (RFC 7644); the configured address is already its base.
pub(super) static SCIM: Dialect = Dialect {
    product: "the SCIM server",
    api: "",
    media: "application/scim+json",
    // Some servers label their answers with the plain JSON media type only.
    headers: &[("accept", "application/scim+json, application/json;q=0.9")],
    verdict,
    caller: |_| None,
    said,
    token: "the bearer token",
    grant: "grant it permission to read and write users and groups there",
    token_hint: "Check that it is complete, not expired, and valid for this address (its audience).",
    password_hint: "Check them; many SCIM servers accept only tokens.",
    captcha_hint: "",
    pace_hint: "",
};

fn verdict(answer: &Answer) -> Verdict {
    match answer.status {
        StatusCode::UNAUTHORIZED => Verdict::Refused,
        status if status.is_success() && !answer.is_html() => Verdict::Accepted,
        _ => Verdict::Unknown,
    }
}

/// Reads a refusal. It is the server's own if it has the schema of SCIM errors (RFC 7644, section 3.12).
fn said(answer: &Answer) -> Words {
    match Refusal::read(answer) {
        Some(refusal) => Words { messages: refusal.detail.into_iter().collect(), own: true, ..Words::default() },
        None => Words::default(),
    }
}
