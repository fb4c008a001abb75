//! Operations that a target does not support: stored, so that they are reported once and not sent again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{codec, numbers::PairNo, tx::Tx};
use crate::{
    model::{Cause, ErrorClass, Priority, Subject, Unsupported},
    store::{StoreResult, TaskFilter},
};

type Row = (String, String, String, String);

fn unsupported((subject, key, fingerprint, why): Row) -> StoreResult<Unsupported> {
    Ok(Unsupported { subject: codec::parse(&subject)?, key, fingerprint, why })
}

impl Tx {
    /// Returns the unsupported operations of a subject.
    pub(super) async fn unsupported(&mut self, no: PairNo, subject: &Subject) -> StoreResult<Vec<Unsupported>> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT subject, key, fingerprint, why FROM unsupported WHERE pair = ?1 AND subject = ?2")
                .bind(no.pair)
                .bind(subject.to_string())
                .fetch_all(&mut self.conn)
                .await?;
        rows.into_iter().map(unsupported).collect()
    }

    /// Replaces the unsupported operations of a subject with exactly these.
    pub(super) async fn keep_unsupported(
        &mut self,
        no: PairNo,
        subject: &Subject,
        all: &[Unsupported],
    ) -> StoreResult<()> {
        self.forget_unsupported(no, [subject]).await?;
        for one in all {
            sqlx::query("INSERT INTO unsupported (pair, subject, key, fingerprint, why) VALUES (?1, ?2, ?3, ?4, ?5)")
                .bind(no.pair)
                .bind(subject.to_string())
                .bind(one.key.as_str())
                .bind(one.fingerprint.as_str())
                .bind(one.why.as_str())
                .execute(&mut self.conn)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn forget_unsupported<'a>(
        &mut self,
        no: PairNo,
        subjects: impl IntoIterator<Item = &'a Subject>,
    ) -> StoreResult<()> {
        let subjects: Vec<String> = subjects.into_iter().map(ToString::to_string).collect();
        sqlx::query("DELETE FROM unsupported WHERE pair = ?1 AND subject IN (SELECT value FROM json_each(?2))")
            .bind(no.pair)
            .bind(codec::to_json(&subjects)?)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Forgets unsupported operations that match a replay of dead letters, raises the tasks of their subjects, and
    /// returns their number.
    pub(super) async fn replay_unsupported(
        &mut self,
        filter: &TaskFilter,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<usize> {
        if filter.class.is_some_and(|class| class != ErrorClass::Permanent) {
            return Ok(0);
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT DISTINCT p.no, p.connector, p.target, n.subject FROM unsupported n JOIN pair p ON p.no = n.pair \
             JOIN connector c ON c.no = p.connector JOIN target g ON g.no = p.target WHERE n.key NOT IN (SELECT value FROM json_each(",
        );
        query.push_bind(codec::to_json(&Unsupported::STATES)?).push("))");
        if let Some(connector) = &filter.connector {
            query.push(" AND c.name = ").push_bind(connector.as_str().to_owned());
        }
        if let Some(target) = &filter.target {
            query.push(" AND g.name = ").push_bind(target.as_str().to_owned());
        }
        if let Some(subject) = &filter.subject {
            query.push(" AND n.subject = ").push_bind(subject.to_string());
        }
        if let Some(reason) = &filter.reason {
            query.push(" AND instr(lower(n.why), ").push_bind(reason.to_lowercase()).push(") > 0");
        }
        let rows: Vec<(i64, i64, i64, String)> = query.build_query_as().fetch_all(&mut self.conn).await?;
        let mut meant: BTreeMap<(i64, i64, i64), Vec<Subject>> = BTreeMap::new();
        for (pair, connector, target, subject) in rows {
            meant.entry((pair, connector, target)).or_default().push(codec::parse(&subject)?);
        }
        let mut count = 0;
        for ((pair, connector, target), subjects) in meant {
            let no = PairNo { pair, connector, target };
            self.forget_unsupported(no, &subjects).await?;
            count += self.raise(no, &subjects, Priority::Retry, cause, now).await?;
        }
        Ok(count)
    }
}

/// Returns all unsupported operations of a pair.
pub(super) async fn of_pair(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<Unsupported>> {
    let rows: Vec<Row> = sqlx::query_as("SELECT subject, key, fingerprint, why FROM unsupported WHERE pair = ?1")
        .bind(pair)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(unsupported).collect()
}
