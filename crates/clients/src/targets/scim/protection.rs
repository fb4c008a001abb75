//! Accounts and groups that must not be changed. SCIM reports neither administrators nor the signed-in account, so only
//! the settings name them.

use std::sync::Arc;

use jiff::Timestamp;

use super::ScimTarget;
use crate::targets::{
    TargetError, Writes,
    rest::{Protection, fold, unconfirmed},
};

impl ScimTarget {
    /// Returns what must not be changed; reads it again when the cached copy has expired.
    pub(super) async fn protection(&self, deadline: Option<Timestamp>) -> Result<Arc<Protection>, TargetError> {
        self.protection.get(self.read_protection(deadline)).await
    }

    /// Reads what must not be changed, past the cache.
    pub(super) async fn fresh_protection(&self) -> Result<Arc<Protection>, TargetError> {
        self.protection.forget().await;
        self.protection(None).await
    }

    async fn read_protection(&self, deadline: Option<Timestamp>) -> Result<Protection, TargetError> {
        let settings = &self.settings;
        let mut protection = Protection::configured(&settings.protection);
        for name in &settings.protection.frozen_groups {
            // A name that this server does not have protects no account; `check` reports it.
            for group in self.groups_named(name, fold, deadline).await? {
                let Some(id) = group.id() else { continue };
                let Some(page) = self.members_of(&id.into(), deadline).await? else { continue };
                if let Some(why) = page.incomplete {
                    return Err(unconfirmed(format!("reading the frozen group {name}: {why}.")));
                }
                protection.members.extend(page.items.into_iter().map(|id| id.to_string()));
            }
        }
        Ok(protection)
    }
}

/// Refuses nothing: the engine plans no operation on protected accounts and groups.
impl Writes for ScimTarget {}
