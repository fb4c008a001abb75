//! Secrets go to files that only their owner may read, and nowhere else.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use super::realm::Known;
use crate::{cli::exit::Failure, config::Secret, keycloak::setup::Done, model::hook_secret};

/// Where secrets are kept.
pub(super) struct Files {
    client: PathBuf,
    hook: PathBuf,
}

impl Files {
    /// As told, else where the configuration looks for them, else beside us under the realm's name.
    pub fn new(known: &Known, client: Option<PathBuf>, hook: Option<PathBuf>) -> Self {
        let connector = known.connector.as_ref();
        let configured = |secret: Option<&Secret>| secret.and_then(Secret::path).map(Path::to_path_buf);
        let default = |ending: &str| PathBuf::from(format!("{}-{ending}.secret", known.name));
        let client = client.or_else(|| configured(connector.map(|connector| &connector.client_secret)));
        let hook = hook.or_else(|| configured(connector.and_then(|connector| connector.hook.secret.as_ref())));
        Self { client: client.unwrap_or_else(|| default("client")), hook: hook.unwrap_or_else(|| default("hook")) }
    }

    /// The secret that events are signed with, if there is one already; Keycloak has been given it then.
    pub fn webhook_secret(&self, known: &Known) -> Result<Option<SecretString>, Failure> {
        let configured = known.connector.as_ref().and_then(|connector| connector.hook.secret.clone());
        let secret = match configured {
            Some(secret) if secret.path().is_none() => secret,
            _ if self.hook.exists() => Secret::file(&self.hook),
            _ => return Ok(None),
        };
        let text = secret.read().map_err(|error| Failure::usage(error.to_string()))?;
        match hook_secret(text.expose_secret()) {
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(Failure::usage(format!("{secret}: {error}"))),
        }
    }

    /// Whether they can be written, before anything is made that would be lost.
    pub fn check(&self) -> Result<(), Failure> {
        for path in [&self.client, &self.hook] {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                let text = format!("{}: there is no folder {} to write it to", path.display(), folder.display());
                return Err(Failure::usage(text));
            }
        }
        Ok(())
    }

    /// Writes what was made; returns what is where.
    pub fn write(&self, done: &Done) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
        let mut written = vec![("The client's secret", self.client.clone(), &done.client_secret)];
        if let Some(secret) = &done.new_webhook_secret {
            written.push(("The secret that events are signed with", self.hook.clone(), secret));
        }
        for (_, path, secret) in &written {
            write(path, secret).map_err(|error| {
                Failure::problem(format!(
                    "{}: it cannot be written: {error}. The secret is in Keycloak; set it up again with another file",
                    path.display()
                ))
            })?;
        }
        Ok(written.into_iter().map(|(what, path, _)| (what, path)).collect())
    }
}

/// Replaces the file as a whole, so that no moment shows half a secret or one that others may read.
fn write(path: &Path, secret: &SecretString) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(&new)?;
    file.write_all(secret.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_replaces_the_file_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme-client.secret");
        std::fs::write(&path, "old, and for everybody").unwrap();
        write(&path, &SecretString::from("new")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
