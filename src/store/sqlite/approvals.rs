//! Approvals: operations that wait for an operator, and what operators decided.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{codec, codec::millis, memory::Claim, numbers::PairNo, tx::Tx};
use crate::{
    model::{
        Approval, ApprovalItem, ApprovalItemState, ApprovalKind, Cause, ChangeOutcome, NewApprovalItem, Pair, Priority,
        Subject, TargetGroupId, adoption_key,
    },
    store::{Decision, PairState, StoreError, StoreResult},
};

type ItemRow = (i64, String, String, String, String, String, String, i64);

fn item((id, subject, kind, what, key, fingerprint, state, since): ItemRow) -> StoreResult<ApprovalItem> {
    Ok(ApprovalItem {
        id,
        subject: codec::parse(&subject)?,
        item: NewApprovalItem { kind: codec::from_json(&kind)?, what, key, fingerprint },
        state: codec::from_word(state)?,
        since: codec::time(since)?,
    })
}

type SetRow = (i64, String, String, String, i64, bool, String, Option<String>, i64, i64, i64);

const APPROVALS: &str = "SELECT s.id, c.name, g.name, s.kind, s.since, s.open, s.summary, s.decision, \
    (SELECT count(*) FROM approval_item i WHERE i.approval = s.id AND i.state = 'open'), \
    (SELECT count(*) FROM approval_item i WHERE i.approval = s.id AND i.state = 'rejected'), \
    (SELECT count(*) FROM approval_item i WHERE i.approval = s.id) \
    FROM approval s JOIN pair p ON p.no = s.pair JOIN connector c ON c.no = p.connector JOIN target g ON g.no = p.target ";

fn set(row: SetRow) -> StoreResult<Approval> {
    let (id, connector, target, kind, since, open, summary, decision, open_items, rejected_items, items) = row;
    Ok(Approval {
        id,
        pair: Pair::new(connector, target),
        kind: codec::from_json(&kind)?,
        since: codec::time(since)?,
        open,
        summary: codec::from_json(&summary)?,
        decision,
        open_items,
        rejected_items,
        items,
    })
}

impl Tx {
    /// Returns items of the subject that an operator decided.
    pub(super) async fn decided(&mut self, no: PairNo, subject: &Subject) -> StoreResult<Vec<ApprovalItem>> {
        let items = self.standing(no, subject).await?;
        Ok(items.into_iter().filter(|item| item.state != ApprovalItemState::Open).collect())
    }

    /// Returns items of the subject that are open, approved or rejected.
    async fn standing(&mut self, no: PairNo, subject: &Subject) -> StoreResult<Vec<ApprovalItem>> {
        let rows: Vec<ItemRow> = sqlx::query_as(
            "SELECT id, subject, kind, what, key, fingerprint, state, since FROM approval_item \
             WHERE pair = ?1 AND subject = ?2 AND state IN ('open', 'approved', 'rejected') ORDER BY id",
        )
        .bind(no.pair)
        .bind(subject.to_string())
        .fetch_all(&mut self.conn)
        .await?;
        rows.into_iter().map(item).collect()
    }

    /// Replaces the subject's open items with exactly these. A decision stands while its item is among them with the
    /// same fingerprint; otherwise it is withdrawn.
    pub(super) async fn hold(&mut self, claim: &Claim, held: &[NewApprovalItem], now: Timestamp) -> StoreResult<()> {
        let old = self.standing(claim.no, &claim.subject).await?;
        for item in &old {
            let again = held.iter().find(|new| new.kind == item.item.kind && new.key == item.item.key);
            match (item.state, again) {
                (ApprovalItemState::Open, Some(new)) => {
                    sqlx::query("UPDATE approval_item SET what = ?2, fingerprint = ?3 WHERE id = ?1")
                        .bind(item.id)
                        .bind(new.what.as_str())
                        .bind(new.fingerprint.as_str())
                        .execute(&mut self.conn)
                        .await?;
                }
                (_, Some(new)) if new.fingerprint == item.item.fingerprint => {}
                _ => self.set_item_state(item.id, ApprovalItemState::Withdrawn).await?,
            }
        }
        for new in held {
            let stands = old.iter().any(|item| {
                item.item.kind == new.kind
                    && item.item.key == new.key
                    && (item.state == ApprovalItemState::Open || item.item.fingerprint == new.fingerprint)
            });
            if !stands {
                let set = self.open_approval(claim.no, new.kind, now).await?;
                sqlx::query(
                    "INSERT INTO approval_item (approval, pair, subject, kind, what, key, fingerprint, since) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )
                .bind(set)
                .bind(claim.no.pair)
                .bind(claim.subject.to_string())
                .bind(codec::to_json(&new.kind)?)
                .bind(new.what.as_str())
                .bind(new.key.as_str())
                .bind(new.fingerprint.as_str())
                .bind(millis(now))
                .execute(&mut self.conn)
                .await?;
            }
        }
        if !old.is_empty() {
            self.close_empty_approvals(claim.no).await?;
        }
        Ok(())
    }

    async fn set_item_state(&mut self, id: i64, state: ApprovalItemState) -> StoreResult<()> {
        sqlx::query("UPDATE approval_item SET state = ?2 WHERE id = ?1")
            .bind(id)
            .bind(codec::to_word(&state)?)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Closes approvals without open items. A first run's approval has no items and is closed only by a decision.
    async fn close_empty_approvals(&mut self, no: PairNo) -> StoreResult<()> {
        sqlx::query(
            "UPDATE approval SET open = 0 WHERE pair = ?1 AND open = 1 AND kind <> ?2 \
             AND NOT EXISTS (SELECT 1 FROM approval_item i WHERE i.approval = approval.id AND i.state = 'open')",
        )
        .bind(no.pair)
        .bind(codec::to_json(&ApprovalKind::FirstRun)?)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Returns the open approval of this kind, to which later items are added; creates one if there is none.
    async fn open_approval(&mut self, no: PairNo, kind: ApprovalKind, now: Timestamp) -> StoreResult<i64> {
        let kind = codec::to_json(&kind)?;
        let open = sqlx::query_scalar("SELECT id FROM approval WHERE pair = ?1 AND kind = ?2 AND open = 1")
            .bind(no.pair)
            .bind(&kind)
            .fetch_optional(&mut self.conn)
            .await?;
        if let Some(id) = open {
            return Ok(id);
        }
        let id = sqlx::query_scalar("INSERT INTO approval (pair, kind, since) VALUES (?1, ?2, ?3) RETURNING id")
            .bind(no.pair)
            .bind(&kind)
            .bind(millis(now))
            .fetch_one(&mut self.conn)
            .await?;
        Ok(id)
    }

    /// Checks that an approval item may be used: it belongs to the claimed subject, and no request under way uses it.
    pub(super) async fn check_approved(&mut self, claim: &Claim, id: i64) -> StoreResult<()> {
        let decided = self.decided(claim.no, &claim.subject).await?;
        let approved = decided.iter().any(|item| item.id == id && item.state == ApprovalItemState::Approved);
        if approved && !self.is_under_way(claim, id).await? {
            return Ok(());
        }
        Err(StoreError::NotFound(format!("approval item {id} of {} is not approved", claim.subject)))
    }

    /// Marks an approval item as used after success or a permanent refusal. After any other outcome it may be used
    /// again.
    pub(super) async fn use_up(&mut self, id: i64, outcome: &ChangeOutcome) -> StoreResult<()> {
        match outcome {
            ChangeOutcome::Done | ChangeOutcome::DoneWith { .. } | ChangeOutcome::FoundDone => {
                self.set_item_state(id, ApprovalItemState::Done).await
            }
            ChangeOutcome::Refused { permanent: true, .. } => self.set_item_state(id, ApprovalItemState::Refused).await,
            ChangeOutcome::Refused { .. } | ChangeOutcome::FoundNotDone | ChangeOutcome::NotSeen => Ok(()),
        }
    }

    /// Uses up the approval of an adoption that is done.
    pub(super) async fn adopted(&mut self, no: PairNo, subject: &Subject, id: &str) -> StoreResult<()> {
        let key = adoption_key(id);
        for item in self.decided(no, subject).await? {
            if item.state == ApprovalItemState::Approved && item.item.key == key {
                self.set_item_state(item.id, ApprovalItemState::Done).await?;
            }
        }
        Ok(())
    }

    /// Withdraws rejections and raises the tasks of their subjects.
    pub(super) async fn withdraw_rejections(
        &mut self,
        id: i64,
        chosen: &[i64],
        by: &str,
        now: Timestamp,
    ) -> StoreResult<usize> {
        let set = read_approval(&mut self.conn, id).await?;
        let no = self.pair(&set.pair).await?;
        let mut items = read_items(&mut self.conn, id).await?;
        items.retain(|item| {
            item.state == ApprovalItemState::Rejected && (chosen.is_empty() || chosen.contains(&item.id))
        });
        if items.is_empty() {
            return Ok(0);
        }
        for item in &items {
            self.set_item_state(item.id, ApprovalItemState::Withdrawn).await?;
        }
        let what = format!("withdrew {} of approval {id} of {}", of_rejections(items.len()), set.pair);
        self.audit(by, &what, now).await?;
        let cause = Cause::Other { what: format!("rejections of approval {id} withdrawn by {by}") };
        self.raise(no, items.iter().map(|item| &item.subject), Priority::Retry, &cause, now).await?;
        self.wake = true;
        self.memory.note_outside_change();
        Ok(items.len())
    }

    pub(super) async fn hold_first_run(
        &mut self,
        pair: &Pair,
        summary: &serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<i64> {
        let no = self.pair(pair).await?;
        let id = self.open_approval(no, ApprovalKind::FirstRun, now).await?;
        sqlx::query("UPDATE approval SET summary = ?2 WHERE id = ?1")
            .bind(id)
            .bind(codec::to_json(summary)?)
            .execute(&mut self.conn)
            .await?;
        sqlx::query("UPDATE pair SET state = ?2, since = ?3 WHERE no = ?1 AND state IN ('new', 'no_users')")
            .bind(no.pair)
            .bind(codec::to_word(&PairState::Held)?)
            .bind(millis(now))
            .execute(&mut self.conn)
            .await?;
        Ok(id)
    }

    pub(super) async fn decide(&mut self, decision: &Decision, now: Timestamp) -> StoreResult<usize> {
        let set = read_approval(&mut self.conn, decision.set).await?;
        if !set.open {
            return Ok(0);
        }
        let no = self.pair(&set.pair).await?;
        let mut items = read_items(&mut self.conn, decision.set).await?;
        items.retain(|item| {
            item.state == ApprovalItemState::Open && (decision.items.is_empty() || decision.items.contains(&item.id))
        });
        let first_run = set.kind == ApprovalKind::FirstRun && decision.items.is_empty();
        if items.is_empty() && !first_run {
            return Ok(0);
        }
        let state = if decision.approve { ApprovalItemState::Approved } else { ApprovalItemState::Rejected };
        for item in &items {
            self.set_item_state(item.id, state).await?;
        }
        self.note_decision(&set, decision, items.len(), now).await?;
        if first_run {
            self.decide_first_run(&set, no, decision.approve, now).await?;
        } else {
            self.close_empty_approvals(no).await?;
        }
        if decision.approve {
            // An approval of single items does not cover the rest of the group.
            if set.kind == ApprovalKind::AdoptedGroup && decision.items.is_empty() {
                for item in &items {
                    self.approve_removals(no, item).await?;
                }
            }
            let cause = Cause::Other { what: format!("approval {} approved by {}", set.id, decision.by) };
            self.raise(no, items.iter().map(|item| &item.subject), Priority::Retry, &cause, now).await?;
        }
        self.wake = true;
        self.memory.note_outside_change();
        Ok(items.len() + usize::from(first_run))
    }

    async fn decide_first_run(&mut self, set: &Approval, no: PairNo, approve: bool, now: Timestamp) -> StoreResult<()> {
        sqlx::query("UPDATE approval SET open = 0 WHERE id = ?1").bind(set.id).execute(&mut self.conn).await?;
        if approve {
            let approved = codec::to_word(&PairState::Approved)?;
            sqlx::query(
                "UPDATE pair SET state = ?2, since = ?3 WHERE no = ?1 AND state IN ('new', 'no_users', 'held')",
            )
            .bind(no.pair)
            .bind(&approved)
            .bind(millis(now))
            .execute(&mut self.conn)
            .await?;
            // A pair that is stopped now is approved when it resumes.
            sqlx::query(
                "UPDATE pair SET stopped_from = ?2 WHERE no = ?1 AND stopped_from IN ('new', 'no_users', 'held')",
            )
            .bind(no.pair)
            .bind(&approved)
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }

    async fn note_decision(
        &mut self,
        set: &Approval,
        decision: &Decision,
        items: usize,
        now: Timestamp,
    ) -> StoreResult<()> {
        let word = if decision.approve { "approved" } else { "rejected" };
        let part = if decision.items.is_empty() { String::new() } else { format!(" ({items} of {})", set.items) };
        let note = decision.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        let line = format!("{word}{part} by {}, {now}{note}", decision.by);
        sqlx::query(
            "UPDATE approval SET decision = iif(decision IS NULL, ?2, decision || char(10) || ?2) WHERE id = ?1",
        )
        .bind(set.id)
        .bind(&line)
        .execute(&mut self.conn)
        .await?;
        self.audit(&decision.by, &format!("approval {} of {} {word}{part}{note}", set.id, set.pair), now).await
    }

    /// Allows removals from an item's group: the group that the subject feeds, otherwise the one in its key.
    async fn approve_removals(&mut self, no: PairNo, item: &ApprovalItem) -> StoreResult<()> {
        let fed = match &item.subject {
            Subject::Group(source) => self.fed_by(no, source).await?,
            Subject::User(_) => None,
        };
        let named = || item.item.key.split_once(':').map(|(_, group)| TargetGroupId::from(group));
        if let Some(group) = fed.or_else(named) {
            sqlx::query(
                "UPDATE managed_group SET removals_approved = 1 \
                 WHERE no = (SELECT no FROM target_group WHERE target = ?1 AND id = ?2)",
            )
            .bind(no.target)
            .bind(group.as_str())
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }
}

/// Returns approvals, newest first.
pub(super) async fn sets(conn: &mut SqliteConnection, open_only: bool) -> StoreResult<Vec<Approval>> {
    let rows: Vec<SetRow> =
        sqlx::query_as(AssertSqlSafe(format!("{APPROVALS} WHERE s.open = 1 OR NOT ?1 ORDER BY s.id DESC")))
            .bind(open_only)
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(set).collect()
}

/// Returns one approval.
pub(super) async fn read_approval(conn: &mut SqliteConnection, id: i64) -> StoreResult<Approval> {
    let row: Option<SetRow> =
        sqlx::query_as(AssertSqlSafe(format!("{APPROVALS} WHERE s.id = ?1"))).bind(id).fetch_optional(conn).await?;
    set(row.ok_or_else(|| StoreError::NotFound(format!("there is no approval {id}")))?)
}

/// Returns the items of an approval, open ones first.
pub(super) async fn read_items(conn: &mut SqliteConnection, set: i64) -> StoreResult<Vec<ApprovalItem>> {
    let rows: Vec<ItemRow> = sqlx::query_as(
        "SELECT id, subject, kind, what, key, fingerprint, state, since FROM approval_item WHERE approval = ?1 \
         ORDER BY state <> 'open', id",
    )
    .bind(set)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(item).collect()
}

fn of_rejections(count: usize) -> String {
    if count == 1 { "1 rejection".to_owned() } else { format!("{count} rejections") }
}

/// Returns a pair's items that are open, approved or rejected.
pub(super) async fn standing(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<ApprovalItem>> {
    let rows: Vec<ItemRow> = sqlx::query_as(
        "SELECT id, subject, kind, what, key, fingerprint, state, since FROM approval_item INDEXED BY approval_item_standing \
         WHERE pair = ?1 AND state IN ('open', 'approved', 'rejected') ORDER BY id",
    )
    .bind(pair)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(item).collect()
}

/// Returns whether an open approval of this kind has open items.
pub(super) async fn has_open_items(conn: &mut SqliteConnection, pair: i64, kind: ApprovalKind) -> StoreResult<bool> {
    let held = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM approval s JOIN approval_item i ON i.approval = s.id AND i.state = 'open' \
         WHERE s.pair = ?1 AND s.kind = ?2 AND s.open = 1)",
    )
    .bind(pair)
    .bind(codec::to_json(&kind)?)
    .fetch_one(conn)
    .await?;
    Ok(held)
}
