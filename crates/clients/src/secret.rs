//! Secrets by reference, read at each use, so that a rotated file is used without a restart.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use crate::env::Env;

/// Source of a secret, read at each use, so that a rotated secret is used without a restart. An error is a readable line
/// without the secret.
pub type SecretProvider = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// Maximum size of a secret's file, in bytes; a larger file is an error.
const MAX_BYTES: u64 = 64 * 1024;

/// The location of a secret. Neither `Debug` nor [`Secret::describe`] ever shows its value. Clones share the location:
/// [`Secret::replace`] on one of them changes all.
#[derive(Clone)]
pub struct Secret(Arc<RwLock<Origin>>);

#[derive(Clone)]
enum Origin {
    Inline(SecretString),
    File(PathBuf),
    Variable { name: String, env: Env },
}

/// The location of a secret, for storage where secrets are not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretReference {
    /// A file.
    File(PathBuf),
    /// An environment variable.
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

/// Why a secret could not be read; names the place, never the value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place} {why}")]
pub struct SecretError {
    /// The location, see [`Secret::describe`].
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

impl Secret {
    /// Creates a secret from its value.
    pub fn inline(value: impl Into<SecretString>) -> Self {
        Self::of(Origin::Inline(value.into()))
    }

    /// Creates a secret that is the content of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Origin::File(path.into()))
    }

    /// Creates a secret that is the value of an environment variable.
    pub fn variable(name: impl Into<String>, env: Env) -> Self {
        Self::of(Origin::Variable { name: name.into(), env })
    }

    fn of(origin: Origin) -> Self {
        Self(Arc::new(RwLock::new(origin)))
    }

    fn origin(&self) -> Origin {
        self.0.read().clone()
    }

    /// Replaces the location, in all clones, with that of another secret.
    pub fn replace(&self, other: &Self) {
        let origin = other.origin();
        *self.0.write() = origin;
    }

    /// Describes the location for operators.
    pub fn describe(&self) -> String {
        match self.origin() {
            Origin::Inline(_) => "the configuration file".to_owned(),
            Origin::File(path) => format!("file {}", path.display()),
            Origin::Variable { name, .. } => format!("environment variable {name}"),
        }
    }

    /// Returns the location; `None` if the secret is in the configuration itself.
    pub fn reference(&self) -> Option<SecretReference> {
        match self.origin() {
            Origin::Inline(_) => None,
            Origin::File(path) => Some(SecretReference::File(path)),
            Origin::Variable { name, .. } => Some(SecretReference::Variable(name)),
        }
    }

    /// Returns the secret's file; `None` if the secret is not in a file of its own.
    pub fn path(&self) -> Option<PathBuf> {
        match self.origin() {
            Origin::File(path) => Some(path),
            Origin::Inline(_) | Origin::Variable { .. } => None,
        }
    }

    /// Whether the secret is in the configuration itself.
    pub fn is_inline(&self) -> bool {
        matches!(self.origin(), Origin::Inline(_))
    }

    /// Reads the secret without its trailing line end. An empty secret, or one of several lines, is an error.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let value = match &self.origin() {
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
            return Err(self.error("contains more than one line, or a control character"));
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
        return Err("is larger than 64 KiB, which is too large for a secret".to_owned());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Describes a read error without its error number.
pub fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
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
