//! Authentication, and Confluence's answers to refused credentials.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::switches::Switches;
use crate::front::{Reply, Request};

/// Passwords by name, and names by personal access token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) passwords: BTreeMap<String, String>,
    pub(crate) tokens: BTreeMap<String, String>,
}

/// The caller that a request's credentials identify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A signed-in account.
    Known(String),
    /// The request has no credentials.
    Anonymous,
    /// The credentials are invalid.
    Refused,
    /// The credentials are not checked: a CAPTCHA is required.
    Captcha,
}

/// Checks the credentials of a request.
pub(crate) fn caller(request: &Request, credentials: &Credentials, switches: &Switches) -> Caller {
    let Some((kind, rest)) = request.header("authorization").and_then(|header| header.split_once(' ')) else {
        return Caller::Anonymous;
    };
    let name = if kind.eq_ignore_ascii_case("bearer") {
        credentials.tokens.get(rest).cloned()
    } else if switches.captcha {
        return Caller::Captcha;
    } else {
        let text = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let (name, password) = text.split_once(':').unwrap_or_default();
        let name = name.to_lowercase();
        credentials.passwords.get(&name).is_some_and(|right| right == password).then_some(name)
    };
    name.filter(|_| !switches.bad_credentials).map_or(Caller::Refused, Caller::Known)
}

/// Returns the answer to refused credentials: HTML, as a filter sends it before any resource is reached.
pub(crate) fn refusal(caller: &Caller, site: &str) -> Option<Reply> {
    let page = |status: u16, text: &str| {
        let mut reply = Reply::empty(status).with("content-type", "text/html;charset=UTF-8");
        reply.body = format!("<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>").into();
        reply
    };
    match caller {
        Caller::Known(_) | Caller::Anonymous => None,
        Caller::Refused => Some(page(401, "Unauthorized")),
        Caller::Captcha => Some(
            page(403, "Forbidden")
                .with("x-authentication-denied-reason", format!("CAPTCHA_CHALLENGE; login-url={site}/login.action")),
        ),
    }
}

/// Returns the header that reports the result of the sign-in, whatever the status.
pub(crate) fn reason(caller: &Caller) -> Option<&'static str> {
    match caller {
        Caller::Known(_) => Some("OK"),
        Caller::Anonymous => None,
        Caller::Refused => Some("AUTHENTICATED_FAILED"),
        Caller::Captcha => Some("AUTHENTICATION_DENIED"),
    }
}
