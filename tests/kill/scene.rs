//! One realm with a target of each kind, the process that fills them, and everything that can be observed from outside.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{process::Child, sync::Mutex};
use usersync::{
    demo::{
        stack::{CONNECTOR, SimulatedServers, TARGET},
        targets::{self, Product, SimulatedTarget},
    },
    model::{Change, Pair, Subject, TargetName},
    store::{ChangeFilter, PairState, StoreReads, TaskFilter, sqlite},
    targets::Target,
};
use usersync_simulators::{
    Entry, Faults, Journal,
    agree::{Held, Holds as _, compare},
};

use crate::{
    child::Orders,
    deeds::{Kind, WITNESS},
};

/// Timeout of every wait.
const AT_MOST: Duration = Duration::from_mins(3);

/// A target, observed from outside.
pub struct Filled {
    pub kind: Kind,
    pub pair: Pair,
    pub faults: Faults,
    pub journal: Journal,
    /// State before usersync filled it.
    brought: Held,
}

/// An operation that is stored and has not ended.
#[derive(Debug)]
pub struct Open {
    pub target: String,
    pub subject: String,
    pub verb: String,
    pub arrives_until: Timestamp,
}

pub struct Scene {
    pub servers: SimulatedServers,
    pub targets: Vec<Filled>,
    other_targets: Vec<SimulatedTarget>,
    orders: Orders,
    /// The store, opened beside the process that works on it.
    store: sqlite::SqliteStore,
    /// A plain connection to the store's file, for data that its interface does not return.
    bare: Mutex<SqliteConnection>,
    child: Mutex<Option<Child>>,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// Starts everything and waits until no work is left; `call` is the timeout of a write.
    pub async fn set(call: SignedDuration) -> Self {
        let other_targets = targets::all().await.expect("free ports");
        let folder = tempfile::tempdir().expect("a folder");
        let file: PathBuf = folder.path().join("usersync.db");
        let urls = other_targets.iter().map(|other| other.url.clone()).collect();
        // Reads have a long timeout; only the kill cuts writes off, never a timeout.
        let orders = Orders { store: file.clone(), other_targets: urls, call, timeout: AT_MOST, poll_events: None };
        let servers = SimulatedServers::prepare(orders.options().expect("good addresses")).await.expect("free ports");
        crate::deeds::prepare(&servers.realm).await;
        let seen = |kind, name: TargetName, faults: &Faults, journal: &Journal, brought| {
            let pair = Pair { connector: CONNECTOR.into(), target: name };
            Filled { kind, pair, faults: faults.clone(), journal: journal.clone(), brought }
        };
        let jira = &servers.jira;
        let mut targets = vec![seen(Kind::Jira, TARGET.into(), &jira.faults, &jira.journal, jira.held())];
        targets.extend(other_targets.iter().map(|other| {
            let (kind, name) = (Kind::Other(other.product), other.product.target_name());
            seen(kind, name, &other.faults, &other.journal, other.server.held())
        }));
        let child = orders.start(&servers).await;
        let store = sqlite::SqliteStore::open_beside(&file, sqlite::OpenOptions::new(Timestamp::now())).await;
        let bare = SqliteConnectOptions::new().filename(&file).read_only(true).connect().await.expect("a database");
        let scene = Self {
            servers,
            targets,
            other_targets,
            orders,
            store: store.expect("it opens"),
            bare: Mutex::new(bare),
            child: Mutex::new(Some(child)),
            _folder: folder,
        };
        scene.in_service().await;
        scene.quiet().await;
        scene
    }

    /// Waits until the first runs end.
    async fn in_service(&self) {
        let began = Instant::now();
        for target in &self.targets {
            while self.store.pair_state(&target.pair).await.expect("readable") != PairState::InService {
                assert!(began.elapsed() < AT_MOST, "the first run on {} does not end", target.pair.target);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Kills the process with `kill -9`.
    pub async fn kill(&self) {
        let mut child = self.child.lock().await.take().expect("it runs");
        child.kill().await.expect("killed");
    }

    /// Starts the next process on the same store.
    pub async fn start(&self) {
        *self.child.lock().await = Some(self.orders.start(&self.servers).await);
    }

    /// Waits until the process has twice worked on a user without any difference: all that was due before is in
    /// progress then.
    pub async fn works_on_others(&self) {
        let realm = &self.servers.realm;
        let id = realm.snapshot().user(WITNESS).expect("imported").id.clone();
        realm.set_attribute(&id, "looked-at", &["once"]).await.expect("changed");
        self.servers.realm.webhook_idle().await;
        let filter = TaskFilter { subject: Some(Subject::user(id)), ..TaskFilter::default() };
        let began = Instant::now();
        while !self.store.tasks(&filter).await.expect("readable").is_empty() {
            assert!(began.elapsed() < AT_MOST, "nobody looks at {WITNESS}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until no work is left, now or later.
    pub async fn quiet(&self) {
        self.servers.realm.webhook_idle().await;
        let tasks = async || {
            let all = TaskFilter { dead: Some(false), ..TaskFilter::default() };
            self.store.tasks(&all).await.expect("readable")
        };
        let began = Instant::now();
        while !self.open().await.is_empty() || !tasks().await.is_empty() {
            assert!(began.elapsed() < AT_MOST, "still to do: {:#?}, {:#?}", self.open().await, tasks().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the tasks that failed for good.
    pub async fn dead(&self) -> Vec<String> {
        let dead = TaskFilter { dead: Some(true), ..TaskFilter::default() };
        let tasks = self.store.tasks(&dead).await.expect("readable");
        tasks.into_iter().map(|task| format!("{} {}: {:?}", task.pair, task.subject, task.error)).collect()
    }

    /// Returns the stored operations that have not ended.
    pub async fn open(&self) -> Vec<Open> {
        let mut bare = self.bare.lock().await;
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT g.name, i.subject, i.operation, i.arrives_until FROM intent i JOIN target g ON g.no = i.target \
             ORDER BY i.id",
        )
        .fetch_all(&mut *bare)
        .await
        .expect("readable");
        let open = |(target, subject, operation, until): (_, _, String, _)| {
            let operation: usersync::model::Operation = serde_json::from_str(&operation).expect("an operation");
            let arrives_until = Timestamp::from_millisecond(until).expect("a time");
            Open { target, subject, verb: operation.verb().to_owned(), arrives_until }
        };
        rows.into_iter().map(open).collect()
    }

    /// Returns the changes of a subject on a target that are newer than `since`, oldest first.
    pub async fn changes(&self, pair: &Pair, subject: &Subject, since: i64) -> Vec<Change> {
        let filter = ChangeFilter {
            connector: Some(pair.connector.clone()),
            target: Some(pair.target.clone()),
            subject: Some(subject.clone()),
            ..ChangeFilter::default()
        };
        let mut changes = self.store.changes(&filter).await.expect("readable");
        changes.retain(|change| change.id > since);
        changes.reverse();
        changes
    }

    /// Returns the id of the newest change.
    pub async fn newest_change(&self) -> i64 {
        let newest = ChangeFilter { limit: 1, ..ChangeFilter::default() };
        self.store.changes(&newest).await.expect("readable").first().map_or(0, |change| change.id)
    }

    /// Returns a separate client for one of the targets.
    pub fn client(&self, product: Product) -> Arc<dyn Target> {
        let other = self.other_targets.iter().find(|other| other.product == product).expect("one of each kind");
        other.other_target().expect("a good address").target
    }

    fn held(&self, target: &Filled) -> Held {
        match target.kind {
            Kind::Jira => self.servers.jira.held(),
            Kind::Other(product) => {
                let other = self.other_targets.iter().find(|other| other.product == product);
                other.expect("one of each kind").server.held()
            }
        }
    }

    /// Returns the differences between the realm and a target, as text.
    pub fn differences(&self, target: &Filled) -> Vec<String> {
        compare(&self.servers.realm.snapshot(), &self.held(target), &[]).differences
    }

    /// Returns new accounts and groups of a target without a link, and links without an account or group.
    pub async fn unmanaged(&self, target: &Filled) -> Vec<String> {
        let held = self.held(target);
        let links = self.store.links(&target.pair).await.expect("readable");
        let linked: BTreeSet<String> = links.iter().map(|link| link.name.to_lowercase()).collect();
        let managed = self.store.managed_groups(&target.pair.target).await.expect("readable");
        let managed: BTreeSet<String> = managed.into_iter().map(|group| group.name.to_lowercase()).collect();
        let came = held.accounts.into_keys().filter(|login| !target.brought.accounts.contains_key(login));
        let groups = held.groups.into_keys().filter(|name| !target.brought.groups.contains_key(name));
        let (came, groups): (BTreeSet<String>, BTreeSet<String>) = (came.collect(), groups.collect());
        let accounts = came.symmetric_difference(&linked).map(|login| format!("account {login}"));
        accounts.chain(groups.symmetric_difference(&managed).map(|name| format!("group {name}"))).collect()
    }
}

impl Filled {
    /// Returns the writes that the target did, from request number `since` on. RPC is only used for reads here.
    pub fn writes(&self, since: usize) -> Vec<String> {
        let done = |entry: &Entry| {
            let succeeded = entry.status.is_some_and(|status| status < 300);
            // Ending sessions is part of a deactivation.
            let counts = !entry.path.contains("/rpc/") && !entry.path.contains("/user/session/");
            entry.is_write() && succeeded && counts
        };
        let entries = self.journal.entries().split_off(since);
        entries.iter().filter(|entry| done(entry)).map(|entry| format!("{} {}", entry.method, entry.target())).collect()
    }

    /// Returns how many of these writes use this method and a path with this text.
    pub fn wrote(&self, since: usize, (method, path): (&str, &str)) -> usize {
        let writes = self.writes(since);
        writes.iter().filter(|write| write.starts_with(method) && write.contains(path)).count()
    }
}

/// Polls until the condition holds.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < AT_MOST, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
