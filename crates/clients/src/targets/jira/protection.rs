//! What must not or cannot be changed: usersync's own account, administrators and their groups, shadowed accounts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    JiraTarget,
    wire::{DirectoryAccount, Duplicates},
};
use crate::{
    model::Operation,
    targets::{
        TargetError, Writes,
        rest::{Ask, Protection, administrators_unconfirmed, ended, fold, refuse_protected},
    },
};

impl JiraTarget {
    /// Returns what must not be changed, re-read when it is stale.
    pub(super) async fn protection(&self, deadline: Option<Timestamp>) -> Result<Arc<Protection>, TargetError> {
        self.protection.get(self.read_protection(deadline)).await
    }

    /// Re-reads what must not be changed.
    pub(super) async fn fresh_protection(&self) -> Result<Arc<Protection>, TargetError> {
        self.protection.forget().await;
        self.protection(None).await
    }

    /// Reads what must not be changed, past the cache.
    async fn read_protection(&self, deadline: Option<Timestamp>) -> Result<Protection, TargetError> {
        let own_id = self.myself(deadline).await?.id.to_string();
        let settings = &self.settings;
        let mut protection = Protection::configured(&settings.protection);
        let picked = self.picked_groups(deadline).await?;
        protection.groups.extend(picked.marked.iter().cloned());
        let (mut members, mut incomplete) = (HashSet::new(), picked.incomplete);
        for group in &protection.groups {
            let mut cursor = None;
            // A default group name that this Jira does not have protects no account.
            while let Some(page) = self.members_page(group, true, cursor.as_deref(), deadline).await? {
                if let Some(why) = page.incomplete {
                    incomplete.get_or_insert(format!("the members of {group} cannot all be read: {why}"));
                }
                members.extend(page.items.into_iter().map(|key| key.to_string()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let duplicates = self.duplicates(deadline).await?;
        Ok(Protection { own_id, marked: picked.marked, members, incomplete, duplicates, ..protection })
    }

    /// Returns the logins that exist in several directories, with those directories. Empty if this Jira (before 8.19)
    /// or usersync's permissions do not show them.
    async fn duplicates(&self, deadline: Option<Timestamp>) -> Result<HashMap<String, String>, TargetError> {
        let ask = Ask::get("/user/duplicated/list", "reading duplicate accounts").deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if matches!(answer.status.as_u16(), 403..=405) {
            return Ok(HashMap::new());
        }
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        // Entries in an unknown format are skipped; that only loses a warning.
        let all: Duplicates = serde_json::from_slice(&answer.body).unwrap_or_default();
        let entry = |(name, directories): (String, serde_json::Value)| {
            let directories: Vec<DirectoryAccount> = serde_json::from_value(directories).ok()?;
            let names: Vec<_> = directories.into_iter().filter_map(|directory| directory.directory_name).collect();
            (!names.is_empty()).then(|| (fold(&name), names.join(", ")))
        };
        Ok(all.by_login().into_iter().filter_map(entry).collect())
    }

    /// Refuses to change an account that a listing could not recognize as protected, so that it is re-read.
    async fn refuse_unseen_administrator(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let Some(id) = operation.account() else { return Ok(()) };
        let protection = self.protection(Some(deadline)).await?;
        let known = protection.account(id.as_str(), "", None).is_some() || self.standings.protects(id);
        if protection.incomplete.is_none() || known {
            return Ok(());
        }
        refuse_protected(operation, self.account_by_key(id, Some(deadline)).await?)
    }

    /// Refuses to deactivate or delete usersync's own account, or the last other administrator that can still sign in.
    /// An approval does not override this.
    async fn refuse_lockout(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let Some(account) = ended(operation) else { return Ok(()) };
        let protection = self.protection(Some(deadline)).await?;
        protection.refuse_own_deactivation(operation)?;
        let marked = self.standings.marked(&protection.marked);
        let read = Box::pin(self.account_by_key(account, Some(deadline)));
        let fresh = Box::pin(self.fresh_protection());
        if !protection.administers(account, &marked, read, fresh).await? {
            return Ok(());
        }
        let mut active = HashSet::new();
        for group in &marked {
            let mut cursor = None;
            while let Some(page) = self.members_page(group, false, cursor.as_deref(), Some(deadline)).await? {
                // The missing member may be this account.
                if let Some(why) = page.incomplete {
                    return Err(administrators_unconfirmed(operation, &why));
                }
                active.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        protection.refuse_last_end(operation, &active)
    }
}

#[async_trait]
impl Writes for JiraTarget {
    async fn check_protection(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        self.refuse_unseen_administrator(operation, deadline).await?;
        self.refuse_lockout(operation, deadline).await
    }
}
