//! A full reconcile that finds nothing to do, against a bare walk that decodes and discards the same pages with the
//! same parallelism. The simulators run in another process.

mod support;

use std::{
    collections::BTreeMap,
    io::Read as _,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
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
    telemetry::Metrics,
};
use usersync_simulators::{
    JiraOptions, KeycloakOptions, SimulatedJira, SimulatedKeycloak, jira::NewAccount, keycloak::NewUser,
};

const REALM: &str = "acme";
const SECRET: &str = "bench-client-secret";
/// Timeout of one request.
const PATIENCE: Duration = Duration::from_mins(10);
/// Page sizes: users of Keycloak, accounts of Jira, members of either.
const USERS_PAGE: usize = 500;
const MEMBERS_PAGE: usize = 50;
/// Parallelism: pages of users, lists of members.
const USERS_PARALLEL: usize = 4;
const MEMBERS_PARALLEL: usize = 8;

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
            return Self { users: 120, groups: 10, groups_each: 2, rounds: 1 };
        }
        Self {
            users: support::number("USERS", 10_000),
            groups: support::number("GROUP_COUNT", 200),
            groups_each: support::number("GROUPS_EACH", 5),
            rounds: support::number("ROUNDS", 9),
        }
    }
}

fn groups_of(user: usize, size: Size) -> Vec<String> {
    (0..size.groups_each).map(|nth| format!("group-{:04}", (user * 7 + nth * 41) % size.groups)).collect()
}

/// Serves both simulators, in sync with each other, until its input ends.
async fn serve(size: Size) {
    let keycloak = SimulatedKeycloak::start(KeycloakOptions { journal: false, ..KeycloakOptions::default() }).await;
    let keycloak = keycloak.expect("a simulated Keycloak");
    let jira = SimulatedJira::start(JiraOptions { journal: false, ..JiraOptions::default() }).await;
    let jira = jira.expect("a simulated Jira");
    let realm = keycloak.add_realm(REALM);
    realm.add_service_client("usersync", SECRET, &["view-users", "view-events"]);
    let login = |user: usize| format!("user-{user:06}");
    let users = (0..size.users).map(|user| {
        let paths: Vec<String> = groups_of(user, size).iter().map(|group| format!("/{group}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        NewUser::named(login(user)).in_groups(&paths)
    });
    realm.import_users(users).expect("imported");
    jira.add_accounts((0..size.users).map(|user| {
        let groups = groups_of(user, size);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        NewAccount::named(login(user)).in_groups(&groups)
    }));
    println!("{} {}", keycloak.url(), jira.url());
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0; 1]));
    let _ = ended.await;
}

/// The server process and its URLs.
struct Servers {
    child: Child,
    keycloak: Url,
    jira: Url,
}

impl Servers {
    async fn start(size: Size) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("our own program"))
            .arg("serve")
            .args([size.users, size.groups, size.groups_each].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines.next_line().await.expect("read").expect("it tells its addresses");
        let (keycloak, jira) = line.split_once(' ').expect("two addresses");
        let url = |text: &str| Url::parse(text).expect("a URL");
        Self { child, keycloak: url(keycloak), jira: url(jira) }
    }

    fn engine(&self, store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Engine {
        let secret = Arc::new(|| Ok(SECRET.to_owned().into()));
        let mut settings = KeycloakSettings::new(self.keycloak.clone(), REALM, "usersync", secret);
        // The memory is measured beside other work, too, so nothing may depend on the speed of the simulators.
        settings.connection.time_outs.call = PATIENCE;
        settings.connection.time_outs.long = PATIENCE;
        let source = KeycloakSource::new(settings);
        let token = Credentials::Token(Arc::new(|| Ok(JiraOptions::default().token.into())));
        let mut settings = JiraSettings::new(self.jira.clone(), token);
        settings.http.call_timeout = PATIENCE;
        let target = JiraTarget::new(settings).expect("a client");
        let source = Arc::new(source.expect("a client"));
        let connector = Connector::new(REALM.into(), source, Policy::default(), vec!["jira".into()]);
        let port = TargetPort::new("jira".into(), Arc::new(target));
        Engine::new(store, Arc::new(SystemClock), Jitter::random(), vec![connector], vec![port]).with_metrics(metrics)
    }
}

/// Fields that the bare walk decodes, the same as usersync reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "decoding it is what is measured")]
struct User {
    id: String,
    username: String,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    email_verified: Option<bool>,
    enabled: bool,
    federation_link: Option<String>,
    attributes: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct GroupName {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "decoding it is what is measured")]
struct Account {
    key: String,
    name: String,
    display_name: Option<String>,
    email_address: Option<String>,
    active: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    values: Vec<T>,
    is_last: Option<bool>,
    next_cursor: Option<serde_json::Value>,
}

/// A client that only reads and decodes.
struct Bare {
    client: reqwest::Client,
    admin: String,
    api: String,
    token: String,
}

/// Counts of a walk.
#[derive(Debug, PartialEq, Eq)]
struct Walked {
    users: usize,
    members: usize,
    accounts: usize,
    account_members: usize,
}

type Result<T> = std::result::Result<T, reqwest::Error>;

impl Bare {
    async fn new(servers: &Servers) -> Self {
        let base = servers.keycloak.as_str().trim_end_matches('/');
        let client = reqwest::Client::new();
        let form = [("grant_type", "client_credentials"), ("client_id", "usersync"), ("client_secret", SECRET)];
        let token = client.post(format!("{base}/realms/{REALM}/protocol/openid-connect/token")).form(&form);
        let token: serde_json::Value = token.send().await.expect("answered").json().await.expect("JSON");
        Self {
            client,
            admin: format!("{base}/admin/realms/{REALM}"),
            api: format!("{}/rest/api/2", servers.jira.as_str().trim_end_matches('/')),
            token: token["access_token"].as_str().expect("a token").to_owned(),
        }
    }

    async fn get<T: DeserializeOwned>(&self, url: String, token: &str) -> Result<T> {
        let answer = self.client.get(url).bearer_auth(token).send().await?.error_for_status()?;
        let body = answer.bytes().await?;
        Ok(serde_json::from_slice(&body).expect("what was expected"))
    }

    async fn admin<T: DeserializeOwned>(&self, below: String) -> Result<T> {
        self.get(format!("{}/{below}", self.admin), &self.token).await
    }

    async fn api<T: DeserializeOwned>(&self, below: String) -> Result<T> {
        self.get(format!("{}/{below}", self.api), &JiraOptions::default().token).await
    }

    async fn members(&self, group: &str) -> Result<usize> {
        let mut met = 0;
        loop {
            let page: Vec<Id> = self
                .admin(format!("groups/{group}/members?first={met}&max={USERS_PAGE}&briefRepresentation=true"))
                .await?;
            met += page.iter().filter(|member| !member.id.is_empty()).count();
            if page.len() < USERS_PAGE {
                return Ok(met);
            }
        }
    }

    async fn account_members(&self, group: &str) -> Result<usize> {
        let mut met = 0;
        loop {
            let page: Page<Account> = self
                .api(format!(
                    "group/member?groupname={group}&includeInactiveUsers=true&startAt={met}&maxResults={MEMBERS_PAGE}"
                ))
                .await?;
            met += page.values.len();
            if page.values.is_empty() || page.is_last == Some(true) {
                return Ok(met);
            }
        }
    }

    async fn walk(&self) -> Result<Walked> {
        let count: usize = self.admin("users/count".to_owned()).await?;
        let pages = (0..=count / USERS_PAGE).map(|page| {
            let first = page * USERS_PAGE;
            self.admin::<Vec<User>>(format!("users?first={first}&max={USERS_PAGE}&briefRepresentation=false"))
        });
        let pages: Vec<Vec<User>> = stream::iter(pages).buffered(USERS_PARALLEL).try_collect().await?;
        let groups: Vec<GroupName> =
            self.admin("groups?first=0&max=1000000&briefRepresentation=true".to_owned()).await?;
        let members = stream::iter(groups.iter().map(|group| self.members(&group.id))).buffered(MEMBERS_PARALLEL);
        let members: Vec<usize> = members.try_collect().await?;
        let mut accounts = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: Page<Account> = self.api(format!("user/list?maxResults=1000{cursor}")).await?;
            accounts.extend(page.values);
            match page.next_cursor {
                Some(next) if page.is_last != Some(true) => {
                    cursor = format!("&cursor={}", next.as_str().map_or_else(|| next.to_string(), str::to_owned));
                }
                _ => break,
            }
        }
        let walks = stream::iter(groups.iter().map(|group| self.account_members(&group.name)));
        let account_members: Vec<usize> = walks.buffered(MEMBERS_PARALLEL).try_collect().await?;
        Ok(Walked {
            users: pages.iter().map(Vec::len).sum(),
            members: members.iter().sum(),
            accounts: accounts.len(),
            account_members: account_members.iter().sum(),
        })
    }
}

/// Returns the peak memory of this process since the last call, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    // See proc(5): resets the peak.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    kilobytes * 1024
}

/// Returns the number of calls so far to the source or the target.
fn calls(metrics: &Metrics, peer: &str) -> u64 {
    let text = metrics.encode().expect("written to memory");
    let of = format!("usersync_calls_total{{peer=\"{peer}\"");
    let counts = text.lines().filter(|line| line.starts_with(&of)).filter_map(|line| line.rsplit(' ').next());
    counts.filter_map(|count| count.parse::<u64>().ok()).sum()
}

/// Prints the memory of a run: the total, and the bytes per user beyond the 60 MiB that every run may use.
fn print_memory(run: &str, size: Size) {
    let (peak, base) = (peak(), 60 * 1024 * 1024);
    let share = peak.saturating_sub(base) / size.users as u64;
    println!("memory {run} {} users: {} MB in all, {share} B a user beyond 60 MiB", size.users, peak / 1_000_000);
}

async fn compare(size: Size) {
    let mut servers = Servers::start(size).await;
    let folder = support::folder();
    // Without waits for the disk, the adoption of a million users takes minutes instead of hours.
    let durable = support::number("DURABLE", 1) != 0;
    let options = OpenOptions { durable, ..OpenOptions::new(Timestamp::now()) };
    let store = SqliteStore::open(folder.path().join("run.db"), options).await;
    let store = Arc::new(store.expect("a store"));
    let metrics = Arc::new(Metrics::new());
    let engine = servers.engine(Arc::clone(&store) as Arc<dyn Store>, Arc::clone(&metrics));
    let pair = Pair::new(REALM, "jira");
    store.ensure_pairs(std::slice::from_ref(&pair), Timestamp::now()).await.expect("written");
    let first = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
    let began = Instant::now();
    peak();
    let (_, report) = engine.run(&pair, &first).await.expect("the first run ends well");
    let adopted = ["adopt", "adopt_group"].map(|verb| report.done.get(verb).copied().unwrap_or_default());
    assert!(!report.has_problems() && adopted == [size.users as u64, size.groups as u64], "{report:#?}");
    print_memory("full_run_first", size);
    println!("full_run_idle: the first run adopted {} accounts in {:.1} s", size.users, began.elapsed().as_secs_f64());

    let mut sides = support::Sides::default();
    // One more round than is counted, to warm up connections and caches.
    for round in 0..=size.rounds {
        let began = Instant::now();
        peak();
        let before = ["source", "target"].map(|peer| calls(&metrics, peer));
        let (_, report) = engine.run(&pair, &RunOptions::apply(RunTrigger::Schedule)).await.expect("ends well");
        let ours = support::ms(began.elapsed());
        print_memory("full_run_idle", size);
        let made = [calls(&metrics, "source") - before[0], calls(&metrics, "target") - before[1]];
        println!(
            "calls full_run_idle {} users, {} groups: {} to Keycloak, {} to Jira",
            size.users, size.groups, made[0], made[1]
        );
        assert!(!report.has_problems() && report.done.is_empty() && report.raised == 0, "{report:#?}");
        assert_eq!(report.unchanged, size.users);
        let bare = Bare::new(&servers).await;
        let began = Instant::now();
        let walked = bare.walk().await.expect("walked");
        let took = support::ms(began.elapsed());
        let memberships = size.users * size.groups_each;
        assert_eq!((walked.users, walked.members), (size.users, memberships));
        assert_eq!((walked.accounts, walked.account_members), (report.accounts, memberships));
        if round > 0 || size.rounds == 0 {
            sides.push(ours, took);
        }
    }
    let name = if size.users == 10_000 { "full_run_idle_10k" } else { "full_run_idle" };
    sides.print(name, "ms");
    store.close().await;
    drop(servers.child.stdin.take());
    let _ = tokio::time::timeout(Duration::from_secs(5), servers.child.wait()).await;
}

fn main() {
    support::runtime().block_on(async {
        match support::after("serve").as_deref() {
            Some(numbers) => {
                let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
                let [users, groups, groups_each] = numbers[..] else { panic!("serve USERS GROUPS GROUPS_EACH") };
                serve(Size { users, groups, groups_each, rounds: 0 }).await;
            }
            None => Box::pin(compare(Size::get())).await,
        }
    });
}
