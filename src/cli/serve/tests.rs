//! Tests of how the server ends. Nothing outside the process can end one of its parts, so the binary cannot be used
//! here.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::SignedDuration;

use super::*;
use crate::{
    demo::{
        stack::{SimulatedServers, StackOptions},
        targets::OtherTarget,
    },
    engine::EngineTimes,
    model::{Account, AccountId, Operation, TargetGroup, TargetGroupId},
    targets::{Applied, Memberships, Page, Target, TargetError, TargetInfo},
};

/// A target with a client that panics.
struct Broken;

#[async_trait]
impl Target for Broken {
    fn kind(&self) -> &'static str {
        "broken"
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        panic!("the client is broken")
    }

    async fn account(&self, _: &AccountId) -> Result<Option<Account>, TargetError> {
        unreachable!()
    }

    async fn account_named(&self, _: &str) -> Result<Option<Account>, TargetError> {
        unreachable!()
    }

    async fn accounts(&self, _: Option<&str>) -> Result<Page<Account>, TargetError> {
        unreachable!()
    }

    async fn group_named(&self, _: &str) -> Result<Option<TargetGroup>, TargetError> {
        unreachable!()
    }

    async fn members(&self, _: &TargetGroupId, _: Option<&str>) -> Result<Option<Page<AccountId>>, TargetError> {
        unreachable!()
    }

    async fn memberships(&self, _: &BTreeSet<TargetGroupId>) -> Result<Option<Memberships>, TargetError> {
        unreachable!()
    }

    async fn apply(&self, _: &Operation, _: Timestamp) -> Result<Applied, TargetError> {
        unreachable!()
    }
}

/// Runs a server with these targets beside the simulated Jira, lets `happens` change its store, and returns the result.
async fn served(other_targets: Vec<OtherTarget>, happens: impl AsyncFnOnce(&SqliteStore)) -> (Outcome, Health) {
    let times = EngineTimes { contact: SignedDuration::from_millis(50), ..EngineTimes::hasty() };
    let servers =
        SimulatedServers::prepare(StackOptions { times, other_targets, ..StackOptions::default() }).await.unwrap();
    let (metrics, health) = (Arc::new(Metrics::new()), Health::of(&[STORE]));
    let hooks = Arc::new(Hooks::new(1024, Arc::new(SystemClock), Arc::clone(&metrics), health.clone()));
    let settings = ServerSettings { listen: ([127, 0, 0, 1], 0).into(), tls: None };
    let mut server = Server::start(&settings, hooks, Arc::clone(&metrics), health.clone()).await.unwrap();
    let store = Arc::new(SqliteStore::open_temporary(OpenOptions::new(Timestamp::now())).await.unwrap());
    let engine = servers.place().engine(Arc::clone(&store) as Arc<dyn EngineStore>).unwrap();
    let retention = SignedDuration::from_hours(24);
    let options = ServiceOptions {
        schedules: HashMap::new(),
        disabled: BTreeSet::new(),
        polls: HashMap::new(),
        federation_checks: HashMap::new(),
        retention,
    };
    let service = Service::start(Arc::new(engine), options).await.unwrap();
    happens(store.as_ref()).await;
    let mut alerts = Alerts::default();
    let running = Running {
        store: &store,
        file: Path::new("/"),
        metrics: &metrics,
        health: &health,
        service: &service,
        server: &mut server,
        alerts: &mut alerts,
    };
    let ended = running.until_the_end(Signals::listen().unwrap(), async |_| {});
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends");
    let outcome = outcome(ended, &health);
    service.shutdown(Duration::from_secs(5)).await;
    server.shutdown(Duration::from_secs(1)).await;
    store.close().await;
    (outcome, health)
}

#[tokio::test]
async fn a_part_that_panics_ends_the_process_with_exit_code_1() {
    let broken = OtherTarget { name: "broken".into(), target: Arc::new(Broken) };
    let (outcome, health) = served(vec![broken], async |_| {}).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit as u8, 1);
    assert!(failure.text.contains("target broken panicked"), "{}", failure.text);
    assert_eq!(health.why_dead(), Some(failure.text));
    assert!(!health.readiness().ready);
}

#[tokio::test]
async fn a_writer_that_ended_ends_the_process_with_exit_code_1() {
    let (outcome, health) = served(Vec::new(), async |store| store.close().await).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit as u8, 1);
    assert_eq!(health.why_dead(), Some(failure.text));
}
