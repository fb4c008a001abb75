//! Connections that only read, for people and pages; as many as are asked for at once, up to a few.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use futures::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::sync::Semaphore;

use super::{open, writer::closed};
use crate::store::StoreResult;

/// At most so many read at once.
const READERS: usize = 4;

pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<SqliteConnection>>,
    turns: Semaphore,
}

impl Readers {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, idle: Mutex::default(), turns: Semaphore::new(READERS) }
    }

    /// Reads with a connection of its own; one whose reader went away half-way is not used again.
    pub(super) async fn read<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>>,
    ) -> StoreResult<T> {
        let _turn = self.turns.acquire().await.map_err(|_| closed())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => open::reader(&self.file).await?,
        };
        let result = work(&mut conn).await;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        result
    }

    /// Closes those that are idle; none is lent any more.
    pub(super) async fn close(&self) {
        self.turns.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for conn in idle {
            open::discard(conn).await;
        }
    }
}
