//! Error answers, in Bitbucket's form.

use serde_json::{Value, json};

use crate::front::Reply;

/// A refusal: an HTTP status and an error body.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    status: u16,
    body: Option<Value>,
}

impl Refused {
    /// Returns `{"errors": [{"context": null, "message": text, "exceptionName": …}]}`.
    pub(crate) fn message(status: u16, text: impl Into<String>) -> Self {
        Self::about(status, None, text)
    }

    /// Returns the same error with a field as its context.
    pub(crate) fn field(field: &str, text: impl Into<String>) -> Self {
        Self::about(400, Some(field), text)
    }

    fn about(status: u16, field: Option<&str>, text: impl Into<String>) -> Self {
        let name = match status {
            400 => "validation.ArgumentValidationException",
            401 => "AuthorisationException",
            403 => "ForbiddenException",
            404 => "NoSuchEntityException",
            _ => "IntegrityException",
        };
        let error = json!({
            "context": field, "message": text.into(), "exceptionName": format!("com.atlassian.bitbucket.{name}"),
        });
        Self { status, body: Some(json!({ "errors": [error] })) }
    }

    pub(crate) fn no_user(name: &str) -> Self {
        Self::message(404, format!("User {name} does not exist."))
    }

    pub(crate) fn no_group(name: &str) -> Self {
        Self::message(404, format!("Group {name} does not exist."))
    }

    pub(crate) fn no_right() -> Self {
        Self::message(401, "You are not permitted to access this resource")
    }

    pub(crate) fn full() -> Self {
        Self::message(403, "This would exceed the number of users that the licence allows.")
    }

    pub(crate) fn unreadable() -> Self {
        Self::message(400, "The request's body could not be read as JSON.")
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::field(field, format!("A {field} is required."))
    }

    pub(crate) fn no_path(path: &str) -> Self {
        let text = format!("null for uri: {path}");
        Self { status: 404, body: Some(json!({ "message": text, "status-code": 404 })) }
    }

    /// Returns a status without a body.
    pub(crate) fn bare(status: u16) -> Self {
        Self { status, body: None }
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        match refused.body {
            Some(body) => Self::json_utf8(refused.status, &body),
            None => Self::empty(refused.status),
        }
    }
}
