//! Durable single-event appends per second of the embedded store, with many concurrent callers. A plain program: `cargo
//! bench --bench store_append`, with `CALLERS`, `MILLIS`, `ROWS`, `WAITING`, `TARGETS` and `DURABLE` in the
//! environment.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use usersync::{
    model::{Cause, ConnectorName, EventOutcome, NewEvent, Pair, Priority, Subject, TargetName},
    store::{
        EngineStore, Step,
        sqlite::{OpenOptions, SqliteStore},
    },
};

fn event(nth: u64) -> NewEvent {
    NewEvent {
        id: uuid::Uuid::new_v4().to_string(),
        kind: "UPDATE USER".into(),
        about: format!("users/{nth}"),
        occurred_at: Some(Timestamp::now()),
        body: format!(r#"{{"id":"{nth}","padding":"{}"}}"#, "x".repeat(800)),
        hints: vec![Subject::user(format!("0f3b6a52-7c1e-4d55-9a7b-{:012x}", nth % 2_000))],
        may_remove: false,
        wants_run: false,
        recheck: false,
        polled: false,
        outcome: EventOutcome::Accepted,
    }
}

/// Measures the duration of a claim and its completion while 100 000 tasks wait.
async fn claims(store: &SqliteStore, waiting: u64) {
    let (pair, now) = (Pair::new("corp", "waiting"), Timestamp::now());
    let subjects: Vec<Subject> = (0..waiting).map(|nth| Subject::user(format!("user-{nth}"))).collect();
    let cause = Cause::Other { what: "measured".into() };
    store.raise(&pair, &subjects, Priority::Event, &cause, now).await.expect("raised");
    let (mut held, mut claiming, mut completing) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    let times = waiting.min(2_000);
    for _ in 0..times {
        let began = Instant::now();
        let claimed = store.claim(&pair.target, std::slice::from_ref(&pair.connector), now).await.expect("claimed");
        claiming += began.elapsed();
        held.extend(claimed.map(|claimed| claimed.token));
        // Sixteen workers hold one claim each.
        if held.len() > 16 {
            let began = Instant::now();
            store.complete(held.remove(0), Step::default(), Vec::new(), now, now).await.expect("completed");
            completing += began.elapsed();
        }
    }
    println!(
        "a claim takes {} us, a completion {} us",
        claiming.as_micros() / u128::from(times),
        completing.as_micros() / u128::from(times)
    );
}

fn main() {
    let smoke = support::is_smoke();
    let number =
        |name: &str, usual: usize, smallest: usize| support::number(name, if smoke { smallest } else { usual }) as u64;
    let (callers, millis) = (number("CALLERS", 256, 8), number("MILLIS", 5_000, 200));
    let (rows, targets) = (number("ROWS", 100_000, 1_000), number("TARGETS", 2, 2));
    let waiting = number("WAITING", 100_000, 100);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let durable = number("DURABLE", 1, 1) == 1;
        let options = OpenOptions { durable, ..OpenOptions::new(Timestamp::now()) };
        let store = Arc::new(SqliteStore::open(folder.path().join("bench.db"), options).await.expect("a store"));
        let connector = ConnectorName::from("corp");
        let targets: Vec<TargetName> = (0..targets).map(|nth| TargetName::from(format!("target{nth}"))).collect();
        for first in (0..rows).step_by(1_000) {
            let events = (first..rows.min(first + 1_000)).map(event).collect();
            store.append_events(&connector, &targets, events, Timestamp::now()).await.expect("appended");
        }
        let (stop, count, slowest) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new((stop, count, slowest));
        let mut tasks = Vec::new();
        for caller in 0..callers {
            let (store, shared) = (Arc::clone(&store), Arc::clone(&shared));
            let (connector, targets) = (connector.clone(), targets.clone());
            tasks.push(tokio::spawn(async move {
                let mut nth = caller * 7_919;
                while !shared.0.load(Ordering::Relaxed) {
                    nth += 1;
                    let began = Instant::now();
                    store
                        .append_events(&connector, &targets, vec![event(nth)], Timestamp::now())
                        .await
                        .expect("appended");
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    shared.2.fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap_or(0), Ordering::Relaxed);
                }
            }));
        }
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        shared.0.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("a caller");
        }
        let rate = shared.1.load(Ordering::Relaxed) * 1_000 / u64::try_from(began.elapsed().as_millis()).unwrap_or(1);
        claims(&store, waiting).await;
        println!("{rate} events/s from {callers} callers, slowest {} ms", shared.2.load(Ordering::Relaxed) / 1_000);
        store.close().await;
    });
}
