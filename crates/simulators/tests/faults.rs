//! Tests of the faults and switches of simulated servers.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usersync_simulators::fault::{Fault, Gate, Kind, Stale};
use usersync_simulators::jira::NewAccount;
use usersync_simulators::{JiraOptions, SimulatedJira};

const TOKEN: &str = "simulator-token";

async fn jira() -> SimulatedJira {
    let options = JiraOptions { history: 10, ..JiraOptions::default() };
    SimulatedJira::start(options).await.expect("a free port")
}

// One client for all tests, without a pool: each test has its own runtime.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
});

async fn get(jira: &SimulatedJira, path: &str) -> Result<reqwest::Response, reqwest::Error> {
    HTTP.get(format!("{}/rest/api/2{path}", jira.url())).bearer_auth(TOKEN).send().await
}

async fn status(jira: &SimulatedJira, path: &str) -> u16 {
    get(jira, path).await.expect("an answer").status().as_u16()
}

async fn add_group(jira: &SimulatedJira, name: &str) -> Result<reqwest::Response, reqwest::Error> {
    let request = HTTP.post(format!("{}/rest/api/2/group", jira.url())).bearer_auth(TOKEN);
    request.json(&json!({ "name": name })).send().await
}

#[tokio::test]
async fn a_fault_strikes_what_it_names_as_often_as_it_says() {
    let jira = jira().await;
    let id = jira.faults.add(Fault::status(500, "{}").method("GET").path("/myself").after(1).times(2));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(status(&jira, "/myself").await);
    }
    assert_eq!(seen, [200, 500, 500, 200]);
    assert_eq!(jira.faults.hits(id), 2);
    assert_eq!(status(&jira, "/serverInfo").await, 200, "another path");
    jira.faults.add(Fault::unavailable().path("maxResults=7"));
    assert_eq!(status(&jira, "/user/list?maxResults=8").await, 200);
    let page = get(&jira, "/user/list?maxResults=7").await.expect("an answer");
    assert_eq!(
        (page.status().as_u16(), page.headers()["content-type"].to_str().ok()),
        (503, Some("text/html;charset=UTF-8"))
    );
    assert!(page.text().await.expect("a page").starts_with("<html>"));
    jira.faults.clear();
    let id = jira.faults.add(Fault::too_many(7));
    let limited = get(&jira, "/myself").await.expect("an answer");
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"7".parse().expect("a header")));
    jira.faults.remove(id);
    assert_eq!(status(&jira, "/myself").await, 200);
    jira.faults.add(Fault::login_redirect("https://sso.example.org/login").once());
    let redirect = get(&jira, "/myself").await.expect("an answer");
    assert_eq!(redirect.status().as_u16(), 302);
    assert_eq!(redirect.headers()["location"], "https://sso.example.org/login");
}

#[tokio::test]
async fn a_late_request_has_its_effect_when_its_client_is_gone() {
    let jira = Arc::new(jira().await);
    let has = |name: &str| jira.snapshot().groups.contains_key(name);
    let gate = Gate::default();
    let late = jira.faults.add(Fault::late(&gate).method("POST").once());
    let client = tokio::spawn({
        let jira = Arc::clone(&jira);
        async move { add_group(&jira, "late").await }
    });
    while jira.faults.hits(late) == 0 {
        tokio::task::yield_now().await;
    }
    client.abort();
    assert!(client.await.is_err_and(|ended| ended.is_cancelled()));
    assert!(!has("late"), "the gate is closed");
    gate.open();
    while !has("late") {
        tokio::task::yield_now().await;
    }
    assert_eq!(jira.journal.count("POST", "/group"), 1);
    // Later requests find the gate open.
    jira.faults.add(Fault::late(&gate).method("POST").once());
    assert_eq!(add_group(&jira, "later").await.expect("an answer").status().as_u16(), 201);
}

#[tokio::test]
async fn effects_happen_before_or_not_at_all() {
    let jira = jira().await;
    let has = |name: &str| jira.snapshot().groups.contains_key(name);
    jira.faults.add(Fault::status(503, "").method("POST").once());
    assert_eq!(add_group(&jira, "a").await.expect("an answer").status().as_u16(), 503);
    assert!(!has("a"), "refused before the effect");
    jira.faults.add(Fault::new(Kind::AnswerAfter { status: 502, body: "gone".into() }).method("POST").once());
    assert_eq!(add_group(&jira, "b").await.expect("an answer").status().as_u16(), 502);
    assert!(has("b"), "answered wrongly after the effect");
    jira.faults.add(Fault::cut().method("POST").once());
    assert!(add_group(&jira, "c").await.is_err());
    assert!(!has("c"), "cut before the effect");
    jira.faults.add(Fault::cut_after().method("POST").once());
    assert!(add_group(&jira, "d").await.is_err());
    assert!(has("d"), "cut after the effect");
    jira.faults.add(Fault::new(Kind::CutMidway(5)).method("POST").once());
    let answer = add_group(&jira, "e").await.expect("a status at least");
    assert_eq!(answer.status().as_u16(), 201);
    assert!(answer.text().await.is_err(), "the body breaks off");
    assert!(has("e"));
    let entries = jira.journal.writes();
    let statuses: Vec<Option<u16>> = entries.iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [Some(503), Some(502), None, None, Some(201)]);
    assert!(entries[0].faulted && entries[1].faulted && !entries[4].faulted);
}

#[tokio::test]
async fn delays_come_before_or_after_the_effect() {
    let jira = jira().await;
    let jira = Arc::new(jira);
    let long = Duration::from_hours(1);
    let ask = |name: &'static str| {
        let jira = Arc::clone(&jira);
        tokio::spawn(async move { add_group(&jira, name).await.map(|_| ()) })
    };
    let id = jira.faults.add(Fault::delay(long).method("POST").once());
    let request = ask("a");
    while jira.faults.hits(id) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!jira.snapshot().groups.contains_key("a") && !request.is_finished(), "waits before the effect");
    request.abort();
    jira.faults.add(Fault::delay_after(long).method("POST").once());
    let request = ask("b");
    while !jira.snapshot().groups.contains_key("b") {
        tokio::task::yield_now().await;
    }
    assert!(!request.is_finished(), "waits after the effect");
    request.abort();
    let latency = Duration::from_millis(30);
    jira.faults.set_latency(latency);
    let start = Instant::now();
    assert_eq!(status(&jira, "/serverInfo").await, 200);
    assert!(start.elapsed() >= latency);
    jira.faults.set_latency(Duration::ZERO);
}

#[tokio::test]
async fn bodies_are_spoiled() {
    let jira = jira().await;
    jira.faults.add(Fault::truncate(20).path("/myself").once());
    let text = get(&jira, "/myself").await.expect("an answer").text().await.expect("a clean end");
    assert_eq!(text.len(), 20);
    assert!(serde_json::from_str::<Value>(&text).is_err());
    jira.faults.add(Fault::new(Kind::Huge(3_000_000)).path("/myself").once());
    let text = get(&jira, "/myself").await.expect("an answer").text().await.expect("a body");
    assert!(text.len() > 3_000_000);
    assert_eq!(serde_json::from_str::<Value>(&text).expect("still JSON")["name"], "admin");
    jira.faults.add(Fault::html(200, "<html>Please log in</html>").path("/myself").once());
    let text = get(&jira, "/myself").await.expect("an answer").text().await.expect("a body");
    assert!(text.starts_with("<html>"));
}

#[tokio::test]
async fn stale_reads_see_the_past() {
    let jira = jira().await;
    for name in ["one", "two", "three"] {
        jira.add_group(name);
    }
    let names = async || {
        let found = get(&jira, "/groups/picker?query=").await.expect("an answer").json::<Value>().await.expect("JSON");
        found["total"].as_u64().expect("a number")
    };
    assert_eq!(names().await, 5);
    let id = jira.faults.add(Fault::stale(Stale::ChangesAgo(2)).path("/groups/picker"));
    assert_eq!(names().await, 3, "two changes ago");
    jira.faults.remove(id);
    jira.freeze();
    jira.add_group("four");
    assert_eq!(names().await, 6);
    jira.faults.add(Fault::stale(Stale::Frozen).path("/groups/picker"));
    jira.add_group("five");
    assert_eq!(names().await, 5, "as it was when it was frozen");
    jira.faults.clear();
    assert_eq!(names().await, 7);
}

#[tokio::test]
async fn the_journal_remembers_and_forgets() {
    let jira = jira().await;
    jira.add_account(NewAccount::named("ada"));
    add_group(&jira, "dev").await.expect("an answer");
    get(&jira, "/user?username=ada").await.expect("an answer");
    let entries = jira.journal.entries();
    assert_eq!((entries.len(), jira.journal.len(), jira.journal.count("*", "/rest/")), (2, 2, 2));
    assert_eq!((entries[0].method.as_str(), entries[0].path.as_str()), ("POST", "/rest/api/2/group"));
    assert_eq!((entries[0].json(), entries[0].answer_json()["name"].clone()), (json!({ "name": "dev" }), json!("dev")));
    assert_eq!((entries[1].target(), entries[1].status), ("/rest/api/2/user?username=ada".into(), Some(200)));
    assert!(entries[0].at <= entries[1].at && entries[0].is_write() && !entries[1].is_write());
    assert_eq!((jira.journal.writes().len(), jira.journal.count("GET", "username=ada")), (1, 1));
    jira.journal.clear();
    jira.journal.record(false);
    get(&jira, "/myself").await.expect("an answer");
    assert!(jira.journal.is_empty());
}

#[tokio::test]
async fn a_server_ends_with_its_value() {
    let jira = jira().await;
    let url = format!("{}/rest/api/2/serverInfo", jira.url());
    // A client that keeps its connection must not keep the server running.
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    assert_eq!(http.get(&url).send().await.expect("an answer").status().as_u16(), 200);
    jira.shutdown().await;
    assert!(HTTP.get(&url).send().await.is_err());
    let dropped = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
    let url = dropped.url();
    drop(dropped);
    tokio::task::yield_now().await;
    assert!(HTTP.get(&url).send().await.is_err());
}
