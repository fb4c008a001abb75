//! Whether the process is alive and ready, for `/healthz` and `/readyz`.
//!
//! Ready means that events can be taken: the store can be written, the listener listens. A source or target that is
//! down does not count: restarting or taking away this process would not help it, and its events are still to be kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use serde::Serialize;

/// Shared by all that have something to say; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<&'static str, PartState>,
    draining: bool,
    dead: Option<String>,
}

/// How a part of the process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PartState {
    /// Not there yet.
    Starting,
    /// Well.
    Ok,
    /// Not well, and this is why.
    Down {
        /// Why.
        why: String,
    },
}

/// The answer to `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether events can be taken.
    pub ready: bool,
    /// Whether it is about to stop.
    pub draining: bool,
    /// Each part.
    pub parts: BTreeMap<&'static str, PartState>,
}

impl Health {
    /// Ready once each of these parts has said that it is well.
    pub fn of(parts: &[&'static str]) -> Self {
        let health = Self::default();
        health.write().parts = parts.iter().map(|part| (*part, PartState::Starting)).collect();
        health
    }

    /// A part is well.
    pub fn ok(&self, part: &'static str) {
        self.write().parts.insert(part, PartState::Ok);
    }

    /// A part is not well; it may become so again.
    pub fn down(&self, part: &'static str, why: impl Into<String>) {
        self.write().parts.insert(part, PartState::Down { why: why.into() });
    }

    /// The process stops soon: no new work is to be sent to it.
    pub fn drain(&self) {
        self.write().draining = true;
    }

    /// Something broke that only a new process can mend.
    pub fn dead(&self, why: impl Into<String>) {
        self.write().dead = Some(why.into());
    }

    /// Why the process should be started anew, if it should: the answer to `/healthz`.
    pub fn why_dead(&self) -> Option<String> {
        self.read().dead.clone()
    }

    /// The answer to `/readyz`.
    pub fn readiness(&self) -> Readiness {
        let state = self.read();
        let well = state.parts.values().all(|part| *part == PartState::Ok);
        Readiness {
            ready: well && !state.draining && state.dead.is_none(),
            draining: state.draining,
            parts: state.parts.clone(),
        }
    }

    // A panic while the lock was held left at worst an older state: better told than not.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_all_parts_are_well() {
        let health = Health::of(&["store", "listener"]);
        assert!(!health.readiness().ready);
        health.ok("store");
        assert!(!health.readiness().ready);
        health.ok("listener");
        assert!(health.readiness().ready);
        health.down("store", "the disk is full");
        let readiness = health.readiness();
        assert!(!readiness.ready);
        let json = serde_json::to_string(&readiness).unwrap();
        assert_eq!(
            json,
            r#"{"ready":false,"draining":false,"parts":{"listener":{"state":"ok"},"store":{"state":"down","why":"the disk is full"}}}"#
        );
    }

    #[test]
    fn draining_is_not_ready_but_alive() {
        let health = Health::of(&[]);
        assert!(health.readiness().ready);
        health.drain();
        assert!(!health.readiness().ready);
        assert_eq!(health.why_dead(), None);
    }

    #[test]
    fn dead_is_neither_ready_nor_alive() {
        let health = Health::of(&[]);
        health.clone().dead("a worker is gone");
        assert!(!health.readiness().ready);
        assert_eq!(health.why_dead().as_deref(), Some("a worker is gone"));
    }
}
