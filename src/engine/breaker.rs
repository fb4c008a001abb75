//! Circuit breaker: keeps work away from a side that does not answer, without using up attempts of tasks.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::backoff::Backoff;

/// Refused credentials that are to be sent again.
#[derive(Debug, Clone, Copy)]
struct Refused {
    /// Number of times they were sent again.
    probes: usize,
    /// When they are sent again next.
    probe_at: Timestamp,
}

/// Consecutive failures that open the breaker.
const FAILURES: u32 = 5;
/// Pauses of the open breaker: one second, doubled with each further failure, up to one minute.
const PAUSES: Backoff = Backoff::new(500, 2, Duration::from_mins(1));

/// Counts consecutive failures and determines when to retry.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default, Clone)]
struct State {
    failures: u32,
    until: Option<Timestamp>,
    why: Option<String>,
    since: Option<Timestamp>,
    refused: Option<Refused>,
}

impl State {
    fn open(&mut self, why: &str, now: Timestamp, until: Timestamp) {
        self.failures = self.failures.max(FAILURES);
        self.why = Some(why.to_owned());
        self.since.get_or_insert(now);
        self.until = Some(until);
    }
}

/// Returns the time between the `made`-th probe and the next one; the last of `gaps` repeats.
fn gap(gaps: &[SignedDuration], made: usize) -> SignedDuration {
    gaps.get(made).or(gaps.last()).copied().unwrap_or(SignedDuration::from_hours(1))
}

impl Breaker {
    /// Closes the breaker after an answer. Returns whether the side had failed before.
    pub fn succeeded(&self) -> bool {
        let mut state = self.0.lock();
        if state.failures == 0 {
            return false;
        }
        *state = State::default();
        true
    }

    /// Opens the breaker as an earlier process left it; a retry is due at once.
    pub fn recall(&self, why: &str, since: Timestamp, now: Timestamp) {
        let mut state = self.0.lock();
        *state = State {
            failures: FAILURES,
            until: Some(now),
            why: Some(why.to_owned()),
            since: Some(since),
            refused: None,
        };
    }

    /// Records a missing answer. Returns whether the breaker is open because of consecutive failures.
    pub fn failed(&self, why: &str, now: Timestamp) -> bool {
        let mut state = self.0.lock();
        state.why = Some(why.to_owned());
        state.since.get_or_insert(now);
        // Calls in progress when it opened, perhaps all waiting for one call, are no further evidence.
        if state.until.is_none_or(|until| until <= now) {
            state.failures = state.failures.saturating_add(1);
            if state.failures >= FAILURES {
                let pause = SignedDuration::try_from(PAUSES.after(state.failures - FAILURES + 1)).ok();
                state.until = state.until.max(pause.map(|pause| now + pause));
            }
        }
        state.failures >= FAILURES
    }

    /// Opens the breaker until a success is recorded: a right is missing, or another identity was found.
    pub fn stop(&self, why: &str, now: Timestamp, contact_after: SignedDuration) {
        let mut state = self.0.lock();
        state.open(why, now, now + contact_after);
        state.refused = None;
    }

    /// Opens the breaker because credentials were refused. A check for changed credentials follows after
    /// `contact_after`; unchanged ones are sent again after each of `gaps`, see [`Breaker::take_probe`].
    pub fn refused(&self, why: &str, now: Timestamp, contact_after: SignedDuration, gaps: &[SignedDuration]) {
        let mut state = self.0.lock();
        let refused = *state.refused.get_or_insert(Refused { probes: 0, probe_at: now + gap(gaps, 0) });
        state.open(why, now, refused.probe_at.clamp(now, now + contact_after));
    }

    /// Returns, once, whether refused credentials are to be sent again now; the next time follows after the next of
    /// `gaps`.
    pub fn take_probe(&self, now: Timestamp, gaps: &[SignedDuration]) -> bool {
        let mut state = self.0.lock();
        let Some(refused) = state.refused.as_mut().filter(|refused| refused.probe_at <= now) else { return false };
        refused.probes += 1;
        refused.probe_at = now + gap(gaps, refused.probes);
        true
    }

    /// Returns when refused credentials are sent again.
    pub fn next_probe(&self) -> Option<Timestamp> {
        self.0.lock().refused.map(|refused| refused.probe_at)
    }

    /// Returns why and since when the breaker is open, and when the next retry is due; `None`: the breaker is closed.
    pub fn open(&self) -> Option<(String, Timestamp, Timestamp)> {
        let state = self.0.lock().clone();
        Some((state.why?, state.since?, state.until?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
    const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(1);

    #[test]
    fn it_opens_after_failures_in_a_row_and_waits_longer_each_time() {
        let breaker = Breaker::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let until = || breaker.open().map(|(_, _, until)| until);
        for _ in 0..4 {
            breaker.failed("503", now);
            assert_eq!(until(), None);
        }
        breaker.failed("503", now);
        assert_eq!(until(), Some(now + FIRST_PAUSE));
        now += FIRST_PAUSE;
        breaker.failed("503", now);
        assert_eq!(until(), Some(now + FIRST_PAUSE * 2));
        for _ in 0..40 {
            now = until().expect("open");
            breaker.failed("503", now);
        }
        assert_eq!(until(), Some(now + LONGEST_PAUSE));
        breaker.succeeded();
        assert_eq!(until(), None);
    }

    #[test]
    fn refused_credentials_are_sent_again_less_and_less_often() {
        let minutes = SignedDuration::from_mins;
        let (every, gaps) = (SignedDuration::from_secs(30), [minutes(1), minutes(5)]);
        let breaker = Breaker::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut probes = Vec::new();
        while now < Timestamp::UNIX_EPOCH + minutes(13) {
            if breaker.open().is_none_or(|(_, _, until)| until <= now) {
                if breaker.take_probe(now, &gaps) {
                    probes.push(now.as_second() / 60);
                }
                breaker.refused("401", now, every, &gaps);
            }
            // A call in progress reports the same again.
            breaker.refused("401", now, every, &gaps);
            now += SignedDuration::from_secs(1);
        }
        assert_eq!(probes, [1, 6, 11]);
        breaker.succeeded();
        assert_eq!((breaker.next_probe(), breaker.open()), (None, None));
    }

    #[test]
    fn calls_that_were_under_way_when_it_opened_make_no_pause_longer() {
        let breaker = Breaker::default();
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..50 {
            breaker.failed("cut off", now);
        }
        let until = || breaker.open().map(|(_, _, until)| until);
        assert_eq!(until(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let breaker = Breaker::default();
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..20 {
            breaker.failed("reset", now);
            breaker.succeeded();
        }
        assert_eq!(breaker.open(), None);
    }
}
