//! Error messages for refusals.

use reqwest::StatusCode;
use serde_json::Value;

use super::Dialect;
use crate::{
    http::PROXY_SIGN_IN,
    model::ErrorClass,
    targets::{
        Applied, TargetError, TargetErrorKind,
        http::{Answer, tidy},
    },
};

/// The message of an unsuccessful answer.
#[derive(Debug, Default)]
pub struct Said {
    /// The rejected fields, by their wire names, with messages.
    fields: Vec<(String, String)>,
    /// The messages; a plain-text body is one.
    messages: Vec<String>,
    /// Whether the body has the shape of the product's own refusals, so that it is not from a proxy.
    pub own: bool,
}

impl Said {
    /// Reads a body of any kind. `login` may stay in the text; other e-mail addresses are removed.
    pub fn new(dialect: &Dialect, answer: &Answer, login: Option<&str>) -> Self {
        let words = (dialect.said)(answer);
        let mut fields: Vec<_> = words.fields.into_iter().map(|(field, text)| (field, tidy(&text, login))).collect();
        fields.sort();
        let mut messages: Vec<_> = words.messages.iter().map(|text| tidy(text, login)).collect();
        messages.retain(|text| !text.is_empty());
        if messages.is_empty() && fields.is_empty() {
            match serde_json::from_slice::<Value>(&answer.body) {
                Ok(body) => messages = reasons(&body).iter().map(|text| tidy(text, login)).collect(),
                Err(_) if words.own || answer.is_html() => {}
                Err(_) => messages.push(tidy(&String::from_utf8_lossy(&answer.body), login)),
            }
            messages.retain(|text| !text.is_empty());
        }
        Self { fields, messages, own: words.own }
    }

    /// Returns the message about a field, if the field was rejected.
    pub fn about(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == field).map(|(_, text)| text.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.messages.is_empty()
    }

    /// Returns all messages as the second half of a sentence.
    pub fn quoted(&self) -> String {
        let fields = self.fields.iter().map(|(field, text)| format!("{field}: {text}"));
        let all: Vec<_> = self.messages.iter().cloned().chain(fields).collect();
        let all = all.join(" ");
        if all.is_empty() { String::new() } else { format!(", saying \"{}\"", all.trim_end_matches('.')) }
    }

    /// Whether any of these words appears, case-insensitively.
    pub fn mentions(&self, words: &[&str]) -> bool {
        let all = self.quoted().to_lowercase();
        words.iter().any(|word| all.contains(word))
    }

    /// Whether the messages say that the directory is read-only.
    pub fn read_only(&self) -> bool {
        self.mentions(&["read-only", "read only", "readonly", "external user management", "externally managed"])
    }

    /// Whether the messages say that the licence limit is reached.
    pub fn licence_full(&self) -> bool {
        self.mentions(&["licen", "seat", "user limit", "user tier"])
    }

    /// Whether the messages say that the user is locked out after too many sign-ins.
    pub fn locked_out(&self) -> bool {
        self.mentions(&["captcha", "account locked", "is locked", "locked out", "account_locked", "user_locked"])
    }

    /// Whether the messages say that the name is taken.
    pub fn taken(&self) -> bool {
        self.mentions(&["already exists", "is taken"])
    }
}

/// Fields in which servers put the reason of a refusal, in search order.
const REASONS: [&str; 9] =
    ["detail", "message", "error_description", "description", "errorMessage", "error", "errors", "title", "reason"];
/// Maximum number of reasons repeated in a message.
const MOST_REASONS: usize = 3;

/// Returns the reasons in a JSON body. They are in one of the usual fields, case-insensitively, or one level deeper, as
/// in `{"Errors": [{"description": "…"}]}`.
fn reasons(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find_reasons(body, 2, &mut found);
    found.truncate(MOST_REASONS);
    found
}

fn find_reasons(value: &Value, deeper: usize, found: &mut Vec<String>) {
    match value {
        Value::String(text) if !found.contains(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| find_reasons(item, deeper, found)),
        Value::Object(fields) if deeper > 0 => {
            for reason in REASONS {
                let named = fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(reason));
                named.for_each(|(_, value)| find_reasons(value, deeper - 1, found));
            }
        }
        _ => {}
    }
}

/// What usersync does after a temporary failure.
const RETRIES: &str = "usersync retries it.";

/// What usersync does after a write without a clear result.
const CHECKS: &str = "usersync checks whether it took effect.";

/// Creates an error without a retry delay.
pub fn error(kind: TargetErrorKind, text: impl Into<String>) -> TargetError {
    TargetError { kind, text: text.into(), retry_after: None }
}

/// Creates an error for a call that was answered and had no effect.
pub fn not_done(class: ErrorClass, text: impl Into<String>) -> TargetError {
    error(TargetErrorKind::NotDone(class), text)
}

/// Returns the result of a success: done for the documented status, otherwise to be verified by a read.
pub fn applied(answer: &Answer, documented: StatusCode) -> Applied {
    if answer.status == documented { Applied::Done } else { Applied::Undocumented }
}

/// Lists group names, or returns their number if there are more than three.
pub fn few(names: &[&str]) -> String {
    if names.len() > 3 { format!("{} groups", names.len()) } else { names.join(", ") }
}

/// Creates an error for an operation that this object does not support.
pub fn unsupported(text: impl Into<String>) -> TargetError {
    error(TargetErrorKind::Unsupported, text)
}

/// Creates the error for a product that does not support renaming groups.
pub fn no_group_rename(name: &str, product: &str) -> TargetError {
    unsupported(format!("renaming group {name}: unsupported by {product}. Create a new group and move its members."))
}

/// Creates the error for a write that may have taken effect; `why` is a sentence.
pub fn unanswered(what: &str, why: &str) -> TargetError {
    error(TargetErrorKind::Unanswered, format!("{what}: {why} {CHECKS}"))
}

/// Marks a failed step after the write of an operation, which may have taken effect: only a read shows it.
pub fn after_the_fact(what: &str) -> impl FnOnce(TargetError) -> TargetError {
    move |why| {
        if why.kind == TargetErrorKind::Unanswered {
            return why;
        }
        // The step is not repeated by itself.
        let step = why.text.trim_end_matches(RETRIES).trim_end();
        let text = if step.starts_with(what) { step.to_owned() } else { format!("{what}: {step}") };
        TargetError { kind: TargetErrorKind::Unanswered, text: format!("{text} {CHECKS}"), ..why }
    }
}

/// Marks a failed step of an operation, if an earlier step was `done`.
pub fn after_part(what: &str, done: bool, why: TargetError) -> TargetError {
    if done { after_the_fact(what)(why) } else { why }
}

/// Handles the read of one account in a listing; `None` if its answer is unreadable. Such an account is left out of the
/// listing. Its linked user is read alone and fails alone.
#[expect(clippy::option_option, reason = "not readable, not there, there")]
pub fn unless_unreadable<T>(read: Result<Option<T>, TargetError>) -> Result<Option<Option<T>>, TargetError> {
    match read {
        Err(error) if error.kind == TargetErrorKind::NotDone(ErrorClass::Unconfirmed) => {
            tracing::warn!("{error} It is left out of the listing.");
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Creates the error for an answer without a required field.
pub fn unconfirmed(text: impl Into<String>) -> TargetError {
    not_done(ErrorClass::Unconfirmed, text)
}

/// Returns the error for a status with the same meaning for every call: overload, server errors, redirects, HTML pages.
/// `None` for others.
pub(super) fn common(dialect: &Dialect, what: &str, writes: bool, answer: &Answer) -> Option<TargetError> {
    let (product, status) = (dialect.product, answer.status);
    let code = status.as_u16();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait = answer.retry_after();
        let asked = wait.map_or_else(String::new, |wait| format!(", asking to wait {} s", wait.as_secs_f64().ceil()));
        let text = format!(
            "{what}: rate limited (429) by {product}{asked}. usersync tries again. To avoid this, lower the rate \
             limit of this target{}.",
            dialect.pace_hint
        );
        let kind = TargetErrorKind::NotDone(ErrorClass::Throttled);
        return Some(TargetError { kind, text, retry_after: wait });
    }
    // A 501 in the product's own words means that nothing was done.
    if status.is_server_error() && !(status == StatusCode::NOT_IMPLEMENTED && (dialect.said)(answer).own) {
        let said = Said::new(dialect, answer, None).quoted();
        // A write may have taken effect if the server failed or the proxy lost the answer.
        let (kind, next) = if writes && !answer.is_untouched() {
            (TargetErrorKind::Unanswered, CHECKS)
        } else {
            (TargetErrorKind::NotDone(ErrorClass::Transient), RETRIES)
        };
        let text = format!("{what}: {product} answered {code}{said}. {next}");
        return Some(TargetError { kind, text, retry_after: answer.retry_after() });
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        let text = format!("{what}: the request did not arrive in time (408). usersync retries it.");
        return Some(not_done(ErrorClass::Transient, text));
    }
    if status.is_success() && answer.is_html() {
        let text = format!(
            "received an HTML page instead of JSON. Check the address of {product}, and that no sign-in page of a \
             proxy is in front of its REST API."
        );
        return Some(if writes { unanswered(what, &text) } else { unconfirmed(format!("{what}: {text}")) });
    }
    None
}

/// Returns the error for a status without a meaning specific to the call.
pub(super) fn unexpected(
    dialect: &Dialect,
    what: &str,
    who: &str,
    writes: bool,
    answer: &Answer,
    login: Option<&str>,
) -> TargetError {
    let product = dialect.product;
    let said = Said::new(dialect, answer, login);
    let quoted = said.quoted();
    let code = answer.status.as_u16();
    match answer.status {
        StatusCode::FORBIDDEN if is_xsrf_refusal(answer) => not_done(
            ErrorClass::Forbidden,
            format!(
                "{what}: {product} answered 403, XSRF check failed. A proxy removes the header X-Atlassian-Token or \
                 sets Origin, Referer or User-Agent. Configure it to forward them unchanged."
            ),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => not_done(
            ErrorClass::Forbidden,
            format!(
                "{what}: {product} answered {code}{quoted}. {who} lacks the permission; {}, then: usersync dead \
                 replay --all",
                dialect.grant
            ),
        ),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => not_done(
            ErrorClass::Credentials,
            format!("{what}: the proxy in front of {product} requires proxy authentication (407). {PROXY_SIGN_IN}"),
        ),
        // nginx requests the certificate but completes the handshake; the refusal is in its page.
        StatusCode::BAD_REQUEST if answer.mentions("ssl certificate") => not_done(
            ErrorClass::Permanent,
            format!(
                "{what}: the proxy in front of {product} requires a trusted client certificate (400). Check \
                 client_cert_file and client_key_file."
            ),
        ),
        StatusCode::NOT_FOUND if said.own => error(TargetErrorKind::NotFound, format!("{what}: not found{quoted}.")),
        StatusCode::NOT_FOUND => unconfirmed(format!(
            "{what}: the answer 404 does not come from {product}, so nothing is treated as deleted. Check the \
             address, its path prefix and the proxy."
        )),
        StatusCode::METHOD_NOT_ALLOWED => unsupported(format!(
            "{what}: {product} answered 405{quoted}. The directory is read-only for {product}. Change it in the \
             system that holds the directory's users."
        )),
        StatusCode::CONFLICT => not_done(
            ErrorClass::Transient,
            format!("{what}: {product} answered 409{quoted}: another operation is in progress. usersync retries it."),
        ),
        _ if answer.status.is_success() && writes => {
            unanswered(what, &format!("unexpected answer {code} from {product}."))
        }
        _ => not_done(ErrorClass::Permanent, format!("{what}: {product} answered {code}{quoted}.")),
    }
}

/// Whether a refusal reports a failed XSRF check. Behind it is a proxy, not a permission or a directory.
pub fn is_xsrf_refusal(answer: &Answer) -> bool {
    answer.mentions("xsrf")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reason_is_found_wherever_it_stands() {
        for (body, expected) in [
            (json!({"detail": "no seat"}), vec!["no seat"]),
            (json!({"message": "no seat", "code": 7}), vec!["no seat"]),
            (json!({"Errors": {"description": "no seat", "code": 400}}), vec!["no seat"]),
            (json!({"errors": [{"message": "one"}, {"message": "two"}]}), vec!["one", "two"]),
            (json!({"error": {"message": "no seat", "type": "x"}}), vec!["no seat"]),
            (json!({"error": "invalid", "error_description": "no seat"}), vec!["no seat", "invalid"]),
            (json!(["no seat"]), vec!["no seat"]),
            (json!({"error": {"error": {"error": "too deep"}}}), vec![]),
            (json!({"status": "400"}), vec![]),
        ] {
            assert_eq!(reasons(&body), expected, "{body}");
        }
    }
}
