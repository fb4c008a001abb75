//! What refusals mean, in words for people.

use reqwest::StatusCode;
use serde_json::Value;

use super::Dialect;
use crate::{
    http::PROXY_SIGN_IN,
    model::ErrorClass,
    target::{
        Applied, TargetError, TargetErrorKind,
        http::{Answer, tidy},
    },
};

/// What a server said in an answer that is not a success.
#[derive(Debug, Default)]
pub struct Said {
    /// The fields that it complains about, by their wire names.
    fields: Vec<(String, String)>,
    /// Its messages; a plain-text body is one.
    messages: Vec<String>,
    /// Whether the body has the shape of the product's own refusals, so that it was not a proxy that spoke.
    pub own: bool,
}

impl Said {
    /// Reads a body of any kind; `login` may stay in the text, other addresses may not.
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

    /// What was said about a field, if it was complained about.
    pub fn about(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == field).map(|(_, text)| text.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.messages.is_empty()
    }

    /// All that was said, as the second half of a sentence.
    pub fn quoted(&self) -> String {
        let fields = self.fields.iter().map(|(field, text)| format!("{field}: {text}"));
        let all: Vec<_> = self.messages.iter().cloned().chain(fields).collect();
        let all = all.join(" ");
        if all.is_empty() { String::new() } else { format!(", saying \"{}\"", all.trim_end_matches('.')) }
    }

    /// Whether any of these words was said, in whatever case.
    pub fn mentions(&self, words: &[&str]) -> bool {
        let all = self.quoted().to_lowercase();
        words.iter().any(|word| all.contains(word))
    }

    /// The directory cannot be written, as far as the words tell.
    pub fn read_only(&self) -> bool {
        self.mentions(&["read-only", "read only", "readonly", "external user management", "externally managed"])
    }

    /// The licence has no seat left, as far as the words tell.
    pub fn licence_full(&self) -> bool {
        self.mentions(&["licen", "seat", "user limit", "user tier"])
    }

    /// The user is locked out after too many sign-ins, as far as the words tell.
    pub fn locked_out(&self) -> bool {
        self.mentions(&["captcha", "account locked", "is locked", "locked out", "account_locked", "user_locked"])
    }

    /// The name is taken, as far as the words tell.
    pub fn taken(&self) -> bool {
        self.mentions(&["already exists", "is taken"])
    }
}

/// Where servers put the reason of a refusal, in the order in which it is looked for.
const REASONS: [&str; 9] =
    ["detail", "message", "error_description", "description", "errorMessage", "error", "errors", "title", "reason"];
/// Reasons that are repeated at most.
const MOST_REASONS: usize = 3;

/// The reasons that a JSON body gives, wherever they stand: in one of the usual fields, in whatever case, or one level
/// deeper, as in `{"Errors": [{"description": "…"}]}`.
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

/// An error without a wait.
pub fn error(kind: TargetErrorKind, text: impl Into<String>) -> TargetError {
    TargetError { kind, text: text.into(), retry_after: None }
}

/// Answered, and nothing was done.
pub fn not_done(class: ErrorClass, text: impl Into<String>) -> TargetError {
    error(TargetErrorKind::NotDone(class), text)
}

/// A success: done if it has the status that the vendor documents, else to be read back.
pub fn applied(answer: &Answer, documented: StatusCode) -> Applied {
    if answer.status == documented { Applied::Done } else { Applied::Undocumented }
}

/// Names of groups, or how many they are where nobody would read them all.
pub fn few(names: &[&str]) -> String {
    if names.len() > 3 { format!("{} groups", names.len()) } else { names.join(", ") }
}

/// Answered, and this object cannot be treated so.
pub fn unsupported(text: impl Into<String>) -> TargetError {
    error(TargetErrorKind::Unsupported, text)
}

/// A product whose interface does not rename groups.
pub fn no_group_rename(name: &str, product: &str) -> TargetError {
    unsupported(format!("renaming group {name}: {product} cannot. Make another one, and move its members."))
}

/// A look that failed after a write may have taken effect: only another look tells.
pub fn after_the_fact(why: TargetError) -> TargetError {
    TargetError { kind: TargetErrorKind::Unanswered, ..why }
}

/// What one account of a listing was read as; `None` if its answer cannot be read. Then it is as if the listing did not
/// name it: whoever is linked to it is read alone, and fails alone.
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

/// What was read lacks something that it always has.
pub fn unconfirmed(text: impl Into<String>) -> TargetError {
    not_done(ErrorClass::Unconfirmed, text)
}

/// Statuses that mean the same for every call: overload, faults, redirects, pages instead of data. `None` for the rest.
pub(super) fn common(dialect: &Dialect, what: &str, writes: bool, answer: &Answer) -> Option<TargetError> {
    let (product, status) = (dialect.product, answer.status);
    let code = status.as_u16();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait = answer.retry_after();
        let asked = wait.map_or_else(String::new, |wait| format!(", asking to wait {} s", wait.as_secs_f64().ceil()));
        let text = format!(
            "{what}: {product} answered 429, too many requests{asked}. It is tried again by itself; for good, lower \
             the pace of this target{}.",
            dialect.pace_hint
        );
        let kind = TargetErrorKind::NotDone(ErrorClass::Throttled);
        return Some(TargetError { kind, text, retry_after: wait });
    }
    // What a product says itself that it does not do (501), it has not done.
    if status.is_server_error() && !(status == StatusCode::NOT_IMPLEMENTED && (dialect.said)(answer).own) {
        let said = Said::new(dialect, answer, None).quoted();
        // A write that met a fault inside the server, or whose proxy lost it, may have been done.
        let (kind, next) = if writes && !answer.is_untouched() {
            (TargetErrorKind::Unanswered, "usersync checks whether it took effect.")
        } else {
            (TargetErrorKind::NotDone(ErrorClass::Transient), "It is tried again by itself.")
        };
        let text = format!("{what}: {product} answered {code}{said}. {next}");
        return Some(TargetError { kind, text, retry_after: answer.retry_after() });
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        let text = format!("{what}: the request did not arrive in time (408). It is tried again by itself.");
        return Some(not_done(ErrorClass::Transient, text));
    }
    if status.is_success() && answer.is_html() {
        let text = format!(
            "{what}: received an HTML page instead of data. Check that the address is {product}'s own, and that no \
             sign-in page of a proxy stands before its REST interface."
        );
        return Some(if writes {
            let text = format!("{text} usersync checks whether it took effect.");
            error(TargetErrorKind::Unanswered, text)
        } else {
            unconfirmed(text)
        });
    }
    None
}

/// What is left when a call's own meaning of a status did not apply.
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
        StatusCode::FORBIDDEN if body_mentions(answer, "xsrf") => not_done(
            ErrorClass::Forbidden,
            format!(
                "{what}: {product} answered 403, XSRF check failed. A proxy takes the header X-Atlassian-Token away or sets \
                 Origin, Referer or User-Agent; let it pass them as they are."
            ),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => not_done(
            ErrorClass::Forbidden,
            format!(
                "{what}: {product} answered {code}{quoted}. {who} lacks the right; {}, then: usersync dead replay --all",
                dialect.grant
            ),
        ),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => not_done(
            ErrorClass::Credentials,
            format!("{what}: the proxy on the way to {product} wants a sign-in (407). {PROXY_SIGN_IN}"),
        ),
        // The words of nginx, which asks for the certificate but lets the handshake pass.
        StatusCode::BAD_REQUEST if body_mentions(answer, "ssl certificate") => not_done(
            ErrorClass::Permanent,
            format!(
                "{what}: what stands before {product} demands a client certificate that it trusts (400). Check \
                 client_cert_file and client_key_file."
            ),
        ),
        StatusCode::NOT_FOUND if said.own => error(TargetErrorKind::NotFound, format!("{what}: not there{quoted}.")),
        StatusCode::NOT_FOUND => unconfirmed(format!(
            "{what}: 404, but not in {product}'s own words, so nothing is taken as gone. Check the address, its path \
             prefix and the proxy."
        )),
        StatusCode::METHOD_NOT_ALLOWED => unsupported(format!(
            "{what}: {product} answered 405{quoted}. The directory is read-only for {product}; change it where it is kept."
        )),
        StatusCode::CONFLICT => not_done(
            ErrorClass::Transient,
            format!(
                "{what}: {product} answered 409{quoted}: something else is under way. It is tried again by itself."
            ),
        ),
        _ if answer.status.is_success() && writes => error(
            TargetErrorKind::Unanswered,
            format!("{what}: {product} answered {code}, but not as it should. usersync checks whether it took effect."),
        ),
        _ => not_done(ErrorClass::Permanent, format!("{what}: {product} answered {code}{quoted}.")),
    }
}

/// Whether a body has some words in it, in whatever case.
pub fn body_mentions(answer: &Answer, words: &str) -> bool {
    answer.mentions(words)
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
