//! Group additions that a full reconcile sends for many users at once: the effect of a lost call, and of an event that
//! arrives meanwhile.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use usersync::demo::clock::DrivenClock;
use usersync::{
    demo::{stack::StackOptions, targets::OtherTarget},
    engine::{EngineTimes, Report, RunOptions},
    model::{ChangeOutcome, Condition, ConditionCode, ErrorClass, Pair, RunTrigger},
    store::{StoreReads, TaskFilter},
    targets::{
        Credentials, Target,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    Fault, ScimOptions, SimulatedScim,
    fault::Gate,
    keycloak::{NewUser, UserChange},
};

use super::support::{STAFF, World, on, options, servers, until};

struct Scene {
    w: World,
    server: Arc<SimulatedScim>,
    clock: DrivenClock,
}

fn pair() -> Pair {
    Pair::new("acme", "wiki")
}

fn crew(users: usize) -> impl Iterator<Item = NewUser> {
    (0..users).map(|number| NewUser::named(format!("crew{number:03}")).in_groups(&["/crew"]))
}

impl Scene {
    /// Starts a realm with its staff in a SCIM server.
    async fn start(times: EngineTimes) -> Self {
        let server = Arc::new(SimulatedScim::start(ScimOptions::default()).await.expect("a free port"));
        let token = server.token().to_owned();
        let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
        let settings = ScimSettings::new(server.url().parse().expect("an address"), credentials);
        let target: Arc<dyn Target> = Arc::new(ScimTarget::new(settings).expect("good settings"));
        let clock = DrivenClock::default();
        let other_targets = vec![OtherTarget { name: "wiki".into(), target }];
        let options = StackOptions { other_targets, times, clock: Arc::new(clock.clone()), ..options() };
        let w = on(servers(options).await).await;
        w.calm().await;
        assert_eq!(server.snapshot().accounts.len(), STAFF);
        Self { w, server, clock }
    }

    /// Starts a full reconcile beside the test.
    fn run(&self) -> tokio::task::JoinHandle<Report> {
        let engine = Arc::clone(&self.w.stack.engine);
        let options = RunOptions::apply(RunTrigger::Schedule);
        tokio::spawn(async move { Box::pin(engine.run(&pair(), &options)).await.expect("it ends well").1 })
    }

    fn accounts(&self) -> usize {
        self.server.snapshot().accounts.len()
    }

    fn members(&self) -> usize {
        self.server.snapshot().groups.get("crew").map_or(0, std::collections::BTreeSet::len)
    }

    fn is_active(&self, login: &str) -> bool {
        self.server.snapshot().account(login).expect("there").active
    }

    fn conditions(&self) -> Vec<Condition> {
        self.w.stack.engine.conditions().all()
    }

    fn overdue(&self) -> bool {
        self.conditions().iter().any(|condition| condition.code == ConditionCode::TasksOverdue)
    }
}

fn patient() -> EngineTimes {
    EngineTimes {
        call: SignedDuration::from_secs(30),
        task_turn: SignedDuration::from_mins(1),
        run_turn: SignedDuration::from_hours(1),
        ..EngineTimes::hasty()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_call_for_many_users_is_one_failure_and_no_attempt_of_any_of_them() {
    let call = SignedDuration::from_secs(5);
    let scene = Scene::start(EngineTimes { call, ..EngineTimes::hasty() }).await;
    scene.w.realm().import_users(crew(30)).expect("imported");
    let fault = scene.server.faults.add(Fault::cut_after().method("PATCH").path("/Groups").once());
    // The run continues to its end: one lost call does not stop the target.
    let report = scene.run().await.expect("no panic");
    assert_eq!(scene.server.faults.hits(fault), 1);
    assert_eq!(report.errors.total(), 30, "{:?}", report.errors);
    assert_eq!(scene.conditions(), []);
    let all = TaskFilter { target: Some("wiki".into()), ..TaskFilter::default() };
    let tasks = scene.w.stack.store.tasks(&all).await.expect("readable");
    for task in &tasks {
        assert_eq!(task.attempts, 0, "{task:?}");
        let (class, text) = task.error.as_ref().expect("its reason");
        assert!(*class == ErrorClass::Transient && text.contains("adding 30 accounts to crew"), "{task:?}");
    }
    scene.clock.advance(call * 2);
    scene.w.settled().await;
    assert_eq!(scene.members(), 30);
    // It took effect; a read confirms this.
    let changes = scene.w.changes().await;
    let found =
        changes.iter().filter(|change| change.verb == "add_member" && change.outcome == ChangeOutcome::FoundDone);
    assert_eq!(found.count(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_many_users_that_is_refused_for_a_while_opens_no_breaker() {
    let scene = Scene::start(patient()).await;
    scene.w.realm().import_users(crew(30)).expect("imported");
    scene.server.faults.add(Fault::unavailable().method("PATCH").path("/Groups").once());
    let report = scene.run().await.expect("no panic");
    assert_eq!(report.errors.total(), 30, "{:?}", report.errors);
    assert_eq!(scene.conditions(), []);
    scene.w.settled().await;
    assert_eq!(scene.members(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaver_does_not_wait_for_the_other_users_of_a_full_reconcile() {
    let scene = Scene::start(patient()).await;
    let realm = scene.w.realm();
    // The leaver is in scope of the run too: it has a group to be added to.
    let leaver = scene.w.id("staff1");
    let group = realm.import_group("/crew").expect("imported");
    realm.import_memberships([(leaver.as_str(), group.as_str())]).expect("imported");
    realm.import_users(crew(20)).expect("imported");
    let gate = Gate::default();
    let held = scene.server.faults.add(Fault::late(&gate).method("POST").path("/Users").once());
    let run = scene.run();
    let created = STAFF + 20 - 1;
    until("all but one account are created", async || scene.accounts() == created).await;
    assert_eq!(scene.server.faults.hits(held), 1);

    let before = scene.server.journal.len();
    realm.update_user(&leaver, UserChange::enabled(false)).await.expect("changed");
    until("the leaver is deactivated", async || !scene.is_active("staff1")).await;
    let calls = scene.server.journal.len() - before;
    assert!(calls <= 10, "{calls} calls");
    assert!(!run.is_finished() && scene.members() == 0, "the others still wait");

    gate.open();
    let report = run.await.expect("no panic");
    assert_eq!((report.errors.total(), report.tally.adds_up()), (0, true), "{report:?}");
    scene.w.settled().await;
    assert_eq!((scene.accounts(), scene.members()), (STAFF + 20, 20));
    assert!(!scene.is_active("staff1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_that_progresses_is_no_defect_and_one_that_does_not_is() {
    let times = EngineTimes {
        call: SignedDuration::from_hours(1),
        task_turn: SignedDuration::from_hours(1),
        overdue: SignedDuration::from_secs(10),
        ..EngineTimes::hasty()
    };
    let scene = Scene::start(times).await;
    scene.w.realm().import_users(crew(150)).expect("imported");
    scene.server.faults.set_latency(Duration::from_millis(20));
    let run = scene.run();
    let (mut seen, mut advanced) = (scene.server.journal.len(), 0);
    // A second passes with every answered call, so that the whole wave takes far longer than ten seconds.
    while !run.is_finished() {
        let now = scene.server.journal.len();
        if now > seen && scene.accounts() < STAFF + 150 {
            scene.clock.advance(SignedDuration::from_secs(1));
            advanced += 1;
        }
        seen = now;
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!scene.overdue(), "{:?}", scene.conditions());
    }
    assert!(advanced >= 15, "{advanced}");
    assert_eq!(run.await.expect("no panic").errors.total(), 0);

    // The answer to one call is lost.
    scene.server.faults.set_latency(Duration::ZERO);
    scene.w.realm().import_users((0..5).map(|n| NewUser::named(format!("late{n}")).in_groups(&["/crew"]))).expect("in");
    let gate = Gate::default();
    scene.server.faults.add(Fault::late(&gate).method("POST").path("/Users").once());
    let run = scene.run();
    until("all but one account are created", async || scene.accounts() == STAFF + 154).await;
    until("the wave is reported", async || {
        scene.clock.advance(SignedDuration::from_secs(1));
        scene.overdue()
    })
    .await;
    gate.open();
    run.await.expect("no panic");
    until("it is over", async || {
        scene.clock.advance(SignedDuration::from_secs(1));
        !scene.overdue()
    })
    .await;
}
