//! Ending of a claim: done, failed, deferred, or waiting for another subject.

use jiff::Timestamp;

use super::{
    codec,
    codec::millis,
    memory::Claim,
    tasks::{self, rank},
    tx::Tx,
};
use crate::{
    model::{Cause, ErrorClass, IntentId, NewApprovalItem, Priority, Subject, Token},
    store::{Failure, Step, Stepped, StoreError, StoreResult, Waiting},
};

/// Maximum length of a chain of waiting subjects that is followed; bounds a chain that does not lead back.
const CHAIN: usize = 10_000;

/// Flags for what else is stored about a subject whose claim ends. Most subjects have nothing, which one query shows.
#[allow(clippy::struct_excessive_bools, reason = "one for each table")]
#[derive(PartialEq, Eq, Default)]
pub(super) struct StoredAtEnd {
    /// Approval items that are open or decided.
    items: bool,
    /// Tasks that wait for the subject.
    waiting: bool,
    /// Own open intents.
    intents: bool,
    /// A dead letter.
    dead: bool,
    /// A task that was put off, for example to the end of a grace period.
    put_off: bool,
}

/// Query for [`StoredAtEnd`] of subjects; an intent that is being resolved is not counted. The conditions repeat those of
/// the partial indexes, which `SQLite` uses only then.
const STORED_AT_END: &str = "
WITH s (key, pair, subject, resolved, now) AS (
    SELECT key, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)
)
SELECT EXISTS (SELECT 1 FROM approval_item
        WHERE pair = s.pair AND subject = s.subject AND state IN ('open', 'approved', 'rejected')) AS items,
    EXISTS (SELECT 1 FROM task INDEXED BY task_blocked WHERE pair = s.pair AND blocked_by = s.subject) AS waiting,
    EXISTS (SELECT 1 FROM intent WHERE pair = s.pair AND subject = s.subject
        AND id NOT IN (SELECT value FROM json_each(s.resolved))) AS intents,
    EXISTS (SELECT 1 FROM task INDEXED BY task_dead WHERE pair = s.pair AND dead = 1 AND subject = s.subject) AS dead,
    EXISTS (SELECT 1 FROM task WHERE pair = s.pair AND subject = s.subject AND dead = 0 AND since > s.now) AS put_off
FROM s ORDER BY s.key";

/// The new state of a claim's task that does not end.
struct Again {
    not_before: Timestamp,
    dead: bool,
    blocked_by: Option<String>,
}

impl Tx {
    /// Releases the claim; the first step of every ending.
    pub(super) fn release(&mut self, token: Token) -> StoreResult<Claim> {
        let claim = self.held(token)?;
        let undo = self.memory.end(token);
        self.undo_with(undo);
        self.ended_on.insert(claim.no.target);
        Ok(claim)
    }

    /// Returns whether the task was raised while it was worked; `None`: there is no task. For a claim without a task,
    /// any existing task counts as raised. A dead letter does not: a raise would have made it live again.
    async fn raised_since(&mut self, claim: &Claim) -> StoreResult<Option<bool>> {
        let task: Option<(i64, bool)> =
            sqlx::query_as("SELECT generation, dead FROM task WHERE pair = ?1 AND subject = ?2")
                .bind(claim.no.pair)
                .bind(claim.subject.to_string())
                .fetch_optional(&mut self.conn)
                .await?;
        Ok(task.map(|(generation, dead)| generation != claim.generation && !dead))
    }

    pub(super) async fn complete(
        &mut self,
        token: Token,
        last: Step,
        held: &[NewApprovalItem],
        recheck_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Stepped> {
        if !last.next.is_empty() {
            return Err(StoreError::Failed("work that is done sends nothing more".to_owned()));
        }
        // The step has recorded a new observation if it resolved intents.
        let (observed, due_again) = (!last.resolved.is_empty(), last.due_again);
        let stepped = self.step(token, last, now).await?;
        if stepped == Stepped::Written {
            let claim = self.end_done(token, observed, held, recheck_at, now).await?;
            if let Some(at) = due_again {
                self.put_off_until(&claim, at).await?;
            }
        }
        Ok(stepped)
    }

    async fn end_done(
        &mut self,
        token: Token,
        observed: bool,
        held: &[NewApprovalItem],
        recheck_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Claim> {
        let claim = self.release(token)?;
        let stored = self.stored_at_end(&[(&claim, &[], now)]).await?.pop().unwrap_or_default();
        if !observed {
            self.record_observation(&claim).await?;
        }
        if stored.items || !held.is_empty() {
            self.hold(&claim, held, now).await?;
        }
        // A user that gave up a login has already woken the waiting tasks. Without the delay, two users of which one
        // cannot give what the other waits for would alternate without end.
        if stored.waiting {
            let woken_at = if claim.subject.as_user().is_some() { recheck_at } else { now };
            self.wake_waiting(claim.no, &claim.subject, woken_at).await?;
        }
        if stored.intents {
            // A claim that ends with its intent open raises the subject's task, even a claim of a run.
            self.raise(claim.no, [&claim.subject], Priority::Retry, &claim.cause, now).await?;
            self.wake = true;
            return Ok(claim);
        }
        if claim.generation == 0 {
            if stored.dead {
                self.end_dead(claim.no, [&claim.subject]).await?;
            }
            if stored.put_off {
                // It is put off again if it still has to be.
                sqlx::query("DELETE FROM task WHERE pair = ?1 AND subject = ?2 AND dead = 0 AND since > ?3")
                    .bind(claim.no.pair)
                    .bind(claim.subject.to_string())
                    .bind(millis(now))
                    .execute(&mut self.conn)
                    .await?;
            }
            self.wake = true;
            return Ok(claim);
        }
        // Ends only the claimed generation; a task that is marked for a recheck stays.
        let ended =
            sqlx::query("DELETE FROM task WHERE pair = ?1 AND subject = ?2 AND generation = ?3 AND recheck = 0")
                .bind(claim.no.pair)
                .bind(claim.subject.to_string())
                .bind(claim.generation)
                .execute(&mut self.conn)
                .await?;
        if ended.rows_affected() == 0 {
            sqlx::query(
                "UPDATE task SET attempts = 0, class = NULL, error = NULL, \
                 not_before = iif(generation = ?3, ?4, ?5), recheck = iif(generation = ?3, 0, recheck), \
                 since = iif(generation = ?3, ?5, last_at), \
                 cause = iif(generation = ?3, cause, last_cause), caused_at = iif(generation = ?3, caused_at, last_at) \
                 WHERE pair = ?1 AND subject = ?2",
            )
            .bind(claim.no.pair)
            .bind(claim.subject.to_string())
            .bind(claim.generation)
            .bind(millis(recheck_at))
            .bind(millis(now))
            .execute(&mut self.conn)
            .await?;
            self.wake = true;
        }
        Ok(claim)
    }

    /// Creates a task that is due later. A task that is left is due earlier, and decides again when it is worked.
    async fn put_off_until(&mut self, claim: &Claim, at: Timestamp) -> StoreResult<()> {
        // It counts as raised when it is due, so that it is no delayed work until then.
        sqlx::query(
            "INSERT INTO task (pair, subject, priority, not_before, since, cause, caused_at, last_cause, last_at) \
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?5, ?6) ON CONFLICT DO NOTHING",
        )
        .bind(claim.no.pair)
        .bind(claim.subject.to_string())
        .bind(rank(Priority::Run))
        .bind(millis(at))
        .bind(codec::to_json(&claim.cause)?)
        .bind(millis(claim.caused_at))
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Reads what else is stored about the subjects of claims that end now, in their order. The intents of these ids are
    /// being resolved.
    pub(super) async fn stored_at_end(
        &mut self,
        claims: &[(&Claim, &[IntentId], Timestamp)],
    ) -> StoreResult<Vec<StoredAtEnd>> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let row = |(claim, resolved, now): &(&Claim, &[IntentId], Timestamp)| {
            let resolved: Vec<i64> = resolved.iter().map(|id| id.0).collect();
            (claim.no.pair, claim.subject.to_string(), resolved, millis(*now))
        };
        let rows: Vec<_> = claims.iter().map(row).collect();
        let rows: Vec<(bool, bool, bool, bool, bool)> =
            sqlx::query_as(STORED_AT_END).bind(codec::to_json(&rows)?).fetch_all(&mut self.conn).await?;
        let stored = |(items, waiting, intents, dead, put_off)| StoredAtEnd { items, waiting, intents, dead, put_off };
        Ok(rows.into_iter().map(stored).collect())
    }

    pub(super) async fn fail(&mut self, token: Token, failure: &Failure, now: Timestamp) -> StoreResult<()> {
        let claim = self.release(token)?;
        let until = self.own_intents_until(&claim).await?;
        // A task with an open intent is no dead letter: the intent has to be recovered.
        let retry_at = failure.retry_at.or(until.map(|until| until.max(now)));
        let raised = self.keep_task(&claim, now).await?;
        let again = match retry_at {
            _ if raised => Again { not_before: now, dead: false, blocked_by: None },
            Some(at) => Again { not_before: at, dead: false, blocked_by: None },
            None => Again { not_before: now, dead: true, blocked_by: None },
        };
        // A task that was raised during its last attempt starts again with no failed attempts.
        let fresh = raised && failure.retry_at.is_none();
        sqlx::query(
            "UPDATE task SET class = ?3, error = ?4, attempts = iif(?5, 0, attempts + 1), \
             priority = max(priority, ?6) WHERE pair = ?1 AND subject = ?2",
        )
        .bind(claim.no.pair)
        .bind(claim.subject.to_string())
        .bind(failure.class.as_str())
        .bind(failure.text.as_str())
        .bind(fresh)
        .bind(if raised { 0 } else { rank(Priority::Retry) })
        .execute(&mut self.conn)
        .await?;
        self.requeue(&claim, again).await
    }

    pub(super) async fn defer(
        &mut self,
        token: Token,
        until: Timestamp,
        reason: Option<(ErrorClass, String)>,
        now: Timestamp,
    ) -> StoreResult<()> {
        let claim = self.release(token)?;
        let raised = self.keep_task(&claim, now).await?;
        if let Some((class, text)) = reason {
            sqlx::query("UPDATE task SET class = ?3, error = ?4 WHERE pair = ?1 AND subject = ?2")
                .bind(claim.no.pair)
                .bind(claim.subject.to_string())
                .bind(class.as_str())
                .bind(text)
                .execute(&mut self.conn)
                .await?;
        }
        let not_before = if raised { now } else { until };
        self.requeue(&claim, Again { not_before, dead: false, blocked_by: None }).await
    }

    /// Ensures that the claim's task exists; returns whether it was raised meanwhile.
    async fn keep_task(&mut self, claim: &Claim, now: Timestamp) -> StoreResult<bool> {
        if let Some(raised) = self.raised_since(claim).await? {
            return Ok(raised);
        }
        self.raise(claim.no, [&claim.subject], Priority::Run, &claim.cause, now).await?;
        Ok(false)
    }

    async fn requeue(&mut self, claim: &Claim, again: Again) -> StoreResult<()> {
        sqlx::query("UPDATE task SET not_before = ?3, dead = ?4, blocked_by = ?5 WHERE pair = ?1 AND subject = ?2")
            .bind(claim.no.pair)
            .bind(claim.subject.to_string())
            .bind(millis(again.not_before))
            .bind(again.dead)
            .bind(again.blocked_by)
            .execute(&mut self.conn)
            .await?;
        self.wake = true;
        Ok(())
    }

    pub(super) async fn wait_for(
        &mut self,
        token: Token,
        others: &[Subject],
        ring_ends_it: bool,
        at_latest: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Waiting> {
        let claim = self.held(token)?;
        if ring_ends_it
            && let Some(first) = others.first()
            && self.leads_back(&claim, first).await?
        {
            return Ok(Waiting::Ring);
        }
        let ended = match others.first() {
            Some(first) => self.has_ended_since(&claim, first).await?,
            None => false,
        };
        let claim = self.release(token)?;
        let priority = self.priority_of(&claim).await?;
        let raised = self.keep_task(&claim, now).await?;
        if ended {
            // The work that it waits for has already ended, so it is ready at once.
            self.requeue(&claim, Again { not_before: now, dead: false, blocked_by: None }).await?;
            return Ok(Waiting::Waits);
        }
        let cause = codec::to_json(&Cause::Other { what: format!("{} waits for it", claim.subject) })?;
        for other in others.iter().filter(|other| **other != claim.subject) {
            // An existing task is not raised, or it would be worked twice; it only gets at least this task's priority. One
            // that was put off is due now.
            sqlx::query(
                "INSERT INTO task (pair, subject, priority, not_before, since, cause, caused_at, last_cause, last_at) \
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?5, ?4) \
                 ON CONFLICT DO UPDATE SET priority = min(priority, excluded.priority), \
                 not_before = iif(since > excluded.since, excluded.not_before, not_before), \
                 since = min(since, excluded.since)",
            )
            .bind(claim.no.pair)
            .bind(other.to_string())
            .bind(priority)
            .bind(millis(now))
            .bind(cause.as_str())
            .bind(millis(claim.caused_at))
            .execute(&mut self.conn)
            .await?;
            self.memory.note_event(claim.no.pair, other, tasks::priority(priority));
        }
        let not_before = if raised { now } else { at_latest };
        let blocked_by = others.first().map(ToString::to_string);
        self.requeue(&claim, Again { not_before, dead: false, blocked_by }).await?;
        Ok(Waiting::Waits)
    }

    /// Returns whether the chain of waiting subjects from `first` leads back to the claimed subject, over existing
    /// tasks.
    async fn leads_back(&mut self, claim: &Claim, first: &Subject) -> StoreResult<bool> {
        let own = claim.subject.to_string();
        let mut at = first.to_string();
        for _ in 0..CHAIN {
            if at == own {
                return Ok(true);
            }
            let next: Option<Option<String>> =
                sqlx::query_scalar("SELECT blocked_by FROM task WHERE pair = ?1 AND subject = ?2")
                    .bind(claim.no.pair)
                    .bind(&at)
                    .fetch_optional(&mut self.conn)
                    .await?;
            match next.flatten() {
                Some(other) => at = other,
                None => return Ok(false),
            }
        }
        Ok(false)
    }
}
