//! What is read at a target.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    AccountId, Operation, TargetGroupId,
    packed::{self, Names, Packable},
};

/// Which server a target is. A clone has the id of its original, so the base URL belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetIdentity {
    /// The server's own id; its address where it has none.
    pub id: String,
    /// The base URL that the server reports, without a slash at its end; `None`: it reports none.
    pub base_url: Option<String>,
}

impl TargetIdentity {
    /// A server that reports this base URL; a text that is not one counts as none.
    pub fn new(id: impl Into<String>, base_url: Option<&str>) -> Self {
        let base_url = base_url.and_then(|text| Url::parse(text.trim()).ok());
        let base_url = base_url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let written = |url: Url| format!("{}{}", url.origin().ascii_serialization(), url.path().trim_end_matches('/'));
        Self { id: id.into(), base_url: base_url.map(written) }
    }

    /// Whether both are one server, as far as they tell: a base URL that one of them lacks does not set them apart.
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
    /// The name shown to people.
    pub display_name: String,
    /// The e-mail address; `None` where the target does not tell.
    pub email: Option<String>,
    /// Further attributes that the policy speaks of, by the target's own names for them; an empty text where it is known
    /// that there is no value, none where this reading did not tell.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
    /// Whether it may sign in.
    pub active: bool,
    /// What lets it sign in, where that is no switch (licensed groups, permissions), in the target's own words.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub access: Vec<String>,
    /// Groups that it is a direct member of; `None` where this reading did not tell.
    pub groups: Option<Vec<TargetGroupId>>,
    /// Why it must not be changed (an administrator's, our own), if so.
    pub protected: Option<String>,
    /// Why it cannot be changed here (a read-only directory, shadowed by another), if so.
    pub immutable: Option<String>,
}

/// A group in a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Its stable id.
    pub id: TargetGroupId,
    /// Its name as the target spells it.
    pub name: String,
    /// Why its members and itself are never touched, if so.
    pub protected: Option<String>,
}

/// Without its groups: who holds many accounts keeps their memberships beside them.
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
    /// What it looks like after an operation on it that took effect.
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
