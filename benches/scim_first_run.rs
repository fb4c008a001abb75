//! The first full reconcile into an empty SCIM server that shows no groups of users and does not filter by member,
//! against a bare client that makes the fewest calls. The simulators run in another process, which counts the calls.

mod support;

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
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
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    KeycloakOptions, ScimOptions, SimulatedKeycloak, SimulatedScim,
    keycloak::NewUser,
    scim::{Filters, Visibility},
};

const REALM: &str = "acme";
const SECRET: &str = "bench-client-secret";
const PARALLEL: usize = 8;
/// Members per write.
const AT_ONCE: usize = 100;
const EACH: usize = 5;

#[derive(Clone, Copy)]
struct Size {
    users: usize,
    groups: usize,
}

impl Size {
    fn get() -> Self {
        if support::is_smoke() {
            return Self { users: 40, groups: 10 };
        }
        Self { users: support::number("USERS", 10_000), groups: support::number("GROUP_COUNT", 200) }
    }

    fn groups_of(self, user: usize) -> impl Iterator<Item = usize> {
        (0..EACH).map(move |nth| (user + nth * 7) % self.groups)
    }
}

fn login(user: usize) -> String {
    format!("user-{user:06}")
}

/// Serves a full realm and an empty SCIM server with this latency in milliseconds. For each line of its input it prints
/// the number of calls.
async fn serve(size: Size, latency: u64) {
    let keycloak = SimulatedKeycloak::start(KeycloakOptions { journal: false, ..KeycloakOptions::default() }).await;
    let keycloak = keycloak.expect("a simulated Keycloak");
    let mut options = ScimOptions::default();
    options.switches.groups_told = Visibility::Never;
    options.switches.member_filters = Filters::Broken;
    options.switches.bulk = 0;
    let scim = SimulatedScim::start(options).await.expect("a simulated SCIM server");
    scim.faults.set_latency(Duration::from_millis(latency));
    let realm = keycloak.add_realm(REALM);
    realm.add_service_client("usersync", SECRET, &["view-users", "view-events"]);
    let users = (0..size.users).map(|user| {
        let paths: Vec<String> = size.groups_of(user).map(|group| format!("/group-{group:04}")).collect();
        NewUser::named(login(user)).in_groups(&paths.iter().map(String::as_str).collect::<Vec<_>>())
    });
    realm.import_users(users).expect("imported");
    println!("{} {}", keycloak.url(), scim.url());
    let asked = || tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    while matches!(asked().await, Ok(Ok(1..))) {
        let members: usize = scim.snapshot().groups.values().map(std::collections::BTreeSet::len).sum();
        println!("{} {members}", scim.journal.len());
    }
}

struct Servers {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    keycloak: Url,
    scim: Url,
}

impl Servers {
    async fn start(size: Size) -> Self {
        let latency = support::number("LATENCY", 20);
        let mut child = Command::new(std::env::current_exe().expect("our own program"))
            .arg("serve")
            .args([size.users, size.groups, latency].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let input = child.stdin.take().expect("its input");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = output.next_line().await.expect("read").expect("it tells its addresses");
        let (keycloak, scim) = line.split_once(' ').expect("two addresses");
        let url = |text: &str| Url::parse(text).expect("a URL");
        let (keycloak, scim) = (url(keycloak), url(scim));
        Self { _child: child, input, output, keycloak, scim }
    }

    /// Returns the number of calls so far, and of memberships.
    async fn asked(&mut self) -> (usize, usize) {
        self.input.write_all(b"\n").await.expect("asked");
        let line = self.output.next_line().await.expect("read").expect("an answer");
        let (calls, members) = line.split_once(' ').expect("two numbers");
        (calls.parse().expect("a number"), members.parse().expect("a number"))
    }
}

async fn ours(servers: &Servers, size: Size) -> Duration {
    let token = Credentials::Token(Arc::new(|| Ok(ScimOptions::default().token.into())));
    let mut settings = ScimSettings::new(servers.scim.clone(), token);
    settings.http.parallel = PARALLEL;
    let mut port = TargetPort::new("wiki".into(), Arc::new(ScimTarget::new(settings).expect("a client")));
    port.parallel = PARALLEL;
    let secret = Arc::new(|| Ok(SECRET.to_owned().into()));
    let source = KeycloakSource::new(KeycloakSettings::new(servers.keycloak.clone(), REALM, "usersync", secret));
    let source = Arc::new(source.expect("a client"));
    let connector = Connector::new(REALM.into(), source, Policy::default(), vec!["wiki".into()]);
    let folder = support::folder();
    let store = SqliteStore::open(folder.path().join("run.db"), OpenOptions::new(Timestamp::now())).await;
    let store = Arc::new(store.expect("a store"));
    let pair = Pair::new(REALM, "wiki");
    store.ensure_pairs(std::slice::from_ref(&pair), Timestamp::now()).await.expect("written");
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let engine = Engine::new(shared, Arc::new(SystemClock), Jitter::random(), vec![connector], vec![port]);
    let first = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
    let began = Instant::now();
    let (_, report) = Box::pin(engine.run(&pair, &first)).await.expect("the first run ends well");
    let took = began.elapsed();
    assert!(!report.has_problems() && report.done.get("create") == Some(&(size.users as u64)), "{report:#?}");
    store.close().await;
    took
}

/// Creates groups, then users, then adds a hundred members per write.
async fn bare(scim: &Url, size: Size) -> Duration {
    let client = reqwest::Client::new();
    let base = scim.as_str().trim_end_matches('/').to_owned();
    let token = ScimOptions::default().token;
    let send = async |method: reqwest::Method, below: String, body: Value| -> Result<Value, reqwest::Error> {
        let call = client.request(method, format!("{base}{below}")).bearer_auth(&token).json(&body);
        let bytes = call.send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    };
    let id = |made: Value| made["id"].as_str().expect("an id").to_owned();
    let post = |below: &str, body: Value| send(reqwest::Method::POST, below.to_owned(), body);
    let began = Instant::now();
    let groups = (0..size.groups).map(|nth| {
        let schemas = ["urn:ietf:params:scim:schemas:core:2.0:Group"];
        post("/Groups", json!({ "schemas": schemas, "displayName": format!("group-{nth:04}") }))
    });
    let groups: Vec<String> =
        stream::iter(groups).buffered(PARALLEL).map_ok(id).try_collect().await.expect("groups are created");
    let users = (0..size.users).map(|user| {
        let schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"];
        post(
            "/Users",
            json!({ "schemas": schemas, "userName": login(user), "displayName": login(user), "active": true }),
        )
    });
    let users: Vec<String> =
        stream::iter(users).buffered(PARALLEL).map_ok(id).try_collect().await.expect("users are created");
    let mut members: Vec<Vec<&str>> = vec![Vec::new(); size.groups];
    for (user, id) in users.iter().enumerate() {
        size.groups_of(user).for_each(|group| members[group].push(id));
    }
    let writes = members.iter().enumerate().flat_map(|(group, members)| {
        let below = format!("/Groups/{}", groups[group]);
        members.chunks(AT_ONCE).map(move |some| {
            let value: Vec<Value> = some.iter().map(|id| json!({ "value": id })).collect();
            let operation = json!({ "op": "add", "path": "members", "value": value });
            let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
            (below.clone(), json!({ "schemas": schemas, "Operations": [operation] }))
        })
    });
    let writes = writes.map(|(below, body)| send(reqwest::Method::PATCH, below, body));
    stream::iter(writes).buffer_unordered(PARALLEL).try_for_each(async |_| Ok(())).await.expect("members are added");
    began.elapsed()
}

async fn compare(size: Size) {
    let mut sides = support::Sides::default();
    for _ in 0..support::number("ROUNDS", 1) {
        let mut servers = Servers::start(size).await;
        let took = ours(&servers, size).await;
        let (calls, members) = servers.asked().await;
        assert_eq!(members, size.users * EACH);
        let mut others = Servers::start(size).await;
        let alone = bare(&others.scim, size).await;
        let (fewest, members) = others.asked().await;
        assert_eq!(members, size.users * EACH);
        #[allow(clippy::cast_precision_loss)]
        let per_user = |calls: usize| calls as f64 / size.users as f64;
        println!(
            "scim_first_run: {calls} calls, {:.3} for each user; the bare client {fewest}, {:.3}",
            per_user(calls),
            per_user(fewest)
        );
        #[allow(clippy::cast_precision_loss)]
        let rate = |took: Duration| size.users as f64 / took.as_secs_f64();
        sides.push(rate(took), rate(alone));
    }
    sides.print("scim_first_run", "users/s");
}

fn main() {
    support::runtime().block_on(async {
        if let Some(numbers) = support::after("serve") {
            let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
            let [users, groups, latency] = numbers[..] else { panic!("serve USERS GROUPS LATENCY") };
            serve(Size { users, groups }, latency as u64).await;
        } else {
            compare(Size::get()).await;
        }
    });
}
