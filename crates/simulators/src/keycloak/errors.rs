//! Error answers, in Keycloak's form.

use serde_json::{Value, json};

use crate::front::Reply;

/// A refusal: the status and body of the HTTP answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// Returns `{"error": …}`.
    pub(crate) fn error(status: u16, text: &str) -> Self {
        Self { status, body: json!({ "error": text }) }
    }

    /// Returns `{"errorMessage": …}`.
    pub(crate) fn message(status: u16, text: impl Into<String>) -> Self {
        Self { status, body: json!({ "errorMessage": text.into() }) }
    }

    /// Returns a user profile validation error.
    pub(crate) fn field(field: &str, message: &str, more: &[Value]) -> Self {
        let mut params = vec![json!(field)];
        params.extend_from_slice(more);
        Self { status: 400, body: json!({ "field": field, "errorMessage": message, "params": params }) }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::error(401, "HTTP 401 Unauthorized")
    }

    pub(crate) fn forbidden() -> Self {
        Self::error(403, "HTTP 403 Forbidden")
    }

    pub(crate) fn no_path() -> Self {
        Self::error(404, "HTTP 404 Not Found")
    }

    pub(crate) fn no_method() -> Self {
        Self::error(405, "HTTP 405 Method Not Allowed")
    }

    pub(crate) fn no_user() -> Self {
        Self::error(404, "User not found")
    }

    pub(crate) fn no_group() -> Self {
        Self::error(404, "Could not find group by id")
    }

    /// Returns the answer to an exception while an answer is written.
    pub(crate) fn unparsable() -> Self {
        Self { status: 400, body: json!({ "error": "unknown_error", "error_description": "Cannot parse the JSON" }) }
    }

    /// Returns the answer to an exception inside Keycloak.
    pub(crate) fn broke() -> Self {
        let text = "For more on this error consult the server log.";
        Self { status: 500, body: json!({ "error": "unknown_error", "error_description": text }) }
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        Self::json(refused.status, &refused.body)
    }
}
