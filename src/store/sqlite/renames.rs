//! Renames connectors and targets, and removes those that are taken out of service for good.

use jiff::Timestamp;

use super::{codec, codec::millis, tx::Tx};
use crate::{
    model::{ChangeOutcome, Declared, IntentId, Pair, RunTrigger, count},
    store::{PairHoldings, PairState, StoreError, StoreResult},
};

/// Statements that forget all data of pairs except their history. `{pairs}` stands for a query of the pairs' numbers.
const FORGET: [&str; 15] = [
    "DELETE FROM membership WHERE link IN (SELECT id FROM link WHERE pair IN ({pairs}))",
    "DELETE FROM link WHERE pair IN ({pairs})",
    "DELETE FROM dropped_link WHERE pair IN ({pairs})",
    "DELETE FROM unconfirmed_link WHERE pair IN ({pairs})",
    "DELETE FROM link_order WHERE pair IN ({pairs})",
    "DELETE FROM source_group WHERE pair IN ({pairs})",
    "DELETE FROM task WHERE pair IN ({pairs})",
    "DELETE FROM observation WHERE pair IN ({pairs})",
    "DELETE FROM unsupported WHERE pair IN ({pairs})",
    "DELETE FROM members_read WHERE pair IN ({pairs})",
    "DELETE FROM fan_out WHERE pair IN ({pairs})",
    "DELETE FROM asked WHERE pair IN ({pairs})",
    "UPDATE approval_item SET state = 'withdrawn' WHERE pair IN ({pairs}) AND state IN ('open', 'approved', 'rejected')",
    "UPDATE approval SET open = 0 WHERE pair IN ({pairs})",
    "UPDATE pair SET state = 'new', stopped_from = NULL WHERE no IN ({pairs})",
];

/// The table and column of a connector or a target.
struct Kind {
    table: &'static str,
    column: &'static str,
    name: String,
    word: &'static str,
}

impl Kind {
    fn of(named: &Declared) -> Self {
        match named {
            Declared::Connector(name) => {
                Self { table: "connector", column: "connector", name: name.to_string(), word: "connector" }
            }
            Declared::Target(name) => {
                Self { table: "target", column: "target", name: name.to_string(), word: "target" }
            }
        }
    }
}

impl Tx {
    /// Renames a connector or target. Data under the new name is forgotten if it has no links or managed groups; a run
    /// makes up for its tasks.
    pub(super) async fn rename(
        &mut self,
        named: &Declared,
        to: &str,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<Vec<PairHoldings>> {
        let kind = Kind::of(named);
        let no = self.number_of(&kind, &kind.name).await?.ok_or_else(|| unknown(&kind))?;
        let taken = self.number_of(&kind, to).await?;
        if let Some(taken) = taken {
            let kept = self.kept(&kind, taken).await?;
            if kept.iter().any(|one| one.links > 0 || one.managed_groups > 0) {
                return Err(StoreError::Refused(format!(
                    "{} {to} has links or managed groups of its own, so {} cannot take its name. Choose another name",
                    kind.word, kind.name
                )));
            }
            self.refuse_if_under_way(&kind, taken, to, now).await?;
            // Its history is kept under a name that a configuration cannot use.
            self.forget(&kind, taken, now).await?;
            self.forget_identity(&kind, taken).await?;
            self.forget_named(&kind, to).await?;
            self.name_it(&kind, taken, &format!("{to} (before {}, {taken})", kind.name)).await?;
        }
        self.name_it(&kind, no, to).await?;
        self.forget_named(&kind, &kind.name).await?;
        if taken.is_some() {
            self.ask_for_runs(&kind, no).await?;
        }
        self.audit(by, &format!("renamed {} {} to {to}", kind.word, kind.name), now).await?;
        self.kept(&kind, no).await
    }

    /// Forgets the links and managed groups of a connector or target, so that others can adopt the accounts and groups.
    /// Refused while a request can still arrive.
    pub(super) async fn remove(
        &mut self,
        named: &Declared,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<Vec<PairHoldings>> {
        let kind = Kind::of(named);
        let no = self.number_of(&kind, &kind.name).await?.ok_or_else(|| unknown(&kind))?;
        self.refuse_if_under_way(&kind, no, &kind.name, now).await?;
        let kept = self.kept(&kind, no).await?;
        self.forget(&kind, no, now).await?;
        self.forget_identity(&kind, no).await?;
        self.forget_named(&kind, &kind.name).await?;
        let links: u64 = kept.iter().map(|one| one.links).sum();
        self.audit(
            by,
            &format!(
                "removed {} {}: {}",
                kind.word,
                kind.name,
                count(links, "linked account is free", "linked accounts are free")
            ),
            now,
        )
        .await?;
        Ok(kept)
    }

    /// Requests a run of each of its pairs; the request is kept until a run completes.
    async fn ask_for_runs(&mut self, kind: &Kind, no: i64) -> StoreResult<()> {
        let sql = format!("SELECT no FROM pair WHERE {} = ?1 ORDER BY no", kind.column);
        let pairs: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(no).fetch_all(&mut self.conn).await?;
        for pair in pairs {
            self.ask(pair, &RunTrigger::Event).await?;
        }
        Ok(())
    }

    /// Returns an error while a request of its pairs can still arrive.
    async fn refuse_if_under_way(&mut self, kind: &Kind, no: i64, name: &str, now: Timestamp) -> StoreResult<()> {
        let open: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT count(*) FROM intent WHERE pair IN (SELECT no FROM pair WHERE {} = ?1) AND arrives_until > ?2",
            kind.column
        )))
        .bind(no)
        .bind(millis(now))
        .fetch_one(&mut self.conn)
        .await?;
        if open == 0 {
            return Ok(());
        }
        Err(StoreError::Refused(format!(
            "{} {name}: {} no answer yet, and can still arrive. Try again in a minute",
            kind.word,
            count(open, "request has", "requests have")
        )))
    }

    /// Forgets data that is stored under its name: current conditions, and orders to contact it.
    async fn forget_named(&mut self, kind: &Kind, name: &str) -> StoreResult<()> {
        for table in ["condition", "contact_order"] {
            let sql = format!("DELETE FROM {table} WHERE {} = ?1", kind.column);
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(name).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    async fn number_of(&mut self, kind: &Kind, name: &str) -> StoreResult<Option<i64>> {
        let sql = format!("SELECT no FROM {} WHERE name = ?1", kind.table);
        Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(name).fetch_optional(&mut self.conn).await?)
    }

    async fn name_it(&mut self, kind: &Kind, no: i64, name: &str) -> StoreResult<()> {
        let sql = format!("UPDATE {} SET name = ?2 WHERE no = ?1", kind.table);
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(no).bind(name).execute(&mut self.conn).await?;
        self.names = super::numbers::Names::default();
        Ok(())
    }

    async fn forget_identity(&mut self, kind: &Kind, no: i64) -> StoreResult<()> {
        let identity = match kind.table {
            "connector" => {
                "UPDATE connector SET issuer = NULL, service_account = NULL, paused = 0, listens_since = NULL WHERE no = ?1"
            }
            _ => "UPDATE target SET identity = NULL, base_url = NULL WHERE no = ?1",
        };
        sqlx::query(identity).bind(no).execute(&mut self.conn).await?;
        if kind.table == "connector" {
            sqlx::query("DELETE FROM event_poll WHERE connector = ?1").bind(no).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    async fn forget(&mut self, kind: &Kind, no: i64, now: Timestamp) -> StoreResult<()> {
        let pairs = format!("SELECT no FROM pair WHERE {} = ?1", kind.column);
        let open = format!("SELECT id FROM intent WHERE pair IN ({pairs}) ORDER BY id");
        let open: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(open)).bind(no).fetch_all(&mut self.conn).await?;
        // The outcome of these intents will never be known; their changes record that.
        let open: Vec<IntentId> = open.into_iter().map(IntentId).collect();
        let open = self.take_intents(&open).await?;
        let unseen: Vec<_> = open.iter().map(|(intent, _)| (intent, &ChangeOutcome::NotSeen)).collect();
        self.resolve_intents(&unseen, None, now).await?;
        for sql in FORGET {
            let query = sqlx::AssertSqlSafe(sql.replace("{pairs}", &pairs));
            sqlx::query(query).bind(no).execute(&mut self.conn).await?;
        }
        // Groups that other connectors feed stay managed. Other groups are forgotten: their members may be removed only
        // after another adoption.
        let unfed = format!(
            "DELETE FROM managed_group WHERE target IN (SELECT target FROM pair WHERE {} = ?1) \
             AND NOT EXISTS (SELECT 1 FROM source_group g WHERE g.managed = managed_group.no)",
            kind.column
        );
        sqlx::query(sqlx::AssertSqlSafe(unfed)).bind(no).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Returns what its pairs hold.
    async fn kept(&mut self, kind: &Kind, no: i64) -> StoreResult<Vec<PairHoldings>> {
        let sql = format!(
            "SELECT c.name, t.name, p.state, p.links, p.memberships, \
             (SELECT count(DISTINCT g.managed) FROM source_group g WHERE g.pair = p.no AND g.managed IS NOT NULL) \
             FROM pair p JOIN connector c ON c.no = p.connector JOIN target t ON t.no = p.target \
             WHERE p.{} = ?1 ORDER BY p.no",
            kind.column
        );
        let rows: Vec<(String, String, String, i64, i64, i64)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(no).fetch_all(&mut self.conn).await?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        rows.into_iter()
            .map(|(connector, target, state, links, memberships, groups)| {
                let state: PairState = codec::from_word(state)?;
                Ok(PairHoldings {
                    pair: Pair { connector: connector.into(), target: target.into() },
                    state,
                    links: number(links),
                    memberships: number(memberships),
                    managed_groups: number(groups),
                })
            })
            .collect()
    }
}

fn unknown(kind: &Kind) -> StoreError {
    StoreError::NotFound(format!("{}: the store has no {} of this name", kind.name, kind.word))
}
