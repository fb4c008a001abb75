//! Pairs, identities, pauses.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, fan_out, runs, tx::Tx};
use crate::{
    model::{ConnectorName, Pair, RunTrigger, SourceIdentity, TargetIdentity, TargetName},
    store::{PairCounts, PairRecord, PairState, StoreError, StoreResult, Totals},
};

impl Tx {
    pub(super) async fn ensure_pairs(&mut self, pairs: &[Pair], now: Timestamp) -> StoreResult<Vec<PairRecord>> {
        let mut records = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let no = self.pair(pair).await?;
            sqlx::query("UPDATE connector SET listens_since = ?2 WHERE no = ?1 AND listens_since IS NULL")
                .bind(no.connector)
                .bind(millis(now))
                .execute(&mut self.conn)
                .await?;
            // 0: an event or a command created the row before the pair was configured.
            sqlx::query("UPDATE pair SET since = ?2 WHERE no = ?1 AND since = 0")
                .bind(no.pair)
                .bind(millis(now))
                .execute(&mut self.conn)
                .await?;
            let (state, since): (String, i64) = sqlx::query_as("SELECT state, since FROM pair WHERE no = ?1")
                .bind(no.pair)
                .fetch_one(&mut self.conn)
                .await?;
            records.push(PairRecord {
                pair: pair.clone(),
                state: codec::from_word(state)?,
                since: codec::time(since)?,
            });
        }
        Ok(records)
    }

    pub(super) async fn remember_hooks(
        &mut self,
        connectors: &[(ConnectorName, serde_json::Value)],
    ) -> StoreResult<Vec<(ConnectorName, serde_json::Value)>> {
        for (name, hook) in connectors {
            let no = self.connector(name).await?;
            sqlx::query("UPDATE connector SET hook = ?2 WHERE no = ?1")
                .bind(no)
                .bind(hook.to_string())
                .execute(&mut self.conn)
                .await?;
        }
        let remembered: Vec<(String, String)> =
            sqlx::query_as("SELECT name, hook FROM connector WHERE hook IS NOT NULL ORDER BY name")
                .fetch_all(&mut self.conn)
                .await?;
        let removed =
            remembered.into_iter().filter(|(name, _)| connectors.iter().all(|(kept, _)| kept.as_str() != name));
        removed.map(|(name, hook)| Ok((name.into(), codec::from_json(&hook)?))).collect()
    }

    pub(super) async fn set_pair_state(&mut self, pair: &Pair, state: PairState, now: Timestamp) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        sqlx::query(
            "UPDATE pair SET state = ?2, since = iif(state = ?2, since, ?3), stopped_from = NULL \
             WHERE no = ?1 AND (state <> ?2 OR stopped_from IS NOT NULL)",
        )
        .bind(no.pair)
        .bind(codec::to_word(&state)?)
        .bind(millis(now))
        .execute(&mut self.conn)
        .await?;
        self.wake = true;
        Ok(())
    }

    pub(super) async fn stop_for_target(&mut self, pair: &Pair, now: Timestamp) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        sqlx::query("UPDATE pair SET stopped_from = state, state = ?2, since = ?3 WHERE no = ?1 AND state <> ?2")
            .bind(no.pair)
            .bind(codec::to_word(&PairState::Stopped)?)
            .bind(millis(now))
            .execute(&mut self.conn)
            .await?;
        self.wake = true;
        Ok(())
    }

    pub(super) async fn pin_source(
        &mut self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
    ) -> StoreResult<SourceIdentity> {
        let no = self.connector(connector).await?;
        sqlx::query("UPDATE connector SET issuer = ?2, service_account = ?3 WHERE no = ?1 AND issuer IS NULL")
            .bind(no)
            .bind(identity.issuer.as_str())
            .bind(identity.service_account.as_str())
            .execute(&mut self.conn)
            .await?;
        let pinned = source_identity(&mut self.conn, connector).await?;
        Ok(pinned.unwrap_or_else(|| identity.clone()))
    }

    pub(super) async fn repin_source(
        &mut self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
        now: Timestamp,
    ) -> StoreResult<()> {
        let no = self.connector(connector).await?;
        sqlx::query("UPDATE connector SET service_account = ?2 WHERE no = ?1 AND issuer = ?3")
            .bind(no)
            .bind(identity.service_account.as_str())
            .bind(identity.issuer.as_str())
            .execute(&mut self.conn)
            .await?;
        let account = &identity.service_account;
        let text = format!("connector {connector}: same realm, its service account was recreated ({account})");
        self.audit("usersync", &text, now).await
    }

    pub(super) async fn pin_target(
        &mut self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(TargetIdentity, Option<TargetName>)> {
        let no = self.target(target).await?;
        // The second case is a server that was pinned before its base URL was known.
        sqlx::query(
            "UPDATE target SET identity = ?2, base_url = ?3 \
             WHERE no = ?1 AND (identity IS NULL OR (identity = ?2 AND base_url IS NULL))",
        )
        .bind(no)
        .bind(identity.id.as_str())
        .bind(identity.base_url.as_deref())
        .execute(&mut self.conn)
        .await?;
        let (pinned, other) = target_identity(&mut self.conn, target, identity).await?;
        Ok((pinned.unwrap_or_else(|| identity.clone()), other))
    }

    pub(super) async fn confirm_identity(
        &mut self,
        connector: Option<&ConnectorName>,
        target: Option<&TargetName>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        if let Some(connector) = connector {
            let no = self.connector(connector).await?;
            sqlx::query("UPDATE connector SET issuer = NULL, service_account = NULL WHERE no = ?1")
                .bind(no)
                .execute(&mut self.conn)
                .await?;
            self.restart_pairs(
                "UPDATE pair SET state = 'new', since = ?2, stopped_from = NULL WHERE connector = ?1",
                no,
                now,
            )
            .await?;
            self.audit(by, &format!("confirmed the new identity of connector {connector}"), now).await?;
        }
        if let Some(target) = target {
            let no = self.target(target).await?;
            sqlx::query("UPDATE target SET identity = NULL, base_url = NULL WHERE no = ?1")
                .bind(no)
                .execute(&mut self.conn)
                .await?;
            // Account ids of the previous server mean nothing on another one.
            sqlx::query("DELETE FROM dropped_link WHERE target = ?1").bind(no).execute(&mut self.conn).await?;
            self.restart_pairs(
                "UPDATE pair SET state = 'new', since = ?2, stopped_from = NULL WHERE target = ?1",
                no,
                now,
            )
            .await?;
            self.unconfirm(no).await?;
            self.audit(by, &format!("confirmed the new identity of target {target}"), now).await?;
        }
        self.wake = true;
        Ok(())
    }

    pub(super) async fn confirm_same_server(
        &mut self,
        target: &TargetName,
        found: &TargetIdentity,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<Vec<PairRecord>> {
        let no = self.target(target).await?;
        let (pinned, other) = target_identity(&mut self.conn, target, found).await?;
        let Some(pinned) = pinned else {
            return Err(StoreError::Refused(format!(
                "target {target}: no server was recorded yet; usersync records the one that it finds at the first \
                 contact"
            )));
        };
        if pinned.id != found.id {
            return Err(StoreError::Refused(another_server(target, &pinned, found)));
        }
        if let Some(other) = other {
            return Err(StoreError::Refused(format!(
                "target {target} is the same server as target {other} ({found}); define it once and name it in both connectors"
            )));
        }
        sqlx::query("UPDATE target SET base_url = coalesce(?2, base_url) WHERE no = ?1")
            .bind(no)
            .bind(found.base_url.as_deref())
            .execute(&mut self.conn)
            .await?;
        self.compare_links(no).await?;
        let stopped: Vec<i64> =
            sqlx::query_scalar("SELECT no FROM pair WHERE target = ?1 AND state = ?2 AND stopped_from IS NOT NULL")
                .bind(no)
                .bind(codec::to_word(&PairState::Stopped)?)
                .fetch_all(&mut self.conn)
                .await?;
        for pair in stopped {
            sqlx::query("UPDATE pair SET state = stopped_from, since = ?2, stopped_from = NULL WHERE no = ?1")
                .bind(pair)
                .bind(millis(now))
                .execute(&mut self.conn)
                .await?;
        }
        let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(
            "SELECT p.no, c.name, p.state, p.since FROM pair p JOIN connector c ON c.no = p.connector \
             WHERE p.target = ?1 ORDER BY c.name",
        )
        .bind(no)
        .fetch_all(&mut self.conn)
        .await?;
        let mut pairs = Vec::with_capacity(rows.len());
        for (no, connector, state, since) in rows {
            let state: PairState = codec::from_word(state)?;
            if state == PairState::InService {
                self.ask(no, &RunTrigger::Operator).await?;
            }
            let pair = Pair { connector: connector.into(), target: target.clone() };
            pairs.push(PairRecord { pair, state, since: codec::time(since)? });
        }
        self.audit(by, &format!("confirmed target {target}: the same server, now {found}"), now).await?;
        self.wake = true;
        Ok(pairs)
    }

    async fn restart_pairs(&mut self, sql: &'static str, no: i64, now: Timestamp) -> StoreResult<()> {
        sqlx::query(sql).bind(no).bind(millis(now)).execute(&mut self.conn).await?;
        Ok(())
    }

    pub(super) async fn set_paused(
        &mut self,
        connector: &ConnectorName,
        paused: bool,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        let no = self.connector(connector).await?;
        sqlx::query("UPDATE connector SET paused = ?2 WHERE no = ?1")
            .bind(no)
            .bind(paused)
            .execute(&mut self.conn)
            .await?;
        let word = if paused { "paused" } else { "resumed" };
        self.audit(by, &format!("{word} connector {connector}"), now).await?;
        self.wake = true;
        Ok(())
    }
}

/// Returns why the server that answers is not the pinned one under another address.
fn another_server(target: &TargetName, pinned: &TargetIdentity, found: &TargetIdentity) -> String {
    let by_address = if found.id.contains("://") || pinned.id.contains("://") {
        " A server that reports no id is identified by its address only."
    } else {
        ""
    };
    format!(
        "target {target} is not the same server: its id is {}, and was {}.{by_address} If it is another server: \
         usersync target confirm {target}",
        found.id, pinned.id
    )
}

/// Returns a pair's number; `None`: the pair is unknown.
pub(super) async fn number(conn: &mut SqliteConnection, pair: &Pair) -> StoreResult<Option<i64>> {
    let no = sqlx::query_scalar(
        "SELECT p.no FROM pair p JOIN connector c ON c.no = p.connector JOIN target g ON g.no = p.target \
         WHERE c.name = ?1 AND g.name = ?2",
    )
    .bind(pair.connector.as_str())
    .bind(pair.target.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(no)
}

/// Returns the source's pinned identity.
pub(super) async fn source_identity(
    conn: &mut SqliteConnection,
    connector: &ConnectorName,
) -> StoreResult<Option<SourceIdentity>> {
    let pinned: Option<(String, String)> =
        sqlx::query_as("SELECT issuer, service_account FROM connector WHERE name = ?1 AND issuer IS NOT NULL")
            .bind(connector.as_str())
            .fetch_optional(conn)
            .await?;
    Ok(pinned.map(|(issuer, service_account)| SourceIdentity { issuer, service_account }))
}

/// Returns the target's pinned identity, and another name under which this server is known.
pub(super) async fn target_identity(
    conn: &mut SqliteConnection,
    target: &TargetName,
    identity: &TargetIdentity,
) -> StoreResult<(Option<TargetIdentity>, Option<TargetName>)> {
    let pinned: Option<(String, Option<String>)> =
        sqlx::query_as("SELECT identity, base_url FROM target WHERE name = ?1 AND identity IS NOT NULL")
            .bind(target.as_str())
            .fetch_optional(&mut *conn)
            .await?;
    let other: Option<String> = sqlx::query_scalar(
        "SELECT name FROM target WHERE identity = ?2 AND name <> ?1 AND coalesce(base_url = ?3, 1) ORDER BY no LIMIT 1",
    )
    .bind(target.as_str())
    .bind(identity.id.as_str())
    .bind(identity.base_url.as_deref())
    .fetch_optional(conn)
    .await?;
    Ok((pinned.map(|(id, base_url)| TargetIdentity { id, base_url }), other.map(TargetName::from)))
}

/// Returns the state of a pair.
pub(super) async fn state(conn: &mut SqliteConnection, pair: i64) -> StoreResult<PairState> {
    let state = sqlx::query_scalar("SELECT state FROM pair WHERE no = ?1").bind(pair).fetch_one(conn).await?;
    codec::from_word(state)
}

/// Returns the paused connectors.
pub(super) async fn paused(conn: &mut SqliteConnection) -> StoreResult<BTreeSet<ConnectorName>> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM connector WHERE paused = 1").fetch_all(conn).await?;
    Ok(names.into_iter().map(ConnectorName::from).collect())
}

/// Returns the totals of a pair, from columns that are kept up to date instead of counting rows.
pub(super) async fn totals(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Totals> {
    let (active, memberships, managed): (i64, i64, i64) =
        sqlx::query_as("SELECT active_links, memberships, managed_groups FROM pair WHERE no = ?1")
            .bind(pair)
            .fetch_one(conn)
            .await?;
    Ok(Totals {
        active_links: active.unsigned_abs(),
        memberships: memberships.unsigned_abs(),
        managed_groups: managed.unsigned_abs(),
    })
}

/// Returns the counts of a pair. Only tasks that are not due yet are counted row by row.
pub(super) async fn counts(conn: &mut SqliteConnection, pair: i64, now: Timestamp) -> StoreResult<PairCounts> {
    let (tasks, dead, links, missing, active): (i64, i64, i64, i64, i64) =
        sqlx::query_as("SELECT tasks, dead_tasks, links, missing_links, active_links FROM pair WHERE no = ?1")
            .bind(pair)
            .fetch_one(&mut *conn)
            .await?;
    let held: i64 =
        sqlx::query_scalar("SELECT open_items FROM pair WHERE no = ?1").bind(pair).fetch_one(&mut *conn).await?;
    let Totals { memberships, managed_groups, .. } = totals(&mut *conn, pair).await?;
    let (later, oldest, last): (i64, Option<i64>, Option<i64>) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM json_each('[0,1,2,3,4,5]') p CROSS JOIN task t INDEXED BY task_due \
             ON t.dead = 0 AND t.pair = ?1 AND t.priority = p.value AND t.not_before > ?2), \
         (SELECT since FROM task INDEXED BY task_oldest WHERE pair = ?1 AND dead = 0 AND since <= ?2 ORDER BY since LIMIT 1), \
         (SELECT at FROM change WHERE pair = ?1 ORDER BY id DESC LIMIT 1)",
    )
    .bind(pair)
    .bind(millis(now))
    .fetch_one(&mut *conn)
    .await?;
    // A task that was put off counts as raised when it is due.
    let (leaving, leaves_at): (i64, Option<i64>) = sqlx::query_as(
        "SELECT count(*), min(since) FROM task INDEXED BY task_oldest WHERE pair = ?1 AND dead = 0 AND since > ?2",
    )
    .bind(pair)
    .bind(millis(now))
    .fetch_one(&mut *conn)
    .await?;
    let (waiting, since) = fan_out::waiting(conn, pair).await?;
    let tasks = tasks + waiting;
    let oldest = [oldest, since].into_iter().flatten().min();
    Ok(PairCounts {
        tasks: tasks.unsigned_abs(),
        // The numbers are read one after the other while the writer goes on, so the difference can be negative.
        due: (tasks - later).max(0).unsigned_abs(),
        oldest: codec::some_time(oldest)?,
        leaving: leaving.unsigned_abs(),
        leaves_at: codec::some_time(leaves_at)?,
        dead: dead.unsigned_abs(),
        missing: missing.unsigned_abs(),
        links: links.unsigned_abs(),
        active_links: active.unsigned_abs(),
        memberships,
        managed_groups,
        held: held.unsigned_abs(),
        last_change: codec::some_time(last)?,
        last_successful_run: runs::last_successful(conn, pair).await?,
    })
}
