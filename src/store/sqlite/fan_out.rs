//! Large raises, such as the deletion of a group with a hundred thousand members. They are stored in parts, and the
//! writer turns each part into tasks in its own transaction. An event that arrives meanwhile is not delayed by them.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{
    codec,
    codec::millis,
    tasks::{PART, Raise, priority, rank},
    tx::Tx,
};
use crate::{model::Priority, store::StoreResult};

/// A pending part.
pub(super) struct Part {
    id: i64,
    pub raises: Vec<Raise>,
}

type PartRow = (i64, i64, i64, i64, String, String);

impl Tx {
    /// Stores subjects that later transactions raise.
    pub(super) async fn put_off(
        &mut self,
        pair: i64,
        subjects: &[String],
        priority: Priority,
        cause: &str,
        at: Timestamp,
    ) -> StoreResult<()> {
        for part in subjects.chunks(PART) {
            sqlx::query(
                "INSERT INTO fan_out (pair, priority, at, cause, count, subjects) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .bind(pair)
            .bind(rank(priority))
            .bind(millis(at))
            .bind(cause)
            .bind(i64::try_from(part.len()).unwrap_or(i64::MAX))
            .bind(codec::to_json(&part)?)
            .execute(&mut self.conn)
            .await?;
        }
        self.parts_wait |= !subjects.is_empty() && self.memory.is_engine();
        Ok(())
    }

    /// Returns the oldest pending part.
    pub(super) async fn next_part(&mut self) -> StoreResult<Option<Part>> {
        let row: Option<PartRow> =
            sqlx::query_as("SELECT id, pair, priority, at, cause, subjects FROM fan_out ORDER BY id LIMIT 1")
                .fetch_optional(&mut self.conn)
                .await?;
        let Some((id, pair, rank, at, cause, subjects)) = row else { return Ok(None) };
        let (priority, at) = (priority(rank), codec::time(at)?);
        let raise = |subject| Raise { pair, subject, priority, at, recheck: false, cause: cause.clone() };
        let subjects: Vec<String> = codec::from_json(&subjects)?;
        Ok(Some(Part { id, raises: subjects.into_iter().map(raise).collect() }))
    }

    /// Turns a part into tasks.
    pub(super) async fn raise_part(&mut self, part: Part) -> StoreResult<()> {
        self.raise_all(part.raises).await?;
        sqlx::query("DELETE FROM fan_out WHERE id = ?1").bind(part.id).execute(&mut self.conn).await?;
        Ok(())
    }
}

/// Returns the number of subjects of a pair that wait to become tasks, and since when.
pub(super) async fn waiting(conn: &mut SqliteConnection, pair: i64) -> StoreResult<(i64, Option<i64>)> {
    let waiting = sqlx::query_as("SELECT coalesce(sum(count), 0), min(at) FROM fan_out WHERE pair = ?1")
        .bind(pair)
        .fetch_one(conn)
        .await?;
    Ok(waiting)
}
