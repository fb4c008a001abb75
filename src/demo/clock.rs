//! A clock that tests drive.

use std::ops::Deref;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;

/// The simulators' clock, for the engine and the clients.
#[derive(Clone, Debug, Default)]
pub struct DrivenClock(usersync_simulators::clock::DrivenClock);

impl Deref for DrivenClock {
    type Target = usersync_simulators::clock::DrivenClock;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[async_trait]
impl Clock for DrivenClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep(&self, duration: SignedDuration) {
        self.0.sleep(duration).await;
    }
}
