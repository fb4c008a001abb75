//! Crowd's JSON. Every field may be missing; unknown fields are ignored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::targets::rest::lenient::{Entries, maybe};

/// A user. Lists that are not asked to expand their entries return the name alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct User {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub first_name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub last_name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub display_name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub email: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub active: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub directory_name: Option<String>,
    /// `{"attributes": [{"name": …, "values": […]}]}`, read by [`attribute`](Self::attribute). An unexpected shape does
    /// not make the user unreadable.
    #[serde(default, deserialize_with = "maybe")]
    pub attributes: Option<Value>,
}

/// A new user, or all core fields of an existing one. Fields that are left out are cleared.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct UserWrite<'a> {
    pub name: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub display_name: &'a str,
    pub email: &'a str,
    pub active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password<'a>>,
}

/// A password.
#[derive(Serialize)]
pub(super) struct Password<'a> {
    pub value: &'a str,
}

impl std::fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// The body of a rename.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Rename<'a> {
    pub new_name: &'a str,
}

/// Attributes to write; each replaces all values that the attribute had.
#[derive(Debug, Serialize)]
pub(super) struct AttributesWrite<'a> {
    attributes: Vec<AttributeWrite<'a>>,
}

#[derive(Debug, Serialize)]
struct AttributeWrite<'a> {
    name: &'a str,
    values: [&'a str; 1],
}

impl<'a> AttributesWrite<'a> {
    /// Creates a body with one value for each attribute.
    pub(super) fn of(given: &[(&'a str, &'a str)]) -> Self {
        Self { attributes: given.iter().map(|&(name, value)| AttributeWrite { name, values: [value] }).collect() }
    }
}

/// The body that names a user to add to a group.
#[derive(Debug, Serialize)]
pub(super) struct NameOnly<'a> {
    pub name: &'a str,
}

/// A new group.
#[derive(Debug, Serialize)]
pub(super) struct GroupWrite<'a> {
    pub name: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub description: &'static str,
    pub active: bool,
}

/// A group.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub active: Option<bool>,
}

/// An object with a name.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Named {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
}

/// A page of users.
#[derive(Debug, Deserialize)]
pub(super) struct Users {
    #[serde(default)]
    pub users: Entries<User>,
}

/// A page of groups.
#[derive(Debug, Deserialize)]
pub(super) struct Groups {
    #[serde(default)]
    pub groups: Entries<Named>,
}

/// The body of a Crowd refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub reason: String,
    #[serde(default, deserialize_with = "maybe")]
    pub message: Option<String>,
}
