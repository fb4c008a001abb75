//! The environment, as a value: tests bring their own.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// Where variables are looked up. Cheap to clone.
#[derive(Clone, Default)]
pub enum Env {
    /// The process's own environment.
    #[default]
    Process,
    /// These variables and no others.
    Fixed(Arc<BTreeMap<String, String>>),
}

impl Env {
    /// An environment of these variables only.
    pub fn of<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Fixed(Arc::new(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// The value of a variable; `None` if it is not set, or is not text.
    pub fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Process => std::env::var(name).ok(),
            Self::Fixed(variables) => variables.get(name).cloned(),
        }
    }

    /// The names of all variables, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Process => std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect(),
            Self::Fixed(variables) => variables.keys().cloned().collect(),
        };
        names.sort();
        names
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("Process"),
            Self::Fixed(variables) => f.debug_tuple("Fixed").field(&variables.keys()).finish(),
        }
    }
}
