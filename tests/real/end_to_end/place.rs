//! A realm of the real Keycloak, set up by usersync itself, a simulated Jira, and a running usersync between them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use usersync::{
    demo::stack::{CONNECTOR, Site, Stack, StackOptions},
    keycloak::{
        Connection, KeycloakSettings,
        setup::{Setup, SetupOptions, SignIn},
    },
    model::{FirstRun, Policy, RunTrigger, Safety},
    store::{EventFilter, OperatorStore, Request, StoreReads, TaskFilter, sqlite::SqliteStore},
    targets::{Credentials, jira::JiraSettings},
};
use usersync_simulators::{JiraOptions, SimulatedJira};

use super::{
    compare::differences,
    keycloak::{Realm, Server},
    latency::Latencies,
};

/// Time limit for the listener's delivery, including its delay after a failed attempt.
const DELIVERED_WITHIN: Duration = Duration::from_mins(1);
/// Retries due sooner than this are waited for.
const HORIZON: SignedDuration = SignedDuration::from_secs(10);
/// Users from the start: enough that one more or less stays below every safety limit.
const STAFF: usize = 100;

/// A realm, a Jira, and the usersync between them.
pub struct Place {
    pub server: Server,
    pub realm: Arc<Realm>,
    pub jira: SimulatedJira,
    /// The usersync; `None`: it is stopped.
    stack: Option<Stack>,
    client_secret: String,
    port: u16,
    files: TempDir,
    fences: usize,
    latencies: Latencies,
}

/// Returns the options of `usersync keycloak setup` for a realm.
pub fn setup_options(server: &Server, realm: &str, port: u16) -> SetupOptions {
    let sign_in =
        SignIn::Password { realm: "master".into(), username: "admin".into(), password: "admin".to_owned().into() };
    SetupOptions {
        address: Some(format!("http://127.0.0.1:{port}/hooks/{CONNECTOR}").parse().expect("an address")),
        webhook_secret: Some(server.hook_secret.clone().into()),
        ..SetupOptions::new(Connection::new(server.url.parse().expect("a URL")), realm, "usersync", sign_in)
    }
}

impl Place {
    /// Prepares a new realm with its staff, set up, and a running usersync; `None`: no Keycloak is named. Each test has
    /// its own realm and port among those that the listener is configured with.
    pub async fn prepare(realm: &str, port: u16) -> Option<Self> {
        let server = Server::named()?;
        let port = server.hook_port + port;
        let realm = Realm::fresh(&server, realm).await;
        let client_secret = set_up(&server, &realm, port).await;
        hire(&realm).await;
        let jira = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
        let files = tempfile::tempdir().expect("a folder");
        let latencies = Latencies::new(&realm.name, &server.version);
        let realm = Arc::new(realm);
        let mut place = Self { server, realm, jira, stack: None, client_secret, port, files, fences: 0, latencies };
        place.start().await;
        place.stack().in_service().await.expect("the first run ends");
        place.quiet().await;
        place.compare("the first run").await;
        Some(place)
    }

    fn site(&self) -> Site {
        let (client_secret, hook_secret) = (self.client_secret.clone(), self.server.hook_secret.clone());
        let token = self.jira.token().to_owned();
        let store: PathBuf = self.files.path().join("usersync.db");
        Site {
            source: KeycloakSettings::new(
                self.server.url.parse().expect("a URL"),
                &self.realm.name,
                "usersync",
                Arc::new(move || Ok(client_secret.clone().into())),
            ),
            target: JiraSettings::new(
                self.jira.url().parse().expect("a URL"),
                Credentials::Token(Arc::new(move || Ok(token.clone().into()))),
            ),
            hook_secret: Arc::new(move || Ok(hook_secret.clone().into())),
            listen: ([127, 0, 0, 1], self.port).into(),
            options: StackOptions {
                policy: Policy {
                    first_run: FirstRun::Apply,
                    safety: Safety { count: 1_000, ..Safety::default() },
                    ..Policy::default()
                },
                store: Some(store),
                ..StackOptions::default()
            },
        }
    }

    /// Starts usersync on its existing store.
    pub async fn start(&mut self) {
        assert!(self.stack.is_none(), "it runs");
        self.stack = Some(self.site().build().await.expect("usersync starts"));
    }

    /// Stops usersync gracefully; Keycloak and Jira keep running.
    pub async fn stop(&mut self) {
        self.stack.take().expect("it runs").stop().await;
    }

    pub fn stack(&self) -> &Stack {
        self.stack.as_ref().expect("it runs")
    }

    /// Makes a change that must reach Jira, and checks that it does.
    pub async fn step<T>(&mut self, what: &str, change: impl AsyncFnOnce(&Realm) -> T) -> T {
        let (made, writes) = self.change(what, change).await;
        assert!(writes > 0, "{what}: nothing was written, {}", self.reported().await);
        made
    }

    /// Makes a change that must leave Jira unchanged.
    pub async fn idle_step<T>(&mut self, what: &str, change: impl AsyncFnOnce(&Realm) -> T) -> T {
        let (made, writes) = self.change(what, change).await;
        let written: Vec<_> = self.jira.journal.writes().into_iter().rev().take(writes).collect();
        assert_eq!(writes, 0, "{what}: nothing was to be written, but {written:#?}");
        made
    }

    async fn change<T>(&mut self, what: &str, change: impl AsyncFnOnce(&Realm) -> T) -> (T, usize) {
        let before = self.jira.journal.writes().len();
        let made = change(&self.realm).await;
        let answered = SystemTime::now();
        self.quiet().await;
        let writes = self.jira.journal.writes().split_off(before);
        self.latencies.note(what, answered, &writes);
        self.compare(what).await;
        (made, writes.len())
    }

    /// Waits until everything from the listener has arrived and all work is done.
    pub async fn quiet(&mut self) {
        self.fences += 1;
        let fence = format!("fence-{}", self.fences);
        self.realm.post("roles", &json!({"name": fence})).await;
        let about = format!("roles/{fence}");
        // The listener sends in order, so everything before the fence arrives before it.
        let began = Instant::now();
        while !self.events(20).await.iter().any(|event| event.1 == about) {
            assert!(began.elapsed() < DELIVERED_WITHIN, "{about} did not come, {}", self.reported().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Err(error) = self.stack().quiet(HORIZON).await {
            panic!(
                "{error}: {:#?}",
                self.stack().store.tasks(&TaskFilter { limit: 20, ..TaskFilter::default() }).await
            );
        }
    }

    /// Returns kind and object of the latest events, newest first.
    pub async fn events(&self, limit: usize) -> Vec<(String, String)> {
        let filter = EventFilter { limit, ..EventFilter::default() };
        let events = self.stack().store.events(&filter).await.expect("readable");
        events.into_iter().map(|event| (event.kind, event.about)).collect()
    }

    /// Returns the latest events, for a failure's message.
    async fn reported(&self) -> String {
        format!("the last events are {:#?}", self.events(10).await)
    }

    /// Compares the current states of both sides.
    pub async fn compare(&self, what: &str) {
        let differences = differences(&self.realm, &self.jira.snapshot()).await;
        if differences.is_empty() {
            return;
        }
        let tasks = self.stack().store.tasks(&TaskFilter { limit: 20, ..TaskFilter::default() }).await;
        let held = self.stack().store.approvals(true).await;
        panic!("{what}: {differences:#?}; {}; tasks {tasks:#?}; held {held:#?}", self.reported().await);
    }

    /// Prints the latencies, stops, and deletes the realm.
    pub async fn leave(mut self) {
        self.latencies.print();
        self.realm.leave().await;
        self.stop().await;
    }
}

/// Sets the realm up as `usersync keycloak setup` does, and checks that a second setup changes nothing. Returns the
/// client's secret.
pub async fn set_up(server: &Server, realm: &Realm, port: u16) -> String {
    let setup = Setup::connect(setup_options(server, &realm.name, port)).await.expect("the administrator signs in");
    let plan = setup.plan().await.expect("the realm is readable");
    assert!(!plan.is_empty(), "a fresh realm is set up already");
    let done = setup.apply(plan).await.expect("the realm can be set up");
    let again = setup.plan().await.expect("the realm is readable");
    assert_eq!(again.lines(), Vec::<String>::new(), "setting up again is to change nothing");
    let config = realm.get("events/config").await;
    let listeners = config["eventsListeners"].as_array().expect("a list");
    assert!(listeners.contains(&json!("usersync")), "the listener is not switched on: {config:#}");
    done.client_secret.expose_secret().to_owned()
}

/// Imports users, all in one group.
pub async fn hire(realm: &Realm) {
    realm.post("groups", &json!({"name": "everybody"})).await;
    let users: Vec<Value> = (0..STAFF)
        .map(|number| {
            json!({"username": format!("staff{number}"), "enabled": true, "firstName": "Staff",
                "lastName": number.to_string(), "email": format!("staff{number}@example.org"), "groups": ["/everybody"]})
        })
        .collect();
    realm.post("partialImport", &json!({"ifResourceExists": "FAIL", "users": users})).await;
}

/// Requests a full reconcile as an operator does, and waits for its end.
pub async fn full_run(store: &SqliteStore) {
    let pair = Stack::pair();
    let ended = async || {
        let runs = store.runs(Some(&pair), 100).await.expect("readable");
        runs.iter().filter(|run| run.trigger == RunTrigger::Operator && run.ended_at.is_some()).count()
    };
    let before = ended().await;
    let request = Request::Run { connector: CONNECTOR.into(), target: None, trigger: RunTrigger::Operator };
    store.request(&request, "tester", jiff::Timestamp::now()).await.expect("asked for");
    let began = Instant::now();
    while ended().await == before {
        assert!(began.elapsed() < DELIVERED_WITHIN, "the run did not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
