//! Confluence's JSON and paths. Every field may be missing; unknown fields are ignored.

use serde::{Deserialize, Serialize};

use crate::targets::{
    TargetError,
    rest::{lenient::maybe, segment, unsupported},
};

/// A user, as in `GET /user`, listings and member lists.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    /// `known`; `unknown` for the remains of a deleted user; `anonymous` for the anonymous user.
    #[serde(rename = "type", default, deserialize_with = "maybe")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub username: Option<String>,
    #[serde(rename = "userKey", default, deserialize_with = "maybe")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub display_name: Option<String>,
    /// Returned only with `expand=status`.
    #[serde(default, deserialize_with = "maybe")]
    pub status: Option<String>,
}

impl User {
    /// Whether the user may sign in; `None`: not reported.
    pub(super) fn active(&self) -> Option<bool> {
        match self.status.as_deref()?.to_ascii_lowercase().as_str() {
            "current" | "active" => Some(true),
            "deactivated" | "inactive" | "disabled" => Some(false),
            _ => None,
        }
    }

    /// Whether Confluence still knows the user.
    pub(super) fn known(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "known")
    }
}

/// A group, as Confluence returns it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Group {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
}

/// The body that creates a group.
#[derive(Debug, Serialize)]
pub(super) struct NewGroup<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: &'a str,
}

/// The body that creates a user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewUser<'a> {
    pub user_name: &'a str,
    pub full_name: &'a str,
    pub email: &'a str,
    pub password: &'a str,
    pub notify_via_email: bool,
}

/// The body that changes a user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserChange<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<&'a str>,
}

/// The answer to creating a user.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    #[serde(rename = "userKey", default, deserialize_with = "maybe")]
    pub key: Option<String>,
}

/// `GET /server-information`, since 10.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInformation {
    #[serde(default, deserialize_with = "maybe")]
    pub base_url: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub version: Option<String>,
}

/// One global permission of a group.
#[derive(Debug, Default, Deserialize)]
pub(super) struct GlobalPermission {
    #[serde(default, deserialize_with = "maybe")]
    pub operation: Option<PermittedOperation>,
}

/// The operation that a permission allows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PermittedOperation {
    #[serde(default, deserialize_with = "maybe")]
    pub operation_key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub target_type: Option<String>,
}

impl GlobalPermission {
    /// Whether it grants access to Confluence: `use` of the `application`.
    ///
    /// # Source
    /// Confluence 10.0, REST `PUT /permissions/group/{groupName}/grant`.
    pub(super) fn gives_access(&self) -> bool {
        let is =
            |text: &Option<String>, word: &str| text.as_deref().is_some_and(|text| text.eq_ignore_ascii_case(word));
        let operation = self.operation.as_ref();
        operation.is_some_and(|one| is(&one.operation_key, "use") && is(&one.target_type, "application"))
    }

    /// Whether it grants administrator rights.
    pub(super) fn administers(&self) -> bool {
        let key = self.operation.as_ref().and_then(|operation| operation.operation_key.as_deref());
        key.is_some_and(|key| key.to_ascii_lowercase().contains("admin"))
    }
}

/// The answer to deleting a user: the task that deletes it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Submitted {
    #[serde(default, deserialize_with = "maybe")]
    pub id: Option<String>,
}

/// The number of free seats: a bare number in one version, an object around it in another.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Seats {
    Number(i64),
    Object {
        #[serde(alias = "remainingSeats", alias = "remaining", alias = "seats")]
        count: i64,
    },
}

impl Seats {
    /// Returns the number of free seats; `None`: unlimited.
    pub(super) fn free(&self) -> Option<u64> {
        let (Self::Number(count) | Self::Object { count }) = self;
        u64::try_from(*count).ok().filter(|free| *free < u64::from(u32::MAX >> 1))
    }
}

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refusal {
    #[serde(default, deserialize_with = "maybe")]
    pub status_code: Option<u16>,
    #[serde(default, deserialize_with = "maybe")]
    pub message: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub data: Option<Validation>,
}

/// The validation result of a refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Validation {
    #[serde(default, deserialize_with = "maybe")]
    pub errors: Option<serde_json::Value>,
}

/// Encodes a name as a path segment, as Confluence's paths require.
///
/// # Errors
/// The name cannot be a path segment.
pub(super) fn path_segment(what: &str, name: &str) -> Result<String, TargetError> {
    if name.contains(['/', '\\']) || matches!(name, "" | "." | "..") {
        return Err(unsupported(format!(
            "{what}: the paths of Confluence's REST API cannot contain the name {name:?}. Give it another name in \
             Keycloak."
        )));
    }
    Ok(segment(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_come_in_two_shapes() {
        let free = |text| serde_json::from_str::<Seats>(text).ok().map(|seats| seats.free());
        assert_eq!(free("48"), Some(Some(48)));
        assert_eq!(free(r#"{"count": 0}"#), Some(Some(0)));
        assert_eq!(free(r#"{"remainingSeats": 7}"#), Some(Some(7)));
        assert_eq!(free("-1"), Some(None));
        assert_eq!(free("2147483647"), Some(None));
        assert_eq!(free(r#""many""#), None);
    }
}
