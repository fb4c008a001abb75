//! Reads that both the engine and the commands need.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AuditRecord, ContactOrder, StoreResult, Totals};
use crate::model::{
    AccountId, Approval, ApprovalItem, Change, Condition, ConnectorName, ErrorClass, EventPoll, EventRecord, GroupId,
    GroupMapping, Link, ManagedGroup, Packed, Pair, RunId, RunRecord, RunTrigger, Subject, TargetName, TaskRecord,
    Unsupported, UserId,
};

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

/// Tasks that have been claimed, or due and unclaimed, for too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// Subjects that one claim has held for too long.
    pub claimed: Vec<Subject>,
    /// Subjects with a task that is overdue and unclaimed.
    pub unclaimed: Vec<Subject>,
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

/// Counts for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCounts {
    /// Live tasks, due or not; without dead letters.
    pub tasks: u64,
    /// Tasks that are due.
    pub due: u64,
    /// When the oldest live task was raised; `None`: there is none.
    pub oldest: Option<Timestamp>,
    /// Tasks of leavers within their grace period.
    #[serde(default)]
    pub leaving: u64,
    /// When the first of these grace periods ends; `None`: there is none.
    #[serde(default)]
    pub leaves_at: Option<Timestamp>,
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
    /// When the last full reconcile ended that neither failed nor was stopped; `None`: there is none.
    #[serde(default)]
    pub last_successful_run: Option<Timestamp>,
}

/// Counts of a connector's pushed events so far.
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

/// A connector's events that came by polling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledEvents {
    /// Events that were new when they were polled.
    pub events: u64,
    /// When the last of them was stored; `None`: none so far.
    pub last: Option<Timestamp>,
    /// Number of recent events that caused work; at most 40.
    pub recent: u64,
    /// How many of these came only by polling: no sender pushed them.
    pub only_polled: u64,
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
    /// request is kept across restarts until a run begins, see
    /// [`EngineStore::begin_run`](super::EngineStore::begin_run).
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

    /// Returns the state of a connector's event polling.
    async fn event_poll(&self, connector: &ConnectorName) -> StoreResult<EventPoll>;

    /// Returns the newest order about each source or target, oldest first.
    async fn contact_orders(&self) -> StoreResult<Vec<ContactOrder>>;
}
