//! Approvals: operations that wait for an operator's decision.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, Limited, Link, Operation, Pair, Subject};

/// Why operations wait for approval. Each kind has at most one open approval for a pair; later operations are added to
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "limit")]
pub enum ApprovalKind {
    /// Above a safety limit.
    SafetyLimit(Limited),
    /// The first run of a connector on a target.
    FirstRun,
    /// An account or group that existed before usersync, found after the first run.
    Adoption,
    /// An inactive account that usersync did not deactivate.
    Activation,
    /// An administrator's account with a user that left.
    ProtectedLeaver,
    /// A member of a group that existed before usersync, not added by usersync.
    AdoptedGroup,
    /// A removal for a user of a federation provider that can no longer confirm it.
    Federation,
}

/// The state of one item of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalItemState {
    /// It waits for a decision.
    Open,
    /// It may be done, once.
    Approved,
    /// It must not be done while it would do the same.
    Rejected,
    /// It was approved and is done.
    Done,
    /// It was approved, and the target refused it permanently.
    Refused,
    /// It is not needed any more, or its rejection was withdrawn.
    Withdrawn,
}

/// One operation to be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApprovalItem {
    /// Why it is held.
    pub kind: ApprovalKind,
    /// The operation, in one line of text.
    pub what: String,
    /// Distinguishes several operations of one kind for one subject: `create`, `add_member:GROUP`, …
    pub key: String,
    /// The operation and its account: a decision stands while this is the same.
    pub fingerprint: String,
}

impl NewApprovalItem {
    /// Creates an item for an operation, with the key that distinguishes it from others of its subject.
    pub fn operation(kind: ApprovalKind, operation: &Operation, key: String) -> Self {
        let account = operation.account().map_or("", AccountId::as_str);
        let fingerprint = format!("{key}@{account}");
        Self { kind, what: operation.to_string(), key, fingerprint }
    }

    /// Creates an item for the adoption of the account or group with this stable id.
    pub fn adoption(id: &str, what: String) -> Self {
        Self::about(ApprovalKind::Adoption, adoption_key(id), what)
    }

    /// Creates an item that its key describes completely.
    pub fn about(kind: ApprovalKind, key: String, what: String) -> Self {
        let fingerprint = format!("{key}@");
        Self { kind, what, key, fingerprint }
    }

    /// Creates an item for dropping the link to an account that is gone, so that a new account is created.
    pub fn dropped_link(link: &Link) -> Self {
        let key = format!("drop_link:{}", link.account);
        Self {
            kind: ApprovalKind::SafetyLimit(Limited::DropLink),
            what: format!("drop the link to {}, whose account is gone, and create a new account", link.name),
            fingerprint: format!("{key}@"),
            key,
        }
    }

    /// Returns whether a decision about `other` also applies to this item, whatever either is held for.
    pub fn does_the_same(&self, other: &Self) -> bool {
        self.key == other.key && self.fingerprint == other.fingerprint
    }
}

/// Returns the key of an adoption.
pub fn adoption_key(id: &str) -> String {
    format!("adopt:{id}")
}

/// One held operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalItem {
    /// Its id, for approving single items.
    pub id: i64,
    /// The subject.
    pub subject: Subject,
    /// The operation.
    #[serde(flatten)]
    pub item: NewApprovalItem,
    /// The state.
    pub state: ApprovalItemState,
    /// When it was held.
    pub since: Timestamp,
}

/// An operation that the target does not support. It is reported once, and not sent again while the subject's state at
/// the source is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// The subject.
    pub subject: Subject,
    /// The key of the operation, as for a held one.
    pub key: String,
    /// The fingerprint of the subject's state at the source.
    pub fingerprint: String,
    /// Why it is unsupported, and what an operator can do.
    pub why: String,
}

impl Unsupported {
    /// Key of a user with a protected account, which is not changed at all. It is not the key of an operation.
    pub const PROTECTED: &str = "protected";
    /// Key of a user that is not changed, because the rules for the scope cannot be applied to it. It is not the key of
    /// an operation.
    pub const UNDECIDED: &str = "undecided";
    /// Key of a user who gets no account, such as one without an e-mail address where the target requires it. It is not
    /// the key of an operation.
    pub const NO_ACCOUNT: &str = "no_account";
    /// The keys that are not those of operations.
    pub const STATES: [&str; 3] = [Self::PROTECTED, Self::UNDECIDED, Self::NO_ACCOUNT];
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: i64,
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// Why its operations wait.
    #[serde(flatten)]
    pub kind: ApprovalKind,
    /// When it was requested.
    pub since: Timestamp,
    /// Whether it still waits.
    pub open: bool,
    /// Its content if it has no items (the numbers of a first run); JSON.
    pub summary: serde_json::Value,
    /// The operator who decided, when, and the note; `None`: not decided.
    pub decision: Option<String>,
    /// Number of open items.
    pub open_items: i64,
    /// Number of items with a rejection that stands.
    pub rejected_items: i64,
    /// Total number of items.
    pub items: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: ApprovalKind, what: &str, key: &str, fingerprint: &str) -> NewApprovalItem {
        NewApprovalItem { kind, what: what.to_owned(), key: key.to_owned(), fingerprint: fingerprint.to_owned() }
    }

    #[test]
    fn the_fingerprint_of_an_operation_is_its_key_and_its_account() {
        let kind = ApprovalKind::SafetyLimit(Limited::Delete);
        let delete = Operation::DeleteUser { account: "7".into(), name: "alice".to_owned() };
        assert_eq!(
            NewApprovalItem::operation(kind, &delete, "delete".to_owned()),
            item(kind, "delete alice", "delete", "delete@7")
        );
        let create = Operation::CreateGroup { name: "Engineers".to_owned() };
        assert_eq!(
            NewApprovalItem::operation(ApprovalKind::FirstRun, &create, "create_group".to_owned()),
            item(ApprovalKind::FirstRun, "create group Engineers", "create_group", "create_group@")
        );
    }

    #[test]
    fn an_adoption_is_identified_by_the_id_of_the_account_or_group() {
        assert_eq!(adoption_key("7"), "adopt:7");
        assert_eq!(
            NewApprovalItem::adoption("7", "adopt alice".to_owned()),
            item(ApprovalKind::Adoption, "adopt alice", "adopt:7", "adopt:7@")
        );
    }

    #[test]
    fn an_item_without_an_operation_is_identified_by_its_key() {
        assert_eq!(
            NewApprovalItem::about(ApprovalKind::ProtectedLeaver, "leaver".to_owned(), "alice left".to_owned()),
            item(ApprovalKind::ProtectedLeaver, "alice left", "leaver", "leaver@")
        );
    }

    #[test]
    fn a_dropped_link_counts_towards_its_own_safety_limit() {
        assert_eq!(
            NewApprovalItem::dropped_link(&Link::new("u1".into(), "7".into(), "alice")),
            item(
                ApprovalKind::SafetyLimit(Limited::DropLink),
                "drop the link to alice, whose account is gone, and create a new account",
                "drop_link:7",
                "drop_link:7@"
            )
        );
    }

    #[test]
    fn a_decision_applies_to_the_same_operation_on_the_same_account() {
        let decided = item(ApprovalKind::FirstRun, "delete alice", "delete", "delete@7");
        for (key, fingerprint, applies) in [
            ("delete", "delete@7", true),
            ("delete", "delete@8", false),
            ("rename", "delete@7", false),
            ("rename", "rename@8", false),
        ] {
            let other = item(ApprovalKind::Activation, "another text", key, fingerprint);
            assert_eq!(other.does_the_same(&decided), applies, "{key} {fingerprint}");
            assert_eq!(decided.does_the_same(&other), applies, "{key} {fingerprint}");
        }
    }
}
