//! The schedule of the full reconcile: cron expressions in the Quartz form (six or seven fields) and the Unix form
//! (five), in a time zone.
//!
//! An expression may name one time of day (`0 30 2 * * ?`). If the clock skips that time in spring, the run is due
//! right after the gap; if it occurs twice in autumn, the run is due once. Expressions with many times a day
//! (`0 0 * * * ?`) follow the clock.

mod fields;

use std::fmt;

use croner::{Cron, parser::CronParser};
use jiff::{Timestamp, tz::TimeZone};

/// The default: every hour, on the hour.
pub const DEFAULT_SCHEDULE: &str = "0 0 * * * ?";

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

/// Why an expression is invalid.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ScheduleError(String);

impl Schedule {
    /// Parses an expression. One that never fires after `now` is an error.
    pub fn parse(text: &str, zone: TimeZone, now: Timestamp) -> Result<Self, ScheduleError> {
        let canonical = fields::canonical(text)?;
        // croner's own message is the last resort: `fields` has checked everything that croner could reject.
        let cron = CronParser::new().parse(&canonical).map_err(|error| ScheduleError(error.to_string()))?;
        let schedule = Self { text: text.trim().to_owned(), cron, zone };
        match schedule.next_after(now) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError("it never fires: no future date matches".to_owned())),
        }
    }

    /// Returns the first time after `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&at.to_zoned(self.zone.clone()), false).ok()?;
        Some(next.timestamp())
    }

    /// Returns the first `count` times after `at`; fewer if the expression ends before.
    pub fn next_n(&self, at: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(at), |last| self.next_after(*last)).take(count).collect()
    }

    /// Returns the expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the time zone of the expression.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone.iana_name().unwrap_or("UTC"))
    }
}
