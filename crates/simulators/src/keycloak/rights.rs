//! Rights of a caller in a realm, as tested right by right against Keycloak 26.7.

use std::collections::BTreeSet;

use super::errors::Refused;

/// The rights of one token over one realm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    roles: BTreeSet<String>,
    all: bool,
}

impl Rights {
    /// Returns the rights that these roles of the realm's management client grant.
    pub(crate) fn of(roles: BTreeSet<String>) -> Self {
        Self { roles, all: false }
    }

    /// Returns the rights of a master administrator.
    pub(crate) fn all() -> Self {
        Self { roles: BTreeSet::new(), all: true }
    }

    fn any(&self, roles: &[&str]) -> bool {
        self.all || roles.iter().any(|role| self.roles.contains(*role))
    }

    /// Returns whether there are no rights at all.
    pub(crate) fn is_none(&self) -> bool {
        !self.all && self.roles.is_empty()
    }

    pub(crate) fn view_users(&self) -> bool {
        self.any(&["view-users", "manage-users"])
    }

    pub(crate) fn query_users(&self) -> bool {
        self.any(&["query-users", "view-users", "manage-users"])
    }

    pub(crate) fn query_groups(&self) -> bool {
        self.any(&["query-groups", "view-users", "manage-users"])
    }

    pub(crate) fn manage_users(&self) -> bool {
        self.any(&["manage-users"])
    }

    pub(crate) fn view_realm(&self) -> bool {
        self.any(&["view-realm", "manage-realm"])
    }

    pub(crate) fn manage_realm(&self) -> bool {
        self.any(&["manage-realm"])
    }

    pub(crate) fn view_events(&self) -> bool {
        self.any(&["view-events", "manage-events"])
    }

    pub(crate) fn manage_events(&self) -> bool {
        self.any(&["manage-events"])
    }

    pub(crate) fn view_organizations(&self) -> bool {
        self.any(&["view-organizations", "manage-organizations", "manage-realm"])
    }

    pub(crate) fn query_organizations(&self) -> bool {
        self.any(&["query-organizations", "view-organizations", "manage-organizations", "manage-realm"])
    }

    pub(crate) fn manage_organizations(&self) -> bool {
        self.any(&["manage-organizations", "manage-realm"])
    }

    pub(crate) fn view_clients(&self) -> bool {
        self.any(&["view-clients", "manage-clients"])
    }

    pub(crate) fn query_clients(&self) -> bool {
        self.any(&["query-clients", "view-clients", "manage-clients"])
    }

    pub(crate) fn manage_clients(&self) -> bool {
        self.any(&["manage-clients"])
    }
}

/// Returns 403 unless allowed.
pub(crate) fn demand(allowed: bool) -> Result<(), Refused> {
    if allowed { Ok(()) } else { Err(Refused::forbidden()) }
}
