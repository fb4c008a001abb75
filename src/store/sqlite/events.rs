//! Events and their hints.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use tokio::sync::oneshot;

use super::{
    codec,
    codec::{chunk, limit, millis},
    tasks::Raise,
    tx::{Done, Tx},
};
use crate::{
    model::{
        Cause, ConnectorName, EventOutcome, EventRecord, NewEvent, Pair, Priority, RunTrigger, Subject, TargetName,
        UserId,
    },
    store::{Appended, EventCounts, EventFilter, StoreResult},
};

/// The events of one caller.
pub(super) struct Append {
    pub connector: ConnectorName,
    pub targets: Vec<TargetName>,
    pub events: Vec<NewEvent>,
    pub now: Timestamp,
    pub reply: oneshot::Sender<StoreResult<Appended>>,
}

/// An event id in its stored form.
#[derive(Clone, PartialEq, Eq, Hash)]
enum EventId {
    Uuid([u8; 16]),
    Text(String),
}

impl EventId {
    fn new(id: &str) -> Self {
        codec::uuid_bytes(id).map_or_else(|| Self::Text(id.to_owned()), Self::Uuid)
    }
}

impl Append {
    /// Writes the events of many callers with few statements.
    pub(super) async fn append_batch(tx: StoreResult<&mut Tx>, appends: Vec<Self>) -> Done {
        let result = match tx {
            Ok(tx) => tx.append(&appends).await,
            Err(error) => Err(error),
        };
        let failed = result.as_ref().err().cloned();
        let answer = move |committed: StoreResult<()>| {
            let result = result.and_then(|counts| committed.map(|()| counts));
            for (nth, append) in appends.into_iter().enumerate() {
                // A caller that was dropped sends again and finds a duplicate.
                let _ = append.reply.send(match &result {
                    Ok(counts) => Ok(counts[nth]),
                    Err(error) => Err(error.clone()),
                });
            }
        };
        Done { failed, answer: Box::new(answer) }
    }
}

/// The identity of an event; a duplicate has the same id and time.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    connector: i64,
    at: i64,
    id: EventId,
}

/// An event of a batch that is to be inserted.
struct EventRow<'a> {
    caller: usize,
    key: Key,
    event: &'a NewEvent,
}

/// Counts a duplicate. That a stored event is polled again is normal: reads overlap.
fn note_again(again: &mut HashMap<Key, i64>, key: Key, event: &NewEvent) {
    if !event.polled {
        *again.entry(key).or_default() += 1;
    }
}

impl Tx {
    async fn append(&mut self, appends: &[Append]) -> StoreResult<Vec<Appended>> {
        let mut counts = vec![Appended::default(); appends.len()];
        let mut again: HashMap<Key, i64> = HashMap::new();
        let mut rows = Vec::with_capacity(appends.len());
        let mut seen = HashSet::with_capacity(appends.len());
        for (caller, append) in appends.iter().enumerate() {
            let connector = self.connector(&append.connector).await?;
            for event in &append.events {
                let id = EventId::new(&event.id);
                let key = Key { connector, at: event.occurred_at.map_or(0, millis), id };
                if seen.insert(key.clone()) {
                    rows.push(EventRow { caller, key, event });
                } else {
                    note_again(&mut again, key, event);
                    counts[caller].duplicates += 1;
                }
            }
        }
        let before = self.newest_event().await?;
        let mut stored = 0;
        let mut rest = rows.as_slice();
        while let Some(size) = chunk(rest.len()) {
            let (rows, tail) = rest.split_at(size);
            stored += self.insert_events(rows, appends).await?;
            rest = tail;
        }
        if stored < rows.len() as u64 {
            let fresh = self.ids_after(before).await?;
            rows.retain(|row| {
                let new = fresh.contains(&row.key);
                if !new {
                    note_again(&mut again, row.key.clone(), row.event);
                    counts[row.caller].duplicates += 1;
                }
                new
            });
        }
        for row in &rows {
            counts[row.caller].stored += 1;
        }
        self.count_duplicates(again).await?;
        self.count_events(appends, &counts).await?;
        self.put_to_work(appends, &rows).await?;
        Ok(counts)
    }

    async fn insert_events(&mut self, rows: &[EventRow<'_>], appends: &[Append]) -> StoreResult<u64> {
        let values = vec!["(?,?,?,?,?,?,?,?,?,?)"; rows.len()].join(",");
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO event (connector, id, received_at, occurred_at, kind, about, hints, ignored, body, polled) \
             VALUES {values} ON CONFLICT (connector, coalesce(occurred_at, 0), id) DO NOTHING"
        )));
        for row in rows {
            query = query.bind(row.key.connector);
            query = match &row.key.id {
                EventId::Uuid(bytes) => query.bind(bytes.to_vec()),
                EventId::Text(text) => query.bind(text.clone()),
            };
            let event = row.event;
            query = query
                .bind(millis(appends[row.caller].now))
                .bind(event.occurred_at.map(millis))
                .bind(event.kind.as_str())
                .bind(event.about.as_str())
                .bind(codec::to_json(&event.hints)?)
                .bind(match &event.outcome {
                    EventOutcome::Accepted => None,
                    EventOutcome::Ignored(why) => Some(why.as_str()),
                })
                .bind(event.body.as_str())
                .bind(event.polled);
        }
        let inserted = query.execute(&mut self.conn).await?;
        if inserted.rows_affected() > 0 {
            self.newest_event = Some(inserted.last_insert_rowid());
        }
        Ok(inserted.rows_affected())
    }

    /// Returns the sequence number of the newest event, cached because only this writer adds events.
    async fn newest_event(&mut self) -> StoreResult<i64> {
        if let Some(seq) = self.newest_event {
            return Ok(seq);
        }
        let seq = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM event").fetch_one(&mut self.conn).await?;
        self.newest_event = Some(seq);
        Ok(seq)
    }

    async fn ids_after(&mut self, seq: i64) -> StoreResult<HashSet<Key>> {
        let rows = sqlx::query(
            "SELECT connector, coalesce(occurred_at, 0), typeof(id) = 'blob', id FROM event WHERE seq > ?1",
        )
        .bind(seq)
        .fetch_all(&mut self.conn)
        .await?;
        let key = |row: &SqliteRow| {
            Ok(Key { connector: row.try_get(0)?, at: row.try_get(1)?, id: EventId::new(&event_id(row, 2)?) })
        };
        rows.iter().map(key).collect()
    }

    async fn count_duplicates(&mut self, again: HashMap<Key, i64>) -> StoreResult<()> {
        for (Key { connector, at, id }, times) in again {
            let query = sqlx::query(
                "UPDATE event SET duplicates = duplicates + ?1, polled = 0 \
                 WHERE connector = ?2 AND coalesce(occurred_at, 0) = ?3 AND id = ?4",
            )
            .bind(times)
            .bind(connector)
            .bind(at);
            match id {
                EventId::Uuid(bytes) => query.bind(bytes.to_vec()),
                EventId::Text(text) => query.bind(text),
            }
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }

    async fn count_events(&mut self, appends: &[Append], counts: &[Appended]) -> StoreResult<()> {
        let mut sums: HashMap<&ConnectorName, (usize, usize, Timestamp)> = HashMap::new();
        for (append, count) in appends.iter().zip(counts) {
            if append.events.first().is_some_and(|event| event.polled) {
                let no = self.connector(&append.connector).await?;
                self.count_polled(no, count.stored, append.now).await?;
                continue;
            }
            let sum = sums.entry(&append.connector).or_insert((0, 0, append.now));
            *sum = (sum.0 + count.stored, sum.1 + count.duplicates, sum.2.max(append.now));
        }
        for (connector, (stored, duplicates, last)) in sums {
            let no = self.connector(connector).await?;
            sqlx::query(
                "UPDATE connector SET events = events + ?2, duplicates = duplicates + ?3, \
                 last_event = max(coalesce(last_event, ?4), ?4) WHERE no = ?1",
            )
            .bind(no)
            .bind(i64::try_from(stored + duplicates).unwrap_or(i64::MAX))
            .bind(i64::try_from(duplicates).unwrap_or(i64::MAX))
            .bind(millis(last))
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }

    /// Returns linked users, each with its pair, from whom an event may remove access.
    async fn linked_users_at_risk(
        &mut self,
        appends: &[Append],
        rows: &[EventRow<'_>],
    ) -> StoreResult<HashSet<(i64, String)>> {
        let mut users: HashMap<i64, Vec<&str>> = HashMap::new();
        for row in rows.iter().filter(|row| row.event.may_remove && row.event.outcome == EventOutcome::Accepted) {
            let append = &appends[row.caller];
            for target in &append.targets {
                let no = self.pair(&Pair { connector: append.connector.clone(), target: target.clone() }).await?;
                let named = row.event.hints.iter().filter_map(|hint| hint.as_user().map(UserId::as_str));
                users.entry(no.pair).or_default().extend(named);
            }
        }
        let mut linked = HashSet::new();
        for (pair, users) in users {
            let found: Vec<String> = sqlx::query_scalar(
                "SELECT k.user FROM json_each(?2) j CROSS JOIN link k ON k.user = j.value AND k.pair = ?1",
            )
            .bind(pair)
            .bind(codec::to_json(&users)?)
            .fetch_all(&mut self.conn)
            .await?;
            linked.extend(found.into_iter().map(|user| (pair, Subject::user(user).to_string())));
        }
        Ok(linked)
    }

    async fn put_to_work(&mut self, appends: &[Append], rows: &[EventRow<'_>]) -> StoreResult<()> {
        let mut raises: HashMap<(i64, &Subject), Raise> = HashMap::new();
        let mut runs: BTreeSet<i64> = BTreeSet::new();
        let mut pairs: BTreeSet<i64> = BTreeSet::new();
        let linked = self.linked_users_at_risk(appends, rows).await?;
        for row in rows.iter().filter(|row| row.event.outcome == EventOutcome::Accepted) {
            let append = &appends[row.caller];
            if row.event.hints.is_empty() && !row.event.wants_run {
                continue;
            }
            let cause = codec::to_json(&Cause::Event { id: row.event.id.clone() })?;
            for target in &append.targets {
                let no = self.pair(&Pair { connector: append.connector.clone(), target: target.clone() }).await?;
                if row.event.wants_run {
                    runs.insert(no.pair);
                }
                pairs.insert(no.pair);
                for subject in &row.event.hints {
                    let removal = row.event.may_remove && linked.contains(&(no.pair, subject.to_string()));
                    let priority = if removal { Priority::Removal } else { Priority::Event };
                    raises
                        .entry((no.pair, subject))
                        .and_modify(|raise| {
                            raise.recheck |= row.event.recheck;
                            raise.priority = raise.priority.min(priority);
                        })
                        .or_insert_with(|| Raise {
                            pair: no.pair,
                            subject: subject.to_string(),
                            priority,
                            at: append.now,
                            recheck: row.event.recheck,
                            cause: cause.clone(),
                        });
                }
            }
        }
        for pair in runs {
            self.ask(pair, &RunTrigger::Event).await?;
        }
        for pair in pairs {
            self.demote_bulk(pair).await?;
        }
        let raises: Vec<Raise> = raises.into_values().collect();
        self.raise_all(raises).await
    }
}

fn event_id(row: &SqliteRow, at: usize) -> StoreResult<String> {
    if row.try_get(at)? { codec::uuid_text(row.try_get_unchecked(at + 1)?) } else { Ok(row.try_get_unchecked(at + 1)?) }
}

/// Adds the conditions of a filter to a query on `event e JOIN connector c`.
fn conditions(query: &mut QueryBuilder<Sqlite>, filter: &EventFilter) -> StoreResult<()> {
    query.push(" WHERE true");
    if let Some(connector) = &filter.connector {
        query.push(" AND c.name = ").push_bind(connector.as_str().to_owned());
    }
    for ids in [filter.id.as_slice(), &filter.ids].into_iter().filter(|ids| !ids.is_empty()) {
        // No index begins with the id, but this one contains it, and scanning it is cheaper than scanning the table.
        query.push(" AND e.seq IN (SELECT seq FROM event INDEXED BY event_once WHERE id IN (");
        for (at, id) in ids.iter().enumerate() {
            query.push(if at > 0 { ", " } else { "" });
            match EventId::new(id) {
                EventId::Uuid(bytes) => query.push_bind(bytes.to_vec()),
                EventId::Text(text) => query.push_bind(text),
            };
        }
        query.push("))");
    }
    if let Some(subject) = &filter.subject {
        query.push(" AND instr(e.hints, ").push_bind(codec::to_json(subject)?).push(") > 0");
    }
    if let Some(from) = filter.from {
        query.push(" AND e.received_at >= ").push_bind(millis(from));
    }
    if let Some(to) = filter.to {
        query.push(" AND e.received_at < ").push_bind(millis(to));
    }
    if filter.failed {
        query.push(
            " AND EXISTS (SELECT 1 FROM pair p JOIN task t ON t.pair = p.no AND t.dead = 1 \
             WHERE p.connector = e.connector AND instr(e.hints, '\"' || t.subject || '\"') > 0)",
        );
    }
    if filter.ignored {
        query.push(" AND e.ignored IS NOT NULL");
    }
    if let Some(before) = filter.before {
        query.push(" AND e.seq < ").push_bind(before);
    }
    Ok(())
}

/// Query for an event with all its columns.
const SELECTED: &str = "SELECT e.seq, c.name, typeof(e.id) = 'blob', e.id, e.kind, e.about, e.occurred_at, e.received_at, \
     e.duplicates, e.hints, e.ignored, e.body FROM event e JOIN connector c ON c.no = e.connector";

/// Returns events, newest first.
pub(super) async fn read(conn: &mut SqliteConnection, filter: &EventFilter) -> StoreResult<Vec<EventRecord>> {
    let mut query = QueryBuilder::new(SELECTED);
    conditions(&mut query, filter)?;
    query.push(" ORDER BY e.seq DESC LIMIT ").push_bind(limit(filter.limit));
    query.build().fetch_all(conn).await?.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> StoreResult<EventRecord> {
    Ok(EventRecord {
        seq: row.try_get(0)?,
        connector: row.try_get::<String, _>(1)?.into(),
        id: event_id(row, 2)?,
        kind: row.try_get(4)?,
        about: row.try_get(5)?,
        occurred_at: codec::some_time(row.try_get(6)?)?,
        received_at: codec::time(row.try_get(7)?)?,
        duplicates: row.try_get(8)?,
        hints: codec::from_json(row.try_get(9)?)?,
        outcome: row.try_get::<Option<String>, _>(10)?.map_or(EventOutcome::Accepted, EventOutcome::Ignored),
        body: row.try_get(11)?,
    })
}

/// Returns the number of accepted events that match a filter, and the subjects of their hints.
pub(super) async fn hints(
    conn: &mut SqliteConnection,
    filter: &EventFilter,
) -> StoreResult<(usize, HashMap<ConnectorName, BTreeSet<Subject>>)> {
    let mut query = QueryBuilder::new("SELECT c.name, e.hints FROM event e JOIN connector c ON c.no = e.connector");
    conditions(&mut query, filter)?;
    query.push(" AND e.ignored IS NULL ORDER BY e.seq DESC LIMIT ").push_bind(limit(filter.limit));
    let rows: Vec<(String, String)> = query.build_query_as().fetch_all(conn).await?;
    let mut subjects: HashMap<ConnectorName, BTreeSet<Subject>> = HashMap::new();
    for (connector, hints) in &rows {
        let hints: Vec<Subject> = codec::from_json(hints)?;
        subjects.entry(connector.as_str().into()).or_default().extend(hints);
    }
    Ok((rows.len(), subjects))
}

/// Returns the counts of a connector's events so far.
pub(super) async fn counts(conn: &mut SqliteConnection, connector: &ConnectorName) -> StoreResult<EventCounts> {
    let row: Option<(i64, i64, Option<i64>, Option<i64>)> =
        sqlx::query_as("SELECT events, duplicates, last_event, listens_since FROM connector WHERE name = ?1")
            .bind(connector.as_str())
            .fetch_optional(conn)
            .await?;
    let (received, duplicates, last, since) = row.unwrap_or_default();
    Ok(EventCounts {
        received: received.unsigned_abs(),
        duplicates: duplicates.unsigned_abs(),
        last: codec::some_time(last)?,
        since: codec::some_time(since)?,
    })
}

/// The hours from ?2 until ?3 in which events of the connector ?1 happened. One search of the index for each hour.
const BUSY_HOURS: &str = "WITH RECURSIVE hour(at) AS \
    (SELECT ?2 UNION ALL SELECT at + 3600000 FROM hour WHERE at + 3600000 < ?3) \
    SELECT count(*) FROM hour WHERE EXISTS (SELECT 1 FROM event WHERE connector = ?1 \
    AND coalesce(occurred_at, 0) >= hour.at AND coalesce(occurred_at, 0) < hour.at + 3600000)";

/// Returns in how many of the hours from `from` until `to` events of a connector happened.
pub(super) async fn busy_hours(
    conn: &mut SqliteConnection,
    connector: &ConnectorName,
    from: Timestamp,
    to: Timestamp,
) -> StoreResult<u64> {
    let no: Option<i64> = sqlx::query_scalar("SELECT no FROM connector WHERE name = ?1")
        .bind(connector.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(no) = no else { return Ok(0) };
    let query = sqlx::query_scalar(BUSY_HOURS).bind(no).bind(codec::millis(from)).bind(codec::millis(to));
    let hours: i64 = query.fetch_one(conn).await?;
    Ok(hours.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{OpenOptions, SqliteStore};

    #[tokio::test]
    async fn busy_hours_are_counted_without_reading_all_events() {
        let store = SqliteStore::open_temporary(OpenOptions::simulation(Timestamp::UNIX_EPOCH)).await.unwrap();
        let steps: Vec<String> = store
            .read(|conn| {
                Box::pin(async move {
                    let explain = format!("EXPLAIN QUERY PLAN {BUSY_HOURS}");
                    let query = sqlx::query(sqlx::AssertSqlSafe(explain)).bind(1).bind(0).bind(86_400_000);
                    Ok(query.fetch_all(conn).await?.iter().map(|row| row.get("detail")).collect())
                })
            })
            .await
            .unwrap();
        assert!(
            steps.iter().any(|step| step.starts_with("SEARCH event ") && step.contains("COVERING INDEX event_once")),
            "{steps:?}"
        );
        assert!(!steps.iter().any(|step| step.starts_with("SCAN event")), "{steps:?}");
    }

    #[tokio::test]
    async fn an_event_is_found_by_its_id_without_reading_the_others() {
        let store = SqliteStore::open_temporary(OpenOptions::simulation(Timestamp::UNIX_EPOCH)).await.unwrap();
        for id in ["0198c2f4-5b1e-7c1d-9d37-0f1f4f1f2a11", "not a uuid"] {
            let filter = EventFilter { id: Some(id.to_owned()), ..EventFilter::default() };
            let steps: Vec<String> = store
                .read(move |conn| {
                    Box::pin(async move {
                        let mut query = QueryBuilder::new(format!("EXPLAIN QUERY PLAN {SELECTED}"));
                        conditions(&mut query, &filter)?;
                        query.push(" ORDER BY e.seq DESC LIMIT ").push_bind(limit(0));
                        let rows = query.build().fetch_all(conn).await?;
                        Ok(rows.iter().map(|row| row.get("detail")).collect())
                    })
                })
                .await
                .unwrap();
            assert!(steps.iter().any(|step| step.starts_with("SEARCH e USING INTEGER PRIMARY KEY")), "{steps:?}");
            assert!(steps.iter().any(|step| step.contains("USING COVERING INDEX event_once")), "{steps:?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN e") && !step.contains("COVERING")), "{steps:?}");
        }
    }
}
