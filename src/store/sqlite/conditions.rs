//! Current conditions, for commands and for the next process, and orders to contact a failing source or target.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, tx::Tx};
use crate::{
    model::{About, Condition},
    store::{ContactOrder, OrderEnd, StoreResult},
};

impl Tx {
    /// Replaces the stored conditions with exactly these.
    pub(super) async fn keep_conditions(&mut self, conditions: &[Condition]) -> StoreResult<()> {
        sqlx::query("DELETE FROM condition").execute(&mut self.conn).await?;
        for Condition { about, code, text, since, again_at } in conditions {
            let (connector, target) = names(about);
            sqlx::query(
                "INSERT INTO condition (connector, target, code, text, since, again_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .bind(connector)
            .bind(target)
            .bind(code.as_str())
            .bind(text.as_str())
            .bind(millis(*since))
            .bind(again_at.map(millis))
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }

    /// Orders that a source or target be contacted at once; replaces an earlier order.
    pub(super) async fn order_contact(&mut self, about: &About, by: &str, now: Timestamp) -> StoreResult<()> {
        let (connector, target) = names(about);
        sqlx::query(
            "INSERT INTO contact_order (connector, target, by_whom, at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET by_whom = excluded.by_whom, at = excluded.at, ended = 0, why = NULL",
        )
        .bind(connector)
        .bind(target)
        .bind(by)
        .bind(millis(now))
        .execute(&mut self.conn)
        .await?;
        self.audit(by, &format!("requested: contact {about} at once"), now).await?;
        self.wake = true;
        Ok(())
    }

    /// Records how an order ended; a newer order about the same source or target stays open.
    pub(super) async fn end_contact(
        &mut self,
        order: &ContactOrder,
        end: &OrderEnd,
        now: Timestamp,
    ) -> StoreResult<()> {
        let (connector, target) = names(&order.about);
        let why = match end {
            OrderEnd::Done => None,
            OrderEnd::Refused { why } => Some(why.as_str()),
        };
        sqlx::query(
            "UPDATE contact_order SET ended = 1, why = ?4 WHERE connector = ?1 AND target = ?2 AND at = ?3 AND ended = 0",
        )
        .bind(connector)
        .bind(target)
        .bind(millis(order.at))
        .bind(why)
        .execute(&mut self.conn)
        .await?;
        let line = match why {
            None => format!("done: contact {}: it answers", order.about),
            Some(why) => format!("failed: contact {}: {why}", order.about),
        };
        self.audit(&order.by, &line, now).await
    }
}

/// Returns the names of connector and target under which a row is stored.
fn names(about: &About) -> (&str, &str) {
    let connector = about.connector_name().map_or("", |name| name.as_str());
    (connector, about.target_name().map_or("", |name| name.as_str()))
}

/// Returns the source or target of a row with these names.
fn about(connector: String, target: String) -> About {
    let some = |name: String| Some(name).filter(|name| !name.is_empty());
    About::of(some(connector).map(Into::into), some(target).map(Into::into))
}

type OrderRow = (String, String, String, i64, bool, Option<String>);

/// Returns the newest order about each source or target.
pub(super) async fn orders(conn: &mut SqliteConnection) -> StoreResult<Vec<ContactOrder>> {
    let rows: Vec<OrderRow> =
        sqlx::query_as("SELECT connector, target, by_whom, at, ended, why FROM contact_order ORDER BY at")
            .fetch_all(conn)
            .await?;
    let order = |(connector, target, by, at, ended, why): OrderRow| {
        let end = why.map_or(OrderEnd::Done, |why| OrderEnd::Refused { why });
        Ok(ContactOrder { about: about(connector, target), by, at: codec::time(at)?, ended: ended.then_some(end) })
    };
    rows.into_iter().map(order).collect()
}

type ConditionRow = (String, String, String, String, i64, Option<i64>);

/// Returns all current conditions, oldest first.
pub(super) async fn all(conn: &mut SqliteConnection) -> StoreResult<Vec<Condition>> {
    let rows: Vec<ConditionRow> = sqlx::query_as(
        "SELECT connector, target, code, text, since, again_at FROM condition ORDER BY since, connector, target",
    )
    .fetch_all(conn)
    .await?;
    let condition = |(connector, target, code, text, since, again_at): ConditionRow| {
        Ok(Condition {
            about: about(connector, target),
            code: codec::from_word(code)?,
            text,
            since: codec::time(since)?,
            again_at: codec::some_time(again_at)?,
        })
    };
    rows.into_iter().map(condition).collect()
}
