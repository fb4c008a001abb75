//! Which of the roles or organizations that a policy names a user has, as far as this is known.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why it is not known whether a user has a role, or is a member of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Keycloak has no such role or organization. The text says what to do.
    Absent(String),
    /// It could not be read who has it. The text says why.
    Unknown(String),
}

impl Unread {
    /// Returns the reason.
    pub fn why(&self) -> &str {
        match self {
            Self::Absent(why) | Self::Unknown(why) => why,
        }
    }
}

/// Which of the roles or organizations that a policy names a user has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "N: Ord + Deserialize<'de>"))]
pub struct Granted<N: Ord> {
    /// Those that it has, ordered.
    pub held: Vec<Arc<N>>,
    /// Those of which it is not known whether users without them have them.
    #[serde(skip)]
    pub unread: Option<Arc<BTreeMap<N, Unread>>>,
}

impl<N: Ord> Default for Granted<N> {
    fn default() -> Self {
        Self { held: Vec::new(), unread: None }
    }
}

impl<N: Ord> Granted<N> {
    /// Returns whether the policy names none that concerns the user.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.unread.is_none()
    }

    /// Returns whether the user has this role or organization.
    ///
    /// # Errors
    /// This is not known; the error says why.
    pub fn has(&self, name: &N) -> Result<bool, &Unread> {
        if self.held.iter().any(|held| **held == *name) {
            return Ok(true);
        }
        self.unread.as_ref().and_then(|unread| unread.get(name)).map_or(Ok(false), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RoleName, UserRoles};

    #[test]
    fn a_user_has_a_role_or_not_or_it_is_not_known() {
        let (user, admin, other) =
            (RoleName::of_realm("user"), RoleName::of_realm("admin"), RoleName::of_realm("other"));
        let unread = Unread::Unknown("no right".to_owned());
        let roles = UserRoles {
            held: vec![Arc::new(user.clone())],
            unread: Some(Arc::new([(user.clone(), unread.clone()), (admin.clone(), unread.clone())].into())),
        };
        assert_eq!((roles.has(&user), roles.has(&admin), roles.has(&other)), (Ok(true), Err(&unread), Ok(false)));
        assert!(UserRoles::default().is_empty());
        assert!(!UserRoles { unread: None, ..roles.clone() }.is_empty());
        assert!(!UserRoles { held: Vec::new(), ..roles }.is_empty());
    }
}
