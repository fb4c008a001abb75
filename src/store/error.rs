//! Errors of the store.

/// Error of a store operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The claim is no longer held: its holder writes nothing (rule: an ended claim writes nothing).
    #[error("the claim has ended")]
    ClaimEnded,
    /// The requested item does not exist.
    #[error("{0}")]
    NotFound(String),
    /// An operator's request cannot be carried out in the current state: the reason, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The store cannot be written now: a full disk, a lock held by another process.
    #[error("the store cannot be written: {0}")]
    Unavailable(String),
    /// Any other error.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Result of a store's method.
pub type StoreResult<T> = Result<T, StoreError>;
