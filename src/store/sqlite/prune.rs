//! Deletes old rows, a few at a time.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::{codec::limit, codec::millis, runs::successful, tx::Tx};
use crate::store::StoreResult;

/// Queries that delete the oldest rows, as far as they are older than ?1. The oldest come first by id, so rows that
/// stay are not scanned.
const OLD: [&str; 4] = [
    "DELETE FROM event WHERE seq IN (SELECT seq FROM (SELECT seq, received_at FROM event ORDER BY seq LIMIT ?2) WHERE received_at < ?1)",
    "DELETE FROM change WHERE id IN (SELECT id FROM (SELECT id, at FROM change ORDER BY id LIMIT ?2) WHERE at < ?1)",
    "DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT ?2) WHERE at < ?1)",
    // A pair keeps its last successful full reconcile, whose time is a metric.
    concat!(
        "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE started_at < ?1 AND ended_at < ?1 \
         AND id NOT IN (SELECT max(id) FROM run WHERE ",
        successful!(),
        " GROUP BY pair) ORDER BY id LIMIT ?2)"
    ),
];

/// Size of the write test, in bytes; larger than most commits. A failed commit leaves its space in the log behind, and
/// smaller commits still fit into it.
const ROOM: i64 = 256 << 10;

/// Queries that delete ended orders, items and approvals. Open approvals and rejections stay.
const OVER: [&str; 3] = [
    "DELETE FROM link_order WHERE (pair, user) IN \
     (SELECT pair, user FROM link_order WHERE ended = 1 AND unlinked IS NULL AND at < ?1 LIMIT ?2)",
    "DELETE FROM approval_item WHERE id IN \
     (SELECT id FROM approval_item WHERE state IN ('done', 'refused', 'withdrawn') AND since < ?1 ORDER BY id LIMIT ?2)",
    "DELETE FROM approval WHERE id IN (SELECT id FROM approval s WHERE open = 0 AND since < ?1 \
     AND NOT EXISTS (SELECT 1 FROM approval_item i WHERE i.approval = s.id) ORDER BY id LIMIT ?2)",
];

impl Tx {
    /// Writes a small amount of data, which fails while another process holds the lock.
    pub(super) async fn touch(&mut self) -> StoreResult<()> {
        sqlx::query("UPDATE meta SET value = value WHERE name = 'opened'").execute(&mut self.conn).await?;
        Ok(())
    }

    /// Writes [`ROOM`] bytes, which fails on a full disk.
    pub(super) async fn check(&mut self) -> StoreResult<()> {
        // Random data, because SQLite does not write unchanged content.
        sqlx::query(
            "INSERT INTO write_probe VALUES (1, randomblob(?1)) ON CONFLICT DO UPDATE SET data = excluded.data",
        )
        .bind(ROOM)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Limits the size of the file, in pages; `None`: unlimited.
    pub(super) async fn limit_pages(&mut self, pages: Option<u32>) -> StoreResult<()> {
        // `None` is SQLite's own maximum. SQLite never sets a limit below the present size.
        let pages = pages.unwrap_or(u32::MAX - 1);
        sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(&mut self.conn).await?;
        Ok(())
    }

    pub(super) async fn prune(&mut self, before: Timestamp, at_most: usize) -> StoreResult<usize> {
        let mut removed = 0;
        for sql in OLD.into_iter().chain(OVER) {
            let done = sqlx::query(sql).bind(millis(before)).bind(limit(at_most)).execute(&mut self.conn).await?;
            removed += done.rows_affected();
        }
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }
}
