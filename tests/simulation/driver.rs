//! The driver: owns every actor as a future, and decides alone, by its seed, which one continues and what happens next.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use usersync::{
    engine::{Connector, Engine, Jitter, Report, RunOptions, Tally, TargetPort, WorkError},
    model::{AdoptRule, Approval, ErrorClass, FirstRun, Limited, Operation, Pair, Policy, RunTrigger, Safety},
    store::{
        ChangeFilter, Decision, EngineStore, OperatorStore, PairState, StoreReads, TaskFilter, sqlite::SqliteStore,
    },
};

use crate::{
    checks::{self, Known, STRANGER},
    gates::{Actor, Opens, Waiting},
    scenario::{Budget, Change, Scenario},
    source::SimulatedSource,
    store::{Sabotage, WatchedStore},
    target::SimulatedTarget,
    world::{MARGIN, Pending, Shared, StoreFault, World},
};

/// Number of the first realm's run among the actors; the second realm's is the next.
const RUN: Actor = 10;
/// Step limit, more than any simulation needs.
const MOST_STEPS: usize = 5_000;
/// Latest commit of a change that is announced early, before the recheck.
const COMMITS_WITHIN: SignedDuration = SignedDuration::from_secs(4);

/// Name of the gate at which every actor starts.
const BEGINS: &str = "begins";

/// How an actor ended.
enum Ended {
    /// A worker that did its work.
    Worked,
    /// A worker that found nothing due at that time.
    Idle(Timestamp),
    /// A run.
    Ran(Option<Box<Report>>),
}

type Acting = Pin<Box<dyn Future<Output = Ended>>>;

/// Possible next steps.
#[derive(Clone, Debug)]
enum Next {
    Pass { gate: Waiting, fails: bool },
    StartWorker(Actor),
    StartRun(usize),
    Change,
    Commit,
    Deliver(usize),
    LoseEvent(usize),
    DoubleEvent(usize),
    Arrive(u64),
    LoseRequest(u64),
    GiveUpWaiting(u64),
    Crash,
    Drift,
    StoreFails,
    Hide,
    ChangePolicy,
    Approve,
    Advance,
}

/// Probability of each step; drawn for each seed, so that some seeds switch often and others hardly ever.
struct Weights {
    same_actor: u32,
    start: u32,
    change: u32,
    deliver: u32,
    arrive: u32,
    fault: u32,
    advance: u32,
    run: u32,
    /// Whether runs start only after the last change, so that both sides must be in sync after them.
    runs_come_last: bool,
}

impl Weights {
    fn draw(rng: &mut SmallRng) -> Self {
        let mut one_of = |choices: &[u32]| choices[rng.random_range(0..choices.len())];
        Self {
            same_actor: one_of(&[1, 1, 4, 20]),
            start: one_of(&[2, 8, 20]),
            change: one_of(&[1, 3, 10]),
            deliver: one_of(&[2, 8, 20]),
            arrive: one_of(&[2, 8, 20]),
            fault: one_of(&[1, 1, 3, 10]),
            advance: one_of(&[0, 1, 1, 4]),
            run: one_of(&[2, 10, 40]),
            runs_come_last: one_of(&[0, 1]) == 1,
        }
    }
}

/// One simulation.
pub struct Simulation<'s> {
    scenario: &'s Scenario,
    sabotage: Sabotage,
    seed: u64,
    rng: SmallRng,
    weights: Weights,
    pub shared: Arc<Shared>,
    store: Arc<SqliteStore>,
    pairs: Vec<Pair>,
    engine: Arc<Engine>,
    actors: BTreeMap<Actor, Acting>,
    last_actor: Actor,
    /// Workers that found nothing to do since the last step.
    idle: BTreeSet<Actor>,
    left: Budget,
    born: BTreeSet<String>,
    /// Whether a change happened without an event.
    lost: bool,
    /// Realms with a successful run that started after the last change.
    run_since: BTreeSet<usize>,
    /// Realms with a current run that started after the last change.
    running_since: BTreeSet<usize>,
    steps: usize,
}

/// Adds the progress of a simulation to the message of a panic.
struct Visibility<'t>(&'t Scenario, u64, Arc<Shared>);

impl Drop for Visibility<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("scenario {}, seed {}:\n{}", self.0.name, self.1, self.2.world().trace.join("\n"));
        }
    }
}

impl<'s> Simulation<'s> {
    /// Creates the `number`-th simulation on this store. Other simulations on it have other names, and so no data in
    /// common.
    pub fn new(scenario: &'s Scenario, sabotage: Sabotage, store: Arc<SqliteStore>, number: u64, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let weights = Weights::draw(&mut rng);
        let rules = scenario.draw_rules(&mut rng);
        let shared = Arc::new(Shared::new(World::new(scenario.begin(), rules, scenario.by_name)));
        let pairs: Vec<Pair> = (0..scenario.realms())
            .map(|realm| Pair::new(format!("connector-{number}-{realm}"), format!("target-{number}")))
            .collect();
        let engine = engine(scenario, sabotage, &shared, &store, &pairs, seed);
        let people = scenario.people.iter().map(|(id, ..)| (*id).to_owned());
        let groups = scenario.groups.iter().map(|(id, _)| (*id).to_owned());
        Self {
            scenario,
            sabotage,
            seed,
            rng,
            weights,
            shared,
            store,
            pairs,
            engine,
            actors: BTreeMap::new(),
            last_actor: 0,
            idle: BTreeSet::new(),
            left: scenario.budget,
            born: people.chain(groups).collect(),
            lost: false,
            run_since: BTreeSet::new(),
            running_since: BTreeSet::new(),
            steps: 0,
        }
    }

    /// Runs the simulation; returns what is wrong at the end.
    pub async fn run(&mut self) -> Vec<String> {
        let _told = Visibility(self.scenario, self.seed, Arc::clone(&self.shared));
        self.begin().await;
        self.interleave().await;
        let mut wrong = self.check(self.scenario.safety.is_none()).await;
        // If nothing was lost, both sides are in sync already: a check of a few simulations suffices.
        let worth_while = self.lost || self.seed.is_multiple_of(4);
        if wrong.is_empty() && self.scenario.safety.is_none() && worth_while {
            wrong = self.check_runs().await;
        }
        wrong
    }

    // --- start and end, one step after the other ---

    /// Links all users in a first run, then adds an unmanaged account.
    async fn begin(&mut self) {
        self.store.ensure_pairs(&self.pairs, self.now()).await.expect("the store answers");
        for realm in 0..self.pairs.len() {
            self.run_alone(realm, RunOptions { first: true, ..RunOptions::apply(RunTrigger::Approved) }).await;
            let set = self.store.set_pair_state(&self.pairs[realm], PairState::InService, self.now());
            set.await.expect("the store answers");
        }
        let mut world = self.shared.world();
        let stranger = world.make_account(STRANGER, "a stranger").id;
        if let Some((_, members)) = world.groups.values_mut().next() {
            members.insert(stranger);
        } else {
            world.groups.insert("old".into(), ("old".into(), BTreeSet::from([stranger])));
        }
        world.begin_to_watch();
        let shown = world.show();
        world.trace.clear();
        world.say(format!("begin: {shown}"));
    }

    /// Completes a run while nothing else happens.
    async fn run_alone(&mut self, realm: usize, options: RunOptions) -> Option<Box<Report>> {
        self.start_run(realm, options);
        loop {
            for gate in self.shared.gates.waiting() {
                match gate.opens {
                    Opens::Chosen | Opens::Reading => {}
                    Opens::At(time) => {
                        let mut world = self.shared.world();
                        world.now = world.now.max(time);
                    }
                    Opens::Answered(request) => self.shared.world().arrive(request),
                }
                if let Some(Ended::Ran(report)) = self.go_on(&gate).await {
                    return report;
                }
            }
        }
    }

    /// Does all due work while nothing else happens.
    async fn work_alone(&mut self) {
        while let Some(due) = self.next_due().await {
            {
                let mut world = self.shared.world();
                world.now = world.now.max(due);
            }
            self.start_worker(0);
            while !self.actors.is_empty() {
                let Some(gate) = self.shared.gates.waiting().into_iter().next() else { return };
                match gate.opens {
                    Opens::Answered(request) => self.shared.world().arrive(request),
                    Opens::At(time) => self.shared.world().now = time,
                    Opens::Chosen | Opens::Reading => {}
                }
                self.go_on(&gate).await;
            }
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return;
            }
        }
    }

    /// Checks that both sides are in sync after a full reconcile, and that another one and a plan find nothing to do.
    async fn check_runs(&mut self) -> Vec<String> {
        self.shared.world().say("--- a full reconcile while nothing else happens");
        for realm in 0..self.pairs.len() {
            self.run_alone(realm, RunOptions::apply(RunTrigger::Schedule)).await;
            self.work_alone().await;
            while self.waits_for_approval().await {
                self.approve().await;
                self.work_alone().await;
            }
        }
        self.lost = false;
        let mut wrong = self.check(true).await;
        let sent = self.shared.world().sent;
        for realm in 0..self.pairs.len() {
            for options in [RunOptions::dry(RunTrigger::Operator), RunOptions::apply(RunTrigger::Schedule)] {
                self.shared.world().say(format!("--- once more: {:?}", options.mode));
                let mode = options.mode;
                match self.run_alone(realm, options).await {
                    None => wrong.push(format!("a run that should find nothing to do failed ({mode:?})")),
                    Some(report) if report.planned_total() > 0 || report.raised > 0 || report.has_problems() => {
                        wrong.push(format!("a run that should find nothing to do ({mode:?}): {report:?}"));
                    }
                    Some(_) => {}
                }
            }
        }
        if self.shared.world().sent != sent {
            wrong.push("a run that should find nothing to do wrote something".into());
        }
        wrong
    }

    // --- the interleaving ---

    /// Takes steps until all is quiet and no step is left.
    async fn interleave(&mut self) {
        loop {
            self.steps += 1;
            let next = self.choose().await;
            let Some(next) = next else { return };
            if self.steps > MOST_STEPS {
                self.shared.world().violated("L", format!("not quiet after {MOST_STEPS} steps; next: {next:?}"));
                return;
            }
            self.happen(next).await;
        }
    }

    async fn choose(&mut self) -> Option<Next> {
        let mut choices = self.must_happen();
        if self.waits_for_approval().await {
            choices.push((self.weights.deliver, Next::Approve));
        }
        let busy = !choices.is_empty();
        if !busy && self.may_advance().await {
            choices.push((8, Next::Advance));
        } else if busy {
            choices.push((self.weights.advance, Next::Advance));
        }
        choices.extend(self.may_happen(!choices.is_empty()));
        let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            self.stuck().await;
            return None;
        }
        let mut left = self.rng.random_range(0..total);
        for (weight, next) in choices {
            if left < weight {
                return Some(next);
            }
            left -= weight;
        }
        None
    }

    /// Returns steps that make progress, one of which must happen eventually.
    fn must_happen(&self) -> Vec<(u32, Next)> {
        let mut choices = Vec::new();
        let world = self.shared.world();
        for gate in self.shared.gates.waiting() {
            let open = match gate.opens {
                Opens::Chosen | Opens::Reading => true,
                Opens::At(time) => time <= world.now,
                Opens::Answered(request) => world.answers.contains_key(&request),
            };
            if open {
                let weight = if gate.actor == self.last_actor { 8 * self.weights.same_actor } else { 8 };
                choices.push((weight, Next::Pass { gate, fails: false }));
            }
        }
        for worker in (0..self.scenario.workers).filter(|worker| !self.actors.contains_key(worker)) {
            if !self.idle.contains(&worker) {
                choices.push((self.weights.start, Next::StartWorker(worker)));
            }
        }
        choices.extend((0..world.events.len()).map(|event| (self.weights.deliver, Next::Deliver(event))));
        choices.extend(world.requests.keys().map(|request| (self.weights.arrive, Next::Arrive(*request))));
        if world.pending.is_some() {
            choices.push((self.weights.change + 2, Next::Commit));
        }
        choices
    }

    /// Returns optional steps: changes, runs, and faults.
    fn may_happen(&self, busy: bool) -> Vec<(u32, Next)> {
        let mut choices = Vec::new();
        let world = self.shared.world();
        let Weights { change, fault, run, runs_come_last, .. } = self.weights;
        if self.left.change > 0 && world.pending.is_none() {
            choices.push((change, Next::Change));
        }
        if self.left.run > 0 && (self.left.change == 0 || !runs_come_last) {
            let free = (0..self.pairs.len()).filter(|realm| !self.actors.contains_key(&(RUN + realm)));
            choices.extend(free.map(|realm| (run, Next::StartRun(realm))));
        }
        if self.left.drift > 0 {
            choices.push((2, Next::Drift));
        }
        if self.left.hide > 0 {
            choices.push((2, Next::Hide));
        }
        if self.left.policy > 0 {
            choices.push((change, Next::ChangePolicy));
        }
        if !busy {
            return choices;
        }
        for event in 0..world.events.len() {
            if self.left.lose > 0 {
                choices.push((fault, Next::LoseEvent(event)));
            }
            if self.left.double > 0 {
                choices.push((fault, Next::DoubleEvent(event)));
            }
        }
        for (number, request) in &world.requests {
            if request.sender.is_none() {
                choices.push((fault, Next::LoseRequest(*number)));
            } else if self.left.timeout > 0 {
                choices.push((fault, Next::GiveUpWaiting(*number)));
            }
        }
        if self.left.timeout > 0 {
            choices.extend(world.answers.keys().map(|number| (fault, Next::GiveUpWaiting(*number))));
        }
        if self.left.fault > 0 {
            let readings = self.shared.gates.waiting().into_iter().filter(|gate| gate.opens == Opens::Reading);
            choices.extend(readings.map(|gate| (fault, Next::Pass { gate, fails: true })));
        }
        if self.left.store > 0 && world.store_out.is_none() && !self.actors.is_empty() {
            choices.push((fault, Next::StoreFails));
        }
        if self.left.crash > 0 && !self.actors.is_empty() {
            choices.push((fault, Next::Crash));
        }
        choices
    }

    async fn happen(&mut self, next: Next) {
        let mut stirs = true;
        match next {
            Next::Pass { gate, fails } => {
                self.left.fault -= u32::from(fails);
                stirs = gate.what != BEGINS;
                self.shared.world().fail_reading = fails;
                match self.go_on(&gate).await {
                    Some(Ended::Idle(time)) => {
                        stirs = false;
                        if time == self.now() {
                            self.idle.insert(gate.actor);
                        }
                    }
                    Some(Ended::Ran(Some(report))) => {
                        let realm = gate.actor - RUN;
                        if self.running_since.remove(&realm) && report.incomplete.is_none() {
                            self.run_since.insert(realm);
                        }
                    }
                    _ => {}
                }
            }
            Next::StartWorker(worker) => {
                stirs = false;
                self.start_worker(worker);
            }
            Next::StartRun(realm) => {
                self.left.run -= 1;
                self.shared.world().say(format!("run {realm} begins"));
                // A later run makes up for accounts that are not found now.
                let finds_all = {
                    let world = self.shared.world();
                    world.hidden.keys().all(|account| world.finds(account))
                };
                if finds_all {
                    self.running_since.insert(realm);
                }
                self.start_run(realm, RunOptions::apply(RunTrigger::Schedule));
            }
            Next::Change => self.change(),
            Next::Commit => self.shared.world().commit(),
            Next::Deliver(event) => self.deliver(event).await,
            Next::LoseEvent(event) => {
                self.left.lose -= 1;
                self.lost = true;
                let mut world = self.shared.world();
                let lost = world.events.remove(event);
                world.say(format!("event of {} is lost", lost.event.about));
            }
            Next::DoubleEvent(event) => {
                self.left.double -= 1;
                self.shared.world().double_event(event);
            }
            Next::Arrive(request) => self.arrive(request).await,
            Next::LoseRequest(request) => self.shared.world().lose(request),
            Next::GiveUpWaiting(request) => {
                self.left.timeout -= 1;
                self.shared.world().give_up_waiting(request);
            }
            Next::Crash => self.crash().await,
            Next::Drift => self.drift(),
            Next::StoreFails => self.store_fails(),
            Next::Hide => self.hide(),
            Next::ChangePolicy => self.change_policy().await,
            Next::Approve => self.approve().await,
            Next::Advance => self.advance().await,
        }
        if stirs {
            self.idle.clear();
        }
    }

    // --- steps ---

    fn now(&self) -> Timestamp {
        self.shared.world().now
    }

    fn start_worker(&mut self, worker: Actor) {
        let engine = Arc::clone(&self.engine);
        let shared = Arc::clone(&self.shared);
        let target = self.pairs[0].target.clone();
        let connectors: Vec<_> = self.pairs.iter().map(|pair| pair.connector.clone()).collect();
        let acting = async move {
            let now = shared.world().now;
            let claim = match engine.store().claim(&target, &connectors, now).await {
                Ok(Some(claim)) => claim,
                Ok(None) => return Ended::Idle(now),
                Err(_) => return Ended::Worked,
            };
            let subject = claim.subject.clone();
            let (worked, error) = engine.work_to_end(claim).await;
            assert_accounted(&subject.to_string(), worked.ledger.tally(), error.as_ref());
            if let Some(error) = error {
                shared.world().say(format!("    {error}"));
            }
            Ended::Worked
        };
        self.act(worker, Box::pin(acting));
    }

    fn start_run(&mut self, realm: usize, options: RunOptions) {
        let engine = Arc::clone(&self.engine);
        let shared = Arc::clone(&self.shared);
        let pair = self.pairs[realm].clone();
        let acting = async move {
            match engine.run(&pair, &options).await {
                Ok((_, report)) => {
                    assert_accounted("a full reconcile", report.tally, None);
                    let lost = report.errors.iter().find(|error| error.contains("but neither done"));
                    assert_eq!(lost, None, "an operation without a fate");
                    Ended::Ran(Some(Box::new(report)))
                }
                Err(error) => {
                    shared.world().say(format!("    the run fails: {error}"));
                    Ended::Ran(None)
                }
            }
        };
        self.act(RUN + realm, Box::pin(acting));
    }

    /// Starts an actor at a gate of the driver.
    fn act(&mut self, actor: Actor, acting: Acting) {
        let shared = Arc::clone(&self.shared);
        let acting = async move {
            shared.gates.pass(BEGINS, Opens::Chosen).await;
            acting.await
        };
        let mut acting: Acting = Box::pin(acting);
        self.shared.gates.turn_to(actor);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(acting.as_mut().poll(&mut context).is_pending(), "it stands before its first gate");
        self.actors.insert(actor, acting);
    }

    /// Opens a gate and polls its actor until the next gate or its end.
    async fn go_on(&mut self, gate: &Waiting) -> Option<Ended> {
        let actor = gate.actor;
        let gates = &self.shared.gates;
        if gate.what != BEGINS {
            let who = if actor < RUN { format!("W{}", actor + 1) } else { format!("run {}", actor - RUN) };
            self.shared.world().say(format!("{who} {}", gate.what));
        }
        self.last_actor = actor;
        gates.turn_to(actor);
        gates.open(gate.gate);
        let acting = self.actors.get_mut(&actor).expect("who waits is there");
        let ended = poll_fn(|context| match acting.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if gates.stands(actor) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        if ended.is_some() {
            self.actors.remove(&actor);
            // Work that an actor abandoned is raised after one write and before the next, so the driver keeps the
            // order.
            for _ in 0..2 {
                self.store.check().await.expect("the store answers");
            }
        }
        ended
    }

    fn change(&mut self) {
        let changes = self.scenario.changes(&self.shared.world().realms, &self.born);
        self.left.change -= 1;
        if changes.is_empty() {
            return;
        }
        let Change { what, after, hints } = changes[self.rng.random_range(0..changes.len())].clone();
        let early = self.left.early > 0 && self.rng.random_bool(0.5);
        self.left.early -= u32::from(early);
        for realm in &after {
            self.born.extend(realm.users.keys().map(ToString::to_string));
            self.born.extend(realm.groups.keys().map(ToString::to_string));
        }
        self.run_since.clear();
        self.running_since.clear();
        self.lost |= hints.is_empty();
        let mut world = self.shared.world();
        if early {
            world.say(format!("source: it will be that {what}, an event tells it already"));
            world.pending = Some(Pending { what, realms: after, by: world.now + COMMITS_WITHIN });
        } else {
            world.become_realms(after);
            let shown = world.show();
            world.say(format!("source: {what}: {shown}"));
        }
        for (realm, subject) in hints {
            world.send_event(realm, subject, early);
        }
    }

    async fn deliver(&mut self, event: usize) {
        let sent = self.shared.world().events.remove(event);
        let now = self.now();
        self.shared.world().say(format!("event of {} is stored", sent.event.about));
        let pair = &self.pairs[sent.realm];
        let targets = [pair.target.clone()];
        // Through the engine's own store, which may be a sabotaged one.
        let stored = self.engine.store().append_events(&pair.connector, &targets, vec![sent.event.clone()], now).await;
        if stored.is_err() {
            // It was not acknowledged, so its sender retries.
            self.shared.world().events.push(sent);
        }
    }

    async fn arrive(&mut self, request: u64) {
        self.expect_nobody_harmed(request).await;
        self.shared.world().arrive(request);
    }

    /// Checks that no user that was enabled throughout is deactivated, not even for a moment.
    async fn expect_nobody_harmed(&self, request: u64) {
        let hit = {
            let world = self.shared.world();
            let operation = world.requests.get(&request).map(|request| &request.operation);
            match operation {
                Some(operation @ Operation::DeactivateUser { account, .. }) => world.addressed(account, operation).ok(),
                _ => None,
            }
        };
        let Some(hit) = hit else { return };
        for pair in &self.pairs {
            let links = self.store.links(pair).await.expect("the store answers");
            let Some(link) = links.iter().find(|link| link.account == hit) else { continue };
            let mut world = self.shared.world();
            if world.never_off.contains(&link.user) {
                world.violated("S1t", format!("{} was enabled throughout and is deactivated", link.user));
            }
        }
    }

    /// Restarts usersync with another policy, which needs a full reconcile.
    async fn change_policy(&mut self) {
        self.left.policy -= 1;
        self.left.run += 1;
        self.lost = true;
        self.run_since.clear();
        let rules = self.scenario.draw_rules(&mut self.rng);
        {
            let mut world = self.shared.world();
            world.say(format!("the policy changes: {}", rules.policy()));
            world.become_rules(rules);
        }
        self.restart().await;
    }

    /// Returns the open approvals.
    async fn open_approvals(&self) -> Vec<Approval> {
        let mut open = self.store.approvals(true).await.expect("the store answers");
        open.retain(|approval| self.pairs.contains(&approval.pair));
        open
    }

    async fn waits_for_approval(&self) -> bool {
        self.scenario.draws_policy && !self.open_approvals().await.is_empty()
    }

    /// Approves all that waits for an operator.
    async fn approve(&mut self) {
        for approval in self.open_approvals().await {
            self.shared.world().say(format!("an operator approves: {:?}", approval.kind));
            let (by, note) = ("operator".to_owned(), None);
            let decision = Decision { set: approval.id, items: Vec::new(), approve: true, by, note };
            self.store.decide(&decision, self.now()).await.expect("the store answers");
        }
    }

    /// Crashes and restarts the process: its memory is lost, requests in flight are not.
    async fn crash(&mut self) {
        self.left.crash -= 1;
        self.shared.world().say("crash");
        self.restart().await;
    }

    async fn restart(&mut self) {
        self.actors.clear();
        self.running_since.clear();
        self.shared.world().claims.clear();
        self.store.crash(self.now()).await.expect("the store answers");
        self.engine = engine(self.scenario, self.sabotage, &self.shared, &self.store, &self.pairs, self.seed);
    }

    /// Hides an account from the target for a while: as long as a stale node or a resync takes, or for hours.
    fn hide(&mut self) {
        self.left.hide -= 1;
        self.lost = true;
        self.run_since.clear();
        self.running_since.clear();
        let mut world = self.shared.world();
        let accounts: Vec<_> = world.accounts.values().filter(|account| account.name != STRANGER).cloned().collect();
        let account = &accounts[self.rng.random_range(0..accounts.len())];
        let minutes = [1, 5, 20, 120][self.rng.random_range(0..4)];
        let until = world.now + SignedDuration::from_mins(minutes);
        world.hidden.insert(account.id.clone(), until);
        world.say(format!("target: {} is not found for {minutes} minutes", account.id));
    }

    /// Makes this many calls of the store fail.
    fn store_fails(&mut self) {
        self.left.store -= 1;
        let fault = if self.rng.random_bool(0.7) { StoreFault::Refused } else { StoreFault::Unconfirmed };
        let calls = self.rng.random_range(1..=8);
        let mut world = self.shared.world();
        world.say(format!("the next {calls} calls of the store fail: {fault:?}"));
        world.store_out = Some((fault, calls));
    }

    /// Changes something in the target without usersync.
    fn drift(&mut self) {
        self.left.drift -= 1;
        self.lost = true;
        self.run_since.clear();
        self.running_since.clear();
        let mut world = self.shared.world();
        let accounts: Vec<_> = world.accounts.values().filter(|account| account.name != STRANGER).cloned().collect();
        let groups: Vec<_> = world.groups.keys().cloned().collect();
        let account = &accounts[self.rng.random_range(0..accounts.len())];
        // An effect that this change undoes cannot be seen any more when the intent is recovered.
        for intent in world.intents.values_mut().filter(|intent| intent.outcome.is_none()) {
            intent.took_effect &= intent.operation.account() != Some(&account.id);
        }
        if self.rng.random_bool(0.5) {
            let group = &groups[self.rng.random_range(0..groups.len())];
            if let Some((_, members)) = world.groups.get_mut(group)
                && !members.remove(&account.id)
            {
                members.insert(account.id.clone());
            }
        } else if let Some(account) = world.accounts.get_mut(&account.id) {
            account.display_name = "Somebody else".into();
        }
        let shown = world.show();
        world.say(format!("drift in the target: {shown}"));
    }

    // --- time ---

    async fn next_due(&self) -> Option<Timestamp> {
        let connectors: Vec<_> = self.pairs.iter().map(|pair| pair.connector.clone()).collect();
        self.store.next_due(&self.pairs[0].target, &connectors).await.expect("the store answers")
    }

    /// Returns the times of everything that only time triggers.
    async fn times(&self) -> Vec<Timestamp> {
        let due = self.next_due().await;
        let world = self.shared.world();
        let mut times: Vec<Timestamp> = due.into_iter().collect();
        times.extend(self.shared.gates.waiting().into_iter().filter_map(|gate| match gate.opens {
            Opens::At(time) => Some(time),
            _ => None,
        }));
        for request in world.requests.values() {
            times.push(if request.sender.is_some() { past(request.deadline) } else { request.deadline + MARGIN });
        }
        times.extend(world.pending.as_ref().map(|pending| pending.by));
        times.extend(world.hidden.values());
        times.retain(|time| *time > world.now);
        times.sort();
        times
    }

    async fn may_advance(&self) -> bool {
        !self.times().await.is_empty()
    }

    /// Advances the clock, mostly to the next of these times.
    async fn advance(&mut self) {
        let times = self.times().await;
        let Some(first) = times.first() else { return };
        let time = if self.rng.random_bool(0.7) { *first } else { times[self.rng.random_range(0..times.len())] };
        let requests: Vec<u64> = self.shared.world().requests.keys().copied().collect();
        for number in requests {
            let Some(request) = self.shared.world().requests.get(&number).cloned() else { continue };
            if request.sender.is_some() && request.deadline < time {
                if self.left.timeout > 0 && self.rng.random_bool(0.7) {
                    self.left.timeout -= 1;
                    self.shared.world().give_up_waiting(number);
                } else {
                    self.arrive(number).await;
                }
            }
            let orphan = self.shared.world().requests.get(&number).is_some_and(|request| request.sender.is_none());
            if orphan && request.deadline + MARGIN <= time {
                if self.rng.random_bool(0.7) {
                    self.arrive(number).await;
                } else {
                    self.shared.world().lose(number);
                }
            }
        }
        let mut world = self.shared.world();
        if world.pending.as_ref().is_some_and(|pending| pending.by <= time) {
            world.commit();
        }
        world.now = time;
        let since = time.duration_since(crate::world::BEGIN);
        world.say(format!("time: {since:#}"));
    }

    /// Checks, when no step is possible, that this is because all work is done.
    async fn stuck(&mut self) {
        let due = self.next_due().await;
        let mut world = self.shared.world();
        if !self.actors.is_empty() || due.is_some() {
            let text = format!("nothing can happen, but {} work, due: {due:?}", self.actors.len());
            world.violated("L", text);
        }
    }

    // --- properties ---

    async fn known(&self) -> Vec<Known> {
        let mut known = Vec::new();
        for (realm, pair) in self.pairs.iter().enumerate() {
            let links = self.store.links(pair).await.expect("the store answers");
            let mappings = self.store.group_mappings(pair).await.expect("the store answers");
            known.push(Known { realm, links: links.iter().collect(), mappings });
        }
        known
    }

    /// Returns what is wrong when all is quiet.
    async fn check(&self, in_step: bool) -> Vec<String> {
        let known = self.known().await;
        let mut wrong = self.shared.world().violations.clone();
        if wrong.iter().any(|violation| violation.starts_with("L:")) {
            return wrong;
        }
        wrong.extend(checks::always(&self.shared.world(), &known, self.lost));
        let mut recorded = 0;
        for pair in &self.pairs {
            let filter = TaskFilter { connector: Some(pair.connector.clone()), limit: 100, ..TaskFilter::default() };
            for task in self.store.tasks(&filter).await.expect("the store answers") {
                let property = match &task.error {
                    // The name of a hidden account is taken: the next full reconcile links it again.
                    Some((ErrorClass::Permanent, _)) if self.lost && !self.shared.world().hidden.is_empty() => continue,
                    Some((ErrorClass::Conflict, _)) => "K",
                    _ => "L",
                };
                wrong.push(format!("{property}: the task of {} is left: {:?}", task.subject, task.error));
            }
            let connector = Some(pair.connector.clone());
            let filter = ChangeFilter { connector, limit: 10_000, ..ChangeFilter::default() };
            let changes = self.store.changes(&filter).await.expect("the store answers");
            // A dropped link is recorded, but nothing is sent.
            recorded += changes.iter().filter(|change| change.limited != Some(Limited::DropLink)).count();
        }
        let world = self.shared.world();
        if recorded != world.intents.len() {
            wrong.push(format!("seen: {} intents left {recorded} changes", world.intents.len()));
        }
        for known in known.iter().filter(|known| in_step && (!self.lost || self.run_since.contains(&known.realm))) {
            let property = if self.lost { "C" } else { "C2" };
            wrong.extend(known.not_as_desired(&world).into_iter().map(|text| format!("{property}: {text}")));
        }
        if let Some(limit) = self.scenario.safety {
            let hour = SignedDuration::from_hours(1);
            let at = &world.deactivated_at;
            let most = at
                .iter()
                .map(|end| at.iter().filter(|time| **time <= *end && end.duration_since(**time) < hour).count());
            if most.max().unwrap_or(0) > limit as usize {
                wrong.push(format!("the safety limit let more than {limit} through in an hour: {at:?}"));
            }
        }
        wrong
    }
}

fn past(deadline: Timestamp) -> Timestamp {
    deadline + SignedDuration::from_millis(1)
}

fn engine(
    scenario: &Scenario,
    sabotage: Sabotage,
    shared: &Arc<Shared>,
    store: &Arc<SqliteStore>,
    pairs: &[Pair],
    seed: u64,
) -> Arc<Engine> {
    let safety = Safety { count: scenario.safety.unwrap_or(1_000_000), percent: 0.0, remove_members_percent: 0.0 };
    let policy = Policy { first_run: FirstRun::Apply, adopt: AdoptRule::Always, safety, ..Policy::default() };
    let policy = shared.world().rules.apply_to(&policy);
    let connectors = pairs.iter().enumerate().map(|(realm, pair)| {
        let source = Arc::new(SimulatedSource { shared: Arc::clone(shared), realm });
        let mut connector = Connector::new(pair.connector.clone(), source, policy.clone(), vec![pair.target.clone()]);
        connector.parallel = 2;
        connector
    });
    let target = pairs[0].target.clone();
    let identity = format!("https://{target}.example");
    let mut port = TargetPort::new(
        target,
        Arc::new(SimulatedTarget {
            shared: Arc::clone(shared),
            identity,
            groups_at_once: scenario.groups_at_once,
            max_members_per_call: scenario.max_members_per_call,
            renames_groups: scenario.renames_groups,
        }),
    );
    port.parallel = 2;
    port.wave = 2;
    let watched = WatchedStore::new(Arc::clone(store), Arc::clone(shared), sabotage, scenario.safety.is_some());
    let clock = Arc::clone(shared);
    Arc::new(Engine::new(Arc::new(watched), clock, Jitter::seeded(seed), connectors.collect(), vec![port]))
}

/// Checks that each planned operation has an outcome, and that none is lost without an error that names it.
fn assert_accounted(whose: &str, tally: Tally, error: Option<&WorkError>) {
    assert!(tally.adds_up(), "{whose}: {tally:?}");
    assert!(!matches!(error, Some(WorkError::Unaccounted { .. })), "{error:?}");
}
