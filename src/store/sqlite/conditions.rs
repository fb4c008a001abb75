//! Conditions that hold, for commands and for the next process.

use sqlx::SqliteConnection;

use super::{codec, codec::millis, writer::Tx};
use crate::{
    model::{About, Condition},
    store::StoreResult,
};

impl Tx {
    /// Makes exactly these the conditions that hold.
    pub(super) async fn keep_conditions(&mut self, conditions: &[Condition]) -> StoreResult<()> {
        sqlx::query("DELETE FROM condition").execute(&mut self.conn).await?;
        for Condition { about, code, text, since } in conditions {
            sqlx::query("INSERT INTO condition (connector, target, code, text, since) VALUES (?1, ?2, ?3, ?4, ?5)")
                .bind(about.connector_name().map_or("", |name| name.as_str()))
                .bind(about.target_name().map_or("", |name| name.as_str()))
                .bind(code.as_str())
                .bind(text.as_str())
                .bind(millis(*since))
                .execute(&mut self.conn)
                .await?;
        }
        Ok(())
    }
}

/// All that hold, the oldest first.
pub(super) async fn all(conn: &mut SqliteConnection) -> StoreResult<Vec<Condition>> {
    let rows: Vec<(String, String, String, String, i64)> =
        sqlx::query_as("SELECT connector, target, code, text, since FROM condition ORDER BY since, connector, target")
            .fetch_all(conn)
            .await?;
    let condition = |(connector, target, code, text, since): (String, String, String, String, i64)| {
        let some = |name: String| Some(name).filter(|name| !name.is_empty());
        let about = About::of(some(connector).map(Into::into), some(target).map(Into::into));
        Ok(Condition { about, code: codec::from_word(code)?, text, since: codec::time(since)? })
    };
    rows.into_iter().map(condition).collect()
}
