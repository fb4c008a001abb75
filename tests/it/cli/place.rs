//! A folder with a configuration, a store and the binary.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use jiff::Timestamp;
use tempfile::TempDir;
use usersync::{
    demo::stack::{CLIENT_SECRET, CONNECTOR, HOOK_SECRET, SimulatedServers, TARGET},
    store::sqlite::{OpenOptions, SqliteStore},
};

/// Secrets of a place without reachable servers.
pub const TOKEN: &str = "very-secret-token-of-jira";

/// A working folder of an operator.
pub struct Place {
    folder: TempDir,
    /// Every secret that must never be shown.
    pub secrets: Vec<String>,
}

/// Result of a command.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    /// Creates a configuration with unreachable servers.
    pub fn nowhere() -> Self {
        // A port without a listener: the discard service's.
        let folder = tempfile::tempdir().expect("a folder");
        Self::of(folder, "http://127.0.0.1:9", "http://127.0.0.1:9", TOKEN)
    }

    /// Creates a configuration of these simulators.
    pub fn at(servers: &SimulatedServers) -> Self {
        Self::within(tempfile::tempdir().expect("a folder"), servers)
    }

    /// The same in this folder.
    pub fn within(folder: TempDir, servers: &SimulatedServers) -> Self {
        Self::of(folder, &servers.keycloak.url(), &servers.jira.url(), servers.jira.token())
    }

    fn of(folder: TempDir, keycloak: &str, jira: &str, token: &str) -> Self {
        let text = format!(
            r#"
[store]
path = "usersync.db"

[[target]]
name = "{TARGET}"
kind = "jira"
url = "{jira}"
token = "{token}"

[[connector]]
name = "{CONNECTOR}"
url = "{keycloak}"
realm = "{CONNECTOR}"
client_secret = "{CLIENT_SECRET}"
hook_secret = "{HOOK_SECRET}"
targets = ["{TARGET}"]
time_zone = "Europe/Berlin"
"#
        );
        let file = folder.path().join("usersync.toml");
        std::fs::write(&file, text).expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("private");
        }
        Self { folder, secrets: vec![token.to_owned(), CLIENT_SECRET.to_owned(), HOOK_SECRET.to_owned()] }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the configuration's text.
    pub fn configure(&self, change: impl FnOnce(&str) -> String) {
        let file = self.file("usersync.toml");
        let text = std::fs::read_to_string(&file).expect("read");
        std::fs::write(&file, change(&text)).expect("written");
    }

    pub fn store_file(&self) -> PathBuf {
        self.file("usersync.db")
    }

    /// Opens the store as a server would.
    pub async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.store_file(), OpenOptions::new(Timestamp::now())).await.expect("opens")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usersync"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("USER", "somebody-else")
            .env("SUDO_USER", "tester")
            .env("COLUMNS", "1000")
            .env("TZ", "Europe/Berlin")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; its output must not contain a secret.
    pub async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
        self.read(args, &output)
    }

    pub fn read(&self, args: &[&str], output: &Output) -> Ran {
        let ran = Ran {
            code: output.status.code().expect("not killed"),
            out: String::from_utf8(output.stdout.clone()).expect("text"),
            err: String::from_utf8(output.stderr.clone()).expect("text"),
        };
        for secret in &self.secrets {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{args:?} shows a secret: {ran}");
        }
        super::named::assert_well_written(&ran.out);
        super::named::assert_well_written(&ran.err);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{args:?} writes colours to a pipe: {ran}");
        ran
    }

    /// Runs a command with `--json` and reads the one document.
    pub async fn json(&self, args: &[&str]) -> (i32, serde_json::Value) {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let ran = self.run(&args).await;
        let document = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {ran}"));
        (ran.code, document)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n--- out\n{}\n--- err\n{}", self.code, self.out, self.err)
    }
}

impl Ran {
    /// Checks the exit code.
    #[track_caller]
    pub fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Checks that standard output contains this.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.out.contains(text), "no `{text}` in {self}");
        self
    }

    /// Checks that standard error contains this.
    #[track_caller]
    pub fn complains(&self, text: &str) -> &Self {
        assert!(self.err.contains(text), "no `{text}` in {self}");
        self
    }
}
