//! Kill at random times during changes: acknowledged events are in the store, each write has its change, and in the end
//! both sides are in sync.
//!
//! `USERSYNC_KILLS=50` kills more often; `USERSYNC_SEED=7` repeats the same times.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use usersync::{
    demo::stack::{CONNECTOR, SimulatedServers, agree},
    engine::EngineTimes,
    model::ChangeOutcome,
    store::{ChangeFilter, Decision, EventFilter, OperatorStore, StoreReads, sqlite},
};
use usersync_simulators::keycloak::{NewUser, UserChange};

use crate::child::Orders;

/// Makes one random change of a user.
async fn change_something(servers: &SimulatedServers, jitter: &mut SmallRng, number: usize) {
    let realm = &servers.realm;
    let snapshot = realm.snapshot();
    let people: Vec<_> = snapshot.users.values().filter(|user| !user.service_account).collect();
    let groups: Vec<_> = snapshot.groups.values().collect();
    let person = &people[jitter.random_range(0..people.len())];
    let group = &groups[jitter.random_range(0..groups.len())];
    match jitter.random_range(0..7) {
        0 | 1 => {
            realm.create_user(NewUser::named(format!("new{number}"))).await.expect("made");
        }
        2 => realm.join(&person.id, &group.id).await.expect("joined"),
        3 => realm.leave(&person.id, &group.id).await.expect("left"),
        4 => realm.update_user(&person.id, UserChange::username(format!("name{number}"))).await.expect("renamed"),
        5 => {
            let name = UserChange { first_name: Some(format!("First {number}")), ..UserChange::default() };
            realm.update_user(&person.id, name).await.expect("changed");
        }
        _ => {
            realm.create_group(None, &format!("group{number}")).await.expect("made");
        }
    }
}

/// Checks that each event answered with 202 is in the store.
async fn nothing_acknowledged_is_lost(servers: &SimulatedServers, store: &sqlite::SqliteStore) {
    let all = EventFilter { limit: 1_000_000, ..EventFilter::default() };
    let stored = store.events(&all).await.expect("readable");
    let known: std::collections::HashSet<&str> = stored.iter().map(|event| event.id.as_str()).collect();
    for delivery in servers.realm.deliveries().iter().filter(|delivery| delivery.status == Some(202)) {
        for event in delivery.body["events"].as_array().into_iter().flatten() {
            let id = event["id"].as_str().unwrap_or_default();
            assert!(known.contains(id), "{event} was acknowledged and is not stored");
        }
    }
}

/// Waits until the newest event was polled. Polling finds the events that were posted and given up while the process was
/// down, so no full reconcile is needed.
async fn everything_is_polled(servers: &SimulatedServers, store: &sqlite::SqliteStore) {
    let newest = servers.realm.admin_events().last().and_then(|event| event["time"].as_i64()).expect("an event");
    for _ in 0..1_000 {
        let poll = store.event_poll(&CONNECTOR.into()).await.expect("readable");
        let read = poll.admin.and_then(|position| position.newest);
        if read.is_some_and(|read| read.at.as_millisecond() >= newest) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the events are not polled");
}

pub async fn kill_again_and_again() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("USERSYNC_KILLS").unwrap_or(10);
    let seed = number("USERSYNC_SEED").unwrap_or_else(|| rand::random_range(0..100_000));
    println!("{kills} kills, seed {seed}");
    let mut jitter = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("usersync.db");
    let (call, timeout) = (EngineTimes::hasty().call, Duration::from_secs(2));
    let poll_events = Some(SignedDuration::from_millis(50));
    let orders = Orders { store: store.clone(), other_targets: Vec::new(), call, timeout, poll_events };
    let options = orders.options().expect("no address is wrong");
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    let staff = (0..40).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/staff"]));
    servers.realm.import_users(staff).expect("imported");
    servers.jira.faults.set_latency(Duration::from_millis(3));
    let mut changed = 0;
    for _ in 0..kills {
        let mut child = orders.start(&servers).await;
        let lives = Duration::from_millis(jitter.random_range(100..1_500));
        let began = Instant::now();
        while began.elapsed() < lives {
            change_something(&servers, &mut jitter, changed).await;
            changed += 1;
            tokio::time::sleep(Duration::from_millis(jitter.random_range(5..60))).await;
        }
        child.kill().await.expect("killed");
        let beside = sqlite::SqliteStore::open_beside(&store, sqlite::OpenOptions::new(Timestamp::now())).await;
        let beside = beside.expect("what is left can be opened");
        nothing_acknowledged_is_lost(&servers, &beside).await;
        beside.close().await;
    }

    let stack = servers.build().await.expect("the stack stands");
    stack.in_service().await.expect("the first run ends");
    servers.realm.webhook_idle().await;
    stack.quiet(SignedDuration::from_secs(3)).await.expect("all work is done");
    everything_is_polled(&servers, &stack.store).await;
    stack.quiet(SignedDuration::from_secs(3)).await.expect("all work is done");
    nothing_acknowledged_is_lost(&servers, &stack.store).await;
    // So many changes are above the safety limits; an operator approves them.
    for _ in 0..10 {
        for set in stack.store.approvals(true).await.expect("readable") {
            let decision = Decision { set: set.id, items: Vec::new(), approve: true, by: "ann".to_owned(), note: None };
            stack.store.decide(&decision, Timestamp::now()).await.expect("decided");
        }
        stack.quiet(SignedDuration::from_secs(3)).await.expect("all work is done");
    }
    let agreement = agree(&servers);
    assert!(agreement.holds(), "seed {seed}: {agreement}");
    let all = ChangeFilter { limit: 1_000_000, ..ChangeFilter::default() };
    let changes = stack.store.changes(&all).await.expect("readable");
    let done = |verb: &str, name: &str| {
        changes.iter().any(|change| {
            let took_effect = matches!(change.outcome, ChangeOutcome::Done | ChangeOutcome::FoundDone);
            took_effect && change.verb == verb && (change.name == name || change.after["to"] == name)
        })
    };
    for write in servers.jira.journal.matching(|one| one.is_write() && one.status.is_some_and(|status| status < 300)) {
        let name = write.json()["name"].as_str().unwrap_or_default().to_owned();
        let known = match (write.method.as_str(), write.path.rsplit('/').next()) {
            ("POST", Some("user")) if write.path.ends_with("/group/user") => done("add_member", &name),
            ("POST", Some("user")) => done("create", &name),
            ("POST", Some("group")) => done("create_group", &name),
            ("PUT", Some("user")) if !name.is_empty() => done("rename", &name),
            _ => true,
        };
        assert!(known, "seed {seed}: {} {} {} has no change", write.method, write.target(), write.json());
    }
    println!("{changed} changes in Keycloak, {} writes in Jira; {agreement}", changes.len());
    stack.stop().await;
}
