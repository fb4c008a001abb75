//! Reads change records.

use sqlx::{QueryBuilder, Row, SqliteConnection, sqlite::SqliteRow};

use super::{codec, codec::limit, codec::millis};
use crate::{
    model::{Change, Limited, Pair},
    store::{ChangeFilter, StoreResult},
};

/// Returns changes, newest first.
pub(super) async fn read(conn: &mut SqliteConnection, filter: &ChangeFilter) -> StoreResult<Vec<Change>> {
    let mut query = QueryBuilder::new(
        "SELECT h.id, h.at, c.name, g.name, h.subject, h.verb, h.name, h.before, h.after, h.limited, h.approved, h.cause, \
         h.caused_at, h.outcome FROM change h JOIN pair p ON p.no = h.pair JOIN connector c ON c.no = p.connector \
         JOIN target g ON g.no = p.target WHERE true",
    );
    if let Some(connector) = &filter.connector {
        query.push(" AND c.name = ").push_bind(connector.as_str().to_owned());
    }
    if let Some(target) = &filter.target {
        query.push(" AND g.name = ").push_bind(target.as_str().to_owned());
    }
    if let Some(subject) = &filter.subject {
        query.push(" AND h.subject = ").push_bind(subject.to_string());
    }
    if let Some(name) = &filter.name {
        query.push(" AND h.name = ").push_bind(name.clone());
    }
    if let Some(run) = filter.run {
        query.push(" AND h.run = ").push_bind(run.0);
    }
    if let Some(from) = filter.from {
        query.push(" AND h.at >= ").push_bind(millis(from));
    }
    if let Some(to) = filter.to {
        query.push(" AND h.at < ").push_bind(millis(to));
    }
    if let Some(before) = filter.before {
        query.push(" AND h.id < ").push_bind(before);
    }
    query.push(" ORDER BY h.id DESC LIMIT ").push_bind(limit(filter.limit));
    query.build().fetch_all(conn).await?.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> StoreResult<Change> {
    let limited: Option<String> = row.try_get(9)?;
    Ok(Change {
        id: row.try_get(0)?,
        at: codec::time(row.try_get(1)?)?,
        pair: Pair::new(row.try_get::<String, _>(2)?, row.try_get::<String, _>(3)?),
        subject: codec::parse(row.try_get(4)?)?,
        verb: row.try_get(5)?,
        name: row.try_get(6)?,
        before: codec::from_json(row.try_get(7)?)?,
        after: codec::from_json(row.try_get(8)?)?,
        limited: limited.map(codec::from_word::<Limited>).transpose()?,
        approved: row.try_get(10)?,
        cause: codec::from_json(row.try_get(11)?)?,
        caused_at: codec::some_time(row.try_get(12)?)?,
        outcome: codec::from_json(row.try_get(13)?)?,
    })
}
