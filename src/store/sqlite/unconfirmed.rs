//! Updates stored data when another server answers at a target.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::{codec, intents::NewChange, memory::Claim, numbers::PairNo, tx::Tx};
use crate::{
    model::{Cause, ChangeOutcome, Limited, Link, Pair, RunId, Subject, UserId},
    store::StoreResult,
};

/// Statements for another server, where an id of the previous server may be another account's. Links have to be
/// compared, and groups are found by name again. No member is removed from them without an approval. Decisions and
/// notes about single accounts are dropped.
const BEGIN: [&str; 10] = [
    "INSERT OR IGNORE INTO unconfirmed_link SELECT pair, user FROM link WHERE target = ?1",
    "DELETE FROM membership WHERE link IN (SELECT id FROM link WHERE target = ?1)",
    "UPDATE link SET given = x'', given_count = 0 WHERE target = ?1 AND given_count > 0",
    "DELETE FROM source_group WHERE pair IN (SELECT no FROM pair WHERE target = ?1)",
    "DELETE FROM managed_group WHERE target = ?1",
    "DELETE FROM dropped_link WHERE target = ?1",
    "DELETE FROM link_order WHERE pair IN (SELECT no FROM pair WHERE target = ?1)",
    "DELETE FROM members_read WHERE pair IN (SELECT no FROM pair WHERE target = ?1)",
    "DELETE FROM unsupported WHERE pair IN (SELECT no FROM pair WHERE target = ?1)",
    "UPDATE approval_item SET state = 'withdrawn' WHERE pair IN (SELECT no FROM pair WHERE target = ?1) \
     AND state IN ('open', 'approved', 'rejected')",
];

/// Statements for the same server under another address. Its data is kept. Its links are compared, and the members of
/// its groups are read again instead of counted.
const COMPARE: [&str; 2] = [BEGIN[0], "DELETE FROM members_read WHERE pair IN (SELECT no FROM pair WHERE target = ?1)"];

impl Tx {
    /// Marks the links of a target with the same server under another address as unconfirmed.
    pub(super) async fn compare_links(&mut self, target: i64) -> StoreResult<()> {
        for sql in COMPARE {
            sqlx::query(sql).bind(target).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Marks the links of a target with another server as unconfirmed, and forgets what cannot be compared.
    pub(super) async fn unconfirm(&mut self, target: i64) -> StoreResult<()> {
        for sql in BEGIN {
            sqlx::query(sql).bind(target).execute(&mut self.conn).await?;
        }
        sqlx::query(
            "UPDATE approval SET open = 0 WHERE open = 1 AND kind <> ?2 AND pair IN (SELECT no FROM pair WHERE target = ?1)",
        )
        .bind(target)
        .bind(codec::to_json(&crate::model::ApprovalKind::FirstRun)?)
        .execute(&mut self.conn)
        .await?;
        self.memory.note_outside_change();
        Ok(())
    }

    /// Drops the link of a claimed user: its account has another login on the confirmed server.
    pub(super) async fn drop_own_unconfirmed(&mut self, claim: &Claim, why: &str, now: Timestamp) -> StoreResult<()> {
        let Some(user) = claim.subject.as_user() else { return Ok(()) };
        let Some(link) = self.link(claim.no, user).await? else { return Ok(()) };
        self.drop_unconfirmed(claim.no, &claim.subject, &link, why, &claim.cause, now).await?;
        sqlx::query("DELETE FROM unconfirmed_link WHERE pair = ?1 AND user = ?2")
            .bind(claim.no.pair)
            .bind(user.as_str())
            .execute(&mut self.conn)
            .await?;
        self.wake_waiting(claim.no, &claim.subject, now).await
    }

    /// Drops a link that does not stand on the confirmed server, and records a change with the reason.
    async fn drop_unconfirmed(
        &mut self,
        no: PairNo,
        subject: &Subject,
        link: &Link,
        why: &str,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<()> {
        let change = NewChange {
            no,
            subject,
            verb: Limited::DropLink.as_str(),
            name: &link.name,
            before: &json!({ "account": link.account }),
            after: &json!({ "why": why }),
            limited: None,
            approved: true,
            cause,
            caused_at: None,
            outcome: &ChangeOutcome::Done,
            at: now,
        };
        self.write_changes(&[change]).await?;
        self.remove_link(no, &link.user).await
    }

    pub(super) async fn confirm_links(
        &mut self,
        pair: &Pair,
        run: RunId,
        stand: &[UserId],
        dropped: &[(UserId, String)],
        now: Timestamp,
    ) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        let cause = Cause::Run { id: run };
        for (user, why) in dropped {
            let subject = Subject::User(user.clone());
            let Some(link) = self.link(no, user).await? else { continue };
            let claimed = self.memory.holds_subject(no, &subject).is_some()
                || self.memory.holds_account(no.target, &link.account).is_some();
            if claimed {
                continue;
            }
            self.drop_unconfirmed(no, &subject, &link, why, &cause, now).await?;
        }
        let users: Vec<&UserId> = stand.iter().chain(dropped.iter().map(|(user, _)| user)).collect();
        sqlx::query(
            "DELETE FROM unconfirmed_link WHERE pair = ?1 AND user IN (SELECT value FROM json_each(?2)) \
             AND (user IN (SELECT value FROM json_each(?3)) \
                 OR NOT EXISTS (SELECT 1 FROM link k WHERE k.user = unconfirmed_link.user AND k.pair = ?1))",
        )
        .bind(no.pair)
        .bind(codec::to_json(&users)?)
        .bind(codec::to_json(&stand)?)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }
}

/// Returns users of a pair with links that were not compared with the confirmed server yet.
pub(super) async fn of_pair(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<UserId>> {
    let users: Vec<String> =
        sqlx::query_scalar("SELECT user FROM unconfirmed_link WHERE pair = ?1").bind(pair).fetch_all(conn).await?;
    Ok(users.into_iter().map(UserId::from).collect())
}
