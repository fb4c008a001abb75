//! Alerts: each change of a state is announced once, to a webhook or by a command.

use std::{
    collections::VecDeque,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER},
    routing::post,
};
use axum_server::tls_rustls::RustlsConfig;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use usersync_simulators::keycloak::NewUser;

use super::{
    place::Place,
    schemas::assert_valid,
    served::{STEP_TIMEOUT, Served},
};

/// The key of `SECRET`.
const KEY: &[u8] = b"a key of thirty-two bytes length";

pub(super) fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

/// Computes HMAC-SHA256 as RFC 2104 defines it.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()).to_vec()
}

/// A request to the receiver of alerts.
#[derive(Clone)]
pub(super) struct Received {
    pub id: String,
    pub body: Value,
    pub status: u16,
}

impl Received {
    /// Describes the alert in a few words.
    fn short(&self) -> String {
        let data = &self.body["data"];
        let kinds = |key: &str| {
            let problems = data[key].as_array().into_iter().flatten();
            problems.map(|one| one["problem"].as_str().unwrap_or_default()).collect::<Vec<_>>().join(",")
        };
        format!("{} began:{} ended:{}", data["state"].as_str().unwrap_or_default(), kinds("began"), kinds("ended"))
    }
}

#[derive(Default)]
struct Inbox {
    received: Vec<Received>,
    /// The next answers; then 204.
    answers: VecDeque<u16>,
}

/// A server that verifies and records alerts.
#[derive(Clone)]
pub(super) struct Receiver {
    pub url: String,
    inbox: Arc<Mutex<Inbox>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let url = format!("http://{}/alerts?key=part-of-the-address", listener.local_addr().expect("an address"));
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let router = Router::new().fallback(post(receive)).with_state(Arc::clone(&inbox));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inbox }
    }

    /// The same with TLS and this certificate for localhost.
    async fn start_with_tls(certificate: &str, key: &str) -> Self {
        let tls = RustlsConfig::from_pem(certificate.into(), key.into()).await.expect("a configuration");
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let router = Router::new().fallback(post(receive)).with_state(Arc::clone(&inbox));
        let handle = axum_server::Handle::new();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let server = axum_server::bind_rustls(any, tls).handle(handle.clone());
        tokio::spawn(server.serve(router.into_make_service()));
        let port = handle.listening().await.expect("a port").port();
        Self { url: format!("https://localhost:{port}/alerts"), inbox }
    }

    pub fn answers(&self, answers: impl IntoIterator<Item = u16>) {
        self.inbox.lock().answers = answers.into_iter().collect();
    }

    pub fn all(&self) -> Vec<Received> {
        self.inbox.lock().received.clone()
    }

    /// Returns the accepted alerts in a few words.
    fn accepted(&self) -> Vec<String> {
        self.all().iter().filter(|one| one.status == 204).map(Received::short).collect()
    }

    /// Waits until there are so many accepted alerts.
    async fn has(&self, count: usize, served: &Served) -> Vec<String> {
        let began = Instant::now();
        while self.accepted().len() < count {
            assert!(began.elapsed() < STEP_TIMEOUT, "{:?}\n{}", self.accepted(), served.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.accepted()
    }

    /// Returns the configuration of an alert that is sent here.
    pub fn alert(&self) -> String {
        let (url, secret) = (&self.url, secret());
        format!("\n[[alert]]\nname = \"ops\"\nwebhook = \"{url}\"\nsecret = \"{secret}\"\nafter = \"500ms\"\n")
    }
}

async fn receive(State(inbox): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: String) -> (StatusCode, HeaderMap) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let expected = format!("v1,{}", STANDARD.encode(hmac(KEY, format!("{id}.{timestamp}.{body}").as_bytes())));
    let age = jiff::Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap_or_default();
    let is_signed = header("webhook-signature") == expected && (-5..60).contains(&age);
    let mut inbox = inbox.lock();
    let status = if is_signed { inbox.answers.pop_front().unwrap_or(204) } else { 401 };
    let body = serde_json::from_str(&body).expect("JSON");
    inbox.received.push(Received { id, body, status });
    let asks = (status == 429).then(|| (RETRY_AFTER, HeaderValue::from_static("1800")));
    (StatusCode::from_u16(status).expect("a status"), asks.into_iter().collect())
}

#[test]
fn the_computation_of_the_receiver_is_that_of_the_specification() {
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
    let text = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
    assert_eq!(STANDARD.encode(hmac(&key, text)), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[tokio::test]
async fn a_problem_is_announced_once_and_its_end_once_also_over_a_restart() {
    let receiver = Receiver::start().await;
    let alert = receiver.alert();
    let mut served =
        Served::configured("apply", |_| {}, |place| place.configure(|text| format!("{text}{alert}"))).await;
    served.place.secrets.push(secret());
    served.until(&["status"], 0, "In sync.").await;
    let token = served.servers.jira.token().to_owned();
    served.servers.jira.revoke_token(&token);
    served.servers.realm.create_user(NewUser::named("alice")).await.expect("created");
    assert_eq!(receiver.has(1, &served).await, ["degraded began:degraded ended:"]);
    let data = &receiver.all()[0].body["data"];
    assert_eq!(receiver.all()[0].body["type"], "state.changed");
    assert_eq!((&data["connector"], &data["target"]), (&"acme".into(), &"jira".into()));
    let status = served.place.run(&["status"]).await;
    let sentence = data["began"][0]["sentence"].as_str().expect("a sentence");
    assert!(sentence.starts_with("Degraded: jira refuses usersync's credentials, for "), "{sentence}");
    status.ended(4).says("Degraded: jira refuses usersync's credentials, for ");

    served.restart().await;
    served.until(&["status"], 4, "Degraded: jira refuses").await;
    served.servers.jira.set_credentials("admin", "admin", "another-token");
    served.place.configure(|text| text.replace(&token, "another-token"));
    served.signal("-HUP");
    let began = Instant::now();
    while receiver.accepted().last().is_none_or(|last| last != "in_sync began: ended:degraded") {
        assert!(began.elapsed() < STEP_TIMEOUT, "{:?}\n{}", receiver.accepted(), served.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Tasks that wait for another attempt may be a problem of their own for a moment.
    for key in ["began", "ended"] {
        let all = receiver.all();
        let problems = all.iter().filter_map(|one| one.body["data"][key].as_array()).flatten();
        let refused = problems.filter(|one| one["sentence"].as_str().is_some_and(|text| text.contains("refuses")));
        assert_eq!(refused.count(), 1, "{key}: {:?}", receiver.accepted());
    }
    assert!(!served.log().contains(&secret()) && !served.log().contains("part-of-the-address"), "{}", served.log());
}

#[tokio::test]
async fn an_alert_that_is_not_accepted_is_shown_and_sent_once_it_is_also_after_a_restart() {
    let receiver = Receiver::start().await;
    receiver.answers(std::iter::repeat_n(503, 1_000));
    let alert = receiver.alert();
    let mut served = Served::configured("hold", |_| {}, |place| place.configure(|text| format!("{text}{alert}"))).await;
    served.place.secrets.push(secret());
    let status = served.until(&["status"], 1, "not delivered").await;
    status.says("alert ops    1 alert is not delivered since ").says("127.0.0.1 answers HTTP 503. Next attempt ");
    status.says("Correct it, then test it: usersync alert test ops");
    let (_, document) = served.place.json(&["status"]).await;
    assert_valid(&["status"], &document);
    assert_eq!((&document["alerts"][0]["name"], &document["alerts"][0]["waiting"]), (&"ops".into(), &1.into()));
    assert!(document["alerts"][0]["undelivered"]["attempts"].as_u64() >= Some(1), "{document}");
    let (_, metrics) = served.get("/metrics").await;
    assert!(metrics.contains("usersync_alerts_waiting{alert=\"ops\"} 1"), "{metrics}");
    assert!(metrics.contains("usersync_alerts_total{alert=\"ops\",result=\"failed\"} "), "{metrics}");

    served.restart().await;
    receiver.answers([]);
    let accepted = receiver.has(1, &served).await;
    assert_eq!(accepted, ["first_run_waits began:approval ended:"]);
    let ids: std::collections::BTreeSet<String> = receiver.all().into_iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), 1, "every attempt has the same id");
    served.until(&["status"], 3, "Waits for its first run's approval").await;
    let began = Instant::now();
    while served.place.json(&["status"]).await.1["alerts"][0]["undelivered"] != Value::Null {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", served.log());
    }
    served.place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    let accepted = receiver.has(2, &served).await;
    assert!(accepted[1].ends_with("began: ended:approval"), "{accepted:?}");
    assert!(!served.log().contains(&secret()) && !served.log().contains("part-of-the-address"), "{}", served.log());
}

/// Writes a program.
pub(super) fn program(place: &Place, name: &str, script: &str) -> String {
    let file = place.file(name);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).expect("executable");
    file.display().to_string()
}

#[tokio::test]
async fn a_command_that_fails_is_shown_and_run_again() {
    let served = Served::configured(
        "hold",
        |_| {},
        |place| {
            let ready = place.file("ready").display().to_string();
            let got = place.file("got").display().to_string();
            let script =
                format!("[ -e {ready} ] || {{ echo no pager >&2; exit 3; }}; cat >> {got}; echo \" $1\" >> {got}");
            let program = program(place, "page", &script);
            place.configure(|text| {
                format!(
                    "{text}\n[[alert]]\nname = \"pager\"\ncommand = [\"{program}\", \"a b;c\"]\nafter = \"500ms\"\n"
                )
            });
        },
    )
    .await;
    let status = served.until(&["status"], 1, "not delivered").await;
    status.says("page ended with exit code 3: no pager. Next attempt ");
    std::fs::write(served.place.file("ready"), "").expect("written");
    let began = Instant::now();
    let text = loop {
        let text = std::fs::read_to_string(served.place.file("got")).unwrap_or_default();
        if text.ends_with('\n') {
            break text;
        }
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", served.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let body: Value = serde_json::from_str(text.strip_suffix(" a b;c\n").expect("its argument")).expect("JSON");
    assert_eq!((&body["type"], &body["data"]["began"][0]["problem"]), (&"state.changed".into(), &"approval".into()));
    let began = Instant::now();
    while served.place.json(&["status"]).await.1["alerts"][0]["undelivered"] != Value::Null {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", served.log());
    }
    assert_eq!(std::fs::read_to_string(served.place.file("got")).expect("read"), text, "it is announced once");
}

#[tokio::test]
async fn a_command_that_hangs_ends_with_the_server() {
    let mut served = Served::configured("hold", |_| {}, |place| {
        let program = program(place, "hang", &format!("sleep 600 & echo $! > {}; wait", place.file("pid").display()));
        place.configure(|text| {
            format!("{text}\n[[alert]]\nname = \"pager\"\ncommand = [\"{program}\"]\nafter = \"500ms\"\ntimeout = \"1h\"\n")
        });
    })
    .await;
    let began = Instant::now();
    let pid = loop {
        match std::fs::read_to_string(served.place.file("pid")) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => assert!(began.elapsed() < STEP_TIMEOUT, "{}", served.log()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    served.signal("-TERM");
    assert_eq!(served.child.wait().expect("ended").code(), Some(0));
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !state().is_empty() && !state().contains(") Z ") {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", state());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_test_alert_reports_what_the_receiver_answered() {
    let receiver = Receiver::start().await;
    let mut place = Place::nowhere();
    place.run(&["alert", "test"]).await.ended(2).complains("the configuration has no [[alert]]");
    place.configure(|text| format!("{text}{}", receiver.alert()));
    place.secrets.extend([secret(), "part-of-the-address".to_owned()]);
    place.run(&["alert", "test"]).await.ended(0).says("alert ops    The test alert was delivered in ");
    assert_eq!(receiver.all()[0].body["type"], "alert.test");
    receiver.answers([404, 302]);
    let ran = place.run(&["alert", "test", "ops"]).await;
    ran.ended(1).says("The test alert was not delivered: 127.0.0.1 answers HTTP 404.");
    let (code, document) = place.json(&["alert", "test"]).await;
    assert_eq!((code, &document["alerts"][0]["delivered"]), (1, &false.into()));
    let error = document["alerts"][0]["error"].as_str();
    assert_eq!(error, Some("127.0.0.1 answers HTTP 302, and redirects are not followed"));
    assert_valid(&["alert", "test"], &document);
    place.run(&["alert", "test", "opps"]).await.ended(2).complains("did you mean ops?");
    place.configure(|text| text.replace(&receiver.url, "http://127.0.0.1:9/"));
    place.run(&["alert", "test"]).await.ended(1).says("The test alert was not delivered: 127.0.0.1: ");
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it_and_a_reload_repeats_at_once_with_the_new_secret() {
    let receiver = Receiver::start().await;
    receiver.answers([429]);
    let alert = receiver.alert();
    let mut served = Served::configured("hold", |_| {}, |place| place.configure(|text| format!("{text}{alert}"))).await;
    served.place.secrets.push(secret());
    served.until(&["status"], 1, "answers HTTP 429. Next attempt in ").await;
    let (_, document) = served.place.json(&["status"]).await;
    let undelivered = &document["alerts"][0]["undelivered"];
    let at = |key: &str| undelivered[key].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok()).expect("a time");
    let waits = at("again_at").duration_since(at("since")).as_secs();
    assert!((1_790..=1_810).contains(&waits), "{document}");

    // Another key: the receiver refuses it.
    let other = format!("whsec_{}", STANDARD.encode([7; 32]));
    served.place.configure(|text| text.replace(&secret(), &other));
    served.signal("-HUP");
    served.until(&["status"], 1, "answers HTTP 401. Next attempt in ").await;
    assert!(served.log().contains("secrets=\"alert ops.secret\""), "{}", served.log());
    served.place.configure(|text| text.replace(&other, &secret()));
    served.signal("-HUP");
    assert_eq!(receiver.has(1, &served).await, ["first_run_waits began:approval ended:"]);
    assert!(!served.log().contains(&secret()) && !served.log().contains(&other), "{}", served.log());
}

#[tokio::test]
async fn a_webhook_is_reached_through_its_proxy() {
    let proxy = Receiver::start().await;
    let port: u16 = proxy.url.split([':', '/']).find_map(|part| part.parse().ok()).expect("a port");
    let place = Place::nowhere();
    // Nothing resolves this name: only the proxy is asked.
    let alert = proxy.alert().replace(&proxy.url, "http://alerts.invalid/hook");
    place.configure(|text| format!("{text}{alert}"));
    place.run(&["alert", "test"]).await.ended(1).says("The test alert was not delivered: alerts.invalid: ");
    place.configure(|text| format!("{text}proxy = \"http://127.0.0.1:{port}\"\n"));
    place.run(&["alert", "test"]).await.ended(0).says("The test alert was delivered in ");
    assert_eq!(proxy.all()[0].body["type"], "alert.test");
}

#[tokio::test]
async fn a_webhook_with_a_private_certificate_needs_its_ca_file() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let receiver = Receiver::start_with_tls(&made.cert.pem(), &made.signing_key.serialize_pem()).await;
    let place = Place::nowhere();
    place.configure(|text| format!("{text}{}", receiver.alert()));
    let ran = place.run(&["alert", "test"]).await;
    ran.ended(1).says("The test alert was not delivered: localhost: invalid peer certificate: UnknownIssuer.");
    std::fs::write(place.file("ca.pem"), made.cert.pem()).expect("written");
    place.configure(|text| format!("{text}ca_file = \"ca.pem\"\n"));
    place.run(&["alert", "test"]).await.ended(0).says("The test alert was delivered in ");
    assert_eq!(receiver.all().len(), 1);
}
