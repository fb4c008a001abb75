//! Alerts: what was announced, and what is not delivered yet.

use sqlx::SqliteConnection;

use super::{codec, tx::Tx};
use crate::{model::AlertState, store::StoreResult};

impl Tx {
    pub(super) async fn keep_alert_state(&mut self, name: &str, state: &AlertState) -> StoreResult<()> {
        sqlx::query("INSERT INTO alert (name, state) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET state = excluded.state")
            .bind(name)
            .bind(codec::to_json(state)?)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    pub(super) async fn forget_alerts_but(&mut self, names: &[String]) -> StoreResult<()> {
        sqlx::query("DELETE FROM alert WHERE name NOT IN (SELECT value FROM json_each(?1))")
            .bind(codec::to_json(&names)?)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }
}

/// Returns the stored state of an alert.
pub(super) async fn read(conn: &mut SqliteConnection, name: &str) -> StoreResult<AlertState> {
    let state: Option<String> =
        sqlx::query_scalar("SELECT state FROM alert WHERE name = ?1").bind(name).fetch_optional(conn).await?;
    state.map_or_else(|| Ok(AlertState::default()), |state| codec::from_json(&state))
}
