//! Reads `[[alert]]`.

use std::path::PathBuf;

use jiff::SignedDuration;
use secrecy::ExposeSecret as _;

use super::{
    AlertChannel, AlertConfig, Secret,
    connection::{Forms, secret, warn_without_tls, written_form},
    problem::Place,
    reader::Table,
    suggest::did_you_mean,
    values::{self, Wrong, quoted},
    whole::written_name,
};
use crate::model::{AlertKind, ConnectorName, hook_secret};

const SECRET: Forms = ["secret", "secret_file", "secret_env"];
/// The keys of a webhook.
const WEBHOOK_KEYS: [&str; 5] = ["secret", "secret_file", "secret_env", "ca_file", "proxy"];
static KINDS: [(&str, AlertKind); 5] = [
    ("stopped", AlertKind::Stopped),
    ("degraded", AlertKind::Degraded),
    ("approval", AlertKind::Approval),
    ("failed_tasks", AlertKind::FailedTasks),
    ("out_of_sync", AlertKind::OutOfSync),
];
const CREATE_SECRET: &str = "create one with: echo \"whsec_$(openssl rand -base64 32)\"";

pub(super) fn alert(table: &Table<'_>) -> Option<AlertConfig> {
    let name = table.read("name", values::name);
    let channel = channel(table);
    let timeout = table.read("timeout", values::wait);
    let after = table.read("after", values::wait);
    let problems = problems(table);
    let connectors = table.list("connectors", values::string);
    Some(AlertConfig {
        name: name?,
        channel: channel?,
        timeout: timeout?,
        after: SignedDuration::try_from(after?).ok()?,
        problems: problems?,
        connectors: connectors?.into_iter().map(|(name, _)| ConnectorName::from(name)).collect(),
    })
}

fn problems(table: &Table<'_>) -> Option<Vec<AlertKind>> {
    if !table.has("problems") {
        return Some(AlertKind::ALL.to_vec());
    }
    if table.is_empty_list("problems") {
        let wrong = Wrong::new("it names no problem").help("remove the key to announce all problems");
        table.wrong("problems", table.place_of("problems"), wrong);
    }
    let kinds = table.list("problems", values::one_of(&KINDS))?;
    Some(kinds.into_iter().map(|(kind, _)| kind).collect())
}

/// Reads the way to the operator: a webhook or a command.
fn channel(table: &Table<'_>) -> Option<AlertChannel> {
    let webhook = webhook(table);
    let command = command(table);
    match (table.has("webhook"), table.has("command")) {
        (true, true) => {
            let wrong = Wrong::new("webhook is also set").help("write two alerts, one for each");
            table.wrong("command", table.place_of("command"), wrong);
            None
        }
        (false, false) => {
            let help = "add webhook = \"https://…\", or command = [\"/path/to/program\"]";
            table.missing("`webhook` or `command`", Some(help.to_owned()));
            None
        }
        (true, false) => webhook,
        (false, true) => {
            for key in WEBHOOK_KEYS.into_iter().filter(|key| table.has(key)) {
                let wrong = Wrong::new("it requires webhook, which is missing").help("remove it");
                table.wrong(key, table.place_of(key), wrong);
            }
            command
        }
    }
}

fn webhook(table: &Table<'_>) -> Option<AlertChannel> {
    let url = table.read("webhook", values::webhook_url);
    if let Some(url) = &url {
        warn_without_tls(table, "webhook", url);
    }
    let secret = signing_secret(table);
    let ca_file = table.file("ca_file");
    let proxy = table.read("proxy", values::base_url);
    if table.has("webhook") && written_form(table, SECRET).is_none() {
        let help = format!("add secret_file, secret_env or secret; {CREATE_SECRET}");
        table.missing("the webhook's signing secret", Some(help));
    }
    Some(AlertChannel::Webhook { url: url?, secret: secret?, ca_file, proxy })
}

fn signing_secret(table: &Table<'_>) -> Option<Secret> {
    let (secret, place) = secret(table, SECRET)?;
    // The secret was read a moment ago. If it has become unreadable since, its next use reports that.
    let Ok(value) = secret.read() else { return Some(secret) };
    let Err(error) = hook_secret(value.expose_secret()) else { return Some(secret) };
    // The advice of the error is about the secret of events.
    let text = error.to_string();
    let what = text.split(". ").next().unwrap_or(&text);
    table.wrong(written_form(table, SECRET)?, place, Wrong::new(what).help(CREATE_SECRET));
    None
}

fn command(table: &Table<'_>) -> Option<AlertChannel> {
    if !table.has("command") {
        return None;
    }
    let mut words = table.list("command", values::string)?.into_iter().map(|(word, _)| word);
    let program = words.next().map(PathBuf::from);
    let wrong = match program {
        None if table.is_empty_list("command") => {
            Wrong::new("it is empty").help("write the absolute path of a program")
        }
        // The word was reported before.
        None => return None,
        Some(program) if !program.is_absolute() => {
            Wrong::new(format!("{} is not an absolute path", quoted(&program.display().to_string())))
                .help("write [\"/path/to/program\", \"argument\"]; no shell is used")
        }
        Some(program) if table.reader.checks_files && !program.is_file() => {
            Wrong::new(format!("there is no program {}", program.display())).help("correct the path")
        }
        Some(program) => return Some(AlertChannel::Command { program, arguments: words.collect() }),
    };
    table.wrong("command", table.place_of("command"), wrong);
    None
}

/// Reports names of connectors that do not exist.
pub(super) fn known_connectors(alerts: &[Table<'_>], connectors: &[Table<'_>]) {
    let known: Vec<&str> = connectors.iter().filter_map(written_name).collect();
    for table in alerts {
        // An error of the list itself was reported before.
        let Some(names) = table.raw("connectors").and_then(|value| value.get_ref().as_array()) else { continue };
        for (name, span) in names.iter().filter_map(|name| Some((name.get_ref().as_str()?, name.span()))) {
            if !known.contains(&name) {
                let help = did_you_mean(name, known.iter().copied())
                    .unwrap_or_else(|| format!("known connectors: {}", known.join(", ")));
                let wrong = Wrong::new(format!("there is no connector {}", quoted(name))).help(help);
                table.wrong("connectors", Place::Span(span), wrong);
            }
        }
    }
}
