//! The configuration: accepted values, error messages for refused ones, and secrets, which are never shown.

mod arbitrary;
mod keys;
mod mistakes;
mod policy;
mod schedules;
mod secrets;
mod values;
mod warnings;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use jiff::{Timestamp, tz::TimeZone};
use tempfile::TempDir;
use usersync::config::{Config, ConfigErrors, Env};

const TOKEN: &str = "NjM0OTk3ODQ2-Jira-token";
const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A valid configuration without any optional key.
const SMALL: &str = r#"[[target]]
name = "jira-prod"
kind = "jira"
url = "https://jira.example.org"
token_file = "jira.token"

[[connector]]
name = "acme"
url = "https://sso.example.org"
realm = "acme"
client_secret_file = "client.secret"
targets = ["jira-prod"]
"#;

/// A folder with the files that `SMALL` and the example refer to.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in ["jira.token", "client.secret", "jira-prod.token", "acme-client.secret"] {
            folder.write(name, &format!("{TOKEN}\n"));
        }
        folder.write("hook.secret", HOOK);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Config, ConfigErrors> {
        self.load_with(text, &Env::of([("ACME_HOOK_SECRET", HOOK)]))
    }

    fn load_with(&self, text: &str, env: &Env) -> Result<Config, ConfigErrors> {
        let path = self.write("usersync.toml", text);
        Config::load(&path, env)
    }

    /// Returns the errors of a configuration as plain text, without the folder.
    fn errors(&self, text: &str) -> String {
        self.errors_with(text, &Env::of([("ACME_HOOK_SECRET", HOOK)]))
    }

    fn errors_with(&self, text: &str, env: &Env) -> String {
        let errors = self.load_with(text, env).expect_err("this is wrong").to_string();
        errors.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn warnings(&self, text: &str) -> Vec<String> {
        let config = self.load(text).unwrap_or_else(|errors| panic!("{errors}"));
        let folder = format!("{}/", self.0.path().display());
        config.warnings.iter().map(|warning| warning.to_string().replace(&folder, "")).collect()
    }
}

/// Returns `SMALL` with lines added below `[[target]]` (2) or `[[connector]]` (7 and later), or with a replacement.
fn small(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}

fn with_target(lines: &str) -> String {
    small("kind = \"jira\"\n", &format!("kind = \"jira\"\n{lines}\n"))
}

fn with_connector(lines: &str) -> String {
    format!("{SMALL}{lines}\n")
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

/// Returns `SMALL` with a SCIM server instead of the Jira.
fn scim(lines: &str) -> String {
    let scim = small("kind = \"jira\"\n", "kind = \"scim\"\n");
    scim.replacen("token_file = \"jira.token\"\n", &format!("{lines}\n"), 1)
}
