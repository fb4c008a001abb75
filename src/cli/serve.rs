//! `usersync serve`: listens for events, works tasks, runs on schedule, until it is told to stop.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    Context,
    app::Sides,
    exit::{Exit, Failure, Outcome},
};
use crate::{
    config::{Config, ConnectorConfig, Secret, SecretReference},
    engine::{Schedule, Service, ServiceOptions, SystemClock},
    store::{
        Inbox, Store, StoreError,
        sqlite::{OpenOptions, SqliteStore},
    },
    telemetry::{Health, Metrics, logs},
    web::{HookConnector, HookSecrets, Hooks, ReadSecret, Server, ServerSettings, TlsFiles},
};

/// How often it is checked that the store can be written.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Patience for requests that are under way when it stops.
const REQUESTS_END: Duration = Duration::from_secs(5);

/// Listen for Keycloak's events and keep the targets in step
#[derive(Debug, Args)]
#[command(
    long_about = "\
Listen for Keycloak's events and keep the targets in step, until told to stop (Ctrl-C or SIGTERM).

Events are stored before they are acknowledged, and applied at once; full runs are made on each connector's schedule, and \
at start if one was missed. The first run of a connector on a target is planned and held for approval. /healthz, /readyz \
and /metrics are served beside /hooks/CONNECTOR.",
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
        match logs::init(config.log.format, config.log.level) {
            Ok(()) | Err(logs::LogError::Twice) => {}
            Err(error) => return Err(Failure::usage(error.to_string())),
        }
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let stop = stop_signal().map_err(|error| Failure::problem(format!("signals cannot be heard: {error}")))?;
        let sides = Sides::new(&config)?;
        // Bound before the store is opened: a closed port would lose what some senders send meanwhile.
        let metrics = Arc::new(Metrics::new());
        let health = Health::of(&["store"]);
        let hooks = Hooks::new(config.server.body_limit, Arc::new(SystemClock), Arc::clone(&metrics), health.clone());
        let hooks = Arc::new(hooks);
        let server = Server::start(&listen(&config), Arc::clone(&hooks), Arc::clone(&metrics), health.clone())
            .await
            .map_err(|error| Failure::usage(error.to_string()))?;
        tracing::info!("listening on {}", server.address());

        let store = Arc::new(SqliteStore::open(&config.store.path, OpenOptions::new(context.out.now)).await?);
        let engine = sides.engine(&config, Arc::clone(&store) as Arc<dyn Store>).with_metrics(metrics);
        let service = Service::start(Arc::new(engine), service_options(&config)).await?;
        let mut connectors: Vec<HookConnector> = config.connectors.iter().map(hook).collect();
        connectors.extend(removed(&config, store.as_ref()).await?);
        hooks.open(Arc::clone(&store) as Arc<dyn Inbox>, connectors);
        health.ok("store");
        tracing::info!(connectors = config.connectors.len(), targets = config.targets.len(), "at work");

        watch_until(stop, &store, &health).await;
        tracing::info!("stopping: what is under way ends first");
        health.drain();
        let ended = service.shutdown(config.server.drain).await;
        server.shutdown(REQUESTS_END).await;
        store.close().await;
        if !ended {
            tracing::warn!("not all work ended in time; what was cut off is settled by looking after the next start");
        }
        Ok(Exit::Done)
    }
}

/// Keeps the health of the store up to date until the signal comes.
async fn watch_until(stop: impl Future<Output = ()>, store: &SqliteStore, health: &Health) {
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(CHECK_EVERY) => {}
        }
        match store.check().await {
            Ok(()) => health.ok("store"),
            Err(StoreError::Unavailable(why)) => health.down("store", why),
            Err(error) => health.down("store", error.to_string()),
        }
    }
}

/// Ends with Ctrl-C or SIGTERM; heard from now on.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn listen(config: &Config) -> ServerSettings {
    let tls = config.server.tls.as_ref();
    let tls = tls.map(|tls| TlsFiles { cert_file: tls.cert_file.clone(), key_file: tls.key_file.clone() });
    ServerSettings { listen: config.server.listen, tls }
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
        retention: config.store.retention,
    }
}

fn hook(connector: &ConnectorConfig) -> HookConnector {
    let standard = connector.hook.secrets().map(reader).collect();
    let p2 = connector.hook.p2.as_ref().map(reader);
    HookConnector {
        name: connector.name.clone(),
        realm: connector.realm.clone(),
        targets: connector.targets.clone(),
        secrets: Arc::new(HookSecrets::new(standard, p2)),
        removed: false,
    }
}

/// How a connector's senders sign, without secrets: kept so that they can be told to stop once it is removed.
#[derive(Default, Serialize, Deserialize)]
struct HookDocument {
    realm: String,
    standard: Vec<SecretReference>,
    p2: Option<SecretReference>,
}

/// Connectors that were there once: senders that still sign well are answered 410.
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
        HookConnector { name, realm: document.realm, targets: Vec::new(), secrets, removed: true }
    };
    Ok(removed.into_iter().map(place).collect())
}

fn reader(secret: &Secret) -> ReadSecret {
    let secret = secret.clone();
    Arc::new(move || secret.read().map_err(|error| error.to_string()))
}
