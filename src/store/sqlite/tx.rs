//! The transaction in which the writer's jobs work.

use std::{collections::HashSet, sync::Arc};

use futures::future::BoxFuture;
use sqlx::SqliteConnection;

use super::{
    memory::{Memory, Undo},
    numbers::Names,
};
use crate::store::{StoreError, StoreResult};

/// The transaction of a job, with the state that it shares.
pub(super) struct Tx {
    pub conn: SqliteConnection,
    pub memory: Arc<Memory>,
    pub names: Names,
    /// The sequence number of the newest event; `None`: not read yet.
    pub newest_event: Option<i64>,
    /// Whether a task may be due or a run may be requested.
    pub wake: bool,
    /// Whether parts of large raises may be pending.
    pub parts_wait: bool,
    pub undo: Vec<Undo>,
    /// Targets on which a claim ended in this transaction.
    pub ended_on: HashSet<i64>,
}

impl Tx {
    pub(super) fn new(conn: SqliteConnection, memory: Arc<Memory>) -> Self {
        Self {
            conn,
            // The previous process may have left parts.
            parts_wait: memory.is_engine(),
            memory,
            names: Names::default(),
            newest_event: None,
            wake: false,
            undo: Vec::new(),
            ended_on: HashSet::new(),
        }
    }

    /// Records how to undo a change of the claims if the transaction fails.
    pub(super) fn undo_with(&mut self, undo: Option<Undo>) {
        self.undo.extend(undo);
    }

    /// Runs one statement without parameters or rows.
    pub(super) async fn run(&mut self, sql: &'static str) -> StoreResult<()> {
        sqlx::query(sql).execute(&mut self.conn).await?;
        Ok(())
    }

    pub(super) fn take_back(&mut self, mark: usize) {
        for undo in self.undo.drain(mark..).rev() {
            self.memory.undo(undo);
        }
        self.names = Names::default();
        self.newest_event = None;
    }
}

/// A job after its work: how to answer it when its transaction has ended.
pub(super) struct Done {
    /// The error of the work, if its writes have to be rolled back.
    pub failed: Option<StoreError>,
    pub answer: Answer,
}

/// The work of a job; receives the transaction, or the error if there is none.
pub(super) type Work = Box<dyn for<'t> FnOnce(StoreResult<&'t mut Tx>) -> BoxFuture<'t, Done> + Send>;

/// Answers the caller of a job.
pub(super) type Answer = Box<dyn FnOnce(StoreResult<()>) + Send>;
