//! Event polling: what is known about a realm's event store, and how far it was read.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::SourceIdentity;

/// One of the two logs in which Keycloak keeps events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventLog {
    /// Changes by administrators.
    Admin,
    /// Actions of the users themselves.
    User,
}

impl EventLog {
    /// Both logs.
    pub const ALL: [Self; 2] = [Self::Admin, Self::User];
}

impl fmt::Display for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin events",
            Self::User => "user events",
        })
    }
}

/// What a realm stores in one of its event logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Whether events are stored.
    pub stored: bool,
    /// Time after which stored events are deleted; `None`: never, or the client may not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<SignedDuration>,
}

/// Which events a realm stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSettings {
    /// Changes by administrators.
    pub admin: LogSettings,
    /// Actions of the users themselves.
    pub user: LogSettings,
    /// Whether admin events are stored with details, which name created and moved sub-groups.
    pub details: bool,
}

impl EventSettings {
    /// Returns the settings of a log.
    pub fn of(&self, log: EventLog) -> LogSettings {
        match log {
            EventLog::Admin => self.admin,
            EventLog::User => self.user,
        }
    }
}

/// A stored event, to be found again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventMark {
    /// When it happened, by Keycloak's clock.
    pub at: Timestamp,
    /// Its id.
    pub id: String,
}

/// How much earlier than its expiry an event may be deleted, as its age is known with the accuracy of the clocks.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// How far a log was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Everything that became visible before this time was read; by Keycloak's clock.
    pub read_to: Timestamp,
    /// The newest event that was read. As long as it is stored, the log was not cleared. `None`: none was read yet, or
    /// it has expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<EventMark>,
}

impl LogPosition {
    /// Returns where the next read begins. An event becomes visible with its transaction's commit, with the time at
    /// which the change was made, so the last `overlap` is read again. Nothing older is read: Keycloak would search all
    /// events since then.
    pub fn begin(&self, now: Timestamp, overlap: SignedDuration) -> Timestamp {
        self.read_to.min(now) - overlap
    }

    /// Returns why events may have been missed between the last read and this one; known before the read.
    pub fn gap_before(&self, now: Timestamp, overlap: SignedDuration, expiry: Option<SignedDuration>) -> Option<Gap> {
        if now < self.read_to - overlap {
            return Some(Gap::ClockSetBack);
        }
        (expiry.is_some_and(|expiry| now.duration_since(self.read_to) >= expiry)).then_some(Gap::Expired)
    }

    /// Returns why events may have been missed if the newest known event is no longer stored.
    pub fn gap_without_newest(&self, now: Timestamp, expiry: Option<SignedDuration>) -> Option<Gap> {
        let newest = self.newest.as_ref()?;
        let expired = expiry.is_some_and(|expiry| now.duration_since(newest.at) + CLOCK_MARGIN >= expiry);
        (!expired).then_some(Gap::Cleared)
    }
}

/// Why events may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// Keycloak's clock was set back, so new events have times that were read before.
    ClockSetBack,
    /// Keycloak deleted events before they were read.
    Expired,
    /// The newest event that was read is no longer stored.
    Cleared,
    /// The realm stored no events for a while.
    TurnedOff,
    /// The realm or the service account was recreated.
    Recreated,
}

impl Gap {
    /// Returns the reason in words, as the end of "because".
    pub fn reason(self) -> &'static str {
        match self {
            Self::ClockSetBack => "Keycloak's clock was set back",
            Self::Expired => {
                "Keycloak deleted events before they were read: polling was interrupted for longer than their expiry"
            }
            Self::Cleared => {
                "the newest event that was read is no longer stored: the events were cleared, or have expired"
            }
            Self::TurnedOff => "the realm did not store events for a while",
            Self::Recreated => "the realm or its service account was recreated",
        }
    }
}

/// A gap that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundGap {
    /// When it was found and a full reconcile was requested.
    pub at: Timestamp,
    /// The log.
    pub log: EventLog,
    /// Why events may have been missed.
    pub why: Gap,
}

impl fmt::Display for FoundGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} may have been missed, because {}", self.log, self.why.reason())
    }
}

/// Why polling does not work at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollProblem {
    /// When it began.
    pub since: Timestamp,
    /// What happened and what to do.
    pub text: String,
}

/// The durable state of a connector's event polling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventPoll {
    /// The realm that was read; `None`: none yet.
    pub source: Option<SourceIdentity>,
    /// Which events it stores, as last read.
    pub settings: Option<EventSettings>,
    /// How far admin events were read; `None`: not yet, or they are not stored.
    pub admin: Option<LogPosition>,
    /// How far user events were read; `None`: not yet, or they are not stored.
    pub user: Option<LogPosition>,
    /// When polling last succeeded, accurate to a minute.
    pub polled_at: Option<Timestamp>,
    /// Why polling does not work at present; `None`: it works.
    pub problem: Option<PollProblem>,
    /// The last gap that was found.
    pub gap: Option<FoundGap>,
}

impl EventPoll {
    /// Returns how far a log was read.
    pub fn position(&mut self, log: EventLog) -> &mut Option<LogPosition> {
        match log {
            EventLog::Admin => &mut self.admin,
            EventLog::User => &mut self.user,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAP: SignedDuration = SignedDuration::from_secs(30);
    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_447_400 + second).unwrap()
    }

    fn position(read_to: i64, newest: Option<i64>) -> LogPosition {
        let newest = newest.map(|second| EventMark { at: at(second), id: "e".into() });
        LogPosition { read_to: at(read_to), newest }
    }

    #[test]
    fn each_log_has_its_own_settings() {
        let [admin, user] = [Some(HOUR), None].map(|expiry| LogSettings { expiry, ..LogSettings::default() });
        let settings = EventSettings { admin, user, ..EventSettings::default() };
        assert_eq!((settings.of(EventLog::Admin), settings.of(EventLog::User)), (admin, user));
    }

    #[test]
    fn a_read_begins_an_overlap_earlier_however_old_the_newest_event_is() {
        assert_eq!(position(100, None).begin(at(105), OVERLAP), at(70));
        assert_eq!(position(100, Some(99)).begin(at(105), OVERLAP), at(70));
        assert_eq!(position(100, Some(-500)).begin(at(105), OVERLAP), at(70));
        assert_eq!(position(100, None).begin(at(90), OVERLAP), at(60), "a clock that is slightly behind");
    }

    #[test]
    fn an_outage_longer_than_the_expiry_and_a_clock_set_back_are_gaps() {
        let read = position(100, Some(90));
        assert_eq!(read.gap_before(at(105), OVERLAP, Some(HOUR)), None);
        assert_eq!(read.gap_before(at(105), OVERLAP, None), None);
        assert_eq!(read.gap_before(at(3_700), OVERLAP, None), None, "nothing expires");
        assert_eq!(read.gap_before(at(3_699), OVERLAP, Some(HOUR)), None);
        assert_eq!(read.gap_before(at(3_700), OVERLAP, Some(HOUR)), Some(Gap::Expired));
        assert_eq!(read.gap_before(at(70), OVERLAP, None), None, "within the overlap, nothing is lost");
        assert_eq!(read.gap_before(at(69), OVERLAP, None), Some(Gap::ClockSetBack));
    }

    #[test]
    fn a_newest_event_that_is_no_longer_stored_is_a_gap_unless_it_has_expired() {
        let read = position(4_000, Some(90));
        assert_eq!(read.gap_without_newest(at(4_005), None), Some(Gap::Cleared));
        assert_eq!(read.gap_without_newest(at(3_629), Some(HOUR)), Some(Gap::Cleared));
        assert_eq!(read.gap_without_newest(at(3_630), Some(HOUR)), None, "it may just have expired");
        assert_eq!(read.gap_without_newest(at(4_005), Some(HOUR)), None);
        assert_eq!(position(4_000, None).gap_without_newest(at(4_005), None), None, "no event was read yet");
    }

    #[test]
    fn each_log_has_its_own_position() {
        let mut poll =
            EventPoll { admin: Some(position(1, None)), user: Some(position(2, None)), ..EventPoll::default() };
        assert_eq!(poll.position(EventLog::Admin).clone(), Some(position(1, None)));
        *poll.position(EventLog::User) = None;
        assert_eq!((poll.admin.is_some(), poll.user), (true, None));
    }

    #[test]
    fn the_state_is_read_back_as_written() {
        let state = EventPoll {
            settings: Some(EventSettings {
                admin: LogSettings { stored: true, expiry: Some(HOUR) },
                ..EventSettings::default()
            }),
            admin: Some(position(100, Some(90))),
            gap: Some(FoundGap { at: at(1), log: EventLog::Admin, why: Gap::Cleared }),
            ..EventPoll::default()
        };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<EventPoll>(&text).unwrap(), state);
        assert_eq!(serde_json::from_str::<EventPoll>("{}").unwrap(), EventPoll::default());
    }

    #[test]
    fn a_gap_is_one_sentence() {
        let gap = FoundGap { at: at(1), log: EventLog::User, why: Gap::TurnedOff };
        assert_eq!(
            gap.to_string(),
            "user events may have been missed, because the realm did not store events for a while"
        );
    }
}
