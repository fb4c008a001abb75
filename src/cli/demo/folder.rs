//! The demo's folder: its store, and a configuration for trying every command. It is removed when the demo ends.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{Result, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use crate::demo::{
    stack::{CLIENT_SECRET, CONNECTOR, HOOK_SECRET, SimulatedServers, Stack, TARGET},
    targets::SimulatedTarget,
};

/// The folder; removed when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("usersync-demo-{}", uuid::Uuid::new_v4()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Returns the path of the store.
    pub fn store(&self) -> PathBuf {
        self.0.join("usersync.db")
    }

    /// Returns the path of the configuration file.
    pub fn file(&self) -> PathBuf {
        self.0.join("usersync.toml")
    }

    /// Writes the configuration of the running servers.
    pub fn configure(
        &self,
        servers: &SimulatedServers,
        stack: &Stack,
        other_targets: &[SimulatedTarget],
    ) -> Result<()> {
        let jira = ("jira", TARGET.to_owned(), servers.jira.url(), vec![("token", servers.jira.token().to_owned())]);
        let others = other_targets.iter().map(|other| {
            let product = other.product;
            (product.kind(), product.target_name().to_string(), other.url.clone(), product.credentials())
        });
        let targets: Vec<_> = std::iter::once(jira).chain(others).collect();
        let names: Vec<String> = targets.iter().map(|(_, name, ..)| format!("\"{name}\"")).collect();
        let tables = targets.iter().map(|(kind, name, url, credentials)| {
            let credentials = credentials.iter().map(|(key, value)| format!("{key} = \"{value}\"\n"));
            let credentials = credentials.collect::<Vec<_>>().concat();
            format!("[[target]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{credentials}\n")
        });
        let text = format!(
            "[server]\nlisten = \"{}\"\n\n[store]\npath = \"usersync.db\"\n\n{}[[connector]]\nname = \"{CONNECTOR}\"\n\
             url = \"{}\"\nrealm = \"{CONNECTOR}\"\nclient_secret = \"{CLIENT_SECRET}\"\nhook_secret = \"{HOOK_SECRET}\"\n\
             targets = [{}]\nschedule = \"off\"\npoll_events = \"off\"\n",
            stack.url().trim_start_matches("http://"),
            tables.collect::<Vec<_>>().concat(),
            servers.keycloak.url(),
            names.join(", "),
        );
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.file())?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover is in the system's temporary folder, and is removed with its other files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
