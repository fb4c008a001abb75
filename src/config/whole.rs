//! Assembles the sections, and checks what spans several sections.

use std::{collections::BTreeSet, path::Path};

use jiff::Timestamp;
use toml::de::{DeTable, DeValue};

use super::{
    AlertConfig, Config, ConfigErrors, ConnectorConfig, Env, Problem, Reach, Secret, TargetConfig,
    alert::{self, known_connectors},
    connector::{self, Written},
    matching::matching,
    permissions,
    policy::place_in_policy,
    problem::{Place, Shown},
    reader::{Reader, Table},
    server,
    suggest::did_you_mean,
    target,
    values::{Wrong, quoted},
};
use crate::model::{LeaverAction, TargetName};

/// Creates an error about the file as a whole.
pub(super) fn failure(path: &Path, message: &str, help: Option<String>) -> ConfigErrors {
    ConfigErrors::new(vec![Problem::new(&Shown::new(path, ""), Place::File, message, help)])
}

pub(super) fn parse(text: &str, path: &Path, env: &Env, now: Timestamp) -> Result<Config, ConfigErrors> {
    parse_with(text, Reader::new(path, Shown::new(path, text), env, now), path)
}

/// Checks all but the existence of the files and variables with secrets and certificates.
pub(super) fn parse_without_files(text: &str, path: &Path, env: &Env) -> Result<Config, ConfigErrors> {
    parse_with(text, Reader::new(path, Shown::new(path, text), env, Timestamp::now()).without_files(), path)
}

fn parse_with(text: &str, reader: Reader<'_>, path: &Path) -> Result<Config, ConfigErrors> {
    let document = document(text, &Shown::new(path, text))?;
    let root = reader.root(&document);
    let server = server::server(&root);
    let store = server::store(&root);
    let log = server::log(&root);
    server::unknown_variables(&root);

    let target_tables = root.each("target");
    let mut targets: Vec<Option<TargetConfig>> = target_tables.iter().map(target::target).collect();
    let connector_tables = root.each("connector");
    let connectors: Vec<Written> = connector_tables.iter().map(connector::connector).collect();
    let alert_tables = root.each("alert");
    let alerts: Vec<Option<AlertConfig>> = alert_tables.iter().map(alert::alert).collect();

    unique_names(&target_tables);
    unique_names(&connector_tables);
    unique_names(&alert_tables);
    known_connectors(&alert_tables, &connector_tables);
    one_server_one_target(&target_tables, &targets);
    one_source_one_connector(&connector_tables, connectors.iter().map(|written| &written.connector));
    let wanted: Vec<_> = connectors.iter().flat_map(|written| &written.targets).collect();
    known_targets(&connector_tables, &target_tables, &connectors);
    unused_targets(&target_tables, &wanted);
    for (table, connector) in connector_tables.iter().zip(connectors.iter().map(|written| &written.connector)) {
        if let Some(connector) = connector {
            attributes(table, connector, &mut targets);
            anonymization(table, connector, &targets);
            matching(table, connector, &mut targets);
        }
    }
    if connector_tables.is_empty() {
        let help = "add a [[connector]] and a [[target]]; usersync config example shows how";
        reader.warn(Place::File, "there is no connector, so nothing is kept in sync", Some(help.to_owned()));
    }
    let inline = has_inline_secret(&targets, connectors.iter().map(|written| &written.connector))
        || alerts.iter().flatten().any(signs_inline);
    if inline && permissions::others_can_read(path) {
        let help = format!("chmod 600 {}, or keep secrets in separate files (token_file, …)", path.display());
        reader.warn(Place::File, "it contains secrets, and other users on this machine can read it", Some(help));
    }

    let targets: Option<Vec<_>> = targets.into_iter().collect();
    let connectors: Option<Vec<_>> = connectors.into_iter().map(|written| written.connector).collect();
    let alerts: Option<Vec<_>> = alerts.into_iter().collect();
    let (errors, warnings) = reader.into_problems();
    match (server, store, log, targets, connectors, alerts) {
        (Some(server), Some(store), Some(log), Some(targets), Some(connectors), Some(alerts)) if errors.is_empty() => {
            Ok(Config { path: path.to_path_buf(), server, store, log, targets, connectors, alerts, warnings })
        }
        _ => Err(ConfigErrors::new(errors)),
    }
}

/// Parses the file's content as TOML.
pub(super) fn document<'t>(text: &'t str, shown: &Shown) -> Result<DeTable<'t>, ConfigErrors> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    if syntax_errors.is_empty() {
        return Ok(document.into_inner());
    }
    // After a syntax error, other errors may be its consequences, so only syntax errors are reported.
    let problem = |error: &toml::de::Error| {
        let place = error.span().map_or(Place::File, Place::Span);
        Problem::new(shown, place, format!("this is not TOML: {}", error.message()), None)
    };
    Err(ConfigErrors::new(syntax_errors.iter().map(problem).collect()))
}

/// Returns the name as written, valid or not.
pub(super) fn written_name<'t>(table: &Table<'t>) -> Option<&'t str> {
    match table.raw("name")?.get_ref() {
        DeValue::String(name) => Some(name.as_ref()),
        _ => None,
    }
}

fn unique_names(tables: &[Table<'_>]) {
    let mut seen = BTreeSet::new();
    for table in tables {
        if let Some(name) = written_name(table)
            && !seen.insert(name)
        {
            let wrong = Wrong::new(format!("{} is already used", quoted(name))).help("use a unique name");
            table.wrong("name", table.place_of("name"), wrong);
        }
    }
}

/// Reports two targets with the same server, because they would overwrite each other's accounts.
fn one_server_one_target(tables: &[Table<'_>], targets: &[Option<TargetConfig>]) {
    let address = |target: &TargetConfig| target.url.as_str().trim_end_matches('/').to_owned();
    for (index, (table, target)) in tables.iter().zip(targets).enumerate() {
        let Some(target) = target else { continue };
        let same = targets[..index].iter().flatten().find(|other| address(other) == address(target));
        if let Some(other) = same {
            let wrong = Wrong::new(format!("this server is target `{}` already", other.name))
                .help("one target is enough: several connectors can fill it");
            table.wrong("url", table.place_of("url"), wrong);
        }
    }
}

/// Reports two connectors with the same service account in the same realm: one source under two names.
fn one_source_one_connector<'c>(tables: &[Table<'_>], connectors: impl Iterator<Item = &'c Option<ConnectorConfig>>) {
    let mut seen: Vec<&ConnectorConfig> = Vec::new();
    for (table, connector) in tables.iter().zip(connectors) {
        let Some(connector) = connector else { continue };
        let source = |c: &ConnectorConfig| {
            let url = c.url.as_str().trim_end_matches('/').to_owned();
            (url, c.realm.clone(), c.client_realm.clone(), c.client_id.clone())
        };
        match seen.iter().find(|other| source(other) == source(connector)) {
            Some(other) => {
                let wrong = Wrong::new(format!("connector `{}` reads this realm with the same client", other.name))
                    .help("one connector can fill several targets; for two policies use two clients");
                table.wrong("realm", table.place_of("realm"), wrong);
            }
            None => seen.push(connector),
        }
    }
}

fn known_targets(connectors: &[Table<'_>], targets: &[Table<'_>], wanted: &[Written]) {
    let known: Vec<&str> = targets.iter().filter_map(written_name).collect();
    for (table, written) in connectors.iter().zip(wanted) {
        for (name, place) in &written.targets {
            if !known.contains(&name.as_str()) {
                let help = did_you_mean(name.as_str(), known.iter().copied()).unwrap_or_else(|| match known.len() {
                    0 => "add a [[target]] of that name".to_owned(),
                    _ => format!(
                        "known targets: {}",
                        known.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
                    ),
                });
                table.wrong(
                    "targets",
                    place.clone(),
                    Wrong::new(format!("there is no target {}", quoted(name.as_str()))).help(help),
                );
            }
        }
    }
}

/// Checks the attributes that the policy sets on single targets. The connector must fill each target, and the target
/// must support such attributes.
fn attributes(table: &Table<'_>, connector: &ConnectorConfig, targets: &mut [Option<TargetConfig>]) {
    for (name, wanted) in &connector.policy.targets {
        let key = format!("policy.targets.{name}");
        if !connector.targets.contains(name) {
            let known = connector.targets.iter().map(TargetName::as_str);
            let help = did_you_mean(name.as_str(), known).unwrap_or_else(|| "add it to targets, too".to_owned());
            let place = place_in_policy(table, &["targets", name.as_str()]);
            table.wrong(&key, place, Wrong::new("the connector does not fill this target").help(help));
            continue;
        }
        let Some(target) = targets.iter_mut().flatten().find(|target| target.name == *name) else { continue };
        for attribute in wanted.attributes.keys() {
            let fault = match target.kind.attribute {
                Some(check) => check(attribute).err(),
                None => Some(format!("a target of kind {} does not support further attributes", target.kind.name)),
            };
            match fault {
                Some(fault) => {
                    let place = place_in_policy(table, &["targets", name.as_str(), "attributes", attribute]);
                    table.wrong(&format!("{key}.attributes"), place, Wrong::new(fault));
                }
                None => drop(target.attributes.insert(attribute.clone())),
            }
        }
    }
}

/// Checks that each target of the connector can anonymize accounts if the policy says so.
fn anonymization(table: &Table<'_>, connector: &ConnectorConfig, targets: &[Option<TargetConfig>]) {
    if connector.policy.leavers.strictest() != LeaverAction::Anonymize {
        return;
    }
    let filled = targets.iter().flatten().filter(|target| connector.targets.contains(&target.name));
    for target in filled.filter(|target| !target.expected_capabilities().anonymize) {
        let wrong =
            Wrong::new(format!("a target of kind {} cannot anonymize accounts: {}", target.kind.name, target.name))
                .help("use \"delete\" or \"deactivate\", or fill this target by another connector");
        table.wrong("policy.leavers", place_in_policy(table, &["leavers"]), wrong);
    }
}

fn unused_targets(tables: &[Table<'_>], wanted: &[&(TargetName, Place)]) {
    for table in tables {
        if let Some(name) = written_name(table)
            && !wanted.iter().any(|(other, _)| other.as_str() == name)
        {
            let help = "add it to a connector's targets".to_owned();
            table.reader.warn(table.place_of("name"), "no connector fills this target", Some(help));
        }
    }
}

fn signs_inline(alert: &AlertConfig) -> bool {
    alert.channel.secret().is_some_and(Secret::is_inline)
}

fn has_inline_secret<'c>(
    targets: &[Option<TargetConfig>],
    connectors: impl Iterator<Item = &'c Option<ConnectorConfig>>,
) -> bool {
    use super::TargetAuth::{Client, Password, Token};
    let of_way = |reach: &Reach| reach.proxy_user.as_ref().is_some_and(|user| user.password.is_inline());
    let of_target = |target: &TargetConfig| match &target.auth {
        Token(secret) | Password { password: secret, .. } | Client { secret, .. } => {
            secret.is_inline() || of_way(&target.reach)
        }
    };
    let of_connector = |connector: &ConnectorConfig| {
        let hook = &connector.hook;
        connector.client_secret.is_inline()
            || of_way(&connector.reach)
            || hook.secrets().chain(&hook.p2).any(Secret::is_inline)
    };
    targets.iter().flatten().any(of_target) || connectors.flatten().any(of_connector)
}
