//! A complete usersync between a simulated Keycloak and a simulated Jira, in one process over real HTTP. The demo,
//! tests and benchmarks use it. With a custom [`Site`], it runs beside a real Keycloak.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use usersync_simulators::{
    JiraOptions, KeycloakOptions, SimulatedJira, SimulatedKeycloak,
    agree::{Agreement, Holds, compare},
    keycloak::{RealmHandle, Webhook},
};

use super::{
    error::{StackError, fault},
    targets::OtherTarget,
};
use crate::{
    engine::{
        Clock, Connector, Engine, EngineTimes, Jitter, Schedule, Service, ServiceOptions, SystemClock, TargetPort,
    },
    keycloak::{KeycloakSettings, KeycloakSource},
    model::{FirstRun, Pair, Policy, TargetName},
    store::{EngineStore, Inbox, PairState, StoreReads, TaskFilter, sqlite},
    targets::{
        Credentials,
        http::SecretProvider,
        jira::{JiraSettings, JiraTarget},
    },
    telemetry::{Health, Metrics},
    web::{HookConnector, HookSecrets, Hooks, ReadSecret, Server, ServerSettings},
};

/// The name of the connector and of its realm.
pub const CONNECTOR: &str = "acme";
/// The name of the target.
pub const TARGET: &str = "jira";
/// The secret that the listener signs with.
pub const HOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// The client's secret.
pub const CLIENT_SECRET: &str = "stack-client-secret";

/// Options for building a stack.
#[derive(Clone)]
pub struct StackOptions {
    /// Options of the simulated Keycloak.
    pub keycloak: KeycloakOptions,
    /// Options of the simulated Jira.
    pub jira: JiraOptions,
    /// The connector's policy; by default, the first run is applied at once.
    pub policy: Policy,
    /// The account that takes over projects and components from leavers; `None`: nobody does.
    pub new_lead: Option<String>,
    /// The store's file; `None`: a temporary one.
    pub store: Option<PathBuf>,
    /// The schedule of runs; `None`: no scheduled runs.
    pub schedule: Option<Schedule>,
    /// The interval at which stored events are polled; `None`: they are not polled.
    pub poll_events: Option<SignedDuration>,
    /// The interval at which federated users are checked; `None`: they are not.
    pub federation_check: Option<SignedDuration>,
    /// Maximum size of a hook's body, in bytes.
    pub body_limit: usize,
    /// The secret of the p2 form; `None`: the form is not accepted.
    pub p2_secret: Option<String>,
    /// The engine's timeouts and intervals.
    pub times: EngineTimes,
    /// The clock; by default, the system clock.
    pub clock: Arc<dyn Clock>,
    /// Timeout of calls, on both sides.
    pub timeout: Duration,
    /// Targets in addition to the Jira.
    pub other_targets: Vec<OtherTarget>,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            keycloak: KeycloakOptions::default(),
            jira: JiraOptions::default(),
            policy: Policy { first_run: FirstRun::Apply, ..Policy::default() },
            new_lead: None,
            store: None,
            schedule: None,
            poll_events: None,
            federation_check: None,
            body_limit: 1 << 20,
            p2_secret: None,
            times: EngineTimes::default(),
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(30),
            other_targets: Vec::new(),
        }
    }
}

/// The two simulators; they keep running when a usersync between them stops.
pub struct SimulatedServers {
    /// The simulated Keycloak.
    pub keycloak: SimulatedKeycloak,
    /// Its realm.
    pub realm: RealmHandle,
    /// The simulated Jira.
    pub jira: SimulatedJira,
    place: Place,
}

/// The addresses and credentials of the two simulators, which may run in another process.
pub struct Place {
    keycloak: String,
    jira: String,
    options: StackOptions,
    client_secret: Kept,
    jira_token: Kept,
}

/// A secret for usersync that can be replaced; read again for each use.
type Kept = Arc<RwLock<String>>;

fn keep(secret: &str) -> Kept {
    Arc::new(RwLock::new(secret.to_owned()))
}

fn set(kept: &Kept, secret: &str) {
    secret.clone_into(&mut kept.write());
}

fn read(kept: &Kept) -> SecretProvider {
    let kept = Arc::clone(kept);
    Arc::new(move || Ok(kept.read().clone().into()))
}

/// The settings of a stack: source, target, secret and listen address.
pub struct Site {
    /// The realm that usersync reads.
    pub source: KeycloakSettings,
    /// The Jira that usersync writes.
    pub target: JiraSettings,
    /// The secret that the realm's listener signs with.
    pub hook_secret: ReadSecret,
    /// The listen address.
    pub listen: SocketAddr,
    /// Options of the stack; those of the simulators have no effect.
    pub options: StackOptions,
}

/// A running usersync with its servers.
pub struct Stack {
    /// The store.
    pub store: Arc<sqlite::SqliteStore>,
    /// The engine.
    pub engine: Arc<Engine>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The health of the process.
    pub health: Health,
    pairs: Vec<Pair>,
    clock: Arc<dyn Clock>,
    server: Server,
    service: Option<Service>,
    _following: AbortOnDropHandle<()>,
}

impl SimulatedServers {
    /// Sets the policy of the stacks that are built from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.place.options.policy = policy;
    }

    /// Starts the two simulators.
    pub async fn prepare(options: StackOptions) -> Result<Self, StackError> {
        let keycloak = SimulatedKeycloak::start(options.keycloak.clone()).await.map_err(fault)?;
        let realm = keycloak.add_realm(CONNECTOR);
        realm.add_service_client("usersync", CLIENT_SECRET, &["view-users", "view-events"]);
        let jira = SimulatedJira::start(options.jira.clone()).await.map_err(fault)?;
        let place = Place::new(keycloak.url(), jira.url(), options);
        Ok(Self { keycloak, realm, jira, place })
    }

    /// Replaces usersync's client secret for Keycloak.
    pub fn set_client_secret(&self, secret: &str) {
        set(&self.place.client_secret, secret);
    }

    /// Replaces usersync's token for Jira.
    pub fn set_jira_token(&self, token: &str) {
        set(&self.place.jira_token, token);
    }

    /// Returns the addresses and credentials of the simulators.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Starts a usersync, and sets its address as the webhook of the simulated Keycloak.
    pub async fn build(&self) -> Result<Stack, StackError> {
        let stack = self.place.build().await?;
        let address = format!("{}/hooks/{CONNECTOR}", stack.url());
        self.realm.set_webhook(Some(Webhook::listener(address, HOOK_SECRET)));
        Ok(stack)
    }
}

impl Place {
    /// Creates a place from the addresses of two simulators.
    pub fn new(keycloak: impl Into<String>, jira: impl Into<String>, options: StackOptions) -> Self {
        let (client_secret, jira_token) = (keep(CLIENT_SECRET), keep(&options.jira.token));
        Self { keycloak: keycloak.into(), jira: jira.into(), options, client_secret, jira_token }
    }

    /// Returns the settings of a stack between the simulators.
    pub fn site(&self) -> Result<Site, StackError> {
        let keycloak = Url::parse(&self.keycloak).map_err(fault)?;
        let jira = Url::parse(&self.jira).map_err(fault)?;
        let mut source = KeycloakSettings::new(keycloak, CONNECTOR, "usersync", read(&self.client_secret));
        source.connection.time_outs.call = self.options.timeout;
        source.connection.time_outs.long = self.options.timeout;
        source.connection.clock = Arc::clone(&self.options.clock);
        let mut target = JiraSettings::new(jira, Credentials::Token(read(&self.jira_token)));
        target.http.call_timeout = self.options.timeout;
        target.http.clock = Arc::clone(&self.options.clock);
        target.new_lead.clone_from(&self.options.new_lead);
        Ok(Site {
            source,
            target,
            hook_secret: Arc::new(|| Ok(HOOK_SECRET.to_owned().into())),
            listen: ([127, 0, 0, 1], 0).into(),
            options: self.options.clone(),
        })
    }

    /// Returns the source that reads the realm.
    pub fn source(&self) -> Result<KeycloakSource, StackError> {
        KeycloakSource::new(self.site()?.source).map_err(fault)
    }

    /// Returns the target that writes the Jira.
    pub fn target(&self) -> Result<JiraTarget, StackError> {
        JiraTarget::new(self.site()?.target).map_err(fault)
    }

    /// Returns an engine between source and target, with this store.
    pub fn engine(&self, store: Arc<dyn EngineStore>) -> Result<Engine, StackError> {
        self.site()?.engine(store)
    }

    /// Starts a usersync between the simulators.
    pub async fn build(&self) -> Result<Stack, StackError> {
        self.site()?.build().await
    }
}

impl Site {
    /// Returns an engine between source and target, with this store.
    pub fn engine(&self, store: Arc<dyn EngineStore>) -> Result<Engine, StackError> {
        let source = Arc::new(KeycloakSource::new(self.source.clone()).map_err(fault)?);
        let connector = Connector::new(CONNECTOR.into(), source, self.options.policy.clone(), self.targets());
        let target = JiraTarget::new(self.target.clone()).map_err(fault)?;
        let other_targets = self.options.other_targets.iter();
        let mut ports = vec![TargetPort::new(TARGET.into(), Arc::new(target))];
        ports.extend(other_targets.map(|other| TargetPort::new(other.name.clone(), Arc::clone(&other.target))));
        let engine = Engine::new(store, Arc::clone(&self.options.clock), Jitter::random(), vec![connector], ports);
        Ok(engine.with_times(self.options.times.clone()))
    }

    /// Returns all targets, the Jira first.
    fn targets(&self) -> Vec<TargetName> {
        let other_targets = self.options.other_targets.iter().map(|other| other.name.clone());
        std::iter::once(TARGET.into()).chain(other_targets).collect()
    }

    /// Opens the store, and starts the listener and the engine.
    pub async fn build(&self) -> Result<Stack, StackError> {
        let clock = Arc::clone(&self.options.clock);
        let metrics = Arc::new(Metrics::new());
        let health = Health::of(&["store"]).with_conditions(metrics.conditions().clone());
        let hooks =
            Arc::new(Hooks::new(self.options.body_limit, Arc::clone(&clock), Arc::clone(&metrics), health.clone()));
        let settings = ServerSettings { listen: self.listen, tls: None };
        let server =
            Server::start(&settings, Arc::clone(&hooks), Arc::clone(&metrics), health.clone()).await.map_err(fault)?;
        let open = sqlite::OpenOptions::new(clock.now());
        let store = match &self.options.store {
            Some(file) => sqlite::SqliteStore::open(file, open).await,
            None => sqlite::SqliteStore::open_temporary(open).await,
        };
        let store = Arc::new(store.map_err(fault)?);
        let engine = self.engine(Arc::clone(&store) as Arc<dyn EngineStore>)?.with_metrics(Arc::clone(&metrics));
        let engine = Arc::new(engine);
        let schedules = self.options.schedule.iter().map(|schedule| (CONNECTOR.into(), Arc::clone(schedule)));
        let options = ServiceOptions {
            schedules: schedules.collect::<HashMap<_, _>>(),
            disabled: std::collections::BTreeSet::new(),
            federation_checks: self.options.federation_check.iter().map(|every| (CONNECTOR.into(), *every)).collect(),
            polls: self.options.poll_events.iter().map(|every| (CONNECTOR.into(), *every)).collect(),
            retention: SignedDuration::from_hours(24 * 30),
        };
        let service = Service::start(Arc::clone(&engine), options).await.map_err(fault)?;
        let p2 = self.options.p2_secret.as_deref().map(keep).as_ref().map(read);
        let connector = HookConnector {
            name: CONNECTOR.into(),
            realm: self.source.realm.clone(),
            targets: self.targets(),
            secrets: Arc::new(HookSecrets::new(vec![Arc::clone(&self.hook_secret)], p2)),
            uses: self.options.policy.uses(),
            removed: false,
        };
        hooks.open(Arc::clone(&store) as Arc<dyn Inbox>, vec![connector]);
        let following = AbortOnDropHandle::new(tokio::spawn({
            let (health, failing) = (health.clone(), store.failing());
            async move { health.follow_store(failing, Timestamp::now).await }
        }));
        let pairs = self.targets().into_iter().map(|target| Pair { connector: CONNECTOR.into(), target }).collect();
        Ok(Stack {
            store,
            engine,
            metrics,
            health,
            pairs,
            clock,
            server,
            service: Some(service),
            _following: following,
        })
    }
}

impl Stack {
    /// Returns the pair of the realm and the Jira.
    pub fn pair() -> Pair {
        Pair::new(CONNECTOR, TARGET)
    }

    /// Returns the URL that the stack listens on, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Waits until a part of the service ends because of a defect.
    pub async fn died(&self) -> String {
        match &self.service {
            Some(service) => service.died().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until all pairs are in service.
    pub async fn in_service(&self) -> Result<(), StackError> {
        for _ in 0..2_400 {
            let mut waiting = false;
            for pair in &self.pairs {
                waiting |= self.store.pair_state(pair).await.map_err(fault)? != PairState::InService;
            }
            if !waiting {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(StackError("the first run did not end within 2 minutes".to_owned()))
    }

    /// Waits until no task is in progress or due within `horizon`.
    pub async fn quiet(&self, horizon: SignedDuration) -> Result<(), StackError> {
        let alive = TaskFilter { dead: Some(false), limit: 10_000, ..TaskFilter::default() };
        for _ in 0..3_000 {
            let tasks = self.store.tasks(&alive).await.map_err(fault)?;
            if tasks.iter().all(|task| task.not_before > self.clock.now() + horizon) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(StackError("tasks remained after 30 s".to_owned()))
    }

    /// Stops the stack gracefully; the simulators keep running.
    pub async fn stop(mut self) {
        self.health.drain();
        if let Some(service) = self.service.take() {
            service.shutdown(Duration::from_secs(10)).await;
        }
        self.server.shutdown(Duration::from_secs(1)).await;
        self.store.close().await;
    }
}

/// Compares the current state of the two sides.
pub fn agree(servers: &SimulatedServers) -> Agreement {
    agree_except(servers, &[])
}

/// Compares the two sides, except accounts with these logins, which are unmanaged.
pub fn agree_except(servers: &SimulatedServers, unmanaged: &[&str]) -> Agreement {
    compare(&servers.realm.snapshot(), &servers.jira.held(), unmanaged)
}
