//! Jira's JSON. Every field may be missing; fields that are not known are passed over.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A user, as `GET /user`, listings and members tell it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub key: Option<String>,
    pub name: Option<String>,
    pub email_address: Option<String>,
    pub display_name: Option<String>,
    pub active: Option<bool>,
    pub deleted: Option<bool>,
    pub groups: Option<Items>,
}

/// Jira's wrapper around a list that it may cut off: `size` counts what there is, `items` holds what it shows.
#[derive(Debug, Deserialize)]
pub(super) struct Items {
    pub size: Option<usize>,
    pub items: Option<Vec<Named>>,
}

/// Whatever has a name.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub name: String,
}

/// A new or changed user.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserWrite<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_keys: Option<&'a [String]>,
}

/// The body that names a group to make, or a user to add to one.
#[derive(Debug, Serialize)]
pub(super) struct NameOnly<'a> {
    pub name: &'a str,
}

/// A page of `GET /group/member`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemberPage {
    pub total: Option<usize>,
    pub is_last: Option<bool>,
    pub values: Vec<Member>,
}

/// A member, of whom only the key is read.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub key: Option<String>,
}

/// A page of `GET /user/list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListPage {
    pub next_cursor: Option<TextOrNumber>,
    pub is_last: Option<bool>,
    pub values: Vec<User>,
}

/// A cursor: text in one version's answers, a number in another's queries.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum TextOrNumber {
    Text(String),
    Number(i64),
}

impl TextOrNumber {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// What `GET /groups/picker` suggests.
#[derive(Debug, Deserialize)]
pub(super) struct Suggestions {
    pub total: Option<usize>,
    #[serde(default)]
    pub groups: Vec<Suggestion>,
}

/// One suggested group.
#[derive(Debug, Deserialize)]
pub(super) struct Suggestion {
    pub name: String,
    #[serde(default)]
    pub labels: Vec<Label>,
}

/// What Jira's pages print beside a group's name.
#[derive(Debug, Deserialize)]
pub(super) struct Label {
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl Suggestion {
    /// Whether Jira marks the group as one that makes administrators.
    pub(super) fn is_admin(&self) -> bool {
        self.labels.iter().any(|label| label.kind.as_deref() == Some("ADMIN"))
    }
}

/// `GET /serverInfo`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInfo {
    pub base_url: Option<String>,
    pub version: Option<String>,
    pub version_numbers: Option<Vec<u32>>,
    pub deployment_type: Option<String>,
    pub server_id: Option<String>,
}

/// `GET /mypermissions`.
#[derive(Debug, Deserialize)]
pub(super) struct MyPermissions {
    #[serde(default)]
    pub permissions: HashMap<String, Permission>,
}

/// One permission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Permission {
    #[serde(default)]
    pub have_permission: bool,
}

impl MyPermissions {
    pub(super) fn has(&self, name: &str) -> bool {
        self.permissions.get(name).is_some_and(|permission| permission.have_permission)
    }
}

/// One of `GET /applicationrole`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplicationRole {
    pub key: Option<String>,
    pub name: Option<String>,
    pub number_of_seats: Option<i64>,
    pub remaining_seats: Option<i64>,
    #[serde(default)]
    pub has_unlimited_seats: bool,
    #[serde(default)]
    pub selected_by_default: bool,
    pub defined: Option<bool>,
}

/// `GET /user/duplicated/count`.
#[derive(Debug, Deserialize)]
pub(super) struct DuplicatedCount {
    pub count: Option<u64>,
}

/// `GET /user/duplicated/list`, whose description is wrong: logins with their accounts, as a map or as a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Duplicates {
    Map(HashMap<String, serde_json::Value>),
    List(Vec<DuplicateUser>),
}

/// One login of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DuplicateUser {
    #[serde(alias = "username", alias = "name")]
    pub user_name: String,
    pub directories: serde_json::Value,
}

/// One directory's account of such a login.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DirectoryAccount {
    #[serde(alias = "name")]
    pub directory_name: Option<String>,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Duplicates {
    pub(super) fn by_login(self) -> HashMap<String, serde_json::Value> {
        match self {
            Self::Map(map) => map,
            Self::List(list) => list.into_iter().map(|one| (one.user_name, one.directories)).collect(),
        }
    }
}

/// What Jira says when it refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refusal {
    pub error_messages: Option<Vec<String>>,
    pub errors: Option<HashMap<String, serde_json::Value>>,
}
