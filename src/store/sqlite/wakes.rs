//! Wakes those who wait for something to do.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Counts the wakes.
pub(super) struct Wakes {
    count: watch::Sender<u64>,
    /// When other processes were last looked for while we were busy ourselves.
    polled: Mutex<Instant>,
    every: Option<Duration>,
}

impl Wakes {
    pub(super) fn new(every: Option<Duration>) -> Self {
        Self { count: watch::Sender::new(0), polled: Mutex::new(Instant::now()), every }
    }

    pub(super) fn wake(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    /// The count, once it is larger than `seen`.
    pub(super) async fn after(&self, seen: u64) -> u64 {
        let mut count = self.count.subscribe();
        match count.wait_for(|count| *count > seen).await {
            Ok(count) => *count,
            // The sender lives as long as we do.
            Err(_) => seen,
        }
    }

    /// Whether a busy writer should look for writes of other processes; says so once an interval.
    pub(super) fn poll_due(&self) -> bool {
        let Some(every) = self.every else { return false };
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        let due = polled.elapsed() >= every;
        if due {
            *polled = Instant::now();
        }
        due
    }
}
