//! The entries of a plan: writes to a target, and links to existing accounts and groups.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Account, AccountId, GroupState, Link, MatchedBy, Operation, TargetGroup, TargetGroupId, UserState};

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
        /// How the account was found.
        #[serde(default)]
        matched_by: MatchedBy,
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
    /// Returns the action that links this user to this account, which was found in this way.
    pub fn adopt(user: &UserState, account: &Account, matched_by: MatchedBy) -> Self {
        Self::Link(Linking::AdoptUser { user: Party::user(user), account: Party::account(account), matched_by })
    }

    /// Returns the action that moves a deleted user's link to this user.
    pub fn relink(user: &UserState, account: Option<&Account>) -> Self {
        Self::Link(Linking::RelinkUser { user: Party::user(user), account: account.map(Party::account) })
    }

    /// Returns the action that drops the link of an account that is gone.
    pub fn drop_link(link: &Link) -> Self {
        Self::Link(Linking::DropLink { account: link.account.clone(), name: link.name.clone() })
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
            Self::Link(Linking::AdoptUser { user, account, matched_by: MatchedBy::Login }) => {
                write!(f, "adopt {account} for user {user}")
            }
            Self::Link(Linking::AdoptUser { user, account, matched_by: MatchedBy::Operator }) => {
                write!(f, "adopt {account} for user {user}, as an operator requested")
            }
            Self::Link(Linking::AdoptUser { user, account, matched_by }) => {
                write!(f, "adopt {account} for user {user}, matched by {matched_by}")
            }
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{UserOrganizations, UserRoles};

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

    fn user(first_name: Option<&str>, last_name: Option<&str>, email: Option<&str>) -> UserState {
        UserState {
            id: "u1".into(),
            username: "ada".to_owned(),
            first_name: first_name.map(str::to_owned),
            last_name: last_name.map(str::to_owned),
            email: email.map(str::to_owned),
            email_verified: Some(false),
            enabled: true,
            federation_link: None,
            attributes: BTreeMap::new(),
            groups: Vec::new(),
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        }
    }

    fn account(display_name: &str, email: Option<&str>) -> Account {
        Account {
            id: "7".into(),
            name: "alove".to_owned(),
            display_name: display_name.to_owned(),
            email: email.map(str::to_owned),
            attributes: BTreeMap::new(),
            active: true,
            access: Vec::new(),
            groups: None,
            protected: None,
            immutable: None,
        }
    }

    fn party(id: &str, login: &str, name: Option<&str>, email: Option<&str>) -> Party {
        let (name, email) = (name.map(str::to_owned), email.map(str::to_owned));
        Party { id: id.to_owned(), login: login.to_owned(), name, email }
    }

    #[test]
    fn a_user_is_shown_with_its_full_name() {
        for (first_name, last_name, name) in [
            (Some("Ada"), Some("Lovelace"), Some("Ada Lovelace")),
            (Some("Ada"), None, Some("Ada")),
            (None, Some("Lovelace"), Some("Lovelace")),
            (None, None, None),
        ] {
            let user = user(first_name, last_name, Some("ada@example.org"));
            assert_eq!(Party::user(&user), party("u1", "ada", name, Some("ada@example.org")));
        }
    }

    #[test]
    fn an_account_is_shown_with_its_display_name() {
        for (display_name, email, name) in
            [("A. Lovelace", None, Some("A. Lovelace")), ("", Some("a@example.org"), None)]
        {
            assert_eq!(Party::account(&account(display_name, email)), party("7", "alove", name, email));
        }
    }

    #[test]
    fn a_missing_name_or_address_is_stated() {
        for (name, email, text) in [
            (Some("Ada Lovelace"), Some("ada@example.org"), "ada (Ada Lovelace, ada@example.org)"),
            (None, Some("ada@example.org"), "ada (no name, ada@example.org)"),
            (Some("Ada Lovelace"), None, "ada (Ada Lovelace, no e-mail)"),
        ] {
            assert_eq!(party("u1", "ada", name, email).to_string(), text);
        }
    }

    #[test]
    fn each_kind_of_action_has_a_verb_and_a_line_of_text() {
        let (ada, alove) = (user(Some("Ada"), None, None), account("A. Lovelace", None));
        let eng = GroupState::new("s1".into(), "eng".to_owned(), "/acme/eng".to_owned());
        let group = TargetGroup { id: "g1".into(), name: "Engineers".to_owned(), protected: None };
        let delete = Operation::DeleteUser { account: "7".into(), name: "alove".to_owned() };
        let (group_name, name) = ("Engineers".to_owned(), "ada".to_owned());
        for (action, verb, text) in [
            (
                Action::adopt(&ada, &alove, MatchedBy::Login),
                "adopt",
                "adopt alove (A. Lovelace, no e-mail) for user ada (Ada, no e-mail)",
            ),
            (
                Action::adopt(&ada, &alove, MatchedBy::Email),
                "adopt",
                "adopt alove (A. Lovelace, no e-mail) for user ada (Ada, no e-mail), matched by e-mail address",
            ),
            (
                Action::adopt(&ada, &alove, MatchedBy::Operator),
                "adopt",
                "adopt alove (A. Lovelace, no e-mail) for user ada (Ada, no e-mail), as an operator requested",
            ),
            (Action::relink(&ada, None), "relink", "relink user ada (Ada, no e-mail)"),
            (
                Action::relink(&ada, Some(&alove)),
                "relink",
                "relink alove (A. Lovelace, no e-mail) to user ada (Ada, no e-mail)",
            ),
            (
                Action::Link(Linking::DropLink { account: "7".into(), name: "alove".to_owned() }),
                "drop_link",
                "drop the link to alove",
            ),
            (Action::adopt_group(&eng, &group), "adopt_group", "adopt group Engineers for /acme/eng"),
            (
                Action::Link(Linking::AddCreated { group: "g1".into(), group_name, name }),
                "add_member",
                "add ada to Engineers",
            ),
            (Action::from(delete), "delete", "delete alove"),
        ] {
            assert_eq!((action.verb(), action.to_string().as_str()), (verb, text));
        }
    }

    #[test]
    fn only_a_write_has_an_operation() {
        let delete = Operation::DeleteUser { account: "7".into(), name: "alove".to_owned() };
        assert_eq!(Action::from(delete.clone()).operation(), Some(&delete));
        assert_eq!(Action::relink(&user(None, None, None), None).operation(), None);
    }
}
