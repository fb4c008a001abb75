//! What happened to a pair in a period, in numbers.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, codec::millis};
use crate::{
    model::{Activity, RunMode},
    store::StoreResult,
};

/// Returns what happened since this time.
pub(super) async fn read(conn: &mut SqliteConnection, pair: i64, since: Timestamp) -> StoreResult<Activity> {
    let (runs, failed_runs): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE outcome ->> '$.state' = 'failed') FROM run \
         WHERE pair = ?1 AND started_at >= ?2 AND mode = ?3",
    )
    .bind(pair)
    .bind(millis(since))
    .bind(codec::to_word(&RunMode::Apply)?)
    .fetch_one(&mut *conn)
    .await?;
    let changes: Vec<(String, i64)> = sqlx::query_as(
        // The outcomes of which `ChangeOutcome::took_effect` is true.
        "SELECT verb, count(*) FROM change WHERE pair = ?1 AND at >= ?2 \
         AND outcome ->> '$.outcome' IN ('done', 'done_with', 'found_done') GROUP BY verb",
    )
    .bind(pair)
    .bind(millis(since))
    .fetch_all(conn)
    .await?;
    let number = |count: i64| u64::try_from(count).unwrap_or_default();
    let changes = changes.into_iter().map(|(verb, count)| (verb, number(count))).collect();
    Ok(Activity { runs: number(runs), failed_runs: number(failed_runs), changes })
}
