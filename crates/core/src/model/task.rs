//! Tasks: reconcile one subject on one target.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Cause, Pair, Subject};

/// Priority of a task; a smaller value is worked sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// An event that may remove access from a linked user.
    Removal = 0,
    /// Any other event, or a request of an operator.
    Event = 1,
    /// A retry.
    Retry = 2,
    /// An event of a bulk change: hundreds of other events of its connector waited with it.
    Bulk = 3,
    /// One of many tasks that a change of a group, or of another subject, raised.
    FanOut = 4,
    /// Raised by a full reconcile.
    Run = 5,
}

/// The state of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TaskState {
    /// To be worked once it is due.
    Ready,
    /// Waits for the work on another subject. After a maximum time it is worked anyway.
    Waiting {
        /// The other subject.
        on: Subject,
    },
    /// Its attempts are used up; it waits for a replay.
    Dead,
}

/// Class of an error; decides whether and how a task is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Temporary: a timeout, a 503, a connection reset.
    Transient,
    /// Rate limited by the other side (429).
    Throttled,
    /// A page replaces all answers of the target: maintenance, or a redirect to a sign-in page. Retried without end.
    Maintenance,
    /// The credentials were refused: sent again once they change, and unchanged at intervals.
    Credentials,
    /// A right is missing.
    Forbidden,
    /// A read is not confirmed.
    Unconfirmed,
    /// Two candidates for one link, or one account for two users; waits for an operator.
    Conflict,
    /// Permanent: the same call would be refused again.
    Permanent,
    /// A defect of usersync.
    Bug,
}

impl ErrorClass {
    /// Returns the word in the store and in output.
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
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// The subject.
    pub subject: Subject,
    /// Number of times the task was raised.
    pub generation: i64,
    /// Priority.
    pub priority: Priority,
    /// The state.
    #[serde(flatten)]
    pub state: TaskState,
    /// The earliest time at which it may be worked.
    pub not_before: Timestamp,
    /// When it was first raised.
    pub since: Timestamp,
    /// Number of failed attempts.
    pub attempts: u32,
    /// Class and text of the last error.
    pub error: Option<(ErrorClass, String)>,
    /// The cause for which it was first raised.
    pub cause: Cause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_an_error_class_is_that_of_its_json() {
        for (class, word) in [
            (ErrorClass::Transient, "transient"),
            (ErrorClass::Throttled, "throttled"),
            (ErrorClass::Maintenance, "maintenance"),
            (ErrorClass::Credentials, "credentials"),
            (ErrorClass::Forbidden, "forbidden"),
            (ErrorClass::Unconfirmed, "unconfirmed"),
            (ErrorClass::Conflict, "conflict"),
            (ErrorClass::Permanent, "permanent"),
            (ErrorClass::Bug, "bug"),
        ] {
            assert_eq!(class.as_str(), word);
            assert_eq!(serde_json::to_value(class).unwrap(), word);
        }
    }
}
