//! Error answers, in Jira's form.

use serde_json::{Map, Value, json};

use crate::front::Reply;

/// A refusal: an HTTP status and an error body.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    status: u16,
    body: Option<Value>,
}

impl Refused {
    /// Returns `{"errorMessages": [text], "errors": {}}`.
    pub(crate) fn message(status: u16, text: impl Into<String>) -> Self {
        Self { status, body: Some(json!({ "errorMessages": [text.into()], "errors": {} })) }
    }

    /// Returns `{"errorMessages": [], "errors": {field: text}}`.
    pub(crate) fn field(field: &str, text: &str) -> Self {
        Self::fields(&Map::from_iter([(field.to_owned(), json!(text))]))
    }

    /// Returns the errors of several fields.
    pub(crate) fn fields(errors: &Map<String, Value>) -> Self {
        Self { status: 400, body: Some(json!({ "errorMessages": [], "errors": errors })) }
    }

    pub(crate) fn no_user(name: &str) -> Self {
        Self::message(404, format!("The user named '{name}' does not exist"))
    }

    pub(crate) fn no_group(name: &str) -> Self {
        Self::message(404, format!("The group named '{name}' does not exist."))
    }

    pub(crate) fn forbidden() -> Self {
        Self::message(403, "You do not have permission to perform this operation.")
    }

    pub(crate) fn read_only() -> Self {
        Self::message(403, "Cannot edit this: the user directory is read-only.")
    }

    pub(crate) fn unauthorized() -> Self {
        Self::message(401, "You are not authenticated. Authentication required to perform this operation.")
    }

    pub(crate) fn unreadable() -> Self {
        Self::message(400, "The request's body could not be read as JSON.")
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
