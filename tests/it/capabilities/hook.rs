//! The webhook endpoint: what it accepts, what it refuses and how; and that no secret leaks.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use usersync::{
    demo::stack::HOOK_SECRET,
    engine::SystemClock,
    keycloak::signature::WebhookSecret,
    model::{EventOutcome, RefusalReason},
    store::{EventFilter, Inbox, OperatorStore, StoreReads, TaskFilter, sqlite},
    telemetry::{Health, Metrics},
    web::{HookConnector, HookSecrets, Hooks, ReadSecret, Server, ServerSettings},
};

const OTHER_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const P2_SECRET: &str = "a-p2-secret-that-is-long-enough";

/// A webhook endpoint and its store, without the rest.
struct Listener {
    hooks: Arc<Hooks>,
    store: Arc<sqlite::SqliteStore>,
    health: Health,
    server: Server,
    file: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

fn reads(secret: &str) -> ReadSecret {
    let secret = secret.to_owned();
    Arc::new(move || Ok(secret.clone().into()))
}

fn connector(name: &str, removed: bool, secrets: &[&str], p2: Option<&str>) -> HookConnector {
    HookConnector {
        name: name.into(),
        realm: "acme".to_owned(),
        targets: vec!["jira".into()],
        secrets: Arc::new(HookSecrets::new(secrets.iter().map(|one| reads(one)).collect(), p2.map(reads))),
        uses: usersync::model::Uses::default(),
        removed,
    }
}

impl Listener {
    /// Returns a listener that is not open yet.
    async fn closed() -> Self {
        Self::closed_with(|hooks| hooks).await
    }

    async fn closed_with(change: impl FnOnce(Hooks) -> Hooks) -> Self {
        let health = Health::of(&["store"]);
        let metrics = Arc::new(Metrics::new());
        let hooks = Hooks::new(4096, Arc::new(SystemClock), Arc::clone(&metrics), health.clone()).with_waiting(2);
        let hooks = Arc::new(change(hooks));
        let settings = ServerSettings { listen: ([127, 0, 0, 1], 0).into(), tls: None };
        let server = Server::start(&settings, Arc::clone(&hooks), metrics, health.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("usersync.db");
        let options = sqlite::OpenOptions::new(Timestamp::now());
        let store = Arc::new(sqlite::SqliteStore::open(&file, options).await.unwrap());
        Self { hooks, store, health, server, file, _folder: folder }
    }

    async fn open() -> Self {
        Self::with(|hooks| hooks).await
    }

    async fn with(change: impl FnOnce(Hooks) -> Hooks) -> Self {
        let listener = Self::closed_with(change).await;
        let connectors = vec![
            connector("acme", false, &[HOOK_SECRET, OTHER_SECRET], None),
            connector("gone", true, &[HOOK_SECRET], None),
            connector("p2", false, &[HOOK_SECRET], Some(P2_SECRET)),
        ];
        listener.hooks.open(Arc::clone(&listener.store) as Arc<dyn Inbox>, connectors);
        let (health, failing) = (listener.health.clone(), listener.store.failing());
        tokio::spawn(async move { health.follow_store(failing, Timestamp::now).await });
        listener
    }

    /// Waits until `/readyz` answers with this status.
    async fn until_ready_is(&self, status: StatusCode) {
        let ready = format!("http://{}/readyz", self.server.address());
        for _ in 0..500 {
            if reqwest::get(&ready).await.unwrap().status() == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("/readyz does not answer {status}");
    }

    fn url(&self, connector: &str) -> String {
        format!("http://{}/hooks/{connector}", self.server.address())
    }

    async fn post(&self, connector: &str, secret: &str, body: &Value) -> Response {
        self.post_at(connector, secret, Timestamp::now(), body.to_string()).await
    }

    async fn post_at(&self, connector: &str, secret: &str, at: Timestamp, body: String) -> Response {
        let signature = WebhookSecret::parse(&secret.into()).unwrap().sign("msg_1", at, body.as_bytes()).unwrap();
        let request = reqwest::Client::new().post(self.url(connector)).body(body);
        let request = request.header("content-type", "application/json").header("webhook-id", "msg_1");
        let request = request.header("webhook-timestamp", at.as_second().to_string());
        request.header("webhook-signature", signature).send().await.unwrap()
    }

    async fn post_p2(&self, connector: &str, secret: &str, body: &Value) -> Response {
        let body = body.to_string();
        let tag = WebhookSecret::parse_p2(&secret.into()).unwrap().sign_p2(body.as_bytes()).unwrap();
        let request = reqwest::Client::new().post(self.url(connector)).body(body);
        let request = request.header("content-type", "application/json").header("X-Keycloak-Signature", tag);
        request.send().await.unwrap()
    }

    async fn events(&self) -> Vec<usersync::model::EventRecord> {
        self.store.events(&EventFilter { limit: 100, ..EventFilter::default() }).await.unwrap()
    }

    async fn tasks(&self) -> usize {
        self.store.tasks(&TaskFilter { limit: 100, ..TaskFilter::default() }).await.unwrap().len()
    }
}

/// Returns an event; the same one for the same number.
fn event(id: u32) -> Value {
    json!({
        "id": format!("00000000-0000-4000-8000-{id:012}"), "time": 1_790_000_000_000_i64 + i64::from(id), "realmName": "acme",
        "operationType": "UPDATE", "resourceType": "USER", "resourcePath": format!("users/11111111-0000-4000-8000-{id:012}"),
        "authDetails": { "ipAddress": "192.0.2.7" }
    })
}

#[tokio::test]
async fn one_event_an_array_and_an_object_of_events_are_accepted_and_distinguished_from_duplicates() {
    let l = Listener::open().await;
    let answer = l.post("acme", HOOK_SECRET, &event(1)).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "stored": 1, "duplicates": 0 }));
    let answer = l.post("acme", HOOK_SECRET, &json!([event(1), event(2)])).await;
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "stored": 1, "duplicates": 1 }));
    let answer = l.post("acme", OTHER_SECRET, &json!({ "events": [event(2), event(3), event(3)] })).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED, "each of several secrets is good");
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "stored": 1, "duplicates": 2 }));
    let answer = l.post("acme", HOOK_SECRET, &json!({ "events": [] })).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!((l.events().await.len(), l.tasks().await), (3, 3));
    assert!(l.events().await.iter().all(|event| !event.body.contains("192.0.2.7")), "no address is kept");
}

#[tokio::test]
async fn events_of_another_realm_and_unknown_ones_are_stored_as_ignored() {
    let l = Listener::open().await;
    let mut foreign = event(1);
    foreign["realmName"] = json!("other");
    let mut unknown = event(2);
    unknown["resourceType"] = json!("SOMETHING_NEW");
    unknown["resourcePath"] = json!("something/new");
    let answer = l.post("acme", HOOK_SECRET, &json!([foreign, unknown])).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let events = l.events().await;
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| matches!(event.outcome, EventOutcome::Ignored(_))), "{events:#?}");
    assert_eq!(l.tasks().await, 0);
}

#[tokio::test]
async fn the_p2_form_is_accepted_only_where_it_is_configured() {
    let l = Listener::open().await;
    let body = json!({
        "uid": "22222222-0000-4000-8000-000000000001", "time": Timestamp::now().as_millisecond(), "realmId": "acme", "realmName": "acme",
        "type": "admin.USER-UPDATE", "operationType": "UPDATE", "resourceType": "USER",
        "resourcePath": "users/11111111-0000-4000-8000-000000000001"
    });
    assert_eq!(l.post_p2("p2", P2_SECRET, &body).await.status(), StatusCode::ACCEPTED);
    assert_eq!(l.post_p2("p2", HOOK_SECRET, &body).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(l.post_p2("acme", P2_SECRET, &body).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(l.post_p2("acme", HOOK_SECRET, &body).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(l.tasks().await, 1);
}

#[tokio::test]
async fn user_events_of_the_p2_form_name_their_user_in_the_auth_details() {
    let l = Listener::open().await;
    let user = "11111111-0000-4000-8000-000000000002";
    let body = json!({
        "uid": "22222222-0000-4000-8000-000000000002", "id": "33333333-0000-4000-8000-000000000002",
        "time": Timestamp::now().as_millisecond(), "realmId": "1b2c", "realmName": "acme", "type": "access.UPDATE_PROFILE",
        "authDetails": { "realmId": "acme", "clientId": "account", "userId": user }, "details": { "context": "ACCOUNT" }
    });
    assert_eq!(l.post_p2("p2", P2_SECRET, &body).await.status(), StatusCode::ACCEPTED);
    let events = l.events().await;
    assert_eq!(events[0].hints, [usersync::model::Subject::user(user)]);
}

#[tokio::test]
async fn events_without_id_and_time_are_new_each_time() {
    let l = Listener::open().await;
    let body = json!({ "type": "USER-UPDATE", "resourcePath": "users/11111111-0000-4000-8000-000000000003" });
    for _ in 0..2 {
        let answer = l.post("acme", HOOK_SECRET, &body).await;
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "stored": 1, "duplicates": 0 }));
    }
}

#[tokio::test]
async fn an_unauthenticated_sender_learns_nothing_from_the_answer() {
    let l = Listener::open().await;
    let body = event(1).to_string();
    let now = Timestamp::now();
    let long = SignedDuration::from_mins(6);
    let client = reqwest::Client::new();
    let bare = client.post(l.url("acme")).header("content-type", "application/json").body(body.clone());
    let answers = [
        ("a wrong secret", l.post_at("acme", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", now, body.clone()).await),
        ("no signature", bare.send().await.unwrap()),
        ("an unknown connector", l.post_at("nobody", HOOK_SECRET, now, body.clone()).await),
        ("a replay", l.post_at("acme", HOOK_SECRET, now - long, body.clone()).await),
        ("a time to come", l.post_at("acme", HOOK_SECRET, now + long, body.clone()).await),
        ("a removed connector without its secret", l.post_at("gone", OTHER_SECRET, now, body.clone()).await),
    ];
    let mut reported = Vec::new();
    for (who, answer) in answers {
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{who}");
        reported.push((answer.headers().get("content-type").cloned(), answer.bytes().await.unwrap()));
    }
    assert!(reported.iter().all(|one| *one == reported[0]), "{reported:?}");
    assert_eq!(l.events().await.len(), 0);
    // A clock skew of a few minutes is accepted.
    for skew in [SignedDuration::from_mins(4), SignedDuration::from_mins(-4)] {
        assert_eq!(l.post_at("acme", HOOK_SECRET, now + skew, body.clone()).await.status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn the_sender_of_a_removed_connector_is_answered_to_stop() {
    let l = Listener::open().await;
    assert_eq!(l.post("gone", HOOK_SECRET, &event(1)).await.status(), StatusCode::GONE);
    assert_eq!(l.events().await.len(), 0);
}

#[tokio::test]
async fn bad_requests_get_their_own_answer() {
    let l = Listener::open().await;
    let now = Timestamp::now();
    assert_eq!(reqwest::get(l.url("acme")).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let answer = l.post_at("acme", HOOK_SECRET, now, "{\"a\":\n  nonsense".into()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let text = answer.text().await.unwrap();
    assert!(text.contains("line 2"), "{text}");
    for body in ["42", "{}", "[{\"a\":1}]"] {
        let answer = l.post_at("acme", HOOK_SECRET, now, body.into()).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let body = event(1).to_string();
    let signature = WebhookSecret::parse(&HOOK_SECRET.into()).unwrap().sign("msg_1", now, body.as_bytes()).unwrap();
    let request = reqwest::Client::new().post(l.url("acme")).header("content-type", "text/plain");
    let request = request.header("webhook-id", "msg_1").header("webhook-timestamp", now.as_second().to_string());
    let answer = request.header("webhook-signature", signature).body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(l.events().await.len(), 0);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_and_without_content_length() {
    let l = Listener::open().await;
    let large = format!("[{}1]", "1,".repeat(4096));
    let answer = l.post_at("acme", HOOK_SECRET, Timestamp::now(), large.clone()).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let now = Timestamp::now();
    let signature = WebhookSecret::parse(&HOOK_SECRET.into()).unwrap().sign("msg_1", now, large.as_bytes()).unwrap();
    let chunks = futures::stream::iter(large.into_bytes().chunks(1000).map(<[u8]>::to_vec).collect::<Vec<_>>());
    let chunks = futures::StreamExt::map(chunks, Ok::<_, std::io::Error>);
    let request = reqwest::Client::new().post(l.url("acme")).header("content-type", "application/json");
    let request = request.header("webhook-id", "msg_1").header("webhook-timestamp", now.as_second().to_string());
    let request = request.header("webhook-signature", signature);
    let answer = request.body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_sender_of_too_many_requests_is_rate_limited() {
    let l = Listener::open().await;
    let mut other = SqliteConnectOptions::new().filename(&l.file).connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    // Two concurrent ones are admitted and wait for the store.
    let posts = (0..4).map(async |id| l.post("acme", HOOK_SECRET, &event(id)).await);
    let answers = futures::future::join_all(posts).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|answer| answer.headers().contains_key("retry-after")));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(l.post("acme", HOOK_SECRET, &event(3)).await.status(), StatusCode::ACCEPTED);
}

/// Returns the headers of a request with a well-formed but invalid signature.
fn forged(connector: &str, length: usize) -> String {
    let (now, tag) = (Timestamp::now().as_second(), "A".repeat(43));
    format!(
        "POST /hooks/{connector} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\nwebhook-id: msg_1\r\n\
         webhook-timestamp: {now}\r\nwebhook-signature: v1,{tag}=\r\ncontent-length: {length}\r\n\r\n"
    )
}

async fn opened(l: &Listener, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(l.server.address()).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

async fn answered(mut stream: TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn no_body_is_read_before_the_signature_headers_are_valid() {
    let l = Listener::open().await;
    let good = forged("acme", 100);
    let now = Timestamp::now().as_second().to_string();
    for bad in [
        good.replace("webhook-signature", "x-signature"),
        good.replace("v1,", "v2,"),
        good.replace(&now, "1649367553"),
        good.replace("msg_1", "msg.1"),
        good.replace("webhook-", "x-").replace("x-signature: v1,", "x-keycloak-signature: "),
    ] {
        let answer = answered(opened(&l, bad.as_bytes()).await).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "answered without a byte of its body: {answer}\n{bad}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_a_timeout() {
    let l = Listener::with(|hooks| hooks.with_body_within(Duration::from_millis(50))).await;
    let answer = answered(opened(&l, format!("{}{{", forged("acme", 100)).as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_signed_sender_gets_through_whatever_unfinished_bodies_hold() {
    let l = Listener::with(|hooks| hooks.with_budget(256 << 10)).await;
    // Sixteen of them fill the quarter for unverified bodies; later ones evict the first.
    let mut slow = Vec::new();
    for _ in 0..64 {
        slow.push(opened(&l, format!("{}{{\"a\":", forged("acme", 4000)).as_bytes()).await);
    }
    for id in 0..10 {
        assert_eq!(l.post("acme", HOOK_SECRET, &event(id)).await.status(), StatusCode::ACCEPTED);
    }
    let pushed_out = answered(slow.remove(0)).await;
    assert!(pushed_out.starts_with("HTTP/1.1 429") && pushed_out.contains("retry-after"), "{pushed_out}");
}

/// Returns what is stored of refused requests after the server has stopped.
async fn kept(l: Listener) -> Vec<(Option<String>, RefusalReason, u64)> {
    let Listener { server, store, .. } = l;
    server.shutdown(Duration::from_secs(1)).await;
    let refusals = store.refusals().await.unwrap();
    let mut kept: Vec<_> =
        refusals.into_iter().map(|one| (one.connector.map(|name| name.to_string()), one.reason, one.count)).collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn refused_requests_are_counted_by_connector_and_reason() {
    let l = Listener::open().await;
    let (now, body) = (Timestamp::now(), event(1).to_string());
    let wrong = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for _ in 0..3 {
        l.post_at("acme", wrong, now, body.clone()).await;
    }
    l.post_at("acme", HOOK_SECRET, now - SignedDuration::from_mins(6), body.clone()).await;
    l.post_at("acme", HOOK_SECRET, now + SignedDuration::from_mins(6), body.clone()).await;
    l.post_at("acme", HOOK_SECRET, now, "nonsense".into()).await;
    l.post_at("acme", HOOK_SECRET, now, "{}".into()).await;
    l.post_at("acme", HOOK_SECRET, now, "1".repeat(5000)).await;
    l.post_p2("acme", P2_SECRET, &event(1)).await;
    l.post_p2("p2", OTHER_SECRET, &event(1)).await;
    for name in 0..50 {
        l.post_at(&format!("guess-{name}"), wrong, now, body.clone()).await;
    }
    reqwest::Client::new().post(l.url("acme")).body(body.clone()).send().await.unwrap();
    let acme = |reason, count| (Some("acme".to_owned()), reason, count);
    let mut expected = vec![
        (None, RefusalReason::UnknownConnector, 50),
        acme(RefusalReason::Unsigned, 1),
        acme(RefusalReason::TooOld, 1),
        acme(RefusalReason::TooNew, 1),
        acme(RefusalReason::WrongSecret, 3),
        acme(RefusalReason::P2NotAccepted, 1),
        acme(RefusalReason::TooLarge, 1),
        acme(RefusalReason::NotJson, 1),
        acme(RefusalReason::NotAnEvent, 1),
        (Some("p2".to_owned()), RefusalReason::WrongP2Secret, 1),
    ];
    expected.sort();
    assert_eq!(kept(l).await, expected, "one row each, whatever names are sent");
}

#[tokio::test]
async fn the_first_refusal_is_stored_at_once_for_other_processes() {
    let l = Listener::open().await;
    l.post("acme", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &event(1)).await;
    let beside = sqlite::SqliteStore::open_beside(&l.file, sqlite::OpenOptions::new(Timestamp::now())).await.unwrap();
    let mut refusals = beside.refusals().await.unwrap();
    for _ in 0..500 {
        if !refusals.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        refusals = beside.refusals().await.unwrap();
    }
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].reason, RefusalReason::WrongSecret);
    beside.close().await;
}

#[tokio::test]
async fn before_it_is_open_and_while_it_drains_senders_get_503_with_retry_after() {
    let l = Listener::closed().await;
    let answer = l.post("acme", HOOK_SECRET, &event(1)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let l = Listener::open().await;
    l.health.drain();
    let answer = l.post("acme", HOOK_SECRET, &event(1)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(l.events().await.len(), 0);
}

#[tokio::test]
async fn while_the_store_cannot_be_written_nothing_is_acknowledged_until_it_can() {
    let l = Listener::open().await;
    let mut other = SqliteConnectOptions::new().filename(&l.file).connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let answer = l.post("acme", HOOK_SECRET, &event(1)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    l.until_ready_is(StatusCode::SERVICE_UNAVAILABLE).await;
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(l.post("acme", HOOK_SECRET, &event(1)).await.status(), StatusCode::ACCEPTED);
    l.until_ready_is(StatusCode::OK).await;
    assert_eq!(l.events().await.len(), 1);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_an_answer_or_in_the_log() {
    let log = Log::default();
    let written = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let l = Listener::open().await;
    let mut reported = String::new();
    // A call site that another test reaches first while this subscriber is registered would stay silent. After the first
    // round, all are known.
    for _ in 0..2 {
        tracing::callsite::rebuild_interest_cache();
        for (connector, secret) in
            [("acme", HOOK_SECRET), ("acme", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), ("gone", HOOK_SECRET)]
        {
            reported += &l.post(connector, secret, &event(1)).await.text().await.unwrap();
            reported += &l.post_at(connector, secret, Timestamp::now(), "nonsense".into()).await.text().await.unwrap();
        }
    }
    reported += &l.post_p2("p2", P2_SECRET, &json!({})).await.text().await.unwrap();
    reported += &reqwest::get(format!("http://{}/metrics", l.server.address())).await.unwrap().text().await.unwrap();
    // Refusals are logged concurrently with the answers.
    let text = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for _ in 0..500 {
        if text().contains("refused") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = text();
    assert!(log.contains("refused"), "the log is caught: {log}");
    for secret in [HOOK_SECRET, OTHER_SECRET, P2_SECRET] {
        let bare = secret.trim_start_matches("whsec_");
        assert!(!reported.contains(bare) && !log.contains(bare));
    }
}
