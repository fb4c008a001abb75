//! Reads and writes of the engine.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::{
    SqliteStore, approvals, claims, codec, dropped, events::Append, groups, intents, job, links, members_read, of_pair,
    orders, pairs, step_batches::Ending, tasks, unconfirmed, writer::closed,
};
use crate::{
    model::{
        AccountId, ApprovalItem, ApprovalKind, Cause, Condition, ConnectorName, ErrorClass, EventPoll, Federated,
        GroupId, Limited, Link, NewApprovalItem, NewEvent, ObservationSeq, Pair, Priority, Refusals, RunId, RunMode,
        RunOutcome, RunProgress, RunTrigger, SourceIdentity, Subject, TargetGroupId, TargetIdentity, TargetName, Token,
        UserId,
    },
    store::{
        Adopted, Appended, Claimed, ContactOrder, EngineStore, Failure, Holder, LinkOrder, LinkedFederation,
        MembersRead, MovedGroup, OpenIntent, OrderEnd, Overdue, PairRecord, PairState, Planned, Step, Stepped,
        StoreResult, Waiting,
    },
};

#[async_trait]
impl EngineStore for SqliteStore {
    async fn append_events(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended> {
        let (reply, result) = oneshot::channel();
        let append = Append { connector: connector.clone(), targets: targets.to_vec(), events, now, reply };
        self.writer.append(append).await?;
        result.await.map_err(|_| closed())?
    }

    async fn raise(
        &self,
        pair: &Pair,
        subjects: &[Subject],
        priority: Priority,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<usize> {
        job!(self, [pair, subjects, cause], |tx| async {
            let no = tx.pair(&pair).await?;
            tx.raise(no, &subjects, priority, &cause, now).await
        })
    }

    async fn claim(
        &self,
        target: &TargetName,
        connectors: &[ConnectorName],
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        self.engine_only()?;
        let (target, connectors) = (target.clone(), connectors.to_vec());
        self.writer
            .run(move |tx| Box::pin(async move { tx.claim(&target, &connectors, now).await }), claims::forget)
            .await
    }

    async fn overdue(&self, pair: &Pair, before: Timestamp) -> StoreResult<Overdue> {
        let memory = Arc::clone(&self.memory);
        of_pair!(self, pair, Overdue::default(), |conn, no| async {
            let unclaimed = tasks::due_before(conn, no, &memory.busy(no), before).await?;
            Ok(Overdue { claimed: memory.claimed_before(no, before), unclaimed })
        })
    }

    async fn next_due(&self, target: &TargetName, connectors: &[ConnectorName]) -> StoreResult<Option<Timestamp>> {
        let memory = Arc::clone(&self.memory);
        let pairs: Vec<Pair> =
            connectors.iter().map(|connector| Pair { connector: connector.clone(), target: target.clone() }).collect();
        self.read(move |conn| {
            Box::pin(async move {
                let mut next: Option<i64> = None;
                for pair in &pairs {
                    let Some(no) = pairs::number(conn, pair).await? else { continue };
                    if let Some(at) = tasks::next_due(conn, no, &memory.busy(no)).await? {
                        next = Some(next.map_or(at, |next| next.min(at)));
                    }
                }
                codec::some_time(next)
            })
        })
        .await
    }

    async fn next_observation(&self) -> StoreResult<ObservationSeq> {
        self.engine_only()?;
        Ok(self.memory.next_observation())
    }

    async fn holder(&self, token: Token, account: &AccountId, name: &str) -> StoreResult<Holder> {
        job!(self, [account, name], |tx| tx.holder(token, &account, &name))
    }

    async fn open_intents(&self, token: Token) -> StoreResult<Vec<OpenIntent>> {
        job!(self, [], |tx| tx.open_intents(token))
    }

    async fn adopt(&self, token: Token, link: Link, from: Option<UserId>, now: Timestamp) -> StoreResult<Adopted> {
        job!(self, [], |tx| tx.adopt(token, link, from, now))
    }

    async fn step(&self, token: Token, step: Step, now: Timestamp) -> StoreResult<Stepped> {
        self.writer.step(token, step, None, now).await
    }

    async fn still_held(&self, token: Token) -> StoreResult<bool> {
        Ok(self.memory.is_claimed(token))
    }

    fn event_waits(&self, token: Token) -> watch::Receiver<Option<Priority>> {
        self.memory.event_waits(token)
    }

    fn abandon(&self, token: Token, now: Timestamp) {
        self.memory.abandon(token, now);
    }

    async fn complete(
        &self,
        token: Token,
        last: Step,
        held: Vec<NewApprovalItem>,
        recheck_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Stepped> {
        self.writer.step(token, last, Some(Ending { held, recheck_at }), now).await
    }

    async fn fail(&self, token: Token, failure: Failure, now: Timestamp) -> StoreResult<()> {
        job!(self, [], |tx| tx.fail(token, &failure, now))
    }

    async fn defer(
        &self,
        token: Token,
        until: Timestamp,
        reason: Option<(ErrorClass, String)>,
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [], |tx| tx.defer(token, until, reason, now))
    }

    async fn wait_for(
        &self,
        token: Token,
        others: &[Subject],
        ring_ends_it: bool,
        at_latest: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Waiting> {
        job!(self, [others], |tx| tx.wait_for(token, &others, ring_ends_it, at_latest, now))
    }

    async fn dropped_links(&self, pair: &Pair) -> StoreResult<Vec<Link>> {
        of_pair!(self, pair, Vec::new(), |conn, no| dropped::all(conn, no))
    }

    async fn seen_alive(&self, pair: &Pair, except: &UserId, limit: usize) -> StoreResult<Vec<UserId>> {
        let (except, limit) = (except.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
        of_pair!(self, pair, Vec::new(), |conn, no| links::seen_alive(conn, no, &except, limit))
    }

    async fn federations(&self, pair: &Pair) -> StoreResult<Vec<LinkedFederation>> {
        of_pair!(self, pair, Vec::new(), |conn, no| links::federations(conn, no))
    }

    async fn active_federated(&self, pair: &Pair) -> StoreResult<Vec<UserId>> {
        of_pair!(self, pair, Vec::new(), |conn, no| links::active_federated(conn, no))
    }

    async fn federated_users(&self, pair: &Pair, component: &str, limit: usize) -> StoreResult<Vec<(UserId, String)>> {
        let (component, limit) = (component.to_owned(), i64::try_from(limit).unwrap_or(i64::MAX));
        of_pair!(self, pair, Vec::new(), |conn, no| links::federated_users(conn, no, &component, limit))
    }

    async fn given(&self, pair: &Pair, group: &TargetGroupId) -> StoreResult<Vec<UserId>> {
        let group = group.clone();
        of_pair!(self, pair, Vec::new(), |conn, no| links::given(conn, no, &group))
    }

    async fn begin_run(&self, pair: &Pair, trigger: RunTrigger, mode: RunMode, now: Timestamp) -> StoreResult<RunId> {
        job!(self, [pair], |tx| tx.begin_run(&pair, &trigger, mode, now))
    }

    async fn progress_run(&self, run: RunId, report: serde_json::Value) -> StoreResult<()> {
        job!(self, [], |tx| tx.progress_run(run, &report))
    }

    async fn note_progress(&self, run: RunId, progress: &RunProgress) -> StoreResult<()> {
        job!(self, [progress], |tx| tx.note_progress(run, &progress))
    }

    async fn end_run(
        &self,
        run: RunId,
        outcome: RunOutcome,
        report: serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [], |tx| tx.end_run(run, &outcome, &report, now))
    }

    async fn claim_planned(
        &self,
        pair: &Pair,
        run: RunId,
        planned: Planned,
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        self.engine_only()?;
        let pair = pair.clone();
        self.writer
            .run(move |tx| Box::pin(async move { tx.claim_planned(&pair, run, &planned, now).await }), claims::forget)
            .await
    }

    async fn found_in_sync(&self, pair: &Pair, run: RunId, found: Vec<Planned>, now: Timestamp) -> StoreResult<usize> {
        self.engine_only()?;
        job!(self, [pair], |tx| tx.found_in_sync(&pair, run, &found, now))
    }

    async fn record_seen(
        &self,
        pair: &Pair,
        seen: Vec<(UserId, Option<Federated>)>,
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.record_seen(&pair, &seen, now))
    }

    async fn stale_intents(&self, pair: &Pair, now: Timestamp) -> StoreResult<Vec<OpenIntent>> {
        of_pair!(self, pair, Vec::new(), |conn, no| intents::stale(conn, no, now))
    }

    async fn ensure_pairs(&self, pairs: &[Pair], now: Timestamp) -> StoreResult<Vec<PairRecord>> {
        job!(self, [pairs], |tx| tx.ensure_pairs(&pairs, now))
    }

    async fn set_pair_state(&self, pair: &Pair, state: PairState, now: Timestamp) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.set_pair_state(&pair, state, now))
    }

    async fn stop_for_target(&self, pair: &Pair, now: Timestamp) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.stop_for_target(&pair, now))
    }

    async fn hold_first_run(&self, pair: &Pair, summary: serde_json::Value, now: Timestamp) -> StoreResult<i64> {
        job!(self, [pair], |tx| tx.hold_first_run(&pair, &summary, now))
    }

    async fn pin_source(&self, connector: &ConnectorName, identity: &SourceIdentity) -> StoreResult<SourceIdentity> {
        job!(self, [connector, identity], |tx| tx.pin_source(&connector, &identity))
    }

    async fn repin_source(
        &self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [connector, identity], |tx| tx.repin_source(&connector, &identity, now))
    }

    async fn pin_target(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(TargetIdentity, Option<TargetName>)> {
        job!(self, [target, identity], |tx| tx.pin_target(&target, &identity))
    }

    async fn members_read(&self, pair: &Pair, after: Option<&TargetGroupId>) -> StoreResult<Vec<MembersRead>> {
        let after = after.cloned();
        of_pair!(self, pair, Vec::new(), |conn, no| members_read::of_pair(conn, no, after.as_ref()))
    }

    async fn keep_members_read(&self, pair: &Pair, read: &[MembersRead], oldest: Timestamp) -> StoreResult<()> {
        job!(self, [pair, read], |tx| tx.keep_members_read(&pair, &read, oldest))
    }

    async fn request_run(&self, pair: &Pair) -> StoreResult<()> {
        job!(self, [pair], |tx| tx.request_run(&pair))
    }

    async fn group_paths(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, String)>> {
        of_pair!(self, pair, Vec::new(), |conn, no| groups::paths(conn, no))
    }

    async fn keep_group_paths(&self, pair: &Pair, moved: &[MovedGroup]) -> StoreResult<()> {
        job!(self, [pair, moved], |tx| tx.keep_group_paths(&pair, &moved))
    }

    async fn unconfirmed_links(&self, pair: &Pair) -> StoreResult<Vec<UserId>> {
        of_pair!(self, pair, Vec::new(), |conn, no| unconfirmed::of_pair(conn, no))
    }

    async fn confirm_links(
        &self,
        pair: &Pair,
        run: RunId,
        stand: &[UserId],
        dropped: &[(UserId, String)],
        now: Timestamp,
    ) -> StoreResult<()> {
        job!(self, [pair, stand, dropped], |tx| tx.confirm_links(&pair, run, &stand, &dropped, now))
    }

    async fn link_orders(&self, pair: &Pair) -> StoreResult<Vec<LinkOrder>> {
        of_pair!(self, pair, Vec::new(), |conn, no| orders::of_pair(conn, no))
    }

    async fn standing_items(&self, pair: &Pair) -> StoreResult<Vec<ApprovalItem>> {
        of_pair!(self, pair, Vec::new(), |conn, no| approvals::standing(conn, no))
    }

    async fn done_in_last_hour(&self, pair: &Pair, kind: Limited, now: Timestamp) -> StoreResult<u32> {
        of_pair!(self, pair, 0, |conn, no| intents::done_in_last_hour(conn, no, kind, now))
    }

    async fn has_open_items(&self, pair: &Pair, kind: ApprovalKind) -> StoreResult<bool> {
        of_pair!(self, pair, false, |conn, no| approvals::has_open_items(conn, no, kind))
    }

    async fn note_refusals(&self, refusals: &[Refusals]) -> StoreResult<()> {
        job!(self, [refusals], |tx| tx.note_refusals(&refusals))
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        job!(self, [], |tx| tx.prune(before, limit))
    }

    async fn keep_conditions(&self, conditions: &[Condition]) -> StoreResult<()> {
        job!(self, [conditions], |tx| tx.keep_conditions(&conditions))
    }

    async fn keep_event_poll(&self, connector: &ConnectorName, poll: &EventPoll) -> StoreResult<()> {
        job!(self, [connector, poll], |tx| tx.keep_event_poll(&connector, &poll))
    }

    async fn end_contact(&self, order: &ContactOrder, end: &OrderEnd, now: Timestamp) -> StoreResult<()> {
        let (order, end) = (order.clone(), end.clone());
        job!(self, [], |tx| tx.end_contact(&order, &end, now))
    }
}
