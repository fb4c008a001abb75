//! The results of a check, one line each.

use serde::{Deserialize, Serialize};

/// One line of `usersync check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The state.
    pub state: NoteState,
    /// The topic: `rights`, `seats`, `clock`.
    pub about: String,
    /// The message, with what to do if there is a problem.
    pub text: String,
}

/// The state of a line of `usersync check`; each state has a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteState {
    /// No problem.
    Ok,
    /// Information.
    Note,
    /// Something is still pending.
    Wait,
    /// A problem.
    No,
}
