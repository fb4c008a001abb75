//! Errors that end a piece of work early.

use jiff::Timestamp;

use crate::{
    keycloak::SourceError,
    model::{ErrorClass, Pair, Subject},
    store::StoreError,
    targets::TargetError,
};

/// Why work on a subject, or a run, could not continue.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target could not be read, or refused.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A write got no answer; its intent stays open until the request can no longer arrive.
    #[error("{error}; usersync checks whether it took effect")]
    Unanswered {
        /// The error of the call.
        error: TargetError,
        /// When the intent can be recovered.
        until: Timestamp,
    },
    /// The store failed, or the claim has ended.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A read is not confirmed.
    #[error("{0}")]
    Unconfirmed(String),
    /// Another identity answers at the same settings.
    #[error("{pair}: {text}")]
    Identity {
        /// The pair that stops.
        pair: Pair,
        /// The identity that was found, and what to do.
        text: String,
    },
    /// The state changes faster than it can be worked.
    #[error("{0} changes while it is reconciled; usersync retries it")]
    Unsteady(String),
    /// The subject leaves a full reconcile because an event of it waits or the run has to end. The claim is released.
    #[error("{0} is reconciled by its own task")]
    LeftToTask(Subject),
    /// An operator or a shutdown ended the work before there was a result.
    #[error("{0}: stopped before the plan was complete; nothing was written")]
    Stopped(Pair),
    /// Operations were planned, and nothing shows why they are neither done nor needed: a defect of usersync.
    #[error(
        "{subject}: planned, but neither done, held, unsupported nor failed: {what}. This is an internal error of \
             usersync. Report it"
    )]
    Unaccounted {
        /// The subject of the operations.
        subject: String,
        /// The operations, as text.
        what: String,
    },
    /// A defect of usersync.
    #[error("internal error of usersync. Report it with the log of that time")]
    Bug,
    /// The configuration names something that does not exist.
    #[error("{0}")]
    Unknown(String),
}

impl WorkError {
    /// Returns the class under which the error is stored.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Source(error) => error.class,
            Self::Target(error) | Self::Unanswered { error, .. } => error.class(),
            Self::Store(_) | Self::Unsteady(_) | Self::LeftToTask(_) | Self::Stopped(_) => ErrorClass::Transient,
            Self::Unconfirmed(_) => ErrorClass::Unconfirmed,
            Self::Identity { .. } => ErrorClass::Conflict,
            Self::Unknown(_) | Self::Unaccounted { .. } | Self::Bug => ErrorClass::Bug,
        }
    }
}
