//! What people ask for, and what they did.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, writer::Tx};
use crate::{
    model::{Cause, ConnectorName, Pair, Priority, Subject, TargetName},
    store::{AuditRecord, Request, StoreResult},
};

impl Tx {
    /// Asks once: what is asked for already is not asked twice.
    pub(super) async fn ask(&mut self, request: &Request) -> StoreResult<()> {
        sqlx::query("INSERT INTO request (ask) VALUES (?1) ON CONFLICT DO NOTHING")
            .bind(codec::to_json(request)?)
            .execute(&mut self.conn)
            .await?;
        self.wake = true;
        Ok(())
    }

    pub(super) async fn request(&mut self, request: &Request, by: &str, now: Timestamp) -> StoreResult<()> {
        self.ask(request).await?;
        let Request::Run { connector, target, .. } = request;
        let on = target.as_ref().map(|target| format!(" on {target}")).unwrap_or_default();
        self.audit(by, &format!("asked for a run of {connector}{on}"), now).await
    }

    pub(super) async fn take_requests(&mut self) -> StoreResult<Vec<Request>> {
        let mut asked: Vec<(i64, String)> =
            sqlx::query_as("DELETE FROM request RETURNING id, ask").fetch_all(&mut self.conn).await?;
        asked.sort_unstable();
        asked.iter().map(|(_, ask)| codec::from_json(ask)).collect()
    }

    /// Raises what the hints of events name.
    pub(super) async fn replay(
        &mut self,
        subjects: &HashMap<ConnectorName, BTreeSet<Subject>>,
        targets: &HashMap<ConnectorName, Vec<TargetName>>,
        events: usize,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<usize> {
        let cause = Cause::Other { what: format!("replayed by {by}") };
        let mut tasks = 0;
        for (connector, subjects) in subjects {
            for target in targets.get(connector).into_iter().flatten() {
                let no = self.pair(&Pair { connector: connector.clone(), target: target.clone() }).await?;
                self.forget_not_possible(no, subjects).await?;
                tasks += self.raise(no, subjects, Priority::Retry, &cause, now).await?;
            }
        }
        self.audit(by, &format!("replayed {events} events: {tasks} tasks"), now).await?;
        Ok(tasks)
    }

    /// Writes down what a person did.
    pub(super) async fn audit(&mut self, by: &str, what: &str, now: Timestamp) -> StoreResult<()> {
        sqlx::query("INSERT INTO audit (at, by_whom, what) VALUES (?1, ?2, ?3)")
            .bind(millis(now))
            .bind(by)
            .bind(what)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }
}

/// What people did, newest first.
pub(super) async fn audit(
    conn: &mut SqliteConnection,
    before: Option<i64>,
    limit: i64,
) -> StoreResult<Vec<AuditRecord>> {
    let rows: Vec<(i64, i64, String, String)> =
        sqlx::query_as("SELECT id, at, by_whom, what FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2")
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|(id, at, by, what)| Ok(AuditRecord { id, at: codec::time(at)?, by, what })).collect()
}
