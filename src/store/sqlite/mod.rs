//! The embedded store: one `SQLite` file, one writer, a few readers.
//!
//! Every write is a job of the one writer (`writer`), which runs many jobs in one commit. Claims are kept in memory
//! (`memory`): with one process, a lease ends only with that process. Data that another process may write (a command
//! beside a running server) is never cached in memory.

mod approvals;
mod changes;
mod claims;
mod codec;
mod conditions;
mod dropped;
mod endings;
mod error;
mod event_poll;
mod events;
mod fan_out;
mod groups;
mod hook_refusals;
mod intents;
mod links;
mod members_read;
mod memory;
mod names;
mod numbers;
mod open;
mod orders;
mod pairs;
mod prune;
mod readers;
mod renames;
mod requests;
mod runs;
mod step_batches;
mod steps;
mod tasks;
mod tx;
mod unconfirmed;
mod unsupported;
mod work_signal;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use tokio::sync::{oneshot, watch};

use self::{
    codec::limit,
    events::Append,
    memory::Memory,
    readers::Readers,
    step_batches::Ending,
    tx::Tx,
    work_signal::WorkSignal,
    writer::{Writer, closed},
};
use crate::{
    model::{
        About, AccountId, Approval, ApprovalItem, ApprovalKind, Cause, Change, Condition, ConnectorName, Declared,
        ErrorClass, EventPoll, EventRecord, GroupId, GroupMapping, Limited, Link, ManagedGroup, NewApprovalItem,
        NewEvent, ObservationSeq, Packed, Pair, Priority, Refusals, RunId, RunMode, RunOutcome, RunRecord, RunTrigger,
        SourceIdentity, Subject, TargetGroupId, TargetIdentity, TargetName, TaskRecord, Token, Unsupported, UserId,
    },
    store::{
        Adopted, Appended, AuditRecord, ChangeFilter, Claimed, ContactOrder, Decision, EngineStore, EventCounts,
        EventFilter, Failure, Holder, LinkOrder, MembersRead, MovedGroup, OpenIntent, OperatorStore, OrderEnd, Overdue,
        PairCounts, PairHoldings, PairRecord, PairState, Planned, PolledEvents, Request, Step, Stepped, StoreError,
        StoreReads, StoreResult, TaskFilter, Totals, Waiting,
    },
};

/// Options for opening a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The current time; tasks of intents that an earlier process left open become due at this time.
    pub now: Timestamp,
    /// Whether a commit is on disk before it is acknowledged. Only simulations turn it off.
    pub durable: bool,
    /// Poll interval for writes of other processes; `None`: never.
    pub poll: Option<Duration>,
    /// Maximum time that a write waits for another process's transaction.
    pub busy: Duration,
}

impl OpenOptions {
    /// Returns options for production: durable, with a check for writes of other processes every 200 ms.
    pub fn new(now: Timestamp) -> Self {
        Self { now, durable: true, poll: Some(Duration::from_millis(200)), busy: open::BUSY }
    }

    /// Returns options for simulations and tests: not durable, no timer, no other process.
    pub fn simulation(now: Timestamp) -> Self {
        Self { now, durable: false, poll: None, busy: open::BUSY }
    }
}

/// The embedded store.
pub struct SqliteStore {
    file: PathBuf,
    writer: Writer,
    readers: Readers,
    memory: Arc<Memory>,
    work_signal: Arc<WorkSignal>,
    /// Whether the engine opened it. A command's store may neither claim a subject nor take an observation number.
    engine: bool,
    /// Whether its folder is deleted when the store is dropped.
    temporary: bool,
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(self.folder());
        }
    }
}

/// Runs a job of the writer, with copies of the named values.
macro_rules! job {
    ($self:ident, [$($name:ident),*], |$tx:ident| $work:expr) => {{
        $(let $name = $name.to_owned();)*
        $self.write(move |$tx| Box::pin(async move { $work.await })).await
    }};
}

impl SqliteStore {
    /// Opens the store for the engine, with exclusive use. Takes the lock and migrates the schema. Stops the runs of an
    /// ended process, and raises the tasks of its open intents.
    pub async fn open(file: impl AsRef<Path>, options: OpenOptions) -> StoreResult<Self> {
        let file = file.as_ref();
        let folder = open::folder(file)?;
        open::check_owners(file, &folder)?;
        let lock = open::lock(file)?;
        let mut conn = open::writer(file, &options, true).await?;
        open::migrate(&mut conn, file).await?;
        let opened = open::count_opening(&mut conn).await?;
        let store = Self::start(file, conn, opened, &options, true, lock);
        store
            .write(move |tx| {
                Box::pin(async move {
                    tx.stop_runs(options.now).await?;
                    tx.raise_open_intents(options.now).await
                })
            })
            .await?;
        Ok(store)
    }

    /// Opens the store beside a running server, for a command that reads, requests, raises, decides, replays or pauses.
    /// An operation that needs a claim or an observation is refused.
    pub async fn open_beside(file: impl AsRef<Path>, options: OpenOptions) -> StoreResult<Self> {
        let file = file.as_ref();
        let folder = open::folder(file)?;
        open::check_owners(file, &folder)?;
        let mut conn = open::writer(file, &options, false).await?;
        open::expect_schema(&mut conn).await?;
        Ok(Self::start(file, conn, 0, &options, false, ()))
    }

    /// Returns the id of the process that has the store open for the engine, if there is one.
    pub fn worked_by(file: impl AsRef<Path>) -> Option<String> {
        open::worked_by(file.as_ref())
    }

    /// Opens a new store that is deleted when it is dropped; for tests and demonstrations.
    pub async fn open_temporary(options: OpenOptions) -> StoreResult<Self> {
        let folder = std::env::temp_dir().join(format!("usersync-{}", uuid::Uuid::new_v4()));
        let mut store = Self::open(folder.join("usersync.db"), options).await?;
        store.temporary = true;
        Ok(store)
    }

    fn start(
        file: &Path,
        conn: SqliteConnection,
        opened: i64,
        options: &OpenOptions,
        engine: bool,
        keep: impl Send + 'static,
    ) -> Self {
        let memory = Arc::new(Memory::new(opened));
        let work_signal = Arc::new(WorkSignal::new(options.poll));
        let poll = options.poll.filter(|_| engine);
        let writer = Writer::start(Tx::new(conn, Arc::clone(&memory)), Arc::clone(&work_signal), poll, keep);
        let file = file.to_owned();
        Self { readers: Readers::new(file.clone()), file, writer, memory, work_signal, engine, temporary: false }
    }

    /// Watches for write errors: the reason, from the first write that fails until one succeeds. The sender is dropped
    /// when the writer ends: the store was closed, or there is a defect.
    pub fn failing(&self) -> watch::Receiver<Option<String>> {
        self.writer.failing()
    }

    /// Writes a small amount of data, so that write errors are noticed even when the store is idle.
    pub async fn touch(&self) -> StoreResult<()> {
        job!(self, [], |tx| tx.touch())
    }

    /// Finishes pending work and closes the files; another process may open the store afterwards.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Ends all claims as the end of the process would, without reopening the file. Raises the tasks of open intents
    /// and stops runs that are under way. For simulations.
    pub async fn crash(&self, now: Timestamp) -> StoreResult<()> {
        self.memory.end_all();
        self.write(move |tx| {
            Box::pin(async move {
                tx.stop_runs(now).await?;
                tx.raise_open_intents(now).await
            })
        })
        .await
    }

    /// Returns the folder that contains the store.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// Limits the file, as a full disk would, to this number of pages or its present size, whichever is larger. `None`:
    /// unlimited. For tests of a full disk.
    pub async fn limit_pages(&self, pages: Option<u32>) -> StoreResult<()> {
        self.write(move |tx| Box::pin(async move { tx.limit_pages(pages).await })).await
    }

    async fn write<T, F>(&self, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, StoreResult<T>> + Send + 'static,
    {
        self.writer.run(job, |_, _| {}).await
    }

    async fn read<T: Send>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        self.readers.read(work).await
    }

    fn engine_only(&self) -> StoreResult<()> {
        if self.engine {
            return Ok(());
        }
        Err(StoreError::Failed("a command stores requests only; the running server executes them".into()))
    }
}

/// Reads data of one pair; returns `$none` if the pair is unknown.
macro_rules! of_pair {
    ($self:ident, $pair:ident, $none:expr, |$conn:ident, $no:ident| $work:expr) => {{
        let pair = $pair.clone();
        $self
            .read(move |$conn| {
                Box::pin(async move {
                    match pairs::number($conn, &pair).await? {
                        Some($no) => $work.await,
                        None => Ok($none),
                    }
                })
            })
            .await
    }};
}

#[async_trait]
impl StoreReads for SqliteStore {
    async fn events(&self, filter: &EventFilter) -> StoreResult<Vec<EventRecord>> {
        let filter = filter.clone();
        self.read(move |conn| Box::pin(async move { events::read(conn, &filter).await })).await
    }

    async fn wait_for_work(&self, seen: u64) -> u64 {
        self.work_signal.after(seen).await
    }

    fn outside_changes(&self) -> u64 {
        self.memory.outside_changes()
    }

    async fn link(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<Link>> {
        let user = user.clone();
        of_pair!(self, pair, None, |conn, no| links::one(conn, no, &user))
    }

    async fn links(&self, pair: &Pair) -> StoreResult<Packed<Link>> {
        of_pair!(self, pair, Packed::default(), |conn, no| links::all(conn, no))
    }

    async fn linked_elsewhere(&self, pair: &Pair) -> StoreResult<BTreeMap<AccountId, ConnectorName>> {
        let pair = pair.clone();
        self.read(move |conn| Box::pin(async move { links::elsewhere(conn, &pair).await })).await
    }

    async fn managed_groups(&self, target: &TargetName) -> StoreResult<Vec<ManagedGroup>> {
        let target = target.clone();
        self.read(move |conn| Box::pin(async move { groups::managed(conn, &target).await })).await
    }

    async fn unsupported(&self, pair: &Pair) -> StoreResult<Vec<Unsupported>> {
        of_pair!(self, pair, Vec::new(), |conn, no| unsupported::of_pair(conn, no))
    }

    async fn group_mappings(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, GroupMapping)>> {
        of_pair!(self, pair, Vec::new(), |conn, no| groups::mappings(conn, no))
    }

    async fn runs(&self, pair: Option<&Pair>, at_most: usize) -> StoreResult<Vec<RunRecord>> {
        match pair {
            Some(pair) => of_pair!(self, pair, Vec::new(), |conn, no| runs::read(conn, Some(no), limit(at_most))),
            None => self.read(move |conn| Box::pin(runs::read(conn, None, limit(at_most)))).await,
        }
    }

    async fn pair_state(&self, pair: &Pair) -> StoreResult<PairState> {
        of_pair!(self, pair, PairState::New, |conn, no| pairs::state(conn, no))
    }

    async fn paused(&self) -> StoreResult<BTreeSet<ConnectorName>> {
        self.read(|conn| Box::pin(pairs::paused(conn))).await
    }

    async fn approvals(&self, open_only: bool) -> StoreResult<Vec<Approval>> {
        self.read(move |conn| Box::pin(approvals::sets(conn, open_only))).await
    }

    async fn approval(&self, id: i64) -> StoreResult<(Approval, Vec<ApprovalItem>)> {
        self.read(move |conn| {
            Box::pin(
                async move { Ok((approvals::read_approval(conn, id).await?, approvals::read_items(conn, id).await?)) },
            )
        })
        .await
    }

    async fn requested_run(&self, pair: &Pair) -> StoreResult<Option<RunTrigger>> {
        of_pair!(self, pair, None, |conn, no| requests::asked(conn, no))
    }

    async fn tasks(&self, filter: &TaskFilter) -> StoreResult<Vec<TaskRecord>> {
        let filter = filter.clone();
        self.read(move |conn| Box::pin(async move { tasks::read(conn, &filter).await })).await
    }

    async fn changes(&self, filter: &ChangeFilter) -> StoreResult<Vec<Change>> {
        let filter = filter.clone();
        self.read(move |conn| Box::pin(async move { changes::read(conn, &filter).await })).await
    }

    async fn totals(&self, pair: &Pair) -> StoreResult<Totals> {
        of_pair!(self, pair, Totals::default(), |conn, no| pairs::totals(conn, no))
    }

    async fn counts(&self, pair: &Pair, now: Timestamp) -> StoreResult<PairCounts> {
        of_pair!(self, pair, PairCounts::default(), |conn, no| pairs::counts(conn, no, now))
    }

    async fn audit(&self, before: Option<i64>, at_most: usize) -> StoreResult<Vec<AuditRecord>> {
        self.read(move |conn| Box::pin(requests::audit(conn, before, limit(at_most)))).await
    }

    async fn conditions(&self) -> StoreResult<Vec<Condition>> {
        self.read(|conn| Box::pin(conditions::all(conn))).await
    }

    async fn contact_orders(&self) -> StoreResult<Vec<ContactOrder>> {
        self.read(|conn| Box::pin(conditions::orders(conn))).await
    }

    async fn event_poll(&self, connector: &ConnectorName) -> StoreResult<EventPoll> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { event_poll::read(conn, &connector).await })).await
    }
}

#[async_trait]
impl EngineStore for SqliteStore {
    async fn append_events(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended> {
        let (reply, result) = oneshot::channel();
        let append = Append { connector: connector.clone(), targets: targets.to_vec(), events, now, reply };
        self.writer.append(append).await?;
        result.await.map_err(|_| closed())?
    }

    async fn raise(
        &self,
        pair: &Pair,
        subjects: &[Subject],
        priority: Priority,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<usize> {
        job!(self, [pair, subjects, cause], |tx| async {
            let no = tx.pair(&pair).await?;
            tx.raise(no, &subjects, priority, &cause, now).await
        })
    }

    async fn claim(
        &self,
        target: &TargetName,
        connectors: &[ConnectorName],
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        self.engine_only()?;
        let (target, connectors) = (target.clone(), connectors.to_vec());
        self.writer
            .run(move |tx| Box::pin(async move { tx.claim(&target, &connectors, now).await }), claims::forget)
            .await
    }

    async fn overdue(&self, pair: &Pair, before: Timestamp) -> StoreResult<Overdue> {
        let memory = Arc::clone(&self.memory);
        of_pair!(self, pair, Overdue::default(), |conn, no| async {
            let unclaimed = tasks::due_before(conn, no, &memory.busy(no), before).await?;
            Ok(Overdue { claimed: memory.claimed_before(no, before), unclaimed })
        })
    }

    async fn next_due(&self, target: &TargetName, connectors: &[ConnectorName]) -> StoreResult<Option<Timestamp>> {
        let memory = Arc::clone(&self.memory);
        let pairs: Vec<Pair> =
            connectors.iter().map(|connector| Pair { connector: connector.clone(), target: target.clone() }).collect();
        self.read(move |conn| {
            Box::pin(async move {
                let mut next: Option<i64> = None;
                for pair in &pairs {
                    let Some(no) = pairs::number(conn, pair).await? else { continue };
                    if let Some(at) = tasks::next_due(conn, no, &memory.busy(no)).await? {
                        next = Some(next.map_or(at, |next| next.min(at)));
                    }
                }
                codec::some_time(next)
            })
        })
        .await
    }

    async fn next_observation(&self) -> StoreResult<ObservationSeq> {
        self.engine_only()?;
        Ok(self.memory.next_observation())
    }

    async fn holder(&self, token: Token, account: &AccountId, name: &str) -> StoreResult<Holder> {
        job!(self, [account, name], |tx| tx.holder(token, &account, &name))
    }

    async fn open_intents(&self, token: Token) -> StoreResult<Vec<OpenIntent>> {
        job!(self, [], |tx| tx.open_intents(token))
    }

    async fn adopt(&self, token: Token, link: Link, from: Option<UserId>, now: Timestamp) -> StoreResult<Adopted> {
        job!(self, [], |tx| tx.adopt(token, link, from, now))
    }

    async fn step(&self, token: Token, step: Step, now: Timestamp) -> StoreResult<Stepped> {
        self.writer.step(token, step, None, now).await
    }

    async fn still_held(&self, token: Token) -> StoreResult<bool> {
        Ok(self.memory.is_claimed(token))
    }

    fn event_waits(&self, token: Token) -> watch::Receiver<Option<Priority>> {
        self.memory.event_waits(token)
    }

    fn abandon(&self, token: Token, now: Timestamp) {
        self.memory.abandon(token, now);
    }

    async fn complete(
        &self,
        token: Token,
        last: Step,
        held: Vec<NewApprovalItem>,
        recheck_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Stepped> {
        self.writer.step(token, last, Some(Ending { held, recheck_at }), now).await
    }

    async fn fail(&self, token: Token, failure: Failure, now: Timestamp) -> StoreResult<()> {
        job!(self, [], |tx| tx.fail(token, &failure, now))
    }

    async fn defer(
        &self,
        token: Token,
        until: Timestamp,
        reason: Option<(ErrorClass, String)>,
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [], |tx| tx.defer(token, until, reason, now))
    }

    async fn wait_for(
        &self,
        token: Token,
        others: &[Subject],
        ring_ends_it: bool,
        at_latest: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Waiting> {
        job!(self, [others], |tx| tx.wait_for(token, &others, ring_ends_it, at_latest, now))
    }

    async fn dropped_links(&self, pair: &Pair) -> StoreResult<Vec<Link>> {
        of_pair!(self, pair, Vec::new(), |conn, no| dropped::all(conn, no))
    }

    async fn seen_alive(&self, pair: &Pair, except: &UserId, limit: usize) -> StoreResult<Vec<UserId>> {
        let (except, limit) = (except.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
        of_pair!(self, pair, Vec::new(), |conn, no| links::seen_alive(conn, no, &except, limit))
    }

    async fn given(&self, pair: &Pair, group: &TargetGroupId) -> StoreResult<Vec<UserId>> {
        let group = group.clone();
        of_pair!(self, pair, Vec::new(), |conn, no| links::given(conn, no, &group))
    }

    async fn begin_run(&self, pair: &Pair, trigger: RunTrigger, mode: RunMode, now: Timestamp) -> StoreResult<RunId> {
        job!(self, [pair], |tx| tx.begin_run(&pair, &trigger, mode, now))
    }

    async fn progress_run(&self, run: RunId, report: serde_json::Value) -> StoreResult<()> {
        job!(self, [], |tx| tx.progress_run(run, &report))
    }

    async fn end_run(
        &self,
        run: RunId,
        outcome: RunOutcome,
        report: serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [], |tx| tx.end_run(run, &outcome, &report, now))
    }

    async fn claim_planned(
        &self,
        pair: &Pair,
        run: RunId,
        planned: Planned,
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        self.engine_only()?;
        let pair = pair.clone();
        self.writer
            .run(move |tx| Box::pin(async move { tx.claim_planned(&pair, run, &planned, now).await }), claims::forget)
            .await
    }

    async fn found_in_sync(&self, pair: &Pair, run: RunId, found: Vec<Planned>, now: Timestamp) -> StoreResult<usize> {
        self.engine_only()?;
        job!(self, [pair], |tx| tx.found_in_sync(&pair, run, &found, now))
    }

    async fn record_seen(&self, pair: &Pair, seen: Vec<(UserId, Option<String>)>, now: Timestamp) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.record_seen(&pair, &seen, now))
    }

    async fn stale_intents(&self, pair: &Pair, now: Timestamp) -> StoreResult<Vec<OpenIntent>> {
        of_pair!(self, pair, Vec::new(), |conn, no| intents::stale(conn, no, now))
    }

    async fn ensure_pairs(&self, pairs: &[Pair], now: Timestamp) -> StoreResult<Vec<PairRecord>> {
        job!(self, [pairs], |tx| tx.ensure_pairs(&pairs, now))
    }

    async fn set_pair_state(&self, pair: &Pair, state: PairState, now: Timestamp) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.set_pair_state(&pair, state, now))
    }

    async fn stop_for_target(&self, pair: &Pair, now: Timestamp) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.stop_for_target(&pair, now))
    }

    async fn hold_first_run(&self, pair: &Pair, summary: serde_json::Value, now: Timestamp) -> StoreResult<i64> {
        job!(self, [pair], |tx| tx.hold_first_run(&pair, &summary, now))
    }

    async fn pin_source(&self, connector: &ConnectorName, identity: &SourceIdentity) -> StoreResult<SourceIdentity> {
        job!(self, [connector, identity], |tx| tx.pin_source(&connector, &identity))
    }

    async fn repin_source(
        &self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [connector, identity], |tx| tx.repin_source(&connector, &identity, now))
    }

    async fn pin_target(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(TargetIdentity, Option<TargetName>)> {
        job!(self, [target, identity], |tx| tx.pin_target(&target, &identity))
    }

    async fn members_read(&self, pair: &Pair, after: Option<&TargetGroupId>) -> StoreResult<Vec<MembersRead>> {
        let after = after.cloned();
        of_pair!(self, pair, Vec::new(), |conn, no| members_read::of_pair(conn, no, after.as_ref()))
    }

    async fn keep_members_read(&self, pair: &Pair, read: &[MembersRead], oldest: Timestamp) -> StoreResult<()> {
        job!(self, [pair, read], |tx| tx.keep_members_read(&pair, &read, oldest))
    }

    async fn request_run(&self, pair: &Pair) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.request_run(&pair))
    }

    async fn group_paths(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, String)>> {
        of_pair!(self, pair, Vec::new(), |conn, no| groups::paths(conn, no))
    }

    async fn keep_group_paths(&self, pair: &Pair, moved: &[MovedGroup]) -> StoreResult<()> {
        job!(self, [pair, moved], |tx| tx.keep_group_paths(&pair, &moved))
    }

    async fn unconfirmed_links(&self, pair: &Pair) -> StoreResult<Vec<UserId>> {
        of_pair!(self, pair, Vec::new(), |conn, no| unconfirmed::of_pair(conn, no))
    }

    async fn confirm_links(
        &self,
        pair: &Pair,
        run: RunId,
        stand: &[UserId],
        dropped: &[(UserId, String)],
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [pair, stand, dropped], |tx| tx.confirm_links(&pair, run, &stand, &dropped, now))
    }

    async fn link_orders(&self, pair: &Pair) -> StoreResult<Vec<LinkOrder>> {
        of_pair!(self, pair, Vec::new(), |conn, no| orders::of_pair(conn, no))
    }

    async fn standing_items(&self, pair: &Pair) -> StoreResult<Vec<ApprovalItem>> {
        of_pair!(self, pair, Vec::new(), |conn, no| approvals::standing(conn, no))
    }

    async fn done_in_last_hour(&self, pair: &Pair, kind: Limited, now: Timestamp) -> StoreResult<u32> {
        of_pair!(self, pair, 0, |conn, no| intents::done_in_last_hour(conn, no, kind, now))
    }

    async fn has_open_items(&self, pair: &Pair, kind: ApprovalKind) -> StoreResult<bool> {
        of_pair!(self, pair, false, |conn, no| approvals::has_open_items(conn, no, kind))
    }

    async fn note_refusals(&self, refusals: &[Refusals]) -> StoreResult<()> {
        job!(self, [refusals], |tx| tx.note_refusals(&refusals))
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        job!(self, [], |tx| tx.prune(before, limit))
    }

    async fn keep_conditions(&self, conditions: &[Condition]) -> StoreResult<()> {
        job!(self, [conditions], |tx| tx.keep_conditions(&conditions))
    }

    async fn keep_event_poll(&self, connector: &ConnectorName, poll: &EventPoll) -> StoreResult<()> {
        job!(self, [connector, poll], |tx| tx.keep_event_poll(&connector, &poll))
    }

    async fn end_contact(&self, order: &ContactOrder, end: &OrderEnd, now: Timestamp) -> StoreResult<()> {
        let (order, end) = (order.clone(), end.clone());
        job!(self, [], |tx| tx.end_contact(&order, &end, now))
    }
}

#[async_trait]
impl OperatorStore for SqliteStore {
    async fn links_named(&self, name_or_id: &str) -> StoreResult<Vec<(Pair, Link)>> {
        let name_or_id = name_or_id.to_owned();
        self.read(move |conn| Box::pin(async move { links::named(conn, &name_or_id).await })).await
    }

    async fn remember_hooks(
        &self,
        connectors: &[(ConnectorName, serde_json::Value)],
    ) -> StoreResult<Vec<(ConnectorName, serde_json::Value)>> {
        job!(self, [connectors], |tx| tx.remember_hooks(&connectors))
    }

    async fn source_identity(&self, connector: &ConnectorName) -> StoreResult<Option<SourceIdentity>> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { pairs::source_identity(conn, &connector).await })).await
    }

    async fn target_identity(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(Option<TargetIdentity>, Option<TargetName>)> {
        let (target, identity) = (target.clone(), identity.clone());
        self.read(move |conn| Box::pin(async move { pairs::target_identity(conn, &target, &identity).await })).await
    }

    async fn confirm_identity(
        &self,
        connector: Option<&ConnectorName>,
        target: Option<&TargetName>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        let (connector, target) = (connector.cloned(), target.cloned());
        job!(self, [by], |tx| tx.confirm_identity(connector.as_ref(), target.as_ref(), &by, now))
    }

    async fn confirm_same_server(
        &self,
        target: &TargetName,
        found: &TargetIdentity,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<Vec<PairRecord>> {
        job!(self, [target, found, by], |tx| tx.confirm_same_server(&target, &found, &by, now))
    }

    async fn rename(&self, named: &Declared, to: &str, by: &str, now: Timestamp) -> StoreResult<Vec<PairHoldings>> {
        job!(self, [named, to, by], |tx| tx.rename(&named, &to, &by, now))
    }

    async fn remove(&self, named: &Declared, by: &str, now: Timestamp) -> StoreResult<Vec<PairHoldings>> {
        job!(self, [named, by], |tx| tx.remove(&named, &by, now))
    }

    async fn set_paused(&self, connector: &ConnectorName, paused: bool, by: &str, now: Timestamp) -> StoreResult<()> {
        job!(self, [connector, by], |tx| tx.set_paused(&connector, paused, &by, now))
    }

    async fn decide(&self, decision: &Decision, now: Timestamp) -> StoreResult<usize> {
        job!(self, [decision], |tx| tx.decide(&decision, now))
    }

    async fn withdraw_rejections(&self, set: i64, items: &[i64], by: &str, now: Timestamp) -> StoreResult<usize> {
        job!(self, [items, by], |tx| tx.withdraw_rejections(set, &items, &by, now))
    }

    async fn order_link(
        &self,
        pair: &Pair,
        user: &UserId,
        account: Option<&AccountId>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        let account = account.cloned();
        job!(self, [pair, user, by], |tx| tx.order_link(&pair, &user, account.as_ref(), &by, now))
    }

    async fn link_order(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<LinkOrder>> {
        let user = user.clone();
        of_pair!(self, pair, None, |conn, no| orders::of_user(conn, no, &user))
    }

    async fn request(&self, request: &Request, by: &str, now: Timestamp) -> StoreResult<()> {
        job!(self, [request, by], |tx| tx.request(&request, &by, now))
    }

    async fn replay_events(
        &self,
        filter: &EventFilter,
        targets_of: &(dyn for<'a> Fn(&'a ConnectorName) -> Vec<TargetName> + Send + Sync),
        by: &str,
        now: Timestamp,
    ) -> StoreResult<(usize, usize)> {
        let filter = filter.clone();
        let (events, subjects) =
            self.read(move |conn| Box::pin(async move { events::hints(conn, &filter).await })).await?;
        let targets: HashMap<ConnectorName, Vec<TargetName>> =
            subjects.keys().map(|connector| (connector.clone(), targets_of(connector))).collect();
        let tasks = job!(self, [by], |tx| tx.replay(&subjects, &targets, events, &by, now))?;
        Ok((events, tasks))
    }

    async fn replay_dead(&self, filter: &TaskFilter, by: &str, now: Timestamp) -> StoreResult<usize> {
        job!(self, [filter, by], |tx| tx.replay_dead(&filter, &by, now))
    }

    async fn event_counts(&self, connector: &ConnectorName) -> StoreResult<EventCounts> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { events::counts(conn, &connector).await })).await
    }

    async fn polled_events(&self, connector: &ConnectorName) -> StoreResult<PolledEvents> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { event_poll::polled(conn, &connector).await })).await
    }

    async fn refusals(&self) -> StoreResult<Vec<Refusals>> {
        self.read(|conn| Box::pin(hook_refusals::read(conn))).await
    }

    async fn order_contact(&self, about: &About, by: &str, now: Timestamp) -> StoreResult<()> {
        let about = about.clone();
        job!(self, [by], |tx| tx.order_contact(&about, &by, now))
    }

    async fn check(&self) -> StoreResult<()> {
        job!(self, [], |tx| tx.check())
    }
}
