//! Error answers, in Crowd's form.

use serde_json::{Value, json};

use crate::front::Reply;

/// A refusal: an HTTP status and an error body.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    status: u16,
    body: Option<Value>,
}

impl Refused {
    /// Returns `{"reason": reason, "message": text}`.
    pub(crate) fn new(status: u16, reason: &str, text: impl Into<String>) -> Self {
        Self { status, body: Some(json!({ "reason": reason, "message": text.into() })) }
    }

    /// Returns a status without a body, as for an unknown path or method.
    pub(crate) fn bare(status: u16) -> Self {
        Self { status, body: None }
    }

    /// Refuses a request for a missing user.
    pub(crate) fn no_user(name: &str) -> Self {
        Self::new(404, "USER_NOT_FOUND", format!("User <{name}> does not exist"))
    }

    /// Refuses a request for a missing group.
    pub(crate) fn no_group(name: &str) -> Self {
        Self::new(404, "GROUP_NOT_FOUND", format!("Group <{name}> does not exist"))
    }

    /// Refuses an invalid request.
    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(400, "ILLEGAL_ARGUMENT", text)
    }

    /// Returns the same refusal with status 400, for a name in the body.
    pub(crate) fn in_body(mut self) -> Self {
        self.status = 400;
        self
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
