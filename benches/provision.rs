//! Provisioning of an empty target with a latency of 20 ms a call, against a bare client that makes the same calls with
//! the same parallelism. The simulators run in another process, which counts the calls. Also: whether a slow target
//! slows another one, and how fast many users are added to one group.

mod fill_group;
mod support;

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use url::Url;
use usersync::{
    engine::{Connector, Engine, Jitter, RunOptions, SystemClock, TargetPort},
    keycloak::{KeycloakSettings, KeycloakSource},
    model::{Pair, Policy, RunTrigger},
    store::{
        EngineStore, Store,
        sqlite::{OpenOptions, SqliteStore},
    },
    targets::{
        Credentials,
        jira::{JiraSettings, JiraTarget},
    },
};
use usersync_simulators::{JiraOptions, KeycloakOptions, SimulatedJira, SimulatedKeycloak, keycloak::NewUser};

const REALM: &str = "acme";
const SECRET: &str = "bench-client-secret";
/// Latency of a call to the simulated Jira.
const LATENCY: Duration = Duration::from_millis(20);
/// Calls in parallel.
const PARALLEL: usize = 16;

#[derive(Clone, Copy)]
struct Size {
    users: usize,
    groups: usize,
    groups_each: usize,
    rounds: usize,
}

impl Size {
    fn get() -> Self {
        if support::is_smoke() {
            return Self { users: 40, groups: 10, groups_each: 5, rounds: 1 };
        }
        Self {
            users: support::number("USERS", 5_000),
            groups: support::number("GROUP_COUNT", 100),
            groups_each: 5,
            rounds: support::number("ROUNDS", 3),
        }
    }

    /// Returns the groups of a user, all different.
    fn groups_of(self, user: usize) -> Vec<String> {
        (0..self.groups_each).map(|nth| format!("group-{:04}", (user + nth * 7) % self.groups)).collect()
    }
}

fn login(user: usize) -> String {
    format!("user-{user:06}")
}

/// Serves a full realm and an empty Jira. For each line of its input it prints the calls to the Jira so far.
async fn serve(size: Size, slow: bool) {
    let keycloak = SimulatedKeycloak::start(KeycloakOptions { journal: false, ..KeycloakOptions::default() }).await;
    let keycloak = keycloak.expect("a simulated Keycloak");
    let jira = SimulatedJira::start(JiraOptions::default()).await.expect("a simulated Jira");
    jira.faults.set_latency(if slow { LATENCY * 50 } else { LATENCY });
    let realm = keycloak.add_realm(REALM);
    realm.add_service_client("usersync", SECRET, &["view-users", "view-events"]);
    let users = (0..size.users).map(|user| {
        let paths: Vec<String> = size.groups_of(user).iter().map(|group| format!("/{group}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        NewUser::named(login(user)).in_groups(&paths)
    });
    realm.import_users(users).expect("imported");
    println!("{} {}", keycloak.url(), jira.url());
    let asked = || tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    while matches!(asked().await, Ok(Ok(1..))) {
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        for entry in jira.journal.entries() {
            *calls.entry(format!("{} {}", entry.method, entry.path)).or_default() += 1;
        }
        println!("{}", json!({ "calls": calls, "accounts": jira.snapshot().accounts.len() }));
    }
}

/// The server process and its URLs.
struct Servers {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    keycloak: Url,
    jira: Url,
}

/// Calls to the simulated Jira.
#[derive(Debug)]
struct Asked {
    calls: BTreeMap<String, usize>,
    accounts: usize,
}

impl Asked {
    fn writes(&self) -> usize {
        self.calls.iter().filter(|(call, _)| !call.starts_with("GET")).map(|(_, count)| count).sum()
    }

    fn all(&self) -> usize {
        self.calls.values().sum()
    }
}

impl Servers {
    async fn start(size: Size, slow: bool) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("our own program"))
            .arg("serve")
            .args([size.users, size.groups, size.groups_each, usize::from(slow)].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let input = child.stdin.take().expect("its input");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = output.next_line().await.expect("read").expect("it tells its addresses");
        let (keycloak, jira) = line.split_once(' ').expect("two addresses");
        let url = |text: &str| Url::parse(text).expect("a URL");
        let (keycloak, jira) = (url(keycloak), url(jira));
        Self { _child: child, input, output, keycloak, jira }
    }

    async fn asked(&mut self) -> Asked {
        self.input.write_all(b"\n").await.expect("asked");
        let line = self.output.next_line().await.expect("read").expect("an answer");
        let reported: Value = serde_json::from_str(&line).expect("JSON");
        let calls = reported["calls"].as_object().expect("calls");
        Asked {
            calls: calls
                .iter()
                .map(|(call, count)| (call.clone(), usize::try_from(count.as_u64().expect("a count")).expect("small")))
                .collect(),
            accounts: usize::try_from(reported["accounts"].as_u64().expect("a count")).expect("small"),
        }
    }

    fn port(&self, name: &str) -> TargetPort {
        let token = Credentials::Token(Arc::new(|| Ok(JiraOptions::default().token.into())));
        let mut settings = JiraSettings::new(self.jira.clone(), token);
        settings.http.parallel = PARALLEL;
        settings.applications = Some(vec!["jira-software".to_owned()]);
        let target = JiraTarget::new(settings).expect("a client");
        let mut port = TargetPort::new(name.into(), Arc::new(target));
        port.parallel = PARALLEL;
        port
    }

    fn connector(&self, targets: &[&str]) -> Connector {
        let secret = Arc::new(|| Ok(SECRET.to_owned().into()));
        let source = KeycloakSource::new(KeycloakSettings::new(self.keycloak.clone(), REALM, "usersync", secret));
        let targets = targets.iter().map(|name| (*name).into()).collect();
        Connector::new(REALM.into(), Arc::new(source.expect("a client")), Policy::default(), targets)
    }
}

/// A store on a real disk, and an engine that uses it.
struct Ours {
    engine: Engine,
    store: Arc<SqliteStore>,
    _folder: tempfile::TempDir,
}

impl Ours {
    async fn start(connector: Connector, ports: Vec<TargetPort>, pairs: &[Pair]) -> Self {
        let folder = support::folder();
        let store = SqliteStore::open(folder.path().join("run.db"), OpenOptions::new(Timestamp::now())).await;
        let store = Arc::new(store.expect("a store"));
        store.ensure_pairs(pairs, Timestamp::now()).await.expect("written");
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let engine = Engine::new(shared, Arc::new(SystemClock), Jitter::random(), vec![connector], ports);
        Self { engine, store, _folder: folder }
    }

    /// Runs the first full reconcile of a pair; returns its duration.
    async fn provision(&self, pair: &Pair, users: usize) -> Duration {
        let first = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
        let began = Instant::now();
        let (_, report) = self.engine.run(pair, &first).await.expect("the first run ends well");
        assert!(!report.has_problems() && report.done.get("create") == Some(&(users as u64)), "{report:#?}");
        began.elapsed()
    }
}

/// Makes the same calls with a bare client: groups, then users with their groups, one user after another in each
/// parallel slot. `reads` is the number of reads that usersync makes of each account that it created.
async fn bare(jira: &Url, size: Size, reads: usize) -> Duration {
    let client = reqwest::Client::new();
    let api = format!("{}/rest/api/2", jira.as_str().trim_end_matches('/'));
    let token = JiraOptions::default().token;
    let post = async |below: String, body: Value| {
        let answer = client.post(format!("{api}{below}")).bearer_auth(&token).json(&body).send().await;
        let answer = answer.expect("answered").error_for_status().expect("done");
        serde_json::from_slice::<Value>(&answer.bytes().await.expect("read")).expect("JSON")
    };
    let began = Instant::now();
    let groups = (0..size.groups).map(|nth| post("/group".to_owned(), json!({ "name": format!("group-{nth:04}") })));
    stream::iter(groups).buffer_unordered(PARALLEL).for_each(async |_| ()).await;
    let provision = async |user: usize| {
        let name = login(user);
        let made = post(
            "/user".to_owned(),
            json!({ "name": name, "displayName": name, "emailAddress": format!("{name}@example.org"),
                    "applicationKeys": ["jira-software"] }),
        )
        .await;
        let key = made["key"].as_str().expect("a key");
        for _ in 0..reads {
            let account = client.get(format!("{api}/user?key={key}&expand=groups")).bearer_auth(&token).send().await;
            account.expect("answered").bytes().await.expect("read");
        }
        for group in size.groups_of(user) {
            post(format!("/group/user?groupname={group}"), json!({ "name": name })).await;
        }
    };
    stream::iter((0..size.users).map(provision)).buffer_unordered(PARALLEL).for_each(async |()| ()).await;
    began.elapsed()
}

async fn compare(size: Size) {
    let pair = Pair::new(REALM, "jira");
    let mut sides = support::Sides::default();
    for round in 0..size.rounds {
        let mut servers = Servers::start(size, false).await;
        let ours = Ours::start(servers.connector(&["jira"]), vec![servers.port("jira")], std::slice::from_ref(&pair));
        let ours = ours.await;
        let took = ours.provision(&pair, size.users).await;
        let asked = servers.asked().await;
        ours.store.close().await;
        // The administrator is an additional account.
        assert_eq!(asked.accounts, size.users + 1);
        assert_eq!(asked.writes(), size.users * (1 + size.groups_each) + size.groups, "each write once: {asked:#?}");
        let reads = asked.calls.get("GET /rest/api/2/user").copied().unwrap_or_default() / size.users;
        let mut others = Servers::start(size, false).await;
        let alone = bare(&others.jira, size, reads).await;
        assert_eq!(others.asked().await.writes(), asked.writes());
        #[allow(clippy::cast_precision_loss)]
        if round == 0 {
            println!("provision: {:.3} calls for each user that was made", asked.all() as f64 / size.users as f64);
        }
        // Rates: usersync's against the bare client's.
        #[allow(clippy::cast_precision_loss)]
        let rate = |took: Duration| size.users as f64 / took.as_secs_f64();
        sides.push(rate(took), rate(alone));
    }
    let name = if size.users == 5_000 { "provision_5k" } else { "provision" };
    sides.print(name, "users/s");
}

/// Provisions two targets from one realm at once, where one has fifty times the latency. Compares the speed of the fast
/// one with its speed alone.
async fn beside_a_slow_one(size: Size) {
    let size = Size { users: size.users.min(500), rounds: size.rounds, ..size };
    let mut sides = support::Sides::default();
    for _ in 0..size.rounds {
        let (fast, slow) = (Servers::start(size, false).await, Servers::start(size, true).await);
        let pairs = [Pair::new(REALM, "jira"), Pair::new(REALM, "slow")];
        let ports = vec![fast.port("jira"), slow.port("slow")];
        let both = Ours::start(fast.connector(&["jira", "slow"]), ports, &pairs).await;
        let beside = async {
            let first = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
            // Cancelled when the other one has ended.
            let slowly = both.engine.run(&pairs[1], &first);
            tokio::select! {
                took = both.provision(&pairs[0], size.users) => took,
                _ = slowly => panic!("the slow one was faster"),
            }
        };
        let beside = Box::pin(beside).await;
        both.store.close().await;
        let alone = Servers::start(size, false).await;
        let one = std::slice::from_ref(&pairs[0]);
        let single = Ours::start(alone.connector(&["jira"]), vec![alone.port("jira")], one).await;
        let single_took = single.provision(&pairs[0], size.users).await;
        single.store.close().await;
        sides.push(1.0 / beside.as_secs_f64(), 1.0 / single_took.as_secs_f64());
    }
    sides.print("provision_beside_slow", "runs/s");
}

fn main() {
    support::runtime().block_on(async {
        if let Some(numbers) = support::after("serve") {
            let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
            let [users, groups, groups_each, slow] = numbers[..] else { panic!("serve USERS GROUPS GROUPS_EACH SLOW") };
            serve(Size { users, groups, groups_each, rounds: 0 }, slow == 1).await;
        } else if let Some(words) = support::after("fill") {
            let [kind, users] = &words[..] else { panic!("fill KIND USERS") };
            fill_group::serve(kind, users.parse().expect("a number")).await;
        } else {
            let size = Size::get();
            if support::number("FILL_ONLY", 0) == 0 {
                compare(size).await;
                Box::pin(beside_a_slow_one(size)).await;
            }
            for kind in [fill_group::Kind::Bitbucket, fill_group::Kind::Scim] {
                fill_group::compare(kind, size.users, size.rounds).await;
            }
        }
    });
}
