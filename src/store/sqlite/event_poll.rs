//! Event polling: how far Keycloak's event store was read, and the events that came by polling.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, tx::Tx};
use crate::{
    model::{ConnectorName, EventPoll},
    store::{PolledEvents, StoreResult},
};

/// Number of recent events that are compared.
const RECENT: i64 = 40;

impl Tx {
    pub(super) async fn keep_event_poll(&mut self, connector: &ConnectorName, poll: &EventPoll) -> StoreResult<()> {
        let no = self.connector(connector).await?;
        sqlx::query(
            "INSERT INTO event_poll (connector, state) VALUES (?1, ?2) \
             ON CONFLICT DO UPDATE SET state = excluded.state",
        )
        .bind(no)
        .bind(codec::to_json(poll)?)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Counts events that were new when they were polled.
    pub(super) async fn count_polled(&mut self, connector: i64, stored: usize, now: Timestamp) -> StoreResult<()> {
        if stored == 0 {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO event_poll (connector, events, last_event) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET events = events + excluded.events, \
             last_event = max(coalesce(last_event, excluded.last_event), excluded.last_event)",
        )
        .bind(connector)
        .bind(i64::try_from(stored).unwrap_or(i64::MAX))
        .bind(millis(now))
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }
}

/// Returns how far a connector's events were read.
pub(super) async fn read(conn: &mut SqliteConnection, connector: &ConnectorName) -> StoreResult<EventPoll> {
    let state: Option<String> =
        sqlx::query_scalar("SELECT p.state FROM event_poll p JOIN connector c ON c.no = p.connector WHERE c.name = ?1")
            .bind(connector.as_str())
            .fetch_optional(conn)
            .await?;
    state.map_or_else(|| Ok(EventPoll::default()), |state| codec::from_json(&state))
}

/// Returns the events of a connector that came by polling.
pub(super) async fn polled(conn: &mut SqliteConnection, connector: &ConnectorName) -> StoreResult<PolledEvents> {
    let row: Option<(i64, i64, Option<i64>)> = sqlx::query_as(
        "SELECT c.no, coalesce(p.events, 0), p.last_event FROM connector c LEFT JOIN event_poll p ON p.connector = c.no \
         WHERE c.name = ?1",
    )
    .bind(connector.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((no, events, last)) = row else { return Ok(PolledEvents::default()) };
    let (recent, only_polled): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(polled), 0) FROM \
         (SELECT polled FROM event WHERE connector = ?1 AND ignored IS NULL ORDER BY seq DESC LIMIT ?2)",
    )
    .bind(no)
    .bind(RECENT)
    .fetch_one(conn)
    .await?;
    Ok(PolledEvents {
        events: events.unsigned_abs(),
        last: codec::some_time(last)?,
        recent: recent.unsigned_abs(),
        only_polled: only_polled.unsigned_abs(),
    })
}
