//! Held sets: operations that wait for approval.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, Limited, Link, Operation, Pair, Subject};

/// Why operations wait for approval. Each kind has at most one open set for a pair; later ones join it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "limit")]
pub enum ApprovalKind {
    /// Above a safety limit.
    SafetyLimit(Limited),
    /// The first run of a connector on a target.
    FirstRun,
    /// An account or group that existed before usersync, met after the first run.
    Adoption,
    /// An inactive account that usersync did not deactivate.
    Activation,
    /// An administrator's account whose person left.
    ProtectedLeaver,
    /// A member, not added by us, of a group that existed before usersync.
    AdoptedGroup,
}

/// Where one item of a set stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalItemState {
    /// Waits.
    Open,
    /// May be done, once.
    Approved,
    /// Not to be done while it would do the same.
    Rejected,
    /// Was approved and is done.
    Done,
    /// Was approved, and the target refused it for good.
    Refused,
    /// Not needed any more, or its rejection was withdrawn.
    Withdrawn,
}

/// One operation that is to be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApprovalItem {
    /// Why it is held.
    pub kind: ApprovalKind,
    /// What would be done, in one line for people.
    pub what: String,
    /// Distinguishes several of one kind for one subject: `create`, `join:GROUP`, …
    pub key: String,
    /// What would be done, and to which account: a decision stands while it is the same.
    pub fingerprint: String,
}

impl NewApprovalItem {
    /// An operation, under the key that tells it apart from others of its subject.
    pub fn operation(kind: ApprovalKind, operation: &Operation, key: String) -> Self {
        let account = operation.account().map_or("", AccountId::as_str);
        let fingerprint = format!("{key}@{account}");
        Self { kind, what: operation.to_string(), key, fingerprint }
    }

    /// Adopting the account or group with this stable id.
    pub fn adoption(id: &str, what: String) -> Self {
        Self::about(ApprovalKind::Adoption, adoption_key(id), what)
    }

    /// What its key says whole.
    pub fn about(kind: ApprovalKind, key: String, what: String) -> Self {
        let fingerprint = format!("{key}@");
        Self { kind, what, key, fingerprint }
    }

    /// Dropping the link to an account that is gone, so that a new account is created.
    pub fn dropped_link(link: &Link) -> Self {
        let key = format!("drop_link:{}", link.account);
        Self {
            kind: ApprovalKind::SafetyLimit(Limited::DropLink),
            what: format!("drop the link to {}, whose account is gone, and create a new account", link.name),
            fingerprint: format!("{key}@"),
            key,
        }
    }

    /// Whether a decision about `other` is one about this, whatever either is held for.
    pub fn does_the_same(&self, other: &Self) -> bool {
        self.key == other.key && self.fingerprint == other.fingerprint
    }
}

/// The key of an adoption.
pub fn adoption_key(id: &str) -> String {
    format!("adopt:{id}")
}

/// One held operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalItem {
    /// Its id, for approving one by one.
    pub id: i64,
    /// Whose.
    pub subject: Subject,
    /// The operation.
    #[serde(flatten)]
    pub item: NewApprovalItem,
    /// Where it stands.
    pub state: ApprovalItemState,
    /// Since when.
    pub since: Timestamp,
}

/// An operation that the target cannot do: told once, and not sent again while the subject's state at the source is
/// the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// Whose.
    pub subject: Subject,
    /// Which of its operations, as for a held one.
    pub key: String,
    /// The fingerprint of the subject's state at the source.
    pub fingerprint: String,
    /// Why not, and what a person can do.
    pub why: String,
}

impl Unsupported {
    /// The key of a user whose account is protected, so that nothing of it is changed. It is no operation's key.
    pub const PROTECTED: &str = "protected";
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: i64,
    /// Where.
    #[serde(flatten)]
    pub pair: Pair,
    /// Why.
    #[serde(flatten)]
    pub kind: ApprovalKind,
    /// Since when.
    pub since: Timestamp,
    /// Whether it still waits.
    pub open: bool,
    /// What it is about, for sets without items (a first run's numbers); JSON.
    pub summary: serde_json::Value,
    /// Who decided, when, and their note.
    pub decision: Option<String>,
    /// Items that are open.
    pub open_items: i64,
    /// Items whose rejection stands.
    pub rejected_items: i64,
    /// Items in all.
    pub items: i64,
}
