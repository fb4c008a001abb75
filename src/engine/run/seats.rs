//! Compares what a plan needs with the seats that the target's licence has left.

use serde::{Deserialize, Serialize};

use super::Run;
use crate::model::RunMode;

/// Verbs of the operations that take a seat.
const TAKING: [&str; 2] = ["create", "activate"];

/// The seats of a target's licence, compared with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// Number of seats that remain.
    pub remaining: u64,
    /// Number of users that the plan creates or activates.
    pub needed: u64,
}

impl Seats {
    /// Returns the number of users that the plan creates or activates and that find no seat.
    pub fn missing(self) -> u64 {
        self.needed.saturating_sub(self.remaining)
    }
}

impl Run<'_> {
    /// Reads the remaining seats with one call, for a dry run that needs some. A target that does not show them, or
    /// cannot be read, has no forecast.
    pub(super) async fn forecast_seats(&mut self) {
        let needed = TAKING.iter().filter_map(|verb| self.report.planned.get(*verb)).sum();
        if self.options.mode != RunMode::DryRun || needed == 0 {
            return;
        }
        match self.port.target.free_seats().await {
            Ok(remaining) => self.report.seats = remaining.map(|remaining| Seats { remaining, needed }),
            Err(error) => tracing::warn!(pair = %self.pair, %error, "the remaining seats were not read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_above_the_remaining_seats_find_none() {
        for (remaining, needed, missing) in [(12, 40, 28), (40, 40, 0), (41, 40, 0), (0, 1, 1)] {
            assert_eq!(Seats { remaining, needed }.missing(), missing);
        }
    }
}
