//! Runs: one full reconcile each.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ErrorClass, Pair, RunId};

/// What made a run begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTrigger {
    /// The schedule.
    Schedule,
    /// A scheduled one was missed while nothing ran.
    Missed,
    /// A person.
    Person,
    /// An event that tells of a change of unknown size.
    Event,
    /// The first of this connector on this target.
    First,
    /// A person approved the first.
    Approved,
}

/// Whether it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// It applies what it plans.
    Apply,
    /// It only plans.
    DryRun,
}

/// How it ended, or that it has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunOutcome {
    /// Under way.
    Running,
    /// All in order or done.
    Done,
    /// Done, but with problems that its report tells.
    Problems,
    /// Waits for approval.
    Held,
    /// Given up, and this is why.
    Failed {
        /// Why.
        why: String,
        /// What kind of error it was; `None` in runs that were stored before it was kept.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        class: Option<ErrorClass>,
    },
    /// Stopped by a person or by the end of the process.
    Stopped,
}

/// A run as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Where.
    #[serde(flatten)]
    pub pair: Pair,
    /// What made it begin.
    pub trigger: RunTrigger,
    /// Whether it writes.
    pub mode: RunMode,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: RunOutcome,
    /// Evidence, progress and counts; JSON, see `engine::run::Report`.
    pub report: serde_json::Value,
}
