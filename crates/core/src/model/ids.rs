//! Names and ids, each a type of its own so that one is never taken for another. Cloning them copies no text.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A map whose keys are ids, which usersync or the systems that it reads have made: a full reconcile looks up a million.
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
            /// The text itself.
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
    /// A group's stable id in its target (where groups have no id of their own: the name, folded).
    TargetGroupId
);
number_id!(
    /// The id of an intent; later intents have larger ones.
    IntentId
);
number_id!(
    /// The id of a run; later runs have larger ones.
    RunId
);
number_id!(
    /// The number of a look: one sequence for all, taken before reading. A newer look always wins.
    ObservationSeq
);
number_id!(
    /// What the holder of a claim shows with every transaction; never given twice.
    Token
);

/// A connector on one of the targets that it fills: what has a first run, a gate and a queue of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The connector.
    pub connector: ConnectorName,
    /// The target.
    pub target: TargetName,
}

impl Pair {
    /// The pair of these two names.
    pub fn new(connector: impl Into<ConnectorName>, target: impl Into<TargetName>) -> Self {
        Self { connector: connector.into(), target: target.into() }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.connector, self.target)
    }
}
