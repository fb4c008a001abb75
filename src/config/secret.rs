//! Secrets by reference, read at each use so that a rotated file is taken without a restart.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use super::Env;

/// Past this a file is not a secret but a mistake.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a secret is found. Neither `Debug` nor [`Secret::describe`] ever shows its value.
#[derive(Clone)]
pub struct Secret(Origin);

#[derive(Clone)]
enum Origin {
    Inline(SecretString),
    File(PathBuf),
    Variable { name: String, env: Env },
}

/// Where a secret is found, to be kept where secrets must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretReference {
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Variable(String),
}

impl From<SecretReference> for Secret {
    fn from(reference: SecretReference) -> Self {
        match reference {
            SecretReference::File(path) => Self::file(path),
            SecretReference::Variable(name) => Self::variable(name, Env::Process),
        }
    }
}

/// Why a secret could not be had; names the place, never the value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place} {why}")]
pub struct SecretError {
    /// See [`Secret::describe`].
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

impl Secret {
    /// The secret itself.
    pub fn inline(value: impl Into<SecretString>) -> Self {
        Self(Origin::Inline(value.into()))
    }

    /// The content of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Origin::File(path.into()))
    }

    /// The value of an environment variable.
    pub fn variable(name: impl Into<String>, env: Env) -> Self {
        Self(Origin::Variable { name: name.into(), env })
    }

    /// Where it is found, for people.
    pub fn describe(&self) -> String {
        match &self.0 {
            Origin::Inline(_) => "the configuration file".to_owned(),
            Origin::File(path) => format!("file {}", path.display()),
            Origin::Variable { name, .. } => format!("environment variable {name}"),
        }
    }

    /// Where it is found, if it is not in the configuration itself.
    pub fn reference(&self) -> Option<SecretReference> {
        match &self.0 {
            Origin::Inline(_) => None,
            Origin::File(path) => Some(SecretReference::File(path.clone())),
            Origin::Variable { name, .. } => Some(SecretReference::Variable(name.clone())),
        }
    }

    /// The file that holds it, if it is in a file of its own.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Origin::File(path) => Some(path),
            Origin::Inline(_) | Origin::Variable { .. } => None,
        }
    }

    /// Whether it stands in the configuration itself.
    pub fn is_inline(&self) -> bool {
        matches!(self.0, Origin::Inline(_))
    }

    /// Reads it: the line end after it is dropped; one that is empty, or is more than one line, is refused.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let value = match &self.0 {
            Origin::Inline(value) => Zeroizing::new(value.expose_secret().to_owned()),
            Origin::File(path) => read_file(path).map_err(|why| self.error(&why))?,
            Origin::Variable { name, env } => {
                Zeroizing::new(env.get(name).ok_or_else(|| self.error("is not set, or is not text"))?)
            }
        };
        if value.starts_with('\u{feff}') {
            return Err(self.error("begins with a byte order mark. Save it as UTF-8 without one"));
        }
        let value = value.trim_end_matches(['\n', '\r']);
        if value.is_empty() {
            return Err(self.error("is empty"));
        }
        if value.chars().any(char::is_control) {
            return Err(self.error("holds more than one line, or a control character"));
        }
        Ok(SecretString::from(value))
    }

    fn error(&self, why: &str) -> SecretError {
        SecretError { place: self.describe(), why: why.to_owned() }
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {}", in_words(&error));
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 64 KiB: that is no secret".to_owned());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// What kept a file from being read, without numbers.
pub(super) fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.describe())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
