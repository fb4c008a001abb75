//! Jira's JSON. Every field may be missing; unknown fields are ignored.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::targets::rest::{
    fold,
    lenient::{Entries, maybe},
};

/// A user, as in `GET /user`, listings and member lists.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(default, deserialize_with = "maybe")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub email_address: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub display_name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub active: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub deleted: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub groups: Option<Items>,
}

/// Jira's wrapper around a list that it may truncate: `size` is the full count, `items` holds the entries shown.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Items {
    #[serde(default, deserialize_with = "maybe")]
    pub size: Option<usize>,
    #[serde(default)]
    pub items: Entries<Entry>,
}

/// A list entry with a name, if the name could be read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Entry {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
}

/// Any object with a name.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub name: String,
}

/// The body that creates or changes a user.
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

/// The body that names a group to create, or a user to add to a group.
#[derive(Debug, Serialize)]
pub(super) struct NameOnly<'a> {
    pub name: &'a str,
}

/// A page of `GET /group/member`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemberPage {
    #[serde(default, deserialize_with = "maybe")]
    pub total: Option<usize>,
    #[serde(default, deserialize_with = "maybe")]
    pub is_last: Option<bool>,
    #[serde(default)]
    pub values: Entries<Member>,
}

/// A group member; only the key is read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Member {
    #[serde(default, deserialize_with = "maybe")]
    pub key: Option<String>,
}

/// A page of `GET /user/list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListPage {
    #[serde(default, deserialize_with = "maybe")]
    pub next_cursor: Option<TextOrNumber>,
    #[serde(default, deserialize_with = "maybe")]
    pub is_last: Option<bool>,
    #[serde(default)]
    pub values: Entries<User>,
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

/// The answer to `GET /groups/picker`.
#[derive(Debug, Deserialize)]
pub(super) struct Suggestions {
    #[serde(default, deserialize_with = "maybe")]
    pub total: Option<usize>,
    #[serde(default)]
    pub groups: Entries<Suggestion>,
}

/// One suggested group.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Suggestion {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    /// `None`: not reported, which says nothing about the group.
    #[serde(default, deserialize_with = "maybe")]
    pub labels: Option<Vec<Label>>,
}

/// A label that Jira's pages show beside a group's name.
#[derive(Debug, Deserialize)]
pub(super) struct Label {
    #[serde(rename = "type")]
    #[serde(default, deserialize_with = "maybe")]
    pub kind: Option<String>,
}

impl Suggestion {
    /// Whether this is the group with this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|found| fold(found) == fold(name))
    }

    /// Whether Jira marks the group as one that grants administrator rights; `None` if Jira does not report it.
    pub(super) fn is_admin(&self) -> Option<bool> {
        Some(self.labels.as_ref()?.iter().any(|label| label.kind.as_deref() == Some("ADMIN")))
    }
}

/// `GET /serverInfo`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInfo {
    #[serde(default, deserialize_with = "maybe")]
    pub base_url: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub version: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub version_numbers: Option<Vec<u32>>,
    #[serde(default, deserialize_with = "maybe")]
    pub deployment_type: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub server_id: Option<String>,
}

/// The global permission without which the group picker and the user search return nothing.
pub(super) const BROWSE: &str = "Browse users and groups";

/// `GET /mypermissions`.
#[derive(Debug, Deserialize)]
pub(super) struct MyPermissions {
    #[serde(default, deserialize_with = "maybe")]
    pub permissions: Option<HashMap<String, serde_json::Value>>,
}

impl MyPermissions {
    pub(super) fn has(&self, name: &str) -> bool {
        let permission = self.permissions.as_ref().and_then(|all| all.get(name));
        permission.is_some_and(|permission| permission["havePermission"] == true)
    }

    /// Whether Jira reports that usersync lacks [`BROWSE`]. Without it, the group picker and the user search answer 200
    /// and return nothing.
    pub(super) fn lacks_browse(&self) -> bool {
        let permission = self.permissions.as_ref().and_then(|all| all.get("USER_PICKER"));
        permission.is_some_and(|permission| permission["havePermission"] == false)
    }
}

/// One entry of `GET /applicationrole`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplicationRole {
    #[serde(default, deserialize_with = "maybe")]
    pub groups: Option<Vec<String>>,
    #[serde(default, deserialize_with = "maybe")]
    pub default_groups: Option<Vec<String>>,
    #[serde(default, deserialize_with = "maybe")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub number_of_seats: Option<i64>,
    #[serde(default, deserialize_with = "maybe")]
    pub remaining_seats: Option<i64>,
    #[serde(default, deserialize_with = "maybe")]
    pub has_unlimited_seats: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub selected_by_default: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub defined: Option<bool>,
}

/// `GET /user/duplicated/count`.
#[derive(Debug, Deserialize)]
pub(super) struct DuplicatedCount {
    #[serde(default, deserialize_with = "maybe")]
    pub count: Option<u64>,
}

/// `GET /user/duplicated/list`: logins with their accounts, as a map or as a list. Its documentation is wrong.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Duplicates {
    Map(HashMap<String, serde_json::Value>),
    List(Vec<DuplicateUser>),
}

/// A login of the list, with its directories.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DuplicateUser {
    #[serde(alias = "username", alias = "name")]
    pub user_name: String,
    pub directories: serde_json::Value,
}

/// The account of a duplicate login in one directory.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DirectoryAccount {
    #[serde(alias = "name")]
    #[serde(default, deserialize_with = "maybe")]
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

/// The body that starts an anonymization.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnonymizationStart<'a> {
    pub user_key: &'a str,
    /// Key of the account that takes over what the account leads.
    pub new_owner_key: &'a str,
}

/// The answer of `POST /user/anonymization` and of its progress.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Anonymization {
    /// `IN_PROGRESS`, `COMPLETED`, `INTERRUPTED` or `VALIDATION_FAILED`.
    #[serde(default, deserialize_with = "maybe")]
    pub status: Option<String>,
    /// Path with the number of the task: `…/progress?taskId=10100`.
    #[serde(default, deserialize_with = "maybe")]
    pub progress_url: Option<String>,
    /// Refusals by the name of the step that failed.
    #[serde(default, deserialize_with = "maybe")]
    pub errors: Option<BTreeMap<String, Refusal>>,
}

impl Anonymization {
    /// Returns why steps failed, as the second half of a sentence; `None`: none did.
    pub(super) fn failure(&self) -> Option<String> {
        let errors = self.errors.as_ref()?;
        let texts: Vec<&str> =
            errors.values().flat_map(|one| one.error_messages.iter().flatten()).map(String::as_str).collect();
        (!errors.is_empty()).then(|| {
            if texts.is_empty() {
                String::new()
            } else {
                format!(", saying \"{}\"", texts.join(" ").trim_end_matches('.'))
            }
        })
    }

    /// Returns the number of the task.
    pub(super) fn task(&self) -> Option<&str> {
        self.progress_url.as_deref()?.split_once("taskId=").map(|(_, task)| task)
    }
}

/// One project of `GET /project`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Project {
    #[serde(default, deserialize_with = "maybe")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub lead: Option<User>,
}

/// One component of `GET /project/{key}/components`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Component {
    #[serde(default, deserialize_with = "maybe")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub lead: Option<User>,
}

/// The body that gives a project another lead.
#[derive(Debug, Serialize)]
pub(super) struct ProjectLead<'a> {
    pub lead: &'a str,
}

/// The body that gives a component another lead.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ComponentLead<'a> {
    pub lead_user_name: &'a str,
}

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refusal {
    #[serde(default, deserialize_with = "maybe")]
    pub error_messages: Option<Vec<String>>,
    #[serde(default, deserialize_with = "maybe")]
    pub errors: Option<HashMap<String, serde_json::Value>>,
}
