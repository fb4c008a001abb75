//! Reads `[server]`, `[store]` and `[log]`.

use tracing::Level;

use super::{
    LogConfig, LogFormat, ServerConfig, StoreConfig, TlsConfig,
    keys::{KEYS, OVERRIDABLE},
    permissions,
    reader::Table,
    suggest::did_you_mean,
    values::{self, Wrong},
};
use crate::config::{keys::Key, problem::Place};

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: &[(&str, Level)] = &[
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// Minimum of the memory budget for request bodies, in bytes.
const LEAST_BUDGET: usize = 1 << 20;

pub(super) fn server(root: &Table<'_>) -> Option<ServerConfig> {
    let table = root.section("server");
    let listen = table.read("listen", values::listen);
    let behind_proxy = table.read("behind_proxy", values::flag);
    let body_limit = table.read("body_limit", values::size);
    let body_budget = table.read("body_budget", values::size);
    let drain = table.read("drain", values::wait);
    let tls = table.section("server.tls");
    let has_tls = tls.is_written();
    let tls = if has_tls { tls_files(&tls).map(Some) } else { Some(None) };
    if let (Some(address), Some(false)) = (listen, behind_proxy)
        && !address.ip().is_loopback()
        && !has_tls
    {
        let wrong = Wrong::new(format!("{address} can be reached from other machines, without TLS")).help(
            "add [server.tls] with cert_file and key_file, or behind_proxy = true if a proxy in front terminates TLS",
        );
        table.wrong("listen", table.place_of("listen"), wrong);
    }
    if let (Some(limit), Some(budget)) = (body_limit, body_budget) {
        let least = limit.saturating_mul(5).max(LEAST_BUDGET);
        if budget < least {
            let key = if table.has("body_budget") { "body_budget" } else { "body_limit" };
            let wrong = Wrong::new("body_budget must be 1 MiB, and five times body_limit, or more")
                .help("raise body_budget, or lower body_limit");
            table.wrong(key, table.place_of(key), wrong);
        }
    }
    Some(ServerConfig {
        listen: listen?,
        behind_proxy: behind_proxy?,
        tls: tls?,
        body_limit: body_limit?,
        body_budget: body_budget?,
        drain: drain?,
    })
}

fn tls_files(table: &Table<'_>) -> Option<TlsConfig> {
    let (cert_file, key_file) = (table.file("cert_file"), table.file("key_file"));
    if let Some(path) = key_file.as_deref().filter(|path| permissions::others_can_read(path)) {
        let message = format!("other users on this machine can read {}", path.display());
        let help = format!("chmod 600 {}", path.display());
        table.reader.warn(table.place_of("key_file"), message, Some(help));
    }
    Some(TlsConfig { cert_file: cert_file?, key_file: key_file? })
}

pub(super) fn store(root: &Table<'_>) -> Option<StoreConfig> {
    let table = root.section("store");
    let (path, retention) = (table.path("path"), table.read("retention", values::retention));
    Some(StoreConfig { path: path?, retention: retention? })
}

pub(super) fn log(root: &Table<'_>) -> Option<LogConfig> {
    let table = root.section("log");
    let format = table.read("format", values::one_of(FORMATS));
    let level = table.read("level", values::one_of(LEVELS));
    let personal_data = table.read("personal_data", values::flag);
    Some(LogConfig { format: format?, level: level?, personal_data: personal_data? })
}

/// Warns about variables that look like overrides but override nothing.
pub(super) fn unknown_variables(root: &Table<'_>) {
    let known: Vec<String> = KEYS.iter().filter_map(Key::variable).collect();
    let prefixes = OVERRIDABLE.map(|section| format!("USERSYNC_{}", section.replace('.', "_").to_uppercase()));
    for name in root.reader.env.names() {
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) && !known.contains(&name) {
            let help = did_you_mean(&name, known.iter().map(String::as_str))
                .unwrap_or_else(|| format!("known variables: {}", known.join(", ")));
            root.reader.warn(Place::Variable(name), "it overrides no key", Some(help));
        }
    }
}
