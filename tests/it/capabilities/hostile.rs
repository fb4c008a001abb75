//! The webhook endpoint under attack: ten thousand hostile connections of six kinds beside one sender that signs.
//!
//! Measurements are printed as `ratio NAME VALUE`, even with captured test output; nothing of it is asserted.

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use usersync::{
    demo::stack::HOOK_SECRET,
    engine::SystemClock,
    keycloak::signature::WebhookSecret,
    store::{EventFilter, Inbox, OperatorStore, StoreReads, sqlite},
    telemetry::{Health, Metrics},
    web::{HookConnector, HookSecrets, Hooks, Server, ServerSettings},
};

/// Connections of each kind.
const OF_EACH: usize = 10_000 / 6 + 1;
/// Connections that are opened concurrently.
const AT_ONCE: usize = 64;
/// Pause between two connections: the attackers run on the same cores, and their work must not be measured.
const PACE: Duration = Duration::from_millis(1);
/// Requests of the signed sender before the attack, and the minimum during it.
const SIGNED: usize = 200;
const BUDGET: usize = 64 << 20;

/// Kind of a hostile connection.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Only half of a request's headers.
    UnfinishedHeaders,
    /// A body shorter than its announced length.
    UnfinishedBody,
    /// A body that grows by a byte per chunk, without an end.
    EndlessChunks,
    /// No signature, with a large body sent at once.
    Unsigned,
    /// A complete request for an unknown connector.
    UnknownConnector,
    /// A complete request that is signed with another secret.
    WrongSecret,
}

const KINDS: [Kind; 6] = [
    Kind::UnfinishedHeaders,
    Kind::UnfinishedBody,
    Kind::EndlessChunks,
    Kind::Unsigned,
    Kind::UnknownConnector,
    Kind::WrongSecret,
];

fn head(connector: &str, more: &str) -> String {
    format!("POST /hooks/{connector} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n{more}")
}

fn signature(secret: &str, id: &str, body: &str) -> String {
    let now = Timestamp::now();
    let tag = WebhookSecret::parse(&secret.into()).unwrap().sign(id, now, body.as_bytes()).unwrap();
    format!("webhook-id: {id}\r\nwebhook-timestamp: {}\r\nwebhook-signature: {tag}\r\n", now.as_second())
}

fn whole(connector: &str, secret: &str, id: &str, body: &str) -> String {
    let length = body.len();
    head(connector, &format!("{}content-length: {length}\r\n\r\n{body}", signature(secret, id, body)))
}

impl Kind {
    fn first(self, nth: usize) -> String {
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let signed = signature(other, "msg_1", "");
        let body = "x".repeat(8 * 1024);
        match self {
            Self::UnfinishedHeaders => head("acme", "webhook-id: msg"),
            Self::UnfinishedBody => head("acme", &format!("{signed}content-length: 1000000\r\n\r\n{body}")),
            Self::EndlessChunks => {
                head("acme", &format!("{signed}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n1\r\nx\r\n"))
            }
            Self::Unsigned => head("acme", &format!("content-length: 100000\r\n\r\n{body}")),
            Self::UnknownConnector => whole(&format!("guess-{nth}"), other, "msg_1", &body),
            Self::WrongSecret => whole("acme", other, "msg_1", &body),
        }
    }

    /// Returns whether the connection stays open as long as the server allows.
    fn stays(self) -> bool {
        matches!(self, Self::UnfinishedHeaders | Self::UnfinishedBody | Self::EndlessChunks)
    }
}

/// Connects and sends; returns the connection if its kind stays open.
async fn attack(address: std::net::SocketAddr, kind: Kind, nth: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(kind.first(nth).as_bytes()).await.ok()?;
    if kind.stays() {
        return Some(stream);
    }
    let _ = stream.read(&mut [0; 512]).await;
    None
}

/// Sends one signed request on its own connection; returns the duration.
async fn signed(address: std::net::SocketAddr, nth: usize) -> Duration {
    let body = format!(
        r#"{{"id":"00000000-0000-4000-8000-{nth:012}","time":1790000000000,"realmName":"acme","operationType":"UPDATE","resourceType":"USER","resourcePath":"users/u{nth}"}}"#
    );
    let request = whole("acme", HOOK_SECRET, &format!("msg_{nth}"), &body);
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 202"), "signed request {nth}: {answer}");
    began.elapsed()
}

fn p99(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() * 99 / 100].as_secs_f64()
}

/// Returns the process's memory in use, in bytes.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_sender_gets_through_ten_thousand_hostile_connections() {
    let (metrics, health) = (Arc::new(Metrics::new()), Health::of(&["store"]));
    let hooks = Hooks::new(1 << 20, Arc::new(SystemClock), Arc::clone(&metrics), health.clone()).with_budget(BUDGET);
    let hooks = Arc::new(hooks);
    let settings = ServerSettings { listen: ([127, 0, 0, 1], 0).into(), tls: None };
    let server = Server::start(&settings, Arc::clone(&hooks), metrics, health.clone()).await.unwrap();
    let store = sqlite::SqliteStore::open_temporary(sqlite::OpenOptions::new(Timestamp::now())).await.unwrap();
    let store = Arc::new(store);
    let connector = HookConnector {
        name: "acme".into(),
        realm: "acme".to_owned(),
        targets: vec!["jira".into()],
        secrets: Arc::new(HookSecrets::new(vec![Arc::new(|| Ok(HOOK_SECRET.to_owned().into()))], None)),
        uses: usersync::model::Uses::default(),
        removed: false,
    };
    hooks.open(Arc::clone(&store) as Arc<dyn Inbox>, vec![connector]);
    health.ok("store");
    let address = server.address();

    let mut quiet = Vec::new();
    for nth in 0..SIGNED {
        quiet.push(signed(address, nth).await);
    }
    let before = memory();
    let attackers = tokio::spawn(async move {
        let all = (0..OF_EACH).flat_map(|nth| KINDS.map(|kind| (kind, nth)));
        let paced = stream::unfold((tokio::time::interval(PACE), all), async |(mut pace, mut all)| {
            let next = all.next()?;
            pace.tick().await;
            Some((next, (pace, all)))
        });
        let connections = paced.map(|(kind, nth)| attack(address, kind, nth)).buffer_unordered(AT_ONCE);
        connections.filter_map(|stream| async { stream }).collect::<Vec<_>>().await
    });
    let (mut attacked, mut peak) = (Vec::new(), before);
    while !attackers.is_finished() || attacked.len() < SIGNED {
        attacked.push(signed(address, SIGNED + attacked.len()).await);
        peak = peak.max(memory());
    }
    let open = attackers.await.unwrap();
    // While all lasting connections are still open.
    for _ in 0..SIGNED {
        attacked.push(signed(address, SIGNED + attacked.len()).await);
        peak = peak.max(memory());
    }
    let events = store.events(&EventFilter { limit: 0, ..EventFilter::default() }).await.unwrap();
    assert_eq!(
        events.len(),
        SIGNED + attacked.len(),
        "nothing of the signed sender is lost, and nothing else is stored"
    );
    let refusals = store.refusals().await.unwrap();
    assert!(refusals.len() <= 6, "{refusals:#?}");

    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "ratio hook_signed_p99_under_attack {:.3}", p99(attacked) / p99(quiet));
    let _ = writeln!(out, "ratio hook_memory_under_attack {:.3}", peak.saturating_sub(before) as f64 / BUDGET as f64);
    let _ = writeln!(out, "({} hostile connections, {} still open)", OF_EACH * KINDS.len(), open.len());
    drop(out);
    drop(open);
    server.shutdown(Duration::from_secs(1)).await;
    store.close().await;
}
