//! Meaning of Bitbucket's refusals, and what messages advise.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{BitbucketTarget, wire::Refusal};
use crate::{
    model::ErrorClass,
    targets::{
        TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, Dialect, Words, atlassian, not_done, unsupported},
    },
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
                return not_done(
                    ErrorClass::Permanent,
                    format!(
                        "{}: Bitbucket's licence has no seat left{}. Free seats or enlarge the licence, then: usersync \
                         dead replay --all",
                        ask.what,
                        said.quoted()
                    ),
                );
            }
        }
        self.refused_write(ask, answer, "Check it in Bitbucket")
    }

    /// Classifies a refusal that has no specific meaning. A 409 from Bitbucket itself protects permissions, usersync's
    /// own among them. So does a 403 where something is removed.
    pub(super) fn refused_write(&self, ask: &Ask<'_>, answer: &Answer, hint: &str) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        let (what, quoted) = (ask.what, said.quoted());
        let plain = self.rest.unexpected(ask, answer);
        if !said.own || plain.text.contains("XSRF") {
            return plain;
        }
        let refused = matches!(answer.status.as_u16(), 400 | 403 | 409);
        if refused && said.read_only() {
            return unsupported(format!(
                "{what}: its user directory is read-only for Bitbucket{quoted}. Change it in the system that holds \
                 the directory's users."
            ));
        }
        match answer.status {
            StatusCode::FORBIDDEN | StatusCode::CONFLICT => {
                unsupported(format!("{what}: Bitbucket refuses{quoted}. {hint}."))
            }
            _ => plain,
        }
    }
}

/// Marks an error as unanswered if a part of the operation was already done.
pub(super) fn partly(done: bool, mut error: TargetError) -> TargetError {
    if done && error.kind != TargetErrorKind::Unanswered {
        error.kind = TargetErrorKind::Unanswered;
        error.text.push_str(" Part of the change took effect; usersync checks what is left.");
    }
    error
}
