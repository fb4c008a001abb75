//! Operators' orders about links.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, memory::Claim, numbers::PairNo, tx::Tx};
use crate::{
    model::{AccountId, Cause, Pair, Priority, Subject, UserId},
    store::{LinkOrder, OrderEnd, StoreResult},
};

type Row = (String, Option<String>, String, i64, bool, Option<String>, Option<String>);

fn order((user, account, by, at, ended, why, unlinked): Row) -> StoreResult<LinkOrder> {
    let ended = match (ended, why) {
        (false, _) => None,
        (true, None) => Some(OrderEnd::Done),
        (true, Some(why)) => Some(OrderEnd::Refused { why }),
    };
    Ok(LinkOrder {
        user: user.into(),
        account: account.map(AccountId::from),
        by,
        at: codec::time(at)?,
        ended,
        unlinked: unlinked.map(AccountId::from),
    })
}

impl Tx {
    pub(super) async fn order_link(
        &mut self,
        pair: &Pair,
        user: &UserId,
        account: Option<&AccountId>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        sqlx::query(
            "INSERT INTO link_order (pair, user, account, by_whom, at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET account = excluded.account, by_whom = excluded.by_whom, at = excluded.at, \
             ended = 0, why = NULL",
        )
        .bind(no.pair)
        .bind(user.as_str())
        .bind(account.map(AccountId::as_str))
        .bind(by)
        .bind(millis(now))
        .execute(&mut self.conn)
        .await?;
        self.audit(by, &format!("requested: {} on {pair}", wording(user, account)), now).await?;
        let cause = Cause::Other { what: format!("requested by {by}") };
        self.raise(no, [&Subject::User(user.clone())], Priority::Event, &cause, now).await?;
        self.memory.note_outside_change();
        Ok(())
    }

    /// Returns the newest order about this user's link.
    pub(super) async fn order(&mut self, no: PairNo, subject: &Subject) -> StoreResult<Option<LinkOrder>> {
        match subject.as_user() {
            Some(user) => of_user(&mut self.conn, no.pair, user).await,
            None => Ok(None),
        }
    }

    /// Ends the claimed user's open order. `was`: the account that was linked before.
    pub(super) async fn end_order(
        &mut self,
        claim: &Claim,
        end: &OrderEnd,
        was: Option<&AccountId>,
        now: Timestamp,
    ) -> StoreResult<()> {
        let Some(order) = self.order(claim.no, &claim.subject).await?.filter(|order| order.ended.is_none()) else {
            return Ok(());
        };
        let unlinked = match (end, &order.account) {
            (OrderEnd::Done, None) => was.cloned(),
            (OrderEnd::Done, Some(_)) => None,
            (OrderEnd::Refused { .. }, _) => order.unlinked.clone(),
        };
        let why = match end {
            OrderEnd::Done => None,
            OrderEnd::Refused { why } => Some(why.as_str()),
        };
        sqlx::query("UPDATE link_order SET ended = 1, why = ?3, unlinked = ?4 WHERE pair = ?1 AND user = ?2")
            .bind(claim.no.pair)
            .bind(order.user.as_str())
            .bind(why)
            .bind(unlinked.as_ref().map(AccountId::as_str))
            .execute(&mut self.conn)
            .await?;
        let what = wording(&order.user, order.account.as_ref());
        let line = match why {
            None => format!("done: {what} on {}", claim.pair),
            Some(why) => format!("refused: {what} on {}: {why}", claim.pair),
        };
        self.audit(&order.by, &line, now).await?;
        if *end == OrderEnd::Done {
            // A link that was dropped before must not come back by itself.
            sqlx::query("DELETE FROM dropped_link WHERE pair = ?1 AND user = ?2")
                .bind(claim.no.pair)
                .bind(order.user.as_str())
                .execute(&mut self.conn)
                .await?;
            self.raise_conflicts(claim, now).await?;
        }
        Ok(())
    }

    /// Raises the conflicts of every connector that fills the target, because a changed link may solve them.
    async fn raise_conflicts(&mut self, claim: &Claim, now: Timestamp) -> StoreResult<()> {
        let conflicts: Vec<(i64, String)> = sqlx::query_as(
            "SELECT t.pair, t.subject FROM pair p CROSS JOIN task t INDEXED BY task_dead ON t.pair = p.no AND t.dead = 1 \
             WHERE p.target = ?1 AND t.class = 'conflict'",
        )
        .bind(claim.no.target)
        .fetch_all(&mut self.conn)
        .await?;
        let cause = Cause::Other { what: format!("the link of {} changed", claim.subject) };
        for (pair, subject) in conflicts {
            let subject: Subject = codec::parse(&subject)?;
            if pair != claim.no.pair || subject != claim.subject {
                self.raise(PairNo { pair, ..claim.no }, [&subject], Priority::Retry, &cause, now).await?;
            }
        }
        Ok(())
    }
}

fn wording(user: &UserId, account: Option<&AccountId>) -> String {
    match account {
        Some(account) => format!("link user {user} to account {account}"),
        None => format!("unlink user {user}"),
    }
}

/// Returns the newest order about a user's link.
pub(super) async fn of_user(conn: &mut SqliteConnection, pair: i64, user: &UserId) -> StoreResult<Option<LinkOrder>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT user, account, by_whom, at, ended, why, unlinked FROM link_order WHERE pair = ?1 AND user = ?2",
    )
    .bind(pair)
    .bind(user.as_str())
    .fetch_optional(conn)
    .await?;
    row.map(order).transpose()
}

/// Returns orders of a pair that are not carried out yet, or that removed a link.
pub(super) async fn of_pair(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<LinkOrder>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT user, account, by_whom, at, ended, why, unlinked FROM link_order \
         WHERE pair = ?1 AND (ended = 0 OR unlinked IS NOT NULL)",
    )
    .bind(pair)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(order).collect()
}
