//! The safety limits.

use crate::model::{Limited, Safety};

/// Totals that the limits are measured against, for one connector on one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Number of active linked accounts.
    pub active_accounts: u64,
    /// Number of granted memberships.
    pub memberships: u64,
    /// Number of managed groups.
    pub groups: u64,
}

/// Minimum for the cap of half the whole, in operations of a kind per rolling hour: a limit of one would make a test
/// realm of three users useless.
const SMALL: u64 = 5;

/// Returns the number of operations of a kind that are allowed in a rolling hour: `count` or `percent`, whichever is
/// larger, but never more than half of the whole, or five where half is less.
///
/// ```
/// use usersync_core::{model::{Limited, Safety}, plan::{Measure, limit}};
///
/// let accounts = |active_accounts| Measure { active_accounts, ..Measure::default() };
/// // The default is 20 or 5 percent.
/// assert_eq!(limit(Limited::Deactivate, &Safety::default(), accounts(100)), 20);
/// assert_eq!(limit(Limited::Deactivate, &Safety::default(), accounts(10_000)), 500);
/// assert_eq!(limit(Limited::Deactivate, &Safety::default(), accounts(12)), 6);
/// ```
pub fn limit(kind: Limited, safety: &Safety, measure: Measure) -> u32 {
    let (whole, percent) = match kind {
        Limited::RemoveMember => (measure.memberships, safety.remove_members_percent),
        Limited::RenameGroup | Limited::DeleteGroup => (measure.groups, safety.percent),
        Limited::Deactivate
        | Limited::Delete
        | Limited::Rename
        | Limited::ChangeEmail
        | Limited::ClearAttributes
        | Limited::DropLink => (measure.active_accounts, safety.percent),
    };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of people, far below 2^52; percent is checked to be 0 to 100"
    )]
    let share = (whole as f64 * percent / 100.0).floor() as u64;
    let half = (whole / 2).max(SMALL);
    u32::try_from(share.max(u64::from(safety.count)).min(half)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(active_accounts: u64) -> Measure {
        Measure { active_accounts, ..Measure::default() }
    }

    #[test]
    fn the_larger_of_count_and_percent_but_never_more_than_half() {
        let safety = Safety::default();
        assert_eq!(limit(Limited::Deactivate, &safety, accounts(10_380)), 519);
        assert_eq!(limit(Limited::Deactivate, &safety, accounts(100)), 20);
        assert_eq!(limit(Limited::Deactivate, &safety, accounts(30)), 15);
        assert_eq!(limit(Limited::Deactivate, &safety, accounts(12)), 6);
    }

    #[test]
    fn each_kind_has_its_own_measure() {
        let safety = Safety::default();
        let measure = Measure { active_accounts: 1_000, memberships: 5_000, groups: 200 };
        assert_eq!(limit(Limited::RemoveMember, &safety, measure), 500);
        assert_eq!(limit(Limited::DeleteGroup, &safety, measure), 20);
        assert_eq!(limit(Limited::Rename, &safety, measure), 50);
    }

    #[test]
    fn the_limit_of_a_small_realm_is_usable() {
        for accounts in [0, 1, 3, 10].map(accounts) {
            assert_eq!(limit(Limited::Deactivate, &Safety::default(), accounts), 5);
        }
        let strict = Safety { count: 2, ..Safety::default() };
        assert_eq!(limit(Limited::Deactivate, &strict, accounts(3)), 2, "a smaller limit is kept");
    }
}
