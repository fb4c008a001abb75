//! Reads `[[connector]]`.

use jiff::tz::TimeZone;
use secrecy::ExposeSecret;

use super::{
    ConnectorConfig, HookConfig, Schedule, Secret,
    connection::{Forms, reach, secret, server_url, written_form},
    policy::policy,
    policy_tests::policy_tests,
    problem::Place,
    reader::Table,
    values::{self, Wrong, quoted},
};
use crate::model::{SHORTEST_HOOK_SECRET, TargetName, hook_secret};

pub(super) const CLIENT_SECRET: Forms = ["client_secret", "client_secret_file", "client_secret_env"];
pub(super) const HOOK_SECRET: Forms = ["hook_secret", "hook_secret_file", "hook_secret_env"];
const HOOK_PREVIOUS: Forms = ["hook_secret_previous", "hook_secret_previous_file", "hook_secret_previous_env"];
const P2_SECRET: Forms = ["p2_secret", "p2_secret_file", "p2_secret_env"];

/// One parsed table: the connector, and the places of its targets' names for the checks across sections.
pub(super) struct Written {
    pub connector: Option<ConnectorConfig>,
    pub targets: Vec<(TargetName, Place)>,
}

pub(super) fn connector(table: &Table<'_>) -> Written {
    let targets = targets(table);
    let named = targets.iter().map(|(name, _)| name.clone()).collect();
    Written { connector: read(table, named), targets }
}

fn read(table: &Table<'_>, targets: Vec<TargetName>) -> Option<ConnectorConfig> {
    let name = table.read("name", values::name);
    let enabled = table.read("enabled", values::flag);
    let url = server_url(table);
    let realm = table.read("realm", values::string);
    let client_realm = table.read("client_realm", values::string);
    let client_id = table.read("client_id", values::string);
    let client_secret = client_secret(table);
    let reach = reach(table);
    let page_size = table.read("page_size", values::count(10_000));
    let hook = hook(table);
    let schedule = schedule(table);
    let poll_events = table.read("poll_events", values::interval_or_off);
    let federation_check = table.read("federation_check", values::interval_or_off);
    let policy = policy(table);
    let tests = policy_tests(table, &targets);
    let realm = realm?;
    Some(ConnectorConfig {
        name: name?.into(),
        enabled: enabled?,
        url: url?,
        client_realm: client_realm.unwrap_or_else(|| realm.clone()),
        realm,
        client_id: client_id?,
        client_secret: client_secret?,
        reach: reach?,
        page_size: page_size?,
        hook,
        targets,
        schedule,
        poll_events: poll_events?,
        federation_check: federation_check?,
        policy: policy?,
        tests: tests?,
    })
}

fn client_secret(table: &Table<'_>) -> Option<Secret> {
    if written_form(table, CLIENT_SECRET).is_none() {
        let help = "add client_secret_file, client_secret_env or client_secret";
        table.missing("the client's secret", Some(help.to_owned()));
    }
    secret(table, CLIENT_SECRET).map(|(secret, _)| secret)
}

fn targets(table: &Table<'_>) -> Vec<(TargetName, Place)> {
    let mut names: Vec<(TargetName, Place)> = Vec::new();
    let Some(written) = table.list("targets", values::string) else { return names };
    if written.is_empty() && table.is_empty_list("targets") {
        let wrong = Wrong::new("it has no target").help("name at least one: targets = [\"jira-prod\"]");
        table.wrong("targets", table.place_of("targets"), wrong);
    }
    for (name, place) in written {
        let name = TargetName::from(name);
        if names.iter().any(|(other, _)| *other == name) {
            table.wrong(
                "targets",
                place,
                Wrong::new(format!("{} is named twice", quoted(name.as_str()))).help("remove one of them"),
            );
        } else {
            names.push((name, place));
        }
    }
    names
}

fn hook(table: &Table<'_>) -> HookConfig {
    let accept_p2 = table.read("accept_p2", values::flag);
    let [secret, previous, p2] = [HOOK_SECRET, HOOK_PREVIOUS, P2_SECRET].map(|forms| signing_secret(table, forms));
    if let (None, Some(key)) = (written_form(table, HOOK_SECRET), written_form(table, HOOK_PREVIOUS)) {
        let wrong = Wrong::new("a previous secret is set, but no current one").help("add hook_secret_file");
        table.wrong(key, table.place_of(key), wrong);
    }
    match (accept_p2, written_form(table, P2_SECRET)) {
        (Some(true), None) => {
            let wrong = Wrong::new("there is no secret to verify them").help("add p2_secret_file");
            table.wrong("accept_p2", table.place_of("accept_p2"), wrong);
        }
        (Some(true), Some(_)) => {
            let help = "use usersync's own listener where possible; a replayed event does no harm, but causes work";
            let message = "events in the p2 form have no timestamp, so anyone who captured one can replay it";
            table.reader.warn(table.place_of("accept_p2"), message, Some(help.to_owned()));
        }
        (Some(false), Some(key)) => {
            let help = "add accept_p2 = true, or remove the secret";
            table.reader.warn(table.place_of(key), format!("{key} is not used"), Some(help.to_owned()));
        }
        _ => {}
    }
    HookConfig { secret, previous, p2: p2.filter(|_| accept_p2 == Some(true)) }
}

/// Reads a secret that signs events, if it is valid.
fn signing_secret(table: &Table<'_>, forms: Forms) -> Option<Secret> {
    let (secret, place) = secret(table, forms)?;
    // The secret was read a moment ago. If it has become unreadable since, its next use reports that.
    let Ok(value) = secret.read() else { return Some(secret) };
    let wrong = if forms == P2_SECRET { p2_mistake(value.expose_secret()) } else { mistake(value.expose_secret()) };
    let Some(wrong) = wrong else { return Some(secret) };
    table.wrong(written_form(table, forms)?, place, wrong);
    None
}

fn mistake(secret: &str) -> Option<Wrong> {
    let text = hook_secret(secret).err()?.to_string();
    let (what, advice) = text.split_once(". ").unwrap_or((&text, ""));
    Some(Wrong::new(what).help(advice))
}

/// Checks a secret of the p2-inc listener, which signs with any text; only its length can be wrong.
fn p2_mistake(secret: &str) -> Option<Wrong> {
    let length = secret.trim().len();
    let text = format!("{length} bytes are too short for a signing secret; it needs at least {SHORTEST_HOOK_SECRET}");
    (length < SHORTEST_HOOK_SECRET).then(|| Wrong::new(text).help("create one with: openssl rand -hex 32"))
}

fn schedule(table: &Table<'_>) -> Option<Schedule> {
    let text = table.read("schedule", values::string);
    let zone = table.read("time_zone", values::time_zone);
    let text = text.filter(|text| text != "off")?;
    // With an invalid time zone, the expression is still checked, so that all errors are reported at once.
    match Schedule::parse(&text, zone.unwrap_or(TimeZone::UTC), table.reader.now) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let wrong = Wrong::new(format!("{}: {error}", quoted(&text)))
                .help("as \"0 0 * * * ?\" (hourly), \"0 30 2 * * ?\" (at 2:30), \"0 0 22 ? * MON-FRI\", or \"off\"");
            table.wrong("schedule", table.place_of("schedule"), wrong);
            None
        }
    }
}
