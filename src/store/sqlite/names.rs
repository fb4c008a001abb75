//! Numbers that stand for connectors, targets, pairs and target groups in the tables.

use std::collections::BTreeSet;

use super::{codec, numbers::PairNo, tx::Tx};
use crate::{
    model::{ConnectorName, Pair, TargetGroupId, TargetName},
    store::StoreResult,
};

impl Tx {
    /// Returns a connector's number; assigns one if it has none.
    pub(super) async fn connector(&mut self, name: &ConnectorName) -> StoreResult<i64> {
        if let Some(no) = self.names.connectors.get(name) {
            return Ok(*no);
        }
        sqlx::query("INSERT INTO connector (name) VALUES (?1) ON CONFLICT DO NOTHING")
            .bind(name.as_str())
            .execute(&mut self.conn)
            .await?;
        let no = sqlx::query_scalar("SELECT no FROM connector WHERE name = ?1")
            .bind(name.as_str())
            .fetch_one(&mut self.conn)
            .await?;
        self.names.connectors.insert(name.clone(), no);
        Ok(no)
    }

    /// Returns a target's number; assigns one if it has none.
    pub(super) async fn target(&mut self, name: &TargetName) -> StoreResult<i64> {
        if let Some(no) = self.names.targets.get(name) {
            return Ok(*no);
        }
        sqlx::query("INSERT INTO target (name) VALUES (?1) ON CONFLICT DO NOTHING")
            .bind(name.as_str())
            .execute(&mut self.conn)
            .await?;
        let no = sqlx::query_scalar("SELECT no FROM target WHERE name = ?1")
            .bind(name.as_str())
            .fetch_one(&mut self.conn)
            .await?;
        self.names.targets.insert(name.clone(), no);
        Ok(no)
    }

    /// Returns a pair's number; assigns one if it has none.
    pub(super) async fn pair(&mut self, pair: &Pair) -> StoreResult<PairNo> {
        if let Some(no) = self.names.pairs.get(pair) {
            return Ok(*no);
        }
        let connector = self.connector(&pair.connector).await?;
        let target = self.target(&pair.target).await?;
        sqlx::query("INSERT INTO pair (connector, target) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(connector)
            .bind(target)
            .execute(&mut self.conn)
            .await?;
        let no = sqlx::query_scalar("SELECT no FROM pair WHERE connector = ?1 AND target = ?2")
            .bind(connector)
            .bind(target)
            .fetch_one(&mut self.conn)
            .await?;
        let no = PairNo { pair: no, connector, target };
        self.names.pairs.insert(pair.clone(), no);
        Ok(no)
    }

    /// Returns the numbers of target groups; assigns one to each that has none.
    pub(super) async fn group_numbers(
        &mut self,
        target: i64,
        ids: &BTreeSet<TargetGroupId>,
    ) -> StoreResult<BTreeSet<i64>> {
        let mut numbers = BTreeSet::new();
        for id in ids {
            numbers.insert(self.group_number(target, id).await?);
        }
        Ok(numbers)
    }

    /// Returns a target group's number; assigns one if it has none.
    pub(super) async fn group_number(&mut self, target: i64, id: &TargetGroupId) -> StoreResult<i64> {
        let key = (target, id.clone());
        if let Some(no) = self.names.groups.get(&key) {
            return Ok(*no);
        }
        sqlx::query("INSERT INTO target_group (target, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(target)
            .bind(id.as_str())
            .execute(&mut self.conn)
            .await?;
        let no = sqlx::query_scalar("SELECT no FROM target_group WHERE target = ?1 AND id = ?2")
            .bind(target)
            .bind(id.as_str())
            .fetch_one(&mut self.conn)
            .await?;
        self.names.group_ids.insert(no, id.clone());
        self.names.groups.insert(key, no);
        Ok(no)
    }

    /// Returns the target groups of these packed numbers.
    pub(super) async fn group_ids(&mut self, packed: &[u8]) -> StoreResult<BTreeSet<TargetGroupId>> {
        let numbers = codec::unpack(packed)?;
        let unknown: Vec<i64> = numbers.iter().copied().filter(|no| !self.names.group_ids.contains_key(no)).collect();
        if !unknown.is_empty() {
            let found: Vec<(i64, String)> =
                sqlx::query_as("SELECT no, id FROM target_group WHERE no IN (SELECT value FROM json_each(?1))")
                    .bind(codec::to_json(&unknown)?)
                    .fetch_all(&mut self.conn)
                    .await?;
            self.names.group_ids.extend(found.into_iter().map(|(no, id)| (no, TargetGroupId::from(id))));
        }
        Ok(numbers.iter().filter_map(|no| self.names.group_ids.get(no).cloned()).collect())
    }
}
