//! Builds a store, sources, targets and an engine from the configuration.

use std::{collections::BTreeMap, sync::Arc};

use super::{Context, args::PairArgs, exit::Failure, out::Out};
use crate::{
    config::{Config, ConnectorConfig},
    engine::{self, Connector, Engine, Jitter, SystemClock, TargetPort},
    keycloak::{KeycloakSettings, KeycloakSource, Source as _, SourceError},
    model::{ConnectorName, Pair, Policy, TargetName, UserState},
    plan::Presence,
    store::{
        EngineStore, PairState,
        sqlite::{OpenOptions, SqliteStore},
    },
    targets::{self, Target},
};

/// The store of a command.
pub(super) struct Opened {
    pub store: Arc<SqliteStore>,
    /// The process id of the server that works with the store; `None`: no server runs.
    pub server: Option<String>,
}

/// Opens the store to read it and to store requests, even beside a running server. If there is no store yet, returns an
/// empty temporary one that is not kept.
pub(super) async fn open_for_reading(context: &Context, config: &Config) -> Result<Opened, Failure> {
    let path = &config.store.path;
    let options = OpenOptions::new(context.out.now);
    let server = SqliteStore::worked_by(path);
    if path.exists() {
        let store = Arc::new(SqliteStore::open_beside(path, options).await?);
        return Ok(Opened { store, server });
    }
    context.out.note(format!(
        "There is no store yet at {}: nothing has run here. The first `usersync sync` creates it.",
        path.display()
    ));
    let options = OpenOptions { durable: false, poll: None, ..options };
    Ok(Opened { store: Arc::new(SqliteStore::open_temporary(options).await?), server })
}

/// Opens the store to store requests; creates the store if there is none.
pub(super) async fn intend(context: &Context, config: &Config) -> Result<Opened, Failure> {
    let path = &config.store.path;
    let options = OpenOptions::new(context.out.now);
    let server = SqliteStore::worked_by(path);
    let store = if server.is_some() || path.exists() {
        SqliteStore::open_beside(path, options).await?
    } else {
        SqliteStore::open(path, options).await?
    };
    Ok(Opened { store: Arc::new(store), server })
}

/// Opens the store to work with it alone; beside a running server only to store requests (rule: commands never work
/// beside a server).
pub(super) async fn work(context: &Context, config: &Config) -> Result<Opened, Failure> {
    let path = &config.store.path;
    let options = OpenOptions::new(context.out.now);
    let server = SqliteStore::worked_by(path);
    if server.is_some() {
        let store = Arc::new(SqliteStore::open_beside(path, options).await?);
        return Ok(Opened { store, server });
    }
    Ok(Opened { store: Arc::new(SqliteStore::open(path, options).await?), server })
}

/// Describes when stored requests are worked: now by the running server, or later.
pub(super) fn when_worked(server: Option<&str>) -> String {
    match server {
        Some(pid) => format!("The running server (pid {pid}) works them now."),
        None => "No server runs: they are worked when it starts, or by: usersync sync".to_owned(),
    }
}

/// The sources and targets of a configuration.
pub(super) struct Sides {
    pub sources: BTreeMap<ConnectorName, Arc<KeycloakSource>>,
    pub targets: BTreeMap<TargetName, Arc<dyn Target>>,
}

impl Sides {
    /// Creates the clients; nothing is sent yet.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let mut sides = Self { sources: BTreeMap::new(), targets: BTreeMap::new() };
        for connector in &config.connectors {
            let source = KeycloakSource::new(KeycloakSettings::from(connector))
                .map_err(|error| Failure::usage(format!("connector {}: {error}", connector.name)))?;
            // Before anything is read: groups that were read without them cannot be judged.
            if connector.policy.uses_group_attributes() {
                source.read_group_attributes();
            }
            sides.sources.insert(connector.name.clone(), Arc::new(source));
        }
        for target in &config.targets {
            let client =
                targets::build(target).map_err(|error| Failure::usage(format!("target {}: {error}", target.name)))?;
            sides.targets.insert(target.name.clone(), client);
        }
        Ok(sides)
    }

    /// Returns a user of a connector's realm, with the groups that the policy gives it, and with whether it is in scope.
    pub async fn judge(
        &self,
        connector: &ConnectorName,
        policy: &Policy,
        user: UserState,
    ) -> Result<Presence, SourceError> {
        engine::judge(self.sources[connector].as_ref(), policy, user).await
    }

    /// Creates the engine for these sources and targets.
    pub fn engine(&self, config: &Config, store: Arc<dyn EngineStore>) -> Engine {
        let connectors = config.connectors.iter().filter_map(|connector| {
            let source = Arc::clone(self.sources.get(&connector.name)?);
            let mut port =
                Connector::new(connector.name.clone(), source, connector.policy.clone(), connector.targets.clone());
            port.parallel = usize::try_from(connector.reach.parallel.get()).unwrap_or(usize::MAX);
            Some(port)
        });
        let targets = config.targets.iter().filter_map(|target| {
            let mut port = TargetPort::new(target.name.clone(), Arc::clone(self.targets.get(&target.name)?));
            port.parallel = usize::try_from(target.reach.parallel.get()).unwrap_or(usize::MAX);
            Some(port)
        });
        Engine::new(store, Arc::new(SystemClock), Jitter::random(), connectors.collect(), targets.collect())
    }
}

/// Returns all pairs of the configuration.
pub(super) fn all_pairs(config: &Config) -> impl Iterator<Item = Pair> {
    let of = |one: &ConnectorConfig, target: &TargetName| Pair { connector: one.name.clone(), target: target.clone() };
    config.connectors.iter().flat_map(move |one| one.targets.iter().map(move |target| of(one, target)))
}

/// Returns the pairs that match `--connector` and `--target`; an error names the known connectors or targets.
pub(super) fn pairs(config: &Config, only: &PairArgs) -> Result<Vec<Pair>, Failure> {
    let (connector, target) = (only.connector.as_ref(), only.target.as_ref());
    if let Some(name) = connector {
        known_connector(config, name)?;
    }
    if let Some(name) = target {
        known_target(config, name)?;
    }
    let pairs: Vec<Pair> = all_pairs(config)
        .filter(|pair| connector.is_none_or(|name| *name == pair.connector))
        .filter(|pair| target.is_none_or(|name| *name == pair.target))
        .collect();
    match (pairs.is_empty(), connector, target) {
        (true, Some(connector), Some(target)) => {
            Err(Failure::usage(format!("connector {connector} does not fill target {target}")))
        }
        (true, ..) => Err(Failure::usage(
            "the configuration has no connector that fills a target. Add one: usersync config example",
        )),
        _ => Ok(pairs),
    }
}

/// Returns an error if the configuration has no such connector.
pub(super) fn known_connector(config: &Config, name: &ConnectorName) -> Result<(), Failure> {
    let names: Vec<&str> = config.connectors.iter().map(|one| one.name.as_str()).collect();
    known("connector", &names, name.as_str())
}

/// Returns an error if the configuration has no such target.
pub(super) fn known_target(config: &Config, name: &TargetName) -> Result<(), Failure> {
    let names: Vec<&str> = config.targets.iter().map(|one| one.name.as_str()).collect();
    known("target", &names, name.as_str())
}

/// Returns an error with a suggestion if `names` does not contain `name`.
pub(super) fn known(what: &str, names: &[&str], name: &str) -> Result<(), Failure> {
    if names.contains(&name) {
        return Ok(());
    }
    let near = names.iter().find(|known| strsim::damerau_levenshtein(known, name) <= 2);
    let help = match (near, names) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, []) => format!("the configuration has no {what}"),
        (None, names) => format!("there are: {}", names.join(", ")),
    };
    Err(Failure::usage(format!("{name}: there is no such {what}; {help}")))
}

/// Returns the state of a pair in a few words.
pub(super) fn state_word(state: PairState) -> &'static str {
    match state {
        PairState::New => "new",
        PairState::NoUsers => "new, no users in scope yet",
        PairState::Held => "first run held",
        PairState::Approved => "first run approved",
        PairState::InService => "in service",
        PairState::Stopped => "stopped",
    }
}

/// Describes why a stopped pair is not worked, and which command confirms which change.
pub(super) fn stopped(pair: &Pair) -> String {
    let Pair { connector, target } = pair;
    format!(
        "another server or realm was found behind the same settings, or another base URL of the same server; nothing is \
         written. The same server under a new address: usersync target confirm {target} --same-server. Another server, such \
         as a clone: usersync target confirm {target}. Another realm: usersync connector confirm {connector}"
    )
}

/// Prints the consequences of a confirmed identity.
pub(super) fn confirmed(out: &Out, what: &str, is: &str, pairs: &[Pair]) {
    if out.json {
        return out.document(&serde_json::json!({ "confirmed": what, "begins_anew": pairs }));
    }
    out.say(format!("{what}: the {is} that usersync finds at the next contact is accepted from now on."));
    for pair in pairs {
        out.say(format!(
            "{pair} starts again: its first run is planned and waits for approval (usersync approvals list)."
        ));
    }
}
