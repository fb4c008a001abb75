//! Which users a connector syncs.

use serde::{Deserialize, Serialize};

use super::{LoginPattern, OrganizationName, PathPattern, RoleName, Template};

/// Whether one of the required groups, one of the required roles, and one of the required organizations, is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Required {
    /// One of them.
    #[default]
    Any,
    /// Each of them.
    All,
}

/// Where users come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Keycloak itself, and all federations.
    #[default]
    Any,
    /// Keycloak itself.
    Local,
    /// A federation, such as LDAP.
    Federated,
}

/// The users that a connector syncs: those that meet all of these conditions. The default is all users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Groups of which a user has to be a member; empty: of none.
    pub required_groups: Vec<PathPattern>,
    /// Roles that a user has to have, directly, by composite roles or by groups; empty: none.
    pub required_roles: Vec<RoleName>,
    /// Organizations of which a user has to be a member; empty: of none.
    pub required_organizations: Vec<OrganizationName>,
    /// Whether one of these groups, one of these roles, and one of these organizations, is enough.
    pub required: Required,
    /// Groups whose members are left out.
    pub excluded_groups: Vec<PathPattern>,
    /// Roles whose holders are left out.
    pub excluded_roles: Vec<RoleName>,
    /// Whether a member of a sub-group counts as a member of the groups above it.
    pub subgroups: bool,
    /// The logins that are synced; empty: all.
    pub logins: Vec<LoginPattern>,
    /// Logins that are left out.
    pub excluded_logins: Vec<LoginPattern>,
    /// Where the users come from.
    pub origin: Origin,
    /// Whether only users with a verified e-mail address are synced.
    pub email_verified: bool,
    /// A template that renders `true` for the users that are synced, and `false` for the others.
    pub condition: Option<Template>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            required_groups: Vec::new(),
            required_roles: Vec::new(),
            required_organizations: Vec::new(),
            required: Required::Any,
            excluded_groups: Vec::new(),
            excluded_roles: Vec::new(),
            subgroups: true,
            logins: Vec::new(),
            excluded_logins: Vec::new(),
            origin: Origin::Any,
            email_verified: false,
            condition: None,
        }
    }
}

impl Scope {
    /// Returns whether a member of the group with this path counts as a member of a group with such a path.
    pub fn is_within(&self, pattern: &PathPattern, path: &str) -> bool {
        if self.subgroups { pattern.matches_within(path) } else { pattern.matches(path) }
    }
}
