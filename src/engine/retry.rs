//! Retries of failed tasks.

use jiff::SignedDuration;

use crate::{backoff::Backoff, clock::Jitter};

/// Attempts before a task becomes a dead letter; with the default delays that is after about three days.
pub const ATTEMPTS: u32 = 18;

/// Upper limit for a `Retry-After` of the other side.
const LONGEST_ASKED: SignedDuration = SignedDuration::from_hours(1);

/// Returns the delay after this number of failed attempts: with jitter over its upper half, and never less than the
/// other side requested.
pub fn wait(backoff: &Backoff, failed: u32, asked: Option<SignedDuration>, jitter: &Jitter) -> SignedDuration {
    let planned = SignedDuration::try_from(backoff.after(failed)).unwrap_or(LONGEST_ASKED);
    planned.mul_f64(0.5 + jitter.fraction() / 2.0).max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineTimes;

    fn wait(failed: u32, asked: Option<SignedDuration>, jitter: &Jitter) -> SignedDuration {
        super::wait(&EngineTimes::default().retries, failed, asked, jitter)
    }

    #[test]
    fn waits_grow_with_jitter_over_the_upper_half() {
        let jitter = Jitter::seeded(7);
        for (failed, planned) in [(1, 1), (2, 5), (3, 25), (4, 125), (8, 21_600), (17, 21_600)] {
            for _ in 0..100 {
                let wait = wait(failed, None, &jitter).as_secs_f64();
                assert!(wait >= f64::from(planned) / 2.0 && wait <= f64::from(planned), "{failed}: {wait}");
            }
        }
    }

    #[test]
    fn what_the_other_side_asks_only_lengthens_and_is_bounded() {
        let jitter = Jitter::seeded(7);
        assert_eq!(wait(1, Some(SignedDuration::from_secs(40)), &jitter), SignedDuration::from_secs(40));
        assert!(wait(4, Some(SignedDuration::from_secs(1)), &jitter) >= SignedDuration::from_mins(1));
        assert_eq!(wait(1, Some(SignedDuration::from_hours(100)), &jitter), SignedDuration::from_hours(1));
    }
}
