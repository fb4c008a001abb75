//! Deadlines, delays and intervals of the engine.

use std::time::Duration;

use jiff::SignedDuration;

use crate::backoff::Backoff;

/// Deadlines, delays and intervals of the engine. The defaults are for production; tests use shorter ones.
#[derive(Clone, Debug)]
pub struct EngineTimes {
    /// Timeout of one write call at a target.
    pub call: SignedDuration,
    /// Time after its deadline within which such a call may still arrive.
    pub margin: SignedDuration,
    /// Delay of the recheck, for events that a sender sends before Keycloak's commit.
    pub recheck: SignedDuration,
    /// Delay between the two reads of a run that must both find a user gone.
    pub gone_twice: SignedDuration,
    /// Time after a run's walk for which the login that it read may be used to address an account.
    pub login_believed: SignedDuration,
    /// Time for which an account must be missing at the target before it counts as gone.
    pub account_gone: SignedDuration,
    /// Delay of the first re-read of a missing account. Later delays double, up to `account_gone`.
    pub account_recheck: SignedDuration,
    /// Interval between re-reads of the account of a dropped link, if its user has left.
    pub dropped_recheck: SignedDuration,
    /// Time after the account went missing for which these re-reads continue.
    pub dropped_believed: SignedDuration,
    /// Delay of a subject when its account may be another user's account that is being created.
    pub step_back: SignedDuration,
    /// Maximum time that a task waits for another one before it is worked anyway.
    pub wait_at_most: SignedDuration,
    /// Delays before the second, third, … attempt of a task.
    pub retries: Backoff,
    /// Minimum delay of tasks after a server limited calls (429).
    pub throttled: SignedDuration,
    /// Interval between contacts with a side that refused credentials or rights, or has another identity. Refused
    /// credentials are sent again only if they have changed since.
    pub refused: SignedDuration,
    /// Delays after which refused, unchanged credentials are sent again. The last one repeats.
    pub probes: Vec<SignedDuration>,
    /// Interval between contacts with a side that has no work.
    pub contact: SignedDuration,
    /// Maximum time that a call of a run waits while its server limits calls.
    pub run_turn: SignedDuration,
    /// Maximum time that a call for one subject waits while its server limits calls. After that its task is retried
    /// later.
    pub task_turn: SignedDuration,
    /// Delays before the second, third, … read that checks whether a write took effect. After the last one it counts as
    /// not done.
    pub read_back: Vec<SignedDuration>,
    /// Time that a due task may wait while workers are idle, or be claimed, before it is reported as a defect.
    pub overdue: SignedDuration,
    /// Delay after a failed run.
    pub after_failure: SignedDuration,
    /// How far the reads of Keycloak's event store overlap: longer than most of its transactions, because an event
    /// becomes visible with the commit, and has the time of the change.
    pub poll_overlap: SignedDuration,
    /// The same for the first read after a start, a failure, or a read of the settings: longer than Keycloak's longest
    /// transaction, which its transaction manager ends after five minutes by default.
    pub poll_deep_overlap: SignedDuration,
    /// Time without a new event after which a realm is polled less often.
    pub poll_idle_after: SignedDuration,
    /// Maximum interval between polls, in an idle realm or after failures, unless the configured interval is longer.
    pub poll_longest: SignedDuration,
    /// Interval between reads of which events the realm stores.
    pub poll_settings: SignedDuration,
    /// Interval at which the position is stored while there are no new events.
    pub poll_kept: SignedDuration,
    /// Time for which the answer of a federation provider serves for other users.
    pub provider_shared: SignedDuration,
    /// The same for a provider that cannot be asked.
    pub provider_silent: SignedDuration,
    /// Maximum interval between checks of federation providers while one of them cannot confirm its users.
    pub provider_check_in_trouble: SignedDuration,
}

impl Default for EngineTimes {
    fn default() -> Self {
        Self {
            call: SignedDuration::from_secs(30),
            margin: SignedDuration::from_secs(5),
            recheck: SignedDuration::from_secs(5),
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
            poll_overlap: SignedDuration::from_secs(30),
            poll_deep_overlap: SignedDuration::from_mins(6),
            poll_idle_after: SignedDuration::from_mins(10),
            poll_longest: SignedDuration::from_mins(1),
            poll_settings: SignedDuration::from_mins(1),
            poll_kept: SignedDuration::from_mins(1),
            provider_shared: SignedDuration::from_secs(3),
            provider_silent: SignedDuration::from_secs(20),
            provider_check_in_trouble: SignedDuration::from_secs(30),
        }
    }
}

impl EngineTimes {
    /// Returns times of a few milliseconds each, for simulators on the same machine.
    pub fn hasty() -> Self {
        let short = SignedDuration::from_millis(50);
        Self {
            call: SignedDuration::from_millis(600),
            margin: short,
            recheck: SignedDuration::from_millis(300),
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
            poll_overlap: SignedDuration::from_secs(30),
            poll_deep_overlap: SignedDuration::from_mins(6),
            poll_idle_after: SignedDuration::from_mins(10),
            poll_longest: SignedDuration::from_millis(500),
            poll_settings: short,
            poll_kept: short,
            provider_shared: SignedDuration::ZERO,
            provider_silent: SignedDuration::ZERO,
            provider_check_in_trouble: short,
        }
    }
}
