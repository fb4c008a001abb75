//! What a check found, a line each.

use serde::{Deserialize, Serialize};

/// One line of `usersync check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How it stands.
    pub state: NoteState,
    /// What it is about: `rights`, `seats`, `clock`.
    pub about: String,
    /// The sentence, with what to do where it is not well.
    pub text: String,
}

/// How a line of `usersync check` stands; each state has a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteState {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something is still to come.
    Wait,
    /// A problem.
    No,
}
