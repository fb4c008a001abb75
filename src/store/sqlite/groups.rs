//! Managed groups and the source groups that feed them.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{codec, links, memory::Claim, numbers::PairNo, tx::Tx};
use crate::{
    model::{
        Cause, ConnectorName, GroupId, GroupMapping, ManagedGroup, Pair, Priority, Subject, TargetGroupId, TargetName,
    },
    store::{GroupWrite, MovedGroup, NameFrom, StoreResult},
};

impl Tx {
    /// Returns the managed group that a source group feeds.
    pub(super) async fn fed_by(&mut self, no: PairNo, source: &GroupId) -> StoreResult<Option<TargetGroupId>> {
        let id: Option<String> = sqlx::query_scalar(
            "SELECT t.id FROM source_group s JOIN target_group t ON t.no = s.managed WHERE s.pair = ?1 AND s.source = ?2",
        )
        .bind(no.pair)
        .bind(source.as_str())
        .fetch_optional(&mut self.conn)
        .await?;
        Ok(id.map(TargetGroupId::from))
    }

    /// Returns the subjects that a group write affects, by the mapping before the write. These are users that were
    /// granted the group, and claimed subjects that may have planned with that mapping.
    pub(super) async fn concerned(&mut self, claim: &Claim, write: &GroupWrite) -> StoreResult<Vec<Subject>> {
        let former = self.fed_by(claim.no, write.source()).await?;
        // If no name becomes free, other groups' decisions do not change.
        let groups = former.is_some() || !matches!(write, GroupWrite::Manage { .. });
        let mut concerned = self.memory.busy(claim.no.pair);
        concerned.retain(|subject| *subject != claim.subject && (groups || subject.as_user().is_some()));
        // If the group stays the same, its memberships stay too.
        let stays = |group: &TargetGroupId| matches!(write, GroupWrite::Manage { group: now, .. } if now.id == *group);
        if let Some(group) = former.filter(|group| !stays(group)) {
            let given = links::given(&mut self.conn, claim.no.pair, &group).await?;
            concerned.extend(given.into_iter().map(Subject::User));
        }
        Ok(concerned)
    }

    /// Writes a group mapping; returns `false` if it has to be decided again. The group has another name by now, or
    /// another source group with this name has started to feed it, which it may not.
    pub(super) async fn write_group(&mut self, claim: &Claim, write: GroupWrite) -> StoreResult<bool> {
        let no = claim.no;
        match write {
            GroupWrite::Manage { source, group, named: NameFrom::Store, .. }
                if let Some(renamed) = self.other_name(no, &group).await? =>
            {
                let number = self.group_number(no.target, &group.id).await?;
                self.map_group(no, &source, &renamed, Some(number), None).await?;
                return Ok(false);
            }
            GroupWrite::Manage { source, name, group, shared, .. } => {
                let number = self.group_number(no.target, &group.id).await?;
                sqlx::query(
                    "INSERT INTO managed_group (no, target, name, adopted, removals_approved) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT (no) DO UPDATE SET name = excluded.name, adopted = excluded.adopted, \
                     removals_approved = max(removals_approved, excluded.removals_approved)",
                )
                .bind(number)
                .bind(no.target)
                .bind(group.name.as_str())
                .bind(group.adopted)
                .bind(group.removals_approved)
                .execute(&mut self.conn)
                .await?;
                self.map_group(no, &source, &name, Some(number), None).await?;
                if group.adopted {
                    self.adopted(no, &claim.subject, group.id.as_str()).await?;
                }
                return Ok(shared || !self.has_namesake(no, &source, &name, number).await?);
            }
            GroupWrite::Unmap { source, name, why } => self.map_group(no, &source, &name, None, Some(&why)).await?,
            GroupWrite::Forget { source } => {
                sqlx::query("DELETE FROM source_group WHERE pair = ?1 AND source = ?2")
                    .bind(no.pair)
                    .bind(source.as_str())
                    .execute(&mut self.conn)
                    .await?;
            }
        }
        Ok(true)
    }

    /// Returns whether another source group of the pair feeds this managed group under the same name.
    async fn has_namesake(&mut self, no: PairNo, source: &GroupId, name: &str, managed: i64) -> StoreResult<bool> {
        let others: Vec<(String, String)> =
            sqlx::query_as("SELECT source, name FROM source_group WHERE pair = ?1 AND managed = ?2 AND source <> ?3")
                .bind(no.pair)
                .bind(managed)
                .bind(source.as_str())
                .fetch_all(&mut self.conn)
                .await?;
        // A constant group may share its target group.
        let same = |(other, called): &(String, String)| {
            !GroupId::from(other.as_str()).is_constant() && codec::fold(called) == codec::fold(name)
        };
        Ok(!source.is_constant() && others.iter().any(same))
    }

    /// Returns the current name of a managed group if it differs from this one.
    async fn other_name(&mut self, no: PairNo, group: &ManagedGroup) -> StoreResult<Option<String>> {
        let number = self.group_number(no.target, &group.id).await?;
        let name = sqlx::query_scalar("SELECT name FROM managed_group WHERE no = ?1 AND name <> ?2")
            .bind(number)
            .bind(group.name.as_str())
            .fetch_optional(&mut self.conn)
            .await?;
        Ok(name)
    }

    /// Records that usersync renamed a group for this subject: the new name replaces the old one for all source groups
    /// that feed it. Raises the tasks of the other source groups that feed it, and of those that wait for the old name.
    pub(super) async fn group_renamed(
        &mut self,
        no: PairNo,
        subject: &Subject,
        group: &TargetGroupId,
        (from, to): (&str, &str),
        now: Timestamp,
    ) -> StoreResult<()> {
        let number = self.group_number(no.target, group).await?;
        for sql in
            ["UPDATE managed_group SET name = ?2 WHERE no = ?1", "UPDATE source_group SET name = ?2 WHERE managed = ?1"]
        {
            sqlx::query(sql).bind(number).bind(to).execute(&mut self.conn).await?;
        }
        let concerned: Vec<(i64, String, String, bool)> = sqlx::query_as(
            "SELECT s.pair, s.source, s.name, s.managed IS NULL FROM source_group s JOIN pair p ON p.no = s.pair \
             WHERE s.managed = ?1 OR (s.managed IS NULL AND p.target = ?2)",
        )
        .bind(number)
        .bind(no.target)
        .fetch_all(&mut self.conn)
        .await?;
        let cause = Cause::Other { what: format!("a group is called {to} now") };
        for (pair, source, name, waits) in concerned {
            let other = Subject::Group(source.into());
            let own = pair == no.pair && other == *subject;
            if !own && (!waits || codec::fold(&name) == codec::fold(from)) {
                self.raise(PairNo { pair, ..no }, [&other], Priority::FanOut, &cause, now).await?;
            }
        }
        Ok(())
    }

    /// Records that usersync deleted a group: it is no longer managed. Raises the tasks of users who became members
    /// meanwhile, and of claimed subjects, which may have planned with the group.
    pub(super) async fn group_deleted(
        &mut self,
        claim: &Claim,
        group: &TargetGroupId,
        now: Timestamp,
    ) -> StoreResult<()> {
        let no = claim.no;
        let mut concerned = self.memory.busy(no.pair);
        concerned.retain(|subject| *subject != claim.subject);
        let given = links::given(&mut self.conn, no.pair, group).await?;
        concerned.extend(given.into_iter().map(Subject::User));
        let cause = Cause::Other { what: "its group was deleted in the target".to_owned() };
        self.raise(no, &concerned, Priority::FanOut, &cause, now).await?;
        let number = self.group_number(no.target, group).await?;
        for sql in ["DELETE FROM source_group WHERE managed = ?1", "DELETE FROM managed_group WHERE no = ?1"] {
            sqlx::query(sql).bind(number).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Records paths of source groups; a path that was replaced since the caller read it stays.
    pub(super) async fn keep_group_paths(&mut self, pair: &Pair, moved: &[MovedGroup]) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        for MovedGroup { group, from, to } in moved {
            sqlx::query("UPDATE source_group SET path = ?4 WHERE pair = ?1 AND source = ?2 AND path IS ?3")
                .bind(no.pair)
                .bind(group.as_str())
                .bind(from.as_deref())
                .bind(to.as_str())
                .execute(&mut self.conn)
                .await?;
        }
        Ok(())
    }

    async fn map_group(
        &mut self,
        no: PairNo,
        source: &GroupId,
        name: &str,
        managed: Option<i64>,
        why: Option<&str>,
    ) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO source_group (pair, source, name, managed, why) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (pair, source) DO UPDATE SET name = excluded.name, managed = excluded.managed, why = excluded.why",
        )
        .bind(no.pair)
        .bind(source.as_str())
        .bind(name)
        .bind(managed)
        .bind(why)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }
}

/// Returns the managed groups of a target.
pub(super) async fn managed(conn: &mut SqliteConnection, target: &TargetName) -> StoreResult<Vec<ManagedGroup>> {
    let groups: Vec<(i64, String, String, bool, bool)> = sqlx::query_as(
        "SELECT m.no, t.id, m.name, m.adopted, m.removals_approved FROM managed_group m \
         JOIN target_group t ON t.no = m.no JOIN target g ON g.no = m.target WHERE g.name = ?1 ORDER BY m.no",
    )
    .bind(target.as_str())
    .fetch_all(&mut *conn)
    .await?;
    let fed: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT s.managed, c.name, s.source FROM source_group s JOIN pair p ON p.no = s.pair \
         JOIN connector c ON c.no = p.connector JOIN target g ON g.no = p.target \
         WHERE g.name = ?1 AND s.managed IS NOT NULL ORDER BY c.name, s.source",
    )
    .bind(target.as_str())
    .fetch_all(conn)
    .await?;
    let mut sources: HashMap<i64, Vec<(ConnectorName, GroupId)>> = HashMap::new();
    for (no, connector, source) in fed {
        sources.entry(no).or_default().push((connector.into(), source.into()));
    }
    let group = |(no, id, name, adopted, removals_approved): (i64, String, String, bool, bool)| ManagedGroup {
        id: id.into(),
        name,
        adopted,
        removals_approved,
        sources: sources.remove(&no).unwrap_or_default(),
    };
    Ok(groups.into_iter().map(group).collect())
}

/// Returns the recorded paths of a pair's source groups.
pub(super) async fn paths(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<(GroupId, String)>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT source, path FROM source_group WHERE pair = ?1 AND path IS NOT NULL")
            .bind(pair)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(source, path)| (source.into(), path)).collect())
}

/// Returns the mappings of a pair's source groups.
pub(super) async fn mappings(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<(GroupId, GroupMapping)>> {
    let rows: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT s.source, s.name, t.id, s.why FROM source_group s LEFT JOIN target_group t ON t.no = s.managed \
         WHERE s.pair = ?1 ORDER BY s.source",
    )
    .bind(pair)
    .fetch_all(conn)
    .await?;
    let mapping = |(source, name, managed, why): (String, String, Option<String>, Option<String>)| {
        let mapping = match managed {
            Some(group) => GroupMapping::Managed { group: group.into(), name },
            None => GroupMapping::Unmapped { name, why: why.unwrap_or_default() },
        };
        (source.into(), mapping)
    };
    Ok(rows.into_iter().map(mapping).collect())
}
