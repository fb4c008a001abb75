//! Operations on a target.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{AccountId, Limited, TargetGroupId, UserId};

/// The fields of an account that usersync writes, other than its login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFields {
    /// The display name; `None`: it is not changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub display_name: Option<String>,
    /// The e-mail address; `None`: it is not changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub email: Option<String>,
    /// Further attributes, by the target's own names; an empty value clears the attribute.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
}

impl UserFields {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.display_name.is_none() && self.email.is_none() && self.attributes.is_empty()
    }

    /// Returns whether an attribute is cleared.
    pub fn clears(&self) -> bool {
        self.attributes.values().any(String::is_empty)
    }

    /// Returns the fields that are written, by their display names.
    pub fn names(&self) -> Vec<&str> {
        let display_name = self.display_name.as_ref().map(|_| "display name");
        let email = self.email.as_ref().map(|_| "e-mail");
        display_name.into_iter().chain(email).chain(self.attributes.keys().map(String::as_str)).collect()
    }
}

/// One write to a target. Existing accounts and groups are identified by stable id, new ones by name. A `name` beside
/// an id is the login as last seen, for display and for targets that cannot address by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Operation {
    /// Create an active account.
    CreateUser {
        /// The login.
        name: String,
        /// Its fields.
        fields: UserFields,
        /// The user's id at the source, where the target stores such an id beside its own.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        external_id: Option<UserId>,
    },
    /// Write fields.
    UpdateUser {
        /// The account.
        account: AccountId,
        /// The login as last seen.
        name: String,
        /// The fields that change.
        fields: UserFields,
    },
    /// Change the login.
    RenameUser {
        /// The account.
        account: AccountId,
        /// The login as last seen.
        name: String,
        /// The new login.
        to: String,
    },
    /// Allow an account to sign in again.
    ActivateUser {
        /// The account.
        account: AccountId,
        /// The login as last seen.
        name: String,
        /// What a deactivation revoked and is granted again, where there is no switch.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        gives: Vec<String>,
    },
    /// Prevent an account from signing in.
    DeactivateUser {
        /// The account.
        account: AccountId,
        /// The login as last seen.
        name: String,
        /// What allows sign-in and is revoked, where there is no switch.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        takes: Vec<String>,
    },
    /// Delete an account.
    DeleteUser {
        /// The account.
        account: AccountId,
        /// The login as last seen.
        name: String,
    },
    /// Create a group.
    CreateGroup {
        /// Its name.
        name: String,
    },
    /// Change a group's name.
    RenameGroup {
        /// The group.
        group: TargetGroupId,
        /// Its name as last seen.
        name: String,
        /// The new name.
        to: String,
    },
    /// Delete a group.
    DeleteGroup {
        /// The group.
        group: TargetGroupId,
        /// Its name as last seen.
        name: String,
    },
    /// Add an account to a group.
    AddMember {
        /// The group.
        group: TargetGroupId,
        /// The group's name.
        group_name: String,
        /// The account.
        account: AccountId,
        /// The login as last seen.
        name: String,
    },
    /// Remove an account from a group.
    RemoveMember {
        /// The group.
        group: TargetGroupId,
        /// The group's name.
        group_name: String,
        /// The account.
        account: AccountId,
        /// The login as last seen.
        name: String,
    },
}

impl Operation {
    /// Returns the verb in plans and lists.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateUser { .. } => "create",
            Self::UpdateUser { .. } => "update",
            Self::RenameUser { .. } => "rename",
            Self::ActivateUser { .. } => "activate",
            Self::DeactivateUser { .. } => "deactivate",
            Self::DeleteUser { .. } => "delete",
            Self::CreateGroup { .. } => "create_group",
            Self::RenameGroup { .. } => "rename_group",
            Self::DeleteGroup { .. } => "delete_group",
            Self::AddMember { .. } => "add_member",
            Self::RemoveMember { .. } => "remove_member",
        }
    }

    /// Returns the safety limit that the operation counts towards; `None`: it is harmless.
    pub fn limited(&self) -> Option<Limited> {
        match self {
            Self::DeactivateUser { .. } => Some(Limited::Deactivate),
            Self::DeleteUser { .. } => Some(Limited::Delete),
            Self::RenameUser { .. } => Some(Limited::Rename),
            Self::UpdateUser { fields, .. } if fields.email.is_some() => Some(Limited::ChangeEmail),
            Self::UpdateUser { fields, .. } if fields.clears() => Some(Limited::ClearAttributes),
            Self::DeleteGroup { .. } => Some(Limited::DeleteGroup),
            Self::RemoveMember { .. } => Some(Limited::RemoveMember),
            _ => None,
        }
    }

    /// Returns whether the operation removes access or data, so that both sides are read again right before it is sent.
    pub fn removes(&self) -> bool {
        match self {
            Self::UpdateUser { fields, .. } => fields.clears(),
            Self::DeactivateUser { .. }
            | Self::DeleteUser { .. }
            | Self::DeleteGroup { .. }
            | Self::RemoveMember { .. } => true,
            _ => false,
        }
    }

    /// Returns the existing account that the operation changes, if any.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::UpdateUser { account, .. }
            | Self::RenameUser { account, .. }
            | Self::ActivateUser { account, .. }
            | Self::DeactivateUser { account, .. }
            | Self::DeleteUser { account, .. }
            | Self::AddMember { account, .. }
            | Self::RemoveMember { account, .. } => Some(account),
            Self::CreateUser { .. }
            | Self::CreateGroup { .. }
            | Self::RenameGroup { .. }
            | Self::DeleteGroup { .. } => None,
        }
    }
}

/// Returns what an operation grants or revokes, as text; empty if there is nothing.
fn listed(word: &str, items: &[String]) -> String {
    if items.is_empty() { String::new() } else { format!("{word} {}", items.join(", ")) }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateUser { name, .. } => write!(f, "create {name}"),
            Self::UpdateUser { name, fields, .. } => {
                let what = match fields.names().as_slice() {
                    [] => "nothing".to_owned(),
                    [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
                    one => one.join(""),
                };
                write!(f, "update {name}: {what}")
            }
            Self::RenameUser { name, to, .. } => write!(f, "rename {name} → {to}"),
            Self::ActivateUser { name, gives, .. } => write!(f, "activate {name}{}", listed(": grant", gives)),
            Self::DeactivateUser { name, takes, .. } => write!(f, "deactivate {name}{}", listed(": revoke", takes)),
            Self::DeleteUser { name, .. } => write!(f, "delete {name}"),
            Self::CreateGroup { name } => write!(f, "create group {name}"),
            Self::RenameGroup { name, to, .. } => write!(f, "rename group {name} → {to}"),
            Self::DeleteGroup { name, .. } => write!(f, "delete group {name}"),
            Self::AddMember { group_name, name, .. } => write!(f, "add {name} to {group_name}"),
            Self::RemoveMember { group_name, name, .. } => write!(f, "remove {name} from {group_name}"),
        }
    }
}
