//! Drift: changes in a target that did not come from usersync.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What happens to drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftRule {
    /// The target gets again what Keycloak says.
    #[default]
    Mend,
    /// What was changed stays, and each full reconcile lists it.
    Report,
}

/// What was changed in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// The display name of an account.
    DisplayName,
    /// The e-mail address of an account.
    Email,
    /// A further attribute of an account.
    Attribute,
    /// The login of an account.
    Login,
    /// An account that usersync did not deactivate was deactivated.
    Deactivated,
    /// An account that usersync deactivated was activated, although its user may not sign in.
    Activated,
    /// An account was deleted.
    AccountDeleted,
    /// A membership that usersync granted was removed.
    MemberRemoved,
    /// A membership of a managed group was added.
    MemberAdded,
    /// A managed group was deleted, or renamed where its name identifies it.
    GroupDeleted,
}

impl DriftKind {
    /// Returns all kinds.
    pub const ALL: [Self; 10] = [
        Self::DisplayName,
        Self::Email,
        Self::Attribute,
        Self::Login,
        Self::Deactivated,
        Self::Activated,
        Self::AccountDeleted,
        Self::MemberRemoved,
        Self::MemberAdded,
        Self::GroupDeleted,
    ];

    /// Returns the name in JSON and metrics.
    pub fn key(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Email => "email",
            Self::Attribute => "attribute",
            Self::Login => "login",
            Self::Deactivated => "deactivated",
            Self::Activated => "activated",
            Self::AccountDeleted => "account_deleted",
            Self::MemberRemoved => "member_removed",
            Self::MemberAdded => "member_added",
            Self::GroupDeleted => "group_deleted",
        }
    }

    /// Returns what happened, in a few words.
    pub fn what(self) -> &'static str {
        match self {
            Self::DisplayName => "display name changed",
            Self::Email => "e-mail address changed",
            Self::Attribute => "attribute changed",
            Self::Login => "login changed",
            Self::Deactivated => "account deactivated",
            Self::Activated => "account activated",
            Self::AccountDeleted => "account deleted",
            Self::MemberRemoved => "membership removed",
            Self::MemberAdded => "membership added",
            Self::GroupDeleted => "group deleted",
        }
    }

    /// Returns whether `drift = "report"` leaves it. Access that Keycloak does not grant is always revoked; for
    /// memberships, `unmanaged_members` decides.
    pub fn may_stay(self) -> bool {
        !matches!(self, Self::Activated | Self::MemberAdded)
    }
}

/// One change in a target that did not come from usersync.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Drift {
    /// What was changed.
    pub kind: DriftKind,
    /// The attribute or the group; `None`: the kind says all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<String>,
    /// The state in the target.
    pub found: String,
    /// The state according to Keycloak and the policy.
    pub wanted: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, of, found, wanted } = self;
        let of = of.as_ref().map(|of| format!(" ({of})")).unwrap_or_default();
        write!(f, "{}{of}: {found}, Keycloak: {wanted}", kind.what())
    }
}

/// What became of drift in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// The target has again what Keycloak says.
    Mended,
    /// It waits for an approval, or an operator rejected that.
    Held,
    /// It was not mended in this run, as in a dry run, or after an error.
    Open,
    /// It stays, as the policy says.
    Reported,
}

impl Handling {
    /// Returns the name in JSON, lists and metrics.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mended => "mended",
            Self::Held => "held",
            Self::Open => "open",
            Self::Reported => "reported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_are_those_of_metrics() {
        for kind in DriftKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.key());
        }
        for handling in [Handling::Mended, Handling::Held, Handling::Open, Handling::Reported] {
            assert_eq!(serde_json::to_value(handling).unwrap(), handling.key());
        }
    }

    #[test]
    fn only_access_that_keycloak_does_not_grant_may_never_stay() {
        let never: Vec<_> = DriftKind::ALL.into_iter().filter(|kind| !kind.may_stay()).collect();
        assert_eq!(never, [DriftKind::Activated, DriftKind::MemberAdded]);
    }

    #[test]
    fn drift_says_both_sides() {
        let (found, wanted) = ("Al".to_owned(), "Alice Ng".to_owned());
        let drift = Drift { kind: DriftKind::DisplayName, of: None, found, wanted };
        assert_eq!(drift.to_string(), "display name changed: Al, Keycloak: Alice Ng");
        let drift = Drift { kind: DriftKind::Attribute, of: Some("dept".to_owned()), ..drift };
        assert_eq!(drift.to_string(), "attribute changed (dept): Al, Keycloak: Alice Ng");
    }
}
