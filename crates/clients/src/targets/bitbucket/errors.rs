//! Meaning of Bitbucket's refusals, and what messages advise.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{
    BitbucketTarget,
    wire::{CompleteUser, Refusal},
};
use crate::targets::{
    TargetError,
    http::Answer,
    rest::{Ask, Dialect, Words, atlassian, is_xsrf_refusal, unsupported},
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
    writable_hint: "",
    pace_hint: " or exempt the account in Bitbucket under Administration > Rate limiting",
};

/// Advice for a refusal without a known reason.
pub(super) const CHECK: &str = "Check it in Bitbucket.";

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

impl BitbucketTarget {
    /// Classifies a refusal to grant access: a full licence, or a permission that usersync lacks. Bitbucket answers
    /// both with 403; the free seats decide.
    pub(super) async fn refused_access(
        &self,
        ask: &Ask<'_>,
        answer: &Answer,
        deadline: Option<Timestamp>,
    ) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        if answer.status == StatusCode::FORBIDDEN && said.own {
            let full = said.licence_full() || matches!(self.seats_left(deadline).await, Ok(Some(0)));
            if full {
                return self.rest.no_seat(ask.what, &said);
            }
        }
        self.refused_write(ask, answer, CHECK)
    }

    /// Classifies a refusal that has no specific meaning; `hint` is a sentence. A 409 from Bitbucket itself protects
    /// permissions, usersync's own among them. So does a 403 where something is removed.
    pub(super) fn refused_write(&self, ask: &Ask<'_>, answer: &Answer, hint: &str) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        if !said.own || is_xsrf_refusal(answer) {
            return self.rest.unexpected(ask, answer);
        }
        match answer.status.as_u16() {
            400 | 403 | 409 if said.read_only() => self.rest.read_only(ask.what, None, &said),
            403 | 409 => self.rest.refuses(ask.what, &said, hint),
            _ => self.rest.unexpected(ask, answer),
        }
    }
}

/// Creates the error for data that Bitbucket only reads from a user's directory: `its groups` or the like; `advice`
/// says what to do there.
pub(super) fn stored_elsewhere(what: &str, data: &str, user: &CompleteUser, advice: &str) -> TargetError {
    let home = user.home();
    unsupported(format!("{what}: {data} are stored in {home}, which is read-only for Bitbucket. {advice} there."))
}
