//! Reads that the engine and the operators' commands share.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    SqliteStore, approvals, changes, codec::limit, conditions, event_poll, events, groups, links, of_pair, pairs,
    requests, runs, tasks, unsupported,
};
use crate::{
    model::{
        AccountId, Approval, ApprovalItem, Change, Condition, ConnectorName, EventPoll, EventRecord, GroupId,
        GroupMapping, Link, ManagedGroup, Packed, Pair, RunRecord, RunTrigger, TargetName, TaskRecord, Unsupported,
        UserId,
    },
    store::{
        AuditRecord, ChangeFilter, ContactOrder, EventFilter, PairCounts, PairState, StoreReads, StoreResult,
        TaskFilter, Totals,
    },
};

#[async_trait]
impl StoreReads for SqliteStore {
    async fn events(&self, filter: &EventFilter) -> StoreResult<Vec<EventRecord>> {
        let filter = filter.clone();
        self.read(move |conn| Box::pin(async move { events::read(conn, &filter).await })).await
    }

    async fn wait_for_work(&self, seen: u64) -> u64 {
        self.work_signal.after(seen).await
    }

    fn outside_changes(&self) -> u64 {
        self.memory.outside_changes()
    }

    async fn link(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<Link>> {
        let user = user.clone();
        of_pair!(self, pair, None, |conn, no| links::one(conn, no, &user))
    }

    async fn links(&self, pair: &Pair) -> StoreResult<Packed<Link>> {
        of_pair!(self, pair, Packed::default(), |conn, no| links::all(conn, no))
    }

    async fn linked_elsewhere(&self, pair: &Pair) -> StoreResult<BTreeMap<AccountId, ConnectorName>> {
        let pair = pair.clone();
        self.read(move |conn| Box::pin(async move { links::elsewhere(conn, &pair).await })).await
    }

    async fn managed_groups(&self, target: &TargetName) -> StoreResult<Vec<ManagedGroup>> {
        let target = target.clone();
        self.read(move |conn| Box::pin(async move { groups::managed(conn, &target).await })).await
    }

    async fn unsupported(&self, pair: &Pair) -> StoreResult<Vec<Unsupported>> {
        of_pair!(self, pair, Vec::new(), |conn, no| unsupported::of_pair(conn, no))
    }

    async fn group_mappings(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, GroupMapping)>> {
        of_pair!(self, pair, Vec::new(), |conn, no| groups::mappings(conn, no))
    }

    async fn runs(&self, pair: Option<&Pair>, at_most: usize) -> StoreResult<Vec<RunRecord>> {
        match pair {
            Some(pair) => of_pair!(self, pair, Vec::new(), |conn, no| runs::read(conn, Some(no), limit(at_most))),
            None => self.read(move |conn| Box::pin(runs::read(conn, None, limit(at_most)))).await,
        }
    }

    async fn pair_state(&self, pair: &Pair) -> StoreResult<PairState> {
        of_pair!(self, pair, PairState::New, |conn, no| pairs::state(conn, no))
    }

    async fn paused(&self) -> StoreResult<BTreeSet<ConnectorName>> {
        self.read(|conn| Box::pin(pairs::paused(conn))).await
    }

    async fn approvals(&self, open_only: bool) -> StoreResult<Vec<Approval>> {
        self.read(move |conn| Box::pin(approvals::sets(conn, open_only))).await
    }

    async fn approval(&self, id: i64) -> StoreResult<(Approval, Vec<ApprovalItem>)> {
        self.read(move |conn| {
            Box::pin(
                async move { Ok((approvals::read_approval(conn, id).await?, approvals::read_items(conn, id).await?)) },
            )
        })
        .await
    }

    async fn requested_run(&self, pair: &Pair) -> StoreResult<Option<RunTrigger>> {
        of_pair!(self, pair, None, |conn, no| requests::asked(conn, no))
    }

    async fn tasks(&self, filter: &TaskFilter) -> StoreResult<Vec<TaskRecord>> {
        let filter = filter.clone();
        self.read(move |conn| Box::pin(async move { tasks::read(conn, &filter).await })).await
    }

    async fn changes(&self, filter: &ChangeFilter) -> StoreResult<Vec<Change>> {
        let filter = filter.clone();
        self.read(move |conn| Box::pin(async move { changes::read(conn, &filter).await })).await
    }

    async fn totals(&self, pair: &Pair) -> StoreResult<Totals> {
        of_pair!(self, pair, Totals::default(), |conn, no| pairs::totals(conn, no))
    }

    async fn counts(&self, pair: &Pair, now: Timestamp) -> StoreResult<PairCounts> {
        of_pair!(self, pair, PairCounts::default(), |conn, no| pairs::counts(conn, no, now))
    }

    async fn audit(&self, before: Option<i64>, at_most: usize) -> StoreResult<Vec<AuditRecord>> {
        self.read(move |conn| Box::pin(requests::audit(conn, before, limit(at_most)))).await
    }

    async fn conditions(&self) -> StoreResult<Vec<Condition>> {
        self.read(|conn| Box::pin(conditions::all(conn))).await
    }

    async fn contact_orders(&self) -> StoreResult<Vec<ContactOrder>> {
        self.read(|conn| Box::pin(conditions::orders(conn))).await
    }

    async fn event_poll(&self, connector: &ConnectorName) -> StoreResult<EventPoll> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { event_poll::read(conn, &connector).await })).await
    }
}
