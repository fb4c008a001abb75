//! The part of the store that operators' commands work with.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    EventCounts, EventFilter, LinkOrder, PairRecord, PairState, PolledEvents, Request, StoreReads, StoreResult,
    TaskFilter,
};
use crate::model::{
    About, AccountId, Activity, AlertState, ConnectorName, Declared, Link, Pair, Refusals, RunId, SourceIdentity,
    TargetIdentity, TargetName, UserId,
};

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
    /// For a target, the links become unconfirmed, see
    /// [`EngineStore::confirm_links`](super::EngineStore::confirm_links). Its groups, granted memberships, decisions
    /// and unsupported operations are forgotten.
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
    /// Everything known of the server is kept. Its links become unconfirmed, see
    /// [`EngineStore::confirm_links`](super::EngineStore::confirm_links). Pairs that were stopped for the target return
    /// to their former state; a run is requested for those in service.
    ///
    /// # Errors
    /// [`StoreError::Refused`](super::StoreError::Refused) if no server is pinned, `found` has another id, or another
    /// target is this server.
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
    /// [`StoreError::Refused`](super::StoreError::Refused) if the new name has links or managed groups, or a request of
    /// its pairs can still arrive.
    async fn rename(&self, named: &Declared, to: &str, by: &str, now: Timestamp) -> StoreResult<Vec<PairHoldings>>;

    /// Forgets the links and managed groups of a connector or target, and returns what its pairs held. Other connectors
    /// can then adopt the accounts and groups. Its history is kept. Requires exclusive use of the store.
    ///
    /// # Errors
    /// [`StoreError::Refused`](super::StoreError::Refused) if a request of its pairs can still arrive.
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

    /// Orders the end of a run in progress.
    ///
    /// # Errors
    /// The run is not in progress ([`StoreError::NotFound`](super::StoreError::NotFound)).
    async fn cancel_run(&self, run: RunId, by: &str, now: Timestamp) -> StoreResult<()>;

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

    /// Returns the counts of a connector's pushed events so far.
    async fn event_counts(&self, connector: &ConnectorName) -> StoreResult<EventCounts>;

    /// Returns in how many of the hours from `from` until `to` events of a connector happened.
    async fn busy_hours(&self, connector: &ConnectorName, from: Timestamp, to: Timestamp) -> StoreResult<u64>;

    /// Returns a connector's events that came by polling.
    async fn polled_events(&self, connector: &ConnectorName) -> StoreResult<PolledEvents>;

    /// Returns the requests that the hook refused, newest first.
    async fn refusals(&self) -> StoreResult<Vec<Refusals>>;

    /// Orders that a source or target be contacted at once, even with refused credentials; replaces an earlier order.
    async fn order_contact(&self, about: &About, by: &str, now: Timestamp) -> StoreResult<()>;

    /// Returns what the alert of this name has announced and not delivered yet.
    async fn alert_state(&self, name: &str) -> StoreResult<AlertState>;

    /// Stores what an alert has announced and not delivered yet.
    async fn keep_alert_state(&self, name: &str, state: &AlertState) -> StoreResult<()>;

    /// Forgets the alerts with other names than these.
    async fn forget_alerts_but(&self, names: &[String]) -> StoreResult<()>;

    /// Returns what happened to a pair since this time.
    async fn activity(&self, pair: &Pair, since: Timestamp) -> StoreResult<Activity>;

    /// Checks that the store can be written, with room for a large commit.
    async fn check(&self) -> StoreResult<()>;
}
