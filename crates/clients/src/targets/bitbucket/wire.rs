//! Bitbucket's JSON. Every field may be missing; unknown fields are ignored.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    model::AccountId,
    targets::rest::lenient::{Entries, maybe, some},
};

/// A page of any list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: DeserializeOwned + Default")]
pub(super) struct PageOf<T> {
    #[serde(default, deserialize_with = "maybe")]
    pub is_last_page: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub next_page_start: Option<i64>,
    #[serde(default = "Entries::default")]
    pub values: Entries<T>,
}

/// A user, as in listings and answers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(default, deserialize_with = "maybe")]
    pub id: Option<i64>,
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub email_address: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub display_name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub active: Option<bool>,
    #[serde(rename = "type", default, deserialize_with = "maybe")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub directory_name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub deletable: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub mutable_details: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub mutable_groups: Option<bool>,
}

/// A user with all fields that every user has.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of yes and no")]
pub(super) struct CompleteUser {
    pub id: AccountId,
    pub name: String,
    pub email: Option<String>,
    pub display_name: String,
    /// Active in the user directory; this does not show whether the user may use Bitbucket.
    pub active: bool,
    /// A service user, created for a token or a plugin.
    pub service: bool,
    pub directory: Option<String>,
    pub deletable: bool,
    pub mutable_details: bool,
    pub mutable_groups: bool,
}

/// The fields that every user has, for messages about an answer without one of them.
pub(super) const REQUIRED: &str = "id, name or active";

impl User {
    /// Converts to a [`CompleteUser`]; `None` if a field is missing that every user has.
    pub(super) fn whole(self) -> Option<CompleteUser> {
        let (id, name, active) = (self.id?, some(self.name)?, self.active?);
        Some(CompleteUser {
            id: id.to_string().into(),
            email: self.email_address.filter(|email| !email.trim().is_empty()),
            display_name: self.display_name.unwrap_or_else(|| name.clone()),
            name,
            active,
            service: self.kind.as_deref() == Some("SERVICE"),
            directory: self.directory_name,
            deletable: self.deletable != Some(false),
            mutable_details: self.mutable_details != Some(false),
            mutable_groups: self.mutable_groups != Some(false),
        })
    }
}

impl CompleteUser {
    /// Returns why the user cannot be changed through Bitbucket; `None`: it can.
    pub(super) fn immutable(&self) -> Option<String> {
        let what = match (self.mutable_details, self.mutable_groups) {
            (true, true) => return None,
            (false, true) => "its details are",
            (true, false) => "its groups are",
            (false, false) => "its details and groups are",
        };
        Some(format!("{what} stored in {}, which is read-only for Bitbucket; change it there", self.home()))
    }

    /// Returns the name of the user's directory, for messages.
    pub(super) fn home(&self) -> String {
        self.directory
            .as_deref()
            .map_or_else(|| "its user directory".to_owned(), |name| format!("user directory {name}"))
    }
}

/// Any object with a name, mostly a group.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Named {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
}

/// A group or user with its highest global permission.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Permitted {
    #[serde(default, deserialize_with = "maybe")]
    pub group: Option<Named>,
    #[serde(default, deserialize_with = "maybe")]
    pub user: Option<User>,
    #[serde(default, deserialize_with = "maybe")]
    pub permission: Option<String>,
}

/// The body that changes a user's details. Both details are always sent: the effect of a missing one is undocumented.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserUpdate<'a> {
    pub name: &'a str,
    pub display_name: &'a str,
    pub email: &'a str,
}

/// The body that changes a login.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserRename<'a> {
    pub name: &'a str,
    pub new_name: &'a str,
}

/// The body that adds users to a group.
#[derive(Debug, Serialize)]
pub(super) struct GroupAndUsers<'a> {
    pub group: &'a str,
    pub users: Vec<&'a str>,
}

/// The body that adds a user to groups.
#[derive(Debug, Serialize)]
pub(super) struct UserAndGroups<'a> {
    pub user: &'a str,
    pub groups: Vec<&'a str>,
}

/// The body that removes a user from a group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Picked<'a> {
    pub context: &'a str,
    pub item_name: &'a str,
}

/// `GET /application-properties`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Properties {
    #[serde(default, deserialize_with = "maybe")]
    pub version: Option<String>,
}

/// `GET /admin/license`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Licence {
    #[serde(default, deserialize_with = "maybe")]
    pub maximum_number_of_users: Option<i64>,
    #[serde(default, deserialize_with = "maybe")]
    pub unlimited_number_of_users: Option<bool>,
    #[serde(default, deserialize_with = "maybe")]
    pub status: Option<LicenceStatus>,
}

/// The usage of a licence.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenceStatus {
    #[serde(default, deserialize_with = "maybe")]
    pub current_number_of_users: Option<i64>,
    #[serde(default, deserialize_with = "maybe")]
    pub server_id: Option<String>,
}

impl Licence {
    /// Returns the number of users that the licence allows; `None`: unlimited or not reported.
    pub(super) fn seats(&self) -> Option<i64> {
        let counts = self.unlimited_number_of_users != Some(true);
        self.maximum_number_of_users.filter(|seats| counts && *seats >= 0)
    }

    /// Returns the number of free seats; `None`: unlimited or not reported.
    pub(super) fn free(&self) -> Option<u64> {
        let used = self.status.as_ref()?.current_number_of_users?;
        Some(u64::try_from(self.seats()? - used).unwrap_or(0))
    }
}

/// `GET /admin/user-directories`, documented as one directory: a list, bare or on a page.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Directories {
    List(Vec<Directory>),
    Page { values: Vec<Directory> },
}

impl Directories {
    pub(super) fn all(self) -> Vec<Directory> {
        match self {
            Self::List(all) | Self::Page { values: all } => all,
        }
    }
}

/// One user directory.
#[derive(Debug, Deserialize)]
pub(super) struct Directory {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
    #[serde(rename = "type", default, deserialize_with = "maybe")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub active: Option<bool>,
}

/// The body of a refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(default, deserialize_with = "maybe")]
    pub errors: Option<Vec<RefusalMessage>>,
}

/// A message of a refusal.
#[derive(Debug, Deserialize)]
pub(super) struct RefusalMessage {
    #[serde(default, deserialize_with = "maybe")]
    pub context: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub message: Option<String>,
}
