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
    /// Remove the personal data of an account, which cannot be undone. The account is gone afterwards.
    AnonymizeUser {
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
            Self::AnonymizeUser { .. } => "anonymize",
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
            Self::DeleteUser { .. } | Self::AnonymizeUser { .. } => Some(Limited::Delete),
            Self::RenameUser { .. } => Some(Limited::Rename),
            Self::UpdateUser { fields, .. } if fields.email.is_some() => Some(Limited::ChangeEmail),
            Self::UpdateUser { fields, .. } if fields.clears() => Some(Limited::ClearAttributes),
            Self::RenameGroup { .. } => Some(Limited::RenameGroup),
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
            | Self::AnonymizeUser { .. }
            | Self::DeleteGroup { .. }
            | Self::RemoveMember { .. } => true,
            _ => false,
        }
    }

    /// Returns whether the account is gone afterwards.
    pub fn ends_account(&self) -> bool {
        matches!(self, Self::DeleteUser { .. } | Self::AnonymizeUser { .. })
    }

    /// Returns the existing account that the operation changes, if any.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::UpdateUser { account, .. }
            | Self::RenameUser { account, .. }
            | Self::ActivateUser { account, .. }
            | Self::DeactivateUser { account, .. }
            | Self::DeleteUser { account, .. }
            | Self::AnonymizeUser { account, .. }
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
            Self::AnonymizeUser { name, .. } => write!(f, "anonymize {name}"),
            Self::CreateGroup { name } => write!(f, "create group {name}"),
            Self::RenameGroup { name, to, .. } => write!(f, "rename group {name} → {to}"),
            Self::DeleteGroup { name, .. } => write!(f, "delete group {name}"),
            Self::AddMember { group_name, name, .. } => write!(f, "add {name} to {group_name}"),
            Self::RemoveMember { group_name, name, .. } => write!(f, "remove {name} from {group_name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(display_name: Option<&str>, email: Option<&str>, attributes: &[(&str, &str)]) -> UserFields {
        UserFields {
            display_name: display_name.map(str::to_owned),
            email: email.map(str::to_owned),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn update(fields: UserFields) -> Operation {
        Operation::UpdateUser { account: "7".into(), name: "alice".to_owned(), fields }
    }

    /// One operation of each kind, with grants and revocations where they exist.
    fn all() -> [Operation; 12] {
        let (account, group): (AccountId, TargetGroupId) = ("7".into(), "g1".into());
        let (name, group_name) = ("alice".to_owned(), "Engineers".to_owned());
        let both = || vec!["jira-users".to_owned(), "jira-admins".to_owned()];
        [
            Operation::CreateUser { name: name.clone(), fields: UserFields::default(), external_id: None },
            update(fields(Some("Alice"), None, &[])),
            Operation::RenameUser { account: account.clone(), name: name.clone(), to: "alice2".to_owned() },
            Operation::ActivateUser { account: account.clone(), name: name.clone(), gives: both() },
            Operation::DeactivateUser { account: account.clone(), name: name.clone(), takes: both() },
            Operation::DeleteUser { account: account.clone(), name: name.clone() },
            Operation::AnonymizeUser { account: account.clone(), name: name.clone() },
            Operation::CreateGroup { name: group_name.clone() },
            Operation::RenameGroup { group: group.clone(), name: group_name.clone(), to: "Makers".to_owned() },
            Operation::DeleteGroup { group: group.clone(), name: group_name.clone() },
            Operation::AddMember {
                group: group.clone(),
                group_name: group_name.clone(),
                account: account.clone(),
                name: name.clone(),
            },
            Operation::RemoveMember { group, group_name, account, name },
        ]
    }

    #[test]
    fn fields_are_listed_by_their_display_names() {
        let table: [(UserFields, &[&str]); 6] = [
            (fields(None, None, &[]), &[]),
            (fields(Some("Alice"), None, &[]), &["display name"]),
            (fields(None, Some("a@example.org"), &[]), &["e-mail"]),
            (fields(None, None, &[("dept", "R&D")]), &["dept"]),
            (fields(Some(""), Some(""), &[]), &["display name", "e-mail"]),
            (
                fields(Some("Alice"), Some("a@example.org"), &[("dept", ""), ("city", "Bonn")]),
                &["display name", "e-mail", "city", "dept"],
            ),
        ];
        for (fields, names) in table {
            assert_eq!(fields.names(), names);
            assert_eq!(fields.is_empty(), names.is_empty(), "{names:?}");
        }
    }

    #[test]
    fn an_empty_attribute_value_clears_the_attribute() {
        assert!(fields(None, None, &[("dept", "")]).clears());
        assert!(fields(None, None, &[("city", "Bonn"), ("dept", "")]).clears());
        assert!(!fields(None, None, &[("city", "Bonn")]).clears());
        assert!(!fields(Some(""), Some(""), &[]).clears());
    }

    #[test]
    fn each_kind_of_operation_has_a_verb_and_a_line_of_text() {
        let expected = [
            ("create", "create alice"),
            ("update", "update alice: display name"),
            ("rename", "rename alice → alice2"),
            ("activate", "activate alice: grant jira-users, jira-admins"),
            ("deactivate", "deactivate alice: revoke jira-users, jira-admins"),
            ("delete", "delete alice"),
            ("anonymize", "anonymize alice"),
            ("create_group", "create group Engineers"),
            ("rename_group", "rename group Engineers → Makers"),
            ("delete_group", "delete group Engineers"),
            ("add_member", "add alice to Engineers"),
            ("remove_member", "remove alice from Engineers"),
        ];
        for (operation, (verb, text)) in all().into_iter().zip(expected) {
            assert_eq!((operation.verb(), operation.to_string().as_str()), (verb, text));
        }
    }

    #[test]
    fn an_update_names_the_fields_that_it_writes() {
        for (fields, text) in [
            (fields(None, None, &[]), "update alice: nothing"),
            (fields(None, Some("a@example.org"), &[]), "update alice: e-mail"),
            (fields(Some("Alice"), Some("a@example.org"), &[]), "update alice: display name and e-mail"),
            (
                fields(Some("Alice"), Some("a@example.org"), &[("dept", "R&D")]),
                "update alice: display name, e-mail and dept",
            ),
        ] {
            assert_eq!(update(fields).to_string(), text);
        }
    }

    #[test]
    fn a_switch_that_grants_and_revokes_nothing_is_only_named() {
        let (account, name): (AccountId, _) = ("7".into(), "alice".to_owned());
        let activate = Operation::ActivateUser { account: account.clone(), name: name.clone(), gives: Vec::new() };
        let deactivate = Operation::DeactivateUser { account, name, takes: Vec::new() };
        assert_eq!(
            (activate.to_string(), deactivate.to_string()),
            ("activate alice".into(), "deactivate alice".into())
        );
    }

    #[test]
    fn harmful_operations_count_towards_a_safety_limit() {
        let expected = [
            None,
            None,
            Some(Limited::Rename),
            None,
            Some(Limited::Deactivate),
            Some(Limited::Delete),
            Some(Limited::Delete),
            None,
            Some(Limited::RenameGroup),
            Some(Limited::DeleteGroup),
            None,
            Some(Limited::RemoveMember),
        ];
        for (operation, limited) in all().into_iter().zip(expected) {
            assert_eq!(operation.limited(), limited, "{operation}");
        }
        for (fields, limited) in [
            (fields(None, None, &[]), None),
            (fields(Some("Alice"), None, &[("dept", "R&D")]), None),
            (fields(None, Some("a@example.org"), &[]), Some(Limited::ChangeEmail)),
            (fields(None, None, &[("dept", "")]), Some(Limited::ClearAttributes)),
            (fields(None, Some("a@example.org"), &[("dept", "")]), Some(Limited::ChangeEmail)),
        ] {
            let operation = update(fields);
            assert_eq!(operation.limited(), limited, "{operation}");
        }
    }

    #[test]
    fn operations_that_remove_access_or_data_are_known() {
        let removing: Vec<_> = all().iter().filter(|operation| operation.removes()).map(Operation::verb).collect();
        assert_eq!(removing, ["deactivate", "delete", "anonymize", "delete_group", "remove_member"]);
        let ending: Vec<_> = all().iter().filter(|operation| operation.ends_account()).map(Operation::verb).collect();
        assert_eq!(ending, ["delete", "anonymize"]);
        assert!(update(fields(None, None, &[("dept", "")])).removes());
        assert!(!update(fields(None, Some("a@example.org"), &[("dept", "R&D")])).removes());
    }

    #[test]
    fn an_operation_names_the_existing_account_that_it_changes() {
        for operation in all() {
            let verb = operation.verb();
            let expected =
                (!matches!(verb, "create" | "create_group" | "rename_group" | "delete_group")).then_some("7");
            assert_eq!(operation.account().map(AccountId::as_str), expected, "{verb}");
        }
    }
}
