//! The driver: owns every actor as a future, and decides alone, by its seed, which one continues and what happens next.

mod choice;
mod environment;
mod time;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use jiff::{SignedDuration, Timestamp};
use rand::{SeedableRng, rngs::SmallRng};
use usersync::{
    engine::{Connector, Engine, Jitter, Report, RunOptions, Tally, TargetPort, WorkError},
    model::{AdoptRule, EmptyGroups, ErrorClass, FirstRun, Limited, Pair, Policy, RunTrigger, Safety},
    store::{ChangeFilter, EngineStore, OperatorStore, PairState, StoreReads, TaskFilter, sqlite::SqliteStore},
};

use self::choice::{Next, Weights};
use crate::{
    checks::{self, Known, STRANGER},
    gates::{Actor, Opens, Waiting},
    scenario::{Budget, Scenario},
    source::SimulatedSource,
    store::{Sabotage, WatchedStore},
    target::SimulatedTarget,
    world::{Shared, World},
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
        if self.shared.world().run_requested {
            self.lost = true;
            self.run_since.clear();
        }
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
        if self.scenario.draws_policy {
            let policy = world.rules.policy(&self.pairs[0].target);
            world.say(format!("the policy: {policy}"));
        }
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
        // A group whose last member a run removes is deleted by the next one.
        let runs = if self.shared.world().rules.empty == EmptyGroups::Delete { 2 } else { 1 };
        for realm in (0..self.pairs.len()).flat_map(|realm| std::iter::repeat_n(realm, runs)) {
            self.shared.world().say("--- a full reconcile while nothing else happens");
            self.run_alone(realm, RunOptions::apply(RunTrigger::Schedule)).await;
            self.work_alone().await;
            while self.waits_for_approval().await {
                self.approve().await;
                self.work_alone().await;
            }
        }
        self.lost = false;
        let mut wrong = self.check(true).await;
        let known = self.known().await;
        wrong.extend(checks::after_runs(&self.shared.world(), &known));
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
                self.shared.world().run_requested = false;
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

    // --- properties ---

    async fn known(&self) -> Vec<Known> {
        let mut known = Vec::new();
        for (realm, pair) in self.pairs.iter().enumerate() {
            let links = self.store.links(pair).await.expect("the store answers");
            let mappings = self.store.group_mappings(pair).await.expect("the store answers");
            let managed = self.store.managed_groups(&pair.target).await.expect("the store answers");
            known.push(Known { realm, links: links.iter().collect(), mappings, managed });
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
    let policy = shared.world().rules.apply_to(&policy, &pairs[0].target);
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
