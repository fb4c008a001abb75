//! Intents: operations that are stored before they are sent.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{codec, codec::millis, memory::Claim, numbers::PairNo, tasks::Raise, tx::Tx};
use crate::{
    model::{AccountId, Cause, ChangeOutcome, IntentId, Limited, Operation, Pair, Priority, Subject, Token},
    store::{NewIntent, OpenIntent, StoreError, StoreResult},
};

/// Columns of an open intent. The last one is the approval item that it uses.
type IntentRow = (i64, String, String, String, String, String, String, Option<i64>, bool, i64, Option<i64>);

const INTENT: &str = "
SELECT i.id, c.name, g.name, i.subject, i.operation, i.before, i.cause, i.caused_at, i.approved, i.arrives_until, i.approval
FROM intent i JOIN pair p ON p.no = i.pair JOIN connector c ON c.no = p.connector JOIN target g ON g.no = p.target";

/// Records changes: rows as JSON.
macro_rules! write_changes {
    () => {
        "INSERT INTO change (pair, subject, verb, name, before, after, limited, approved, counts, cause, \
         caused_at, run, outcome, at) SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
         value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13 \
         FROM json_each(?1) ORDER BY key"
    };
}

/// Records observations, the second value of the statement: pair, subject and number as JSON.
macro_rules! record_observations {
    () => {
        "INSERT INTO observation (pair, subject, number) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2) WHERE true \
         ON CONFLICT (pair, subject) DO UPDATE SET number = max(number, excluded.number)"
    };
}

fn intents_where(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{INTENT} {condition}"))
}

/// Converts a row to an open intent.
fn open_intent(row: IntentRow) -> StoreResult<OpenIntent> {
    let (id, connector, target, subject, operation, before, cause, caused_at, approved, arrives_until, _) = row;
    Ok(OpenIntent {
        id: IntentId(id),
        pair: Pair::new(connector, target),
        subject: codec::parse(&subject)?,
        operation: codec::from_json(&operation)?,
        before: codec::from_json(&before)?,
        cause: codec::from_json(&cause)?,
        caused_at: codec::some_time(caused_at)?,
        approved,
        arrives_until: codec::time(arrives_until)?,
    })
}

pub(super) fn account_object(account: &AccountId) -> String {
    format!("account:{account}")
}

/// Returns the existing account or group that an operation works on; `None` for a create.
fn object(operation: &Operation) -> Option<String> {
    match operation {
        Operation::RenameGroup { group, .. } | Operation::DeleteGroup { group, .. } => Some(format!("group:{group}")),
        _ => operation.account().map(account_object),
    }
}

/// Returns the name that a create adds. The new name of a rename is not closed, because its account is.
fn made(operation: &Operation) -> Option<String> {
    match operation {
        Operation::CreateUser { name, .. } => Some(codec::fold(name)),
        _ => None,
    }
}

/// Returns the login or group name that an operation is about.
fn name(operation: &Operation) -> &str {
    match operation {
        Operation::CreateUser { name, .. }
        | Operation::UpdateUser { name, .. }
        | Operation::RenameUser { name, .. }
        | Operation::ActivateUser { name, .. }
        | Operation::DeactivateUser { name, .. }
        | Operation::DeleteUser { name, .. }
        | Operation::AnonymizeUser { name, .. }
        | Operation::CreateGroup { name }
        | Operation::RenameGroup { name, .. }
        | Operation::DeleteGroup { name, .. }
        | Operation::AddMember { name, .. }
        | Operation::RemoveMember { name, .. } => name,
    }
}

/// A change to record; see [`crate::model::Change`].
pub(super) struct NewChange<'c, A> {
    pub no: PairNo,
    pub subject: &'c Subject,
    pub verb: &'c str,
    pub name: &'c str,
    pub before: &'c serde_json::Value,
    pub after: &'c A,
    pub limited: Option<Limited>,
    pub approved: bool,
    pub cause: &'c Cause,
    pub caused_at: Option<Timestamp>,
    pub outcome: &'c ChangeOutcome,
    pub at: Timestamp,
}

/// Stored columns of a change, starting with `pair`.
type ChangeRow = (
    i64,
    String,
    String,
    String,
    String,
    String,
    Option<&'static str>,
    bool,
    bool,
    String,
    Option<i64>,
    Option<i64>,
    String,
    i64,
);

impl<'c> NewChange<'c, Operation> {
    /// Returns the change that an intent leaves.
    pub fn of_intent(no: PairNo, intent: &'c OpenIntent, outcome: &'c ChangeOutcome, at: Timestamp) -> Self {
        Self {
            no,
            subject: &intent.subject,
            verb: intent.operation.verb(),
            name: name(&intent.operation),
            before: &intent.before,
            after: &intent.operation,
            limited: intent.operation.limited(),
            approved: intent.approved,
            cause: &intent.cause,
            caused_at: intent.caused_at,
            outcome,
            at,
        }
    }
}

impl<A: Serialize> NewChange<'_, A> {
    fn row(&self) -> StoreResult<ChangeRow> {
        let done = self.outcome.took_effect();
        let run = match self.cause {
            Cause::Run { id } => Some(id.0),
            _ => None,
        };
        Ok((
            self.no.pair,
            self.subject.to_string(),
            self.verb.to_owned(),
            self.name.to_owned(),
            codec::to_json(self.before)?,
            codec::to_json(self.after)?,
            self.limited.map(Limited::as_str),
            self.approved,
            done && self.limited.is_some() && !self.approved,
            codec::to_json(self.cause)?,
            self.caused_at.map(millis),
            run,
            codec::to_json(self.outcome)?,
            millis(self.at),
        ))
    }
}

impl Tx {
    /// Returns the open intents of a subject, and those of any subject on its linked account or group.
    pub(super) async fn intents_closing(
        &mut self,
        no: PairNo,
        subject: &Subject,
        account: Option<&AccountId>,
    ) -> StoreResult<Vec<OpenIntent>> {
        let objects = match subject {
            Subject::User(_) => account.map(account_object).into_iter().collect(),
            Subject::Group(group) => {
                self.fed_by(no, group).await?.iter().map(|id| format!("group:{id}")).collect::<Vec<_>>()
            }
        };
        let rows: Vec<IntentRow> = sqlx::query_as(intents_where(
            "WHERE i.id IN (SELECT id FROM intent WHERE pair = ?1 AND subject = ?2 UNION \
             SELECT id FROM intent WHERE target = ?3 AND object IN (SELECT value FROM json_each(?4))) ORDER BY i.id",
        ))
        .bind(no.pair)
        .bind(subject.to_string())
        .bind(no.target)
        .bind(codec::to_json(&objects)?)
        .fetch_all(&mut self.conn)
        .await?;
        rows.into_iter().map(open_intent).collect()
    }

    /// Returns the open intents of everything that this claim holds.
    pub(super) async fn open_intents(&mut self, token: Token) -> StoreResult<Vec<OpenIntent>> {
        let claim = self.held(token)?;
        let mut all = self.intents_closing(claim.no, &claim.subject, claim.accounts.first()).await?;
        for account in claim.accounts.iter().skip(1) {
            all.extend(self.intents_closing(claim.no, &claim.subject, Some(account)).await?);
        }
        all.sort_by_key(|intent| intent.id);
        all.dedup_by_key(|intent| intent.id);
        Ok(all)
    }

    /// Moves an account's open intents to the claimed subject, which then recovers them.
    pub(super) async fn hand_over(&mut self, claim: &Claim, account: &AccountId) -> StoreResult<()> {
        sqlx::query("UPDATE intent SET subject = ?3 WHERE pair = ?1 AND object = ?2")
            .bind(claim.no.pair)
            .bind(account_object(account))
            .bind(claim.subject.to_string())
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Returns until when a request on this account can still arrive; `None`: none can.
    pub(super) async fn arrives_at(
        &mut self,
        no: PairNo,
        account: &AccountId,
        now: Timestamp,
    ) -> StoreResult<Option<Timestamp>> {
        let until: Option<i64> = sqlx::query_scalar(
            "SELECT max(arrives_until) FROM intent WHERE target = ?1 AND object = ?2 AND arrives_until > ?3",
        )
        .bind(no.target)
        .bind(account_object(account))
        .bind(millis(now))
        .fetch_one(&mut self.conn)
        .await?;
        codec::some_time(until)
    }

    /// Returns until when requests of this subject's own open intents can arrive; `None`: it has none.
    pub(super) async fn own_intents_until(&mut self, claim: &Claim) -> StoreResult<Option<Timestamp>> {
        let until: Option<i64> =
            sqlx::query_scalar("SELECT max(arrives_until) FROM intent WHERE pair = ?1 AND subject = ?2")
                .bind(claim.no.pair)
                .bind(claim.subject.to_string())
                .fetch_one(&mut self.conn)
                .await?;
        codec::some_time(until)
    }

    /// Returns the open ones of these intents, each with the approval item that it uses.
    pub(super) async fn intents_of(
        &mut self,
        ids: &[IntentId],
    ) -> StoreResult<HashMap<IntentId, (OpenIntent, Option<i64>)>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<IntentRow> = sqlx::query_as(intents_where("WHERE i.id IN (SELECT value FROM json_each(?1))"))
            .bind(codec::to_json(&numbers)?)
            .fetch_all(&mut self.conn)
            .await?;
        let known = |row: IntentRow| {
            let approval = row.10;
            Ok((IntentId(row.0), (open_intent(row)?, approval)))
        };
        rows.into_iter().map(known).collect()
    }

    /// Deletes open intents.
    pub(super) async fn delete_intents(&mut self, ids: &[IntentId]) -> StoreResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        sqlx::query("DELETE FROM intent WHERE id IN (SELECT value FROM json_each(?1))")
            .bind(codec::to_json(&numbers)?)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Deletes open intents and returns them in the order of these ids, each with the approval item that it uses.
    pub(super) async fn take_intents(&mut self, ids: &[IntentId]) -> StoreResult<Vec<(OpenIntent, Option<i64>)>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<IntentRow> = sqlx::query_as(
            "DELETE FROM intent WHERE id IN (SELECT value FROM json_each(?1)) RETURNING id, \
             (SELECT c.name FROM pair p JOIN connector c ON c.no = p.connector WHERE p.no = intent.pair), \
             (SELECT g.name FROM target g WHERE g.no = intent.target), \
             subject, operation, before, cause, caused_at, approved, arrives_until, approval",
        )
        .bind(codec::to_json(&numbers)?)
        .fetch_all(&mut self.conn)
        .await?;
        let mut open: HashMap<i64, IntentRow> = rows.into_iter().map(|row| (row.0, row)).collect();
        let take = |id: &IntentId| {
            let row = open.remove(&id.0).ok_or_else(|| StoreError::NotFound(format!("intent {id} is not open")))?;
            let approval = row.10;
            Ok((open_intent(row)?, approval))
        };
        ids.iter().map(take).collect()
    }

    /// Raises the tasks of all open intents; their claims have ended.
    pub(super) async fn raise_open_intents(&mut self, now: Timestamp) -> StoreResult<()> {
        let open: Vec<(i64, String)> =
            sqlx::query_as("SELECT DISTINCT pair, subject FROM intent").fetch_all(&mut self.conn).await?;
        let cause = codec::to_json(&Cause::Other { what: "an answer is missing".into() })?;
        let raise = |(pair, subject)| Raise {
            pair,
            subject,
            priority: Priority::Retry,
            at: now,
            recheck: false,
            cause: cause.clone(),
        };
        let raises: Vec<Raise> = open.into_iter().map(raise).collect();
        self.raise_all(raises).await
    }

    /// Stores the next intents of claims; returns their ids in the same order.
    pub(super) async fn write_intents(&mut self, steps: &[(&Claim, &[NewIntent])]) -> StoreResult<Vec<IntentId>> {
        let mut rows = Vec::new();
        for &(claim, next) in steps {
            let (subject, cause) = (claim.subject.to_string(), codec::to_json(&claim.cause)?);
            for next in next {
                rows.push(json!([
                    claim.no.pair,
                    claim.no.target,
                    subject,
                    object(&next.operation),
                    made(&next.operation),
                    codec::to_json(&next.operation)?,
                    codec::to_json(&next.before)?,
                    next.operation.limited().map(Limited::as_str),
                    next.approved_by.is_some(),
                    cause,
                    millis(claim.caused_at),
                    millis(next.arrives_until),
                    next.approved_by,
                ]));
            }
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO intent (pair, target, subject, object, made, operation, before, limited, approved, cause, \
             caused_at, arrives_until, approval) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
             value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12 FROM json_each(?1) ORDER BY key RETURNING id",
        )
        .bind(codec::to_json(&rows)?)
        .fetch_all(&mut self.conn)
        .await?;
        // SQLite assigns ascending ids in row order, but does not promise the order in which it returns them.
        ids.sort_unstable();
        Ok(ids.into_iter().map(IntentId).collect())
    }

    /// Returns whether an open intent uses this approval item.
    pub(super) async fn is_under_way(&mut self, claim: &Claim, approval: i64) -> StoreResult<bool> {
        let any = "SELECT EXISTS (SELECT 1 FROM intent WHERE pair = ?1 AND subject = ?2 AND approval = ?3)";
        Ok(sqlx::query_scalar(any)
            .bind(claim.no.pair)
            .bind(claim.subject.to_string())
            .bind(approval)
            .fetch_one(&mut self.conn)
            .await?)
    }

    /// Records changes of intents that were taken, in this order, and a new observation of the claim that resolved them.
    pub(super) async fn resolve_intents(
        &mut self,
        resolved: &[(&OpenIntent, &ChangeOutcome)],
        claim: Option<&Claim>,
        now: Timestamp,
    ) -> StoreResult<()> {
        let mut changes = Vec::with_capacity(resolved.len());
        for &(intent, outcome) in resolved {
            let no = self.pair(&intent.pair).await?;
            if !matches!(outcome, ChangeOutcome::Refused { .. } | ChangeOutcome::FoundNotDone) {
                self.forget_members_read(no.target, &intent.operation).await?;
            }
            changes.push(NewChange::of_intent(no, intent, outcome, now));
        }
        let observed = claim.filter(|_| !changes.is_empty());
        self.write_changes_observed(&changes, observed.as_slice()).await
    }

    /// Records changes, in this order.
    pub(super) async fn write_changes(&mut self, changes: &[NewChange<'_, impl Serialize>]) -> StoreResult<()> {
        self.write_changes_observed(changes, &[]).await
    }

    /// Records changes, in this order, and a new observation of each of the claims.
    pub(super) async fn write_changes_observed<A: Serialize>(
        &mut self,
        changes: &[NewChange<'_, A>],
        observed: &[&Claim],
    ) -> StoreResult<()> {
        let rows: Vec<ChangeRow> = changes.iter().map(NewChange::row).collect::<StoreResult<_>>()?;
        let observed: Vec<_> = observed
            .iter()
            .map(|claim| (claim.no.pair, claim.subject.to_string(), self.memory.next_observation().0))
            .collect();
        let query = match (rows.is_empty(), observed.is_empty()) {
            (true, true) => return Ok(()),
            (false, true) => sqlx::query(write_changes!()).bind(codec::to_json(&rows)?),
            (true, false) => sqlx::query(record_observations!()).bind("[]").bind(codec::to_json(&observed)?),
            // One call to the store's thread instead of two: each costs more than the statement itself.
            (false, false) => sqlx::query(concat!(write_changes!(), "; ", record_observations!()))
                .bind(codec::to_json(&rows)?)
                .bind(codec::to_json(&observed)?),
        };
        query.execute(&mut self.conn).await?;
        Ok(())
    }

    /// Returns the number of limited operations of a kind, done in the last hour or under way. Approved ones are not
    /// counted.
    pub(super) async fn done_in_last_hour(&mut self, no: PairNo, kind: Limited, now: Timestamp) -> StoreResult<u32> {
        done_in_last_hour(&mut self.conn, no.pair, kind, now).await
    }
}

/// See [`Tx::done_in_last_hour`].
pub(super) async fn done_in_last_hour(
    conn: &mut SqliteConnection,
    pair: i64,
    kind: Limited,
    now: Timestamp,
) -> StoreResult<u32> {
    let done: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM change WHERE counts = 1 AND pair = ?1 AND limited = ?2 AND at > ?3) \
         + (SELECT count(*) FROM intent WHERE pair = ?1 AND limited = ?2 AND approved = 0)",
    )
    .bind(pair)
    .bind(kind.as_str())
    .bind(millis(now) - 3_600_000)
    .fetch_one(conn)
    .await?;
    Ok(u32::try_from(done).unwrap_or(u32::MAX))
}

/// Returns open create intents of subjects without a live task that would resolve them.
pub(super) async fn stale(conn: &mut SqliteConnection, pair: i64, now: Timestamp) -> StoreResult<Vec<OpenIntent>> {
    let rows: Vec<IntentRow> = sqlx::query_as(intents_where(
        "WHERE i.pair = ?1 AND i.object IS NULL AND i.arrives_until <= ?2 AND NOT EXISTS \
         (SELECT 1 FROM task t WHERE t.pair = i.pair AND t.subject = i.subject AND t.dead = 0) ORDER BY i.id",
    ))
    .bind(pair)
    .bind(millis(now))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(open_intent).collect()
}
