//! The running engine: one dispatcher for each target, one runner for each pair, and a watch over both.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    approval_log::ApprovalLog,
    breaker::Breaker,
    error::WorkError,
    polling::Poller,
    ports::{Connector, Engine, TargetPort},
    run::RunOptions,
    without_server::FirstPlan,
};
use crate::{
    model::{About, ConditionCode, ConnectorName, FirstRun, Pair, RunMode, RunOutcome, RunTrigger, TargetName, count},
    store::{Claimed, PairState, StoreError},
};

/// Function that returns when a connector's next run is due after a time.
pub type Schedule = Arc<dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync>;

/// Maximum interval between checks for changes by other processes.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// Interval at which old events, changes and runs are removed, and how many are removed in one step.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_mins(30);
const PRUNE_STEP: usize = 500;
/// Interval at which the gauges are updated.
const GAUGED_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// Maximum time that a dispatcher sleeps between checks.
const DISPATCH_AT_LEAST_EVERY: SignedDuration = SignedDuration::from_secs(30);
/// Interval of checks whether a side's breaker is open.
const BREAKERS_EVERY: SignedDuration = SignedDuration::from_millis(500);
/// Delay before the next attempt to write conditions.
const CONDITIONS_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Settings of a [`Service`].
pub struct ServiceOptions {
    /// Schedules that say when each connector's runs are due.
    pub schedules: HashMap<ConnectorName, Schedule>,
    /// Connectors that the configuration disables: events are stored, tasks wait.
    pub disabled: BTreeSet<ConnectorName>,
    /// Intervals at which the events that Keycloak stores are polled; a connector that is not named here is not polled.
    pub polls: HashMap<ConnectorName, SignedDuration>,
    /// Intervals at which federated users are checked; those of a connector that is not named here are not.
    pub federation_checks: HashMap<ConnectorName, SignedDuration>,
    /// Time for which events, changes and ended runs are kept.
    pub retention: SignedDuration,
}

/// The running engine. If it is dropped without [`Service::shutdown`], its tasks are left to the runtime.
pub struct Service {
    engine: Arc<Engine>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

/// The watch's findings, for dispatchers and runners.
#[derive(Clone, Default)]
struct Readiness {
    /// Connectors with tasks that may be worked, by target.
    ready: HashMap<TargetName, Vec<ConnectorName>>,
    paused: BTreeSet<ConnectorName>,
}

struct Shared {
    engine: Arc<Engine>,
    options: ServiceOptions,
    cancel: CancellationToken,
    readiness: watch::Sender<Readiness>,
    /// Notified whenever a request may have been stored.
    asked: Notify,
    /// Tokens that end the run in progress of a pair.
    runs: Mutex<HashMap<Pair, CancellationToken>>,
    /// The part that ended although the service should continue.
    died: watch::Sender<Option<String>>,
}

impl Service {
    /// Starts all parts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start(engine: Arc<Engine>, options: ServiceOptions) -> Result<Self, StoreError> {
        engine.store.ensure_pairs(&engine.pairs(), engine.clock.now()).await?;
        engine.recall().await?;
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            engine: Arc::clone(&engine),
            options,
            cancel: cancel.clone(),
            readiness: watch::Sender::new(Readiness::default()),
            asked: Notify::new(),
            runs: Mutex::default(),
            died: watch::Sender::new(None),
        });
        shared.refresh_readiness().await?;
        let part = |name: String, work: BoxFuture<'static, ()>| tasks.spawn(Arc::clone(&shared).part(name, work));
        let of = || Arc::clone(&shared);
        part("the store watcher".to_owned(), Box::pin(of().watch()));
        part("the removal of old records".to_owned(), Box::pin(of().prune()));
        part("the task counter".to_owned(), Box::pin(of().gauge()));
        part("the condition recorder".to_owned(), Box::pin(of().keep_conditions()));
        part("the handler of requested contacts".to_owned(), Box::pin(of().contacts_ordered()));
        for port in engine.targets() {
            let name = &port.name;
            part(format!("the worker of target {name}"), Box::pin(of().dispatch(Arc::clone(port))));
            part(format!("the contact check of target {name}"), Box::pin(of().contact_target(Arc::clone(port))));
        }
        for connector in engine.connectors() {
            let name = &connector.name;
            let contact = Box::pin(of().contact_source(Arc::clone(connector)));
            part(format!("the contact check of connector {name}"), contact);
            let is_enabled = !shared.options.disabled.contains(name);
            if let Some(every) = shared.options.federation_checks.get(name).filter(|_| is_enabled) {
                let checks = Box::pin(of().check_federated_users(Arc::clone(connector), *every));
                part(format!("the check of the federated users of connector {name}"), checks);
            }
            if let Some(every) = shared.options.polls.get(name).filter(|_| is_enabled) {
                let polling = Box::pin(of().poll_events(Arc::clone(connector), *every));
                part(format!("the event polling of connector {name}"), polling);
            }
        }
        for pair in engine.pairs() {
            part(format!("the full reconciles of {pair}"), Box::pin(of().run_when_due(pair)));
        }
        tasks.close();
        Ok(Self { engine, cancel, tasks, shared })
    }

    /// Waits until a part has ended by a defect. Only a new process repairs that.
    pub async fn died(&self) -> String {
        let mut died = self.shared.died.subscribe();
        match died.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // The sender lives as long as this service.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Returns its engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Stops new work and waits for work in progress. Returns whether all work ended within `patience`. The intents of
    /// unfinished work are recovered after the next start.
    pub async fn shutdown(self, patience: Duration) -> bool {
        self.cancel.cancel();
        tokio::select! {
            () = self.tasks.wait() => true,
            () = self.engine.clock.sleep_real(patience) => false,
        }
    }
}

impl Shared {
    /// Runs a part of the service. A part that panics, or ends while the service should continue, is reported.
    async fn part(self: Arc<Self>, name: String, work: impl Future<Output = ()> + Send) {
        let ended = AssertUnwindSafe(work).catch_unwind().await;
        if ended.is_ok() && self.cancel.is_cancelled() {
            return;
        }
        let how = if ended.is_ok() { "ended" } else { "panicked" };
        self.died.send_if_modified(|died| {
            let first = died.is_none();
            died.get_or_insert_with(|| {
                format!("internal error of usersync: {name} {how}. Report it with the log of that time")
            });
            first
        });
    }

    /// Sleeps, or returns early at shutdown.
    async fn sleep(&self, duration: SignedDuration) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.engine.clock.sleep(duration) => {}
        }
    }

    /// Checks repeatedly for changes and requests of other processes.
    async fn watch(self: Arc<Self>) {
        let mut seen = 0;
        while !self.cancel.is_cancelled() {
            if let Err(error) = self.refresh_readiness().await {
                tracing::error!("the store cannot be read: {error}");
            }
            tokio::select! {
                () = self.cancel.cancelled() => {}
                count = self.engine.store.wait_for_work(seen) => seen = count,
                () = self.engine.clock.sleep_real(REFRESH_EVERY) => {}
            }
            // Many events wake it; a check from time to time is enough.
            self.engine.clock.sleep_real(Duration::from_millis(20)).await;
        }
    }

    async fn refresh_readiness(&self) -> Result<(), StoreError> {
        self.engine.end_left_runs().await;
        let store = &self.engine.store;
        let mut readiness = Readiness { paused: store.paused().await?, ..Readiness::default() };
        readiness.paused.extend(self.options.disabled.iter().cloned());
        for pair in self.engine.pairs() {
            let works = store.pair_state(&pair).await? == PairState::InService
                && !readiness.paused.contains(&pair.connector)
                && self.engine.connector(&pair.connector).is_ok_and(|connector| connector.breaker.open().is_none());
            if works {
                readiness.ready.entry(pair.target).or_default().push(pair.connector);
            }
        }
        for (_, run) in self.runs.lock().iter().filter(|(pair, _)| readiness.paused.contains(&pair.connector)) {
            run.cancel();
        }
        self.asked.notify_waiters();
        self.readiness.send_if_modified(|before| {
            let changed = before.ready != readiness.ready || before.paused != readiness.paused;
            *before = readiness;
            changed
        });
        Ok(())
    }

    /// Claims due tasks of a target and works them, up to its concurrency limit.
    async fn dispatch(self: Arc<Self>, port: Arc<TargetPort>) {
        let places = Arc::new(Semaphore::new(port.parallel.max(1)));
        let working = TaskTracker::new();
        let mut readiness = self.readiness.subscribe();
        let mut seen = 0;
        while !self.cancel.is_cancelled() {
            let place = tokio::select! {
                () = self.cancel.cancelled() => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let kept_away = port.breaker.open().is_some();
            let ready = if kept_away {
                Vec::new()
            } else {
                readiness.borrow_and_update().ready.get(&port.name).cloned().unwrap_or_default()
            };
            match self.claim(&port, &ready).await {
                Ok(Some(claim)) => {
                    port.set_idle(false);
                    let shared = Arc::clone(&self);
                    working.spawn(async move {
                        let worked = AssertUnwindSafe(shared.engine.work(claim)).catch_unwind().await;
                        drop(place);
                        // An error is reported and stored with the task; a panic here would keep its claim for ever.
                        if let Err(panic) = worked {
                            shared.part("work on a task".to_owned(), async { std::panic::resume_unwind(panic) }).await;
                        }
                    });
                }
                Ok(None) => {
                    drop(place);
                    port.set_idle(true);
                    // A call in progress may close the breaker, and nothing signals that.
                    let wait = if kept_away { BREAKERS_EVERY } else { self.until_due(&port, &ready).await };
                    tokio::select! {
                        () = self.cancel.cancelled() => {}
                        count = self.engine.store.wait_for_work(seen) => seen = count,
                        _ = readiness.changed() => {}
                        () = self.engine.clock.sleep(wait) => {}
                    }
                }
                Err(error) => {
                    drop(place);
                    tracing::error!(target.name = %port.name, "no task could be claimed: {error}");
                    self.sleep(SignedDuration::from_secs(1)).await;
                }
            }
        }
        working.close();
        working.wait().await;
    }

    async fn claim(&self, port: &TargetPort, ready: &[ConnectorName]) -> Result<Option<Claimed>, StoreError> {
        if ready.is_empty() {
            return Ok(None);
        }
        self.engine.store.claim(&port.name, ready, self.engine.clock.now()).await
    }

    async fn until_due(&self, port: &TargetPort, ready: &[ConnectorName]) -> SignedDuration {
        let due = match ready {
            [] => None,
            ready => self.engine.store.next_due(&port.name, ready).await.ok().flatten(),
        };
        let wait = due.map_or(DISPATCH_AT_LEAST_EVERY, |due| due.duration_since(self.engine.clock.now()));
        wait.clamp(SignedDuration::from_millis(5), DISPATCH_AT_LEAST_EVERY)
    }

    /// Contacts a target with an open breaker again, so that work continues once it recovers. A target without work is
    /// contacted from time to time, so that a revoked token is noticed before it is needed.
    async fn contact_target(self: Arc<Self>, port: Arc<TargetPort>) {
        let mut next = self.next_contact();
        while self.comes_to_contact(&port.breaker, &mut next).await {
            // The result is in the conditions.
            let _ = self.engine.try_target(&port, false).await;
            self.readiness.send_modify(|_| {});
        }
    }

    /// Contacts a source, as [`Self::contact_target`] does for a target.
    async fn contact_source(self: Arc<Self>, connector: Arc<Connector>) {
        let mut next = self.next_contact();
        while self.comes_to_contact(&connector.breaker, &mut next).await {
            let _ = self.engine.try_source(&connector, false).await;
        }
    }

    /// Contacts the sides that operators order to be contacted at once.
    async fn contacts_ordered(self: Arc<Self>) {
        while !self.cancel.is_cancelled() {
            let asked = self.asked.notified();
            match self.engine.carry_out_contacts().await {
                Ok(0) => {}
                Ok(_) => self.readiness.send_modify(|_| {}),
                Err(error) => tracing::error!("requested contacts cannot be read or recorded: {error}"),
            }
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = asked => {}
            }
        }
    }

    /// Polls the events that Keycloak stores for a connector: at once, then at this interval, never two polls at a time.
    async fn poll_events(self: Arc<Self>, connector: Arc<Connector>, every: SignedDuration) {
        let mut poller = loop {
            match Poller::load(&self.engine, Arc::clone(&connector), every).await {
                Ok(poller) => break poller,
                Err(error) => tracing::error!(connector = %connector.name, "the store cannot be read: {error}"),
            }
            self.sleep(every).await;
            if self.cancel.is_cancelled() {
                return;
            }
        };
        while !self.cancel.is_cancelled() {
            if poller.may_poll() {
                // A poll that a shutdown interrupts is repeated after the next start.
                tokio::select! {
                    () = self.cancel.cancelled() => break,
                    () = self.engine.poll(&mut poller) => {}
                }
            }
            self.sleep(poller.wait(&self.engine)).await;
        }
    }

    /// Checks the federation providers that linked users of a connector come from, and finds leavers: at once, then at this
    /// interval.
    async fn check_federated_users(self: Arc<Self>, connector: Arc<Connector>, every: SignedDuration) {
        let in_trouble = self.engine.times.provider_check_in_trouble.min(every);
        while !self.cancel.is_cancelled() {
            let mut wait = every;
            if connector.breaker.open().is_none() {
                let check = async {
                    let is_well = self.engine.check_providers(&connector).await?;
                    if is_well {
                        self.engine.find_federated_leavers(&connector).await?;
                    }
                    Ok::<_, WorkError>(is_well)
                };
                tokio::select! {
                    () = self.cancel.cancelled() => break,
                    checked = check => match checked {
                        Ok(true) => {}
                        Ok(false) => wait = in_trouble,
                        Err(error) => {
                            tracing::warn!(connector = %connector.name, "federated users were not checked: {error}");
                            wait = in_trouble;
                        }
                    },
                }
            }
            self.sleep(wait).await;
        }
    }

    fn next_contact(&self) -> Timestamp {
        self.engine.clock.now() + self.engine.times.contact
    }

    /// Waits until a contact with a side is due; `false`: shutdown came first.
    async fn comes_to_contact(&self, breaker: &Breaker, next: &mut Timestamp) -> bool {
        while !self.cancel.is_cancelled() {
            let now = self.engine.clock.now();
            if let Some((_, _, until)) = breaker.open() {
                if until > now {
                    self.sleep(until.duration_since(now)).await;
                } else {
                    *next = self.next_contact();
                    return true;
                }
            } else if *next <= now {
                *next = self.next_contact();
                return true;
            } else {
                self.sleep(BREAKERS_EVERY).await;
            }
        }
        false
    }

    /// Writes every change of the conditions into the store.
    async fn keep_conditions(self: Arc<Self>) {
        let mut changes = self.engine.conditions().changes();
        while !self.cancel.is_cancelled() {
            match self.engine.keep_conditions().await {
                Ok(()) => tokio::select! {
                    () = self.cancel.cancelled() => {}
                    () = changes.next() => {}
                },
                // The store's own condition reports that.
                Err(_) => self.sleep(CONDITIONS_AGAIN).await,
            }
        }
    }

    /// Runs a pair when due: its first plan, its approved first run, its schedule, or a request.
    async fn run_when_due(self: Arc<Self>, pair: Pair) {
        let mut next = self.next_after_last_run(&pair).await;
        while !self.cancel.is_cancelled() {
            let asked = self.asked.notified();
            let now = self.engine.clock.now();
            let paused = self.readiness.borrow().paused.contains(&pair.connector);
            let state = self.engine.store.pair_state(&pair).await;
            let result = match state {
                _ if paused => Ok(()),
                Ok(PairState::New) => self.first_plan(&pair).await,
                Ok(PairState::NoUsers) => self.plan_again_if_due(&pair, &mut next, now).await,
                Ok(PairState::Approved) => self.first_run(&pair).await,
                Ok(PairState::InService) => self.run_if_due(&pair, &mut next, now).await,
                Ok(PairState::Held | PairState::Stopped) => Ok(()),
                Err(error) => Err(error.into()),
            };
            let ended = self.runs.lock().remove(&pair);
            if ended.is_some_and(|run| run.is_cancelled()) && !self.was_cancelled_by_operator(&pair).await {
                // A pause interrupted the run: it is repeated when the pause ends.
                next = Some((now, RunTrigger::Missed));
            }
            if let Err(error) = result {
                if let WorkError::Store(error) = &error {
                    // A run has logged its failure.
                    tracing::error!(%pair, "{error}");
                    // Only the store failed, so the run can be repeated once the store can be written.
                    next = Some((now, RunTrigger::Missed));
                }
                self.sleep(self.engine.times.after_failure).await;
            }
            if next.is_none() {
                next = self.next_after(&pair, self.engine.clock.now());
            }
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = asked => {}
                () = self.engine.clock.sleep_real(REFRESH_EVERY) => {}
            }
        }
    }

    /// Returns whether an operator cancelled the last run: the next one is the next that is due.
    async fn was_cancelled_by_operator(&self, pair: &Pair) -> bool {
        let runs = self.engine.store.runs(Some(pair), 1).await.unwrap_or_default();
        runs.first().is_some_and(|run| run.cancelled_by.is_some())
    }

    /// Runs once for everything that makes a run due: the schedule and all requests.
    async fn run_if_due(
        &self,
        pair: &Pair,
        next: &mut Option<(Timestamp, RunTrigger)>,
        now: Timestamp,
    ) -> Result<(), WorkError> {
        let asked = self.engine.store.requested_run(pair).await?;
        let due = next.take_if(|(due, _)| *due <= now).map(|(_, trigger)| trigger);
        if due.is_some() {
            *next = self.next_after(pair, now);
        }
        match asked.or(due) {
            Some(trigger) => self.run(pair, trigger).await,
            None => Ok(()),
        }
    }

    /// Plans a first run again if a run is due and the last plan found no user in scope.
    async fn plan_again_if_due(
        &self,
        pair: &Pair,
        next: &mut Option<(Timestamp, RunTrigger)>,
        now: Timestamp,
    ) -> Result<(), WorkError> {
        let due = next.take_if(|(due, _)| *due <= now).is_some();
        if due {
            *next = self.next_after(pair, now);
        }
        // The configuration may have changed to one that needs no plan.
        if due || self.engine.connector(&pair.connector)?.policy.first_run == FirstRun::Apply {
            return self.first_plan(pair).await;
        }
        Ok(())
    }

    fn next_after(&self, pair: &Pair, time: Timestamp) -> Option<(Timestamp, RunTrigger)> {
        let schedule = self.options.schedules.get(&pair.connector)?;
        schedule(time).map(|due| (due, RunTrigger::Schedule))
    }

    /// Returns when the next run is due; at once if one was missed or interrupted while no server ran.
    async fn next_after_last_run(&self, pair: &Pair) -> Option<(Timestamp, RunTrigger)> {
        let now = self.engine.clock.now();
        let runs = self.engine.store.runs(Some(pair), 20).await.unwrap_or_default();
        let last = runs.into_iter().find(|run| run.mode == RunMode::Apply);
        let policy = self.engine.connector(&pair.connector).map(|connector| connector.policy.fingerprint(&pair.target));
        if let Ok(policy) = policy
            && self.engine.policy_changed(pair, &policy).await.unwrap_or_default()
        {
            return Some((now, RunTrigger::PolicyChanged));
        }
        match last {
            Some(last)
                if last.cancelled_by.is_none()
                    && matches!(last.outcome, RunOutcome::Stopped | RunOutcome::Failed { .. }) =>
            {
                Some((now, RunTrigger::Missed))
            }
            Some(last) => match self.next_after(pair, last.started_at) {
                Some((due, _)) if due <= now => Some((now, RunTrigger::Missed)),
                next => next,
            },
            None => self.next_after(pair, now),
        }
    }

    /// Returns the token that ends the run that now begins: at a shutdown, or when its connector is paused.
    fn begin(&self, pair: &Pair) -> CancellationToken {
        let cancel = self.cancel.child_token();
        self.runs.lock().insert(pair.clone(), cancel.clone());
        cancel
    }

    async fn first_plan(&self, pair: &Pair) -> Result<(), WorkError> {
        let store = &self.engine.store;
        if self.engine.connector(&pair.connector)?.policy.first_run == FirstRun::Apply {
            return Ok(store.set_pair_state(pair, PairState::Approved, self.engine.clock.now()).await?);
        }
        let options = RunOptions { first: true, cancel: self.begin(pair), ..RunOptions::dry(RunTrigger::First) };
        let cancel = options.cancel.clone();
        let work = |options| async move { self.engine.plan_first_run(pair, &options).await };
        let planned = self.engine.followed(pair, options, work).await;
        if cancel.is_cancelled() {
            return Ok(());
        }
        match planned? {
            (FirstPlan::InService, _) => self.run(pair, RunTrigger::First).await,
            (FirstPlan::NoUsers, _) => Ok(()),
            (FirstPlan::Held(set), report) => {
                tracing::warn!(
                    %pair, operations = report.planned_total(),
                    "the first run is planned and waits for approval. Show it: usersync approvals show {set}   Approve it: usersync approvals approve {set}"
                );
                Ok(())
            }
        }
    }

    async fn first_run(&self, pair: &Pair) -> Result<(), WorkError> {
        if self.engine.withdraw_outdated_approval(pair).await? {
            return self.first_plan(pair).await;
        }
        let options = RunOptions { first: true, cancel: self.begin(pair), ..RunOptions::apply(RunTrigger::Approved) };
        let work = |options| async move { self.engine.do_first_run(pair, &options).await };
        self.engine.followed(pair, options, work).await?;
        Ok(())
    }

    async fn run(&self, pair: &Pair, trigger: RunTrigger) -> Result<(), WorkError> {
        let options = RunOptions { cancel: self.begin(pair), ..RunOptions::apply(trigger) };
        let work = |options| async move { self.engine.run(pair, &options).await };
        self.engine.followed(pair, options, work).await?;
        Ok(())
    }

    /// Updates the gauges of all pairs, and logs approvals.
    async fn gauge(self: Arc<Self>) {
        let mut approvals = ApprovalLog::default();
        while !self.cancel.is_cancelled() {
            let now = self.engine.clock.now();
            for pair in self.engine.pairs() {
                if let Err(error) = self.gauge_pair(&pair, now).await {
                    tracing::error!(%pair, "the store cannot be read: {error}");
                }
                let next = self.next_after(&pair, now).map(|(due, _)| due);
                self.engine.metrics.next_run(&pair.connector, next);
                if let Err(error) = self.note_overdue(&pair, now).await {
                    tracing::error!(%pair, "the store cannot be read: {error}");
                }
            }
            if let Err(error) = approvals.write(self.engine.store.as_ref()).await {
                tracing::error!("the store cannot be read: {error}");
            }
            self.sleep(GAUGED_EVERY).await;
        }
    }

    async fn gauge_pair(&self, pair: &Pair, now: Timestamp) -> Result<(), StoreError> {
        let (store, metrics) = (&self.engine.store, &self.engine.metrics);
        let counts = store.counts(pair, now).await?;
        let state = store.pair_state(pair).await?;
        let state = (!self.readiness.borrow().paused.contains(&pair.connector)).then_some(state);
        let expected = counts.last_successful_run.filter(|_| state == Some(PairState::InService));
        let due = expected.and_then(|last| self.next_after(pair, last)).map(|(due, _)| due);
        metrics.counts(pair, &counts, now);
        metrics.pair_state(pair, state);
        metrics.successful_run_due(pair, due);
        Ok(())
    }

    /// Reports tasks that are due but not worked.
    async fn note_overdue(&self, pair: &Pair, now: Timestamp) -> Result<(), StoreError> {
        let longest = self.engine.times.overdue;
        let overdue = self.engine.store.overdue(pair, now - longest).await?;
        let ready =
            self.readiness.borrow().ready.get(&pair.target).is_some_and(|ready| ready.contains(&pair.connector));
        let idle = ready && self.engine.target(&pair.target).is_ok_and(|port| port.is_idle());
        let mut stuck = overdue.claimed;
        if let Ok(port) = self.engine.target(&pair.target) {
            // The users of a wave stay claimed until all have reached the same stage; their events go first.
            stuck.retain(|subject| !port.is_in_wave(pair, subject, now - longest));
        }
        stuck.extend(overdue.unclaimed.into_iter().filter(|_| idle));
        let (about, code) = (About::Pair(pair.clone()), ConditionCode::TasksOverdue);
        match stuck.first() {
            None => self.engine.conditions().clear(&about, code),
            Some(first) => {
                let tasks = count(u64::try_from(stuck.len()).unwrap_or(u64::MAX), "task", "tasks");
                let text = format!(
                    "{tasks} overdue by more than {longest:#}, and no worker processes them; the first is that of \
                     {first}. This is an internal error of usersync: restart it, and report it with the log"
                );
                self.engine.conditions().raise(&about, code, &text, now, None);
            }
        }
        Ok(())
    }

    /// Removes records older than the retention time, in small steps.
    async fn prune(self: Arc<Self>) {
        while !self.cancel.is_cancelled() {
            let before = self.engine.clock.now() - self.options.retention;
            while let Ok(removed) = self.engine.store.prune(before, PRUNE_STEP).await {
                if removed == 0 || self.cancel.is_cancelled() {
                    break;
                }
                self.engine.clock.sleep_real(Duration::from_millis(50)).await;
            }
            self.sleep(PRUNE_EVERY).await;
        }
    }
}
