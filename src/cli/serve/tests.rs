//! How it ends. Nothing from outside makes a part of the process die, so it is tried here and not with the binary.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::*;
use crate::sandbox::house::{Grounds, HouseOptions};

/// What a server comes to after this happened to its store.
async fn served(happens: impl AsyncFnOnce(&SqliteStore)) -> (Outcome, Health) {
    let grounds = Grounds::prepare(HouseOptions::default()).await.unwrap();
    let (metrics, health) = (Arc::new(Metrics::new()), Health::of(&[STORE]));
    let hooks = Arc::new(Hooks::new(1024, Arc::new(SystemClock), Arc::clone(&metrics), health.clone()));
    let settings = ServerSettings { listen: ([127, 0, 0, 1], 0).into(), tls: None };
    let mut server = Server::start(&settings, hooks, metrics, health.clone()).await.unwrap();
    let store = Arc::new(SqliteStore::open_temporary(OpenOptions::new(Timestamp::now())).await.unwrap());
    let engine = grounds.place().engine(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let retention = SignedDuration::from_hours(24);
    let options = ServiceOptions { schedules: HashMap::new(), disabled: BTreeSet::new(), retention };
    let service = Service::start(Arc::new(engine), options).await.unwrap();
    happens(store.as_ref()).await;
    let running = Running { store: &store, health: &health, service: &service, server: &mut server };
    let ended = running.until_the_end(Signals::listen().unwrap(), async |_| {});
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends");
    let outcome = outcome(ended, &health);
    service.shutdown(Duration::from_secs(5)).await;
    server.shutdown(Duration::from_secs(1)).await;
    store.close().await;
    (outcome, health)
}

#[tokio::test]
async fn a_writer_that_ended_ends_the_process_with_exit_code_1() {
    let (outcome, health) = served(async |store| store.close().await).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit as u8, 1);
    assert_eq!(health.why_dead(), Some(failure.text));
}
