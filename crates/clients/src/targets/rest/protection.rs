//! Accounts and groups that must not or cannot be changed: usersync's own account, administrators and their groups,
//! shadowed accounts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::{error, unconfirmed, unsupported};
use crate::{
    model::{Account, AccountId, Operation, TargetGroupId},
    targets::{ProtectedGroups, TargetError, TargetErrorKind},
};

/// Lifetime of a cached read; Jira caches its own list of duplicates equally long.
const FRESH: Duration = Duration::from_mins(10);

/// Why a group and its memberships are not changed.
const FROZEN: &str = "it grants administrator rights, or frozen_groups names it";
/// Why a group is not changed.
const PROTECTED: &str = "protected_groups names it";

/// Folds a name for comparison, for targets that compare case-insensitively.
pub fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Creates the error for an operation that might end the last active administrator: not all of them could be read.
pub fn administrators_unconfirmed(operation: &Operation, why: &str) -> TargetError {
    let why = why.trim_end_matches('.');
    let text = "another active administrator cannot be confirmed; nothing was changed";
    unconfirmed(format!("{operation}: {text}. Cause: {why}. usersync retries it."))
}

/// Groups and accounts of a target that usersync does not change, by name.
#[derive(Clone, Debug, Default)]
pub struct ProtectionSettings {
    /// Groups that are never changed, nor their memberships.
    pub protected_groups: Vec<String>,
    /// Groups that are never changed, nor their memberships, nor the accounts of their members.
    pub frozen_groups: Vec<String>,
    /// Groups that grant access to the product, but from which usersync still removes members.
    pub managed_access_groups: Vec<String>,
    /// Logins of further protected accounts.
    pub protected_users: Vec<String>,
}

impl ProtectionSettings {
    /// Adds the names of other settings.
    pub fn add(&mut self, other: &Self) {
        let Self { protected_groups, frozen_groups, managed_access_groups, protected_users } = other;
        self.protected_groups.extend_from_slice(protected_groups);
        self.frozen_groups.extend_from_slice(frozen_groups);
        self.managed_access_groups.extend_from_slice(managed_access_groups);
        self.protected_users.extend_from_slice(protected_users);
    }
}

/// Accounts and groups that must not or cannot be changed on a server.
#[derive(Debug, Default)]
pub struct Protection {
    /// The stable id of usersync's own account.
    pub own_id: String,
    /// Folded names of groups with protected members: administrators' groups, including those that the server marks,
    /// and the groups in `frozen_groups`.
    pub groups: HashSet<String>,
    /// Folded names of the groups in `protected_groups`; the accounts of their members are changed normally.
    pub groups_alone: HashSet<String>,
    /// Folded names of those in `groups` that grant administration, as marked by the server or known by name.
    pub marked: HashSet<String>,
    /// Stable ids of the members of `groups`, members of sub-groups included.
    pub members: HashSet<String>,
    /// Stable ids of further accounts that must not be changed, with the reason.
    pub people: HashMap<String, String>,
    /// Folded logins of accounts that the settings protect.
    pub users: HashSet<String>,
    /// Why further groups may grant administration; `None`: all such groups are known, or the server never reports
    /// them.
    pub incomplete: Option<String>,
    /// Folded logins that more than one directory contains, with those directories.
    pub duplicates: HashMap<String, String>,
}

impl Protection {
    /// Returns what the settings name.
    pub fn configured(settings: &ProtectionSettings) -> Self {
        let folded = |names: &[String]| names.iter().map(|name| fold(name)).collect();
        Self {
            groups: folded(&settings.frozen_groups),
            groups_alone: folded(&settings.protected_groups),
            users: folded(&settings.protected_users),
            ..Self::default()
        }
    }

    /// Returns why an account must not be changed, if so.
    pub fn account(&self, id: &str, name: &str, groups: Option<&[TargetGroupId]>) -> Option<String> {
        if id == self.own_id {
            return Some("usersync's own account".to_owned());
        }
        if self.users.contains(&fold(name)) {
            return Some("named in protected_users".to_owned());
        }
        if let Some(why) = self.people.get(id) {
            return Some(why.clone());
        }
        let group = groups.unwrap_or_default().iter().find(|group| self.groups.contains(group.as_str()));
        if let Some(group) = group {
            return Some(format!("a member of the frozen group {group}"));
        }
        self.members.contains(id).then(|| "a member of a frozen group".to_owned())
    }

    /// Returns why an account cannot be changed, if so.
    pub fn immutable(&self, name: &str) -> Option<String> {
        let directories = self.duplicates.get(&fold(name))?;
        Some(format!(
            "its login is in several user directories ({directories}), and only one of them would be changed; remove \
             the login from all but one"
        ))
    }

    /// Returns why a group must not be changed, if so.
    pub fn group(&self, name: &str) -> Option<String> {
        let name = fold(name);
        let frozen = self.groups.contains(&name).then(|| FROZEN.to_owned());
        frozen.or_else(|| self.groups_alone.contains(&name).then(|| PROTECTED.to_owned()))
    }

    /// Returns all groups that must not be changed.
    pub fn protected_groups(&self) -> ProtectedGroups {
        let named = |names: &HashSet<String>, why: &str| {
            names.iter().map(|name| (name.clone(), why.to_owned())).collect::<Vec<_>>()
        };
        let mut by_name: BTreeMap<String, String> = named(&self.groups_alone, PROTECTED).into_iter().collect();
        by_name.extend(named(&self.groups, FROZEN));
        let left_alone = self.groups_alone.difference(&self.groups).cloned().collect();
        ProtectedGroups { by_name, by_id: BTreeMap::new(), left_alone }
    }

    /// Describes what is never changed, for `usersync check`; `None` if no group is known.
    pub fn reported(&self) -> Option<String> {
        let list = |names: &HashSet<String>, what: &str| {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.sort_unstable();
            (!names.is_empty()).then(|| format!("{}: {what}", names.join(", ")))
        };
        let frozen = list(&self.groups, "never changed, nor their members");
        let alone = list(&self.groups_alone, "never changed, except for their members");
        frozen.into_iter().chain(alone).reduce(|all, more| format!("{all}; {more}"))
    }

    /// Refuses to deactivate or delete usersync's own account, even with an approval.
    pub fn refuse_own_deactivation(&self, operation: &Operation) -> Result<(), TargetError> {
        if ended(operation).is_some_and(|account| account.as_str() == self.own_id) {
            return Err(unsupported(format!("{operation}: this is usersync's own account.")));
        }
        Ok(())
    }

    /// Whether an account has administrator rights by its groups, those in `marked` included. An account that was not
    /// known to have them is read by `read`; if it does not show its groups, `fresh` re-reads what is protected.
    pub async fn administers(
        &self,
        account: &AccountId,
        marked: &HashSet<String>,
        read: impl Future<Output = Result<Option<Account>, TargetError>> + Send,
        fresh: impl Future<Output = Result<Arc<Self>, TargetError>> + Send,
    ) -> Result<bool, TargetError> {
        if self.members.contains(account.as_str()) {
            return Ok(true);
        }
        // The cached data may predate the moment when the account became an administrator.
        let Some(now) = read.await? else { return Ok(false) };
        let rules = |group: &TargetGroupId| self.groups.contains(group.as_str()) || marked.contains(group.as_str());
        match now.groups {
            Some(groups) => Ok(groups.iter().any(rules)),
            None => Ok(fresh.await?.members.contains(account.as_str())),
        }
    }

    /// Refuses to deactivate or delete the last active administrator besides usersync; `active` are the administrators
    /// that can sign in.
    pub fn refuse_last_end(&self, operation: &Operation, active: &HashSet<AccountId>) -> Result<(), TargetError> {
        let Some(account) = ended(operation).filter(|account| active.contains(*account)) else { return Ok(()) };
        if active.iter().any(|other| other != account && other.as_str() != self.own_id) {
            return Ok(());
        }
        Err(unsupported(format!(
            "{operation}: this is the last active administrator besides usersync's own account. Make another user an \
             administrator there first, then: usersync dead replay --all"
        )))
    }
}

/// Returns the account that an operation deactivates or deletes.
pub fn ended(operation: &Operation) -> Option<&AccountId> {
    match operation {
        Operation::DeactivateUser { account, .. }
        | Operation::DeleteUser { account, .. }
        | Operation::AnonymizeUser { account, .. } => Some(account),
        _ => None,
    }
}

/// Refuses an operation on an account that was read again and is protected. The listing could not show that, so the
/// caller re-reads the account.
pub fn refuse_protected(operation: &Operation, account: Option<Account>) -> Result<(), TargetError> {
    let Some(why) = account.and_then(|account| account.protected) else { return Ok(()) };
    Err(error(
        TargetErrorKind::NotFound,
        format!("{operation}: nothing was sent, because the account is protected ({why}). usersync re-reads it."),
    ))
}

/// A cached read of a server's protection, or of other data that applies to all its accounts.
#[derive(Debug)]
pub struct ProtectionCache<T = Protection>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for ProtectionCache<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> ProtectionCache<T> {
    /// Returns the cached value; reads it again when it has expired.
    pub async fn get(&self, read: impl Future<Output = Result<T, TargetError>>) -> Result<Arc<T>, TargetError> {
        let mut cached = self.0.lock().await;
        if let Some((_, known)) = cached.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(read.await?);
        *cached = Some((Instant::now(), Arc::clone(&known)));
        Ok(known)
    }

    /// Discards the cached value.
    pub async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
