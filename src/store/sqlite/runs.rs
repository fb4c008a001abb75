//! Full reconcile runs.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{codec, codec::millis, tx::Tx};
use crate::{
    model::{Pair, RunId, RunMode, RunOutcome, RunProgress, RunRecord, RunTrigger},
    store::{StoreError, StoreResult},
};

impl Tx {
    pub(super) async fn begin_run(
        &mut self,
        pair: &Pair,
        trigger: &RunTrigger,
        mode: RunMode,
        now: Timestamp,
    ) -> StoreResult<RunId> {
        let no = self.pair(pair).await?;
        let id = RunId(sqlx::query_scalar(
            "INSERT INTO run (pair, trigger_word, mode, started_at, outcome, report) VALUES (?1, ?2, ?3, ?4, ?5, 'null') \
             RETURNING id",
        )
        .bind(no.pair)
        .bind(codec::to_word(trigger)?)
        .bind(codec::to_word(&mode)?)
        .bind(millis(now))
        .bind(codec::to_json(&RunOutcome::Running)?)
        .fetch_one(&mut self.conn)
        .await?);
        if mode == RunMode::Apply {
            self.run_for_asked(no.pair, id).await?;
        }
        Ok(id)
    }

    pub(super) async fn progress_run(&mut self, run: RunId, report: &serde_json::Value) -> StoreResult<()> {
        let done = sqlx::query("UPDATE run SET report = ?2 WHERE id = ?1 AND ended_at IS NULL")
            .bind(run.0)
            .bind(codec::to_json(report)?)
            .execute(&mut self.conn)
            .await?;
        under_way(run, done.rows_affected())
    }

    pub(super) async fn note_progress(&mut self, run: RunId, progress: &RunProgress) -> StoreResult<()> {
        sqlx::query("UPDATE run SET progress = ?2 WHERE id = ?1 AND ended_at IS NULL")
            .bind(run.0)
            .bind(codec::to_json(progress)?)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    pub(super) async fn cancel_run(&mut self, run: RunId, by: &str, now: Timestamp) -> StoreResult<()> {
        let done =
            sqlx::query("UPDATE run SET cancelled_by = coalesce(cancelled_by, ?2) WHERE id = ?1 AND ended_at IS NULL")
                .bind(run.0)
                .bind(by)
                .execute(&mut self.conn)
                .await?;
        under_way(run, done.rows_affected())?;
        self.audit(by, &format!("requested: cancel run {run}"), now).await
    }

    pub(super) async fn end_run(
        &mut self,
        run: RunId,
        outcome: &RunOutcome,
        report: &serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<()> {
        let cancelled: Option<bool> = sqlx::query_scalar(
            "UPDATE run SET outcome = ?2, report = ?3, ended_at = ?4, progress = NULL WHERE id = ?1 AND ended_at IS NULL \
             RETURNING cancelled_by IS NOT NULL",
        )
        .bind(run.0)
        .bind(codec::to_json(outcome)?)
        .bind(codec::to_json(report)?)
        .bind(millis(now))
        .fetch_optional(&mut self.conn)
        .await?;
        under_way(run, cancelled.iter().len() as u64)?;
        // Nobody waits for the rest of a run that an operator cancelled.
        let came_to_its_end = match outcome {
            RunOutcome::Stopped => cancelled == Some(true),
            outcome => !matches!(outcome, RunOutcome::Failed { .. }),
        };
        self.answer_asked(Some(run), came_to_its_end).await
    }

    /// Stops the runs that were under way when the previous process ended.
    pub(super) async fn stop_runs(&mut self, now: Timestamp) -> StoreResult<()> {
        sqlx::query("UPDATE run SET outcome = ?1, ended_at = ?2, progress = NULL WHERE ended_at IS NULL")
            .bind(codec::to_json(&RunOutcome::Stopped)?)
            .bind(millis(now))
            .execute(&mut self.conn)
            .await?;
        self.answer_asked(None, false).await
    }
}

/// Condition of a full reconcile that neither failed nor was stopped.
macro_rules! successful {
    () => {
        "mode = 'apply' AND ended_at IS NOT NULL AND outcome ->> '$.state' NOT IN ('failed', 'stopped')"
    };
}
pub(super) use successful;

/// Returns when the last successful full reconcile of a pair ended.
pub(super) async fn last_successful(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Option<Timestamp>> {
    let ended: Option<i64> = sqlx::query_scalar(concat!(
        "SELECT ended_at FROM run WHERE pair = ?1 AND ",
        successful!(),
        " ORDER BY id DESC LIMIT 1"
    ))
    .bind(pair)
    .fetch_optional(conn)
    .await?;
    codec::some_time(ended)
}

fn under_way(run: RunId, rows: u64) -> StoreResult<()> {
    if rows == 0 { Err(StoreError::NotFound(format!("run {run} is not under way"))) } else { Ok(()) }
}

/// Returns runs, newest first.
pub(super) async fn read(conn: &mut SqliteConnection, pair: Option<i64>, limit: i64) -> StoreResult<Vec<RunRecord>> {
    let mut query = QueryBuilder::new(
        "SELECT r.id, c.name AS connector, g.name AS target, r.trigger_word, r.mode, r.started_at, r.ended_at, r.outcome, \
         r.cancelled_by, r.progress, r.report FROM run r JOIN pair p ON p.no = r.pair JOIN connector c ON c.no = p.connector JOIN target g ON g.no = p.target",
    );
    if let Some(pair) = pair {
        query.push(" WHERE r.pair = ").push_bind(pair);
    }
    query.push(" ORDER BY r.id DESC LIMIT ").push_bind(limit);
    query.build().fetch_all(conn).await?.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> StoreResult<RunRecord> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let progress: Option<String> = row.try_get("progress")?;
    Ok(RunRecord {
        id: RunId(row.try_get("id")?),
        pair: Pair::new(text("connector")?, text("target")?),
        trigger: codec::from_word(text("trigger_word")?)?,
        mode: codec::from_word(text("mode")?)?,
        started_at: codec::time(row.try_get("started_at")?)?,
        ended_at: codec::some_time(row.try_get("ended_at")?)?,
        outcome: codec::from_json(&text("outcome")?)?,
        cancelled_by: row.try_get("cancelled_by")?,
        progress: progress.as_deref().map(codec::from_json).transpose()?,
        report: codec::from_json(&text("report")?)?,
    })
}
