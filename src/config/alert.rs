//! Reads `[[alert]]`.

use std::path::PathBuf;

use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use url::Host;

use super::{
    AlertChannel, AlertConfig, EmailConfig, Schedule, Secret, SmtpTls,
    connection::{Forms, is_loopback, secret, warn_without_tls, written_form},
    problem::Place,
    reader::Table,
    suggest::did_you_mean,
    values::{self, Wrong, quoted},
    whole::written_name,
};
use crate::model::{AlertKind, ConnectorName, hook_secret};

const SECRET: Forms = ["secret", "secret_file", "secret_env"];
const PASSWORD: Forms = ["password", "password_file", "password_env"];
/// The keys that select a way to the operator.
const WAYS: [&str; 3] = ["webhook", "smtp", "command"];
/// The keys that only some ways have, with these ways.
const KEYS_OF_WAYS: [(&str, &[&str]); 12] = [
    ("secret", &["webhook"]),
    ("secret_file", &["webhook"]),
    ("secret_env", &["webhook"]),
    ("proxy", &["webhook"]),
    ("ca_file", &["webhook", "smtp"]),
    ("tls", &["smtp"]),
    ("user", &["smtp"]),
    ("password", &["smtp"]),
    ("password_file", &["smtp"]),
    ("password_env", &["smtp"]),
    ("from", &["smtp"]),
    ("to", &["smtp"]),
];
static TLS: [(&str, SmtpTls); 3] =
    [("starttls", SmtpTls::Starttls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
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
    let digest = digest(table);
    Some(AlertConfig {
        name: name?,
        channel: channel?,
        timeout: timeout?,
        after: SignedDuration::try_from(after?).ok()?,
        problems: problems?,
        connectors: connectors?.into_iter().map(|(name, _)| ConnectorName::from(name)).collect(),
        digest,
    })
}

/// Reads the time of the daily digest, and its time zone.
fn digest(table: &Table<'_>) -> Option<Schedule> {
    let time = table.read("digest", values::time_of_day);
    let zone = table.read("time_zone", values::time_zone);
    if table.has("time_zone") && !table.has("digest") {
        let wrong = Wrong::new("it requires digest, which is missing").help("add digest = \"08:00\", or remove it");
        table.wrong("time_zone", table.place_of("time_zone"), wrong);
    }
    let (time, zone) = (time?, zone?);
    let daily = format!("0 {} {} * * ?", time.minute(), time.hour());
    match Schedule::parse(&daily, zone, table.reader.now) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            table.wrong("digest", table.place_of("digest"), Wrong::new(error.to_string()));
            None
        }
    }
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

/// Reads the way to the operator: a webhook, e-mail or a command.
fn channel(table: &Table<'_>) -> Option<AlertChannel> {
    let ca_file = table.file("ca_file");
    let webhook = webhook(table, ca_file.clone());
    let email = email(table, ca_file);
    let command = command(table);
    let mut written = WAYS.into_iter().filter(|way| table.has(way));
    let Some(way) = written.next() else {
        let help = "add webhook = \"https://…\", smtp = \"smtp.example.org:587\", or command = [\"/path/to/program\"]";
        table.missing("`webhook`, `smtp` or `command`", Some(help.to_owned()));
        return None;
    };
    let mut is_one = true;
    for other in written {
        let wrong = Wrong::new(format!("{way} is also set")).help("write two alerts, one for each");
        table.wrong(other, table.place_of(other), wrong);
        is_one = false;
    }
    if !is_one {
        return None;
    }
    for (key, ways) in KEYS_OF_WAYS.into_iter().filter(|(key, ways)| table.has(key) && !ways.contains(&way)) {
        let wrong = Wrong::new(format!("it requires {}, which is missing", ways.join(" or "))).help("remove it");
        table.wrong(key, table.place_of(key), wrong);
    }
    match way {
        "webhook" => webhook,
        "smtp" => email,
        _ => command,
    }
}

fn webhook(table: &Table<'_>, ca_file: Option<PathBuf>) -> Option<AlertChannel> {
    let url = table.read("webhook", values::webhook_url);
    if let Some(url) = &url {
        warn_without_tls(table, "webhook", url);
    }
    let secret = signing_secret(table);
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

fn email(table: &Table<'_>, ca_file: Option<PathBuf>) -> Option<AlertChannel> {
    let server = table.read("smtp", values::mail_server);
    let tls = table.read("tls", values::one_of(&TLS));
    let from = table.read("from", values::mailbox);
    let to = table.list("to", values::mailbox);
    let sign_in = login(table);
    if !table.has("smtp") {
        return None;
    }
    if !table.has("from") {
        table.missing("`from`", Some("add the sender: from = \"usersync@example.org\"".to_owned()));
    }
    if !table.has("to") || table.is_empty_list("to") {
        table.missing("`to`", Some("add the recipients: to = [\"ops@example.org\"]".to_owned()));
        return None;
    }
    let ((host, port), tls) = (server?, tls?);
    if tls == SmtpTls::None && !is_loopback(&host) {
        if written_form(table, PASSWORD).is_some() {
            let wrong = Wrong::new("the password would be sent without TLS").help("use \"starttls\" or \"implicit\"");
            table.wrong("tls", table.place_of("tls"), wrong);
            return None;
        }
        let help = "use \"starttls\" or \"implicit\" if the server supports it".to_owned();
        table.reader.warn(table.place_of("tls"), "alerts are sent there without TLS", Some(help));
    }
    let host = match host {
        Host::Domain(name) => name,
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let (from, to) = (from?, to?.into_iter().map(|(to, _)| to).collect());
    Some(AlertChannel::Email(EmailConfig { host, port, tls, sign_in, from, to, ca_file }))
}

/// Reads user and password of the mail server: both or none.
fn login(table: &Table<'_>) -> Option<(String, Secret)> {
    let user = table.read("user", values::string);
    let password = secret(table, PASSWORD).map(|(secret, _)| secret);
    match (table.has("user"), written_form(table, PASSWORD)) {
        (false, None) => None,
        (true, Some(_)) => Some((user?, password?)),
        (true, None) => {
            let wrong = Wrong::new("there is no password").help("add password_file, password_env or password");
            table.wrong("user", table.place_of("user"), wrong);
            None
        }
        (false, Some(key)) => {
            let wrong = Wrong::new("there is no user").help("add user");
            table.wrong(key, table.place_of(key), wrong);
            None
        }
    }
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
