//! Delays between attempts: exponential, bounded, and jittered where many callers could coincide. How delays grow is
//! defined here; their numbers are where they are used.

use std::time::Duration;

use tokio_retry::strategy::{ExponentialBackoff, jitter};

/// Delays that grow by a factor up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Unit of the delays, in milliseconds; the first delay is `unit_ms * base`.
    unit_ms: u64,
    /// Growth factor from one delay to the next.
    base: u64,
    longest: Duration,
}

impl Backoff {
    /// Creates delays of `unit_ms * base`, `unit_ms * base²`, … milliseconds, at most `longest`.
    pub const fn new(unit_ms: u64, base: u64, longest: Duration) -> Self {
        Self { unit_ms, base, longest }
    }

    /// Returns an endless iterator over the delays.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBackoff::from_millis(self.base).factor(self.unit_ms).max_delay(self.longest)
    }

    /// Returns the delay before the attempt after `failed` failed ones; `failed` counts from 1.
    pub fn after(&self, failed: u32) -> Duration {
        let index = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX).min(MOST_STEPS);
        self.delays().nth(index).unwrap_or(self.longest)
    }
}

/// Number of steps after which every delay is the maximum.
const MOST_STEPS: usize = 64;

/// Delays within one call: a lost connection is retried almost at once.
const WITHIN_CALL: Backoff = Backoff::new(25, 2, Duration::from_secs(1));

/// Returns the delays before the second, third, … attempt within one call; `attempts` in all.
pub fn within_call(attempts: usize) -> impl Iterator<Item = Duration> {
    WITHIN_CALL.delays().map(jitter).take(attempts.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_by_their_factor_up_to_the_longest() {
        let backoff = Backoff::new(200, 5, Duration::from_mins(1));
        let delays: Vec<u128> = backoff.delays().take(5).map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [1_000, 5_000, 25_000, 60_000, 60_000]);
        assert_eq!(backoff.after(2), Duration::from_secs(5));
        assert_eq!(backoff.after(u32::MAX), Duration::from_mins(1));
    }

    #[test]
    fn within_a_call_there_are_few_attempts() {
        assert_eq!(within_call(3).count(), 2);
        assert_eq!(within_call(0).count(), 0);
    }
}
