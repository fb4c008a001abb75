//! Tasks: reconcile one subject on one target.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Cause, Pair, Subject};

/// Who goes first; smaller is sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// An event that may take access away from a linked user.
    Removal = 0,
    /// Any other event, and what an operator asks for.
    Event = 1,
    /// A retry.
    Retry = 2,
    /// An event of a bulk: hundreds of others of its connector waited with it.
    Bulk = 3,
    /// One of many that a change of a group, or of another subject, raised.
    FanOut = 4,
    /// Raised by a full reconcile.
    Run = 5,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TaskState {
    /// To be worked, not before its time.
    Ready,
    /// Waits for another subject's work, and is looked at again after a while all the same.
    Waiting {
        /// Whose.
        on: Subject,
    },
    /// Its attempts are used up; it waits for a replay.
    Dead,
}

/// What kind of trouble it was; decides whether, and how, it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Goes away by itself: a time-out, a 503, a cut connection.
    Transient,
    /// The other side asks to slow down: 429.
    Throttled,
    /// A page answers all calls in the target's place: a maintenance, a redirect to a sign-in page. Retried without end.
    Maintenance,
    /// The credentials were refused: sent again once they change, and now and then before.
    Credentials,
    /// A right is missing.
    Forbidden,
    /// What was read cannot be believed.
    Unconfirmed,
    /// Two candidates for one link, or one account for two users; waits for an operator.
    Conflict,
    /// Refused for good: the same call would be refused again.
    Permanent,
    /// usersync's own fault.
    Bug,
}

impl ErrorClass {
    /// The word in the store and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Maintenance => "maintenance",
            Self::Credentials => "credentials",
            Self::Forbidden => "forbidden",
            Self::Unconfirmed => "unconfirmed",
            Self::Conflict => "conflict",
            Self::Permanent => "permanent",
            Self::Bug => "bug",
        }
    }
}

/// A task as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Where.
    #[serde(flatten)]
    pub pair: Pair,
    /// Who.
    pub subject: Subject,
    /// How often it was raised.
    pub generation: i64,
    /// Who goes first.
    pub priority: Priority,
    /// Where it stands.
    #[serde(flatten)]
    pub state: TaskState,
    /// Not before this.
    pub not_before: Timestamp,
    /// When it was first raised.
    pub since: Timestamp,
    /// Attempts that failed so far.
    pub attempts: u32,
    /// Class and text of the last error.
    pub error: Option<(ErrorClass, String)>,
    /// Why it was raised first.
    pub cause: Cause,
}
