//! Runs: single executions of a full reconcile.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ErrorClass, Pair, RunId};

/// What started a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTrigger {
    /// The schedule.
    Schedule,
    /// A scheduled run that was missed while no server ran.
    Missed,
    /// An operator.
    Operator,
    /// An event that reports a change of unknown size.
    Event,
    /// The policy was changed since the last run.
    PolicyChanged,
    /// The first run of this connector on this target.
    First,
    /// An operator's approval of the first run.
    Approved,
}

/// Whether a run writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// It applies its plan.
    Apply,
    /// It only plans.
    DryRun,
}

/// The state or result of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunOutcome {
    /// In progress.
    Running,
    /// Everything is in sync or done.
    Done,
    /// Done, with problems that the report lists.
    Problems,
    /// Waits for approval.
    Held,
    /// Ended by an error.
    Failed {
        /// The error.
        why: String,
        /// The class of the error; `None` in runs from before it was stored.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        class: Option<ErrorClass>,
    },
    /// Stopped by an operator or by the end of the process.
    Stopped,
}

/// How far a run in progress has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The current phase.
    pub phase: String,
    /// When the phase began.
    pub phase_began: Timestamp,
    /// Number of completed items of the phase.
    pub done: usize,
    /// Total number of items of the phase; 0: not known.
    pub total: usize,
    /// Number of failures so far.
    pub errors: usize,
    /// When this was recorded.
    pub at: Timestamp,
}

/// A run as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// What started it.
    pub trigger: RunTrigger,
    /// Whether it writes.
    pub mode: RunMode,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None`: it is in progress.
    pub ended_at: Option<Timestamp>,
    /// The state or result.
    #[serde(flatten)]
    pub outcome: RunOutcome,
    /// The operator who ordered its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cancelled_by: Option<String>,
    /// Of a run in progress: how far it has come; `None`: not recorded yet, or it has ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress: Option<RunProgress>,
    /// Evidence, progress and counts; JSON, see `engine::run::Report`.
    pub report: serde_json::Value,
}
