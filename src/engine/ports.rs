//! The interfaces and settings that the engine uses: store, sources, targets, clock.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::{
    additions::Additions, breaker::Breaker, error::WorkError, federation::Providers, ruled_groups::with_policy,
    run::EndedRun, times::EngineTimes,
};
use crate::{
    clock::{Clock, Jitter},
    keycloak::Source,
    model::{ConnectorName, Pair, Policy, SourceIdentity, Subject, TargetName},
    plan::GroupTable,
    store::{EngineStore, PairState},
    targets::{Target, TargetInfo},
    telemetry::{Metrics, source_meter, target_meter},
};

/// Number of linked users that are read to recognize a realm.
const KNOWN_USERS: usize = 3;

/// A connector as the engine uses it.
pub struct Connector {
    /// Its name.
    pub name: ConnectorName,
    /// Its source.
    pub source: Arc<dyn Source>,
    /// Its policy.
    pub policy: Policy,
    /// The targets that it fills.
    pub targets: Vec<TargetName>,
    /// Number of concurrent reads at the source.
    pub parallel: usize,
    pub(super) breaker: Arc<Breaker>,
    /// The source, to which no policy is applied.
    unruled: Arc<dyn Source>,
}

/// A target as the engine uses it.
pub struct TargetPort {
    /// Its name.
    pub name: TargetName,
    /// Its client.
    pub target: Arc<dyn Target>,
    /// Number of subjects worked concurrently.
    pub parallel: usize,
    /// Number of users in a wave of a full reconcile, where one call adds many users to a group. For each user of two
    /// such waves a claim is held and a few kilobytes are kept. A larger wave needs fewer calls.
    pub wave: usize,
    pub(super) breaker: Breaker,
    info: Mutex<Option<Arc<TargetInfo>>>,
    /// Whether its workers found no due task in their last query.
    idle: AtomicBool,
    /// Verbs of removals that a re-read has confirmed to take effect.
    verified: Mutex<HashSet<&'static str>>,
    /// Waves of full reconciles in progress.
    waves: Mutex<Vec<Weak<Additions>>>,
}

impl Connector {
    /// Creates a connector with default concurrency.
    pub fn new(name: ConnectorName, source: Arc<dyn Source>, policy: Policy, targets: Vec<TargetName>) -> Self {
        let ruled = with_policy(Arc::clone(&source), &policy, policy.uses_group_attributes());
        Self { name, source: ruled, policy, targets, parallel: 8, breaker: Arc::default(), unruled: source }
    }

    /// Returns the connector with the policy of one of its targets; `None`: it is that of the connector.
    fn of_target(&self, target: &TargetName) -> Option<Self> {
        let Cow::Owned(policy) = self.policy.of_target(target) else { return None };
        let (name, targets, unruled) = (self.name.clone(), self.targets.clone(), Arc::clone(&self.unruled));
        let source = with_policy(Arc::clone(&unruled), &policy, self.policy.uses_group_attributes());
        let breaker = Arc::clone(&self.breaker);
        Some(Self { name, source, policy, targets, parallel: self.parallel, breaker, unruled })
    }
}

impl TargetPort {
    /// Creates a target with default concurrency.
    pub fn new(name: TargetName, target: Arc<dyn Target>) -> Self {
        Self {
            name,
            target,
            parallel: 8,
            wave: 4000,
            breaker: Breaker::default(),
            info: Mutex::new(None),
            idle: AtomicBool::new(false),
            verified: Mutex::default(),
            waves: Mutex::default(),
        }
    }

    /// Registers a wave for as long as it is in progress.
    pub(super) fn note_wave(&self, wave: &Arc<Additions>) {
        let mut waves = self.waves.lock();
        waves.retain(|known| known.strong_count() > 0);
        waves.push(Arc::downgrade(wave));
    }

    /// Returns whether the subject is in a wave that has made progress since this time or waits for the server.
    pub(super) fn is_in_wave(&self, pair: &Pair, subject: &Subject, since: Timestamp) -> bool {
        let waves = self.waves.lock();
        waves.iter().filter_map(Weak::upgrade).any(|wave| wave.works(pair, subject, since))
    }

    /// Returns whether its workers found no due task in their last query.
    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Relaxed);
    }

    /// Returns whether removals of this kind are confirmed to take effect.
    pub(super) fn is_verified(&self, verb: &str) -> bool {
        self.verified.lock().contains(verb)
    }

    /// Records that a removal of this kind took effect.
    pub(super) fn verified(&self, verb: &'static str) {
        self.verified.lock().insert(verb);
    }

    /// Requires the next removal of this kind to be confirmed by a re-read.
    pub(super) fn distrust(&self, verb: &str) {
        self.verified.lock().remove(verb);
    }

    fn remember(&self, info: TargetInfo) -> Arc<TargetInfo> {
        let info = Arc::new(info);
        *self.info.lock() = Some(Arc::clone(&info));
        info
    }
}

/// The cached groups of each pair.
#[derive(Default)]
struct GroupTables {
    kept: HashMap<Pair, Arc<GroupTable>>,
    /// Number of group writes in progress.
    writing: usize,
    /// Number of group writes since the start.
    written: u64,
    /// Value of [`Store::outside_changes`] when the cached tables were read.
    outside: u64,
}

/// See [`Engine::writing_group`].
pub(super) struct WritingGroup<'e>(&'e Engine);

impl Drop for WritingGroup<'_> {
    fn drop(&mut self) {
        let mut tables = self.0.group_tables();
        tables.writing -= 1;
        tables.written += 1;
    }
}

/// Keeps subjects in sync. It has no state that a crash could lose: all durable state is in the store.
pub struct Engine {
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) jitter: Jitter,
    pub(super) times: EngineTimes,
    connectors: HashMap<ConnectorName, Arc<Connector>>,
    /// The connectors with the policies of single targets, for pairs that have other rules for groups than the connector.
    of_pairs: HashMap<Pair, Arc<Connector>>,
    targets: HashMap<TargetName, Arc<TargetPort>>,
    groups: Mutex<GroupTables>,
    pub(super) providers: Providers,
    /// Runs with an end that could not be written.
    left_runs: Mutex<Vec<EndedRun>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Engine {
    /// Creates an engine from these parts.
    pub fn new(
        store: Arc<dyn EngineStore>,
        clock: Arc<dyn Clock>,
        jitter: Jitter,
        connectors: Vec<Connector>,
        targets: Vec<TargetPort>,
    ) -> Self {
        let of_pairs = connectors.iter().flat_map(|connector| {
            connector.targets.iter().filter_map(|target| {
                let pair = Pair { connector: connector.name.clone(), target: target.clone() };
                Some((pair, Arc::new(connector.of_target(target)?)))
            })
        });
        let engine = Self {
            store,
            clock,
            jitter,
            times: EngineTimes::default(),
            of_pairs: of_pairs.collect(),
            connectors: connectors.into_iter().map(|c| (c.name.clone(), Arc::new(c))).collect(),
            targets: targets.into_iter().map(|t| (t.name.clone(), Arc::new(t))).collect(),
            groups: Mutex::default(),
            providers: Providers::default(),
            left_runs: Mutex::default(),
            metrics: Arc::default(),
        };
        engine.with_metrics(Arc::new(Metrics::new()))
    }

    /// Sets the metrics of the engine and of all clients.
    #[must_use]
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        for connector in self.connectors.values() {
            connector.source.attach(&source_meter(&metrics, &connector.name));
        }
        for port in self.targets.values() {
            port.target.attach(&target_meter(&metrics, &port.name));
        }
        Self { metrics, ..self }
    }

    /// Sets other times.
    #[must_use]
    pub fn with_times(mut self, times: EngineTimes) -> Self {
        self.times = times;
        self
    }

    /// Returns its store.
    pub fn store(&self) -> &Arc<dyn EngineStore> {
        &self.store
    }

    /// Returns all connectors.
    pub fn connectors(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.connectors.values()
    }

    /// Returns all targets.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<TargetPort>> {
        self.targets.values()
    }

    /// Returns a connector by name.
    pub fn connector(&self, name: &ConnectorName) -> Result<&Arc<Connector>, WorkError> {
        self.connectors
            .get(name)
            .ok_or_else(|| WorkError::Unknown(format!("there is no connector {name} in the configuration")))
    }

    /// Returns the connector of a pair, with the policy that applies to its target.
    pub fn connector_of(&self, pair: &Pair) -> Result<&Arc<Connector>, WorkError> {
        self.of_pairs.get(pair).map_or_else(|| self.connector(&pair.connector), Ok)
    }

    /// Returns a target by name.
    pub fn target(&self, name: &TargetName) -> Result<&Arc<TargetPort>, WorkError> {
        self.targets
            .get(name)
            .ok_or_else(|| WorkError::Unknown(format!("there is no target {name} in the configuration")))
    }

    /// Returns all pairs of a connector and a target that it fills.
    pub fn pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = self
            .connectors
            .values()
            .flat_map(|c| c.targets.iter().map(|t| Pair { connector: c.name.clone(), target: t.clone() }))
            .collect();
        pairs.sort();
        pairs
    }

    /// Returns the cached information about a target; the first call reads it from the target.
    pub(super) async fn info(&self, port: &TargetPort) -> Result<Arc<TargetInfo>, WorkError> {
        let known = port.info.lock().clone();
        match known {
            Some(info) => Ok(info),
            None => self.probe(port).await,
        }
    }

    /// Reads the target's identity and compares it with the identity that was pinned at first contact.
    pub(super) async fn probe(&self, port: &TargetPort) -> Result<Arc<TargetInfo>, WorkError> {
        let info = port.target.probe().await?;
        let (pinned, elsewhere) = self.store.pin_target(&port.name, &info.identity).await?;
        if !pinned.is_same(&info.identity) {
            let (name, found) = (&port.name, &info.identity);
            let text = if pinned.id == found.id {
                format!(
                    "target {name} reports another base URL than before, as a clone does ({found}, was {pinned}); nothing is \
                     written. If it is the same server under a new address: usersync target confirm {name} --same-server. \
                     If it is another server, such as a clone: usersync target confirm {name}"
                )
            } else {
                format!(
                    "target {name} is another server than before ({found}, was {pinned}); nothing is written. If that is \
                     intended: usersync target confirm {name}"
                )
            };
            return Err(self.stop_target(port, text).await?);
        }
        if let Some(other) = elsewhere {
            let text = format!(
                "target {} is the same server as target {other} ({}); define it once and name it in both connectors",
                port.name, info.identity
            );
            return Err(self.stop_target(port, text).await?);
        }
        Ok(port.remember(info))
    }

    async fn stop_target(&self, port: &TargetPort, text: String) -> Result<WorkError, WorkError> {
        // The cached information may be of another server.
        *port.info.lock() = None;
        let mut stopped = None;
        for pair in self.pairs().into_iter().filter(|pair| pair.target == port.name) {
            self.store.stop_for_target(&pair, self.clock.now()).await?;
            stopped.get_or_insert(pair);
        }
        tracing::error!(target.name = %port.name, "{text}");
        Ok(match stopped {
            Some(pair) => WorkError::Identity { pair, text },
            None => WorkError::Unknown(text),
        })
    }

    /// Reads the source's identity. An identity other than at first contact stops the connector.
    pub(super) async fn identify(&self, connector: &Connector) -> Result<SourceIdentity, WorkError> {
        let found = connector.source.identify().await?.identity;
        let pinned = self.store.pin_source(&connector.name, &found).await?;
        if pinned == found {
            return Ok(found);
        }
        if pinned.issuer == found.issuer && self.is_same_realm(connector).await? {
            tracing::warn!(connector = %connector.name, "the service account was recreated; the realm is the same, as it has the linked users");
            self.store.repin_source(&connector.name, &found, self.clock.now()).await?;
            return Ok(found);
        }
        let text = format!(
            "the source of connector {} is another realm than before (issuer {}, service account {}; was {}, {}); nothing is \
             written. If that is intended: usersync connector confirm {}",
            connector.name, found.issuer, found.service_account, pinned.issuer, pinned.service_account, connector.name
        );
        tracing::error!(connector = %connector.name, "{text}");
        for target in &connector.targets {
            let pair = Pair { connector: connector.name.clone(), target: target.clone() };
            self.store.set_pair_state(&pair, PairState::Stopped, self.clock.now()).await?;
        }
        let pair = Pair {
            connector: connector.name.clone(),
            target: connector.targets.first().cloned().unwrap_or_else(|| "".into()),
        };
        Err(WorkError::Identity { pair, text })
    }

    /// Returns whether a linked user exists by its id. Another realm of the same name has users with other ids.
    async fn is_same_realm(&self, connector: &Connector) -> Result<bool, WorkError> {
        for target in &connector.targets {
            let pair = Pair { connector: connector.name.clone(), target: target.clone() };
            for user in self.store.seen_alive(&pair, &"".into(), KNOWN_USERS).await? {
                if connector.source.is_alive(&user).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Returns the groups of a pair, cached until a group is written.
    pub(super) async fn group_table(&self, pair: &Pair) -> Result<Arc<GroupTable>, WorkError> {
        let outside = self.store.outside_changes();
        let (known, written) = {
            let mut tables = self.group_tables();
            if tables.outside != outside {
                tables.kept.clear();
                tables.outside = outside;
            }
            (tables.kept.get(pair).cloned(), tables.written)
        };
        if let Some(table) = known {
            return Ok(table);
        }
        let managed = self.store.managed_groups(&pair.target).await?;
        let mappings = self.store.group_mappings(pair).await?;
        let table = Arc::new(GroupTable::new(managed, mappings));
        let mut tables = self.group_tables();
        if tables.writing == 0 && tables.written == written && tables.outside == outside {
            tables.kept.insert(pair.clone(), Arc::clone(&table));
        }
        Ok(table)
    }

    /// Marks a group write as in progress until the guard is dropped. Meanwhile no table is cached, neither one read
    /// before nor one read during the write.
    pub(super) fn writing_group(&self) -> WritingGroup<'_> {
        let mut tables = self.group_tables();
        tables.writing += 1;
        tables.kept.clear();
        WritingGroup(self)
    }

    pub(super) fn left_runs(&self) -> MutexGuard<'_, Vec<EndedRun>> {
        self.left_runs.lock()
    }

    fn group_tables(&self) -> MutexGuard<'_, GroupTables> {
        self.groups.lock()
    }
}
