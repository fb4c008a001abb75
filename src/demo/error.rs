//! The error of a demo that cannot start.

/// Why a stack could not be built.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StackError(pub(super) String);

/// Converts any error while building.
pub(super) fn fault(error: impl std::fmt::Display) -> StackError {
    StackError(error.to_string())
}
