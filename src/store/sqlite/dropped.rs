//! Links that were dropped because their accounts were gone, kept unchanged for an account that comes back.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, intents::NewChange, memory::Claim, numbers::PairNo, tx::Tx};
use crate::{
    model::{AccountId, ChangeOutcome, Limited, Link, UserId},
    store::StoreResult,
};

impl Tx {
    /// Drops the claimed user's link, and records a change with the reason.
    pub(super) async fn drop_link(
        &mut self,
        claim: &Claim,
        why: &str,
        approved: bool,
        now: Timestamp,
    ) -> StoreResult<()> {
        let Some(user) = claim.subject.as_user() else { return Ok(()) };
        let Some(link) = self.link(claim.no, user).await? else { return Ok(()) };
        sqlx::query(
            "INSERT INTO dropped_link (pair, target, account, user, at, link) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (pair, account) DO UPDATE SET user = excluded.user, at = excluded.at, link = excluded.link",
        )
        .bind(claim.no.pair)
        .bind(claim.no.target)
        .bind(link.account.as_str())
        .bind(user.as_str())
        .bind(millis(now))
        .bind(codec::to_json(&link)?)
        .execute(&mut self.conn)
        .await?;
        let change = NewChange {
            no: claim.no,
            subject: &claim.subject,
            verb: Limited::DropLink.as_str(),
            name: &link.name,
            before: &json!({ "account": link.account, "groups": link.given }),
            after: &json!({ "why": why }),
            limited: Some(Limited::DropLink),
            approved,
            cause: &claim.cause,
            caused_at: Some(claim.caused_at),
            outcome: &ChangeOutcome::Done,
            at: now,
        };
        self.write_changes(&[change]).await?;
        self.remove_link(claim.no, user).await?;
        self.wake_waiting(claim.no, &claim.subject, now).await
    }

    /// Returns the dropped links of a user, newest first.
    pub(super) async fn dropped(&mut self, no: PairNo, user: &UserId) -> StoreResult<Vec<Link>> {
        let links: Vec<String> =
            sqlx::query_scalar("SELECT link FROM dropped_link WHERE pair = ?1 AND user = ?2 ORDER BY at DESC")
                .bind(no.pair)
                .bind(user.as_str())
                .fetch_all(&mut self.conn)
                .await?;
        links.iter().map(|link| codec::from_json(link)).collect()
    }

    /// Forgets dropped links of an account that is linked again.
    pub(super) async fn forget_dropped(&mut self, target: i64, account: &AccountId) -> StoreResult<()> {
        sqlx::query("DELETE FROM dropped_link WHERE target = ?1 AND account = ?2")
            .bind(target)
            .bind(account.as_str())
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }
}

/// Returns all dropped links of a pair.
pub(super) async fn all(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<Link>> {
    let links: Vec<String> = sqlx::query_scalar("SELECT link FROM dropped_link WHERE pair = ?1 ORDER BY at DESC")
        .bind(pair)
        .fetch_all(conn)
        .await?;
    links.iter().map(|link| codec::from_json(link)).collect()
}
