//! Writes secrets to files that only their owner may read, and nowhere else.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use super::{owner::Owner, realm::Known};
use crate::{cli::exit::Failure, config::Secret, keycloak::setup::Done, model::hook_secret};

/// Paths of the files of secrets, and their owner.
pub(super) struct Files {
    client: PathBuf,
    hook: PathBuf,
    owner: Option<Owner>,
}

/// A file that was written.
pub(super) struct Written {
    pub what: &'static str,
    pub path: PathBuf,
    pub owner: String,
}

impl Files {
    /// Chooses the paths: as given, else as configured, else named after the connector or the realm.
    pub fn new(known: &Known, client: Option<PathBuf>, hook: Option<PathBuf>, owner: Option<Owner>) -> Self {
        let connector = known.connector.as_ref();
        let configured = |secret: Option<&Secret>| secret.and_then(Secret::path);
        let default = |ending: &str| known.folder.join(format!("{}-{ending}.secret", known.name));
        let client = client.or_else(|| configured(connector.and_then(|connector| connector.client_secret.as_ref())));
        let hook = hook.or_else(|| configured(connector.and_then(|connector| connector.hook_secret.as_ref())));
        let (client, hook) = (client.unwrap_or_else(|| default("client")), hook.unwrap_or_else(|| default("hook")));
        Self { client, hook, owner }
    }

    /// Returns the secret that signs events, if it exists already; Keycloak has received it in that case.
    pub fn webhook_secret(&self, known: &Known) -> Result<Option<SecretString>, Failure> {
        let configured = known.connector.as_ref().and_then(|connector| connector.hook_secret.clone());
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

    /// Checks that the files can be written, before secrets are created that would be lost.
    pub fn check(&self) -> Result<(), Failure> {
        for path in [&self.client, &self.hook] {
            let folder = folder(path);
            if !folder.is_dir() {
                let text = format!("{}: there is no folder {} to write it to", path.display(), folder.display());
                return Err(Failure::usage(text));
            }
            let new = beside(path);
            let tried = private(&new).and_then(|_| std::fs::remove_file(&new));
            if let Err(error) =
                tried.or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
            {
                let text = format!(
                    "{}: cannot be written: {error}. Run this as a user who may write to {}, or name another file",
                    path.display(),
                    folder.display()
                );
                return Err(Failure::usage(text));
            }
        }
        Ok(())
    }

    /// Writes the created secrets, and returns the files that were written.
    pub fn write(&self, done: &Done) -> Result<Vec<Written>, Failure> {
        let mut secrets = vec![("The client's secret", &self.client, &done.client_secret)];
        if let Some(secret) = &done.new_webhook_secret {
            secrets.push(("The secret that signs events", &self.hook, secret));
        }
        let write = |(what, path, secret): (&'static str, &PathBuf, &SecretString)| {
            let owner = match &self.owner {
                Some(owner) => Ok(owner.clone()),
                None => Owner::of(path, folder(path)),
            };
            let written = owner.and_then(|owner| write(path, secret, &owner).map(|()| owner.name));
            let owner = written.map_err(|error| {
                Failure::problem(format!(
                    "{}: cannot be written: {error}. The secret is in Keycloak; run the setup again with another file",
                    path.display()
                ))
            })?;
            Ok(Written { what, path: path.clone(), owner })
        };
        secrets.into_iter().map(write).collect()
    }

    /// Returns what the operator has to change so that the connector finds its secrets, one line each.
    pub fn to_configure(&self, known: &Known) -> Vec<String> {
        let Some(connector) = &known.connector else {
            return vec![format!(
                "Name the connector {}, and set its keys client_secret_file and hook_secret_file. See: \
                 usersync config example",
                known.name
            )];
        };
        let secrets = [
            ("client_secret_file", &self.client, connector.client_secret.as_ref()),
            ("hook_secret_file", &self.hook, connector.hook_secret.as_ref()),
        ];
        let there = secrets.into_iter().filter(|(_, path, _)| path.exists());
        let lines =
            there.filter_map(|(key, path, configured)| match configured.map(|secret| (secret, secret.path())) {
                None => Some(format!("Add to connector {}: {key} = \"{}\"", known.name, path.display())),
                Some((_, Some(configured))) if configured == *path => None,
                Some((secret, _)) => Some(format!(
                    "Connector {} reads this secret from {secret}, not from {}. Change one of them.",
                    known.name,
                    path.display()
                )),
            });
        lines.collect()
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path of the new file, before it replaces the old one.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Replaces the file atomically, so that no moment shows half a secret or one that others may read.
fn write(path: &Path, secret: &SecretString, owner: &Owner) -> std::io::Result<()> {
    let new = beside(path);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(&new)?;
    owner.give(&file)?;
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
        let owner = Owner::of(&path, folder.path()).unwrap();
        write(&path, &SecretString::from("new"), &owner).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
