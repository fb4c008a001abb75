//! The store: what is kept, spoken of in intentions. Each method is one transaction; `tests/store.rs` runs the same
//! expectations against every implementation.
//!
//! The rules that these transactions keep were model-checked; the numbers in brackets are those of the design, section 4.

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

/// What went wrong in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The claim is not held any more: its holder writes nothing. [6]
    #[error("the claim has ended")]
    ClaimEnded,
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// An operator asks for what cannot be done as things are: why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// It cannot be written to now: a full disk, a lock held by another process.
    #[error("the store cannot be written: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Result of a store's method.
pub type StoreResult<T> = Result<T, StoreError>;

/// What appending did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Events that are new.
    pub stored: usize,
    /// Events that were there already.
    pub duplicates: usize,
}

/// A task that a worker may work, and all that the store knows about its subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// To be shown with every transaction.
    pub token: Token,
    /// Where.
    pub pair: Pair,
    /// Who.
    pub subject: Subject,
    /// The generation that was claimed; 0 for a claim that a run took without a task.
    pub generation: i64,
    /// Attempts that failed so far.
    pub attempts: u32,
    /// Why the task was raised first.
    pub cause: Cause,
    /// When that was received, for the latency.
    pub caused_at: Timestamp,
    /// The user's link, its account being claimed too.
    pub link: Option<Link>,
    /// Links of a user without one that were dropped because their accounts were gone, the newest first.
    pub dropped: Vec<Link>,
    /// Open intents of the subject or of its account, left behind by claims that ended; none of them can arrive any more.
    pub intents: Vec<OpenIntent>,
    /// Held items of the subject that an operator decided; a decision stands while the fingerprint is the same. Approved
    /// ones may be done once.
    pub decided: Vec<ApprovalItem>,
    /// What is known to be impossible for it: not sent again while its state at the source is the same.
    pub unsupported: Vec<Unsupported>,
    /// What an operator ordered about the user's link and is not done yet.
    pub order: Option<LinkOrder>,
    /// Whether the link was made with the server that was there before another was confirmed, and not compared since: it
    /// stands only if its account has the same login.
    pub unconfirmed: bool,
    /// The account whose link to the user an operator removed: it is not adopted without an approval.
    pub unlinked: Option<AccountId>,
    /// Whether another subject waits for this one (so a leaver's account gives up its name). [4]
    pub wanted: bool,
}

/// What a whole reading of a group's members told, for a later one that only counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersRead {
    /// The group.
    pub group: TargetGroupId,
    /// Its members beside those whom the pair's links were given it.
    pub others: Vec<AccountId>,
    /// When the reading began.
    pub at: Timestamp,
}

/// What an operator orders about a user's link. Whoever works the user next carries it out, after both sides were read
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOrder {
    /// The user.
    pub user: UserId,
    /// The account that the user is to be linked to; `None`: the link is to be removed.
    pub account: Option<AccountId>,
    /// The operator.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// How it ended; `None`: not carried out yet.
    pub ended: Option<OrderEnd>,
    /// The account whose link was removed by an order, until another is made by one.
    pub unlinked: Option<AccountId>,
}

/// An operator's order to contact a side at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactOrder {
    /// The side.
    pub about: About,
    /// The operator.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// How it ended: [`OrderEnd::Done`] if the side answered; `None`: not carried out yet.
    pub ended: Option<OrderEnd>,
}

/// How an operator's order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum OrderEnd {
    /// Carried out.
    Done,
    /// Refused, and nothing was changed.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// An operation written down before it is sent. [7]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenIntent {
    /// Its id.
    pub id: IntentId,
    /// Where.
    pub pair: Pair,
    /// Whose task.
    pub subject: Subject,
    /// What was about to be done.
    pub operation: Operation,
    /// What was there before; for the change.
    pub before: serde_json::Value,
    /// Why it was done.
    pub cause: Cause,
    /// When the cause was received.
    pub caused_at: Option<Timestamp>,
    /// Whether a person approved it.
    pub approved: bool,
    /// Until when its request can arrive; past it nobody sends it.
    pub arrives_until: Timestamp,
}

/// An operation about to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct NewIntent {
    /// The operation.
    pub operation: Operation,
    /// What is there before; for the change.
    pub before: serde_json::Value,
    /// Until when its request can arrive: the call's deadline and a margin.
    pub arrives_until: Timestamp,
    /// Past how many of its kind in the rolling hour it is held; `None` where it is not limited, or approved.
    pub limit: Option<u32>,
    /// The held item that approves it; used up once it took effect or was refused for good.
    pub approved_by: Option<i64>,
}

/// How an intent ended; becomes its change.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The intent.
    pub intent: IntentId,
    /// How it ended.
    pub outcome: ChangeOutcome,
}

/// What is written of a link.
#[expect(clippy::large_enum_variant, reason = "one at a time, moved once")]
#[derive(Clone, Debug, PartialEq)]
pub enum LinkWrite {
    /// Written as it is here. A link to a new account claims that account, too.
    Put(Link),
    /// Taken away (its account is gone).
    Remove,
    /// Dropped, because the account of its id has another login on a confirmed server. It leaves a change.
    Unconfirmed {
        /// The reason.
        why: String,
    },
    /// Dropped, because its account is confirmed to be gone. It leaves a change, and is kept as it was for an account
    /// that comes back, see [`Claimed::dropped`].
    Drop {
        /// The reason.
        why: String,
        /// Hourly limit; `None`: unlimited or approved. Past it nothing is dropped.
        limit: Option<u32>,
        /// The held item that approves it, which is thereby used up.
        approved_by: Option<i64>,
    },
}

/// Where the name comes from that is written of a target's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFrom {
    /// It was read at the target just now, or given to the group.
    Target,
    /// It was known before. If the group was renamed since, that stands, and the source looks again.
    Store,
}

/// What is written of a group.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupWrite {
    /// The source group feeds this managed group, which is made if it is not there; another one that it fed loses it
    /// as a source.
    Manage {
        /// The source group.
        source: GroupId,
        /// Its name at the source, which the target may spell otherwise.
        name: String,
        /// The target's group; `sources` is ignored.
        group: ManagedGroup,
        /// Where its name comes from.
        named: NameFrom,
    },
    /// The source group feeds none, and this is why; one that it fed loses it as a source.
    Unmap {
        /// The source group.
        source: GroupId,
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The source group is gone; one that it fed loses it as a source.
    Forget {
        /// The source group.
        source: GroupId,
    },
}

impl GroupWrite {
    /// The source group.
    pub fn source(&self) -> &GroupId {
        match self {
            Self::Manage { source, .. } | Self::Unmap { source, .. } | Self::Forget { source } => source,
        }
    }
}

/// One step of a worker: settles what was answered, writes what it learnt, writes down what it sends next; all or
/// nothing, and only while the claim is held. [6]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Intents that were answered or looked after; each leaves its change and records a look. A successful rename
    /// makes those ready that wait for this subject.
    pub settled: Vec<Settled>,
    /// The user's link.
    pub link: Option<LinkWrite>,
    /// The group. The tasks of users who were given the group that its source fed before, unless it feeds it still, and
    /// of all subjects of the pair that are claimed, are raised with it: their claims may have planned with what was
    /// before.
    pub group: Option<GroupWrite>,
    /// Other subjects that this concerns: their tasks are raised with it, so that no crash comes in between.
    pub raise: Vec<Subject>,
    /// What is known to be impossible for the subject becomes exactly this.
    pub unsupported: Option<Vec<Unsupported>>,
    /// How the open order about the user's link ended. One that is done raises the conflicts of the target's pairs.
    pub order: Option<OrderEnd>,
    /// Intents that were not sent and never will be: they leave no change.
    pub unsent: Vec<IntentId>,
    /// What is sent next.
    pub next: Vec<NewIntent>,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// Written; nothing was to be sent.
    Written,
    /// Written; these are the intents to send now, in their order.
    Send(Vec<IntentId>),
    /// Written, but the next operation is past the limit: it has to be held. So many were done in the last hour.
    PastLimit {
        /// Done in the last hour, those under way included.
        done: u32,
    },
    /// Nothing was written: the account of the link belongs to another link or claim by now.
    AccountTaken,
}

/// What came of asking for an account that was found by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// Linked and claimed; read the target again before planning. [4]
    Linked,
    /// Somebody else's claim, or a request under way, holds it: back to the queue until then.
    Busy {
        /// Not before this.
        until: Timestamp,
    },
    /// Another user's link has it meanwhile.
    LinkedElsewhere {
        /// Whose connector.
        connector: ConnectorName,
        /// Which user.
        user: UserId,
    },
}

/// What came of waiting for another subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The claim is released; the task becomes ready when the other is done.
    Waits,
    /// Nothing was written and the claim is still held: following who waits for whom leads back to this subject. [4]
    Ring,
}

/// Who holds an account, by what the store knows.
#[expect(clippy::large_enum_variant, reason = "one at a time, read and dropped")]
#[derive(Clone, Debug, PartialEq)]
pub enum Holder {
    /// No link of any connector.
    Nobody,
    /// A link.
    Linked {
        /// Whose connector.
        connector: ConnectorName,
        /// The link.
        link: Link,
    },
    /// No link, but an open create intent of another subject names it. [4]
    BeingMade,
}

/// How a task failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Class of the error.
    pub class: ErrorClass,
    /// One readable line.
    pub text: String,
    /// When to try again; `None`: the attempts are used up, it is a dead letter.
    pub retry_at: Option<Timestamp>,
}

/// What a run asks before it works a subject from its walk. [3]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Who.
    pub subject: Subject,
    /// The lower of the two looks that it was read with.
    pub observation: ObservationSeq,
    /// The account of its link as the run read it.
    pub account: Option<AccountId>,
}

/// Whether the link between a pair's source and target has had its first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// Not planned yet: events are stored, tasks wait.
    New,
    /// Its first plan found no user in scope, so that there was nothing to approve; it is planned again with each scheduled
    /// run. Events are stored, tasks wait.
    NoUsers,
    /// Planned and held: events are stored, tasks wait.
    Held,
    /// Approved, its first run is due or under way.
    Approved,
    /// In service.
    InService,
    /// A person has to confirm another identity first.
    Stopped,
}

/// A pair as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRecord {
    /// Which.
    #[serde(flatten)]
    pub pair: Pair,
    /// Where it stands.
    pub state: PairState,
    /// Since when.
    pub since: Timestamp,
}

/// What a pair holds in its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which.
    #[serde(flatten)]
    pub pair: Pair,
    /// Where it stands.
    pub state: PairState,
    /// Linked accounts.
    pub links: u64,
    /// Memberships that were given.
    pub memberships: u64,
    /// Managed groups that it feeds.
    pub managed_groups: u64,
}

/// Tasks that nobody has worked for long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// Claimed for longer, by whoever holds the claim.
    pub claimed: Vec<Subject>,
    /// Due for longer, and not claimed.
    pub unclaimed: Vec<Subject>,
}

/// Something that a person asked for; a running server finds it at once. [8]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// A full reconcile of a connector, on one target or on all on which it was ever configured.
    Run {
        /// Whose.
        connector: ConnectorName,
        /// On which target only.
        target: Option<TargetName>,
        /// What made it due.
        trigger: RunTrigger,
    },
}

/// Which events are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this connector.
    pub connector: Option<ConnectorName>,
    /// With this id.
    pub id: Option<String>,
    /// With one of these ids; empty: any.
    pub ids: Vec<String>,
    /// About this subject.
    pub subject: Option<Subject>,
    /// Received at or after this.
    pub from: Option<Timestamp>,
    /// Received before this.
    pub to: Option<Timestamp>,
    /// Only those whose subject's task is a dead letter.
    pub failed: bool,
    /// Only those that were ignored.
    pub ignored: bool,
    /// With a sequence number below this (keyset paging, newest first).
    pub before: Option<i64>,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// Which changes are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Of this connector.
    pub connector: Option<ConnectorName>,
    /// On this target.
    pub target: Option<TargetName>,
    /// For this subject.
    pub subject: Option<Subject>,
    /// With this login or group name.
    pub name: Option<String>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Recorded at or after this.
    pub from: Option<Timestamp>,
    /// Recorded before this.
    pub to: Option<Timestamp>,
    /// With an id below this (keyset paging, newest first).
    pub before: Option<i64>,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// Which tasks are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Of this connector.
    pub connector: Option<ConnectorName>,
    /// On this target.
    pub target: Option<TargetName>,
    /// About this subject.
    pub subject: Option<Subject>,
    /// Only dead letters (`true`) or only others (`false`).
    pub dead: Option<bool>,
    /// Only those whose last error has this class.
    pub class: Option<ErrorClass>,
    /// Only those whose last error contains this text.
    pub reason: Option<String>,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// What the safety limits are measured against; read at once, however large the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Links whose account was not deactivated by us.
    pub active_links: u64,
    /// Memberships that we gave.
    pub memberships: u64,
    /// Managed groups.
    pub managed_groups: u64,
}

/// Counts for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCounts {
    /// Tasks that are ready or wait.
    pub tasks: u64,
    /// Of these, those whose time has come.
    pub due: u64,
    /// When the oldest of these was raised.
    pub oldest: Option<Timestamp>,
    /// Dead letters.
    pub dead: u64,
    /// Links.
    pub links: u64,
    /// Links whose accounts are missing at the target.
    #[serde(default)]
    pub missing: u64,
    /// Links whose account was not deactivated by us: what the safety limits count as active.
    pub active_links: u64,
    /// Memberships that we gave.
    pub memberships: u64,
    /// Managed groups.
    pub managed_groups: u64,
    /// Held items that are open.
    pub held: u64,
    /// When the last change was recorded.
    pub last_change: Option<Timestamp>,
}

/// The events of a connector so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Events that came, duplicates among them.
    pub received: u64,
    /// Of these, duplicates.
    pub duplicates: u64,
    /// When the last came.
    pub last: Option<Timestamp>,
    /// Since when a server has been listening for them; `None`: none has yet.
    pub since: Option<Timestamp>,
}

/// A decision of a person about an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The set.
    pub set: i64,
    /// Only these items; empty: all of them.
    pub items: Vec<i64>,
    /// Approve, else reject.
    pub approve: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub note: Option<String>,
}

/// Something that a person did in usersync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Time-ordered id.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What, in plain words.
    pub what: String,
}

/// Where events are put: all that whoever takes them in needs of a store.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// See [`Store::append_events`].
    async fn put(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended>;

    /// See [`Store::note_refusals`].
    async fn refused(&self, refusals: &[Refusals]) -> StoreResult<()>;
}

#[async_trait]
impl<S: Store> Inbox for S {
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

/// What is kept, and the rules that keep it right. Times come in as values. [9]
#[async_trait]
pub trait Store: Send + Sync {
    // --- events ---

    /// Stores events, each with its tasks on `targets`, durably; many callers share one commit. An event whose id is
    /// there already counts as a duplicate and raises nothing, nor does an ignored one. A settle event marks its tasks
    /// to be looked at once more, see [`Store::complete`]. One that wants a run asks for it. [1, 2]
    async fn append_events(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended>;

    /// Events, newest first.
    async fn events(&self, filter: &EventFilter) -> StoreResult<Vec<EventRecord>>;

    // --- tasks ---

    /// Makes sure that a task is there for each subject, and that work on it which is under way does not end it (its
    /// generation is raised); an earlier time and a higher priority win. A dead letter is brought back to life. Returns how
    /// many. More than a thousand are written down durably, and become tasks in parts.
    async fn raise(
        &self,
        pair: &Pair,
        subjects: &[Subject],
        priority: Priority,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<usize>;

    /// Claims the next task of this target whose time has come, for one of `connectors`, by priority, then time.
    /// Subject and linked account are claimed together. A task with an intent under way on either waits until that can
    /// not arrive any more. `None`: nothing to do. [4, 7]
    async fn claim(
        &self,
        target: &TargetName,
        connectors: &[ConnectorName],
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>>;

    /// Tasks of a pair that nobody has worked since `before`, though they are due: a hundred of each kind at most.
    async fn overdue(&self, pair: &Pair, before: Timestamp) -> StoreResult<Overdue>;

    /// When the next task of this target falls due, so that a worker knows how long to sleep.
    async fn next_due(&self, target: &TargetName, connectors: &[ConnectorName]) -> StoreResult<Option<Timestamp>>;

    /// Counts the wakes: returns the count as soon as it is larger than `seen`. Each caller keeps its own, begins with
    /// 0, and looks for work before it waits again.
    async fn woken_after(&self, seen: u64) -> u64;

    /// Grows whenever a person decided something or another process wrote, so that what is kept of the store outside of
    /// it is read anew.
    fn outside_changes(&self) -> u64;

    /// The next number of the one sequence of looks; never given twice, also after a restart. [3]
    async fn next_observation(&self) -> StoreResult<ObservationSeq>;

    /// Who holds this account; `name` is its login, to compare with open create intents of other subjects.
    async fn holder(&self, token: Token, account: &AccountId, name: &str) -> StoreResult<Holder>;

    /// Open intents of the claimed subject and accounts by now: an account that was adopted may bring some along, which
    /// are to be settled by looking. [7]
    async fn open_intents(&self, token: Token) -> StoreResult<Vec<OpenIntent>>;

    /// Links the claimed subject to an account found by name, and claims it; a link of `from` moves over with all that
    /// it knows. [4]
    async fn adopt(&self, token: Token, link: Link, from: Option<UserId>, now: Timestamp) -> StoreResult<Adopted>;

    /// One step of a worker, see [`Step`].
    async fn step(&self, token: Token, step: Step, now: Timestamp) -> StoreResult<Stepped>;

    /// Whether the claim is still held on subject and account; asked right before something is sent. [6]
    async fn still_held(&self, token: Token) -> StoreResult<bool>;

    /// The priority of the most urgent event that waits for the claimed subject: raised since the claim was taken, or,
    /// for the claim of a full reconcile, due then. `None`: no event waits. Closed once the claim has ended.
    fn event_waits(&self, token: Token) -> watch::Receiver<Option<Priority>>;

    /// Ends a claim whose ending was not written: the store refused it, the work panicked, or its caller was dropped. Its
    /// subject's task is raised with the next write that succeeds. A claim that has ended stays as it is. [6]
    fn abandon(&self, token: Token, now: Timestamp);

    /// The work is done: takes a last step, which sends nothing; unless that is refused records a look, releases the claim, ends the task if its generation is the claimed one (else
    /// it is ready again). Those that wait for it are ready now, or, if it is a user, at `settle_at`: one who gave up a
    /// name woke them then, and with others they would take turns without end. The subject's open held items become
    /// exactly `held`; those that are not among them are withdrawn, as are decisions about others. A task marked
    /// to settle becomes ready again at `settle_at`.
    async fn complete(
        &self,
        token: Token,
        last: Step,
        held: Vec<NewApprovalItem>,
        settle_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Stepped>;

    /// The work failed: releases the claim, notes the error, counts an attempt. A claim without a task raises it. A task
    /// that was raised meanwhile is ready at once; one with an intent open is no dead letter.
    async fn fail(&self, token: Token, failure: Failure, now: Timestamp) -> StoreResult<()>;

    /// Back to the queue until then, or at once if it was raised meanwhile, without using up an attempt: releases the
    /// claim. The reason, if there is one, is kept as the task's last error.
    async fn defer(
        &self,
        token: Token,
        until: Timestamp,
        reason: Option<(ErrorClass, String)>,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Waits for `others`, the first of which counts for rings: raises their tasks where there are none (they are in
    /// a hurry as we are), releases the claim. Becomes ready when the first is done or gave up its name, and at
    /// `at_latest` all the same; at once if the work on the first ended after this claim was taken. If following who waits for whom leads back to this subject and `ring_ends_it`, nothing
    /// is written. [4]
    async fn wait_for(
        &self,
        token: Token,
        others: &[Subject],
        ring_ends_it: bool,
        at_latest: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Waiting>;

    // --- what is linked ---

    /// A user's link.
    async fn link(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<Link>>;

    /// All links of a pair.
    async fn links(&self, pair: &Pair) -> StoreResult<Packed<Link>>;

    /// Links of a pair that were dropped because their accounts were gone, the newest first.
    async fn dropped_links(&self, pair: &Pair) -> StoreResult<Vec<Link>>;

    /// Accounts of this target that other connectors link, and which ones.
    async fn linked_elsewhere(&self, pair: &Pair) -> StoreResult<BTreeMap<AccountId, ConnectorName>>;

    /// Links whose account's login, or whose user's id, is this; over all pairs.
    async fn links_named(&self, name_or_id: &str) -> StoreResult<Vec<(Pair, Link)>>;

    /// Some users of the pair, other than `except`, who were lately seen alive; newest first.
    async fn seen_alive(&self, pair: &Pair, except: &UserId, limit: usize) -> StoreResult<Vec<UserId>>;

    /// Users whose links hold a membership of this group that we gave.
    async fn given(&self, pair: &Pair, group: &TargetGroupId) -> StoreResult<Vec<UserId>>;

    /// Managed groups of a target.
    async fn managed_groups(&self, target: &TargetName) -> StoreResult<Vec<ManagedGroup>>;

    /// What became of the source's groups on a target.
    async fn group_mappings(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, GroupMapping)>>;

    /// What is known to be impossible on a pair; forgotten when a person replays the subject's events or dead letters.
    async fn unsupported(&self, pair: &Pair) -> StoreResult<Vec<Unsupported>>;

    // --- runs ---

    /// Writes down that a run began. One that applies answers whatever asked for a run of its pair until now.
    async fn begin_run(&self, pair: &Pair, trigger: RunTrigger, mode: RunMode, now: Timestamp) -> StoreResult<RunId>;

    /// Writes down how far a run is.
    async fn progress_run(&self, run: RunId, report: serde_json::Value) -> StoreResult<()>;

    /// Writes down how a run ended. One that has ended stays as it is. If it failed, or was stopped (also by the end of
    /// the process), what an event had asked for is asked for again; a person sees what came of it.
    async fn end_run(
        &self,
        run: RunId,
        outcome: RunOutcome,
        report: serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Claims a subject that a run planned from its walk. `None`: something newer is recorded, the link is another, an
    /// intent is open on subject or account, or somebody holds it: then its task is raised. [3, 7]
    async fn claim_planned(
        &self,
        pair: &Pair,
        run: RunId,
        planned: Planned,
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>>;

    /// Subjects that a run found in order: those recorded since, claimed, linked otherwise, or with an open intent get
    /// their task raised. Returns how many. [3]
    async fn found_in_order(&self, pair: &Pair, run: RunId, found: Vec<Planned>, now: Timestamp) -> StoreResult<usize>;

    /// Users whom a run saw alive, each with its federation; who has no link is left out. Kept to the hour.
    async fn saw_alive(&self, pair: &Pair, seen: Vec<(UserId, Option<String>)>, now: Timestamp) -> StoreResult<()>;

    /// Open create intents of a pair that no subject's task will settle; a run has checked their names and settles them. [7]
    async fn stale_intents(&self, pair: &Pair, now: Timestamp) -> StoreResult<Vec<OpenIntent>>;

    /// Runs, newest first.
    async fn runs(&self, pair: Option<&Pair>, limit: usize) -> StoreResult<Vec<RunRecord>>;

    // --- pairs and identities ---

    /// The pairs that are configured; new ones begin as [`PairState::New`]. Pairs that are no longer configured keep
    /// their links.
    async fn ensure_pairs(&self, pairs: &[Pair], now: Timestamp) -> StoreResult<Vec<PairRecord>>;

    /// Remembers how the senders of these connectors sign, as a document without secrets; returns those that were
    /// remembered before and are not among them any more, so that their senders can be told to stop.
    async fn remember_hooks(
        &self,
        connectors: &[(ConnectorName, serde_json::Value)],
    ) -> StoreResult<Vec<(ConnectorName, serde_json::Value)>>;

    /// Where a pair stands.
    async fn pair_state(&self, pair: &Pair) -> StoreResult<PairState>;

    /// Moves a pair.
    async fn set_pair_state(&self, pair: &Pair, state: PairState, now: Timestamp) -> StoreResult<()>;

    /// Stops a pair because another server answers at its target. Where it stood is kept for
    /// [`Store::confirm_same_server`], unless it was stopped before.
    async fn stop_for_target(&self, pair: &Pair, now: Timestamp) -> StoreResult<()>;

    /// Opens the approval of a pair's first run with the numbers of its plan, or renews them in the open one.
    async fn hold_first_run(&self, pair: &Pair, summary: serde_json::Value, now: Timestamp) -> StoreResult<i64>;

    /// Pins the source's identity at first contact; returns the pinned one, which may be another.
    async fn pin_source(&self, connector: &ConnectorName, identity: &SourceIdentity) -> StoreResult<SourceIdentity>;

    /// Pins the source's identity again, whose realm was found to be the same with another service account.
    async fn repin_source(
        &self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Pins a target's identity at first contact, and adds the base URL to one that was pinned without it; returns the pinned
    /// one, and under which other name the same server is known, if it is.
    async fn pin_target(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(TargetIdentity, Option<TargetName>)>;

    /// The source's identity as it is pinned, if it is.
    async fn source_identity(&self, connector: &ConnectorName) -> StoreResult<Option<SourceIdentity>>;

    /// The target's identity as it is pinned, if it is, and under which other name the server of `identity` is known, if
    /// it is.
    async fn target_identity(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(Option<TargetIdentity>, Option<TargetName>)>;

    /// An operator confirmed another identity: forgets the pinned one, and the pairs begin anew as [`PairState::New`]. The
    /// links of another target are unconfirmed, see [`Store::confirm_links`]; its groups, what was given to members,
    /// decisions and what was not possible are forgotten.
    async fn confirm_identity(
        &self,
        connector: Option<&ConnectorName>,
        target: Option<&TargetName>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// An operator confirmed that the pinned server is reached under another base URL: `found` is pinned, and everything
    /// known of the server stays. Its links are unconfirmed, see [`Store::confirm_links`]. Pairs that were stopped for the
    /// target stand again where they stood; a run is asked for of those in service. Returns the target's pairs.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where no server is pinned, `found` has another id, or another target is this server.
    async fn confirm_same_server(
        &self,
        target: &TargetName,
        found: &TargetIdentity,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<Vec<PairRecord>>;

    /// Gives a connector or a target another name: links, managed groups, tasks and history stay with it. What was begun
    /// under the new name gives way if it has no links; a run of the pairs is asked for then, as its tasks are forgotten. Only
    /// while nobody else works with the store. Returns what its pairs hold.
    async fn rename(&self, named: &Declared, to: &str, by: &str, now: Timestamp) -> StoreResult<Vec<Kept>>;

    /// Forgets what ties a connector or a target to accounts and groups, so that others can adopt them; its history stays.
    /// Only while nobody else works with the store. Returns what its pairs held.
    async fn remove(&self, named: &Declared, by: &str, now: Timestamp) -> StoreResult<Vec<Kept>>;

    /// Pauses a connector, or lets it go on; it stays so over restarts.
    async fn set_paused(&self, connector: &ConnectorName, paused: bool, by: &str, now: Timestamp) -> StoreResult<()>;

    /// Connectors that are paused.
    async fn paused(&self) -> StoreResult<BTreeSet<ConnectorName>>;

    // --- approvals ---

    /// Held sets, newest first.
    async fn approvals(&self, open_only: bool) -> StoreResult<Vec<Approval>>;

    /// One approval and its items, open ones first.
    async fn approval(&self, id: i64) -> StoreResult<(Approval, Vec<ApprovalItem>)>;

    /// Approves or rejects, once; approved subjects' tasks are raised, an approved first run moves its pair to
    /// [`PairState::Approved`], an approved adopted group (which the subject feeds, else that of the key `leave:GROUP`)
    /// may lose members. Returns how many items were decided, a first run as one; 0: all of it was decided before.
    async fn decide(&self, decision: &Decision, now: Timestamp) -> StoreResult<usize>;

    /// What whole readings of groups' members found, one for each group: some at a time, in the order of their ids, those
    /// after `after`. None: there are no more.
    async fn members_read(&self, pair: &Pair, after: Option<&TargetGroupId>) -> StoreResult<Vec<MembersRead>>;

    /// Keeps such readings, each in the place of its group's former one, and forgets those from before `oldest`.
    async fn keep_members_read(&self, pair: &Pair, read: &[MembersRead], oldest: Timestamp) -> StoreResult<()>;

    /// Users whose links were made with the server that was there before another was confirmed, and not compared since.
    async fn unconfirmed_links(&self, pair: &Pair) -> StoreResult<Vec<UserId>>;

    /// Writes down which of them stand, and drops the others, each with a change that has its reason; one that is
    /// claimed waits for the next run.
    async fn confirm_links(
        &self,
        pair: &Pair,
        run: RunId,
        stand: &[UserId],
        dropped: &[(UserId, String)],
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Orders that the user be linked to this account, or that the link be removed; replaces an order before it. The
    /// user's task is raised; what came of it is audited and read by [`Store::link_order`].
    async fn order_link(
        &self,
        pair: &Pair,
        user: &UserId,
        account: Option<&AccountId>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// The newest order about a user's link.
    async fn link_order(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<LinkOrder>>;

    /// Orders of a pair that are not carried out yet, or that removed a link.
    async fn link_orders(&self, pair: &Pair) -> StoreResult<Vec<LinkOrder>>;

    /// Withdraws rejections of a set, all or these; their subjects' tasks are raised, so that they are planned again.
    /// Returns how many.
    async fn withdraw_rejections(&self, set: i64, items: &[i64], by: &str, now: Timestamp) -> StoreResult<usize>;

    /// Items of a pair that are open, approved and not done, or rejected.
    async fn standing_items(&self, pair: &Pair) -> StoreResult<Vec<ApprovalItem>>;

    /// How many limited operations of a kind were done, or are under way, in the hour before `now`; approved ones are
    /// not counted.
    async fn done_in_last_hour(&self, pair: &Pair, kind: Limited, now: Timestamp) -> StoreResult<u32>;

    /// Whether a kind is held for the pair at present: an open set of it has items.
    async fn is_awaited(&self, pair: &Pair, kind: ApprovalKind) -> StoreResult<bool>;

    // --- what people ask for ---

    /// Asks a running server for something.
    async fn request(&self, request: &Request, by: &str, now: Timestamp) -> StoreResult<()>;

    /// What asked first for a run of this pair, if one is asked for and has not begun; what was asked for twice is one.
    /// It stays so over restarts until a run begins, see [`Store::begin_run`]. [8]
    async fn asked_run(&self, pair: &Pair) -> StoreResult<Option<RunTrigger>>;

    /// Puts the hints of events back to work. Returns events and tasks.
    async fn replay_events(
        &self,
        filter: &EventFilter,
        targets_of: &(dyn for<'a> Fn(&'a ConnectorName) -> Vec<TargetName> + Send + Sync),
        by: &str,
        now: Timestamp,
    ) -> StoreResult<(usize, usize)>;

    /// Puts dead letters, and what was not possible, back to work with fresh attempts. Returns how many.
    async fn replay_dead(&self, filter: &TaskFilter, by: &str, now: Timestamp) -> StoreResult<usize>;

    // --- looking ---

    /// Tasks, the most urgent first.
    async fn tasks(&self, filter: &TaskFilter) -> StoreResult<Vec<TaskRecord>>;

    /// Changes, newest first.
    async fn changes(&self, filter: &ChangeFilter) -> StoreResult<Vec<Change>>;

    /// Totals of a pair.
    async fn totals(&self, pair: &Pair) -> StoreResult<Totals>;

    /// Counts of a pair.
    async fn counts(&self, pair: &Pair, now: Timestamp) -> StoreResult<PairCounts>;

    /// The events of a connector so far.
    async fn event_counts(&self, connector: &ConnectorName) -> StoreResult<EventCounts>;

    /// Adds to the counts of requests that the hook refused: one row for each connector and reason. A count begins again
    /// with the first refusal after an accepted event, and after a day without any.
    async fn note_refusals(&self, refusals: &[Refusals]) -> StoreResult<()>;

    /// The requests that the hook refused, the newest first.
    async fn refusals(&self) -> StoreResult<Vec<Refusals>>;

    /// What people did (decided, asked for, replayed, paused, confirmed), newest first; with an id below `before`.
    async fn audit(&self, before: Option<i64>, limit: usize) -> StoreResult<Vec<AuditRecord>>;

    // --- housekeeping ---

    /// Removes at most `limit` events, changes and ended runs each that are older than `before`; never open sets,
    /// rejections or open intents. Returns how many; 0: all done.
    async fn prune(&self, before: Timestamp, limit: usize) -> StoreResult<usize>;

    /// The conditions that hold, the oldest first: those of the process that works with the store, or of the last one.
    async fn conditions(&self) -> StoreResult<Vec<Condition>>;

    /// Makes exactly these the conditions that hold.
    async fn keep_conditions(&self, conditions: &[Condition]) -> StoreResult<()>;

    /// Orders that a side be contacted at once, refused credentials sent again; replaces an order before it.
    async fn order_contact(&self, about: &About, by: &str, now: Timestamp) -> StoreResult<()>;

    /// The newest order about each side, the oldest first.
    async fn contact_orders(&self) -> StoreResult<Vec<ContactOrder>>;

    /// Records how an order to contact a side ended, and audits it.
    async fn end_contact(&self, order: &ContactOrder, end: &OrderEnd, now: Timestamp) -> StoreResult<()>;

    /// Whether it can be written, with room for a large commit.
    async fn check(&self) -> StoreResult<()>;
}
