//! What a configuration declares by name.

use std::fmt;

use super::{ConnectorName, TargetName};

/// A connector or a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// A connector.
    Connector(ConnectorName),
    /// A target.
    Target(TargetName),
}

impl Declared {
    /// What it is.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connector(_) => "connector",
            Self::Target(_) => "target",
        }
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connector(name) => name.fmt(f),
            Self::Target(name) => name.fmt(f),
        }
    }
}
