//! A clock that goes on by itself and that tests move ahead.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::engine::Clock;

/// The machine's clock, and how far tests have moved it ahead; clones are one clock.
#[derive(Clone, Debug)]
pub struct DrivenClock(Arc<watch::Sender<SignedDuration>>);

impl Default for DrivenClock {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(SignedDuration::ZERO)))
    }
}

impl DrivenClock {
    /// Moves it ahead; who sleeps less than that wakes.
    pub fn advance(&self, by: SignedDuration) {
        self.0.send_modify(|ahead| *ahead += by);
    }
}

#[async_trait]
impl Clock for DrivenClock {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.borrow()
    }

    async fn sleep(&self, duration: SignedDuration) {
        let (until, mut moved) = (self.now() + duration, self.0.subscribe());
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
