//! `usersync serve`: receives events, works tasks, and runs on schedule, until it is stopped.

mod reload;

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::reload::Reload;

use super::{
    Context,
    app::Sides,
    exit::{Exit, Failure, Outcome},
    status::StatusReports,
};
use crate::{
    alerts::{Alerts, Channel, Surroundings},
    config::{Config, ConnectorConfig, HookConfig, Secret, SecretReference, TlsConfig},
    engine::{Schedule, Service, ServiceOptions, SystemClock},
    store::{
        EngineStore, Inbox, OperatorStore, Store,
        sqlite::{OpenOptions, SqliteStore},
    },
    telemetry::{Health, Metrics, health::STORE, logs},
    web::{HookConnector, HookSecrets, Hooks, ReadSecret, Server, ServerSettings, TlsFiles},
};

/// Interval of the check that the store can be written.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Timeout at shutdown for requests in progress.
const REQUESTS_END: Duration = Duration::from_secs(5);

/// Listen for Keycloak's events and keep the targets in sync
#[derive(Debug, Args)]
#[command(
    long_about = "\
Listen for Keycloak's events and keep the targets in sync, until stopped by Ctrl-C or SIGTERM.

SIGHUP reloads secrets and certificates, and reports other changes in the configuration, which need a restart. If a \
part of the server fails for good, it exits with code 1, so that a supervisor restarts it.

Events are stored before they are acknowledged, and applied at once; full reconciles run on each connector's \
schedule, and at start if one was missed. The first run of a connector on a target is planned and waits for approval. \
/healthz, /readyz and /metrics are served beside /hooks/CONNECTOR.",
    after_help = "\
Examples:
  usersync serve
  usersync --config /etc/usersync/usersync.toml serve
  USERSYNC_SERVER_LISTEN=127.0.0.1:9000 usersync serve"
)]
pub(super) struct ServeArgs {}

impl ServeArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        context.refuse_json("serve", "for log lines as JSON set [log] format = \"json\"")?;
        let config = context.config()?;
        let written = reload::written(&config.path);
        match logs::init(config.log.format, config.log.level) {
            Ok(()) | Err(logs::LogError::Twice) => {}
            Err(error) => return Err(Failure::usage(error.to_string())),
        }
        logs::allow_personal(config.log.personal_data);
        tracing::info!(
            file = %config.path.display(), connectors = config.connectors.len(), targets = config.targets.len(),
            "configuration loaded"
        );
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let signals =
            Signals::listen().map_err(|error| Failure::problem(format!("cannot listen for signals: {error}")))?;
        let sides = Sides::new(&config)?;
        let channels = channels(&config)?;
        // Bound before the store is opened: while the port is closed, events of some senders are lost.
        let metrics = Arc::new(Metrics::new());
        metrics.started(context.out.now);
        let health = Health::of(&[STORE]).with_conditions(metrics.conditions().clone());
        let hooks = Hooks::new(config.server.body_limit, Arc::new(SystemClock), Arc::clone(&metrics), health.clone());
        let hooks = Arc::new(hooks.with_budget(config.server.body_budget));
        let mut server = Server::start(&listen(&config), Arc::clone(&hooks), Arc::clone(&metrics), health.clone())
            .await
            .map_err(|error| Failure::usage(error.to_string()))?;
        tracing::info!("listening on {}", server.address());

        let store = Arc::new(SqliteStore::open(&config.store.path, OpenOptions::new(context.out.now)).await?);
        let engine = sides.engine(&config, Arc::clone(&store) as Arc<dyn EngineStore>);
        let engine = engine.with_metrics(Arc::clone(&metrics));
        let service = Service::start(Arc::new(engine), service_options(&config)).await?;
        let connectors: Vec<HookConnector> = config.connectors.iter().map(hook).collect();
        let hook_secrets = connectors.iter().map(|one| (one.name.clone(), Arc::clone(&one.secrets))).collect();
        let mut all = connectors;
        all.extend(removed(&config, store.as_ref()).await?);
        hooks.open(Arc::clone(&store) as Arc<dyn Inbox>, all);
        let names: Vec<String> = config.alerts.iter().map(|alert| alert.name.clone()).collect();
        store.forget_alerts_but(&names).await?;
        let mut alerts = Alerts::start(channels, surroundings(&config, &store, &metrics));
        tracing::info!("at work");

        let drain = config.server.drain;
        let file = config.store.path.clone();
        let mut reload = Reload::new(config, hook_secrets, written);
        let ended = Running {
            store: &store,
            file: &file,
            metrics: &metrics,
            health: &health,
            service: &service,
            server: &mut server,
            alerts: &mut alerts,
        }
        .until_the_end(signals, async |server| {
            reload.run(context, server).await;
            service.engine().try_again().await;
        })
        .await;
        let outcome = outcome(ended, &health);
        health.drain();
        alerts.shutdown().await;
        let in_time = service.shutdown(drain).await;
        server.shutdown(REQUESTS_END).await;
        store.close().await;
        if !in_time {
            tracing::warn!(
                "not all work ended in time; after the next start, usersync checks whether interrupted \
                 writes took effect"
            );
        }
        outcome
    }
}

/// Returns the result of the process. A part that ended by a defect is a failure, so that a supervisor restarts the
/// process.
fn outcome(ended: Result<(), String>, health: &Health) -> Outcome {
    match ended {
        Ok(()) => {
            tracing::info!("stopping: work in progress ends first");
            Ok(Exit::Done)
        }
        Err(why) => {
            tracing::error!("{why}; the process exits, so that a supervisor restarts it");
            health.dead(why.clone());
            Err(Failure::problem(why))
        }
    }
}

/// The parts that run until the server stops.
struct Running<'a> {
    store: &'a SqliteStore,
    /// The store's file.
    file: &'a Path,
    metrics: &'a Metrics,
    health: &'a Health,
    service: &'a Service,
    server: &'a mut Server,
    alerts: &'a mut Alerts,
}

impl Running<'_> {
    /// Runs until a signal requests a stop. Returns an error if a part ends by a defect. SIGHUP reloads.
    async fn until_the_end(self, mut signals: Signals, mut reload: impl AsyncFnMut(&mut Server)) -> Result<(), String> {
        let Self { store, file, metrics, health, service, server, alerts } = self;
        let mut writer = std::pin::pin!(health.follow_store(store.failing(), Timestamp::now));
        let mut checks = std::pin::pin!(async {
            loop {
                // A network file system that hangs must not keep the signals waiting.
                let file = file.to_owned();
                if let Ok(Ok(disk)) = tokio::task::spawn_blocking(move || nix::sys::statvfs::statvfs(&file)).await {
                    metrics.store_free(disk.blocks_available().saturating_mul(disk.fragment_size()));
                }
                tokio::time::sleep(CHECK_EVERY).await;
                // The store reports the result to its observers, such as the health check.
                let _ = store.touch().await;
            }
        });
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                () = &mut writer => return Err("the store's writer ended".to_owned()),
                () = &mut checks => {}
                why = service.died() => return Err(why),
                why = server.died() => return Err(why),
                why = alerts.died() => return Err(why),
                _ = signals.hang_up.recv() => {
                    reload(server).await;
                    alerts.try_again();
                }
            }
        }
    }
}

/// Ctrl-C, SIGTERM and SIGHUP, received as soon as this is created.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Creates the clients of the alerts.
fn channels(config: &Config) -> Result<Vec<Channel>, Failure> {
    let channel = |alert| Channel::new(alert).map_err(|error| Failure::usage(format!("alert {}: {error}", alert.name)));
    config.alerts.iter().map(channel).collect()
}

fn surroundings(config: &Config, store: &Arc<SqliteStore>, metrics: &Arc<Metrics>) -> Surroundings {
    Surroundings {
        store: Arc::clone(store) as Arc<dyn OperatorStore>,
        reports: Arc::new(StatusReports { config: config.clone(), store: Arc::clone(store) }),
        clock: Arc::new(SystemClock),
        metrics: Arc::clone(metrics),
    }
}

fn listen(config: &Config) -> ServerSettings {
    ServerSettings { listen: config.server.listen, tls: config.server.tls.as_ref().map(tls_files) }
}

fn tls_files(tls: &TlsConfig) -> TlsFiles {
    TlsFiles { cert_file: tls.cert_file.clone(), key_file: tls.key_file.clone() }
}

fn hook_secrets(hook: &HookConfig) -> (Vec<ReadSecret>, Option<ReadSecret>) {
    (hook.secrets().map(reader).collect(), hook.p2.as_ref().map(reader))
}

fn service_options(config: &Config) -> ServiceOptions {
    let schedules = config.connectors.iter().filter_map(|connector| {
        let schedule = connector.schedule.clone()?;
        let next: Schedule = Arc::new(move |time| schedule.next_after(time));
        Some((connector.name.clone(), next))
    });
    let disabled = config.connectors.iter().filter(|connector| !connector.enabled);
    ServiceOptions {
        schedules: schedules.collect(),
        disabled: disabled.map(|connector| connector.name.clone()).collect::<BTreeSet<_>>(),
        polls: config.connectors.iter().filter_map(|one| Some((one.name.clone(), one.poll_events?))).collect(),
        federation_checks: config
            .connectors
            .iter()
            .filter_map(|one| Some((one.name.clone(), one.federation_check?)))
            .collect(),
        retention: config.store.retention,
    }
}

fn hook(connector: &ConnectorConfig) -> HookConnector {
    let (standard, p2) = hook_secrets(&connector.hook);
    HookConnector {
        name: connector.name.clone(),
        realm: connector.realm.clone(),
        targets: connector.targets.clone(),
        secrets: Arc::new(HookSecrets::new(standard, p2)),
        uses: connector.policy.uses(),
        removed: false,
    }
}

/// How a connector's senders sign, without secrets. It is kept to answer them with 410 once the connector is removed.
#[derive(Default, Serialize, Deserialize)]
struct HookDocument {
    realm: String,
    standard: Vec<SecretReference>,
    p2: Option<SecretReference>,
}

/// Returns the removed connectors. A sender of one that still signs correctly is answered 410.
async fn removed(config: &Config, store: &dyn Store) -> Result<Vec<HookConnector>, Failure> {
    let document = |connector: &ConnectorConfig| HookDocument {
        realm: connector.realm.clone(),
        standard: connector.hook.secrets().filter_map(Secret::reference).collect(),
        p2: connector.hook.p2.as_ref().and_then(Secret::reference),
    };
    let documents = config.connectors.iter().map(|connector| {
        let document = serde_json::to_value(document(connector)).unwrap_or_default();
        (connector.name.clone(), document)
    });
    let removed = store.remember_hooks(&documents.collect::<Vec<_>>()).await?;
    let place = |(name, document)| {
        let document: HookDocument = serde_json::from_value(document).unwrap_or_default();
        let standard = document.standard.into_iter().map(|reference| reader(&reference.into())).collect();
        let p2 = document.p2.map(|reference| reader(&reference.into()));
        let secrets = Arc::new(HookSecrets::new(standard, p2));
        HookConnector {
            name,
            realm: document.realm,
            targets: Vec::new(),
            secrets,
            uses: crate::model::Uses::default(),
            removed: true,
        }
    };
    Ok(removed.into_iter().map(place).collect())
}

fn reader(secret: &Secret) -> ReadSecret {
    let secret = secret.clone();
    Arc::new(move || secret.read().map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests;
