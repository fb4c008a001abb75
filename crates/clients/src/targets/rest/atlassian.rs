//! Shared behaviour of Atlassian products: the signed-in user of an answer, and the identity of the server.

use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use serde::Deserialize;

use super::{Ask, Rest, Verdict, is_xsrf_refusal, lenient, unsupported};
use crate::{
    model::ErrorClass,
    targets::{TargetError, http::Answer},
};

/// Header against the XSRF check; without it writes may be refused.
pub const HEADERS: &[(&str, &str)] = &[("x-atlassian-token", "no-check")];

/// Advice for refused tokens.
pub const TOKEN_HINT: &str =
    "Check that it is complete, not expired and not revoked (its user's profile > Personal access tokens).";

/// A way to make a user directory writable, in Jira and Confluence.
pub const WRITABLE_HINT: &str = ", or make the directory writable (User directories; External user management off)";

/// Reads the verdict from headers first, because refused credentials may be answered with 200 and an anonymous, empty
/// body.
pub fn verdict(answer: &Answer) -> Verdict {
    let denied = answer.header("x-authentication-denied-reason").is_some_and(|reason| reason.contains("CAPTCHA"));
    let seraph = answer.header("x-seraph-loginreason").unwrap_or_default();
    let reason = |wanted: &str| seraph.split(',').any(|reason| reason.trim() == wanted);
    // Denied: after too many failed sign-ins the server does not check the credentials.
    if denied || reason("AUTHENTICATION_DENIED") {
        return Verdict::Captcha;
    }
    if reason("AUTHENTICATED_FAILED") {
        return Verdict::Refused;
    }
    let user = answer.header("x-ausername");
    let known = user.is_some_and(|user| user != "anonymous") || reason("OK");
    if known {
        return Verdict::Accepted;
    }
    // An overloaded or starting server may answer before it checks the credentials.
    if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Verdict::Unknown;
    }
    if user.is_some() || answer.status == StatusCode::UNAUTHORIZED {
        return Verdict::Refused;
    }
    if answer.status.is_success() { Verdict::Accepted } else { Verdict::Unknown }
}

/// Returns the login that the server authenticated.
pub fn caller(answer: &Answer) -> Option<String> {
    let login = answer.header("x-ausername").filter(|login| *login != "anonymous")?;
    Some(percent_decode_str(login).decode_utf8_lossy().into_owned())
}

/// Classifies a refused write that has no specific meaning: a read-only directory, or a missing permission. A 403 means
/// either, in the account's language, so `administers` reads whether usersync is an administrator.
pub async fn refused_write(
    rest: &Rest,
    ask: &Ask<'_>,
    answer: &Answer,
    administers: impl Future<Output = bool> + Send,
) -> TargetError {
    let (what, product) = (ask.what, rest.dialect.product);
    let said = rest.said(answer, ask.login);
    if matches!(answer.status.as_u16(), 400 | 403 | 405) && said.read_only() {
        return rest.read_only(what, None, &said);
    }
    let plain = rest.unexpected(ask, answer);
    if answer.status != StatusCode::FORBIDDEN || is_xsrf_refusal(answer) || !administers.await {
        return plain;
    }
    unsupported(format!(
        "{what}: {product} answered 403{} although usersync is an administrator. Either its user directory is \
         read-only for {product}, or users are managed externally, or only a system administrator may do this.",
        said.quoted()
    ))
}

/// The public manifest of a server for application links.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The server's own id.
    pub id: String,
    /// The product, for example `jira`.
    pub type_id: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The base URL as configured on the server.
    #[serde(default, deserialize_with = "lenient::maybe")]
    pub url: Option<String>,
}

/// Reads the manifest for application links; `None` if the server refuses access. A temporary failure is an error,
/// because a changed id would be taken for another server.
pub async fn manifest(rest: &Rest) -> Result<Option<Manifest>, TargetError> {
    let ask = Ask::get("/manifest", "reading the server's id").below("/rest/applinks/1.0").anonymous();
    match rest.ask(&ask).await {
        Ok(answer) => {
            let reported =
                serde_json::from_slice::<serde_json::Value>(&answer.body).ok().filter(serde_json::Value::is_object);
            match reported {
                None => Ok(None),
                Some(reported) => match serde_json::from_value(reported) {
                    Ok(manifest) => Ok(Some(manifest)),
                    // The server normally returns its id. Identification by its address meanwhile would look like
                    // another server.
                    Err(_) if answer.status.is_success() => {
                        Err(super::unconfirmed("reading the server's id: the manifest for application links lacks it."))
                    }
                    Err(_) => Ok(None),
                },
            }
        }
        Err(error)
            if matches!(error.class(), ErrorClass::Transient | ErrorClass::Throttled | ErrorClass::Maintenance) =>
        {
            Err(error)
        }
        Err(_) => Ok(None),
    }
}
