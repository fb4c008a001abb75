//! Names that a configuration declares.

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
    /// Returns what the name stands for.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_name_is_shown_with_what_it_stands_for() {
        for (declared, text) in
            [(Declared::Connector("acme".into()), "connector acme"), (Declared::Target("jira".into()), "target jira")]
        {
            assert_eq!(format!("{} {declared}", declared.word()), text);
        }
    }
}
