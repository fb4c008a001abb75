//! What whole readings of groups' members told.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis, writer::Tx};
use crate::{
    model::Pair,
    store::{MembersRead, StoreResult},
};

impl Tx {
    /// Keeps these readings, and forgets those of the pair that are older than `oldest`.
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
}

/// All of a pair.
pub(super) async fn of_pair(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<MembersRead>> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT grp, others, at FROM members_read WHERE pair = ?1").bind(pair).fetch_all(conn).await?;
    let read = |(group, others, at): (String, String, i64)| {
        Ok(MembersRead { group: group.into(), others: codec::from_json(&others)?, at: codec::time(at)? })
    };
    rows.into_iter().map(read).collect()
}
