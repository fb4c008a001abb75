//! Tasks: raised, read, replayed.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    codec,
    codec::millis,
    codec::{chunk, limit},
    numbers::PairNo,
    tx::Tx,
};
use crate::{
    model::{Cause, Pair, Priority, Subject, TaskRecord, TaskState},
    store::{StoreResult, TaskFilter},
};

/// Maximum number of subjects that are raised in one transaction.
pub(super) const PART: usize = 1_000;

/// A request to reconcile a subject.
pub(super) struct Raise {
    pub pair: i64,
    pub subject: String,
    pub priority: Priority,
    pub at: Timestamp,
    pub recheck: bool,
    /// The cause as JSON.
    pub cause: String,
}

/// Start of the INSERT into `task`; each raise adds its parameters in the order of [`VALUE`].
const INTO: &str = "INSERT INTO task \
    (pair, subject, priority, not_before, recheck, since, cause, caused_at, last_cause, last_at) \
    SELECT column1, column2, column3, column4, column5, column4, column6, column4, column6, column4 FROM (VALUES ";
const VALUE: &str = "(?,?,?,?,?,?)";

/// Condition: the existing row is already as urgent as the raise, which then only increments the generation.
const AS_URGENT: &str = "task.dead = 0 AND task.priority <= excluded.priority \
    AND task.not_before <= excluded.not_before AND task.recheck >= excluded.recheck";

/// Conflict clause of the usual case, a new row or one that is already as urgent. It writes no index of an existing
/// row.
const BUMP: &str = " ON CONFLICT (pair, subject) DO UPDATE SET generation = task.generation + 1, \
    last_cause = excluded.last_cause, last_at = excluded.last_at WHERE ";

/// Conflict clause of the other rows: an earlier time and a higher priority win. A dead letter becomes a live task again,
/// and a task that was put off counts as raised now.
const HASTEN: &str = " ON CONFLICT (pair, subject) DO UPDATE SET generation = task.generation + 1, \
    last_cause = excluded.last_cause, last_at = excluded.last_at, \
    priority = iif(task.dead, excluded.priority, min(task.priority, excluded.priority)), \
    not_before = iif(task.dead, excluded.not_before, min(task.not_before, excluded.not_before)), \
    recheck = max(task.recheck, excluded.recheck), \
    attempts = iif(task.dead, 0, task.attempts), \
    since = iif(task.dead, excluded.since, min(task.since, excluded.since)), \
    cause = iif(task.dead OR task.since > excluded.since, excluded.cause, task.cause), \
    caused_at = iif(task.dead OR task.since > excluded.since, excluded.caused_at, task.caused_at), \
    dead = 0 WHERE NOT ";

/// Number of waiting tasks of one priority that is treated as a bulk.
const BULK: i64 = 300;

/// Returns the number of a priority in SQL.
pub(super) fn rank(priority: Priority) -> i64 {
    priority as i64
}

/// Returns the priority of a number in SQL.
pub(super) fn priority(rank: i64) -> Priority {
    match rank {
        0 => Priority::Removal,
        1 => Priority::Event,
        2 => Priority::Retry,
        3 => Priority::Bulk,
        4 => Priority::FanOut,
        _ => Priority::Run,
    }
}

impl Tx {
    /// Ensures that each of these subjects has a task. A subject of a pair must not occur twice.
    ///
    /// A generation only shows the holder of a claim that the task was raised after the claim. Without a claim, a row
    /// that is already as urgent is left unchanged. Most of a burst of events then writes no task. A command beside the
    /// server does not know the claims and always increments the generation.
    pub(super) async fn raise_all(&mut self, raises: Vec<Raise>) -> StoreResult<()> {
        self.wake |= !raises.is_empty();
        let claimed = self.memory.claimed();
        let (worked, idle): (Vec<Raise>, Vec<Raise>) = raises.into_iter().partition(|raise| {
            claimed.as_ref().is_none_or(|claimed| claimed.contains(&(raise.pair, raise.subject.clone())))
        });
        for raise in &worked {
            self.memory.note_event(raise.pair, &codec::parse(&raise.subject)?, raise.priority);
        }
        // After the increment a row is as urgent as requested, so the second statement leaves it unchanged.
        if self.upsert_all(&worked, BUMP).await? < worked.len() as u64 {
            self.upsert_all(&worked, HASTEN).await?;
        }
        self.upsert_all(&idle, HASTEN).await?;
        Ok(())
    }

    async fn upsert_all(&mut self, raises: &[Raise], on_conflict: &str) -> StoreResult<u64> {
        let mut written = 0;
        let mut rest = raises;
        while let Some(size) = chunk(rest.len()) {
            let (chunk, tail) = rest.split_at(size);
            written += self.upsert(chunk, on_conflict).await?;
            rest = tail;
        }
        Ok(written)
    }

    async fn upsert(&mut self, raises: &[Raise], on_conflict: &str) -> StoreResult<u64> {
        let values = vec![VALUE; raises.len()].join(",");
        let mut query = sqlx::query(AssertSqlSafe(format!("{INTO}{values}) WHERE true{on_conflict}({AS_URGENT})")));
        for raise in raises {
            query = query
                .bind(raise.pair)
                .bind(raise.subject.as_str())
                .bind(rank(raise.priority))
                .bind(millis(raise.at))
                .bind(raise.recheck)
                .bind(raise.cause.as_str());
        }
        Ok(query.execute(&mut self.conn).await?.rows_affected())
    }

    /// Frees the priority of new events: if [`BULK`] tasks of one priority already wait, they move to a lower one. A
    /// single event then never waits behind an import. Each task moves down at most twice.
    pub(super) async fn demote_bulk(&mut self, pair: i64) -> StoreResult<()> {
        for (from, to) in [(Priority::Event, Priority::Bulk), (Priority::Removal, Priority::Event)] {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM (SELECT 1 FROM task INDEXED BY task_due \
                 WHERE dead = 0 AND pair = ?1 AND priority = ?2 LIMIT ?3)",
            )
            .bind(pair)
            .bind(rank(from))
            .bind(BULK)
            .fetch_one(&mut self.conn)
            .await?;
            if waiting >= BULK {
                sqlx::query("UPDATE task SET priority = ?3 WHERE dead = 0 AND pair = ?1 AND priority = ?2")
                    .bind(pair)
                    .bind(rank(from))
                    .bind(rank(to))
                    .execute(&mut self.conn)
                    .await?;
            }
        }
        Ok(())
    }

    /// Raises tasks for subjects of one pair. The first thousand are raised at once; later transactions raise the
    /// others, as soon as this one is committed.
    pub(super) async fn raise<'a>(
        &mut self,
        no: PairNo,
        subjects: impl IntoIterator<Item = &'a Subject>,
        priority: Priority,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<usize> {
        let cause = codec::to_json(cause)?;
        let mut subjects: Vec<String> = subjects.into_iter().map(ToString::to_string).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let count = subjects.len();
        let later = subjects.split_off(count.min(PART));
        let raises: Vec<Raise> = subjects
            .into_iter()
            .map(|subject| Raise { pair: no.pair, subject, priority, at: now, recheck: false, cause: cause.clone() })
            .collect();
        self.raise_all(raises).await?;
        self.put_off(no.pair, &later, priority, &cause, now).await?;
        Ok(count)
    }

    /// Makes the tasks ready that wait for this subject.
    pub(super) async fn wake_waiting(&mut self, no: PairNo, subject: &Subject, now: Timestamp) -> StoreResult<()> {
        let woken = sqlx::query(
            // The index is named because the planner would otherwise scan all tasks of the pair.
            "UPDATE task INDEXED BY task_blocked SET blocked_by = NULL, not_before = min(not_before, ?3) WHERE pair = ?1 AND blocked_by = ?2",
        )
        .bind(no.pair)
        .bind(subject.to_string())
        .bind(millis(now))
        .execute(&mut self.conn)
        .await?;
        self.wake |= woken.rows_affected() > 0;
        Ok(())
    }

    /// Retries dead letters with new attempts.
    pub(super) async fn replay_dead(&mut self, filter: &TaskFilter, by: &str, now: Timestamp) -> StoreResult<usize> {
        let filter = TaskFilter { dead: Some(true), ..filter.clone() };
        let replayed = Cause::Other { what: format!("replayed by {by}") };
        let cause = codec::to_json(&replayed)?;
        let mut query = QueryBuilder::new(
            "UPDATE task SET dead = 0, attempts = 0, generation = generation + 1, blocked_by = NULL, priority = ",
        );
        query.push_bind(rank(Priority::Retry)).push(", not_before = ").push_bind(millis(now));
        query.push(", since = ").push_bind(millis(now)).push(", caused_at = ").push_bind(millis(now));
        query.push(", last_at = ").push_bind(millis(now)).push(", cause = ").push_bind(cause.clone());
        query.push(", last_cause = ").push_bind(cause);
        query.push(" WHERE (pair, subject) IN (SELECT t.pair, t.subject FROM ").push(JOINED);
        conditions(&mut query, &filter);
        query.push(" LIMIT ").push_bind(limit(filter.limit)).push(")");
        let count = usize::try_from(query.build().execute(&mut self.conn).await?.rows_affected()).unwrap_or(usize::MAX);
        let count = count + self.replay_unsupported(&filter, &replayed, now).await?;
        self.wake |= count > 0;
        self.audit(by, &format!("replayed {count} dead letters"), now).await?;
        Ok(count)
    }

    /// Returns the subjects that have dead letters.
    pub(super) async fn dead(&mut self, no: PairNo) -> StoreResult<HashSet<Subject>> {
        let subjects: Vec<String> =
            sqlx::query_scalar("SELECT subject FROM task INDEXED BY task_dead WHERE pair = ?1 AND dead = 1")
                .bind(no.pair)
                .fetch_all(&mut self.conn)
                .await?;
        subjects.iter().map(|subject| codec::parse(subject)).collect()
    }

    /// Deletes the dead letters of subjects that are now in sync.
    pub(super) async fn end_dead<'a>(
        &mut self,
        no: PairNo,
        subjects: impl IntoIterator<Item = &'a Subject>,
    ) -> StoreResult<()> {
        let subjects: Vec<String> = subjects.into_iter().map(ToString::to_string).collect();
        sqlx::query("DELETE FROM task INDEXED BY task_dead WHERE pair = ?1 AND dead = 1 AND subject IN (SELECT value FROM json_each(?2))")
            .bind(no.pair)
            .bind(codec::to_json(&subjects)?)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }
}

/// Join of tasks with the names of their pairs.
const JOINED: &str =
    "task t JOIN pair p ON p.no = t.pair JOIN connector c ON c.no = p.connector JOIN target g ON g.no = p.target";

fn conditions(query: &mut QueryBuilder<Sqlite>, filter: &TaskFilter) {
    query.push(" WHERE true");
    if let Some(connector) = &filter.connector {
        query.push(" AND c.name = ").push_bind(connector.as_str().to_owned());
    }
    if let Some(target) = &filter.target {
        query.push(" AND g.name = ").push_bind(target.as_str().to_owned());
    }
    if let Some(subject) = &filter.subject {
        query.push(" AND t.subject = ").push_bind(subject.to_string());
    }
    if let Some(dead) = filter.dead {
        query.push(if dead { " AND t.dead = 1" } else { " AND t.dead = 0" });
    }
    if let Some(class) = filter.class {
        query.push(" AND t.class = ").push_bind(class.as_str());
    }
    if let Some(reason) = &filter.reason {
        query.push(" AND instr(lower(t.error), ").push_bind(reason.to_lowercase()).push(") > 0");
    }
}

/// Returns tasks, most urgent first.
pub(super) async fn read(conn: &mut SqliteConnection, filter: &TaskFilter) -> StoreResult<Vec<TaskRecord>> {
    let mut query = QueryBuilder::new(
        "SELECT c.name, g.name, t.subject, t.generation, t.priority, t.dead, t.blocked_by, t.not_before, t.since, \
         t.attempts, t.class, t.error, t.cause FROM ",
    );
    query.push(JOINED);
    conditions(&mut query, filter);
    query.push(" ORDER BY t.dead, t.priority, t.not_before, t.subject LIMIT ").push_bind(limit(filter.limit));
    query.build().fetch_all(conn).await?.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> StoreResult<TaskRecord> {
    let state = match (row.try_get(5)?, row.try_get::<Option<&str>, _>(6)?) {
        (true, _) => TaskState::Dead,
        (false, Some(on)) => TaskState::Waiting { on: codec::parse(on)? },
        (false, None) => TaskState::Ready,
    };
    let error = match (row.try_get::<Option<String>, _>(10)?, row.try_get::<Option<String>, _>(11)?) {
        (Some(class), Some(text)) => Some((codec::from_word(class)?, text)),
        _ => None,
    };
    Ok(TaskRecord {
        pair: Pair::new(row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?),
        subject: codec::parse(row.try_get(2)?)?,
        generation: row.try_get(3)?,
        priority: priority(row.try_get(4)?),
        state,
        not_before: codec::time(row.try_get(7)?)?,
        since: codec::time(row.try_get(8)?)?,
        attempts: u32::try_from(row.try_get::<i64, _>(9)?).unwrap_or(u32::MAX),
        error,
        cause: codec::from_json(row.try_get(12)?)?,
    })
}

/// Returns subjects with a task that has been due since before this time, without claimed subjects; at most a hundred.
pub(super) async fn due_before(
    conn: &mut SqliteConnection,
    pair: i64,
    busy: &[Subject],
    before: Timestamp,
) -> StoreResult<Vec<Subject>> {
    let subjects: Vec<String> = sqlx::query_scalar(
        "SELECT t.subject FROM json_each('[0,1,2,3,4,5]') p CROSS JOIN task t INDEXED BY task_due \
         ON t.dead = 0 AND t.pair = ?1 AND t.priority = p.value AND t.not_before < ?2 \
         WHERE t.subject NOT IN (SELECT value FROM json_each(?3)) LIMIT 100",
    )
    .bind(pair)
    .bind(millis(before))
    .bind(codec::to_json(&busy)?)
    .fetch_all(conn)
    .await?;
    subjects.iter().map(|subject| codec::parse(subject)).collect()
}

/// Returns when the next task of a pair is due, without claimed subjects.
pub(super) async fn next_due(conn: &mut SqliteConnection, pair: i64, busy: &[Subject]) -> StoreResult<Option<i64>> {
    // A minimum for each priority, so that each is one index lookup.
    let (next,) = sqlx::query_as(
        "SELECT min(at) FROM (SELECT (SELECT not_before FROM task INDEXED BY task_due WHERE dead = 0 AND pair = ?1 AND priority = p.value \
         AND subject NOT IN (SELECT value FROM json_each(?2)) ORDER BY not_before LIMIT 1) AS at \
         FROM json_each('[0,1,2,3,4,5]') p)",
    )
    .bind(pair)
    .bind(codec::to_json(&busy)?)
    .fetch_one(conn)
    .await?;
    Ok(next)
}
