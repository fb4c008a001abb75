//! How a claim ends: done, failed, back to the queue, waiting. [4, 6, 7]

use jiff::Timestamp;

use super::{
    codec,
    codec::millis,
    memory::Claim,
    tasks::{self, rank},
    writer::Tx,
};
use crate::{
    model::{Cause, ErrorClass, NewApprovalItem, Priority, Subject, Token},
    store::{Failure, Step, Stepped, StoreError, StoreResult, Waiting},
};

/// Following who waits for whom ends here at the latest: a chain that does not come back may be long, not endless.
const CHAIN: usize = 10_000;

/// What a claim's task becomes when it does not end.
struct Again {
    not_before: Timestamp,
    dead: bool,
    blocked_by: Option<String>,
}

impl Tx {
    /// Releases the claim; the first thing that an ending does.
    fn release(&mut self, token: Token) -> StoreResult<Claim> {
        let claim = self.held(token)?;
        let undo = self.memory.end(token);
        self.undo_with(undo);
        self.ended_on.insert(claim.no.target);
        Ok(claim)
    }

    /// Whether the task was raised while it was worked. A claim without a task counts as raised if there is one now, but
    /// for a dead letter: that would not be dead any more.
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
        settle_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Stepped> {
        if !last.next.is_empty() {
            return Err(StoreError::Failed("work that is done sends nothing more".to_owned()));
        }
        let stepped = self.step(token, last, now).await?;
        if stepped == Stepped::Written {
            self.end_done(token, held, settle_at, now).await?;
        }
        Ok(stepped)
    }

    async fn end_done(
        &mut self,
        token: Token,
        held: &[NewApprovalItem],
        settle_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<()> {
        let claim = self.release(token)?;
        self.record_observation(&claim).await?;
        self.hold(&claim, held, now).await?;
        // A user who gave up a name woke those who wait for it then; others look again after a pause, or two of whom one
        // cannot do what the other waits for would take turns without end.
        let woken_at = if claim.subject.as_user().is_some() { settle_at } else { now };
        self.wake_waiting(claim.no, &claim.subject, woken_at).await?;
        if self.raise_for_intents(&claim, now).await? {
            self.wake = true;
            return Ok(());
        }
        if claim.generation == 0 {
            self.end_dead(claim.no, [&claim.subject]).await?;
            self.wake = true;
            return Ok(());
        }
        // Ends the generation that was claimed; a settle event asks for one more look.
        let ended = sqlx::query("DELETE FROM task WHERE pair = ?1 AND subject = ?2 AND generation = ?3 AND settle = 0")
            .bind(claim.no.pair)
            .bind(claim.subject.to_string())
            .bind(claim.generation)
            .execute(&mut self.conn)
            .await?;
        if ended.rows_affected() == 0 {
            sqlx::query(
                "UPDATE task SET attempts = 0, class = NULL, error = NULL, \
                 not_before = iif(generation = ?3, ?4, ?5), settle = iif(generation = ?3, 0, settle), \
                 since = iif(generation = ?3, ?5, last_at), \
                 cause = iif(generation = ?3, cause, last_cause), caused_at = iif(generation = ?3, caused_at, last_at) \
                 WHERE pair = ?1 AND subject = ?2",
            )
            .bind(claim.no.pair)
            .bind(claim.subject.to_string())
            .bind(claim.generation)
            .bind(millis(settle_at))
            .bind(millis(now))
            .execute(&mut self.conn)
            .await?;
            self.wake = true;
        }
        Ok(())
    }

    /// A claim that ends with its intent open raises the subject's task, also one that a run took. [7]
    async fn raise_for_intents(&mut self, claim: &Claim, now: Timestamp) -> StoreResult<bool> {
        if self.own_intents_until(claim).await?.is_none() {
            return Ok(false);
        }
        self.raise(claim.no, [&claim.subject], Priority::Retry, &claim.cause, now).await?;
        Ok(true)
    }

    pub(super) async fn fail(&mut self, token: Token, failure: &Failure, now: Timestamp) -> StoreResult<()> {
        let claim = self.release(token)?;
        let until = self.own_intents_until(&claim).await?;
        // With an intent open it cannot be given up; somebody has to look.
        let retry_at = failure.retry_at.or(until.map(|until| until.max(now)));
        let raised = self.keep_task(&claim, now).await?;
        let again = match retry_at {
            _ if raised => Again { not_before: now, dead: false, blocked_by: None },
            Some(at) => Again { not_before: at, dead: false, blocked_by: None },
            None => Again { not_before: now, dead: true, blocked_by: None },
        };
        // News that came during a last attempt deserves attempts of its own.
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

    /// Makes sure that the claim's task is there; whether it was raised meanwhile.
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
            // What it was seen to wait for is over: it is ready at once.
            self.requeue(&claim, Again { not_before: now, dead: false, blocked_by: None }).await?;
            return Ok(Waiting::Waits);
        }
        let cause = codec::to_json(&Cause::Other { what: format!("{} waits for it", claim.subject) })?;
        for other in others.iter().filter(|other| **other != claim.subject) {
            // One that is there already is not raised: it would be worked twice. It is in a hurry as we are.
            sqlx::query(
                "INSERT INTO task (pair, subject, priority, not_before, since, cause, caused_at, last_cause, last_at) \
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?5, ?4) \
                 ON CONFLICT DO UPDATE SET priority = min(priority, excluded.priority)",
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

    /// Whether following who waits for whom from `first` comes back to the claimed subject, over tasks that are there.
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
