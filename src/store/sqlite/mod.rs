//! The embedded store: one `SQLite` file, one writer, a few readers.
//!
//! Every write is a job of the one writer (`writer`), which runs many jobs in one commit. Claims are kept in memory
//! (`memory`): with one process, a lease ends only with that process. Data that another process may write (a command
//! beside a running server) is never cached in memory.

mod activity;
mod alerts;
mod approvals;
mod changes;
mod claims;
mod codec;
mod conditions;
mod dropped;
mod endings;
mod engine_store;
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
mod operator_store;
mod orders;
mod pairs;
mod prune;
mod readers;
mod renames;
mod requests;
mod runs;
mod step_batches;
mod steps;
mod store_reads;
mod tasks;
mod tx;
mod unconfirmed;
mod unsupported;
mod work_signal;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use tokio::sync::watch;

use self::{memory::Memory, readers::Readers, tx::Tx, work_signal::WorkSignal, writer::Writer};
use crate::store::{StoreError, StoreResult};

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
use job;

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
use of_pair;

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
