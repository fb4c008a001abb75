//! What a connector is told to do.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Whether the first run of a connector on a target waits for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstRun {
    /// It is planned, and waits for approval.
    #[default]
    Hold,
    /// It is applied at once.
    Apply,
}

/// What to do with an account or group that was there before us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptRule {
    /// Adopt in the first run, hold afterwards.
    #[default]
    FirstRun,
    /// Adopt at any time.
    Always,
}

/// Limits of the safety gate: at most `count` or `percent` of the whole, whichever is larger, never more than half,
/// in a rolling hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Safety {
    /// So many are always allowed.
    pub count: u32,
    /// Percent of the active linked accounts (of the managed groups, for deleting groups).
    pub percent: f64,
    /// Percent of the memberships that were given, for removing memberships.
    pub leave_percent: f64,
}

impl Default for Safety {
    fn default() -> Self {
        Self { count: 20, percent: 5.0, leave_percent: 10.0 }
    }
}

/// What a connector wants of its targets. The defaults are those of the design; more options come with the full policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether the first run waits for a person.
    pub first_run: FirstRun,
    /// What happens to accounts and groups that were there before us.
    pub adopt: AdoptRule,
    /// The safety gate's limits.
    pub safety: Safety,
    /// How long after it was last seen alive an id's link moves by itself to a new id with the same login; `24h`.
    pub same_person_within: SignedDuration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_run: FirstRun::default(),
            adopt: AdoptRule::default(),
            safety: Safety::default(),
            same_person_within: SignedDuration::from_hours(24),
        }
    }
}
