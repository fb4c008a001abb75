//! How a command ends: a number for scripts, a sentence for people.

use std::process::ExitCode;

use crate::{
    config::ConfigErrors, engine::WorkError, keycloak::SourceError, model::ErrorClass, store::StoreError,
    target::TargetError,
};

/// What the number says; the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// As wished.
    Done = 0,
    /// Finished, with problems that were told.
    Problems = 1,
    /// Wrong usage, or a wrong configuration.
    Usage = 2,
    /// Something waits for a person's approval.
    Held = 3,
    /// Source or target could not be reached, or refused us.
    Unreachable = 4,
}

/// For the end of `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  as wished
  1  finished with problems
  2  wrong usage or configuration
  3  held for approval
  4  source or target not reachable, or it refuses usersync's credentials";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// How an error of this class at the source or the target ends a command, or a run of the server that it follows.
    pub(super) fn of(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Transient
            | ErrorClass::Throttled
            | ErrorClass::Maintenance
            | ErrorClass::Credentials
            | ErrorClass::Forbidden
            | ErrorClass::Permanent => Self::Unreachable,
            ErrorClass::Doubt | ErrorClass::Conflict | ErrorClass::Bug => Self::Problems,
        }
    }

    /// The same for one subject's task, where a refusal is about that subject only.
    pub(super) fn of_task(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Forbidden | ErrorClass::Permanent => Self::Problems,
            class => Self::of(class),
        }
    }

    /// The one that a script should hear of first: what could not be done, before what went wrong, before what waits.
    pub(super) fn and(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Done => 0,
            Self::Held => 1,
            Self::Problems => 2,
            Self::Unreachable => 3,
            Self::Usage => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Why a command could not go on: the thing, what happened, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failure {
    pub exit: Exit,
    pub text: String,
    /// Whether the text is of several lines, with styles of its own.
    pub drawn: bool,
}

/// What a command comes to.
pub(super) type Outcome = Result<Exit, Failure>;

impl Failure {
    pub fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into(), drawn: false }
    }

    /// What is wrong with the configuration, drawn over several lines.
    pub fn drawn(text: impl Into<String>) -> Self {
        Self { drawn: true, ..Self::usage(text) }
    }

    pub fn held(text: impl Into<String>) -> Self {
        Self { exit: Exit::Held, text: text.into(), drawn: false }
    }

    pub fn problem(text: impl Into<String>) -> Self {
        Self { exit: Exit::Problems, text: text.into(), drawn: false }
    }

    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, text: text.into(), drawn: false }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::drawn(errors.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(text) => Self::usage(text),
            error => Self::problem(error.to_string()),
        }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { exit: Exit::of(error.class), text: error.text, drawn: false }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self { exit: Exit::of(error.class()), text: error.text, drawn: false }
    }
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        let exit = match &error {
            WorkError::Source(_) | WorkError::Target(_) | WorkError::Unanswered { .. } => Exit::of(error.class()),
            WorkError::Identity { .. } => Exit::Held,
            WorkError::Unknown(_) => Exit::Usage,
            WorkError::Store(_)
            | WorkError::Doubt(_)
            | WorkError::Unsteady(_)
            | WorkError::Stopped(_)
            | WorkError::Unaccounted { .. }
            | WorkError::Bug => Exit::Problems,
        };
        Self { exit, text: error.to_string(), drawn: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_ends_wins() {
        assert_eq!(Exit::Done.and(Exit::Held), Exit::Held);
        assert_eq!(Exit::Held.and(Exit::Problems), Exit::Problems);
        assert_eq!(Exit::Problems.and(Exit::Held), Exit::Problems);
        assert_eq!(Exit::Unreachable.and(Exit::Problems), Exit::Unreachable);
    }

    #[test]
    fn help_names_every_code() {
        for exit in [Exit::Done, Exit::Problems, Exit::Usage, Exit::Held, Exit::Unreachable] {
            assert!(HELP.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }
}
