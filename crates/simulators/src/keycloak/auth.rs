//! Authentication: tokens and what they grant.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use parking_lot::Mutex;

use super::change::Actor;
use super::errors::Refused;
use super::rights::Rights;
use super::state::Realm;
use crate::front::Request;

/// Grant of a token.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The realm that issued the token.
    pub(crate) realm: String,
    /// The realm's id at that time; a recreated realm does not accept tokens of the old one.
    pub(crate) realm_id: String,
    pub(crate) actor: Actor,
    /// Roles by client, as of the time of issue.
    pub(crate) roles: BTreeMap<String, Vec<String>>,
    pub(crate) administrator: bool,
    pub(crate) ends: Instant,
}

impl Grant {
    /// Returns the rights of this token over a realm.
    pub(crate) fn rights(&self, realm: &Realm) -> Rights {
        if self.administrator {
            return Rights::all();
        }
        let client = if self.realm == "master" {
            format!("{}-realm", realm.name)
        } else if self.realm == realm.name {
            "realm-management".to_owned()
        } else {
            return Rights::default();
        };
        Rights::of(self.roles.get(&client).into_iter().flatten().cloned().collect())
    }

    /// Returns whether it is the master administrator.
    pub(crate) fn is_administrator(&self) -> bool {
        self.administrator
    }
}

/// Issued tokens.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, Grant>>);

impl Tokens {
    /// Adds a token, and drops those that have expired.
    pub(crate) fn add(&self, token: String, grant: Grant) {
        let mut tokens = self.0.lock();
        tokens.retain(|_, grant| grant.ends > Instant::now());
        tokens.insert(token, grant);
    }

    /// Returns the grant of a request's bearer token.
    pub(crate) fn check(&self, request: &Request) -> Result<Grant, Refused> {
        let header = request.header("authorization").unwrap_or_default();
        let token = header.strip_prefix("Bearer ").ok_or_else(Refused::unauthorized)?;
        let tokens = self.0.lock();
        let grant = tokens.get(token).filter(|grant| grant.ends > Instant::now());
        grant.cloned().ok_or_else(Refused::unauthorized)
    }

    /// Revokes all tokens.
    pub(crate) fn revoke_all(&self) {
        self.0.lock().clear();
    }
}
