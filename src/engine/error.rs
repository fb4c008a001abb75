//! What ends a piece of work early.

use jiff::Timestamp;

use crate::{
    keycloak::SourceError,
    model::{ErrorClass, Pair, Subject},
    store::StoreError,
    target::TargetError,
};

/// Why work on a subject, or a run, could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target could not be read, or refused.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A write got no answer; its intent stays open until it can not arrive any more.
    #[error("{error}; usersync checks whether it took effect")]
    Unanswered {
        /// What happened.
        error: TargetError,
        /// When it can be looked after.
        until: Timestamp,
    },
    /// The store failed, or the claim has ended.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was read cannot be believed.
    #[error("{0}")]
    Unconfirmed(String),
    /// Another identity behind the same settings.
    #[error("{pair}: {text}")]
    Identity {
        /// Which pair stops.
        pair: Pair,
        /// What was found, and what to do.
        text: String,
    },
    /// What is read changes faster than it can be worked.
    #[error("{0} keeps changing while it is worked; it is looked at again")]
    Unsteady(String),
    /// The subject leaves a full reconcile, as an event of it waits or the run is to end: the claim is given back.
    #[error("{0} is left to its task")]
    LeftToTask(Subject),
    /// A person or a shutdown ended it before there was a result.
    #[error("{0}: stopped before the plan was made; nothing was written")]
    Stopped(Pair),
    /// Operations were planned, and nothing tells why they are neither done nor needed: a defect of usersync.
    #[error("{subject}: planned, but neither done, held, unsupported nor failed: {what}. Please report it")]
    Unaccounted {
        /// Whose they are.
        subject: String,
        /// The operations, in words.
        what: String,
    },
    /// A defect of usersync.
    #[error("usersync itself failed here; please report it with the log of that moment")]
    Bug,
    /// The configuration names something that is not there.
    #[error("{0}")]
    Unknown(String),
}

impl WorkError {
    /// The class under which it is kept.
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
