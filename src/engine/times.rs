//! How long the engine waits for what.

use std::time::Duration;

use jiff::SignedDuration;

use crate::retry::Backoff;

/// How long the engine waits for what; the defaults are the product's, tests take shorter ones.
#[derive(Clone, Debug)]
pub struct EngineTimes {
    /// How long one call that writes at a target may take.
    pub call: SignedDuration,
    /// How much later than its deadline such a call may still arrive.
    pub margin: SignedDuration,
    /// When the second look is due that closes the race with a sender that fires before the commit.
    pub settle: SignedDuration,
    /// Between the two readings of a run that must both say "gone".
    pub gone_twice: SignedDuration,
    /// How long after a run's walk somebody is still addressed by the login that it saw.
    pub login_believed: SignedDuration,
    /// How long an account has to be missing at the target before it is believed to be gone.
    pub account_gone: SignedDuration,
    /// When a missing account is read again first; the waits double until `account_gone`.
    pub account_recheck: SignedDuration,
    /// How often the account of a dropped link is read again, if its user has left.
    pub dropped_recheck: SignedDuration,
    /// For how long after the account went missing that is done.
    pub dropped_believed: SignedDuration,
    /// How long a subject steps back when its account may be another's that is just being made.
    pub step_back: SignedDuration,
    /// How long a task waits for another one before it looks for itself.
    pub wait_at_most: SignedDuration,
    /// Before the second, third, … attempt of a task.
    pub retries: Backoff,
    /// How long tasks rest, at the least, when the other side asked to slow down.
    pub throttled: SignedDuration,
    /// How long a side is left alone that refused our credentials or rights, or was another than before. Refused
    /// credentials are sent again only if they have changed since.
    pub refused: SignedDuration,
    /// After which times unchanged credentials are sent again that were refused; the last one goes on.
    pub probes: Vec<SignedDuration>,
    /// How often a side is contacted that nobody works with.
    pub contact: SignedDuration,
    /// How long a call of a run waits while its server limits calls.
    pub run_turn: SignedDuration,
    /// How long a call for one subject waits while its server limits calls; then its task is tried again later.
    pub task_turn: SignedDuration,
    /// Before the second, third, … reading of whether a write took effect; after the last one it did not.
    pub read_back: Vec<SignedDuration>,
    /// How long a due task may wait while workers are idle, or be claimed, before it is reported as a defect.
    pub overdue: SignedDuration,
    /// After a run that failed.
    pub after_failure: SignedDuration,
}

impl Default for EngineTimes {
    fn default() -> Self {
        Self {
            call: SignedDuration::from_secs(30),
            margin: SignedDuration::from_secs(5),
            settle: SignedDuration::from_secs(5),
            gone_twice: SignedDuration::from_secs(5),
            login_believed: SignedDuration::from_mins(1),
            account_gone: SignedDuration::from_mins(10),
            account_recheck: SignedDuration::from_secs(5),
            dropped_recheck: SignedDuration::from_hours(1),
            dropped_believed: SignedDuration::from_hours(24),
            step_back: SignedDuration::from_secs(2),
            wait_at_most: SignedDuration::from_secs(60),
            retries: Backoff::new(200, 5, Duration::from_hours(6)),
            throttled: SignedDuration::from_secs(5),
            refused: SignedDuration::from_secs(30),
            probes: [1, 5, 15, 60].map(SignedDuration::from_mins).to_vec(),
            contact: SignedDuration::from_mins(1),
            run_turn: SignedDuration::from_hours(1),
            task_turn: SignedDuration::from_mins(1),
            read_back: vec![SignedDuration::from_millis(300), SignedDuration::from_secs(2)],
            overdue: SignedDuration::from_mins(5),
            after_failure: SignedDuration::from_secs(30),
        }
    }
}

impl EngineTimes {
    /// A few milliseconds each, for simulators on the same machine.
    pub fn hasty() -> Self {
        let short = SignedDuration::from_millis(50);
        Self {
            call: SignedDuration::from_millis(600),
            margin: short,
            settle: SignedDuration::from_millis(300),
            gone_twice: short,
            login_believed: short,
            account_gone: SignedDuration::from_millis(200),
            account_recheck: short,
            dropped_recheck: SignedDuration::from_hours(1),
            dropped_believed: SignedDuration::from_hours(24),
            step_back: short,
            wait_at_most: SignedDuration::from_millis(500),
            retries: Backoff::new(12, 4, Duration::from_millis(200)),
            throttled: short,
            refused: SignedDuration::from_millis(300),
            probes: [1, 5, 15, 60].map(SignedDuration::from_mins).to_vec(),
            contact: SignedDuration::from_mins(1),
            run_turn: SignedDuration::from_secs(10),
            task_turn: SignedDuration::from_secs(1),
            read_back: vec![short],
            overdue: SignedDuration::from_secs(2),
            after_failure: SignedDuration::from_millis(300),
        }
    }
}
