//! Change records: one for each write.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Limited, Pair, RunId, Subject};

/// Why an operation was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Cause {
    /// An event.
    Event {
        /// The event's id.
        id: String,
    },
    /// A run.
    Run {
        /// The run's id.
        id: RunId,
    },
    /// Something else: a replay, the name of another user, an approval.
    Other {
        /// The cause, as text.
        what: String,
    },
}

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// The target did it.
    Done,
    /// The target did it, after usersync changed something else there that stood in its way.
    DoneWith {
        /// What else was changed, as the second half of a sentence.
        also: String,
    },
    /// The target refused it.
    Refused {
        /// The reason.
        why: String,
        /// Whether the same call would be refused again.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        permanent: bool,
    },
    /// No answer was received; a read of the target showed that it was done.
    FoundDone,
    /// No answer was received; a read of the target showed that it was not done.
    FoundNotDone,
    /// No answer was received, and the target does not show whether it was done.
    NotSeen,
}

impl ChangeOutcome {
    /// Returns whether the operation was done, as far as known.
    pub fn took_effect(&self) -> bool {
        matches!(self, Self::Done | Self::DoneWith { .. } | Self::FoundDone)
    }
}

/// One write to a target, or its refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Time-ordered id.
    pub id: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// The subject of the task.
    pub subject: Subject,
    /// The verb of the operation: `create`, `add_member`, …
    pub verb: String,
    /// The login or group name that the operation concerned.
    pub name: String,
    /// State before the operation as JSON; `null`: nothing existed.
    pub before: serde_json::Value,
    /// The requested operation as JSON.
    pub after: serde_json::Value,
    /// The safety limit that it counts towards; `None`: it counts towards none.
    pub limited: Option<Limited>,
    /// Whether an operator approved it, so that it counts towards no limit.
    pub approved: bool,
    /// Why it was done.
    pub cause: Cause,
    /// When its cause was received, to measure latency.
    pub caused_at: Option<Timestamp>,
    /// The result.
    #[serde(flatten)]
    pub outcome: ChangeOutcome,
}
