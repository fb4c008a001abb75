//! Request bodies, and the representations of admin events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::errors::Refused;

/// Attributes of a user or a group.
pub(crate) type Attributes = BTreeMap<String, Vec<String>>;

/// A user as sent; absent and `null` fields stay unchanged. Its serialised form is the representation in an admin
/// event.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserRep {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<Attributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) federation_link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) required_actions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<Vec<String>>,
    /// All other fields: known ones are ignored, unknown ones refused.
    #[serde(flatten, skip_serializing)]
    pub(crate) other: Map<String, Value>,
}

const IGNORED_USER_FIELDS: &[&str] = &[
    "self",
    "origin",
    "createdTimestamp",
    "totp",
    "disableableCredentialTypes",
    "notBefore",
    "access",
    "credentials",
    "realmRoles",
    "clientRoles",
    "federatedIdentities",
    "clientConsents",
    "serviceAccountClientId",
    "applicationRoles",
    "socialLinks",
    "userProfileMetadata",
];

impl UserRep {
    /// Reads a request's body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refused> {
        let rep: Self = read(body)?;
        known(&rep.other, IGNORED_USER_FIELDS, "UserRepresentation")?;
        Ok(rep)
    }
}

/// A group as sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupRep {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) sub_groups: Vec<GroupRep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<Attributes>,
    #[serde(flatten, skip_serializing)]
    pub(crate) other: Map<String, Value>,
}

const IGNORED_GROUP_FIELDS: &[&str] =
    &["description", "path", "parentId", "subGroupCount", "realmRoles", "clientRoles", "access"];

impl GroupRep {
    /// Reads a request's body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refused> {
        let rep: Self = read(body)?;
        known(&rep.other, IGNORED_GROUP_FIELDS, "GroupRepresentation")?;
        Ok(rep)
    }

    /// Returns the name, if it is valid.
    pub(crate) fn named(&self) -> Result<&str, Refused> {
        self.name
            .as_deref()
            .filter(|name| !name.trim().is_empty())
            .ok_or_else(|| Refused::message(400, "Group name is missing"))
    }
}

fn known(other: &Map<String, Value>, ignored: &[&str], what: &str) -> Result<(), Refused> {
    match other.keys().find(|key| !ignored.contains(&key.as_str())) {
        Some(key) => {
            let text =
                format!("Invalid json representation for {what}. Unrecognized field \"{key}\" at line 1 column 1.");
            Err(Refused::error(400, &text))
        }
        None => Ok(()),
    }
}

/// Reads a body as Keycloak's own JSON reader does.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Refused> {
    if body.is_empty() {
        return Err(Refused::broke());
    }
    let cannot = |error: &str| Refused {
        status: 400,
        body: json!({ "error": error, "error_description": "Cannot parse the JSON" }),
    };
    let value: Value = serde_json::from_slice(body).map_err(|_| cannot("invalid_request"))?;
    serde_json::from_value(value).map_err(|_| cannot("unknown_error"))
}
