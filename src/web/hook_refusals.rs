//! Counts the requests that the hook refuses. The memory is bounded by connectors and reasons, whatever is sent.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::{ConnectorName, RefusalReason, Refusals};

/// Interval at which each count is logged and stored.
pub(super) const EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The counts since they were last stored.
#[derive(Default)]
pub(super) struct Tallies {
    of: Mutex<BTreeMap<(Option<ConnectorName>, RefusalReason), Tally>>,
    due: Notify,
}

struct Tally {
    count: u64,
    since: Timestamp,
    last: Timestamp,
    stored_at: Option<Timestamp>,
}

impl Tally {
    fn is_due(&self, now: Timestamp) -> bool {
        let waited = self.stored_at.is_none_or(|at| now.duration_since(at).abs() >= EVERY);
        self.count > 0 && waited
    }
}

impl Tallies {
    /// Counts one request; `connector` must be a configured one.
    pub fn add(&self, connector: Option<&ConnectorName>, reason: RefusalReason, now: Timestamp) {
        let mut of = self.of.lock();
        let tally = of.entry((connector.cloned(), reason)).or_insert(Tally {
            count: 0,
            since: now,
            last: now,
            stored_at: None,
        });
        if tally.count == 0 {
            tally.since = now;
        }
        tally.count = tally.count.saturating_add(1);
        tally.last = now;
        if tally.is_due(now) {
            self.due.notify_one();
        }
    }

    /// Returns when a count is due to be stored.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Takes the counts that are due now, or all; they then count as stored.
    pub fn take(&self, now: Timestamp, all: bool) -> Vec<Refusals> {
        let mut of = self.of.lock();
        let due = of.iter_mut().filter(|(_, tally)| tally.is_due(now) || all && tally.count > 0);
        due.map(|((connector, reason), tally)| {
            tally.stored_at = Some(now);
            let count = std::mem::take(&mut tally.count);
            Refusals { connector: connector.clone(), reason: *reason, count, since: tally.since, last: tally.last }
        })
        .collect()
    }

    /// Restores counts that could not be stored.
    pub fn put_back(&self, refusals: Vec<Refusals>) {
        let mut of = self.of.lock();
        for one in refusals {
            if let Some(tally) = of.get_mut(&(one.connector, one.reason)) {
                tally.count = tally.count.saturating_add(one.count);
                tally.since = one.since;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_is_due_at_once_and_then_once_a_minute() {
        let tallies = Tallies::default();
        let acme = ConnectorName::from("acme");
        let at = |second: i64| Timestamp::from_second(1_795_447_400 + second).unwrap();
        let taken =
            |now, all| -> Vec<_> { tallies.take(now, all).into_iter().map(|one| (one.reason, one.count)).collect() };
        tallies.add(Some(&acme), RefusalReason::WrongSecret, at(0));
        assert_eq!(taken(at(0), false), [(RefusalReason::WrongSecret, 1)]);
        for second in 1..60 {
            tallies.add(Some(&acme), RefusalReason::WrongSecret, at(second));
            assert!(tallies.take(at(second), false).is_empty());
        }
        tallies.add(None, RefusalReason::UnknownConnector, at(59));
        assert_eq!(taken(at(59), false), [(RefusalReason::UnknownConnector, 1)], "each for itself");
        let due = tallies.take(at(60), false);
        assert_eq!((due[0].count, due[0].since, due[0].last), (59, at(1), at(59)));
        tallies.put_back(due);
        tallies.add(Some(&acme), RefusalReason::WrongSecret, at(61));
        let due = tallies.take(at(61), true);
        assert_eq!((due[0].count, due[0].since, due[0].last), (60, at(1), at(61)), "nothing is lost");
        assert!(tallies.take(at(1000), true).is_empty());
    }
}
