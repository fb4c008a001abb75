//! Error answers (RFC 7644, section 3.12).

use serde_json::json;

use crate::front::Reply;

/// Schema of an error.
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// A refusal: an HTTP status and an error body.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    status: u16,
    kind: Option<&'static str>,
    detail: String,
    own: bool,
}

impl Refused {
    pub(crate) fn new(status: u16, kind: Option<&'static str>, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), own: true }
    }

    /// Returns an error that does not have the standard's form.
    pub(crate) fn otherwise(status: u16, detail: impl Into<String>) -> Self {
        Self { own: false, ..Self::new(status, None, detail) }
    }

    pub(crate) fn absent(id: &str) -> Self {
        Self::new(404, None, format!("Resource {id} not found"))
    }

    pub(crate) fn value(detail: impl Into<String>) -> Self {
        Self::new(400, Some("invalidValue"), detail)
    }

    pub(crate) fn path(path: &str) -> Self {
        Self::new(400, Some("invalidPath"), format!("The path {path} is not supported."))
    }

    pub(crate) fn syntax() -> Self {
        Self::new(400, Some("invalidSyntax"), "The request body is not as it should be.")
    }

    pub(crate) fn filter(filter: &str) -> Self {
        Self::new(400, Some("invalidFilter"), format!("The filter {filter} is not supported."))
    }

    /// Refuses a name that is taken.
    pub(crate) fn taken(reported: bool) -> Self {
        let detail = "A resource with the same unique attribute already exists";
        if reported { Self::new(409, Some("uniqueness"), detail) } else { Self::otherwise(409, detail) }
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        if !refused.own {
            return Self::json(refused.status, &json!({ "error": "conflict", "error_description": refused.detail }));
        }
        let mut body = json!({ "schemas": [ERROR], "status": refused.status.to_string(), "detail": refused.detail });
        if let Some(kind) = refused.kind {
            body["scimType"] = json!(kind);
        }
        Reply::scim(refused.status, &body)
    }
}
