//! What happens to the accounts of users that have left.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::NamePattern;

/// What happens to the account of a user that has left, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaverAction {
    /// It stays as it is.
    Nothing,
    /// It loses its memberships in managed groups, and stays active.
    RemoveGroups,
    /// It is deactivated, and keeps its groups.
    Deactivate,
    /// It is deactivated at once, and deleted after the grace period.
    Delete,
    /// It is deactivated at once, and anonymized after the grace period, which cannot be undone.
    Anonymize,
}

impl LeaverAction {
    /// Returns whether the account is gone in the end: it is deleted, or has no name.
    pub fn ends_account(self) -> bool {
        matches!(self, Self::Delete | Self::Anonymize)
    }
}

/// How a user has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It is disabled in Keycloak.
    Disabled,
    /// It is deleted in Keycloak.
    Deleted,
    /// It is out of the policy's scope.
    OutOfScope,
}

impl Departure {
    /// Returns the key of the policy that decides what happens.
    pub fn key(self) -> &'static str {
        match self {
            Self::Disabled => "leavers.disabled",
            Self::Deleted => "leavers.deleted",
            Self::OutOfScope => "leavers.out_of_scope",
        }
    }
}

/// What happens to the accounts of users that have left. The default is to deactivate them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaverRules {
    /// For a user that is disabled in Keycloak.
    pub disabled: LeaverAction,
    /// For a user that is deleted in Keycloak.
    pub deleted: LeaverAction,
    /// For a user that is out of scope.
    pub out_of_scope: LeaverAction,
    /// Groups in the target from which no leaver is removed.
    pub kept_groups: Vec<NamePattern>,
    /// Time between the first read that shows that a user has left and the action; default: none.
    #[serde(deserialize_with = "up_to_days")]
    pub grace: SignedDuration,
}

/// Reads a duration with units up to days of 24 hours.
fn up_to_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span: Span = text.parse().map_err(|_| de::Error::custom(LeaverRules::NO_DURATION))?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| de::Error::custom(LeaverRules::NO_DURATION))
}

impl Default for LeaverRules {
    fn default() -> Self {
        Self {
            disabled: LeaverAction::Deactivate,
            deleted: LeaverAction::Deactivate,
            out_of_scope: LeaverAction::Deactivate,
            kept_groups: Vec::new(),
            grace: SignedDuration::ZERO,
        }
    }
}

impl LeaverRules {
    /// The message about a grace period that is no duration.
    pub const NO_DURATION: &str = "not a duration in days or less";

    /// Returns what happens to the account of a user that has left in this way.
    pub fn action(&self, departure: Departure) -> LeaverAction {
        match departure {
            Departure::Disabled => self.disabled,
            Departure::Deleted => self.deleted,
            Departure::OutOfScope => self.out_of_scope,
        }
    }

    /// Returns the strictest action, for a user whose kind of departure is not known.
    pub fn strictest(&self) -> LeaverAction {
        self.disabled.max(self.deleted).max(self.out_of_scope)
    }

    /// Returns whether a leaver stays in the group of this name in the target.
    pub fn keeps(&self, group: &str) -> bool {
        self.kept_groups.iter().any(|pattern| pattern.matches(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_departure_has_its_own_action() {
        let rules: LeaverRules =
            serde_json::from_str(r#"{"disabled": "nothing", "deleted": "remove_groups"}"#).expect("rules");
        let departures = [Departure::Disabled, Departure::Deleted, Departure::OutOfScope];
        assert_eq!(
            departures.map(|departure| rules.action(departure)),
            [LeaverAction::Nothing, LeaverAction::RemoveGroups, LeaverAction::Deactivate]
        );
        assert_eq!(rules.strictest(), LeaverAction::Deactivate);
        let keys = ["leavers.disabled", "leavers.deleted", "leavers.out_of_scope"];
        assert_eq!(departures.map(Departure::key), keys);
    }

    #[test]
    fn a_grace_period_has_units_up_to_days() {
        let read = |text: &str| serde_json::from_value::<LeaverRules>(serde_json::json!({ "grace": text }));
        for (text, hours) in [("0s", 0), ("12h", 12), ("7d", 168), ("1w", 168), ("1 day 2 hours", 26)] {
            let rules = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rules.grace, SignedDuration::from_hours(hours), "{text}");
            let written = serde_json::to_value(&rules).expect("written");
            assert_eq!(serde_json::from_value::<LeaverRules>(written).expect("read again"), rules);
        }
        for text in ["", "7", "1 month", "1y"] {
            assert!(read(text).unwrap_err().to_string().starts_with(LeaverRules::NO_DURATION), "{text}");
        }
    }

    #[test]
    fn kept_groups_are_patterns_of_names_in_any_case() {
        let rules: LeaverRules = serde_json::from_str(r#"{"kept_groups": ["alumni-*", "All"]}"#).expect("rules");
        for (group, kept) in [("Alumni-2026", true), ("all", true), ("staff", false), ("old-alumni-1", false)] {
            assert_eq!(rules.keeps(group), kept, "{group}");
        }
        let error = serde_json::from_str::<LeaverRules>(r#"{"kept_groups": [" "]}"#).unwrap_err().to_string();
        assert!(error.starts_with("this pattern is invalid: an empty pattern matches no name"), "{error}");
    }
}
