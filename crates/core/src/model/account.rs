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
            | Operation::CreateGroup { .. }
            | Operation::RenameGroup { .. }
            | Operation::DeleteGroup { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
