//! Authentication, and Bitbucket's answers to refused credentials.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::errors::Refused;
use super::switches::Switches;
use crate::front::{Reply, Request};
use crate::identities::fold;

/// Passwords by folded name, and folded names by token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) passwords: BTreeMap<String, String>,
    /// HTTP access tokens. Their highest permissions are project permissions.
    pub(crate) tokens: BTreeMap<String, String>,
    /// OAuth 2.0 access tokens with the scope of system administration.
    pub(crate) access_tokens: BTreeMap<String, String>,
}

/// The caller that a request's credentials identify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A signed-in account.
    Known(String),
    /// An account that authenticated with an HTTP access token.
    ByToken(String),
    /// The request has no credentials.
    Anonymous,
    /// The credentials are invalid.
    Refused,
    /// The credentials are not checked: a CAPTCHA is required.
    Denied,
}

/// Checks the credentials of a request.
pub(crate) fn caller(request: &Request, credentials: &Credentials, switches: &Switches) -> Caller {
    let Some(header) = request.header("authorization") else {
        return Caller::Anonymous;
    };
    let (kind, rest) = header.split_once(' ').unwrap_or((header, ""));
    if kind.eq_ignore_ascii_case("bearer") {
        return match (credentials.tokens.get(rest), credentials.access_tokens.get(rest)) {
            (Some(name), _) if !switches.bad_credentials => Caller::ByToken(name.clone()),
            (_, Some(name)) if !switches.bad_credentials => Caller::Known(name.clone()),
            _ => Caller::Refused,
        };
    }
    if !kind.eq_ignore_ascii_case("basic") {
        return Caller::Anonymous;
    }
    if switches.captcha {
        return Caller::Denied;
    }
    let text = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (name, password) = text.split_once(':').unwrap_or_default();
    let right = credentials.passwords.get(&fold(name)).is_some_and(|right| right == password);
    if right && switches.basic_allowed && !switches.bad_credentials {
        Caller::Known(fold(name))
    } else {
        Caller::Refused
    }
}

/// Returns the answer to refused credentials, before any resource is reached.
pub(crate) fn refusal(caller: &Caller, site: &str) -> Option<Reply> {
    match caller {
        Caller::Known(_) | Caller::ByToken(_) | Caller::Anonymous => None,
        Caller::Refused => {
            let text = "Authentication failed. Please check your credentials and try again.";
            Some(Refused::message(401, text).into())
        }
        Caller::Denied => {
            let reply =
                Reply::from(Refused::message(403, "CAPTCHA required. Please log in through the web interface."));
            let reason = format!("CAPTCHA_CHALLENGE; login-url={site}/login");
            Some(reply.with("x-authentication-denied-reason", reason))
        }
    }
}
