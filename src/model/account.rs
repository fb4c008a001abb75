//! What is read at a target.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AccountId, Operation, TargetGroupId};

/// Who a target is: its server's own id, else its base URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetIdentity(pub String);

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
