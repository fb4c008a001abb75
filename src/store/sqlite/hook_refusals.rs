//! Requests that the hook refused.

use sqlx::{Row as _, SqliteConnection};

use super::{codec, codec::millis, tx::Tx};
use crate::{model::Refusals, store::StoreResult};

/// Connector number for requests to an address that names no connector.
const NO_CONNECTOR: i64 = 0;
/// Time without a refusal after which a count restarts, in milliseconds.
const A_DAY: i64 = 24 * 60 * 60 * 1000;

impl Tx {
    pub(super) async fn note_refusals(&mut self, refusals: &[Refusals]) -> StoreResult<()> {
        for Refusals { connector, reason, count, since, last } in refusals {
            let no = match connector {
                Some(name) => self.connector(name).await?,
                None => NO_CONNECTOR,
            };
            // An accepted event since the last refusal, or a day without refusals, restarts the count.
            sqlx::query(
                "INSERT INTO hook_refusal AS r (connector, reason, count, since, last) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT DO UPDATE SET (count, since) = (SELECT \
                     CASE WHEN anew THEN ?3 ELSE r.count + ?3 END, CASE WHEN anew THEN ?4 ELSE r.since END \
                     FROM (SELECT ?4 - r.last > ?6 OR EXISTS \
                         (SELECT 1 FROM connector c WHERE c.no = ?1 AND c.last_event > r.last) AS anew)), \
                 last = max(r.last, ?5)",
            )
            .bind(no)
            .bind(codec::to_word(reason)?)
            .bind(i64::try_from(*count).unwrap_or(i64::MAX))
            .bind(millis(*since))
            .bind(millis(*last))
            .bind(A_DAY)
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }
}

/// Returns all refused requests, newest first.
pub(super) async fn read(conn: &mut SqliteConnection) -> StoreResult<Vec<Refusals>> {
    let rows = sqlx::query(
        "SELECT c.name, r.reason, r.count, r.since, r.last FROM hook_refusal r LEFT JOIN connector c ON c.no = r.connector \
         ORDER BY r.last DESC, r.connector, r.reason",
    )
    .fetch_all(conn)
    .await?;
    let refusals = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Refusals {
            connector: row.try_get::<Option<String>, _>(0)?.map(Into::into),
            reason: codec::from_word(row.try_get(1)?)?,
            count: u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or_default(),
            since: codec::time(row.try_get(3)?)?,
            last: codec::time(row.try_get(4)?)?,
        })
    };
    rows.iter().map(refusals).collect()
}
