//! Time and chance come in as values, so that tests can drive them.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Returns after that time.
    async fn sleep(&self, duration: SignedDuration);
}

/// The machine's clock.
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

#[cfg(feature = "demo")]
#[async_trait]
impl Clock for usersync_simulators::clock::DrivenClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    async fn sleep(&self, duration: SignedDuration) {
        Self::sleep(self, duration).await;
    }
}

/// A source of chance for jitter.
#[derive(Debug)]
pub struct Dice(Mutex<SmallRng>);

impl Dice {
    /// Different each time.
    pub fn random() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// The same each time.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// A number from 0 up to 1.
    pub fn fraction(&self) -> f64 {
        self.0.lock().map_or(0.5, |mut rng| rng.random())
    }
}
