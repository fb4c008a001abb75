//! The daily digest: one message a day about all pairs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Pair, Undelivered};

/// What happened to a pair in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Number of full reconciles that began, without dry runs.
    pub runs: u64,
    /// Number of these that failed.
    pub failed_runs: u64,
    /// Numbers of changes that were applied, by the verb of the operation: `create`, `add_member`, …
    pub changes: BTreeMap<String, u64>,
}

impl Activity {
    /// Returns the number of changes with one of these verbs.
    pub fn count(&self, verbs: &[&str]) -> u64 {
        verbs.iter().filter_map(|verb| self.changes.get(*verb)).sum()
    }
}

/// An approval that waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitingApproval {
    /// Its id.
    pub id: i64,
    /// When it was requested.
    pub since: Timestamp,
    /// Number of open operations; 0: a first run, which is approved as a whole.
    pub operations: i64,
}

/// A pair in a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairDigest {
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// The state in one word, as in `usersync status`.
    pub state: String,
    /// The state in a sentence.
    pub sentence: String,
    /// Whether an operator should act.
    pub needs_attention: bool,
    /// What happened in the period.
    #[serde(flatten)]
    pub activity: Activity,
    /// Number of failed tasks.
    pub failed_tasks: u64,
    /// The approvals that wait.
    pub approvals: Vec<WaitingApproval>,
}

/// An alert of the configuration with messages that are not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndeliveredAlert {
    /// The name of the alert.
    pub name: String,
    /// Number of messages.
    pub waiting: usize,
    /// Why.
    #[serde(flatten)]
    pub undelivered: Undelivered,
}

/// One digest, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// Unique id; the same in every attempt.
    pub id: String,
    /// Begin of the period.
    pub from: Timestamp,
    /// End of the period: when the digest was written.
    pub to: Timestamp,
    /// Whether nothing needs an operator.
    pub nothing_to_do: bool,
    /// The pairs, in the order of the configuration.
    pub pairs: Vec<PairDigest>,
    /// The alerts that cannot be delivered.
    pub undelivered: Vec<UndeliveredAlert>,
}

impl Digest {
    /// Creates the digest of a period.
    pub fn new(
        id: String,
        [from, to]: [Timestamp; 2],
        pairs: Vec<PairDigest>,
        undelivered: Vec<UndeliveredAlert>,
    ) -> Self {
        let nothing_to_do = undelivered.is_empty() && !pairs.iter().any(|pair| pair.needs_attention);
        Self { id, from, to, nothing_to_do, pairs, undelivered }
    }
}
