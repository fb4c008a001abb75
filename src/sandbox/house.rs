//! A whole usersync between an imitated Keycloak and an imitated Jira, in one process over real HTTP; for the demo, for
//! tests and for benchmarks.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{
    JiraOptions, JiraSandbox, KeycloakOptions, KeycloakSandbox,
    agree::{Agreement, agree},
    keycloak::{RealmHandle, Webhook},
};
use crate::{
    engine::{Connector, Dice, Engine, Schedule, Service, ServiceOptions, SystemClock, TargetPort},
    keycloak::{KeycloakSettings, KeycloakSource},
    model::{FirstRun, Pair, Policy},
    store::{Inbox, PairState, Store, TaskFilter, sqlite},
    target::jira::{Credentials, JiraSettings, JiraTarget},
    telemetry::{Health, Metrics},
    web::{HookConnector, HookSecrets, Hooks, Server, ServerSettings},
};

/// The connector's name, and its realm's.
pub const CONNECTOR: &str = "acme";
/// The target's name.
pub const TARGET: &str = "jira";
/// What the listener signs with.
pub const HOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// The client's secret.
pub const CLIENT_SECRET: &str = "house-client-secret";

/// How a house is built.
#[derive(Clone)]
pub struct HouseOptions {
    /// The Keycloak.
    pub keycloak: KeycloakOptions,
    /// The Jira.
    pub jira: JiraOptions,
    /// What the connector wants; the first run is applied at once by default.
    pub policy: Policy,
    /// The store's file; a temporary one by default.
    pub store: Option<PathBuf>,
    /// When runs are due; never by default.
    pub schedule: Option<Schedule>,
    /// The largest body that the hook takes.
    pub body_limit: usize,
}

impl Default for HouseOptions {
    fn default() -> Self {
        Self {
            keycloak: KeycloakOptions::default(),
            jira: JiraOptions::default(),
            policy: Policy { first_run: FirstRun::Apply, ..Policy::default() },
            store: None,
            schedule: None,
            body_limit: 1 << 20,
        }
    }
}

/// Why a house does not stand.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HouseError(String);

/// The two imitations; they outlive a usersync that is stopped between them.
pub struct Grounds {
    /// The Keycloak.
    pub keycloak: KeycloakSandbox,
    /// Its realm.
    pub realm: RealmHandle,
    /// The Jira.
    pub jira: JiraSandbox,
    options: HouseOptions,
}

/// A usersync at work on its grounds.
pub struct House {
    /// The store.
    pub store: Arc<sqlite::SqliteStore>,
    /// The engine.
    pub engine: Arc<Engine>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether it is well.
    pub health: Health,
    server: Server,
    service: Option<Service>,
}

/// Anything that goes wrong while building, in words.
fn fault(error: impl std::fmt::Display) -> HouseError {
    HouseError(error.to_string())
}

impl Grounds {
    /// Starts the two imitations.
    pub async fn prepare(options: HouseOptions) -> Result<Self, HouseError> {
        let keycloak = KeycloakSandbox::start(options.keycloak.clone()).await.map_err(fault)?;
        let realm = keycloak.add_realm(CONNECTOR);
        realm.add_service_client("usersync", CLIENT_SECRET, &["view-users", "view-events"]);
        let jira = JiraSandbox::start(options.jira.clone()).await.map_err(fault)?;
        Ok(Self { keycloak, realm, jira, options })
    }

    /// The source that reads the realm.
    pub fn source(&self) -> Result<KeycloakSource, HouseError> {
        let url = Url::parse(&self.keycloak.url()).map_err(fault)?;
        let secret = Arc::new(|| Ok(CLIENT_SECRET.to_owned().into()));
        KeycloakSource::new(KeycloakSettings::new(url, CONNECTOR, "usersync", secret)).map_err(fault)
    }

    /// The target that writes the Jira.
    pub fn target(&self) -> Result<JiraTarget, HouseError> {
        let url = Url::parse(&self.jira.url()).map_err(fault)?;
        let token = self.options.jira.token.clone();
        let settings = JiraSettings::new(url, Credentials::Token(Arc::new(move || Ok(token.clone().into()))));
        JiraTarget::new(settings).map_err(fault)
    }

    /// An engine between them, over this store.
    pub fn engine(&self, store: Arc<dyn Store>) -> Result<Engine, HouseError> {
        let source = Arc::new(self.source()?);
        let connector = Connector::new(CONNECTOR.into(), source, self.options.policy.clone(), vec![TARGET.into()]);
        let port = TargetPort::new(TARGET.into(), Arc::new(self.target()?));
        Ok(Engine::new(store, Arc::new(SystemClock), Dice::random(), vec![connector], vec![port]))
    }

    /// Opens the store, listens, sets the engine to work, and tells the imitated Keycloak where to send its events.
    pub async fn build(&self) -> Result<House, HouseError> {
        let metrics = Arc::new(Metrics::new());
        let health = Health::of(&["store"]);
        let hooks =
            Arc::new(Hooks::new(self.options.body_limit, Arc::new(SystemClock), Arc::clone(&metrics), health.clone()));
        let settings = ServerSettings { listen: ([127, 0, 0, 1], 0).into(), tls: None };
        let server =
            Server::start(&settings, Arc::clone(&hooks), Arc::clone(&metrics), health.clone()).await.map_err(fault)?;
        let open = sqlite::OpenOptions::new(Timestamp::now());
        let store = match &self.options.store {
            Some(file) => sqlite::SqliteStore::open(file, open).await,
            None => sqlite::SqliteStore::open_temporary(open).await,
        };
        let store = Arc::new(store.map_err(fault)?);
        let engine = self.engine(Arc::clone(&store) as Arc<dyn Store>)?.with_metrics(Arc::clone(&metrics));
        let engine = Arc::new(engine);
        let schedules = self.options.schedule.iter().map(|schedule| (CONNECTOR.into(), Arc::clone(schedule)));
        let options = ServiceOptions {
            schedules: schedules.collect::<HashMap<_, _>>(),
            disabled: std::collections::BTreeSet::new(),
            retention: SignedDuration::from_hours(24 * 30),
        };
        let service = Service::start(Arc::clone(&engine), options).await.map_err(fault)?;
        let secrets = HookSecrets::new(vec![Arc::new(|| Ok(HOOK_SECRET.to_owned().into()))], None);
        let connector = HookConnector {
            name: CONNECTOR.into(),
            realm: CONNECTOR.to_owned(),
            targets: vec![TARGET.into()],
            secrets: Arc::new(secrets),
            removed: false,
        };
        hooks.open(Arc::clone(&store) as Arc<dyn Inbox>, vec![connector]);
        health.ok("store");
        let address = server.address();
        self.realm.set_webhook(Some(Webhook::listener(format!("http://{address}/hooks/{CONNECTOR}"), HOOK_SECRET)));
        Ok(House { store, engine, metrics, health, server, service: Some(service) })
    }
}

impl House {
    /// The pair that it works.
    pub fn pair() -> Pair {
        Pair::new(CONNECTOR, TARGET)
    }

    /// Where it listens, as a URL without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Whether the imitations agree, read off their bare state; only accounts that are linked count as ours.
    pub async fn agreement(&self, grounds: &Grounds) -> Result<Agreement, HouseError> {
        let links = self.store.links(&Self::pair()).await.map_err(fault)?;
        let ours = links.into_iter().map(|link| link.account.to_string()).collect();
        Ok(agree(&grounds.realm.snapshot(), &grounds.jira.snapshot(), &ours))
    }

    /// Waits until the pair is in service.
    pub async fn in_service(&self) -> Result<(), HouseError> {
        for _ in 0..600 {
            if self.store.pair_state(&Self::pair()).await.map_err(fault)? == PairState::InService {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(HouseError("the first run did not end within 30 s".to_owned()))
    }

    /// Waits until no task is under way or due within `horizon`.
    pub async fn quiet(&self, horizon: SignedDuration) -> Result<(), HouseError> {
        let alive = TaskFilter { dead: Some(false), limit: 10_000, ..TaskFilter::default() };
        for _ in 0..3_000 {
            let tasks = self.store.tasks(&alive).await.map_err(fault)?;
            if tasks.iter().all(|task| task.not_before > Timestamp::now() + horizon) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(HouseError("work was still left after 30 s".to_owned()))
    }

    /// Stops it in order; the imitations stay.
    pub async fn stop(mut self) {
        self.health.drain();
        if let Some(service) = self.service.take() {
            service.shutdown(Duration::from_secs(10)).await;
        }
        self.server.shutdown(Duration::from_secs(1)).await;
        self.store.close().await;
    }
}
