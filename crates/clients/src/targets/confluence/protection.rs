//! What must not be changed: usersync's own account, administrators and their groups.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    ConfluenceTarget,
    settings::ADMINISTRATORS,
    wire::{GlobalPermission, User, path_segment},
};
use crate::{
    model::{Account, AccountId, ErrorClass, Operation},
    targets::{
        TargetError, Writes,
        rest::{
            Ask, Protection, administrators_unconfirmed, ended, lenient::some, members_lacking, not_done,
            refuse_protected, segment,
        },
    },
};

impl ConfluenceTarget {
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
        let (marked, _) = self.marked_groups(&own_id, deadline).await?;
        self.standings.renew(marked.iter().map(|name| (name.clone(), true)));
        protection.groups.extend(marked.iter().cloned());
        let (mut members, mut incomplete) = (HashSet::new(), None);
        for group in &protection.groups {
            if path_segment("", group).is_err() {
                return Err(not_done(
                    ErrorClass::Permanent,
                    format!(
                        "frozen_groups: the members of {group} cannot be read, because Confluence's paths cannot \
                         contain a slash. Name its members in protected_users instead."
                    ),
                ));
            }
            match self.all_members(group, deadline).await {
                Ok((found, why)) => {
                    members.extend(found.into_iter().filter_map(|user| user.key));
                    incomplete = incomplete.or(why);
                }
                Err(error) if error.class() == ErrorClass::Unconfirmed => incomplete = Some(error.text),
                Err(error) => return Err(error),
            }
        }
        Ok(Protection { own_id, marked, members, incomplete, ..protection })
    }

    /// Returns the groups that are known to grant administrator rights, and whether usersync is in one of them.
    /// Confluence has no list of them, but one of usersync's own groups must be one.
    pub(super) async fn marked_groups(
        &self,
        own_id: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(HashSet<String>, bool), TargetError> {
        let own = self.groups_of(own_id, "reading usersync's own groups", deadline).await?.unwrap_or_default();
        let mut marked = HashSet::from([ADMINISTRATORS.to_owned()]);
        for group in &own {
            match self.makes_administrators(group.as_str(), deadline).await? {
                Some(true) => marked.insert(group.to_string()),
                Some(false) => false,
                None => break,
            };
        }
        let are_we = own.iter().any(|group| marked.contains(group.as_str()));
        Ok((marked, are_we))
    }

    /// Protects an account in a group that was not known to grant administrator rights. Confluence does not list such
    /// groups, but 10 reports it for each group.
    pub(super) async fn protected_by_groups(
        &self,
        mut account: Account,
        deadline: Option<Timestamp>,
    ) -> Result<Account, TargetError> {
        if account.protected.is_some() {
            return Ok(account);
        }
        for group in account.groups.iter().flatten() {
            let known = if let Some(known) = self.standings.known(group.as_str()) {
                known
            } else {
                let reported = self.makes_administrators(group.as_str(), deadline).await?;
                self.standings.learn(group.to_string(), reported);
                reported
            };
            match known {
                Some(true) => {
                    account.protected = Some(format!("a member of {group}, which grants administrator rights"));
                    self.standings.protect(&account.id);
                    break;
                }
                Some(false) => {}
                // A Confluence that does not report on this group reports on none.
                None => break,
            }
        }
        Ok(account)
    }

    /// Whether a group grants administrator rights; `None` if this Confluence or usersync's permissions do not show it.
    pub(super) async fn makes_administrators(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<bool>, TargetError> {
        let permissions = self.permissions_of(group, deadline).await?;
        Ok(permissions.map(|all| all.iter().any(GlobalPermission::administers)))
    }

    /// Returns the global permissions of a group; `None` if this Confluence or usersync's permissions do not show them.
    pub(super) async fn permissions_of(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Vec<GlobalPermission>>, TargetError> {
        let what = format!("reading the permissions of {group}");
        let ask = Ask::get(format!("/permissions/group/{}", segment(group)), &what).deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let permissions: Option<Vec<GlobalPermission>> = serde_json::from_slice(&answer.body).ok();
        self.reports_admin_groups.fetch_or(permissions.is_some(), Ordering::Relaxed);
        Ok(permissions)
    }

    /// Returns the members of a frozen group that have a key, and why others may be missing; empty if there is no such
    /// group.
    async fn all_members(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(Vec<User>, Option<String>), TargetError> {
        let (mut members, mut incomplete) = (Vec::new(), None);
        let mut at = 0;
        // A default group name that this Confluence does not have protects no account.
        while let Some(page) = self.members_page(group, at, deadline).await? {
            let (next, why) = page.next(at);
            incomplete = incomplete.or(why.map(|why| format!("reading the frozen group {group}: {why}")));
            members.extend(page.results.into_iter().filter(User::known));
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        let came = members.len();
        members.retain(|user| some(user.key.clone()).is_some());
        let lacking = members_lacking(came - members.len(), group, "a key");
        Ok((members, incomplete.or(lacking)))
    }

    /// Refuses to update an account that a listing could not recognize as protected, so that it is re-read. Removals
    /// are re-read in any case.
    async fn refuse_unseen_administrator(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let Operation::UpdateUser { account: id, .. } = operation else { return Ok(()) };
        let protection = self.protection(Some(deadline)).await?;
        let complete = !self.reports_admin_groups.load(Ordering::Relaxed) && protection.incomplete.is_none();
        if complete || protection.account(id.as_str(), "", None).is_some() {
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
        let fresh = Box::pin(async {
            let fresh = self.fresh_protection().await?;
            // This account shows no groups, so it may be a member that was not read.
            match &fresh.incomplete {
                Some(why) if !fresh.members.contains(account.as_str()) => {
                    Err(administrators_unconfirmed(operation, why))
                }
                _ => Ok(fresh),
            }
        });
        if !protection.administers(account, &marked, read, fresh).await? {
            return Ok(());
        }
        let mut active = HashSet::new();
        for group in &marked {
            let (members, why) = self.all_members(group, Some(deadline)).await?;
            // The missing member may be this account.
            if let Some(why) = why {
                return Err(administrators_unconfirmed(operation, &why));
            }
            let what = format!("{operation}: reading the administrators in {group}");
            for user in members {
                let user = self.with_status(user, &what, Some(deadline)).await?;
                if user.active() == Some(true) {
                    active.extend(user.key.map(AccountId::from));
                }
            }
        }
        protection.refuse_last_end(operation, &active)
    }
}

#[async_trait]
impl Writes for ConfluenceTarget {
    async fn check_protection(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        self.refuse_unseen_administrator(operation, deadline).await?;
        self.refuse_lockout(operation, deadline).await
    }
}
