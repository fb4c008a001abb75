//! The environment as a value, so that tests can supply their own.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The source of environment variables. Cheap to clone.
#[derive(Clone, Default)]
pub enum Env {
    /// The environment of the process.
    #[default]
    Process,
    /// These variables only.
    Fixed(Arc<BTreeMap<String, String>>),
}

impl Env {
    /// Creates an environment of these variables only.
    pub fn of<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Fixed(Arc::new(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// Returns a variable's value; `None` if it is not set, or is not valid Unicode.
    pub fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Process => std::env::var(name).ok(),
            Self::Fixed(variables) => variables.get(name).cloned(),
        }
    }

    /// Returns the names of all variables, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Process => std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect(),
            Self::Fixed(variables) => variables.keys().cloned().collect(),
        };
        names.sort();
        names
    }
}

/// Shows names only, because values may be secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("Process"),
            Self::Fixed(variables) => f.debug_tuple("Fixed").field(&variables.keys()).finish(),
        }
    }
}
