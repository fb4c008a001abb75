//! The record of every write.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Limited, Pair, RunId, Subject};

/// Why something was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Cause {
    /// An event, by its id.
    Event {
        /// The event's id.
        id: String,
    },
    /// A run.
    Run {
        /// Its id.
        id: RunId,
    },
    /// Something else: a replay, the name of another user, an approval.
    Other {
        /// What, in plain words.
        what: String,
    },
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// The target did it.
    Done,
    /// The target refused, with its reason.
    Refused {
        /// The reason.
        why: String,
        /// Whether the same call would be refused again.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        permanent: bool,
    },
    /// No answer came; looking found it done.
    FoundDone,
    /// No answer came; looking found it not done.
    FoundNotDone,
    /// No answer came, and the target does not show whether it was done.
    NotSeen,
}

/// One write to a target, or its refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Time-ordered id.
    pub id: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Where.
    #[serde(flatten)]
    pub pair: Pair,
    /// Whose task.
    pub subject: Subject,
    /// The operation's word: `create`, `join`, …
    pub verb: String,
    /// The login or group name that it was about.
    pub name: String,
    /// What was there before; JSON, `null` where nothing was.
    pub before: serde_json::Value,
    /// What was asked for: the operation; JSON.
    pub after: serde_json::Value,
    /// The limit that it counts towards.
    pub limited: Option<Limited>,
    /// Whether a person approved it, so that it counts towards no limit.
    pub approved: bool,
    /// Why.
    pub cause: Cause,
    /// When its cause was received, for the latency.
    pub caused_at: Option<Timestamp>,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: ChangeOutcome,
}
