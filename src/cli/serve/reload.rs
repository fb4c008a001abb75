//! SIGHUP: reloads secrets and certificates from the configuration. Other changes in it are reported, because they need
//! a restart.

use std::{collections::BTreeMap, mem::discriminant, path::Path, sync::Arc};

use toml::{Table, Value};

use super::{hook_secrets, tls_files};
use crate::{
    cli::Context,
    config::{Config, Reach, TargetAuth},
    model::ConnectorName,
    web::{HookSecrets, Server},
};

/// Keys of secrets, without the suffixes `_file` and `_env`.
const SECRETS: [&str; 8] = [
    "secret",
    "token",
    "password",
    "client_secret",
    "proxy_password",
    "hook_secret",
    "hook_secret_previous",
    "p2_secret",
];

/// The configuration that the server started with, and the parts of it that can be replaced.
pub(super) struct Reload {
    config: Config,
    hooks: BTreeMap<ConnectorName, Arc<HookSecrets>>,
    written: Written,
}

/// The keys of a configuration file, and their values as written.
pub(super) type Written = BTreeMap<String, Value>;

/// Changed keys of the file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changed {
    secrets: Vec<String>,
    needs_restart: Vec<String>,
}

impl Reload {
    /// Creates the state of a reload. `written` is the content of the file when the configuration was read.
    pub fn new(config: Config, hooks: BTreeMap<ConnectorName, Arc<HookSecrets>>, written: Written) -> Self {
        Self { config, hooks, written }
    }

    /// Reads the file again. An invalid file changes nothing.
    pub async fn run(&mut self, context: &Context, server: &mut Server) {
        let config = match context.config() {
            Ok(config) => config,
            Err(failure) => {
                tracing::error!("the configuration cannot be used, so nothing is reloaded:\n{}", failure.text);
                return;
            }
        };
        let now = written(&config.path);
        let changed = changed(&self.written, &now);
        self.replace_secrets(&config);
        match server.reload_tls(config.server.tls.as_ref().map(tls_files)).await {
            Ok(true) => tracing::info!("the certificate is reloaded"),
            Ok(false) => {}
            Err(error) => tracing::error!("{error}; the previous certificate stays in use"),
        }
        tracing::info!(secrets = changed.secrets.join(", "), "the configuration is reloaded: secrets are read again");
        if !changed.needs_restart.is_empty() {
            tracing::warn!("changed, and in use only after a restart: {}", changed.needs_restart.join(", "));
        }
    }

    /// Replaces the secrets. A target, connector or alert that is gone, or signs in another way, keeps its old ones
    /// until a restart.
    fn replace_secrets(&self, new: &Config) {
        for old in &self.config.targets {
            let Some(new) = new.targets.iter().find(|new| new.name == old.name) else { continue };
            match (&old.auth, &new.auth) {
                (TargetAuth::Token(old), TargetAuth::Token(new))
                | (TargetAuth::Password { password: old, .. }, TargetAuth::Password { password: new, .. })
                | (TargetAuth::Client { secret: old, .. }, TargetAuth::Client { secret: new, .. }) => old.replace(new),
                _ => {}
            }
            replace_proxy_password(&old.reach, &new.reach);
        }
        for old in &self.config.connectors {
            let Some(new) = new.connectors.iter().find(|new| new.name == old.name) else { continue };
            old.client_secret.replace(&new.client_secret);
            replace_proxy_password(&old.reach, &new.reach);
            if let Some(secrets) = self.hooks.get(&old.name) {
                let (standard, p2) = hook_secrets(&new.hook);
                secrets.replace(standard, p2);
            }
        }
        for old in &self.config.alerts {
            let Some(new) = new.alerts.iter().find(|new| new.name == old.name) else { continue };
            if discriminant(&old.channel) == discriminant(&new.channel)
                && let (Some(old), Some(new)) = (old.channel.secret(), new.channel.secret())
            {
                old.replace(new);
            }
        }
    }
}

fn replace_proxy_password(old: &Reach, new: &Reach) {
    if let (Some(old), Some(new)) = (&old.proxy_user, &new.proxy_user) {
        old.password.replace(&new.password);
    }
}

/// Returns the content of the file, as far as it can be read.
pub(super) fn written(path: &Path) -> Written {
    let table = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<Table>().ok());
    let mut written = Written::new();
    for (key, value) in table.unwrap_or_default() {
        flatten(key, value, &mut written);
    }
    written
}

/// Flattens tables to key paths; targets, connectors and alerts are identified by their names.
fn flatten(path: String, value: Value, written: &mut Written) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                flatten(format!("{path}.{key}"), value, written);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for item in items {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                flatten(format!("{path} {name}"), item, written);
            }
        }
        value => drop(written.insert(path, value)),
    }
}

/// Returns what changed between two files.
fn changed(old: &Written, new: &Written) -> Changed {
    let mut changed = Changed::default();
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys.into_iter().filter(|key| old.get(*key) != new.get(*key)) {
        let into = if is_secret(key) { &mut changed.secrets } else { &mut changed.needs_restart };
        into.push(key.clone());
    }
    changed
}

/// Returns whether a reload applies a change of this key.
fn is_secret(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or_default();
    let key = key.strip_suffix("_file").or_else(|| key.strip_suffix("_env")).unwrap_or(key);
    SECRETS.contains(&key) || path.starts_with("server.tls.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Written {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usersync.toml");
        std::fs::write(&path, text).unwrap();
        written(&path)
    }

    #[test]
    fn secrets_are_told_from_what_needs_a_restart() {
        let old = file(
            r#"
            [store]
            path = "a.db"
            [[target]]
            name = "jira"
            url = "http://one"
            token = "old"
            [[connector]]
            name = "acme"
            hook_secret_file = "a"
            [connector.policy]
            first_run = "hold"
            "#,
        );
        let new = file(
            r#"
            [store]
            path = "b.db"
            [server.tls]
            cert_file = "x"
            [[target]]
            name = "jira"
            url = "http://two"
            token_file = "new"
            [[connector]]
            name = "acme"
            hook_secret_file = "b"
            [connector.policy]
            first_run = "apply"
            "#,
        );
        let changed = changed(&old, &new);
        let secrets =
            ["connector acme.hook_secret_file", "server.tls.cert_file", "target jira.token", "target jira.token_file"];
        assert_eq!(changed.secrets, secrets);
        assert_eq!(changed.needs_restart, ["connector acme.policy.first_run", "store.path", "target jira.url"]);
    }

    #[test]
    fn an_unchanged_file_needs_nothing() {
        let text = "[[target]]\nname = \"jira\"\ntoken = \"x\"\n[[target]]\nname = \"other\"\ntoken = \"y\"\n";
        assert_eq!(changed(&file(text), &file(text)), Changed::default());
    }
}
