//! Durable ingest against the same handler without a store: `POST /hooks/{connector}` at 256 connections. Each request
//! is one signed event of about 880 bytes with its own id. A separate process generates the load.

mod support;

use std::{
    collections::HashSet,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
    sync::Barrier,
};
use usersync::{
    engine::SystemClock,
    keycloak::signature::WebhookSecret,
    model::{ConnectorName, EventOutcome, NewEvent, Refusals, Subject, TargetName},
    store::{
        Appended, EngineStore, EventFilter, Inbox, StoreReads, StoreResult,
        sqlite::{OpenOptions, SqliteStore},
    },
    telemetry::{Health, Metrics},
    web::{HookConnector, HookSecrets, Hooks, Server, ServerSettings},
};
use uuid::Uuid;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const CONNECTOR: &str = "acme";
const SUBJECTS: u64 = 2_000;
/// Size that a body is padded to, in bytes.
const BODY: usize = 880;
/// Warm-up requests per connection, which are not measured.
const WARM: usize = 4;

/// Size of the benchmark.
#[derive(Clone, Copy)]
struct Size {
    connections: usize,
    /// Requests per connection in one round.
    requests: usize,
    rounds: usize,
    /// Events stored before the first round.
    rows: usize,
}

impl Size {
    fn get() -> Self {
        if support::is_smoke() {
            return Self { connections: 8, requests: 8, rounds: 1, rows: 1_000 };
        }
        Self {
            connections: support::number("CONNECTIONS", 256),
            requests: support::number("REQUESTS", 120),
            rounds: support::number("ROUNDS", 9),
            rows: support::number("ROWS", 100_000),
        }
    }
}

/// A store that accepts everything and keeps nothing.
struct Nowhere;

#[async_trait]
impl Inbox for Nowhere {
    async fn put(
        &self,
        _: &ConnectorName,
        _: &[TargetName],
        events: Vec<NewEvent>,
        _: Timestamp,
    ) -> StoreResult<Appended> {
        Ok(Appended { stored: events.len(), duplicates: 0 })
    }

    async fn refused(&self, _: &[Refusals]) -> StoreResult<()> {
        Ok(())
    }
}

/// Returns the id of a request's event.
fn event_id(round: usize, connection: usize, nth: usize) -> Uuid {
    let mixed = (round as u64) << 40 | (connection as u64) << 20 | nth as u64;
    // Keycloak's ids are random; a sequence would favour the index.
    let high = mixed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Uuid::from_u64_pair(high ^ (high >> 29), mixed)
}

fn subject(nth: u64) -> String {
    format!("0f3b6a52-7c1e-4d55-9a7b-{:012x}", nth % SUBJECTS)
}

/// Returns an admin event as the listener sends it, padded with a representation.
fn body(id: Uuid, user: &str, time: i64) -> String {
    let event = |filling: &str| {
        format!(
            r#"{{"events":[{{"kind":"admin","id":"{id}","time":{time},"realmId":"c9786d8f-b6b4-443c-b343-b1708e633336","realmName":"{CONNECTOR}","operationType":"UPDATE","resourceType":"USER","resourcePath":"users/{user}","userId":"{user}","username":"somebody","representation":"{{\"firstName\":\"{filling}\"}}"}}]}}"#
        )
    };
    let short = BODY.saturating_sub(event("").len());
    event(&"x".repeat(short))
}

/// Returns a complete signed request.
fn request(address: &str, secret: &WebhookSecret, id: Uuid, user: &str, time: i64) -> Vec<u8> {
    let (body, now) = (body(id, user, time), Timestamp::now());
    let signature = secret.sign(&id.to_string(), now, body.as_bytes()).expect("signed");
    format!(
        "POST /hooks/{CONNECTOR} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nwebhook-id: {id}\r\n\
         webhook-timestamp: {}\r\nwebhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        now.as_second(),
        body.len()
    )
    .into_bytes()
}

/// Sends a request and reads the complete answer; returns the status.
async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> u16 {
    stream.write_all(request).await.expect("sent");
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.expect("answered"), 0, "the connection was closed");
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).expect("a head in ASCII").to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        if buffer.len() >= end + 4 + length {
            return head[9..12].parse().expect("a status");
        }
    }
}

/// Generates the load of one round; all requests are signed and all connections open before the clock starts. Prints
/// the duration, the latencies, and the number of 202 answers per connection.
async fn load(address: &str, round: usize, connections: usize, requests: usize) {
    let secret = WebhookSecret::parse(&SECRET.to_owned().into()).expect("a good secret");
    let base = Timestamp::now().as_millisecond();
    let start = Arc::new(Barrier::new(connections + 1));
    let mut tasks = Vec::new();
    for connection in 0..connections {
        let prepared: Vec<_> = (0..WARM + requests)
            .map(|nth| {
                let user = subject((connection * 7_919 + nth) as u64);
                // Events arrive roughly in the order of their times, on any connection.
                let time = base + i64::try_from(nth).expect("few");
                request(address, &secret, event_id(round, connection, nth), &user, time)
            })
            .collect();
        let (address, start) = (address.to_owned(), Arc::clone(&start));
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.set_nodelay(true).expect("set");
            let (mut buffer, mut took) = (Vec::with_capacity(1_024), Vec::with_capacity(requests));
            for (nth, request) in prepared.iter().enumerate() {
                if nth == WARM {
                    start.wait().await;
                }
                let began = Instant::now();
                let status = exchange(&mut stream, request, &mut buffer).await;
                assert_eq!(status, 202, "{}", String::from_utf8_lossy(&buffer));
                if nth >= WARM {
                    took.push(support::ms(began.elapsed()));
                }
            }
            took
        }));
    }
    start.wait().await;
    let began = Instant::now();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("a connection ended well"));
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{} {seconds} {} {}", took.len(), support::median(&took), support::quantile(&took, 0.99));
}

/// Result of one round.
struct Round {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// Starts a process that generates the load of one round.
async fn measure(server: &Server, round: usize, size: Size) -> Round {
    let mut child = Command::new(std::env::current_exe().expect("our own program"))
        .args(["load", &server.address().to_string()])
        .args([round, size.connections, size.requests].map(|number| number.to_string()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = lines.next_line().await.expect("read").expect("the load ends well");
    assert!(child.wait().await.expect("ended").success());
    let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [count, seconds, p50, p99] = numbers[..] else { panic!("{line}") };
    Round { rate: count / seconds, p50, p99 }
}

async fn server(inbox: Arc<dyn Inbox>) -> Server {
    let (metrics, health) = (Arc::new(Metrics::new()), Health::of(&["store"]));
    let hooks = Arc::new(Hooks::new(1 << 20, Arc::new(SystemClock), Arc::clone(&metrics), health.clone()));
    let settings = ServerSettings { listen: ([127, 0, 0, 1], 0).into(), tls: None };
    let server = Server::start(&settings, Arc::clone(&hooks), metrics, health.clone()).await.expect("listens");
    let secrets = HookSecrets::new(vec![Arc::new(|| Ok(SECRET.to_owned().into()))], None);
    let connector = HookConnector {
        name: CONNECTOR.into(),
        realm: CONNECTOR.to_owned(),
        targets: vec!["jira".into(), "wiki".into()],
        secrets: Arc::new(secrets),
        uses: usersync::model::Uses::default(),
        removed: false,
    };
    hooks.open(inbox, vec![connector]);
    health.ok("store");
    server
}

async fn fill(store: &SqliteStore, rows: usize) {
    let (connector, targets) = (CONNECTOR.into(), [TargetName::from("jira"), TargetName::from("wiki")]);
    for first in (0..rows).step_by(1_000) {
        let event = |nth: usize| {
            let (id, user) = (Uuid::new_v4(), subject(nth as u64));
            NewEvent {
                id: id.to_string(),
                kind: "UPDATE USER".into(),
                about: format!("users/{user}"),
                occurred_at: Some(Timestamp::now()),
                body: body(id, &user, Timestamp::now().as_millisecond()),
                hints: vec![Subject::user(user)],
                may_remove: false,
                wants_run: false,
                recheck: false,
                polled: false,
                outcome: EventOutcome::Accepted,
            }
        };
        let events = (first..rows.min(first + 1_000)).map(event).collect();
        store.append_events(&connector, &targets, events, Timestamp::now()).await.expect("stored");
    }
}

/// Checks that every acknowledged id is in the store.
async fn verify(store: &SqliteStore, size: Size) -> usize {
    let mut missing: HashSet<String> = HashSet::new();
    for round in 0..size.rounds {
        for connection in 0..size.connections {
            let ids = (0..WARM + size.requests).map(|nth| event_id(round, connection, nth).to_string());
            missing.extend(ids);
        }
    }
    let acknowledged = missing.len();
    let mut before = None;
    loop {
        let filter = EventFilter { before, limit: 10_000, ..EventFilter::default() };
        let page = store.events(&filter).await.expect("readable");
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        for event in &page {
            missing.remove(&event.id);
        }
    }
    assert!(missing.is_empty(), "{} acknowledged events are not in the store", missing.len());
    acknowledged
}

async fn compare(size: Size) {
    let folder = support::folder();
    let store = SqliteStore::open(folder.path().join("ingest.db"), OpenOptions::new(Timestamp::now())).await;
    let store = Arc::new(store.expect("a store"));
    fill(&store, size.rows).await;
    let durable = server(Arc::clone(&store) as Arc<dyn Inbox>).await;
    let nowhere = server(Arc::new(Nowhere)).await;
    let mut sides = support::Sides::default();
    let mut latencies: [Vec<f64>; 4] = Default::default();
    for round in 0..size.rounds {
        let ours = measure(&durable, round, size).await;
        let bare = measure(&nowhere, round, size).await;
        sides.push(ours.rate, bare.rate);
        for (kept, new) in latencies.iter_mut().zip([ours.p50, ours.p99, bare.p50, bare.p99]) {
            kept.push(new);
        }
    }
    let acknowledged = verify(&store, size).await;
    let [p50, p99, bare_p50, bare_p99] = latencies.map(|kept| support::median(&kept));
    println!(
        "ingest_256: {} connections, {} events there before, {acknowledged} acknowledged and all found; \
         p50 / p99 {p50:.1} / {p99:.1} ms, without a store {bare_p50:.1} / {bare_p99:.1} ms",
        size.connections, size.rows
    );
    sides.print("ingest_256", "requests/s");
    durable.shutdown(Duration::from_secs(1)).await;
    nowhere.shutdown(Duration::from_secs(1)).await;
    store.close().await;
}

fn main() {
    support::runtime().block_on(async {
        match support::after("load").as_deref() {
            Some([address, numbers @ ..]) => {
                let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
                let [round, connections, requests] = numbers[..] else {
                    panic!("load ADDRESS ROUND CONNECTIONS REQUESTS")
                };
                load(address, round, connections, requests).await;
            }
            _ => compare(Size::get()).await,
        }
    });
}
