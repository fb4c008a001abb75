//! Meaning of Crowd's refusals, and what messages advise.

use reqwest::StatusCode;

use super::{CrowdTarget, wire::Refusal};
use crate::{
    model::ErrorClass,
    targets::{
        TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, Dialect, Verdict, Words, atlassian, error, is_xsrf_refusal, not_done, unconfirmed, unsupported},
    },
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
    writable_hint: ", or make the directory writable",
    pace_hint: " or raise the limit in Crowd",
};

/// Returns Crowd's own refusal, if the answer contains one.
fn refusal(answer: &Answer) -> Option<Refusal> {
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

/// Whether Crowd itself reports that there is no such group.
pub(super) fn no_group(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && reason(answer) == "GROUP_NOT_FOUND"
}

/// Texts on the 403 pages of versions that give no reason; they show that the client address is refused.
const ADDRESS_WORDS: [&str; 3] = ["client with address", "remote address", "forbidden from making requests"];

/// Permission for a write that Crowd may refuse.
pub(super) struct Right<'a> {
    /// The permission that the write needs, as Crowd names it.
    pub name: &'static str,
    /// The directory that the write concerns, if Crowd reported it.
    pub directory: Option<&'a str>,
}

impl Right<'_> {
    /// Creates a permission for an unknown directory.
    pub(super) const fn of(name: &'static str) -> Self {
        Self { name, directory: None }
    }
}

impl CrowdTarget {
    /// Returns the error for a refused read.
    pub(super) fn refused_read(&self, ask: &Ask<'_>, answer: &Answer) -> TargetError {
        let (what, quoted) = (ask.what, self.rest.said(answer, ask.login).quoted());
        match (answer.status, reason(answer).as_str()) {
            (StatusCode::FORBIDDEN, reason) => self.forbidden(what, answer, reason, &quoted, &Right::of("Read")),
            (StatusCode::NOT_FOUND, "USER_NOT_FOUND" | "GROUP_NOT_FOUND" | "MEMBERSHIP_NOT_FOUND" | "") => {
                self.rest.unexpected(ask, answer)
            }
            // The application or the directory does not exist.
            (StatusCode::NOT_FOUND, _) => unconfirmed(format!(
                "{what}: Crowd answered 404{quoted}. That does not concern the user or group itself, so nothing is \
                 treated as deleted. Check the application and its directories in Crowd."
            )),
            _ => self.rest.unexpected(ask, answer),
        }
    }

    /// Returns the error for a refused write that the caller does not interpret itself.
    pub(super) fn refused_write(&self, ask: &Ask<'_>, answer: &Answer, right: &Right<'_>) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        let (what, quoted) = (ask.what, said.quoted());
        let code = answer.status.as_u16();
        if matches!(code, 400 | 403 | 405) && said.read_only() {
            return self.rest.read_only(what, right.directory, &said);
        }
        if matches!(code, 400 | 403) && said.licence_full() {
            return self.rest.no_seat(what, &said);
        }
        match (answer.status, reason(answer).as_str()) {
            (StatusCode::FORBIDDEN, reason) => self.forbidden(what, answer, reason, &quoted, right),
            (
                StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND,
                "USER_NOT_FOUND" | "GROUP_NOT_FOUND" | "MEMBERSHIP_NOT_FOUND",
            ) => error(TargetErrorKind::NotFound, format!("{what}: not found{quoted}.")),
            (StatusCode::BAD_REQUEST, "UNSUPPORTED_OPERATION" | "NESTED_GROUPS_NOT_SUPPORTED") => unsupported(format!(
                "{what}: unsupported by the directory{quoted}. Change it in the system that holds the directory's \
                 users."
            )),
            (StatusCode::BAD_REQUEST, "INVALID_MEMBERSHIP") => {
                unsupported(format!("{what}: Crowd rejects this membership{quoted}."))
            }
            _ => self.refused_read(ask, answer),
        }
    }

    /// Returns the error for a 403: the client address or a permission is refused. Some versions do not say which.
    fn forbidden(&self, what: &str, answer: &Answer, reason: &str, quoted: &str, right: &Right<'_>) -> TargetError {
        let name = &self.application;
        let address = format!("usersync's address is not among the allowed remote addresses of application {name}");
        let lists = format!(
            "Add it (Crowd: Applications > {name} > Remote addresses; Jira: User management > Jira user server > \
             {name})"
        );
        let place = right.directory.map_or_else(|| "its directory".to_owned(), |name| format!("directory {name}"));
        let lacks = format!("application {name} lacks the permission \"{}\" in {place}", right.name);
        let give =
            format!("Grant it (Crowd: Applications > {name} > Directories, and the directory's own permissions)");
        let own_words = reason == "APPLICATION_ACCESS_DENIED";
        let text = if own_words || ADDRESS_WORDS.iter().any(|words| answer.mentions(words)) {
            format!("{address}. {lists}")
        } else if matches!(reason, "APPLICATION_PERMISSION_DENIED" | "PERMISSION_DENIED") {
            format!("{lacks}. {give}")
        } else if is_xsrf_refusal(answer) {
            "a proxy removes the header X-Atlassian-Token. Configure it to forward the header".to_owned()
        } else {
            format!("either {address}, or {lacks}. {lists}. {give}")
        };
        not_done(
            ErrorClass::Forbidden,
            format!("{what}: Crowd answered 403{quoted}: {text}, then: usersync dead replay --all"),
        )
    }
}
