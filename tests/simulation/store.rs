//! The real store under observation: a gate before every relevant call, a record of every claim and intent, and the
//! sabotages.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, watch};
use usersync::{
    model::{
        AccountId, Approval, ApprovalItem, ApprovalKind, Cause, Change, Condition, ConnectorName, ErrorClass,
        EventPoll, EventRecord, Federated, GroupId, GroupMapping, Limited, Link, ManagedGroup, NewApprovalItem,
        NewEvent, ObservationSeq, Packed, Pair, Priority, Refusals, RunId, RunMode, RunOutcome, RunProgress, RunRecord,
        RunTrigger, SourceIdentity, Subject, TargetGroupId, TargetIdentity, TargetName, TaskRecord, Token, Unsupported,
        UserId,
    },
    store::{
        Adopted, Appended, AuditRecord, ChangeFilter, Claimed, ContactOrder, EngineStore, EventFilter, Failure, Holder,
        LinkOrder, LinkedFederation, MembersRead, MovedGroup, OpenIntent, OrderEnd, Overdue, PairCounts, PairRecord,
        PairState, Planned, Step, Stepped, StoreError, StoreReads, StoreResult, TaskFilter, Totals, Waiting,
        sqlite::SqliteStore,
    },
};

use crate::{
    gates::Opens,
    world::{Intent, Shared, StoreFault},
};

/// A sabotage of the store, which the simulations must detect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// No sabotage.
    #[default]
    None,
    /// Subjects are claimed although an old request can still arrive.
    ClaimsDoNotWait,
    /// A run's "in sync" result is never invalidated.
    VerdictsStand,
    /// A run's plan stands whatever was recorded since its observation.
    OldObservationsWin,
    /// There is no recheck after an event that may precede its commit.
    NoRecheck,
    /// Cycles of waiting subjects are never detected.
    NoRings,
    /// A claim that could not be ended in the store is never released.
    ClaimsStay,
}

/// See the module.
pub struct WatchedStore {
    pub inner: Arc<SqliteStore>,
    pub shared: Arc<Shared>,
    pub sabotage: Sabotage,
    /// Whether the safety limits use the realm's real size; else a size at which no limit matters.
    pub gate_matters: bool,
    /// Runs one call after the other, in call order; otherwise threads would decide.
    turn: Mutex<()>,
}

impl WatchedStore {
    pub fn new(inner: Arc<SqliteStore>, shared: Arc<Shared>, sabotage: Sabotage, gate_matters: bool) -> Self {
        Self { inner, shared, sabotage, gate_matters, turn: Mutex::default() }
    }

    /// Runs a call that neither affects nor depends on others. During an outage it fails.
    async fn quietly<T>(&self, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let _busy = self.shared.gates.busy();
        let _turn = self.turn.lock().await;
        let fault = self.shared.world().store_fault();
        match fault {
            None => work.await,
            Some(StoreFault::Refused) => Err(unavailable()),
            Some(StoreFault::Unconfirmed) => {
                work.await?;
                Err(unavailable())
            }
        }
    }

    /// Runs a call with a gate before it.
    async fn gated<T>(&self, what: impl Into<String>, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.shared.gates.pass(what, Opens::Chosen).await;
        self.quietly(work).await
    }

    /// Runs a call that returns a claim; a failed call has claimed nothing.
    async fn claiming<T>(&self, what: impl Into<String>, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.shared.gates.pass(what, Opens::Chosen).await;
        let fails = self.shared.world().store_fault().is_some();
        if fails {
            return Err(unavailable());
        }
        let _busy = self.shared.gates.busy();
        let _turn = self.turn.lock().await;
        work.await
    }

    /// Runs a call that ends a claim; it may be stored although the caller gets an error.
    async fn ending(
        &self,
        what: impl Into<String>,
        token: Token,
        work: impl Future<Output = StoreResult<()>>,
    ) -> StoreResult<()> {
        self.gated(what, async {
            work.await?;
            self.released(token);
            Ok(())
        })
        .await
    }

    fn realm(pair: &Pair) -> usize {
        usize::from(pair.connector.as_str().ends_with("-1"))
    }

    fn claimed(&self, claimed: &Claimed) {
        let mut world = self.shared.world();
        world.say(format!("    claimed {}", claimed.subject));
        let key = (Self::realm(&claimed.pair), claimed.subject.clone());
        if world.claims.insert(key, claimed.token).is_some() {
            let text = format!("{} is claimed twice", claimed.subject);
            world.violated("S2", text);
        }
    }

    fn released(&self, token: Token) {
        self.shared.world().claims.retain(|_, held| *held != token);
    }

    fn stepped(&self, step: &Step, stepped: &Stepped) {
        let writer = self.shared.gates.actor();
        let mut world = self.shared.world();
        for resolved in &step.resolved {
            let Some(intent) = world.intents.get_mut(&resolved.intent) else {
                world.violated("S3", format!("intent {} was never written", resolved.intent));
                continue;
            };
            let (operation, effect) = (intent.operation.clone(), intent.took_effect);
            if intent.outcome.replace(resolved.outcome.clone()).is_some() {
                world.violated("S3", format!("{operation} is settled twice"));
            }
            let done = resolved.outcome.took_effect();
            world.say(format!("    settled: {operation}: {}", if done { "done" } else { "not done" }));
            if effect && !done && resolved.outcome != usersync::model::ChangeOutcome::NotSeen {
                world.violated("seen", format!("{operation} took effect, but its change says that it did not"));
            }
        }
        for id in &step.unsent {
            match world.intents.remove(id) {
                Some(intent) if !intent.sent && intent.outcome.is_none() => {
                    world.say(format!("    not sent: {}", intent.operation));
                }
                _ => world.violated("seen", format!("intent {id} is called unsent, but it is not")),
            }
        }
        let Stepped::Send(written) = stepped else { return };
        for (id, next) in written.iter().zip(&step.next) {
            world.say(format!("    intent: {}", next.operation));
            let operation = next.operation.clone();
            world.intents.insert(*id, Intent { operation, writer, sent: false, took_effect: false, outcome: None });
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("on purpose".to_owned())
}

#[async_trait]
impl StoreReads for WatchedStore {
    async fn conditions(&self) -> StoreResult<Vec<Condition>> {
        self.inner.conditions().await
    }

    async fn contact_orders(&self) -> StoreResult<Vec<ContactOrder>> {
        self.inner.contact_orders().await
    }

    async fn event_poll(&self, connector: &ConnectorName) -> StoreResult<EventPoll> {
        self.inner.event_poll(connector).await
    }

    async fn events(&self, filter: &EventFilter) -> StoreResult<Vec<EventRecord>> {
        self.quietly(self.inner.events(filter)).await
    }

    async fn wait_for_work(&self, seen: u64) -> u64 {
        self.inner.wait_for_work(seen).await
    }

    fn outside_changes(&self) -> u64 {
        self.inner.outside_changes()
    }

    async fn link(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<Link>> {
        self.gated(format!("reads the link of {user}"), self.inner.link(pair, user)).await
    }

    async fn links(&self, pair: &Pair) -> StoreResult<Packed<Link>> {
        self.gated("reads all links", self.inner.links(pair)).await
    }

    async fn linked_elsewhere(&self, pair: &Pair) -> StoreResult<BTreeMap<AccountId, ConnectorName>> {
        self.gated("reads the links of other connectors", self.inner.linked_elsewhere(pair)).await
    }

    async fn managed_groups(&self, target: &TargetName) -> StoreResult<Vec<ManagedGroup>> {
        self.gated("reads the managed groups", self.inner.managed_groups(target)).await
    }

    async fn group_mappings(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, GroupMapping)>> {
        self.gated("reads what became of groups", self.inner.group_mappings(pair)).await
    }

    async fn unsupported(&self, pair: &Pair) -> StoreResult<Vec<Unsupported>> {
        self.quietly(self.inner.unsupported(pair)).await
    }

    async fn runs(&self, pair: Option<&Pair>, limit: usize) -> StoreResult<Vec<RunRecord>> {
        self.quietly(self.inner.runs(pair, limit)).await
    }

    async fn pair_state(&self, pair: &Pair) -> StoreResult<PairState> {
        self.quietly(self.inner.pair_state(pair)).await
    }

    async fn paused(&self) -> StoreResult<BTreeSet<ConnectorName>> {
        self.quietly(self.inner.paused()).await
    }

    async fn approvals(&self, open_only: bool) -> StoreResult<Vec<Approval>> {
        self.quietly(self.inner.approvals(open_only)).await
    }

    async fn approval(&self, id: i64) -> StoreResult<(Approval, Vec<ApprovalItem>)> {
        self.quietly(self.inner.approval(id)).await
    }

    async fn requested_run(&self, pair: &Pair) -> StoreResult<Option<RunTrigger>> {
        self.quietly(self.inner.requested_run(pair)).await
    }

    async fn tasks(&self, filter: &TaskFilter) -> StoreResult<Vec<TaskRecord>> {
        self.quietly(self.inner.tasks(filter)).await
    }

    async fn changes(&self, filter: &ChangeFilter) -> StoreResult<Vec<Change>> {
        self.quietly(self.inner.changes(filter)).await
    }

    async fn totals(&self, pair: &Pair) -> StoreResult<Totals> {
        if self.gate_matters {
            return self.gated("totals", self.inner.totals(pair)).await;
        }
        let many = 1_000_000;
        Ok(Totals { active_links: many, memberships: many, managed_groups: many })
    }

    async fn counts(&self, pair: &Pair, now: Timestamp) -> StoreResult<PairCounts> {
        self.quietly(self.inner.counts(pair, now)).await
    }

    async fn audit(&self, before: Option<i64>, limit: usize) -> StoreResult<Vec<AuditRecord>> {
        self.quietly(self.inner.audit(before, limit)).await
    }
}

#[async_trait]
impl EngineStore for WatchedStore {
    async fn append_events(
        &self,
        connector: &ConnectorName,
        targets: &[TargetName],
        mut events: Vec<NewEvent>,
        now: Timestamp,
    ) -> StoreResult<Appended> {
        if self.sabotage == Sabotage::NoRecheck {
            for event in &mut events {
                event.recheck = false;
            }
        }
        self.quietly(self.inner.append_events(connector, targets, events, now)).await
    }

    async fn members_read(&self, pair: &Pair, after: Option<&TargetGroupId>) -> StoreResult<Vec<MembersRead>> {
        self.quietly(self.inner.members_read(pair, after)).await
    }

    async fn keep_members_read(&self, pair: &Pair, read: &[MembersRead], oldest: Timestamp) -> StoreResult<()> {
        self.quietly(self.inner.keep_members_read(pair, read, oldest)).await
    }

    async fn keep_conditions(&self, conditions: &[Condition]) -> StoreResult<()> {
        self.inner.keep_conditions(conditions).await
    }

    async fn keep_event_poll(&self, connector: &ConnectorName, poll: &EventPoll) -> StoreResult<()> {
        self.quietly(self.inner.keep_event_poll(connector, poll)).await
    }

    async fn end_contact(&self, order: &ContactOrder, end: &OrderEnd, now: Timestamp) -> StoreResult<()> {
        self.inner.end_contact(order, end, now).await
    }

    async fn raise(
        &self,
        pair: &Pair,
        subjects: &[Subject],
        priority: Priority,
        cause: &Cause,
        now: Timestamp,
    ) -> StoreResult<usize> {
        let names: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let what = format!("raises {}", names.join(", "));
        self.gated(what, self.inner.raise(pair, subjects, priority, cause, now)).await
    }

    async fn claim(
        &self,
        target: &TargetName,
        connectors: &[ConnectorName],
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        let now = if self.sabotage == Sabotage::ClaimsDoNotWait { now + SignedDuration::from_mins(1) } else { now };
        let claimed = self.claiming("claims a task", self.inner.claim(target, connectors, now)).await?;
        match &claimed {
            Some(claimed) => self.claimed(claimed),
            None => self.shared.world().say("    there is none"),
        }
        Ok(claimed)
    }

    async fn overdue(&self, pair: &Pair, before: Timestamp) -> StoreResult<Overdue> {
        self.quietly(self.inner.overdue(pair, before)).await
    }

    async fn next_due(&self, target: &TargetName, connectors: &[ConnectorName]) -> StoreResult<Option<Timestamp>> {
        self.quietly(self.inner.next_due(target, connectors)).await
    }

    async fn next_observation(&self) -> StoreResult<ObservationSeq> {
        self.gated("takes the number of a look", self.inner.next_observation()).await
    }

    async fn holder(&self, token: Token, account: &AccountId, name: &str) -> StoreResult<Holder> {
        self.gated(format!("asks who holds {account}"), self.inner.holder(token, account, name)).await
    }

    async fn open_intents(&self, token: Token) -> StoreResult<Vec<OpenIntent>> {
        self.gated("asks for open intents", self.inner.open_intents(token)).await
    }

    async fn adopt(&self, token: Token, link: Link, from: Option<UserId>, now: Timestamp) -> StoreResult<Adopted> {
        let what = format!("links {} to {}", link.account, link.user);
        let adopted = self.gated(what, self.inner.adopt(token, link, from, now)).await?;
        self.shared.world().say(format!("    {adopted:?}"));
        Ok(adopted)
    }

    async fn step(&self, token: Token, step: Step, now: Timestamp) -> StoreResult<Stepped> {
        let mut written = None;
        let stepped = self.gated("writes a step", async {
            let stepped = self.inner.step(token, step.clone(), now).await;
            written = stepped.clone().ok();
            stepped
        });
        let stepped = stepped.await;
        match &written {
            Some(Stepped::AccountTaken) => self.shared.world().say("    the account is taken"),
            Some(stepped) => self.stepped(&step, stepped),
            None => {}
        }
        if let Err(error) = &stepped {
            self.shared.world().say(format!("    {error}"));
        }
        stepped
    }

    fn abandon(&self, token: Token, now: Timestamp) {
        if self.sabotage == Sabotage::ClaimsStay {
            return;
        }
        self.released(token);
        self.inner.abandon(token, now);
    }

    async fn still_held(&self, token: Token) -> StoreResult<bool> {
        self.quietly(self.inner.still_held(token)).await
    }

    fn event_waits(&self, token: Token) -> watch::Receiver<Option<Priority>> {
        self.inner.event_waits(token)
    }

    async fn complete(
        &self,
        token: Token,
        last: Step,
        held: Vec<NewApprovalItem>,
        recheck_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Stepped> {
        let mut written = false;
        let stepped = self.gated("completes", async {
            let stepped = self.inner.complete(token, last.clone(), held, recheck_at, now).await;
            written = stepped == Ok(Stepped::Written);
            stepped
        });
        let stepped = stepped.await;
        if written {
            self.stepped(&last, &Stepped::Written);
            self.released(token);
        }
        if let Err(error) = &stepped {
            self.shared.world().say(format!("    {error}"));
        }
        stepped
    }

    async fn fail(&self, token: Token, failure: Failure, now: Timestamp) -> StoreResult<()> {
        let what = format!("fails: {}", failure.text);
        self.ending(what, token, self.inner.fail(token, failure, now)).await
    }

    async fn defer(
        &self,
        token: Token,
        until: Timestamp,
        reason: Option<(ErrorClass, String)>,
        now: Timestamp,
    ) -> StoreResult<()> {
        self.ending("puts it off", token, self.inner.defer(token, until, reason, now)).await
    }

    async fn wait_for(
        &self,
        token: Token,
        others: &[Subject],
        ring_ends_it: bool,
        at_latest: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Waiting> {
        let names: Vec<String> = others.iter().map(ToString::to_string).collect();
        let ring_ends_it = ring_ends_it && self.sabotage != Sabotage::NoRings;
        let what = format!("waits for {}", names.join(", "));
        self.gated(what, async {
            let waiting = self.inner.wait_for(token, others, ring_ends_it, at_latest, now).await?;
            match waiting {
                Waiting::Waits => self.released(token),
                Waiting::Ring => self.shared.world().say("    who waits for whom goes round"),
            }
            Ok(waiting)
        })
        .await
    }

    async fn dropped_links(&self, pair: &Pair) -> StoreResult<Vec<Link>> {
        self.gated("reads dropped links", self.inner.dropped_links(pair)).await
    }

    async fn seen_alive(&self, pair: &Pair, except: &UserId, limit: usize) -> StoreResult<Vec<UserId>> {
        self.quietly(self.inner.seen_alive(pair, except, limit)).await
    }

    async fn federations(&self, pair: &Pair) -> StoreResult<Vec<LinkedFederation>> {
        self.quietly(self.inner.federations(pair)).await
    }

    async fn active_federated(&self, pair: &Pair) -> StoreResult<Vec<UserId>> {
        self.quietly(self.inner.active_federated(pair)).await
    }

    async fn federated_users(&self, pair: &Pair, component: &str, limit: usize) -> StoreResult<Vec<(UserId, String)>> {
        self.quietly(self.inner.federated_users(pair, component, limit)).await
    }

    async fn given(&self, pair: &Pair, group: &TargetGroupId) -> StoreResult<Vec<UserId>> {
        self.gated(format!("asks who was given {group}"), self.inner.given(pair, group)).await
    }

    async fn begin_run(&self, pair: &Pair, trigger: RunTrigger, mode: RunMode, now: Timestamp) -> StoreResult<RunId> {
        self.quietly(self.inner.begin_run(pair, trigger, mode, now)).await
    }

    async fn progress_run(&self, run: RunId, report: serde_json::Value) -> StoreResult<()> {
        self.quietly(self.inner.progress_run(run, report)).await
    }

    async fn note_progress(&self, run: RunId, progress: &RunProgress) -> StoreResult<()> {
        self.quietly(self.inner.note_progress(run, progress)).await
    }

    async fn end_run(
        &self,
        run: RunId,
        outcome: RunOutcome,
        report: serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<()> {
        self.quietly(self.inner.end_run(run, outcome, report, now)).await
    }

    async fn claim_planned(
        &self,
        pair: &Pair,
        run: RunId,
        mut planned: Planned,
        now: Timestamp,
    ) -> StoreResult<Option<Claimed>> {
        if self.sabotage == Sabotage::OldObservationsWin {
            planned.observation = ObservationSeq(i64::MAX);
        }
        let what = format!("claims {} from its walk", planned.subject);
        let claimed = self.claiming(what, self.inner.claim_planned(pair, run, planned, now)).await?;
        match &claimed {
            Some(claimed) => self.claimed(claimed),
            None => self.shared.world().say("    not to be had, its task is raised"),
        }
        Ok(claimed)
    }

    async fn found_in_sync(&self, pair: &Pair, run: RunId, found: Vec<Planned>, now: Timestamp) -> StoreResult<usize> {
        let names: Vec<String> = found.iter().map(|planned| planned.subject.to_string()).collect();
        let what = format!("found in order: {}", names.join(", "));
        if self.sabotage == Sabotage::VerdictsStand {
            return self.gated(what, async { Ok(0) }).await;
        }
        let raised = self.gated(what, self.inner.found_in_sync(pair, run, found, now)).await?;
        self.shared.world().say(format!("    raised {raised} of them"));
        Ok(raised)
    }

    async fn record_seen(
        &self,
        pair: &Pair,
        seen: Vec<(UserId, Option<Federated>)>,
        now: Timestamp,
    ) -> StoreResult<()> {
        self.quietly(self.inner.record_seen(pair, seen, now)).await
    }

    async fn stale_intents(&self, pair: &Pair, now: Timestamp) -> StoreResult<Vec<OpenIntent>> {
        self.gated("asks for stale intents", self.inner.stale_intents(pair, now)).await
    }

    async fn ensure_pairs(&self, pairs: &[Pair], now: Timestamp) -> StoreResult<Vec<PairRecord>> {
        self.quietly(self.inner.ensure_pairs(pairs, now)).await
    }

    async fn set_pair_state(&self, pair: &Pair, state: PairState, now: Timestamp) -> StoreResult<()> {
        self.quietly(self.inner.set_pair_state(pair, state, now)).await
    }

    async fn stop_for_target(&self, pair: &Pair, now: Timestamp) -> StoreResult<()> {
        self.quietly(self.inner.stop_for_target(pair, now)).await
    }

    async fn hold_first_run(&self, pair: &Pair, summary: serde_json::Value, now: Timestamp) -> StoreResult<i64> {
        self.quietly(self.inner.hold_first_run(pair, summary, now)).await
    }

    async fn pin_source(&self, connector: &ConnectorName, identity: &SourceIdentity) -> StoreResult<SourceIdentity> {
        self.quietly(self.inner.pin_source(connector, identity)).await
    }

    async fn repin_source(
        &self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
        now: Timestamp,
    ) -> StoreResult<()> {
        self.quietly(self.inner.repin_source(connector, identity, now)).await
    }

    async fn pin_target(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(TargetIdentity, Option<TargetName>)> {
        self.quietly(self.inner.pin_target(target, identity)).await
    }

    async fn request_run(&self, pair: &Pair) -> StoreResult<()> {
        self.shared.world().run_requested = true;
        self.quietly(self.inner.request_run(pair)).await
    }

    async fn group_paths(&self, pair: &Pair) -> StoreResult<Vec<(GroupId, String)>> {
        self.quietly(self.inner.group_paths(pair)).await
    }

    async fn keep_group_paths(&self, pair: &Pair, moved: &[MovedGroup]) -> StoreResult<()> {
        self.quietly(self.inner.keep_group_paths(pair, moved)).await
    }

    async fn unconfirmed_links(&self, pair: &Pair) -> StoreResult<Vec<UserId>> {
        self.quietly(self.inner.unconfirmed_links(pair)).await
    }

    async fn confirm_links(
        &self,
        pair: &Pair,
        run: RunId,
        stand: &[UserId],
        dropped: &[(UserId, String)],
        now: Timestamp,
    ) -> StoreResult<()> {
        self.quietly(self.inner.confirm_links(pair, run, stand, dropped, now)).await
    }

    async fn link_orders(&self, pair: &Pair) -> StoreResult<Vec<LinkOrder>> {
        self.quietly(self.inner.link_orders(pair)).await
    }

    async fn standing_items(&self, pair: &Pair) -> StoreResult<Vec<ApprovalItem>> {
        self.quietly(self.inner.standing_items(pair)).await
    }

    async fn done_in_last_hour(&self, pair: &Pair, kind: Limited, now: Timestamp) -> StoreResult<u32> {
        self.quietly(self.inner.done_in_last_hour(pair, kind, now)).await
    }

    async fn has_open_items(&self, pair: &Pair, kind: ApprovalKind) -> StoreResult<bool> {
        self.quietly(self.inner.has_open_items(pair, kind)).await
    }

    async fn note_refusals(&self, refusals: &[Refusals]) -> StoreResult<()> {
        self.quietly(self.inner.note_refusals(refusals)).await
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.quietly(self.inner.prune(before, limit)).await
    }
}
