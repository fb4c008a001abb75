//! Time and randomness as values, so that tests control them (rule: time and chance are values).

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Returns the current time, and sleeps.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
    /// Sleeps for this duration.
    async fn sleep(&self, duration: SignedDuration);
    /// Sleeps in real time, whatever time the clock shows: to poll what other processes write.
    async fn sleep_real(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: SignedDuration) {
        tokio::time::sleep(Duration::try_from(duration).unwrap_or_default()).await;
    }
}

#[cfg(test)]
#[async_trait]
impl Clock for usersync_simulators::clock::DrivenClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    async fn sleep(&self, duration: SignedDuration) {
        Self::sleep(self, duration).await;
    }
}

/// A source of random numbers for jitter.
#[derive(Debug)]
pub struct Jitter(Mutex<SmallRng>);

impl Jitter {
    /// Creates a source with a random seed.
    pub fn random() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// Creates a source with a fixed seed, for the same numbers each time.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// Returns a number from 0 (inclusive) to 1 (exclusive).
    pub fn fraction(&self) -> f64 {
        self.0.lock().random()
    }
}
