//! The store: the [`Store`] trait and its types. Each method is one transaction; `tests/store.rs` runs the same
//! expectations against every implementation.
//!
//! The rules that these transactions keep are model-checked. `docs/architecture.md` describes them; the comments cite
//! them by name.

pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::{
    About, AccountId, Approval, ApprovalItem, ApprovalKind, Cause, Change, ChangeOutcome, Condition, ConnectorName,
    Declared, ErrorClass, EventRecord, GroupId, GroupMapping, IntentId, Limited, Link, ManagedGroup, NewApprovalItem,
    NewEvent, ObservationSeq, Operation, Packed, Pair, Priority, Refusals, RunId, RunMode, RunOutcome, RunRecord,
    RunTrigger, SourceIdentity, Subject, TargetGroupId, TargetIdentity, TargetName, TaskRecord, Token, Unsupported,
    UserId,
};

/// Error of a store operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The claim is no longer held: its holder writes nothing (rule: an ended claim writes nothing).
    #[error("the claim has ended")]
    ClaimEnded,
    /// The requested item does not exist.
    #[error("{0}")]
    NotFound(String),
    /// An operator's request cannot be carried out in the current state: the reason, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The store cannot be written now: a full disk, a lock held by another process.
    #[error("the store cannot be written: {0}")]
    Unavailable(String),
    /// Any other error.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Result of a store's method.
pub type StoreResult<T> = Result<T, StoreError>;

/// Result of appending events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Number of new events.
    pub stored: usize,
    /// Number of events that were already stored.
    pub duplicates: usize,
}

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

/// How an operator's order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum OrderEnd {
    /// Carried out.
    Done,
    /// Refused; nothing was changed.
    Refused {
        /// The reason, and what to do.
        why: String,
    },
}

/// An operation that is stored before it is sent (rule: an open intent closes its subject and account).
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

/// State of a pair, up to and after its first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// Not planned yet. Events are stored; tasks wait.
    New,
    /// The first plan found no user in scope, so there was nothing to approve. Each scheduled run plans the pair again.
    /// Events are stored; tasks wait.
    NoUsers,
    /// Planned; the first run waits for approval. Events are stored; tasks wait.
    Held,
    /// Approved; the first run is due or under way.
    Approved,
    /// In service.
    InService,
    /// Another identity was found. An operator has to confirm it first.
    Stopped,
}

/// A stored pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRecord {
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// Its state.
    pub state: PairState,
    /// When the state began.
    pub since: Timestamp,
}

/// What a pair holds at its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairHoldings {
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// Its state.
    pub state: PairState,
    /// Number of linked accounts.
    pub links: u64,
    /// Number of granted memberships.
    pub memberships: u64,
    /// Number of managed groups that the pair feeds.
    pub managed_groups: u64,
}

/// Tasks that have been claimed, or due and unclaimed, for too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// Subjects that one claim has held for too long.
    pub claimed: Vec<Subject>,
    /// Subjects with a task that is overdue and unclaimed.
    pub unclaimed: Vec<Subject>,
}

/// An operator's request, which a running server takes up at once (rule: commands never work beside a server).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// A full reconcile of a connector, on one target or on all for which it was ever configured.
    Run {
        /// The connector.
        connector: ConnectorName,
        /// The target; `None`: all targets of the connector.
        target: Option<TargetName>,
        /// The trigger of the run.
        trigger: RunTrigger,
    },
}

/// Filter for events. Conditions are combined with "and"; `None` and `false` do not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Connector of the event.
    pub connector: Option<ConnectorName>,
    /// Id of the event.
    pub id: Option<String>,
    /// Ids of the events; empty: any.
    pub ids: Vec<String>,
    /// Subject of the event.
    pub subject: Option<Subject>,
    /// Earliest time of receipt, inclusive.
    pub from: Option<Timestamp>,
    /// Latest time of receipt, exclusive.
    pub to: Option<Timestamp>,
    /// Only events with a dead letter for their subject.
    pub failed: bool,
    /// Only ignored events.
    pub ignored: bool,
    /// Upper bound of the sequence number, exclusive (keyset paging, newest first).
    pub before: Option<i64>,
    /// Maximum number of events; 0: unlimited.
    pub limit: usize,
}

/// Filter for changes. Conditions are combined with "and"; `None` does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Connector of the change.
    pub connector: Option<ConnectorName>,
    /// Target of the change.
    pub target: Option<TargetName>,
    /// Subject of the change.
    pub subject: Option<Subject>,
    /// Login or group name of the change.
    pub name: Option<String>,
    /// Run that made the change.
    pub run: Option<RunId>,
    /// Earliest time of recording, inclusive.
    pub from: Option<Timestamp>,
    /// Latest time of recording, exclusive.
    pub to: Option<Timestamp>,
    /// Upper bound of the id, exclusive (keyset paging, newest first).
    pub before: Option<i64>,
    /// Maximum number of changes; 0: unlimited.
    pub limit: usize,
}

/// Filter for tasks. Conditions are combined with "and"; `None` does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Connector of the task.
    pub connector: Option<ConnectorName>,
    /// Target of the task.
    pub target: Option<TargetName>,
    /// Subject of the task.
    pub subject: Option<Subject>,
    /// Only dead letters (`true`), or only other tasks (`false`).
    pub dead: Option<bool>,
    /// Class of the last error.
    pub class: Option<ErrorClass>,
    /// Text that the last error contains.
    pub reason: Option<String>,
    /// Maximum number of tasks; 0: unlimited.
    pub limit: usize,
}

/// Totals that the safety limits are measured against; read in constant time, however large the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Links with an account that usersync did not deactivate.
    pub active_links: u64,
    /// Memberships that usersync granted.
    pub memberships: u64,
    /// Managed groups.
    pub managed_groups: u64,
}

/// Counts for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCounts {
    /// Live tasks, due or not; without dead letters.
    pub tasks: u64,
    /// Tasks that are due.
    pub due: u64,
    /// When the oldest live task was raised; `None`: there is none.
    pub oldest: Option<Timestamp>,
    /// Dead letters.
    pub dead: u64,
    /// Links.
    pub links: u64,
    /// Links with an account that is missing at the target.
    #[serde(default)]
    pub missing: u64,
    /// Links with an account that usersync did not deactivate; the safety limits count them as active.
    pub active_links: u64,
    /// Memberships that usersync granted.
    pub memberships: u64,
    /// Managed groups.
    pub managed_groups: u64,
    /// Open approval items.
    pub held: u64,
    /// When the last change was recorded; `None`: there is no change.
    pub last_change: Option<Timestamp>,
}

/// Counts of a connector's events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Received events, including duplicates.
    pub received: u64,
    /// Received duplicates.
    pub duplicates: u64,
    /// When the last event was received; `None`: none so far.
    pub last: Option<Timestamp>,
    /// When a server first listened for the connector's events; `None`: no server has yet.
    pub since: Option<Timestamp>,
}

/// An operator's decision about an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The approval.
    pub set: i64,
    /// The items that are decided; empty: all.
    pub items: Vec<i64>,
    /// `true`: approve; `false`: reject.
    pub approve: bool,
    /// The operator.
    pub by: String,
    /// The operator's note.
    pub note: Option<String>,
}

/// An operator's action in usersync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Time-ordered id.
    pub id: i64,
    /// When it was done.
    pub at: Timestamp,
    /// The operator.
    pub by: String,
    /// What was done, in plain words.
    pub what: String,
}

/// Receives events: the part of a store that the event listener needs.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// See [`EngineStore::append_events`].
    async fn put(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended>;

    /// See [`EngineStore::note_refusals`].
    async fn refused(&self, refusals: &[Refusals]) -> StoreResult<()>;
}

#[async_trait]
impl<S: EngineStore> Inbox for S {
    async fn put(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended> {
        self.append_events(connector, targets, events, now).await
    }

    async fn refused(&self, refusals: &[Refusals]) -> StoreResult<()> {
        self.note_refusals(refusals).await
    }
}

/// What the engine and the commands read. All times are passed in as values (rule: time and chance are values).
#[async_trait]
pub trait StoreReads: Send + Sync {
    /// Returns events, newest first.
    async fn events(&self, filter: &EventFilter) -> StoreResult<Vec<EventRecord>>;

    /// Waits until the count of wake-ups is larger than `seen`, and returns it. Each caller keeps its own count, starts
    /// with 0, and checks for work before it waits again.
    async fn wait_for_work(&self, seen: u64) -> u64;

    /// Returns a counter that grows when an operator decides or another process writes. A cache outside the store is
    /// re-read when it has grown.
    fn outside_changes(&self) -> u64;

    /// Returns a user's link.
    async fn link(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<Link>>;

    /// Returns all links of a pair.
    async fn links(&self, pair: &Pair) -> StoreResult<Packed<Link>>;

    /// Returns the accounts of this target that other connectors link, each with its connector.
    async fn linked_elsewhere(&self, pair: &Pair) -> StoreResult<BTreeMap<AccountId, ConnectorName>>;

    /// Returns the managed groups of a target.
    async fn managed_groups(&self, target: &TargetName) -> StoreResult<Vec<ManagedGroup>>;

    /// Returns the mappings of the source's groups to groups of the target.
    async fn group_mappings(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, GroupMapping)>>;

    /// Returns what the target of a pair does not support; forgotten when an operator replays the subject's events or
    /// dead letters.
    async fn unsupported(&self, pair: &Pair) -> StoreResult<Vec<Unsupported>>;

    /// Returns runs, newest first.
    async fn runs(&self, pair: Option<&Pair>, limit: usize) -> StoreResult<Vec<RunRecord>>;

    /// Returns the state of a pair.
    async fn pair_state(&self, pair: &Pair) -> StoreResult<PairState>;

    /// Returns the paused connectors.
    async fn paused(&self) -> StoreResult<BTreeSet<ConnectorName>>;

    /// Returns approvals, newest first.
    async fn approvals(&self, open_only: bool) -> StoreResult<Vec<Approval>>;

    /// Returns one approval and its items, open ones first.
    async fn approval(&self, id: i64) -> StoreResult<(Approval, Vec<ApprovalItem>)>;

    /// Returns the first trigger of a requested run of this pair that has not begun. Repeated requests are one. A
    /// request is kept across restarts until a run begins, see [`EngineStore::begin_run`].
    async fn requested_run(&self, pair: &Pair) -> StoreResult<Option<RunTrigger>>;

    /// Returns tasks, most urgent first.
    async fn tasks(&self, filter: &TaskFilter) -> StoreResult<Vec<TaskRecord>>;

    /// Returns changes, newest first.
    async fn changes(&self, filter: &ChangeFilter) -> StoreResult<Vec<Change>>;

    /// Returns the totals of a pair.
    async fn totals(&self, pair: &Pair) -> StoreResult<Totals>;

    /// Returns the counts of a pair.
    async fn counts(&self, pair: &Pair, now: Timestamp) -> StoreResult<PairCounts>;

    /// Returns actions of operators (decisions, requests, replays, pauses, confirmations), newest first, with an id
    /// below `before`.
    async fn audit(&self, before: Option<i64>, limit: usize) -> StoreResult<Vec<AuditRecord>>;

    /// Returns the current conditions, oldest first: those of the process that works with the store, or of the last
    /// one.
    async fn conditions(&self) -> StoreResult<Vec<Condition>>;

    /// Returns the newest order about each source or target, oldest first.
    async fn contact_orders(&self) -> StoreResult<Vec<ContactOrder>>;
}

/// What the engine needs: events, tasks, claims, intents, links, runs and identities.
#[async_trait]
pub trait EngineStore: StoreReads {
    /// Stores events durably, each with its tasks on `targets` in the same transaction. Many callers share one commit.
    ///
    /// A stored id counts as a duplicate. A duplicate or an ignored event raises no task. An event that needs a recheck
    /// marks its tasks for one, see [`EngineStore::complete`]. An event that needs a run requests it.
    async fn append_events(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended>;

    /// Ensures that each subject has a task, and returns their number.
    ///
    /// The generation of an existing task is raised, so that work under way does not end it. An earlier time and a
    /// higher priority win. A dead letter becomes a live task again. Above a thousand subjects, the rest is stored
    /// durably and becomes tasks in parts.
    async fn raise(
        &self,
        pair: &Pair,
        subjects: &[Subject],
        priority: Priority,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<usize>;

    /// Claims the next due task of this target for one of `connectors`, by priority, then time; `None`: no task is due.
    ///
    /// The subject and its linked account are claimed together. A task waits while a request on either of them can
    /// still arrive (rule: an open intent closes its subject and account).
    async fn claim(
        &self,
        target: &TargetName,
        connectors: &[ConnectorName],
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>>;

    /// Returns tasks of a pair that have been claimed, or due and unclaimed, since before `before`; at most a hundred
    /// of each.
    async fn overdue(&self, pair: &Pair, before: Timestamp) -> StoreResult<Overdue>;

    /// Returns when the next task of this target is due, so that a worker knows how long to sleep.
    async fn next_due(&self, target: &TargetName, connectors: &[ConnectorName]) -> StoreResult<Option<Timestamp>>;

    /// Returns the next observation number; never issued twice, not even after a restart (rule: a newer observation
    /// wins).
    async fn next_observation(&self) -> StoreResult<ObservationSeq>;

    /// Returns the holder of this account. `name` is its login, compared with open create intents of other subjects.
    async fn holder(&self, token: Token, account: &AccountId, name: &str) -> StoreResult<Holder>;

    /// Returns the current open intents of the claimed subject and accounts. An adopted account may bring some with it;
    /// the caller recovers them by reading the target.
    async fn open_intents(&self, token: Token) -> StoreResult<Vec<OpenIntent>>;

    /// Links the claimed subject to an account found by name, and claims the account. A link of `from` moves to the
    /// subject with all its data (rule: a claim holds the subject and the account).
    async fn adopt(&self, token: Token, link: Link, from: Option<UserId>, now: Timestamp) -> StoreResult<Adopted>;

    /// Writes one step of a worker, see [`Step`].
    async fn step(&self, token: Token, step: Step, now: Timestamp) -> StoreResult<Stepped>;

    /// Returns whether the claim still holds its subject and account; checked right before a request is sent (rule: an
    /// ended claim writes nothing).
    async fn still_held(&self, token: Token) -> StoreResult<bool>;

    /// Watches for events on the claimed subject: the priority of the most urgent one; `None`: no event waits.
    ///
    /// An event counts if it was raised since the claim was taken. For the claim of a full reconcile, an event that was
    /// due then counts too. The channel closes when the claim ends.
    fn event_waits(&self, token: Token) -> watch::Receiver<Option<Priority>>;

    /// Ends a claim whose ending was not written: the store refused it, the work panicked, or its caller was dropped.
    /// The subject's task is raised with the next write that succeeds. A claim that has already ended is not changed.
    fn abandon(&self, token: Token, now: Timestamp);

    /// Ends a claim after successful work, with a last step that sends nothing. If that step is refused, nothing else
    /// is done.
    ///
    /// Records an observation, releases the claim, and ends the task. A task that was raised meanwhile is ready again;
    /// one that is marked for a recheck becomes ready at `recheck_at`.
    ///
    /// Tasks that wait for a group are ready now; those that wait for a user, at `recheck_at`. A user that gives up a
    /// login wakes them right then. Without the delay, two users that wait for each other would alternate without end.
    ///
    /// The subject's open approval items become exactly `held`. Items that are not in `held` are withdrawn, whether
    /// open or decided.
    async fn complete(
        &self,
        token: Token,
        last: Step,
        held: Vec<NewApprovalItem>,
        recheck_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Stepped>;

    /// Ends a claim after failed work: releases it, records the error, and counts an attempt. A claim without a task
    /// raises one. A task that was raised meanwhile is ready at once. A task with an open intent does not become a dead
    /// letter.
    async fn fail(&self, token: Token, failure: Failure, now: Timestamp) -> StoreResult<()>;

    /// Releases the claim and puts the task back until `until`, without using up an attempt. A task that was raised
    /// meanwhile is ready at once. The reason, if given, is kept as the task's last error.
    async fn defer(
        &self,
        token: Token,
        until: Timestamp,
        reason: Option<(ErrorClass, String)>,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Releases the claim and makes its task wait for `others`. Raises a task for each of them that has none. Their
    /// tasks get at least the priority of the waiting one.
    ///
    /// The task becomes ready when the first of `others` is done or gives up its name, at the latest at `at_latest`. It
    /// is ready at once if the work on the first ended after this claim was taken.
    ///
    /// If `ring_ends_it` and the chain of waiting subjects from the first leads back to this one, nothing is written.
    async fn wait_for(
        &self,
        token: Token,
        others: &[Subject],
        ring_ends_it: bool,
        at_latest: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Waiting>;

    /// Returns links of a pair that were dropped because their accounts were gone, newest first.
    async fn dropped_links(&self, pair: &Pair) -> StoreResult<Vec<Link>>;

    /// Returns users of the pair, other than `except`, that were recently seen at the source; newest first.
    async fn seen_alive(&self, pair: &Pair, except: &UserId, limit: usize) -> StoreResult<Vec<UserId>>;

    /// Returns users with a membership of this group that usersync granted.
    async fn given(&self, pair: &Pair, group: &TargetGroupId) -> StoreResult<Vec<UserId>>;

    /// Records the start of a run. A run that applies changes fulfils all open requests for a run of its pair.
    async fn begin_run(&self, pair: &Pair, trigger: RunTrigger, mode: RunMode, now: Timestamp) -> StoreResult<RunId>;

    /// Records the progress of a run.
    async fn progress_run(&self, run: RunId, report: serde_json::Value) -> StoreResult<()>;

    /// Records the end of a run. A run that has already ended is not changed. If it failed or was stopped (also by the
    /// end of the process), an event's request for a run is open again. An operator's request is not: the operator sees
    /// the outcome.
    async fn end_run(
        &self,
        run: RunId,
        outcome: RunOutcome,
        report: serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Claims a subject that a run planned (rule: a newer observation wins).
    ///
    /// Returns `None` and raises the subject's task if a newer observation is recorded or the link is another one. The
    /// same applies if an intent is open on the subject or account, or another claim holds either of them.
    async fn claim_planned(
        &self,
        pair: &Pair,
        run: RunId,
        planned: Planned,
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>>;

    /// Checks subjects that a run found in sync, and returns the number of tasks raised. A subject's task is raised if
    /// a newer observation is recorded, or its link is another one. The same applies if another claim holds it, or an
    /// intent is open (rule: a newer observation wins).
    async fn found_in_sync(&self, pair: &Pair, run: RunId, found: Vec<Planned>, now: Timestamp) -> StoreResult<usize>;

    /// Records users that a run saw at the source, each with its federation; users without a link are skipped. Recorded
    /// at most once an hour.
    async fn record_seen(&self, pair: &Pair, seen: Vec<(UserId, Option<String>)>, now: Timestamp) -> StoreResult<()>;

    /// Returns open create intents of a pair that no subject's task will resolve. A run checks their names and resolves
    /// them.
    async fn stale_intents(&self, pair: &Pair, now: Timestamp) -> StoreResult<Vec<OpenIntent>>;

    /// Ensures that the configured pairs exist, and returns them. A new pair starts as [`PairState::New`]. Pairs that
    /// are no longer configured keep their links.
    async fn ensure_pairs(&self, pairs: &[Pair], now: Timestamp) -> StoreResult<Vec<PairRecord>>;

    /// Sets the state of a pair.
    async fn set_pair_state(&self, pair: &Pair, state: PairState, now: Timestamp) -> StoreResult<()>;

    /// Stops a pair because another server answers at its target. Its former state is kept for
    /// [`OperatorStore::confirm_same_server`], unless the pair is already stopped.
    async fn stop_for_target(&self, pair: &Pair, now: Timestamp) -> StoreResult<()>;

    /// Opens the approval of a pair's first run with the numbers of its plan, or updates the open one.
    async fn hold_first_run(&self, pair: &Pair, summary: serde_json::Value, now: Timestamp) -> StoreResult<i64>;

    /// Pins the source's identity at first contact; returns the pinned one, which may differ.
    async fn pin_source(&self, connector: &ConnectorName, identity: &SourceIdentity) -> StoreResult<SourceIdentity>;

    /// Pins the source's identity again, for the same realm read with another service account.
    async fn repin_source(
        &self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Pins a target's identity at first contact, or adds the base URL to one that was pinned without it. Returns the
    /// pinned identity, and another name under which the same server is known, if there is one.
    async fn pin_target(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(TargetIdentity, Option<TargetName>)>;

    /// Returns the next results of complete member reads, one for each group, in the order of group ids after `after`.
    /// An empty list: there are no more.
    async fn members_read(&self, pair: &Pair, after: Option<&TargetGroupId>) -> StoreResult<Vec<MembersRead>>;

    /// Stores results of complete member reads, replacing those of the same groups. Forgets results older than
    /// `oldest`.
    async fn keep_members_read(&self, pair: &Pair, read: &[MembersRead], oldest: Timestamp) -> StoreResult<()>;

    /// Returns users with a link that was created with the previous server and not compared since another one was
    /// confirmed.
    async fn unconfirmed_links(&self, pair: &Pair) -> StoreResult<Vec<UserId>>;

    /// Confirms the links in `stand` and drops those in `dropped`, each with a change that has the reason. A claimed
    /// user waits for the next run.
    async fn confirm_links(
        &self,
        pair: &Pair,
        run: RunId,
        stand: &[UserId],
        dropped: &[(UserId, String)],
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Returns orders of a pair that are not carried out yet, or that removed a link.
    async fn link_orders(&self, pair: &Pair) -> StoreResult<Vec<LinkOrder>>;

    /// Returns items of a pair that are open, approved and not done, or rejected.
    async fn standing_items(&self, pair: &Pair) -> StoreResult<Vec<ApprovalItem>>;

    /// Returns the number of limited operations of a kind, done in the hour before `now` or under way. Approved ones
    /// are not counted.
    async fn done_in_last_hour(&self, pair: &Pair, kind: Limited, now: Timestamp) -> StoreResult<u32>;

    /// Returns whether an open approval of this kind has open items for the pair.
    async fn has_open_items(&self, pair: &Pair, kind: ApprovalKind) -> StoreResult<bool>;

    /// Adds to the counts of requests that the hook refused, one row for each connector and reason. A count restarts
    /// with the first refusal after an accepted event, or after a day without refusals.
    async fn note_refusals(&self, refusals: &[Refusals]) -> StoreResult<()>;

    /// Deletes rows that are older than `before`, at most `limit` of each kind, and returns their number; 0: all done.
    /// The kinds are events, changes, audit records, and ended runs, orders and approvals. Open approvals, rejections
    /// and open intents are never deleted.
    async fn prune(&self, before: Timestamp, limit: usize) -> StoreResult<usize>;

    /// Replaces the stored conditions with exactly these.
    async fn keep_conditions(&self, conditions: &[Condition]) -> StoreResult<()>;

    /// Records how an order to contact a source or target ended, and audits it.
    async fn end_contact(&self, order: &ContactOrder, end: &OrderEnd, now: Timestamp) -> StoreResult<()>;
}

/// What operators' commands need besides: decisions, orders, replays and names.
#[async_trait]
pub trait OperatorStore: StoreReads {
    /// Returns links of all pairs with this account login or user id.
    async fn links_named(&self, name_or_id: &str) -> StoreResult<Vec<(Pair, Link)>>;

    /// Stores how the senders of these connectors sign, as a document without secrets. Returns the stored ones that are
    /// no longer among `connectors`, so that their senders can be stopped.
    async fn remember_hooks(
        &self,
        connectors: &[(ConnectorName, serde_json::Value)],
    ) -> StoreResult<Vec<(ConnectorName, serde_json::Value)>>;

    /// Returns the source's pinned identity, if there is one.
    async fn source_identity(&self, connector: &ConnectorName) -> StoreResult<Option<SourceIdentity>>;

    /// Returns the target's pinned identity, and another name under which the server of `identity` is known, if there
    /// is one.
    async fn target_identity(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(Option<TargetIdentity>, Option<TargetName>)>;

    /// Forgets the pinned identity after an operator confirmed another one. The pairs start again as
    /// [`PairState::New`].
    ///
    /// For a target, the links become unconfirmed, see [`EngineStore::confirm_links`]. Its groups, granted memberships,
    /// decisions and unsupported operations are forgotten.
    async fn confirm_identity(
        &self,
        connector: Option<&ConnectorName>,
        target: Option<&TargetName>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Pins `found` after an operator confirmed that the pinned server has another base URL. Returns the target's
    /// pairs.
    ///
    /// Everything known of the server is kept. Its links become unconfirmed, see [`EngineStore::confirm_links`]. Pairs that
    /// were stopped for the target return to their former state; a run is requested for those in service.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if no server is pinned, `found` has another id, or another target is this server.
    async fn confirm_same_server(
        &self,
        target: &TargetName,
        found: &TargetIdentity,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<Vec<PairRecord>>;

    /// Renames a connector or a target, and returns what its pairs hold. Links, managed groups, tasks and history are
    /// kept.
    ///
    /// Data that exists under the new name is forgotten, except its history. A run of the pairs is requested then, to
    /// make up for the forgotten tasks. Requires exclusive use of the store.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the new name has links or managed groups, or a request of its pairs can still arrive.
    async fn rename(&self, named: &Declared, to: &str, by: &str, now: Timestamp) -> StoreResult<Vec<PairHoldings>>;

    /// Forgets the links and managed groups of a connector or target, and returns what its pairs held. Other connectors
    /// can then adopt the accounts and groups. Its history is kept. Requires exclusive use of the store.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if a request of its pairs can still arrive.
    async fn remove(&self, named: &Declared, by: &str, now: Timestamp) -> StoreResult<Vec<PairHoldings>>;

    /// Pauses or resumes a connector; kept across restarts.
    async fn set_paused(&self, connector: &ConnectorName, paused: bool, by: &str, now: Timestamp) -> StoreResult<()>;

    /// Approves or rejects items of an approval, once each, and returns the number of decided items. A first run counts
    /// as one; 0: all were already decided.
    ///
    /// The tasks of approved subjects are raised. An approved first run moves its pair to [`PairState::Approved`]. An
    /// adopted group that is approved as a whole may lose members: the group that the subject feeds, otherwise the one
    /// in the key `leave:GROUP`.
    async fn decide(&self, decision: &Decision, now: Timestamp) -> StoreResult<usize>;

    /// Orders a link of the user to this account, or its removal (`None`); replaces an earlier order. The user's task
    /// is raised. The outcome is audited, and returned by [`OperatorStore::link_order`].
    async fn order_link(
        &self,
        pair: &Pair,
        user: &UserId,
        account: Option<&AccountId>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Returns the newest order about a user's link.
    async fn link_order(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<LinkOrder>>;

    /// Withdraws rejections of an approval, all (`items` is empty) or these, and returns their number. The subjects'
    /// tasks are raised, so that they are planned again.
    async fn withdraw_rejections(&self, set: i64, items: &[i64], by: &str, now: Timestamp) -> StoreResult<usize>;

    /// Stores a request for a running server.
    async fn request(&self, request: &Request, by: &str, now: Timestamp) -> StoreResult<()>;

    /// Raises tasks for the hints of stored events. Returns the numbers of events and tasks.
    async fn replay_events(
        &self,
        filter: &EventFilter,
        targets_of: &(dyn for<'a> Fn(&'a ConnectorName) -> Vec<TargetName> + Send + Sync),
        by: &str,
        now: Timestamp,
    ) -> StoreResult<(usize, usize)>;

    /// Retries dead letters and unsupported operations with new attempts, and returns their number.
    async fn replay_dead(&self, filter: &TaskFilter, by: &str, now: Timestamp) -> StoreResult<usize>;

    /// Returns the counts of a connector's events so far.
    async fn event_counts(&self, connector: &ConnectorName) -> StoreResult<EventCounts>;

    /// Returns the requests that the hook refused, newest first.
    async fn refusals(&self) -> StoreResult<Vec<Refusals>>;

    /// Orders that a source or target be contacted at once, even with refused credentials; replaces an earlier order.
    async fn order_contact(&self, about: &About, by: &str, now: Timestamp) -> StoreResult<()>;

    /// Checks that the store can be written, with room for a large commit.
    async fn check(&self) -> StoreResult<()>;
}

/// A whole store.
pub trait Store: EngineStore + OperatorStore {}

impl<S: EngineStore + OperatorStore> Store for S {}
