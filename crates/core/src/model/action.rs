//! The entries of a plan: writes to a target, and links to existing accounts and groups.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Account, AccountId, GroupState, Operation, TargetGroup, TargetGroupId, UserState};

/// One side of a link: a user at the source, or an account at a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Its stable id.
    pub id: String,
    /// Its login.
    pub login: String,
    /// Its full name; `None` where there is none.
    pub name: Option<String>,
    /// Its e-mail address; `None` where there is none, or the target does not show it.
    pub email: Option<String>,
}

/// An entry about a link to an existing account or group, without a write to the target; also the addition of an
/// account that the plan creates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Linking {
    /// Link a user to an account that existed before usersync.
    AdoptUser {
        /// The user at the source.
        user: Party,
        /// The account at the target.
        account: Party,
    },
    /// Move the link of a deleted user to its recreated user.
    RelinkUser {
        /// The new user at the source.
        user: Party,
        /// The account at the target; `None` in a plan, where it is not known yet.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        account: Option<Party>,
    },
    /// Drop the link to an account that is gone.
    DropLink {
        /// The account's id.
        account: AccountId,
        /// Its login as last seen.
        name: String,
    },
    /// Manage a group that existed before usersync.
    AdoptGroup {
        /// The group's path at the source.
        path: String,
        /// The group at the target.
        group: TargetGroupId,
        /// Its name there.
        name: String,
    },
    /// Add an account to a group, where the same plan creates the account, so that it has no id yet.
    #[serde(rename = "add_member")]
    AddCreated {
        /// The group.
        group: TargetGroupId,
        /// The group's name.
        group_name: String,
        /// The login that the account will have.
        name: String,
    },
}

/// One entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Action {
    /// A write to the target.
    Write(Operation),
    /// A link.
    Link(Linking),
}

impl Party {
    /// Returns the user's side.
    pub fn user(user: &UserState) -> Self {
        let names = [&user.first_name, &user.last_name].into_iter().flatten().map(String::as_str);
        let name = names.collect::<Vec<_>>().join(" ");
        Self {
            id: user.id.to_string(),
            login: user.username.clone(),
            name: (!name.is_empty()).then_some(name),
            email: user.email.clone(),
        }
    }

    /// Returns the account's side.
    pub fn account(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            login: account.name.clone(),
            name: (!account.display_name.is_empty()).then(|| account.display_name.clone()),
            email: account.email.clone(),
        }
    }
}

impl Action {
    /// Returns the action that links this user to this account.
    pub fn adopt(user: &UserState, account: &Account) -> Self {
        Self::Link(Linking::AdoptUser { user: Party::user(user), account: Party::account(account) })
    }

    /// Returns the action that moves a deleted user's link to this user.
    pub fn relink(user: &UserState, account: Option<&Account>) -> Self {
        Self::Link(Linking::RelinkUser { user: Party::user(user), account: account.map(Party::account) })
    }

    /// Returns the action that manages this group for the source group.
    pub fn adopt_group(source: &GroupState, group: &TargetGroup) -> Self {
        Self::Link(Linking::AdoptGroup { path: source.path.clone(), group: group.id.clone(), name: group.name.clone() })
    }

    /// Returns the verb under which the action is counted.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Write(operation) => operation.verb(),
            Self::Link(Linking::AdoptUser { .. }) => "adopt",
            Self::Link(Linking::RelinkUser { .. }) => "relink",
            Self::Link(Linking::DropLink { .. }) => "drop_link",
            Self::Link(Linking::AdoptGroup { .. }) => "adopt_group",
            Self::Link(Linking::AddCreated { .. }) => "add_member",
        }
    }

    /// Returns the write; `None`: the action is a link.
    pub fn operation(&self) -> Option<&Operation> {
        match self {
            Self::Write(operation) => Some(operation),
            Self::Link(_) => None,
        }
    }
}

impl From<Operation> for Action {
    fn from(operation: Operation) -> Self {
        Self::Write(operation)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("no name");
        let email = self.email.as_deref().unwrap_or("no e-mail");
        write!(f, "{} ({name}, {email})", self.login)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(operation) => operation.fmt(f),
            Self::Link(Linking::AdoptUser { user, account }) => write!(f, "adopt {account} for user {user}"),
            Self::Link(Linking::RelinkUser { user, account: None }) => write!(f, "relink user {user}"),
            Self::Link(Linking::RelinkUser { user, account: Some(account) }) => {
                write!(f, "relink {account} to user {user}")
            }
            Self::Link(Linking::DropLink { name, .. }) => write!(f, "drop the link to {name}"),
            Self::Link(Linking::AdoptGroup { path, name, .. }) => write!(f, "adopt group {name} for {path}"),
            Self::Link(Linking::AddCreated { group_name, name, .. }) => write!(f, "add {name} to {group_name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_and_a_write_are_told_apart_when_they_are_read_back() {
        let added = Linking::AddCreated { group: "eng".into(), group_name: "Eng".into(), name: "alice".into() };
        let write = Operation::AddMember {
            group: "eng".into(),
            group_name: "Eng".into(),
            account: "1".into(),
            name: "alice".into(),
        };
        for action in [Action::Link(added), Action::Write(write)] {
            let text = serde_json::to_string(&action).expect("written");
            assert!(text.contains(r#""do":"add_member""#), "{text}");
            assert_eq!(serde_json::from_str::<Action>(&text).expect("read"), action);
            assert_eq!(action.verb(), "add_member");
        }
    }
}
