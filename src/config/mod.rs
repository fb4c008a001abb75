//! The configuration: one file, `usersync.toml`. Secrets are references, and environment variables can override the
//! server's own settings. All errors are reported at once, each with its line and column.
//!
//! `keys` is the single list of keys and defaults; `reader` reads the file by that list; one module reads each section.

mod alert;
mod auth;
mod connection;
mod connector;
mod example;
mod keys;
mod mask;
mod matching;
mod permissions;
mod policy;
mod policy_tests;
mod problem;
mod reader;
mod realm;
mod reference;
mod schedule;
mod server;
mod settings;
mod suggest;
mod target;
mod typed;
mod values;
mod whole;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;

pub use example::{EXAMPLE, full_example};
pub use problem::{ConfigErrors, Drawing, Problem};
pub use realm::{Found, RealmConfig};
pub use reference::{Row, reference, reference_markdown};
pub use schedule::{DEFAULT_SCHEDULE, Schedule, ScheduleError};
pub use settings::{
    AlertChannel, AlertConfig, Config, ConnectorConfig, EmailConfig, HookConfig, LogConfig, LogFormat, ServerConfig,
    SmtpTls, StoreConfig, TlsConfig,
};

pub use usersync_clients::{
    env::Env,
    http::{CertificateError, ClientCertificate, ProxyUser},
    secret::{Secret, SecretError, SecretReference},
    settings::{ClientAuth, Reach, TargetAuth},
    targets::TargetConfig,
};

/// Default locations of the file, in order of precedence.
pub const PLACES: [&str; 2] = ["usersync.toml", "/etc/usersync/usersync.toml"];

/// Maximum size of the file, in bytes; a larger file is an error.
const MAX_BYTES: u64 = 4 << 20;

impl Config {
    /// Finds and loads the file: `reported`, else `USERSYNC_CONFIG`, else the first existing one of [`PLACES`].
    pub fn find_and_load(reported: Option<&Path>, env: &Env) -> Result<Self, ConfigErrors> {
        Self::load(&find(reported, env)?, env)
    }

    /// Finds the file in the same way, and checks all but the existence of the files and variables with secrets and
    /// certificates.
    pub fn find_and_load_without_files(reported: Option<&Path>, env: &Env) -> Result<Self, ConfigErrors> {
        let path = find(reported, env)?;
        let text = read_file(&path).map_err(|why| whole::failure(&path, &format!("it cannot be read: {why}"), None))?;
        whole::parse_without_files(&text, &path, env)
    }

    /// Reads and checks a file.
    pub fn load(path: &Path, env: &Env) -> Result<Self, ConfigErrors> {
        let text = read_file(path).map_err(|why| whole::failure(path, &format!("it cannot be read: {why}"), None))?;
        Self::parse(&text, path, env, Timestamp::now())
    }

    /// Checks the text of a file. `path` is shown in errors; relative paths start at its folder.
    pub fn parse(text: &str, path: &Path, env: &Env, now: Timestamp) -> Result<Self, ConfigErrors> {
        whole::parse(text, path, env, now)
    }
}

/// Returns the path of the file that would be loaded.
pub fn find(reported: Option<&Path>, env: &Env) -> Result<PathBuf, ConfigErrors> {
    if let Some(path) = reported {
        return Ok(path.to_path_buf());
    }
    if let Some(path) = env.get("USERSYNC_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        let help =
            format!("searched for {}. Create one with: usersync config example > usersync.toml", PLACES.join(" and "));
        whole::failure(Path::new(PLACES[0]), "there is no configuration file", Some(help))
    })
}

/// Checks a name of a connector or target; an error says why it is invalid, and what to do.
pub fn check_name(name: &str) -> Result<(), String> {
    let Err(wrong) = values::name(&toml::de::DeValue::String(name.into())) else { return Ok(()) };
    Err(wrong.help.into_iter().fold(wrong.message, |message, help| format!("{message}; {help}")))
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = std::fs::File::open(path).map_err(|error| usersync_clients::secret::in_words(&error))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| usersync_clients::secret::in_words(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("it is larger than 4 MiB".to_owned());
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => Err(format!("it is not UTF-8 at byte {}", error.valid_up_to() + 1)),
    }
}
