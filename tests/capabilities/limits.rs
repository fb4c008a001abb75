//! Servers that limit their callers: calls wait for their turn and are sent again, and the pace that was learned is kept.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use usersync::{
    engine::{Clock, Engine, EngineTimes, Report, RunOptions},
    model::{Pair, RunTrigger},
    sandbox::{
        Fault, ScimOptions, ScimSandbox,
        clock::DrivenClock,
        fault::Limit,
        house::{Grounds, HouseOptions},
        keycloak::{NewUser, UserChange},
        neighbours::Neighbour,
        scim::NewAccount,
    },
    store::{Store, sqlite},
    target::{
        Credentials, Target,
        scim::{ScimSettings, ScimTarget},
    },
};

use crate::support::{grounds, options, world};

/// A realm and a SCIM server, and an engine between them whose time is rushed.
struct Rushed {
    clock: DrivenClock,
    server: ScimSandbox,
    grounds: Grounds,
    engine: Engine,
    rush: tokio::task::JoinHandle<()>,
}

fn pair() -> Pair {
    Pair::new("acme", "scim")
}

impl Rushed {
    async fn start() -> Self {
        let clock = DrivenClock::default();
        let mut options_of_server = ScimOptions::default();
        (options_of_server.switches.page_cap, options_of_server.switches.page_told) = (100, 100);
        let server = ScimSandbox::start(options_of_server).await.expect("a free port");
        let token = server.token().to_owned();
        let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
        let mut settings = ScimSettings::new(server.url().parse().expect("an address"), credentials);
        // More than there are workers: who waits for a place sleeps until its deadline, and a rushed clock goes there.
        settings.http.clock = Arc::new(clock.clone());
        settings.http.parallel = 32;
        let target = Arc::new(ScimTarget::new(settings).expect("good settings")) as Arc<dyn Target>;
        let neighbours = vec![Neighbour { name: "scim".into(), target }];
        let (times, driven) = (EngineTimes::default(), Arc::new(clock.clone()));
        let grounds = grounds(HouseOptions { neighbours, clock: driven, times, ..options() }).await;
        let store = sqlite::SqliteStore::open_temporary(sqlite::OpenOptions::new(clock.now())).await.expect("opens");
        let engine = grounds.place().engine(Arc::new(store) as Arc<dyn Store>).expect("good settings");
        engine.store().ensure_pairs(&[pair()], clock.now()).await.expect("written");
        let rush = tokio::spawn(clock.clone().rush());
        Self { clock, server, grounds, engine, rush }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    /// Runs, and gives how long that took by its clock.
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
    let fault = r.server.faults.add(Fault::limited(Limit::bucket(r.clock(), 60.0, 5.0)));
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
async fn a_first_run_against_slacks_180_creates_a_minute_fails_for_nobody() {
    let r = Rushed::start().await;
    r.grounds.realm.import_users((0..490).map(|number| NewUser::named(format!("user{number}")))).expect("imported");
    let limit = Limit::window(r.clock(), 180.0, 60);
    let fault = r.server.faults.add(Fault::limited(limit).method("POST").path("/Users"));
    let options = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
    let (report, took) = r.run(&options).await;
    assert_eq!(report.errors.total(), 0, "{report:#?}");
    assert_eq!(r.server.snapshot().accounts.len(), 500);
    assert!(took < SignedDuration::from_mins(4), "{took:#}");
    // Those that were under way when the minute's were used up, and few after them.
    let refused = r.server.faults.hits(fault);
    assert!(refused <= 20, "{refused}");
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
        let text = w.house.metrics.encode().expect("text");
        let mark = format!("usersync_calls_total{{peer=\"{peer}\"");
        let lines = text.lines().filter(|line| line.starts_with(&mark));
        lines.map(|line| line.rsplit(' ').next().expect("a number").parse::<usize>().expect("a number")).sum()
    };
    assert_eq!(counted("target"), w.jira().journal.len());
    assert_eq!(counted("source"), w.grounds.keycloak.journal.len());

    let token = w.jira().token().to_owned();
    w.jira().revoke_token(&token);
    w.realm().update_user(&w.id("staff1"), UserChange::email("two@example.com")).await.expect("changed");
    w.realm().webhook_idle().await;
    let refused = "usersync_refused_sign_ins_total{peer=\"target\",name=\"jira\"} 1";
    for _ in 0..500 {
        let text = w.house.metrics.encode().expect("text");
        if text.lines().any(|line| line == refused) && text.contains("result=\"credentials\"") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{}", w.house.metrics.encode().expect("text"));
}
