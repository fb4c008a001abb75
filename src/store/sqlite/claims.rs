//! Claims: exclusive rights to work on a subject and its account.

use std::{collections::HashSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{
    codec,
    codec::millis,
    intents::account_object,
    memory::{Claim, Memory},
    numbers::PairNo,
    tasks::{priority, rank},
    tx::Tx,
};
use crate::{
    model::{
        AccountId, ApprovalItem, Cause, ConnectorName, Link, ObservationSeq, Operation, Pair, Priority, RunId, Subject,
        TargetName, Token, Unsupported, UserId,
    },
    store::{Adopted, Claimed, Holder, LinkOrder, Planned, StoreError, StoreResult},
};

/// Retry delay for an account that another claim holds; the end of that claim is unknown.
const BUSY: SignedDuration = SignedDuration::from_millis(250);

/// The most urgent due task of a pair, without claimed subjects. Each branch is one index lookup.
const HEAD: &str = "
SELECT h.subject, h.generation, h.priority, h.not_before, h.attempts, h.cause, h.caused_at, h.blocked_by,
    EXISTS (SELECT 1 FROM task w WHERE w.pair = ?1 AND w.blocked_by = h.subject)
FROM (
    SELECT * FROM (SELECT * FROM task INDEXED BY task_due WHERE dead = 0 AND pair = ?1 AND priority = 0 AND not_before <= ?2
        AND subject NOT IN (SELECT value FROM json_each(?3)) ORDER BY not_before LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT * FROM task INDEXED BY task_due WHERE dead = 0 AND pair = ?1 AND priority = 1 AND not_before <= ?2
        AND subject NOT IN (SELECT value FROM json_each(?3)) ORDER BY not_before LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT * FROM task INDEXED BY task_due WHERE dead = 0 AND pair = ?1 AND priority = 2 AND not_before <= ?2
        AND subject NOT IN (SELECT value FROM json_each(?3)) ORDER BY not_before LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT * FROM task INDEXED BY task_due WHERE dead = 0 AND pair = ?1 AND priority = 3 AND not_before <= ?2
        AND subject NOT IN (SELECT value FROM json_each(?3)) ORDER BY not_before LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT * FROM task INDEXED BY task_due WHERE dead = 0 AND pair = ?1 AND priority = 4 AND not_before <= ?2
        AND subject NOT IN (SELECT value FROM json_each(?3)) ORDER BY not_before LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT * FROM task INDEXED BY task_due WHERE dead = 0 AND pair = ?1 AND priority = 5 AND not_before <= ?2
        AND subject NOT IN (SELECT value FROM json_each(?3)) ORDER BY not_before LIMIT 1)
) h LIMIT 1";

type Head = (String, i64, i64, i64, i64, String, i64, Option<String>, bool);

/// Query for subjects that a run found in sync, but that have a newer observation, another link or an open intent.
const WORKED_SINCE: &str = "
WITH found (subject, observation, account, user) AS MATERIALIZED
    (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?2))
SELECT f.subject FROM found f
LEFT JOIN observation l ON l.pair = ?1 AND l.subject = f.subject
LEFT JOIN link k ON k.pair = ?1 AND k.user = f.user
WHERE l.number > f.observation
    OR k.account IS NOT f.account
    OR (EXISTS (SELECT 1 FROM intent i WHERE i.target = ?3) AND (
        EXISTS (SELECT 1 FROM intent i WHERE i.pair = ?1 AND i.subject = f.subject)
        OR EXISTS (SELECT 1 FROM intent i WHERE i.target = ?3 AND i.object = 'account:' || f.account)))";

/// Flags for what else is stored about a subject that is to be claimed. Most subjects have nothing, which one query
/// shows.
#[allow(clippy::struct_excessive_bools, reason = "one for each table")]
struct Stored {
    /// The newest observation that was recorded.
    observed: Option<ObservationSeq>,
    /// Whether an intent is open that may be of the subject or its account. Groups: whether any intent is open.
    intents: bool,
    decided: bool,
    dropped: bool,
    unsupported: bool,
    ordered: bool,
    unconfirmed: bool,
}

/// Stored data of a claimed subject, other than its link.
#[derive(Default)]
struct Known {
    decided: Vec<ApprovalItem>,
    /// Dropped links of a user without a link.
    dropped: Vec<Link>,
    unsupported: Vec<Unsupported>,
    /// The open order about the subject's link.
    order: Option<LinkOrder>,
    /// The account whose link an order removed.
    unlinked: Option<AccountId>,
}

/// Query for [`Stored`]. The list of states repeats the condition of the partial index `approval_item_standing`;
/// otherwise `SQLite` does not use it.
const STORED: &str = "
SELECT (SELECT number FROM observation WHERE pair = ?1 AND subject = ?2),
    EXISTS (SELECT 1 FROM intent) AND (?3 IS NULL
        OR EXISTS (SELECT 1 FROM intent WHERE pair = ?1 AND subject = ?2)
        OR EXISTS (SELECT 1 FROM intent WHERE target = ?4 AND object = ?5)),
    EXISTS (SELECT 1 FROM approval_item
        WHERE pair = ?1 AND subject = ?2 AND state IN ('open', 'approved', 'rejected') AND state <> 'open'),
    EXISTS (SELECT 1 FROM dropped_link WHERE pair = ?1 AND user = ?3),
    EXISTS (SELECT 1 FROM unsupported WHERE pair = ?1 AND subject = ?2),
    EXISTS (SELECT 1 FROM link_order WHERE pair = ?1 AND user = ?3),
    EXISTS (SELECT 1 FROM unconfirmed_link WHERE pair = ?1 AND user = ?3)";

/// Query for the tasks that concern a subject which a run claims: whether another task waits for it, and the priority
/// of its due event, if there is one.
const TASKS: &str = "
SELECT EXISTS (SELECT 1 FROM task WHERE pair = ?1 AND blocked_by = ?2),
    (SELECT priority FROM task WHERE pair = ?1 AND subject = ?2 AND dead = 0 AND priority <= ?3 AND not_before <= ?4)";

impl Tx {
    /// Returns the claim, if it is still held.
    pub(super) fn held(&self, token: Token) -> StoreResult<Claim> {
        self.memory.find(token).ok_or(StoreError::ClaimEnded)
    }

    pub(super) async fn claim(
        &mut self,
        target: &TargetName,
        connectors: &[ConnectorName],
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        let mut skipped: HashSet<(i64, Subject)> = HashSet::new();
        loop {
            let mut best: Option<(Pair, PairNo, Head)> = None;
            for connector in connectors {
                let pair = Pair { connector: connector.clone(), target: target.clone() };
                let no = self.pair(&pair).await?;
                let mut busy = self.memory.busy(no.pair);
                busy.extend(skipped.iter().filter(|(pair, _)| *pair == no.pair).map(|(_, subject)| subject.clone()));
                let head: Option<Head> = sqlx::query_as(HEAD)
                    .bind(no.pair)
                    .bind(millis(now))
                    .bind(codec::to_json(&busy)?)
                    .fetch_optional(&mut self.conn)
                    .await?;
                if let Some(head) = head
                    && best.as_ref().is_none_or(|(_, _, other)| (head.2, head.3) < (other.2, other.3))
                {
                    best = Some((pair, no, head));
                }
            }
            let Some((pair, no, head)) = best else { return Ok(None) };
            let subject: Subject = codec::parse(&head.0)?;
            if let Some(claimed) = self.claim_task(pair, no, &subject, head, now).await? {
                return Ok(Some(claimed));
            }
            skipped.insert((no.pair, subject));
        }
    }

    /// Claims this task, unless its account is claimed or the request of an intent can still arrive. In the latter case
    /// the task waits until it cannot.
    async fn claim_task(
        &mut self,
        pair: Pair,
        no: PairNo,
        subject: &Subject,
        head: Head,
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        let (name, generation, _, _, attempts, cause, caused_at, blocked_by, wanted) = head;
        let link = self.link_of(no, subject).await?;
        if let Some(link) = &link
            && self.memory.holds_account(no.target, &link.account).is_some()
        {
            return Ok(None);
        }
        let account = link.as_ref().map(|link| &link.account);
        let stored = self.stored(no, subject, account).await?;
        let intents = if stored.intents { self.intents_closing(no, subject, account).await? } else { Vec::new() };
        if let Some(until) = intents.iter().map(|intent| intent.arrives_until).filter(|until| *until > now).max() {
            sqlx::query("UPDATE task SET not_before = ?3 WHERE pair = ?1 AND subject = ?2")
                .bind(no.pair)
                .bind(name)
                .bind(millis(until))
                .execute(&mut self.conn)
                .await?;
            return Ok(None);
        }
        if blocked_by.is_some() {
            // The claim re-checks what it waits for, and records it again if it still waits.
            sqlx::query("UPDATE task SET blocked_by = NULL WHERE pair = ?1 AND subject = ?2")
                .bind(no.pair)
                .bind(name)
                .execute(&mut self.conn)
                .await?;
        }
        let known = self.known(no, subject, link.as_ref(), &stored).await?;
        let cause: Cause = codec::from_json(&cause)?;
        let caused_at = codec::time(caused_at)?;
        let token = self.take(Claim {
            token: Token(0),
            pair: pair.clone(),
            no,
            subject: subject.clone(),
            generation,
            cause: cause.clone(),
            caused_at,
            accounts: link.iter().map(|link| link.account.clone()).collect(),
            began: self.memory.newest_observation(),
            since: now,
            event: Arc::default(),
        });
        Ok(Some(Claimed {
            token,
            pair,
            subject: subject.clone(),
            generation,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            cause,
            caused_at,
            link,
            dropped: known.dropped,
            intents,
            decided: known.decided,
            unsupported: known.unsupported,
            order: known.order,
            unlinked: known.unlinked,
            unconfirmed: stored.unconfirmed,
            wanted,
        }))
    }

    fn take(&mut self, claim: Claim) -> Token {
        let token = self.memory.next_token();
        let undo = self.memory.take(Claim { token, ..claim });
        self.undo_with(Some(undo));
        token
    }

    async fn stored(&mut self, no: PairNo, subject: &Subject, account: Option<&AccountId>) -> StoreResult<Stored> {
        let (observed, intents, decided, dropped, unsupported, ordered, unconfirmed): (Option<i64>, _, _, _, _, _, _) =
            sqlx::query_as(STORED)
                .bind(no.pair)
                .bind(subject.to_string())
                .bind(subject.as_user().map(UserId::as_str))
                .bind(no.target)
                .bind(account.map(account_object))
                .fetch_one(&mut self.conn)
                .await?;
        let observed = observed.map(ObservationSeq);
        Ok(Stored { observed, intents, decided, dropped, unsupported, ordered, unconfirmed })
    }

    /// Reads the data that [`Stored`] reports for a claimed subject.
    async fn known(
        &mut self,
        no: PairNo,
        subject: &Subject,
        link: Option<&Link>,
        stored: &Stored,
    ) -> StoreResult<Known> {
        let mut known = Known::default();
        if stored.decided {
            known.decided = self.decided(no, subject).await?;
        }
        if let (true, None, Some(user)) = (stored.dropped, link, subject.as_user()) {
            known.dropped = self.dropped(no, user).await?;
        }
        if stored.unsupported {
            known.unsupported = self.unsupported(no, subject).await?;
        }
        if stored.ordered
            && let Some(order) = self.order(no, subject).await?
        {
            known.unlinked.clone_from(&order.unlinked);
            known.order = Some(order).filter(|order| order.ended.is_none());
        }
        Ok(known)
    }

    /// Returns the link of a subject that is a user.
    async fn link_of(&mut self, no: PairNo, subject: &Subject) -> StoreResult<Option<Link>> {
        match subject.as_user() {
            Some(user) => self.link(no, user).await,
            None => Ok(None),
        }
    }

    pub(super) async fn claim_planned(
        &mut self,
        pair: &Pair,
        run: RunId,
        planned: &Planned,
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        let no = self.pair(pair).await?;
        let subject = &planned.subject;
        let cause = Cause::Run { id: run };
        let link = self.link_of(no, subject).await?;
        let account = link.as_ref().map(|link| &link.account);
        let busy = self.memory.holds_subject(no, subject).is_some()
            || account.is_some_and(|account| self.memory.holds_account(no.target, account).is_some());
        let stored = self.stored(no, subject, account).await?;
        let stands = !busy
            && account == planned.account.as_ref()
            && stored.observed.is_none_or(|newest| newest <= planned.observation)
            && (!stored.intents || self.intents_closing(no, subject, account).await?.is_empty());
        if !stands {
            self.raise(no, [subject], Priority::Run, &cause, now).await?;
            return Ok(None);
        }
        let known = self.known(no, subject, link.as_ref(), &stored).await?;
        let (wanted, event): (bool, Option<i64>) = sqlx::query_as(TASKS)
            .bind(no.pair)
            .bind(subject.to_string())
            .bind(rank(Priority::Event))
            .bind(millis(now))
            .fetch_one(&mut self.conn)
            .await?;
        let token = self.take(Claim {
            token: Token(0),
            pair: pair.clone(),
            no,
            subject: subject.clone(),
            generation: 0,
            cause: cause.clone(),
            caused_at: now,
            accounts: account.cloned().into_iter().collect(),
            began: self.memory.newest_observation(),
            since: now,
            event: Arc::new(watch::Sender::new(event.map(priority))),
        });
        Ok(Some(Claimed {
            token,
            pair: pair.clone(),
            subject: subject.clone(),
            generation: 0,
            attempts: 0,
            cause,
            caused_at: now,
            link,
            dropped: known.dropped,
            intents: Vec::new(),
            decided: known.decided,
            unsupported: known.unsupported,
            order: known.order,
            unlinked: known.unlinked,
            unconfirmed: stored.unconfirmed,
            wanted,
        }))
    }

    pub(super) async fn found_in_sync(
        &mut self,
        pair: &Pair,
        run: RunId,
        found: &[Planned],
        now: Timestamp,
    ) -> StoreResult<usize> {
        let no = self.pair(pair).await?;
        let dead = self.dead(no).await?;
        if !dead.is_empty() {
            self.end_dead(no, found.iter().map(|one| &one.subject).filter(|subject| dead.contains(subject))).await?;
        }
        let Some(oldest) = found.iter().map(|one| one.observation).min() else { return Ok(0) };
        // An observation is recorded only under a claim: without a claim since, none is newer.
        let rests = !self.ended_on.contains(&no.target) && self.memory.unclaimed_since(no.target, oldest);
        if rests && !self.has_intents(no).await? {
            return Ok(0);
        }
        let rows: Vec<_> =
            found.iter().map(|one| (&one.subject, one.observation, &one.account, one.subject.as_user())).collect();
        let since: Vec<String> = sqlx::query_scalar(WORKED_SINCE)
            .bind(no.pair)
            .bind(codec::to_json(&rows)?)
            .bind(no.target)
            .fetch_all(&mut self.conn)
            .await?;
        let mut again: HashSet<Subject> = since.iter().map(|text| codec::parse(text)).collect::<Result<_, _>>()?;
        for one in found {
            let claimed = self.memory.holds_subject(no, &one.subject).is_some()
                || one.account.as_ref().is_some_and(|account| self.memory.holds_account(no.target, account).is_some());
            if claimed {
                again.insert(one.subject.clone());
            }
        }
        self.raise(no, &again, Priority::Run, &Cause::Run { id: run }, now).await
    }

    /// Finds events that other processes raised for subjects that full reconciles have claimed. A task with a later due
    /// time was not raised since then.
    pub(super) async fn note_events_of_others(&mut self) -> StoreResult<()> {
        let claimed = self.memory.claimed_by_runs();
        if claimed.is_empty() {
            return Ok(());
        }
        let raised: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT t.pair, t.subject, t.priority FROM json_each(?1) c CROSS JOIN task t \
             ON t.pair = c.value ->> 0 AND t.subject = c.value ->> 1 \
             WHERE t.dead = 0 AND t.priority <= ?2 AND t.not_before <= t.last_at",
        )
        .bind(codec::to_json(&claimed)?)
        .bind(rank(Priority::Event))
        .fetch_all(&mut self.conn)
        .await?;
        for (pair, subject, rank) in raised {
            self.memory.note_event(pair, &codec::parse(&subject)?, priority(rank));
        }
        Ok(())
    }

    async fn has_intents(&mut self, no: PairNo) -> StoreResult<bool> {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM intent WHERE target = ?1)")
            .bind(no.target)
            .fetch_one(&mut self.conn)
            .await?)
    }

    /// Returns whether the work on another subject ended after this claim was taken, with no task left.
    pub(super) async fn has_ended_since(&mut self, claim: &Claim, other: &Subject) -> StoreResult<bool> {
        if self.memory.holds_subject(claim.no, other).is_some() {
            return Ok(false);
        }
        let due: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM task WHERE pair = ?1 AND subject = ?2)")
            .bind(claim.no.pair)
            .bind(other.to_string())
            .fetch_one(&mut self.conn)
            .await?;
        Ok(!due && self.recorded_observation(claim.no, other).await?.is_some_and(|ended| ended > claim.began))
    }

    /// Returns the number of the newest recorded observation.
    async fn recorded_observation(&mut self, no: PairNo, subject: &Subject) -> StoreResult<Option<ObservationSeq>> {
        let number: Option<i64> = sqlx::query_scalar("SELECT number FROM observation WHERE pair = ?1 AND subject = ?2")
            .bind(no.pair)
            .bind(subject.to_string())
            .fetch_optional(&mut self.conn)
            .await?;
        Ok(number.map(ObservationSeq))
    }

    /// Records a new observation number when work on the subject ends (rule: a newer observation wins).
    pub(super) async fn record_observation(&mut self, claim: &Claim) -> StoreResult<()> {
        self.write_changes_observed::<Operation>(&[], &[claim]).await
    }

    pub(super) async fn holder(&mut self, token: Token, account: &AccountId, name: &str) -> StoreResult<Holder> {
        let claim = self.held(token)?;
        if let Some((connector, link)) = self.linked(claim.no.target, account).await? {
            return Ok(Holder::Linked { connector, link });
        }
        let made = self.create_pending_until(&claim, name).await?;
        Ok(if made.is_some() { Holder::BeingCreated } else { Holder::Unlinked })
    }

    /// Returns until when the request of another subject's open create intent of this name can arrive, if there is one.
    async fn create_pending_until(&mut self, claim: &Claim, name: &str) -> StoreResult<Option<i64>> {
        let until = sqlx::query_scalar(
            "SELECT max(arrives_until) FROM intent WHERE target = ?1 AND made = ?2 AND (pair <> ?3 OR subject <> ?4)",
        )
        .bind(claim.no.target)
        .bind(codec::fold(name))
        .bind(claim.no.pair)
        .bind(claim.subject.to_string())
        .fetch_one(&mut self.conn)
        .await?;
        Ok(until)
    }

    pub(super) async fn adopt(
        &mut self,
        token: Token,
        link: Link,
        from: Option<UserId>,
        now: Timestamp,
    ) -> StoreResult<Adopted> {
        let claim = self.held(token)?;
        if claim.subject.as_user() != Some(&link.user) {
            return Err(StoreError::Failed(format!("{} is not the claimed {}", link.user, claim.subject)));
        }
        let no = claim.no;
        let later = millis(now + BUSY);
        if self.memory.holds_account(no.target, &link.account).is_some_and(|holder| holder != token) {
            return Ok(Adopted::Busy { until: codec::time(later)? });
        }
        if let Some(until) = self.arrives_at(no, &link.account, now).await? {
            return Ok(Adopted::Busy { until });
        }
        let other = self.linked(no.target, &link.account).await?;
        let link = match other {
            None => {
                if let Some(until) = self.create_pending_until(&claim, &link.name).await? {
                    return Ok(Adopted::Busy { until: codec::time(until.max(later))? });
                }
                link
            }
            Some((connector, old)) if connector == claim.pair.connector && old.user == link.user => {
                Link { name: link.name, ..old }
            }
            Some((connector, old)) if connector == claim.pair.connector && Some(&old.user) == from.as_ref() => {
                self.remove_link(no, &old.user).await?;
                Link { user: link.user, name: link.name, ..old }
            }
            Some((connector, old)) => return Ok(Adopted::LinkedElsewhere { connector, user: old.user }),
        };
        self.put_link(no, &link).await?;
        self.forget_dropped(no.target, &link.account).await?;
        self.adopted(no, &claim.subject, link.account.as_str()).await?;
        self.hand_over(&claim, &link.account).await?;
        let undo = self.memory.add_account(token, &link.account);
        self.undo_with(undo);
        Ok(Adopted::Linked)
    }

    /// Returns the priority of a claim's task, or that of a run if there is no task.
    pub(super) async fn priority_of(&mut self, claim: &Claim) -> StoreResult<i64> {
        let priority: Option<i64> = sqlx::query_scalar("SELECT priority FROM task WHERE pair = ?1 AND subject = ?2")
            .bind(claim.no.pair)
            .bind(claim.subject.to_string())
            .fetch_optional(&mut self.conn)
            .await?;
        Ok(priority.unwrap_or(rank(Priority::Run)))
    }
}

/// Releases a claim whose caller was dropped.
pub(super) fn forget(memory: &Memory, claimed: Option<Claimed>) {
    if let Some(claimed) = claimed {
        memory.end(claimed.token);
    }
}
