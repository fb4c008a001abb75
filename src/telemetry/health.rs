//! Whether the process is alive and ready, for `/healthz` and `/readyz`.
//!
//! Ready means that events can be accepted: the store can be written, and the listener listens. An unreachable source
//! or target does not count. A restart of this process would not help, and its events still have to be stored.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::Serialize;
use tokio::sync::watch;

use super::Conditions;
use crate::model::{About, Condition, ConditionCode};

/// The name of the part that stores events.
pub const STORE: &str = "store";

/// The health of the process, shared by all that report on it; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<RwLock<State>>,
    conditions: Conditions,
}

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<&'static str, PartState>,
    draining: bool,
    dead: Option<String>,
}

/// The state of a part of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PartState {
    /// Not started yet.
    Starting,
    /// Working.
    Ok,
    /// Failing.
    Down {
        /// The reason.
        why: String,
    },
}

/// The answer to `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether events can be accepted.
    pub ready: bool,
    /// Whether the process is about to stop.
    pub draining: bool,
    /// The state of each part.
    pub parts: BTreeMap<&'static str, PartState>,
    /// The conditions that hold. Work waits for them, but events are still accepted.
    pub conditions: Vec<Reported>,
}

/// A condition, limited to what is public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    /// The subject of the condition.
    #[serde(flatten)]
    pub about: About,
    /// The kind of the condition.
    pub code: ConditionCode,
    /// The condition as text.
    pub what: String,
    /// When the condition began.
    pub since: Timestamp,
    /// The next retry; `None`: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_at: Option<Timestamp>,
}

impl Health {
    /// Creates a state that is ready once each of these parts has reported that it works.
    pub fn of(parts: &[&'static str]) -> Self {
        let health = Self::default();
        health.write().parts = parts.iter().map(|part| (*part, PartState::Starting)).collect();
        health
    }

    /// Includes these conditions in the answer to `/readyz`.
    #[must_use]
    pub fn with_conditions(self, conditions: Conditions) -> Self {
        Self { conditions, ..self }
    }

    /// Reports that a part works.
    pub fn ok(&self, part: &'static str) {
        self.write().parts.insert(part, PartState::Ok);
    }

    /// Reports that a part fails; it may recover.
    pub fn down(&self, part: &'static str, why: impl Into<String>) {
        self.write().parts.insert(part, PartState::Down { why: why.into() });
    }

    /// Reports whether the store can be written, as the part `store` and as a condition. Returns when the store's
    /// writer has ended.
    pub async fn follow_store(&self, mut failing: watch::Receiver<Option<String>>, now: impl Fn() -> Timestamp) {
        loop {
            let why = failing.borrow_and_update().clone();
            match why {
                None => {
                    self.ok(STORE);
                    self.conditions.clear(&About::Store, ConditionCode::NotWritable);
                }
                Some(why) => {
                    self.conditions.raise(&About::Store, ConditionCode::NotWritable, &why, now(), None);
                    self.down(STORE, why);
                }
            }
            if failing.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reports that the process stops soon, so that it receives no new work.
    pub fn drain(&self) {
        self.write().draining = true;
    }

    /// Reports a defect that only a restart can fix.
    pub fn dead(&self, why: impl Into<String>) {
        self.write().dead = Some(why.into());
    }

    /// Returns why the process must be restarted, if it must: the answer to `/healthz`.
    pub fn why_dead(&self) -> Option<String> {
        self.read().dead.clone()
    }

    /// Returns the answer to `/readyz`.
    pub fn readiness(&self) -> Readiness {
        let state = self.read();
        let well = state.parts.values().all(|part| *part == PartState::Ok);
        Readiness {
            ready: well && !state.draining && state.dead.is_none(),
            draining: state.draining,
            parts: state.parts.clone(),
            conditions: self.conditions.all().into_iter().map(reported).collect(),
        }
    }

    // After a panic under the lock, the state is at worst outdated; that is better than no answer.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
    }
}

fn reported(condition: Condition) -> Reported {
    let what = condition.summary();
    Reported {
        about: condition.about,
        code: condition.code,
        what,
        since: condition.since,
        again_at: condition.again_at,
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
            r#"{"ready":false,"draining":false,"parts":{"listener":{"state":"ok"},"store":{"state":"down","why":"the disk is full"}},"conditions":[]}"#
        );
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_written_is_not_ready_until_it_can() {
        let conditions = Conditions::default();
        let health = Health::of(&[STORE]).with_conditions(conditions.clone());
        let (fails, failing) = watch::channel(None);
        let mut following = std::pin::pin!(health.follow_store(failing, || Timestamp::UNIX_EPOCH));
        assert!(futures::poll!(&mut following).is_pending());
        assert!(health.readiness().ready);
        fails.send_replace(Some("the disk is full".to_owned()));
        assert!(futures::poll!(&mut following).is_pending());
        let readiness = health.readiness();
        assert!(!readiness.ready);
        assert_eq!(readiness.conditions[0].what, "the store cannot be written");
        fails.send_replace(None);
        assert!(futures::poll!(&mut following).is_pending());
        assert!(health.readiness().ready);
        assert_eq!(conditions.all(), []);
        drop(fails);
        assert!(futures::poll!(&mut following).is_ready());
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
