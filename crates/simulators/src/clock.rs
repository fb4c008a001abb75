//! A clock that runs by itself and that tests can advance.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// The machine's clock and the offset that tests have added; clones share one clock.
#[derive(Clone, Debug)]
pub struct DrivenClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ahead: watch::Sender<SignedDuration>,
    /// Wake-up time of each sleeper.
    sleepers: Mutex<BTreeSet<(Timestamp, u64)>>,
    next: AtomicU64,
}

impl Default for DrivenClock {
    fn default() -> Self {
        let ahead = watch::Sender::new(SignedDuration::ZERO);
        Self(Arc::new(Inner { ahead, sleepers: Mutex::default(), next: AtomicU64::new(0) }))
    }
}

/// A pending sleep.
struct Sleeper<'a>(&'a Inner, (Timestamp, u64));

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.sleepers().remove(&self.1);
    }
}

impl Inner {
    fn sleepers(&self) -> MutexGuard<'_, BTreeSet<(Timestamp, u64)>> {
        self.sleepers.lock()
    }
}

impl DrivenClock {
    /// Advances the clock; sleeps that end by then return.
    pub fn advance(&self, by: SignedDuration) {
        self.0.ahead.send_modify(|ahead| *ahead += by);
    }

    /// Advances the clock to the next wake-up time, if there is a sleeper.
    pub fn advance_to_next_sleeper(&self) {
        let first = self.0.sleepers().first().copied();
        if let Some((until, _)) = first {
            self.advance(until.duration_since(self.now()).max(SignedDuration::ZERO));
        }
    }
}

impl DrivenClock {
    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.ahead.borrow()
    }

    /// Sleeps for this duration.
    pub async fn sleep(&self, duration: SignedDuration) {
        let (until, mut moved) = (self.now() + duration, self.0.ahead.subscribe());
        let sleeper = Sleeper(&self.0, (until, self.0.next.fetch_add(1, Ordering::Relaxed)));
        self.0.sleepers().insert(sleeper.1);
        while let Ok(left) = Duration::try_from(until.duration_since(self.now())) {
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                // The sender lives as long as this clock.
                _ = moved.changed() => {}
            }
        }
    }
}
