//! Requests of operators, and the audit of their actions.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, tx::Tx};
use crate::{
    model::{Cause, ConnectorName, Pair, Priority, RunId, RunTrigger, Subject, TargetName},
    store::{AuditRecord, Request, StoreResult},
};

impl Tx {
    /// Requests a run, unless one is already requested.
    pub(super) async fn ask(&mut self, pair: i64, trigger: &RunTrigger) -> StoreResult<()> {
        sqlx::query("INSERT INTO asked (pair, trigger_word) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(pair)
            .bind(codec::to_word(trigger)?)
            .execute(&mut self.conn)
            .await?;
        self.wake = true;
        Ok(())
    }

    /// Requests a run because of a change of unknown size, unless one is already requested.
    pub(super) async fn request_run(&mut self, pair: &Pair) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        self.ask(no.pair, &RunTrigger::Event).await
    }

    pub(super) async fn request(&mut self, request: &Request, by: &str, now: Timestamp) -> StoreResult<()> {
        let Request::Run { connector, target, trigger } = request;
        let pairs = if let Some(target) = target {
            vec![self.pair(&Pair { connector: connector.clone(), target: target.clone() }).await?.pair]
        } else {
            let no = self.connector(connector).await?;
            sqlx::query_scalar("SELECT no FROM pair WHERE connector = ?1 ORDER BY no")
                .bind(no)
                .fetch_all(&mut self.conn)
                .await?
        };
        for pair in pairs {
            self.ask(pair, trigger).await?;
        }
        let on = target.as_ref().map(|target| format!(" on {target}")).unwrap_or_default();
        self.audit(by, &format!("requested a run of {connector}{on}"), now).await
    }

    /// Marks the open requests as fulfilled by a run that begins.
    pub(super) async fn run_for_asked(&mut self, pair: i64, run: RunId) -> StoreResult<()> {
        sqlx::query("UPDATE asked SET run = ?2 WHERE pair = ?1 AND run IS NULL")
            .bind(pair)
            .bind(run.0)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Closes the requests that a run fulfilled; `None`: those of all runs. If the run failed or was stopped, a run
    /// that an event requested is requested again.
    pub(super) async fn answer_asked(&mut self, run: Option<RunId>, came_to_its_end: bool) -> StoreResult<()> {
        let run = run.map(|run| run.0);
        if !came_to_its_end {
            sqlx::query(
                "UPDATE OR IGNORE asked SET run = NULL WHERE run IS NOT NULL AND run = coalesce(?1, run) \
                 AND trigger_word = ?2",
            )
            .bind(run)
            .bind(codec::to_word(&RunTrigger::Event)?)
            .execute(&mut self.conn)
            .await?;
        }
        sqlx::query("DELETE FROM asked WHERE run IS NOT NULL AND run = coalesce(?1, run)")
            .bind(run)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Raises tasks for the subjects of events' hints.
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
                self.forget_unsupported(no, subjects).await?;
                tasks += self.raise(no, subjects, Priority::Retry, &cause, now).await?;
            }
        }
        self.audit(by, &format!("replayed {events} events: {tasks} tasks"), now).await?;
        Ok(tasks)
    }

    /// Records an operator's action.
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

/// Returns the first trigger of a requested run of the pair that has not begun.
pub(super) async fn asked(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Option<RunTrigger>> {
    let word: Option<String> =
        sqlx::query_scalar("SELECT trigger_word FROM asked WHERE pair = ?1 AND run IS NULL ORDER BY id LIMIT 1")
            .bind(pair)
            .fetch_optional(conn)
            .await?;
    word.map(codec::from_word).transpose()
}

/// Returns operators' actions, newest first.
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
