//! What the error answers of SCIM servers mean, and their REST dialect.

use std::sync::atomic::Ordering;

use reqwest::{Method, StatusCode};

use super::{
    ScimTarget,
    wire::{Kind, Resource},
};
use crate::{
    model::ErrorClass,
    targets::{
        TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, Dialect, Verdict, Words, error, not_done},
    },
};

/// The schema of SCIM errors.
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

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
    writable_hint: "",
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

/// The body of a SCIM error.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The kind, for example `uniqueness`.
    pub scim_type: Option<String>,
    /// The human-readable message.
    pub detail: Option<String>,
}

impl Refusal {
    /// Reads an error; `None` if the body lacks the schema of SCIM errors.
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        let body: Resource = serde_json::from_slice(&answer.body).ok()?;
        let own = body.list_of_texts("schemas").iter().any(|schema| schema.eq_ignore_ascii_case(ERROR));
        own.then(|| Self { scim_type: body.text("scimType"), detail: body.text("detail") })
    }
}

impl ScimTarget {
    /// Whether a refusal means that PATCH is unsupported. In the server's own words it holds for all resources of the
    /// kind until the next first contact. Otherwise, for example from a proxy, it holds for this resource only.
    pub(super) fn takes_no_patch(&self, kind: Kind, answer: &Answer) -> bool {
        if no_patch(answer) && self.rest.said(answer, None).own {
            self.learned.no_patch[kind as usize].store(true, Ordering::Relaxed);
        }
        no_patch(answer)
    }

    /// Returns the error for a refusal without a meaning specific to the call.
    pub(super) fn refused(&self, what: &str, login: Option<&str>, answer: &Answer) -> TargetError {
        let said = self.rest.said(answer, login);
        let quoted = said.quoted();
        let kind = Refusal::read(answer).and_then(|refusal| refusal.scim_type).unwrap_or_default();
        let is = |one: &str| kind.eq_ignore_ascii_case(one);
        if answer.status != StatusCode::BAD_REQUEST && said.licence_full() {
            return self.rest.no_seat(what, &said);
        }
        if is("mutability") {
            let text = format!("{what}: the SCIM server does not allow this change{quoted}. Change it manually there.");
            return error(TargetErrorKind::Unsupported, text);
        }
        if answer.status == StatusCode::BAD_REQUEST {
            let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
            let text = format!(
                "{what}: the SCIM server rejects the value{kind}{quoted}. Correct it in Keycloak, or map it in the \
                 policy, then: usersync dead replay --all"
            );
            return not_done(ErrorClass::Permanent, text);
        }
        let ask = Ask::new(Method::PATCH, "", what);
        self.rest.unexpected(&ask, answer)
    }
}

/// Whether an answer says that PATCH is unsupported.
pub(super) fn no_patch(answer: &Answer) -> bool {
    matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}
