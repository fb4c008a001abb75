//! Authentication, and Jira's answers to refused credentials.

use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::switches::{RateLimit, Switches};
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
    Denied,
    /// Basic credentials, which are disabled.
    BasicOff,
}

/// Checks the credentials of a request.
pub(crate) fn caller(request: &Request, credentials: &Credentials, switches: &Switches) -> Caller {
    let Some(header) = request.header("authorization") else {
        return Caller::Anonymous;
    };
    let (kind, rest) = header.split_once(' ').unwrap_or((header, ""));
    if kind.eq_ignore_ascii_case("bearer") {
        let name = switches.tokens_allowed.then(|| credentials.tokens.get(rest)).flatten();
        return match name {
            Some(name) if !switches.bad_credentials => Caller::Known(name.clone()),
            _ => Caller::Refused,
        };
    }
    if !kind.eq_ignore_ascii_case("basic") {
        return Caller::Anonymous;
    }
    if !switches.basic_allowed {
        return Caller::BasicOff;
    }
    if switches.captcha {
        return Caller::Denied;
    }
    let text = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (name, password) = text.split_once(':').unwrap_or_default();
    let name = name.to_lowercase();
    if !switches.bad_credentials && credentials.passwords.get(&name).is_some_and(|right| right == password) {
        return Caller::Known(name);
    }
    Caller::Refused
}

/// Returns the answer to refused credentials: HTML, as Jira's filter sends it before any resource is reached.
pub(crate) fn refusal(caller: &Caller, site: &str) -> Option<Reply> {
    let page = |status: u16, text: &str| {
        let mut reply = Reply::empty(status).with("content-type", "text/html;charset=UTF-8");
        reply.body = format!(
            "<html><head><title>{text} ({status})</title></head><body><h1>{text} ({status})</h1></body></html>"
        )
        .into();
        reply
    };
    match caller {
        Caller::Known(_) | Caller::Anonymous => None,
        Caller::Refused => Some(page(401, "Unauthorized")),
        Caller::BasicOff => Some(page(401, "Basic Authentication has been disabled on this instance")),
        Caller::Denied => Some(
            page(403, "Forbidden")
                .with("x-authentication-denied-reason", format!("CAPTCHA_CHALLENGE; login-url={site}/login.jsp")),
        ),
    }
}

/// Returns the header that reports the result of the sign-in, whatever the status.
pub(crate) fn reason(caller: &Caller) -> Option<&'static str> {
    match caller {
        Caller::Known(_) => Some("OK"),
        Caller::Anonymous => None,
        Caller::Refused | Caller::BasicOff => Some("AUTHENTICATED_FAILED"),
        Caller::Denied => Some("AUTHENTICATION_DENIED"),
    }
}

/// Token bucket of the rate limit.
#[derive(Debug)]
pub(crate) struct Bucket {
    limit: RateLimit,
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { limit, left: f64::from(limit.limit), at: Instant::now() }
    }

    /// Takes one token; returns the headers, and false if none was left.
    pub(crate) fn take(&mut self) -> (bool, Vec<(String, String)>) {
        let per_second = f64::from(self.limit.fill_rate) / f64::from(self.limit.interval_seconds.max(1));
        let now = Instant::now();
        let filled = self.left + now.duration_since(self.at).as_secs_f64() * per_second;
        self.left = filled.min(f64::from(self.limit.limit));
        self.at = now;
        let granted = self.left >= 1.0;
        if granted {
            self.left -= 1.0;
        }
        let wait = if granted || per_second <= 0.0 { 0.0 } else { ((1.0 - self.left) / per_second).ceil() };
        let headers = [
            ("x-ratelimit-limit", self.limit.limit.to_string()),
            ("x-ratelimit-remaining", format!("{:.0}", self.left.floor())),
            ("x-ratelimit-interval-seconds", self.limit.interval_seconds.to_string()),
            ("x-ratelimit-fillrate", self.limit.fill_rate.to_string()),
            ("retry-after", format!("{wait:.0}")),
        ];
        (granted, headers.map(|(name, value)| (name.to_owned(), value)).to_vec())
    }
}
