//! The part of the store that the engine and the event listener work with.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Adopted, Claimed, ContactOrder, Failure, Holder, LinkOrder, MembersRead, MovedGroup, OpenIntent, OrderEnd, Overdue,
    PairRecord, PairState, Planned, Step, Stepped, StoreReads, StoreResult, Waiting,
};
use crate::model::{
    AccountId, ApprovalItem, ApprovalKind, Cause, Condition, ConnectorName, ErrorClass, EventPoll, Federated, GroupId,
    Limited, Link, NewApprovalItem, NewEvent, ObservationSeq, Pair, Priority, Refusals, RunId, RunMode, RunOutcome,
    RunProgress, RunTrigger, SourceIdentity, Subject, TargetGroupId, TargetIdentity, TargetName, Token, UserId,
};

/// Result of appending events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Number of new events.
    pub stored: usize,
    /// Number of events that were already stored.
    pub duplicates: usize,
}

/// A federation provider that linked users come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedFederation {
    /// Id of its component in Keycloak.
    pub component: String,
    /// Number of its linked users.
    pub users: usize,
    /// Whether Keycloak stores any of them.
    pub imported: bool,
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

/// What the engine needs: events, tasks, claims, intents, links, runs and identities.
#[async_trait]
pub trait EngineStore: StoreReads {
    /// Stores events durably, each with its tasks on `targets` in the same transaction. Many callers share one commit.
    ///
    /// A stored id counts as a duplicate, also if it was polled and is pushed now. That a pushed event is polled too is
    /// normal, and is not recorded. A duplicate or an ignored event raises no task. An event that needs a recheck
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
    /// still arrive (rule: an open intent locks its subject and account).
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

    /// Returns users of the pair, other than `except`, that were recently seen at the source: those of a federation last,
    /// newest first.
    async fn seen_alive(&self, pair: &Pair, except: &UserId, limit: usize) -> StoreResult<Vec<UserId>>;

    /// Returns the federation providers that linked users of the pair come from. Here and in the next two, users whose
    /// accounts usersync deactivated do not count.
    async fn federations(&self, pair: &Pair) -> StoreResult<Vec<LinkedFederation>>;

    /// Returns the linked users of all federation providers.
    async fn active_federated(&self, pair: &Pair) -> StoreResult<Vec<UserId>>;

    /// Returns linked users of a federation provider with their logins at the source, in a random order; users that were
    /// seen lately come first.
    async fn federated_users(&self, pair: &Pair, component: &str, limit: usize) -> StoreResult<Vec<(UserId, String)>>;

    /// Returns users with a membership of this group that usersync granted.
    async fn given(&self, pair: &Pair, group: &TargetGroupId) -> StoreResult<Vec<UserId>>;

    /// Records the start of a run. A run that applies changes fulfils all open requests for a run of its pair.
    async fn begin_run(&self, pair: &Pair, trigger: RunTrigger, mode: RunMode, now: Timestamp) -> StoreResult<RunId>;

    /// Records what a run has reported so far.
    async fn progress_run(&self, run: RunId, report: serde_json::Value) -> StoreResult<()>;

    /// Records how far a run in progress has come; that of an ended run is not recorded.
    async fn note_progress(&self, run: RunId, progress: &RunProgress) -> StoreResult<()>;

    /// Records the end of a run. A run that has already ended is not changed. If it failed or was stopped (also by the
    /// end of the process, but not by an operator), an event's request for a run is open again. An operator's request is not: the operator sees
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
    async fn record_seen(&self, pair: &Pair, seen: Vec<(UserId, Option<Federated>)>, now: Timestamp)
    -> StoreResult<()>;

    /// Returns open create intents of a pair that no subject's task will resolve. A run checks their names and resolves
    /// them.
    async fn stale_intents(&self, pair: &Pair, now: Timestamp) -> StoreResult<Vec<OpenIntent>>;

    /// Ensures that the configured pairs exist, and returns them. A new pair starts as [`PairState::New`]. Pairs that
    /// are no longer configured keep their links.
    async fn ensure_pairs(&self, pairs: &[Pair], now: Timestamp) -> StoreResult<Vec<PairRecord>>;

    /// Sets the state of a pair.
    async fn set_pair_state(&self, pair: &Pair, state: PairState, now: Timestamp) -> StoreResult<()>;

    /// Stops a pair because another server answers at its target. Its former state is kept for
    /// [`OperatorStore::confirm_same_server`](super::OperatorStore::confirm_same_server), unless the pair is already
    /// stopped.
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

    /// Requests a run of the pair, as an event does that reports a change of unknown size.
    async fn request_run(&self, pair: &Pair) -> StoreResult<()>;

    /// Returns the paths of source groups as last recorded; a group without a recorded path is absent.
    async fn group_paths(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, String)>>;

    /// Records the paths of source groups that have a mapping. Each replaces the path that was read before; if another
    /// one is recorded by now, that one stays.
    async fn keep_group_paths(&self, pair: &Pair, moved: &[MovedGroup]) -> StoreResult<()>;

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

    /// Stores the state of a connector's event polling.
    async fn keep_event_poll(&self, connector: &ConnectorName, poll: &EventPoll) -> StoreResult<()>;

    /// Records how an order to contact a source or target ended, and audits it.
    async fn end_contact(&self, order: &ContactOrder, end: &OrderEnd, now: Timestamp) -> StoreResult<()>;
}
