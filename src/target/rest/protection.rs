//! What must not, or cannot, be changed: our own account, administrators and their groups, shadowed accounts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::unsupported;
use crate::{
    model::{AccountId, Operation, TargetGroupId},
    target::{ProtectedGroups, TargetError},
};

/// How long what was read is believed; Jira itself keeps its list of duplicates that long.
const FRESH: Duration = Duration::from_mins(10);

/// Why a group is not touched, nor its members changed.
const FROZEN: &str = "it makes administrators, or frozen_groups names it";
/// Why a group is not touched.
const PROTECTED: &str = "protected_groups names it";

/// The form in which names are compared, where a target does so without regard to case.
pub fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}

/// What must not, or cannot, be changed on a server.
#[derive(Debug, Default)]
pub struct Protection {
    /// The stable id of our own account.
    pub own_id: String,
    /// Folded names of the groups whose members are not changed: administrators', those that the server marks so among
    /// them, and those that `frozen_groups` names.
    pub groups: HashSet<String>,
    /// Folded names of the groups that `protected_groups` names: their members are changed like all others.
    pub groups_alone: HashSet<String>,
    /// Of these, those that the server itself marks.
    pub marked: HashSet<String>,
    /// Stable ids of those groups' members, members of sub-groups among them.
    pub members: HashSet<String>,
    /// Stable ids of further accounts that must not be changed, with why.
    pub people: HashMap<String, String>,
    /// Folded logins that settings name.
    pub users: HashSet<String>,
    /// Why further groups may make administrators; `None`: all that do are known, or the server never tells.
    pub incomplete: Option<String>,
    /// Folded logins that more than one directory holds, with those directories.
    pub duplicates: HashMap<String, String>,
}

impl Protection {
    /// Why an account must not be changed.
    pub fn account(&self, id: &str, name: &str, groups: Option<&[TargetGroupId]>) -> Option<String> {
        if id == self.own_id {
            return Some("the account that usersync itself works with".to_owned());
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

    /// Why an account cannot be changed.
    pub fn immutable(&self, name: &str) -> Option<String> {
        let directories = self.duplicates.get(&fold(name))?;
        Some(format!(
            "its login is in several user directories ({directories}), and only one of them would be changed; remove \
             the login from all but one"
        ))
    }

    /// Why a group must not be touched.
    pub fn group(&self, name: &str) -> Option<String> {
        let name = fold(name);
        let frozen = self.groups.contains(&name).then(|| FROZEN.to_owned());
        frozen.or_else(|| self.groups_alone.contains(&name).then(|| PROTECTED.to_owned()))
    }

    /// All groups that must not be touched.
    pub fn protected_groups(&self) -> ProtectedGroups {
        let named = |names: &HashSet<String>, why: &str| {
            names.iter().map(|name| (name.clone(), why.to_owned())).collect::<Vec<_>>()
        };
        let mut by_name: BTreeMap<String, String> = named(&self.groups_alone, PROTECTED).into_iter().collect();
        by_name.extend(named(&self.groups, FROZEN));
        let left_alone = self.groups_alone.difference(&self.groups).cloned().collect();
        ProtectedGroups { by_name, by_id: BTreeMap::new(), left_alone }
    }

    /// What is never changed, for `usersync check`; nothing where no group is known.
    pub fn told(&self) -> Option<String> {
        let list = |names: &HashSet<String>, what: &str| {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.sort_unstable();
            (!names.is_empty()).then(|| format!("{}: {what}", names.join(", ")))
        };
        let frozen = list(&self.groups, "never changed, nor their members");
        let alone = list(&self.groups_alone, "never changed, but for the users in them");
        frozen.into_iter().chain(alone).reduce(|all, more| format!("{all}; {more}"))
    }

    /// Our own account is never taken from us, whoever planned it.
    pub fn refuse_own_end(&self, operation: &Operation) -> Result<(), TargetError> {
        if ended(operation).is_some_and(|account| account.as_str() == self.own_id) {
            return Err(unsupported(format!("{operation}: this is the account that usersync itself works with.")));
        }
        Ok(())
    }

    /// Refuses to end the last administrator who can still sign in, beside us; `active` are those who can.
    pub fn refuse_last_end(&self, operation: &Operation, active: &HashSet<AccountId>) -> Result<(), TargetError> {
        let Some(account) = ended(operation).filter(|account| active.contains(*account)) else { return Ok(()) };
        if active.iter().any(|other| other != account && other.as_str() != self.own_id) {
            return Ok(());
        }
        Err(unsupported(format!(
            "{operation}: this is the last active administrator beside usersync's own account. Make another user an \
             administrator there first, then: usersync dead replay --all"
        )))
    }
}

/// The account that an operation keeps from signing in.
pub fn ended(operation: &Operation) -> Option<&AccountId> {
    match operation {
        Operation::DeactivateUser { account, .. } | Operation::DeleteUser { account, .. } => Some(account),
        _ => None,
    }
}

/// What was read of a server's protection, or of whatever else holds for all its accounts; believed for a while.
#[derive(Debug)]
pub struct ProtectionCache<T = Protection>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for ProtectionCache<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> ProtectionCache<T> {
    /// What must not be changed, read anew when it is old.
    pub async fn get(&self, read: impl Future<Output = Result<T, TargetError>>) -> Result<Arc<T>, TargetError> {
        let mut cached = self.0.lock().await;
        if let Some((_, known)) = cached.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(read.await?);
        *cached = Some((Instant::now(), Arc::clone(&known)));
        Ok(known)
    }

    /// Has it read anew the next time.
    pub async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
