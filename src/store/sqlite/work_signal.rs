//! Wakes callers that wait for work.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// Counter of wake-ups.
pub(super) struct WorkSignal {
    count: watch::Sender<u64>,
    /// When a busy writer last checked for writes of other processes.
    polled: Mutex<Instant>,
    every: Option<Duration>,
}

impl WorkSignal {
    pub(super) fn new(every: Option<Duration>) -> Self {
        Self { count: watch::Sender::new(0), polled: Mutex::new(Instant::now()), every }
    }

    pub(super) fn wake(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    /// Waits until the count is larger than `seen`, and returns it.
    pub(super) async fn after(&self, seen: u64) -> u64 {
        let mut count = self.count.subscribe();
        match count.wait_for(|count| *count > seen).await {
            Ok(count) => *count,
            // Unreachable: the sender lives as long as `self`.
            Err(_) => seen,
        }
    }

    /// Returns whether a busy writer should check for writes of other processes; `true` at most once an interval.
    pub(super) fn poll_due(&self) -> bool {
        let Some(every) = self.every else { return false };
        let mut polled = self.polled.lock();
        let due = polled.elapsed() >= every;
        if due {
            *polled = Instant::now();
        }
        due
    }
}
