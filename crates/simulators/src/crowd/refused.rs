//! Refusals, in Crowd's form.

use serde_json::{Value, json};

use crate::front::Reply;

/// Why something was not done.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    status: u16,
    body: Option<Value>,
}

impl Refused {
    /// `{"reason": reason, "message": text}`
    pub(crate) fn new(status: u16, reason: &str, text: impl Into<String>) -> Self {
        Self { status, body: Some(json!({ "reason": reason, "message": text.into() })) }
    }

    /// A status without a body, as for a path or a method that is not there.
    pub(crate) fn bare(status: u16) -> Self {
        Self { status, body: None }
    }

    /// Of the user that is asked for.
    pub(crate) fn no_user(name: &str) -> Self {
        Self::new(404, "USER_NOT_FOUND", format!("User <{name}> does not exist"))
    }

    /// Of the group that is asked for.
    pub(crate) fn no_group(name: &str) -> Self {
        Self::new(404, "GROUP_NOT_FOUND", format!("Group <{name}> does not exist"))
    }

    /// Something about the request itself.
    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(400, "ILLEGAL_ARGUMENT", text)
    }

    /// The same refusal of something that the body named.
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
