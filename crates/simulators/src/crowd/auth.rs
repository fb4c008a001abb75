//! Authentication of the application.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::front::{Reply, Request};

/// Returns whether a request has the application's name and password.
pub(crate) fn is_valid(request: &Request, (name, password): &(String, String)) -> bool {
    let sent = request.header("authorization").and_then(|header| header.strip_prefix("Basic "));
    let sent = sent.and_then(|text| STANDARD.decode(text).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    sent.is_some_and(|sent| sent == format!("{name}:{password}"))
}

/// Returns the answer to refused credentials.
pub(crate) fn refusal() -> Reply {
    let mut reply = Reply::empty(401)
        .with("content-type", "text/plain;charset=UTF-8")
        .with("www-authenticate", "Basic realm=\"Crowd REST Service\"");
    reply.body = "Application failed to authenticate".into();
    reply
}
