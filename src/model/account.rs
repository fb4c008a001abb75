//! What is read at a target.

use serde::{Deserialize, Serialize};

use super::{AccountId, TargetGroupId};

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
    /// Whether it may sign in.
    pub active: bool,
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
