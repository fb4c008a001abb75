//! Connections that only read, for the commands; opened on demand, up to a few.

use std::path::PathBuf;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use sqlx::SqliteConnection;
use tokio::sync::Semaphore;

use super::{open, writer::closed};
use crate::store::StoreResult;

/// Maximum number of concurrent reads.
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

    /// Reads with an exclusive connection. The connection of a caller that was dropped during the read is not used
    /// again.
    pub(super) async fn read<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, StoreResult<T>>,
    ) -> StoreResult<T> {
        let _turn = self.turns.acquire().await.map_err(|_| closed())?;
        let idle = self.idle.lock().pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => open::reader(&self.file).await?,
        };
        let result = work(&mut conn).await;
        self.idle.lock().push(conn);
        result
    }

    /// Closes idle connections, and refuses further reads.
    pub(super) async fn close(&self) {
        self.turns.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        for conn in idle {
            open::discard(conn).await;
        }
    }
}
