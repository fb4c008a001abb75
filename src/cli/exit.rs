//! How a command ends: an exit code for scripts, a message for the operator.

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    config::ConfigErrors, engine::WorkError, keycloak::SourceError, model::ErrorClass, store::StoreError,
    targets::TargetError,
};

/// Exit code of a command; it has the same meaning for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// Finished, with reported problems.
    Problems = 1,
    /// Wrong usage, or an invalid configuration.
    Usage = 2,
    /// Operations wait for approval.
    Held = 3,
    /// A source or target is unreachable, or refuses usersync's credentials.
    Unreachable = 4,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

/// Text about exit codes at the end of `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  success
  1  finished with problems
  2  wrong usage or configuration
  3  operations wait for approval
  4  source or target unreachable, or it refuses usersync's credentials
  130, 143  stopped by SIGINT (Ctrl-C), SIGTERM";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Returns the exit code for a source or target error of this class. It ends a command, or a run of the server that
    /// the command follows.
    pub(super) fn of(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Transient
            | ErrorClass::Throttled
            | ErrorClass::Maintenance
            | ErrorClass::Credentials
            | ErrorClass::Forbidden
            | ErrorClass::Permanent => Self::Unreachable,
            ErrorClass::Unconfirmed | ErrorClass::Conflict | ErrorClass::Bug => Self::Problems,
        }
    }

    /// Returns the exit code for an error of one subject's task. A refusal concerns that subject only.
    pub(super) fn of_task(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Forbidden | ErrorClass::Permanent => Self::Problems,
            class => Self::of(class),
        }
    }

    /// Returns the more severe exit code: a signal, then usage, unreachable, problems, held, done.
    pub(super) fn and(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Done => 0,
            Self::Held => 1,
            Self::Problems => 2,
            Self::Unreachable => 3,
            Self::Usage => 4,
            Self::Interrupted | Self::Terminated => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Error code of a failure in JSON; stable, and listed in `docs/schemas/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    /// Wrong arguments, or a name that does not exist.
    Usage,
    /// The configuration is invalid.
    Configuration,
    /// Operations wait for approval.
    ApprovalRequired,
    /// The store cannot be written, or failed.
    Store,
    /// Keycloak does not answer.
    SourceUnreachable,
    /// Keycloak refuses usersync's credentials.
    SourceCredentials,
    /// Keycloak refuses a request.
    SourceRefused,
    /// A target does not answer.
    TargetUnreachable,
    /// A target refuses usersync's credentials.
    TargetCredentials,
    /// A target refuses a request.
    TargetRefused,
    /// A source or target cannot be used.
    Unreachable,
    /// Stopped by a signal.
    Stopped,
    /// Any other failure.
    Failed,
}

/// Why a command failed: the thing, what happened, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failure {
    pub exit: Exit,
    pub code: Code,
    pub text: String,
    /// Whether the text has several lines and its own styles.
    pub drawn: bool,
}

/// Result of a command.
pub(super) type Outcome = Result<Exit, Failure>;

impl Failure {
    /// Creates a failure with the generic error code of its exit code.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        let code = match exit {
            Exit::Usage => Code::Usage,
            Exit::Held => Code::ApprovalRequired,
            Exit::Unreachable => Code::Unreachable,
            Exit::Interrupted | Exit::Terminated => Code::Stopped,
            Exit::Done | Exit::Problems => Code::Failed,
        };
        Self { exit, code, text: text.into(), drawn: false }
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// Creates a failure for wrong arguments; a hint and the usage follow in further lines.
    pub fn wrong_arguments(text: &str) -> Self {
        let text = text.trim_end();
        Self { drawn: true, ..Self::usage(text.strip_prefix("error: ").unwrap_or(text)) }
    }

    /// Creates a failure for an invalid configuration, with a report of several lines.
    pub fn drawn(text: impl Into<String>) -> Self {
        Self { drawn: true, code: Code::Configuration, ..Self::usage(text) }
    }

    pub fn held(text: impl Into<String>) -> Self {
        Self::new(Exit::Held, text)
    }

    pub fn problem(text: impl Into<String>) -> Self {
        Self::new(Exit::Problems, text)
    }

    pub fn unreachable(text: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, text)
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
            StoreError::Refused(text) => Self::problem(text),
            error => Self { code: Code::Store, ..Self::problem(error.to_string()) },
        }
    }
}

const SOURCE: [Code; 3] = [Code::SourceUnreachable, Code::SourceCredentials, Code::SourceRefused];
const TARGET: [Code; 3] = [Code::TargetUnreachable, Code::TargetCredentials, Code::TargetRefused];

/// Returns the error code for an error of this class: unreachable, refused credentials, or a refused request.
fn code_of(class: ErrorClass, [unreachable, credentials, refused]: [Code; 3]) -> Code {
    match class {
        ErrorClass::Transient | ErrorClass::Throttled | ErrorClass::Maintenance => unreachable,
        ErrorClass::Credentials => credentials,
        ErrorClass::Forbidden | ErrorClass::Permanent => refused,
        ErrorClass::Unconfirmed | ErrorClass::Conflict | ErrorClass::Bug => Code::Failed,
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { code: code_of(error.class, SOURCE), ..Self::new(Exit::of(error.class), error.text) }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self { code: code_of(error.class(), TARGET), ..Self::new(Exit::of(error.class()), error.text) }
    }
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        let (exit, code) = match &error {
            WorkError::Source(_) => (Exit::of(error.class()), code_of(error.class(), SOURCE)),
            WorkError::Target(_) | WorkError::Unanswered { .. } => {
                (Exit::of(error.class()), code_of(error.class(), TARGET))
            }
            WorkError::Identity { .. } => (Exit::Held, Code::ApprovalRequired),
            WorkError::Unknown(_) => (Exit::Usage, Code::Usage),
            WorkError::Store(_) => (Exit::Problems, Code::Store),
            WorkError::Stopped(_) => (Exit::Problems, Code::Stopped),
            WorkError::Unconfirmed(_)
            | WorkError::Unsteady(_)
            | WorkError::LeftToTask(_)
            | WorkError::Unaccounted { .. }
            | WorkError::Bug => (Exit::Problems, Code::Failed),
        };
        Self { code, ..Self::new(exit, error.to_string()) }
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
