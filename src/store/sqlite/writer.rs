//! The one writer: a Tokio task that owns the only writing connection.
//!
//! It takes all pending jobs, runs them in one transaction, and answers them after the commit. One fsync then serves
//! many callers, and batches grow by themselves under load.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    events::Append,
    memory::Memory,
    step_batches::{self, Batchable, Ending, StepJob},
    tx::{Answer, Done, Tx, Work},
    work_signal::WorkSignal,
};
use crate::{
    model::{Priority, Token},
    store::{Step, Stepped, StoreError, StoreResult},
};

/// Maximum number of jobs in a commit.
const BATCH: usize = 512;
/// Maximum number of events in a commit, unless a single caller sends more.
const EVENTS: usize = 4096;
/// Maximum number of pending jobs; further callers wait for a free place.
const QUEUE: usize = 4096;
/// Retry interval for raising tasks while the store cannot be written.
const RETRY: Duration = Duration::from_millis(200);

enum Job {
    /// Append events; all of one batch are written together.
    Append(Append),
    /// Write a step; those of one batch that fit are written together.
    Step(Box<StepJob>),
    /// Do any other work.
    Work(Work),
    /// Finish and close.
    Close(oneshot::Sender<()>),
}

/// Sends jobs to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    memory: Arc<Memory>,
    failing: watch::Receiver<Option<String>>,
}

impl Writer {
    /// Starts the writer. `keep` lives until the connection is closed; `poll` is the interval of checks for writes of
    /// other processes.
    pub(super) fn start(
        tx: Tx,
        work_signal: Arc<WorkSignal>,
        poll: Option<Duration>,
        keep: impl Send + 'static,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let memory = Arc::clone(&tx.memory);
        let (fails, failing) = watch::channel(None);
        tokio::spawn(async move {
            work(tx, queue, &work_signal, poll, fails).await;
            drop(keep);
        });
        Self { jobs, memory, failing }
    }

    /// Runs a job in a transaction. `lost` is called with the result if the caller was dropped meanwhile.
    pub(super) async fn run<T, F>(&self, job: F, lost: fn(&Memory, T)) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, StoreResult<T>> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let memory = Arc::clone(&self.memory);
        let work: Work = Box::new(move |tx| {
            Box::pin(async move {
                let result = match tx {
                    Ok(tx) => job(tx).await,
                    Err(error) => Err(error),
                };
                let failed = result.as_ref().err().cloned();
                let answer = move |committed: StoreResult<()>| {
                    if let Err(Ok(value)) = reply.send(result.and_then(|value| committed.map(|()| value))) {
                        lost(&memory, value);
                    }
                };
                Done { failed, answer: Box::new(answer) }
            })
        });
        self.send(Job::Work(work)).await?;
        result.await.map_err(|_| closed())?
    }

    /// Watches for write errors: the reason, from the first write that fails until one succeeds. The sender is dropped
    /// when the writer ends.
    pub(super) fn failing(&self) -> watch::Receiver<Option<String>> {
        self.failing.clone()
    }

    /// Sends events to append.
    pub(super) async fn append(&self, append: Append) -> StoreResult<()> {
        self.send(Job::Append(append)).await
    }

    /// Writes a step of a claim.
    pub(super) async fn step(
        &self,
        token: Token,
        step: Step,
        end: Option<Ending>,
        now: Timestamp,
    ) -> StoreResult<Stepped> {
        let (reply, result) = oneshot::channel();
        self.send(Job::Step(Box::new(StepJob { token, step, end, now, reply, is_alone: false }))).await?;
        result.await.map_err(|_| closed())?
    }

    /// Finishes pending jobs and closes the connection.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn send(&self, job: Job) -> StoreResult<()> {
        self.jobs.send(job).await.map_err(|_| closed())
    }
}

/// Returns the error of a writer that has ended.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".into())
}

async fn work(
    mut tx: Tx,
    mut queue: mpsc::Receiver<Job>,
    work_signal: &WorkSignal,
    poll: Option<Duration>,
    fails: watch::Sender<Option<String>>,
) {
    let mut seen = data_version(&mut tx).await;
    let mut batch = Vec::with_capacity(BATCH);
    let (mut unraised, mut part_failed) = (false, false);
    let closed = loop {
        let rest = match (unraised || part_failed, tx.parts_wait) {
            (true, _) => Some(poll.map_or(RETRY, |every| every.min(RETRY))),
            (false, true) => Some(Duration::ZERO),
            (false, false) => poll,
        };
        let waited = tokio::select! {
            biased;
            received = queue.recv_many(&mut batch, BATCH) => Some(received),
            () = tx.memory.claim_abandoned() => None,
            () = sleep(rest) => None,
        };
        if waited == Some(0) {
            break None;
        }
        // Before the jobs of this batch, so that they find the claims ended.
        tx.memory.end_abandoned();
        let (mut appends, mut works, mut close) = (Vec::new(), Vec::new(), None);
        let mut writable = true;
        for job in batch.drain(..) {
            match job {
                Job::Append(append) => appends.push(append),
                Job::Step(step) => match works.last_mut() {
                    Some(Queued::Steps(steps)) => steps.push_back(*step),
                    _ => works.push(Queued::Steps(VecDeque::from([*step]))),
                },
                Job::Work(work) => works.push(Queued::One(work)),
                Job::Close(reply) => close = Some(reply),
            }
        }
        for (appends, works) in by_size(appends, works) {
            let before = if fails.borrow().is_some() { changes(&mut tx).await } else { None };
            let ended = commit_batch(&mut tx, appends, works).await;
            // A refused job that was alone leaves no commit, and is no sign of a store that cannot be written.
            writable = ended.committed || ended.unwritten.is_none();
            match ended.unwritten {
                Some(why) => drop(fails.send_replace(Some(why))),
                // A commit without writes does not prove that the store can be written.
                None if fails.borrow().is_some() && changes(&mut tx).await > before => {
                    fails.send_replace(no_room(&mut tx).await);
                }
                None => {}
            }
        }
        // Again, because a claim may have been abandoned while its ending was in this batch.
        unraised = !tx.memory.end_abandoned().is_empty();
        // A batch that failed has already waited for the lock.
        if unraised && writable {
            unraised = !raise_abandoned(&mut tx).await;
        }
        if tx.parts_wait && writable {
            part_failed = !raise_next_part(&mut tx).await;
        }
        // Own commits do not change the data version, so a difference shows another process's write.
        if poll.is_some() && (waited.is_none() || work_signal.poll_due()) {
            let now = data_version(&mut tx).await;
            if now != seen {
                tx.memory.note_outside_change();
                if let Err(error) = tx.note_events_of_others().await {
                    tracing::error!("events that another process raised cannot be read: {error}");
                }
                tx.wake = true;
                tx.parts_wait = true;
            }
            seen = now;
        }
        if std::mem::take(&mut tx.wake) {
            work_signal.wake();
        }
        if close.is_some() {
            break close;
        }
    };
    drop(queue);
    if let Err(error) = tx.conn.close().await {
        tracing::warn!(%error, "the store was not closed cleanly");
    }
    if let Some(reply) = closed {
        let _ = reply.send(());
    }
}

/// Returns why a commit of [`Tx::check`]'s size fails, if it does: a small commit may succeed where others fail.
async fn no_room(tx: &mut Tx) -> Option<String> {
    let written = async {
        tx.run("BEGIN IMMEDIATE").await?;
        tx.check().await?;
        tx.run("COMMIT").await
    };
    let error = written.await.err()?;
    // Fails if the transaction did not begin.
    let _ = tx.run("ROLLBACK").await;
    Some(cannot_be_written(&error).unwrap_or_else(|| error.to_string()))
}

/// Returns the number of rows that this connection has written since it was opened.
async fn changes(tx: &mut Tx) -> Option<i64> {
    sqlx::query_scalar("SELECT total_changes()").fetch_one(&mut tx.conn).await.ok()
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(Duration::ZERO) => {}
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Raises the tasks of abandoned claims; returns whether they were written.
async fn raise_abandoned(tx: &mut Tx) -> bool {
    let unraised = tx.memory.end_abandoned();
    let count = unraised.len();
    let raised = async {
        tx.run("BEGIN IMMEDIATE").await?;
        for one in &unraised {
            tx.raise(one.no, [&one.subject], Priority::Retry, &one.cause, one.at).await?;
        }
        tx.run("COMMIT").await
    };
    match raised.await {
        Ok(()) => {
            tx.memory.note_raised(count);
            tracing::warn!(tasks = count, "raised the tasks of claims that could not be ended");
            true
        }
        Err(error) => {
            tracing::debug!(tasks = count, "the tasks of abandoned claims cannot be raised yet: {error}");
            // Fails if the transaction did not begin.
            let _ = tx.run("ROLLBACK").await;
            tx.take_back(0);
            false
        }
    }
}

/// Raises the oldest pending part of a large raise, if there is one; returns `false` if that failed.
async fn raise_next_part(tx: &mut Tx) -> bool {
    let raised = async {
        match tx.next_part().await? {
            None => tx.parts_wait = false,
            Some(part) => {
                tx.run("BEGIN IMMEDIATE").await?;
                tx.raise_part(part).await?;
                tx.run("COMMIT").await?;
            }
        }
        Ok::<_, StoreError>(())
    };
    let Err(error) = raised.await else { return true };
    if cannot_be_written(&error).is_some() {
        tracing::debug!("the next part of a large batch of tasks cannot be raised yet: {error}");
    } else {
        tracing::error!(
            "the next part of a large batch of tasks cannot be raised: {error}. Run a full reconcile: \
                         usersync sync"
        );
    }
    // Fails if the transaction did not begin.
    let _ = tx.run("ROLLBACK").await;
    tx.take_back(0);
    false
}

async fn data_version(tx: &mut Tx) -> Option<i64> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut tx.conn).await.ok()
}

/// Splits jobs into transactions: events in order, none with many more than [`EVENTS`], and all other jobs in the last.
fn by_size(appends: Vec<Append>, works: Vec<Queued>) -> Vec<(Vec<Append>, Vec<Queued>)> {
    let mut all: Vec<(Vec<Append>, Vec<Queued>)> = Vec::new();
    let (mut batch, mut events) = (Vec::new(), 0);
    for append in appends {
        events += append.events.len();
        if events > EVENTS && !batch.is_empty() {
            events = append.events.len();
            all.push((std::mem::take(&mut batch), Vec::new()));
        }
        batch.push(append);
    }
    if !batch.is_empty() || !works.is_empty() {
        all.push((batch, works));
    }
    all
}

/// Result of a transaction.
struct Ended {
    committed: bool,
    /// Why the store could not be written; `None`: it could.
    unwritten: Option<String>,
}

/// Jobs of a transaction, in order.
enum Queued {
    One(Work),
    /// Consecutive steps.
    Steps(VecDeque<StepJob>),
}

/// What is written next.
enum Next {
    One(Work),
    Batch(Vec<StepJob>, Vec<Batchable>),
}

/// Returns what is written next: a job, or as many of the next steps as can be written in one batch.
async fn next(tx: StoreResult<&mut Tx>, queued: &mut VecDeque<Queued>) -> Option<Next> {
    let mut steps = match queued.pop_front()? {
        Queued::One(work) => return Some(Next::One(work)),
        Queued::Steps(steps) => steps,
    };
    let batch = match tx {
        Ok(tx) => tx.batchable(steps.make_contiguous()).await,
        Err(error) => Err(error),
    };
    // If they cannot be read, each step finds that out for itself.
    let batch = batch.unwrap_or_else(|_| {
        mark_alone(&mut steps);
        Vec::new()
    });
    let next = if batch.is_empty() {
        Next::One(steps.pop_front()?.alone())
    } else {
        Next::Batch(steps.drain(..batch.len()).collect(), batch)
    };
    if !steps.is_empty() {
        queued.push_front(Queued::Steps(steps));
    }
    Some(next)
}

/// Has these steps written one by one.
fn mark_alone(steps: &mut VecDeque<StepJob>) {
    for step in steps {
        step.is_alone = true;
    }
}

/// Runs jobs in one transaction; a job that fails is rolled back alone.
async fn commit_batch(tx: &mut Tx, appends: Vec<Append>, works: Vec<Queued>) -> Ended {
    let mut queued = VecDeque::with_capacity(works.len() + 1);
    if !appends.is_empty() {
        queued.push_back(Queued::One(Box::new(move |tx| Box::pin(Append::append_batch(tx, appends)))));
    }
    queued.extend(works);

    // A single job needs no savepoint, which would only cost time.
    let alone = queued.len() == 1 && !matches!(&queued[0], Queued::Steps(steps) if steps.len() > 1);
    let mut answers: Vec<Answer> = Vec::with_capacity(queued.len());
    let mut state = tx.run("BEGIN IMMEDIATE").await;
    let mut begin = "SAVEPOINT job";
    let mut unwritten = None;
    while let Some(next) = next(state.clone().map(|()| &mut *tx), &mut queued).await {
        let mark = tx.undo.len();
        if state.is_ok() && !alone {
            state = tx.run(std::mem::replace(&mut begin, "RELEASE job; SAVEPOINT job")).await;
        }
        let failed = match (next, &state) {
            (Next::One(work), state) => {
                let Done { failed, answer } = match state {
                    Ok(()) => work(Ok(tx)).await,
                    Err(error) => work(Err(error.clone())).await,
                };
                answers.push(answer);
                unwritten = unwritten.or(failed.as_ref().and_then(cannot_be_written));
                failed
            }
            (Next::Batch(steps, batch), state) => {
                let stepped = match state {
                    Ok(()) => tx.write_steps(&steps, &batch).await,
                    Err(error) => Err(error.clone()),
                };
                match stepped {
                    Ok(stepped) => {
                        answers.push(step_batches::answer(steps, stepped));
                        None
                    }
                    Err(error) => {
                        // Only those of them fail that fail alone too.
                        let mut steps = VecDeque::from(steps);
                        mark_alone(&mut steps);
                        queued.push_front(Queued::Steps(steps));
                        Some(error)
                    }
                }
            }
        };
        if let Some(error) = failed
            && state.is_ok()
        {
            tx.take_back(mark);
            // The rollback fails if SQLite has already rolled back the whole transaction, as it may on a full disk.
            state = if alone { Err(error) } else { tx.run("ROLLBACK TO job").await.map_err(|_| nothing_left()) };
        }
    }

    let committed = match state {
        Ok(()) => tx.run("COMMIT").await,
        Err(error) => Err(error),
    };
    if committed.is_ok() {
        tx.undo.clear();
    } else {
        tx.take_back(0);
        // Fails if there is no transaction any more; nothing is left to roll back then.
        let _ = tx.run("ROLLBACK").await;
    }
    for target in tx.ended_on.drain() {
        tx.memory.note_ended(target);
    }
    for answer in answers {
        answer(committed.clone());
    }
    let unwritten = unwritten.or_else(|| committed.as_ref().err().and_then(cannot_be_written));
    Ended { committed: committed.is_ok(), unwritten }
}

/// Returns why the store could not be written, if the error shows that.
fn cannot_be_written(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Unavailable(why) => Some(why.clone()),
        StoreError::ClaimEnded | StoreError::NotFound(_) | StoreError::Refused(_) | StoreError::Failed(_) => None,
    }
}

/// Returns the error for jobs that were rolled back together with another one.
fn nothing_left() -> StoreError {
    StoreError::Unavailable("the writes of this commit were rolled back".into())
}

#[cfg(test)]
mod tests;
