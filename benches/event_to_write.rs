//! Time from a change in Keycloak to its last write in Jira, against a bare client that makes the same HTTP calls one
//! after another. Both simulators have a latency of 5 ms a call.

mod support;

use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use usersync::demo::stack::{CLIENT_SECRET, CONNECTOR, SimulatedServers, Stack, StackOptions};
use usersync_simulators::{
    Entry,
    keycloak::{NewUser, UserChange},
};

const LATENCY: Duration = Duration::from_millis(5);
/// Warm-up rounds, which are not counted.
const WARM: usize = 3;
/// Users that the rounds do not change, so that no safety limit is reached.
const STAFF: usize = 700;

#[derive(Clone, Copy)]
enum Change {
    Create,
    Update,
    Disable,
}

const CHANGES: [Change; 3] = [Change::Create, Change::Update, Change::Disable];

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Disable => "disable",
        }
    }

    fn login(self, round: usize) -> String {
        format!("{}-{round:03}", self.name())
    }

    /// Returns whether this is the last write that the change causes.
    fn is_last_write(self, entry: &Entry) -> bool {
        match self {
            Self::Create => entry.method == "POST" && entry.path.ends_with("/group/user"),
            Self::Update | Self::Disable => entry.method == "PUT" && entry.path.ends_with("/user"),
        }
    }
}

/// A recorded call, to be repeated.
struct Call {
    at_jira: bool,
    entry: Entry,
}

struct Bench {
    servers: SimulatedServers,
    stack: Stack,
    bare: reqwest::Client,
}

impl Bench {
    async fn build(rounds: usize) -> Self {
        let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
        let realm = &servers.realm;
        let staff = (0..STAFF).map(|number| NewUser::named(format!("staff-{number:03}")));
        realm.import_users(staff).expect("imported");
        for change in [Change::Update, Change::Disable] {
            let users = (0..rounds).map(|round| NewUser::named(change.login(round)).in_groups(&["/engineering"]));
            realm.import_users(users).expect("imported");
        }
        let stack = servers.build().await.expect("the stack stands");
        stack.in_service().await.expect("the first run ends");
        servers.keycloak.faults.set_latency(LATENCY);
        servers.jira.faults.set_latency(LATENCY);
        Self { servers, stack, bare: reqwest::Client::new() }
    }

    fn forget_calls(&self) {
        self.servers.keycloak.journal.clear();
        self.servers.jira.journal.clear();
    }

    /// Returns when the last write of a change took effect; waits for it.
    async fn written(&self, change: Change) -> SystemTime {
        for _ in 0..20_000 {
            let writes = self.servers.jira.journal.matching(|entry| change.is_last_write(entry));
            if let Some(last) = writes.last() {
                // The journal has the time of the read; the request takes effect after the latency.
                return last.at + LATENCY;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the {} did not reach Jira: {:#?}", change.name(), self.stack.metrics.encode())
    }

    /// Makes the change in Keycloak. Returns the time to its last write, and the calls up to that write.
    async fn by_event(&self, change: Change, round: usize) -> (f64, Vec<Call>) {
        let (realm, login) = (&self.servers.realm, change.login(round));
        let known = realm.snapshot().user(&login).map(|user| user.id.clone());
        self.forget_calls();
        let began = SystemTime::now();
        match (change, known) {
            (Change::Create, _) => {
                let user = NewUser::named(&login).in_groups(&["/engineering"]);
                realm.create_user(user).await.expect("made");
            }
            (Change::Update, Some(id)) => {
                let new = UserChange { last_name: Some(format!("Renamed{round}")), ..UserChange::default() };
                realm.update_user(&id, new).await.expect("updated");
            }
            (Change::Disable, Some(id)) => {
                realm.update_user(&id, UserChange::enabled(false)).await.expect("disabled");
            }
            (_, None) => panic!("{login} is not there"),
        }
        let written = self.written(change).await;
        let took = support::ms(written.duration_since(began).expect("later"));
        let mut calls = Vec::new();
        for (at_jira, journal) in [(false, &self.servers.keycloak.journal), (true, &self.servers.jira.journal)] {
            let until = written - LATENCY;
            let needed = journal.matching(|entry| entry.at <= until);
            calls.extend(needed.into_iter().map(|entry| Call { at_jira, entry }));
        }
        calls.sort_by_key(|call| call.entry.at);
        self.settle().await;
        (took, calls)
    }

    /// Waits until everything is done, including the other events of the change.
    async fn settle(&self) {
        self.servers.realm.webhook_idle().await;
        self.stack.quiet(SignedDuration::from_secs(1)).await.expect("all work is done");
    }

    /// Repeats the same calls one after another; a new user gets another login, so that the calls have the same effect.
    async fn by_bare_client(&self, change: Change, round: usize, calls: &[Call], token: &str) -> f64 {
        let (login, other) = (change.login(round), format!("b{}", change.login(round)));
        let again = |text: &str| match change {
            Change::Create => text.replace(&login, &other),
            Change::Update | Change::Disable => text.to_owned(),
        };
        let (keycloak, jira) = (self.servers.keycloak.url(), self.servers.jira.url());
        let requests: Vec<_> = calls
            .iter()
            .map(|Call { at_jira, entry }| {
                let (base, token) = if *at_jira { (&jira, "simulator-token") } else { (&keycloak, token) };
                let method = entry.method.parse().expect("a method");
                let request = self.bare.request(method, format!("{base}{}", again(&entry.target()))).bearer_auth(token);
                let body = again(&String::from_utf8_lossy(&entry.body));
                if body.is_empty() { request } else { request.header("content-type", &entry.content_type).body(body) }
            })
            .collect();
        self.forget_calls();
        let began = SystemTime::now();
        for request in requests {
            let answer = request.send().await.expect("answered");
            let status = answer.status();
            let body = answer.bytes().await.expect("read");
            assert!(status.is_success() || status == 404, "{status}: {}", String::from_utf8_lossy(&body));
        }
        let written = self.written(change).await;
        support::ms(written.duration_since(began).expect("later"))
    }

    async fn token(&self) -> String {
        let form = [("grant_type", "client_credentials"), ("client_id", "usersync"), ("client_secret", CLIENT_SECRET)];
        let url = format!("{}/realms/{CONNECTOR}/protocol/openid-connect/token", self.servers.keycloak.url());
        let answer = self.bare.post(url).form(&form).send().await.expect("answered");
        let answer: serde_json::Value = answer.json().await.expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }
}

async fn compare(rounds: usize) {
    let bench = Bench::build(WARM + rounds).await;
    let mut sides: [support::Sides; 3] = Default::default();
    let mut counts: [Vec<String>; 3] = Default::default();
    for round in 0..WARM + rounds {
        let token = bench.token().await;
        for ((change, sides), counts) in CHANGES.into_iter().zip(&mut sides).zip(&mut counts) {
            let (ours, calls) = bench.by_event(change, round).await;
            let bare = bench.by_bare_client(change, round, &calls, &token).await;
            if round >= WARM {
                sides.push(ours, bare);
                let call = |call: &Call| format!("{} {}", call.entry.method, call.entry.path);
                *counts = calls.iter().map(call).collect();
            }
        }
    }
    let mut worst = 0.0_f64;
    for ((change, sides), calls) in CHANGES.into_iter().zip(&sides).zip(&counts) {
        let name = format!("event_to_write_{}", change.name());
        println!("{name}: {} calls: {}", calls.len(), calls.join(", "));
        sides.print(&name, "ms");
        worst = worst.max(sides.ratio());
    }
    println!("ratio event_to_write {worst:.3}");
    bench.stack.stop().await;
}

fn main() {
    let rounds = if support::is_smoke() { 1 } else { support::number("ROUNDS", 25) };
    support::runtime().block_on(compare(rounds));
}
