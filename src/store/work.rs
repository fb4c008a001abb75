//! The records of work in progress: claims, steps, intents, and what a worker writes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::OrderEnd;
use crate::model::{
    About, AccountId, ApprovalItem, Cause, ChangeOutcome, ConnectorName, ErrorClass, GroupId, IntentId, Link,
    ManagedGroup, ObservationSeq, Operation, Pair, Subject, TargetGroupId, Token, Unsupported, UserId,
};

/// A claimed task, with all that the store knows about its subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The claim's token, checked by every transaction.
    pub token: Token,
    /// The pair.
    pub pair: Pair,
    /// The subject.
    pub subject: Subject,
    /// The claimed generation; 0: a run claimed the subject without a task.
    pub generation: i64,
    /// Number of failed attempts so far.
    pub attempts: u32,
    /// The first cause of the task.
    pub cause: Cause,
    /// When the cause was received; the latency is measured from it.
    pub caused_at: Timestamp,
    /// The user's link. Its account is claimed too.
    pub link: Option<Link>,
    /// Links that were dropped because their accounts were gone, newest first; only for a user without a link.
    pub dropped: Vec<Link>,
    /// Open intents of the subject or of its account, left by claims that ended. Their requests can no longer arrive.
    pub intents: Vec<OpenIntent>,
    /// Approval items of the subject that an operator decided. A decision stands while the fingerprint is the same. An
    /// approved item may be done once.
    pub decided: Vec<ApprovalItem>,
    /// Operations that the target does not support for the subject; not sent again while its state at the source is the
    /// same.
    pub unsupported: Vec<Unsupported>,
    /// The operator's order about the user's link, if it is not carried out yet.
    pub order: Option<LinkOrder>,
    /// Whether the link was created with the previous server and not compared since another one was confirmed. Such a
    /// link stands only if its account has the same login.
    pub unconfirmed: bool,
    /// The account whose link to the user an operator removed. It is not adopted without an approval.
    pub unlinked: Option<AccountId>,
    /// Whether another subject waits for this one. The account of a deleted user then gives up its login.
    pub wanted: bool,
}

/// Result of a complete read of a group's members, kept so that a later run only has to count them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersRead {
    /// The group.
    pub group: TargetGroupId,
    /// Its members, except those that usersync granted it through links of the pair.
    pub others: Vec<AccountId>,
    /// When the read began.
    pub at: Timestamp,
}

/// A source group at another place than recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedGroup {
    /// The group.
    pub group: GroupId,
    /// The recorded path; `None`: none was recorded.
    pub from: Option<String>,
    /// Its path.
    pub to: String,
}

/// An operator's order about a user's link. The next worker on the user carries it out, after it has re-read both
/// sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOrder {
    /// The user.
    pub user: UserId,
    /// The account to link to the user; `None`: remove the link.
    pub account: Option<AccountId>,
    /// The operator.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// How the order ended; `None`: not carried out yet.
    pub ended: Option<OrderEnd>,
    /// The account whose link an order removed; cleared when an order creates another link.
    pub unlinked: Option<AccountId>,
}

/// An operator's order to contact a source or target at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactOrder {
    /// The source or target.
    pub about: About,
    /// The operator.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// How the order ended: [`OrderEnd::Done`] if the source or target answered; `None`: not carried out yet.
    pub ended: Option<OrderEnd>,
}

/// An operation that is stored before it is sent (rule: an open intent locks its subject and account).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenIntent {
    /// The intent's id.
    pub id: IntentId,
    /// The pair.
    pub pair: Pair,
    /// The subject of the task.
    pub subject: Subject,
    /// The operation to send.
    pub operation: Operation,
    /// The state before the operation, for the change record.
    pub before: serde_json::Value,
    /// The cause of the operation.
    pub cause: Cause,
    /// When the cause was received.
    pub caused_at: Option<Timestamp>,
    /// Whether an operator approved it.
    pub approved: bool,
    /// Until when its request can arrive. It is not sent after this time.
    pub arrives_until: Timestamp,
}

/// An operation to be sent next.
#[derive(Clone, Debug, PartialEq)]
pub struct NewIntent {
    /// The operation.
    pub operation: Operation,
    /// The state before the operation, for the change record.
    pub before: serde_json::Value,
    /// Until when its request can arrive: the call's deadline and a margin.
    pub arrives_until: Timestamp,
    /// Hourly limit of its kind; above it, the operation is held. `None`: unlimited or approved.
    pub limit: Option<u32>,
    /// The approval item that allows it; used up once it took effect or was permanently refused.
    pub approved_by: Option<i64>,
}

/// Outcome of an intent; recorded as its change.
#[derive(Clone, Debug, PartialEq)]
pub struct IntentOutcome {
    /// The intent.
    pub intent: IntentId,
    /// How it ended.
    pub outcome: ChangeOutcome,
}

/// A write to a link.
#[expect(clippy::large_enum_variant, reason = "one at a time, moved once")]
#[derive(Clone, Debug, PartialEq)]
pub enum LinkWrite {
    /// Write the link as given. A link to a new account claims that account too.
    Put(Link),
    /// Remove the link: its account is gone.
    Remove,
    /// Drop the link: on a confirmed server, the account with its id has another login. A change is recorded.
    Unconfirmed {
        /// The reason.
        why: String,
    },
    /// Drop the link: its account is confirmed to be gone. A change is recorded. The link is kept unchanged for an
    /// account that comes back, see [`Claimed::dropped`].
    Drop {
        /// The reason.
        why: String,
        /// Hourly limit; `None`: unlimited or approved. Above it, the link is not dropped.
        limit: Option<u32>,
        /// The approval item that allows it; used up by the drop.
        approved_by: Option<i64>,
    },
}

/// Origin of the name that is written for a target's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFrom {
    /// The name was just read at the target, or just given to the group.
    Target,
    /// The name was already stored. If the group was renamed since, the new name stands and the source group is
    /// re-read.
    Store,
}

/// A write to a group mapping.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupWrite {
    /// Map the source group to this managed group, which is created if it is missing. A group that it fed before loses
    /// it as a source.
    Manage {
        /// The source group.
        source: GroupId,
        /// Its name at the source. The target may spell it differently.
        name: String,
        /// The target's group; `sources` is ignored.
        group: ManagedGroup,
        /// Origin of the group's name.
        named: NameFrom,
        /// Whether several source groups may feed it under this name.
        shared: bool,
    },
    /// Record that the source group feeds no group. A group that it fed before loses it as a source.
    Unmap {
        /// The source group.
        source: GroupId,
        /// Its name.
        name: String,
        /// The reason.
        why: String,
    },
    /// Forget a deleted source group. A group that it fed loses it as a source.
    Forget {
        /// The source group.
        source: GroupId,
    },
}

impl GroupWrite {
    /// Returns the source group.
    pub fn source(&self) -> &GroupId {
        match self {
            Self::Manage { source, .. } | Self::Unmap { source, .. } | Self::Forget { source } => source,
        }
    }
}

/// One step of a worker: records the outcomes of intents, writes what the worker learned, and stores the next intents.
/// It is all or nothing (rule: an ended claim writes nothing).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Intents with a known outcome, answered or recovered. Each leaves its change and records an observation. A
    /// successful rename or deletion of a user makes the tasks ready that wait for this subject.
    pub resolved: Vec<IntentOutcome>,
    /// The write to the user's link.
    pub link: Option<LinkWrite>,
    /// The write to the group mapping. It raises the tasks of all claimed subjects of the pair: their claims may have
    /// planned with the old mapping. If the source group stops feeding a group, the tasks of users that were granted
    /// that group are raised too.
    pub group: Option<GroupWrite>,
    /// Other subjects that this step affects. Their tasks are raised in the same transaction, so no crash can separate
    /// the two.
    pub raise: Vec<Subject>,
    /// The complete new set of unsupported operations of the subject; `None`: unchanged.
    pub unsupported: Option<Vec<Unsupported>>,
    /// How the open order about the user's link ended. An order that is done raises the conflicts of the target's
    /// pairs.
    pub order: Option<OrderEnd>,
    /// Intents that were not sent and never will be. They leave no change.
    pub unsent: Vec<IntentId>,
    /// The operations to send next.
    pub next: Vec<NewIntent>,
    /// When the subject is due again after a claim that is completed with this step: then its task does not end, or one
    /// is created. `None`: there is nothing to wait for.
    pub due_again: Option<Timestamp>,
}

/// Result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// Written; no operation was to be sent.
    Written,
    /// Written; the intents to send now, in order.
    Send(Vec<IntentId>),
    /// Written, but the next operation is above its limit and has to be held.
    LimitReached {
        /// Number of such operations in the last hour, including those under way.
        done: u32,
    },
    /// Nothing was written: another link or claim has the link's account.
    AccountTaken,
}

/// Result of adopting an account that was found by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// Linked and claimed. The target must be re-read before planning (rule: a claim holds the subject and the
    /// account).
    Linked,
    /// Another claim, or a request under way, holds the account. The task goes back to the queue.
    Busy {
        /// Earliest time of the next attempt.
        until: Timestamp,
    },
    /// Another user's link has the account by now.
    LinkedElsewhere {
        /// The connector of that link.
        connector: ConnectorName,
        /// The user of that link.
        user: UserId,
    },
}

/// Result of waiting for another subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The claim is released. The task becomes ready when the other subject is done.
    Waits,
    /// Nothing was written and the claim is still held: the chain of waiting subjects leads back to this one.
    Ring,
}

/// The holder of an account, as far as the store knows.
#[expect(clippy::large_enum_variant, reason = "one at a time, read and dropped")]
#[derive(Clone, Debug, PartialEq)]
pub enum Holder {
    /// No link of any connector has the account.
    Unlinked,
    /// A link has the account.
    Linked {
        /// The connector of the link.
        connector: ConnectorName,
        /// The link.
        link: Link,
    },
    /// No link has the account, but an open create intent of another subject names it.
    BeingCreated,
}

/// The failure of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Class of the error.
    pub class: ErrorClass,
    /// The error text, one line.
    pub text: String,
    /// When to retry; `None`: the attempts are used up, and the task becomes a dead letter.
    pub retry_at: Option<Timestamp>,
}

/// A subject that a run planned, with what must be unchanged before the run claims it (rule: a newer observation wins).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The subject.
    pub subject: Subject,
    /// The lower of the two observations that the subject was read with.
    pub observation: ObservationSeq,
    /// The account of the subject's link as the run read it.
    pub account: Option<AccountId>,
}
