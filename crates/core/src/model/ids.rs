//! Names and ids as distinct types, so that they cannot be confused. A clone copies no text.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A map with ids as keys and a fast hash. The ids come from usersync or from the systems that it reads, and a full
/// reconcile looks up a million.
pub type IdMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
/// A set of such ids.
pub type IdSet<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id!(
    /// The name that an administrator gave a connector.
    ConnectorName
);
text_id!(
    /// The name that an administrator gave a target.
    TargetName
);
text_id!(
    /// A user's id in Keycloak.
    UserId
);
text_id!(
    /// A group's id in Keycloak.
    GroupId
);
text_id!(
    /// An account's stable id in its target; it survives a rename.
    AccountId
);
text_id!(
    /// A group's stable id in its target; where groups have no id of their own, the folded name.
    TargetGroupId
);
/// Prefix of a user's id in a task that names only the login. Keycloak's own ids are UUIDs, or begin with `f:`.
const BY_LOGIN: &str = "login:";

impl UserId {
    /// Returns the subject of a task for a user whose id is not known yet.
    pub fn of_login(login: &str) -> Self {
        format!("{BY_LOGIN}{login}").into()
    }

    /// Returns the login, if the id is not known yet.
    pub fn login(&self) -> Option<&str> {
        self.as_str().strip_prefix(BY_LOGIN)
    }
}

number_id!(
    /// The id of an intent; later intents have larger ones.
    IntentId
);
number_id!(
    /// The id of a run; later runs have larger ones.
    RunId
);
number_id!(
    /// The number of an observation: one sequence for all, taken before reading (rule: a newer observation wins).
    ObservationSeq
);
number_id!(
    /// Identifies a claim in every transaction of its holder; never reused.
    Token
);

/// A connector on one of the targets that it fills, with its own first run, safety limits and queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The connector.
    pub connector: ConnectorName,
    /// The target.
    pub target: TargetName,
}

impl Pair {
    /// Creates the pair of these two names.
    pub fn new(connector: impl Into<ConnectorName>, target: impl Into<TargetName>) -> Self {
        Self { connector: connector.into(), target: target.into() }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.connector, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_and_stored_as_its_text_or_number() {
        let (user, run) = (UserId::from("u1"), RunId(7));
        assert_eq!((user.as_str(), user.to_string(), run.to_string()), ("u1", "u1".to_owned(), "7".to_owned()));
        assert_eq!(serde_json::to_string(&(user, run)).unwrap(), r#"["u1",7]"#);
    }

    #[test]
    fn a_pair_is_shown_from_connector_to_target() {
        assert_eq!(Pair::new("acme", "jira").to_string(), "acme → jira");
    }
}
