//! Rate-limited servers: calls wait and are sent again, and the learned rate is kept.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use sqlx::Connection as _;
use usersync::demo::clock::DrivenClock;
use usersync::{
    demo::{
        stack::{SimulatedServers, StackOptions},
        targets::OtherTarget,
    },
    engine::{Engine, EngineTimes, Report, RunOptions},
    model::{ErrorClass, Pair, RunTrigger},
    store::{ChangeFilter, Store, StoreReads, sqlite},
    targets::{
        Credentials, Target,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    Fault, ScimOptions, SimulatedScim,
    fault::Limit,
    journal::Journal,
    keycloak::{NewUser, UserChange},
    scim::NewAccount,
};

use super::support::{options, servers, world};

/// A realm and a SCIM server, with an engine between them on a rushed clock.
struct Rushed {
    clock: DrivenClock,
    server: SimulatedScim,
    servers: SimulatedServers,
    store: Arc<sqlite::SqliteStore>,
    engine: Engine,
    rush: tokio::task::JoinHandle<()>,
}

fn pair() -> Pair {
    Pair::new("acme", "scim")
}

/// Number of users of a full reconcile that may call the target concurrently when their target takes 8 calls: 24 that
/// begin and 8 after their additions.
const IN_FLIGHT: usize = 32;
/// The clock advances when no call has come for this long.
const QUIET: Duration = Duration::from_millis(15);

/// Advances the clock to the next wake-up time whenever the server has had no call for a while; never returns.
async fn rush(clock: DrivenClock, journal: Journal) {
    let mut calls = journal.len();
    loop {
        tokio::time::sleep(QUIET).await;
        if std::mem::replace(&mut calls, journal.len()) == journal.len() {
            clock.advance_to_next_sleeper();
        }
    }
}

impl Rushed {
    async fn start() -> Self {
        let clock = DrivenClock::default();
        let mut options_of_server = ScimOptions::default();
        (options_of_server.switches.page_cap, options_of_server.switches.page_told) = (100, 100);
        let server = SimulatedScim::start(options_of_server).await.expect("a free port");
        let token = server.token().to_owned();
        let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
        let mut settings = ScimSettings::new(server.url().parse().expect("an address"), credentials);
        // One for each that may call: a caller that waits for a slot sleeps until its deadline, and the clock would jump
        // to it.
        settings.http.clock = Arc::new(clock.clone());
        settings.http.parallel = IN_FLIGHT;
        let target = Arc::new(ScimTarget::new(settings).expect("good settings")) as Arc<dyn Target>;
        let other_targets = vec![OtherTarget { name: "scim".into(), target }];
        let (times, driven) = (EngineTimes::default(), Arc::new(clock.clone()));
        let servers = servers(StackOptions { other_targets, clock: driven, times, ..options() }).await;
        let open = sqlite::OpenOptions { durable: false, ..sqlite::OpenOptions::new(clock.now()) };
        let store = sqlite::SqliteStore::open_temporary(open).await.expect("opens");
        let store = Arc::new(store);
        let engine = servers.place().engine(Arc::clone(&store) as Arc<dyn Store>).expect("good settings");
        engine.store().ensure_pairs(&[pair()], clock.now()).await.expect("written");
        let rush = tokio::spawn(rush(clock.clone(), server.journal.clone()));
        Self { clock, server, servers, store, engine, rush }
    }

    fn clock(&self) -> DrivenClock {
        self.clock.clone()
    }

    /// The same clock, for the server's limits.
    fn server_clock(&self) -> usersync_simulators::clock::DrivenClock {
        (*self.clock()).clone()
    }

    /// Returns the number of intents ever stored.
    async fn intents(&self) -> i64 {
        let file = sqlx::sqlite::SqliteConnectOptions::new().filename(self.store.folder().join("usersync.db"));
        let mut reader = sqlx::SqliteConnection::connect_with(&file.read_only(true)).await.expect("opens");
        let last = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'intent'");
        last.fetch_one(&mut reader).await.expect("readable")
    }

    /// Runs a full reconcile; returns the report and the duration by its clock.
    async fn run(&self, options: &RunOptions) -> (Report, SignedDuration) {
        let began = self.clock.now();
        let (_, report) = Box::pin(self.engine.run(&pair(), options)).await.expect("it ends well");
        (report, self.clock.now().duration_since(began))
    }
}

impl Drop for Rushed {
    fn drop(&mut self) {
        self.rush.abort();
    }
}

#[tokio::test]
async fn a_run_of_20_000_accounts_ends_against_a_bucket_of_60_with_5_a_second() {
    let r = Rushed::start().await;
    for number in 0..20_000 {
        r.server.add_account(NewAccount { name: format!("user{number}"), ..NewAccount::default() });
    }
    let fault = r.server.faults.add(Fault::limited(Limit::bucket(r.server_clock(), 60.0, 5.0)));
    let (report, took) = r.run(&RunOptions::dry(RunTrigger::Schedule)).await;
    let refused = r.server.faults.hits(fault);
    assert_eq!(report.accounts, 20_000);
    let calls = r.server.journal.len();
    assert!(calls >= 200, "{calls}");
    assert!(refused <= 10, "{refused} of {calls} calls were refused");
    let at_best = SignedDuration::from_secs((i64::try_from(calls).expect("few") - 60) / 5);
    assert!(took < at_best * 2, "{took:#}, at best {at_best:#}");
}

#[tokio::test]
async fn a_first_run_against_slacks_180_creates_a_minute_fails_for_no_user() {
    let r = Rushed::start().await;
    r.servers.realm.import_users((0..490).map(|number| NewUser::named(format!("user{number}")))).expect("imported");
    let limit = Limit::window(r.server_clock(), 180.0, 60);
    let fault = r.server.faults.add(Fault::limited(limit).method("POST").path("/Users"));
    let options = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
    let (report, took) = r.run(&options).await;
    assert_eq!(report.errors.total(), 0, "{report:#?}");
    assert_eq!(r.server.snapshot().accounts.len(), 500);
    assert!(took < SignedDuration::from_mins(4), "{took:#}");
    // Those in flight when the minute's calls were used up, and few after them.
    let refused = r.server.faults.hits(fault);
    assert!(refused <= u64::try_from(IN_FLIGHT).expect("few") + 8, "{refused}");
}

#[tokio::test]
async fn an_operation_whose_kind_of_call_is_limited_has_one_intent() {
    let r = Rushed::start().await;
    let staff = r.servers.realm.snapshot().group("/staff").expect("there").id.clone();
    r.servers.realm.delete_group(&staff).await.expect("deleted");
    r.servers.realm.import_users((0..40).map(|number| NewUser::named(format!("user{number}")))).expect("imported");
    let limit = Limit::window(r.server_clock(), 16.0, 60);
    let fault = r.server.faults.add(Fault::limited(limit).method("POST").path("/Users"));
    let options = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
    let (report, took) = r.run(&options).await;
    assert_eq!(report.errors.total(), 0, "{:#?}", report.errors);
    assert_eq!(r.server.snapshot().accounts.len(), 50);
    // Three minutes at best; calls in flight when the limit was found are stored once more.
    assert!(took < SignedDuration::from_mins(5), "{took:#}");
    let (intents, refused) = (r.intents().await, r.server.faults.hits(fault));
    assert!(intents <= 50 + i64::try_from(IN_FLIGHT).expect("few"), "{intents} intents, {refused} calls refused");
    let changes = r.store.changes(&ChangeFilter { limit: 1_000, ..ChangeFilter::default() }).await.expect("readable");
    assert_eq!(changes.len(), 50, "each is recorded once");
}

#[tokio::test]
async fn a_task_that_waits_for_calls_reports_why() {
    let w = world().await;
    let fault = w.jira().faults.add(Fault::too_many(3_600).method("PUT").once());
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.expect("changed");
    let mut waiting = None;
    for _ in 0..1_000 {
        waiting = w.tasks().await.pop().and_then(|task| Some((task.error?, task.attempts)));
        if waiting.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ((class, text), attempts) = waiting.expect("a reason");
    assert_eq!((class, attempts, w.jira().faults.hits(fault)), (ErrorClass::Throttled, 0, 1), "{text}");
    assert!(text.contains("rate limited (429"), "{text}");
}

#[tokio::test]
async fn a_task_that_waits_for_credentials_reports_why() {
    let w = world().await;
    let token = w.jira().token().to_owned();
    w.jira().revoke_token(&token);
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.expect("changed");
    w.realm().webhook_idle().await;
    for _ in 0..1_000 {
        if let Some(error) = w.tasks().await.pop().and_then(|task| task.error) {
            assert_eq!(error.0, ErrorClass::Credentials, "{error:?}");
            assert!(error.1.contains("rejected the personal access token"), "{error:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no reason: {:#?}", w.tasks().await);
}

#[tokio::test]
async fn a_write_that_was_refused_for_now_is_sent_again_by_the_same_task() {
    let w = world().await;
    w.jira().faults.add(Fault::too_many(0).method("PUT").once());
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.expect("changed");
    w.settled().await;
    w.agrees();
    let changes = w.changes_of(w.id("staff1").as_str()).await;
    let last = changes.last().expect("a change");
    assert_eq!(last.outcome, usersync::model::ChangeOutcome::Done, "{changes:#?}");
}

#[tokio::test]
async fn every_call_is_counted_reads_and_sources_too() {
    let w = world().await;
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.expect("changed");
    w.settled().await;
    let counted = |peer: &str| -> usize {
        let text = w.stack.metrics.encode().expect("text");
        let mark = format!("usersync_calls_total{{peer=\"{peer}\"");
        let lines = text.lines().filter(|line| line.starts_with(&mark));
        lines.map(|line| line.rsplit(' ').next().expect("a number").parse::<usize>().expect("a number")).sum()
    };
    assert_eq!(counted("target"), w.jira().journal.len());
    assert_eq!(counted("source"), w.servers.keycloak.journal.len());

    let token = w.jira().token().to_owned();
    w.jira().revoke_token(&token);
    w.realm().update_user(&w.id("staff1"), UserChange::email("two@example.com")).await.expect("changed");
    w.realm().webhook_idle().await;
    let refused = "usersync_refused_sign_ins_total{peer=\"target\",name=\"jira\"} 1";
    for _ in 0..500 {
        let text = w.stack.metrics.encode().expect("text");
        if text.lines().any(|line| line == refused) && text.contains("result=\"credentials\"") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{}", w.stack.metrics.encode().expect("text"));
}
