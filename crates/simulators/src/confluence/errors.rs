//! Error answers, in Confluence's form.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::front::Reply;

/// A refusal: an HTTP status and an error body.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    status: u16,
    body: Option<Value>,
}

impl Refused {
    /// Returns a refusal with a message.
    pub(crate) fn message(status: u16, text: impl Into<String>) -> Self {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let body = json!({
            "statusCode": status,
            "data": {
                "authorized": !matches!(status, 401 | 403), "valid": status != 400, "allowedInReadOnlyMode": true,
                "errors": [], "successful": false,
            },
            "message": text.into(),
            "reason": reason,
        });
        Self { status, body: Some(body) }
    }

    pub(crate) fn no_user(name: &str) -> Self {
        Self::message(404, format!("No user found with username or key: {name}"))
    }

    pub(crate) fn no_group(status: u16, name: &str) -> Self {
        Self::message(status, format!("No group found with name: {name}"))
    }

    pub(crate) fn forbidden() -> Self {
        Self::message(403, "You are not permitted to perform this operation.")
    }

    pub(crate) fn read_only() -> Self {
        Self::message(403, "The user directory is read-only.")
    }

    pub(crate) fn unauthorized() -> Self {
        Self::message(401, "You need to be signed in to perform this operation.")
    }

    pub(crate) fn unreadable() -> Self {
        Self::message(400, "The request's body could not be read.")
    }

    /// Refuses an unknown path.
    pub(crate) fn no_path(path: &str) -> Self {
        Self { status: 404, body: Some(json!({ "message": format!("null for uri: {path}"), "status-code": 404 })) }
    }

    /// Refuses a method that the path does not support.
    pub(crate) fn no_method() -> Self {
        Self { status: 405, body: None }
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        match refused.body {
            Some(body) => Self::json(refused.status, &body),
            None => Self::empty(refused.status),
        }
    }
}
