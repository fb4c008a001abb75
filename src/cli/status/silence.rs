//! Silence: a realm that had events in most hours has none for a day.

use jiff::{SignedDuration, Timestamp};

use crate::{
    cli::words::span,
    model::ConnectorName,
    store::{Store, StoreResult},
};

/// Time without an event from which a realm may count as silent.
const LASTING: SignedDuration = SignedDuration::from_hours(24);
/// Number of the 24 hours a week before the last event in which a realm had events, from which silence is news. More than half
/// of a day: a realm that is quiet at night has fewer, and one that is quiet on week-ends has none on that day either.
const BUSY: u64 = 13;
/// The same day of the week is compared.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// No event for a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Silence {
    /// When the last event came.
    since: Timestamp,
    /// Number of hours with events, of the 24 hours a week before the silence began.
    busy: u64,
}

impl Silence {
    /// Returns the silence of a realm, if it is one. `last`: the last event, pushed or polled.
    pub async fn read(
        store: &dyn Store,
        connector: &ConnectorName,
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> StoreResult<Option<Self>> {
        let Some((since, from)) = last.and_then(|last| Some((last, began(last, now)?))) else { return Ok(None) };
        let busy = store.busy_hours(connector, from, from + LASTING).await?;
        Ok(Self::judge(since, busy))
    }

    fn judge(since: Timestamp, busy: u64) -> Option<Self> {
        (busy >= BUSY).then_some(Self { since, busy })
    }

    /// Returns the sentence of `status`.
    pub fn sentence(self, realm: &str, now: Timestamp) -> String {
        format!(
            "no event of realm {realm} for {}, although it had events in {} of 24 hours a week before. Check in Keycloak \
             that events are saved (Realm settings, Events), and that the listener is enabled; then: usersync check",
            span(now.duration_since(self.since)),
            self.busy
        )
    }
}

/// Returns the beginning of the day that is compared; `None`: the last event is too recent. The day does not move while the
/// silence lasts, so that the silence itself is never compared.
fn began(last: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (now.duration_since(last) >= LASTING).then(|| last.checked_sub(WEEK).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Returns whether a realm with these busy hours (UTC, on these days of the week, 1 is Monday) until `last` is silent.
    fn is_silent(days: &[i8], hours: std::ops::Range<i8>, last: &str, now: &str) -> bool {
        let (last, now) = (at(last), at(now));
        let Some(from) = began(last, now) else { return false };
        let is_busy = |hour: &Timestamp| {
            let hour = hour.to_zoned(jiff::tz::TimeZone::UTC);
            days.contains(&hour.weekday().to_monday_one_offset()) && hours.contains(&hour.hour())
        };
        let busy = (0..24).map(|hour| from + SignedDuration::from_hours(hour)).filter(is_busy).count();
        Silence::judge(last, busy as u64).is_some()
    }

    #[test]
    fn a_day_without_events_is_silence_only_where_a_week_before_most_hours_had_some() {
        let (all, work) = (&[1, 2, 3, 4, 5, 6, 7][..], &[1, 2, 3, 4, 5][..]);
        // 2026-11-06 is a Friday.
        for (days, hours, last, now, expected) in [
            (all, 0..24, "2026-11-04T12:00:00Z", "2026-11-05T11:59:00Z", false),
            (all, 0..24, "2026-11-04T12:00:00Z", "2026-11-05T12:00:00Z", true),
            // It lasts until an event comes, also for weeks.
            (all, 0..24, "2026-11-04T12:00:00Z", "2026-12-05T12:00:00Z", true),
            // Quiet on week-ends: from Friday evening until Monday.
            (work, 6..20, "2026-11-06T19:30:00Z", "2026-11-07T19:30:00Z", false),
            (work, 0..24, "2026-11-06T23:30:00Z", "2026-11-08T23:30:00Z", false),
            // The same realm on a Tuesday.
            (work, 0..24, "2026-11-03T12:00:00Z", "2026-11-04T12:00:00Z", true),
            (work, 6..20, "2026-11-03T12:00:00Z", "2026-11-04T12:00:00Z", true),
            // Few hours of each day are no rule.
            (all, 8..17, "2026-11-03T12:00:00Z", "2026-11-04T12:00:00Z", false),
        ] {
            assert_eq!(is_silent(days, hours.clone(), last, now), expected, "{days:?} {hours:?} {last} {now}");
        }
    }

    #[test]
    fn the_sentence_says_how_long_and_what_to_do() {
        let silence = Silence { since: at("2026-11-04T12:00:00Z"), busy: 20 };
        let text = silence.sentence("acme", at("2026-11-05T14:00:00Z"));
        assert!(
            text.starts_with("no event of realm acme for 26 h, although it had events in 20 of 24 hours"),
            "{text}"
        );
        assert!(text.ends_with("usersync check"), "{text}");
    }
}
