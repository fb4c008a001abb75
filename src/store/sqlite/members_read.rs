//! Results of complete reads of groups' members.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, tx::Tx};
use crate::{
    model::{Operation, Pair, TargetGroupId},
    store::{MembersRead, StoreResult},
};

/// Maximum number of groups in one query: each may have thousands of members.
const AT_ONCE: i64 = 50;

impl Tx {
    /// Stores these results, and forgets those of the pair that are older than `oldest`.
    pub(super) async fn keep_members_read(
        &mut self,
        pair: &Pair,
        read: &[MembersRead],
        oldest: Timestamp,
    ) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        sqlx::query("DELETE FROM members_read WHERE pair = ?1 AND at < ?2")
            .bind(no.pair)
            .bind(millis(oldest))
            .execute(&mut self.conn)
            .await?;
        for one in read {
            sqlx::query("INSERT OR REPLACE INTO members_read (pair, grp, others, at) VALUES (?1, ?2, ?3, ?4)")
                .bind(no.pair)
                .bind(one.group.as_str())
                .bind(codec::to_json(&one.others)?)
                .bind(millis(one.at))
                .execute(&mut self.conn)
                .await?;
        }
        Ok(())
    }

    /// Forgets the results of groups that an account is removed from if the account is among their other members. The
    /// results would count one member too many. Memberships that usersync granted are known from the links.
    pub(super) async fn forget_members_read(&mut self, target: i64, operation: &Operation) -> StoreResult<()> {
        let (group, account) = match operation {
            Operation::RemoveMember { group, account, .. } => (Some(group.as_str()), account),
            Operation::DeleteUser { account, .. } | Operation::AnonymizeUser { account, .. } => (None, account),
            _ => return Ok(()),
        };
        sqlx::query(
            "DELETE FROM members_read WHERE pair IN (SELECT no FROM pair WHERE target = ?1) AND (?2 IS NULL OR grp = ?2) \
             AND EXISTS (SELECT 1 FROM json_each(others) WHERE value = ?3)",
        )
        .bind(target)
        .bind(group)
        .bind(account.as_str())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }
}

/// Returns the next results of a pair after a group, at most [`AT_ONCE`].
pub(super) async fn of_pair(
    conn: &mut SqliteConnection,
    pair: i64,
    after: Option<&TargetGroupId>,
) -> StoreResult<Vec<MembersRead>> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT grp, others, at FROM members_read WHERE pair = ?1 AND grp > ?2 ORDER BY grp LIMIT ?3")
            .bind(pair)
            .bind(after.map_or("", TargetGroupId::as_str))
            .bind(AT_ONCE)
            .fetch_all(conn)
            .await?;
    let read = |(group, others, at): (String, String, i64)| {
        Ok(MembersRead { group: group.into(), others: codec::from_json(&others)?, at: codec::time(at)? })
    };
    rows.into_iter().map(read).collect()
}
