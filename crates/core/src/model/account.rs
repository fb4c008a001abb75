//! Objects that are read at a target.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    AccountId, Operation, TargetGroupId,
    packed::{self, Names, Packable},
};

/// Identity of a target's server. A clone has the id of its original, so the base URL is part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetIdentity {
    /// The server's own id, or its address if it has none.
    pub id: String,
    /// The base URL that the server reports, without a trailing slash; `None`: it reports none.
    pub base_url: Option<String>,
}

impl TargetIdentity {
    /// Creates the identity of a server that reports this base URL; an invalid URL counts as none.
    pub fn new(id: impl Into<String>, base_url: Option<&str>) -> Self {
        let base_url = base_url.and_then(|text| Url::parse(text.trim()).ok());
        let base_url = base_url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let written = |url: Url| format!("{}{}", url.origin().ascii_serialization(), url.path().trim_end_matches('/'));
        Self { id: id.into(), base_url: base_url.map(written) }
    }

    /// Returns whether both identify the same server. A base URL that one of them lacks is not a difference.
    pub fn is_same(&self, other: &Self) -> bool {
        let differ = self.base_url.as_ref().zip(other.base_url.as_ref()).is_some_and(|(one, other)| one != other);
        self.id == other.id && !differ
    }
}

impl fmt::Display for TargetIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        match &self.base_url {
            Some(url) if *url != self.id => write!(f, " at {url}"),
            _ => Ok(()),
        }
    }
}

/// An account in a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its stable id.
    pub id: AccountId,
    /// Its login.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address; `None`: the target does not show it.
    pub email: Option<String>,
    /// Further attributes in the policy, by the target's own names. An empty text means known to have no value; a
    /// missing entry means not returned by this read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
    /// Whether the account may sign in.
    pub active: bool,
    /// What allows sign-in where there is no switch for it (licensed groups, permissions), in the target's own terms.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub access: Vec<String>,
    /// Groups that it is a direct member of; `None`: not returned by this read.
    pub groups: Option<Vec<TargetGroupId>>,
    /// Why it must not be changed (an administrator's account, usersync's own); `None`: it may be.
    pub protected: Option<String>,
    /// Why it cannot be changed (read-only directory, shadowed by another account); `None`: it can be.
    pub immutable: Option<String>,
}

/// A group in a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Its stable id.
    pub id: TargetGroupId,
    /// Its name in the target's spelling.
    pub name: String,
    /// Why the group and its members are never changed; `None`: they may be.
    pub protected: Option<String>,
}

/// Packed without its groups: a holder of many accounts stores their memberships separately.
impl Packable for Account {
    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn pack(&self, names: &mut Names, out: &mut Vec<u8>) {
        let attributes: Vec<(u32, &String)> =
            self.attributes.iter().map(|(name, value)| (names.number(name), value)).collect();
        let access: Vec<u32> = self.access.iter().map(|one| names.number(one)).collect();
        let mut reason = |why: &Option<String>| why.as_deref().map(|why| names.number(why));
        let refused = (reason(&self.protected), reason(&self.immutable));
        let named = (&self.name, &self.display_name, &self.email);
        packed::write(&(named, (attributes, self.active, access, refused)), out);
    }

    fn unpack(key: &str, bytes: &[u8], names: &Names) -> Self {
        type Named = (String, String, Option<String>);
        type Rest = (Vec<(u32, String)>, bool, Vec<u32>, (Option<u32>, Option<u32>));
        let (named, rest): (Named, Rest) = packed::read(bytes);
        let ((name, display_name, email), (attributes, active, access, (protected, immutable))) = (named, rest);
        let text = |number: u32| names.name(number).to_string();
        Self {
            id: key.into(),
            name,
            display_name,
            email,
            attributes: attributes.into_iter().map(|(number, value)| (text(number), value)).collect(),
            active,
            access: access.into_iter().map(text).collect(),
            groups: None,
            protected: protected.map(text),
            immutable: immutable.map(text),
        }
    }
}

impl Account {
    /// Applies the effect of a completed operation.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::UpdateUser { fields, .. } => {
                if let Some(name) = &fields.display_name {
                    self.display_name.clone_from(name);
                }
                if fields.email.is_some() {
                    self.email.clone_from(&fields.email);
                }
                self.attributes.extend(fields.attributes.clone());
            }
            Operation::RenameUser { to, .. } => self.name.clone_from(to),
            Operation::ActivateUser { gives, .. } => {
                self.active = true;
                self.access.extend(gives.iter().filter(|one| !self.access.contains(one)).cloned().collect::<Vec<_>>());
            }
            Operation::DeactivateUser { .. } => {
                self.active = false;
                self.access.clear();
            }
            Operation::AddMember { group, .. } => {
                if let Some(groups) = self.groups.as_mut().filter(|groups| !groups.contains(group)) {
                    groups.push(group.clone());
                }
            }
            Operation::RemoveMember { group, .. } => {
                if let Some(groups) = self.groups.as_mut() {
                    groups.retain(|present| present != group);
                }
            }
            Operation::CreateUser { .. }
            | Operation::DeleteUser { .. }
            | Operation::AnonymizeUser { .. }
            | Operation::CreateGroup { .. }
            | Operation::RenameGroup { .. }
            | Operation::DeleteGroup { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserFields;

    #[test]
    fn a_server_is_its_id_and_the_base_url_that_it_reports() {
        let server = |url: &str| TargetIdentity::new("A", Some(url));
        let unknown = TargetIdentity::new("A", None);
        let production = server("https://Jira.example.org:443/jira/");
        assert_eq!(production.to_string(), "A at https://jira.example.org/jira");
        assert_eq!((server("jira"), server("ftp://jira.example.org")), (unknown.clone(), unknown.clone()));
        assert!(production.is_same(&server("https://jira.example.org/jira")) && production.is_same(&unknown));
        assert!(unknown.is_same(&production));
        assert!(!production.is_same(&server("https://staging.example.org/jira")));
        assert!(!production.is_same(&TargetIdentity::new("B", Some("https://jira.example.org/jira"))));
    }

    #[test]
    fn an_address_that_is_also_the_id_is_shown_once() {
        let address = "https://jira.example.org/jira";
        assert_eq!(TargetIdentity::new(address, Some(address)).to_string(), address);
        assert_eq!(TargetIdentity::new("A", None).to_string(), "A");
    }

    fn alice() -> Account {
        Account {
            id: "7".into(),
            name: "alice".to_owned(),
            display_name: "Alice".to_owned(),
            email: Some("a@example.org".to_owned()),
            attributes: [("city", "Bonn"), ("dept", "")].map(|(name, value)| (name.into(), value.into())).into(),
            active: true,
            access: vec!["jira-users".to_owned()],
            groups: Some(vec!["g1".into(), "g2".into()]),
            protected: None,
            immutable: None,
        }
    }

    #[test]
    fn a_packed_account_is_restored_without_its_groups() {
        let shared = Some("read-only directory".to_owned());
        let bob = Account {
            id: "1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11".into(),
            name: "bob".to_owned(),
            display_name: String::new(),
            email: None,
            attributes: BTreeMap::new(),
            active: false,
            access: Vec::new(),
            protected: Some("an administrator".to_owned()),
            immutable: shared.clone(),
            ..alice()
        };
        let carol = Account {
            id: "9".into(),
            access: vec!["z-users".to_owned(), "jira-users".to_owned()],
            immutable: shared,
            ..alice()
        };
        let accounts = [alice(), bob, carol];
        let packed: packed::Packed<Account> = accounts.iter().cloned().collect();
        let expected = accounts.map(|account| Account { groups: None, ..account });
        assert_eq!(packed.iter().collect::<Vec<_>>(), expected);
        for account in expected {
            assert_eq!(packed.find(account.id.as_str()), Some(account));
        }
    }

    fn activate(gives: &[&str]) -> Operation {
        let gives = gives.iter().map(|one| (*one).to_owned()).collect();
        Operation::ActivateUser { account: "7".into(), name: "alice".to_owned(), gives }
    }

    fn member(group: &str, adds: bool) -> Operation {
        let (group, group_name) = (group.into(), group.to_owned());
        let (account, name) = ("7".into(), "alice".to_owned());
        if adds {
            Operation::AddMember { group, group_name, account, name }
        } else {
            Operation::RemoveMember { group, group_name, account, name }
        }
    }

    #[test]
    fn a_completed_operation_changes_the_account() {
        let (id, name): (AccountId, _) = ("7".into(), "alice".to_owned());
        let update = |fields| Operation::UpdateUser { account: id.clone(), name: name.clone(), fields };
        let groups = |all: &[&str]| Some(all.iter().map(|group| TargetGroupId::from(*group)).collect());
        let text = |text: &str| Some(text.to_owned());
        let dept = || [("dept".to_owned(), "R&D".to_owned())].into();
        let attributes = [("city", "Bonn"), ("dept", "R&D")].map(|(name, value)| (name.into(), value.into()));
        let access = ["jira-users", "jira-admins"].map(str::to_owned);
        for (operation, expected) in [
            (
                update(UserFields { display_name: text("Alice L."), ..UserFields::default() }),
                Account { display_name: "Alice L.".to_owned(), ..alice() },
            ),
            (
                update(UserFields { email: text("b@example.org"), ..UserFields::default() }),
                Account { email: text("b@example.org"), ..alice() },
            ),
            (
                update(UserFields { attributes: dept(), ..UserFields::default() }),
                Account { attributes: attributes.into(), ..alice() },
            ),
            (
                Operation::RenameUser { account: id.clone(), name: name.clone(), to: "alice2".to_owned() },
                Account { name: "alice2".to_owned(), ..alice() },
            ),
            (activate(&["jira-users", "jira-admins"]), Account { access: access.into(), ..alice() }),
            (
                Operation::DeactivateUser { account: id.clone(), name: name.clone(), takes: Vec::new() },
                Account { active: false, access: Vec::new(), ..alice() },
            ),
            (member("g3", true), Account { groups: groups(&["g1", "g2", "g3"]), ..alice() }),
            (member("g2", true), alice()),
            (member("g1", false), Account { groups: groups(&["g2"]), ..alice() }),
            (member("g3", false), alice()),
            (Operation::DeleteUser { account: id.clone(), name: name.clone() }, alice()),
            (Operation::CreateGroup { name: name.clone() }, alice()),
        ] {
            let mut account = alice();
            account.apply(&operation);
            assert_eq!(account, expected, "{operation}");
        }
    }

    #[test]
    fn an_activated_account_may_sign_in() {
        let mut account = Account { active: false, access: Vec::new(), ..alice() };
        account.apply(&activate(&["jira-users"]));
        assert_eq!(account, alice());
    }

    #[test]
    fn groups_that_were_not_read_stay_unknown() {
        let unread = Account { groups: None, ..alice() };
        for operation in [member("g1", true), member("g1", false)] {
            let mut account = unread.clone();
            account.apply(&operation);
            assert_eq!(account, unread, "{operation}");
        }
    }
}
