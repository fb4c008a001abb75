//! What must not, or cannot, be changed: our own account, administrators and their groups, shadowed accounts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    JiraTarget,
    call::Ask,
    errors::{doubt, not_possible},
    fold,
    wire::{DirectoryAccount, Duplicates, Suggestions, User},
};
use crate::{
    model::{Account, AccountId, Operation, TargetGroupId},
    target::TargetError,
};

/// How long what was read is believed; Jira itself keeps its list of duplicates that long.
const FRESH: Duration = Duration::from_mins(10);

/// What was read, and when.
pub(super) struct Cached {
    at: Instant,
    known: Arc<Protection>,
}

/// What must not, or cannot, be changed on this server.
#[derive(Debug, Default)]
pub(super) struct Protection {
    /// The key of our own account.
    pub own_key: String,
    /// Folded names of the groups whose members are administrators, those that Jira marks so among them.
    pub groups: HashSet<String>,
    /// Of these, those that Jira itself marks.
    marked: HashSet<String>,
    /// Keys of those groups' members, members of sub-groups among them.
    members: HashSet<String>,
    /// Folded logins that settings name.
    users: HashSet<String>,
    /// Folded logins that more than one directory holds, with those directories.
    duplicates: HashMap<String, String>,
}

impl Protection {
    /// Why an account must not be changed.
    pub(super) fn account(&self, key: &str, name: &str, groups: Option<&[TargetGroupId]>) -> Option<String> {
        if key == self.own_key {
            return Some("the account that usersync itself works with".to_owned());
        }
        if self.users.contains(&fold(name)) {
            return Some("named in protected_users".to_owned());
        }
        let group = groups.unwrap_or_default().iter().find(|group| self.groups.contains(group.as_str()));
        if let Some(group) = group {
            return Some(format!("a member of the protected group {group}"));
        }
        self.members.contains(key).then(|| "a member of a protected group".to_owned())
    }

    /// Why an account cannot be changed.
    pub(super) fn immutable(&self, name: &str) -> Option<String> {
        let directories = self.duplicates.get(&fold(name))?;
        Some(format!(
            "its login is in several user directories ({directories}), and Jira would change only one of them; remove \
             the login from all but one"
        ))
    }

    /// Why a group must not be touched.
    pub(super) fn group(&self, name: &str) -> Option<String> {
        self.groups.contains(&fold(name)).then(|| "it makes administrators, or protected_groups names it".to_owned())
    }
}

impl JiraTarget {
    /// What must not be changed, read anew when it is old.
    pub(super) async fn protection(&self, deadline: Option<Timestamp>) -> Result<Arc<Protection>, TargetError> {
        let mut cached = self.protection.lock().await;
        if let Some(cached) = cached.as_ref().filter(|cached| cached.at.elapsed() < FRESH) {
            return Ok(Arc::clone(&cached.known));
        }
        let known = Arc::new(self.read_protection(deadline).await?);
        *cached = Some(Cached { at: Instant::now(), known: Arc::clone(&known) });
        Ok(known)
    }

    /// What must not be changed, read anew.
    pub(super) async fn fresh_protection(&self) -> Result<Arc<Protection>, TargetError> {
        *self.protection.lock().await = None;
        self.protection(None).await
    }

    /// Our own account is never taken from us, whoever planned it.
    pub(super) fn refuse_own_end(&self, operation: &Operation) -> Result<(), TargetError> {
        let ends = matches!(operation, Operation::DeactivateUser { .. } | Operation::DeleteUser { .. });
        let cached = self.protection.try_lock().ok();
        let own = cached.as_ref().and_then(|cached| cached.as_ref()).map(|cached| cached.known.own_key.as_str());
        if ends && own.is_some() && operation.account().map(AccountId::as_str) == own {
            return Err(not_possible(format!("{operation}: this is the account that usersync itself works with.")));
        }
        Ok(())
    }

    /// The last administrator who can still sign in, beside us, is never taken from a Jira, whoever approved it.
    pub(super) async fn refuse_last_administrators_end(
        &self,
        operation: &Operation,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let (Operation::DeactivateUser { account, .. } | Operation::DeleteUser { account, .. }) = operation else {
            return Ok(());
        };
        let protection = self.protection(Some(deadline)).await?;
        if !protection.members.contains(account.as_str()) {
            return Ok(());
        }
        let mut active = HashSet::new();
        for group in &protection.marked {
            let mut cursor = None;
            while let Some(page) = self.members_page(group, false, cursor.as_deref(), Some(deadline)).await? {
                active.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let others = active.iter().any(|other| other != account && other.as_str() != protection.own_key);
        if !active.contains(account) || others {
            return Ok(());
        }
        Err(not_possible(format!(
            "{operation}: this is the last active administrator beside usersync's own account. Make somebody else an \
             administrator in Jira first, then: usersync dead replay --all"
        )))
    }

    /// Our own account.
    pub(super) async fn myself(&self, deadline: Option<Timestamp>) -> Result<Account, TargetError> {
        let me: User = self.read(&Ask::get("/myself", "reading our own account").deadline(deadline)).await?;
        let me = me.into_account(&Protection::default());
        let me = me.ok_or_else(|| doubt("reading our own account: Jira's answer lacks key, name or active."))?;
        self.signed_in_as(&me.name);
        Ok(me)
    }

    async fn read_protection(&self, deadline: Option<Timestamp>) -> Result<Protection, TargetError> {
        let own_key = self.myself(deadline).await?.id.to_string();
        let mut groups: HashSet<String> = self.protected_groups.iter().map(|name| fold(name)).collect();
        let marked = self.marked_groups(deadline).await?;
        groups.extend(marked.iter().cloned());
        let mut members = HashSet::new();
        for group in &groups {
            let mut cursor = None;
            // A default name that this Jira does not have protects nobody.
            while let Some(page) = self.members_page(group, true, cursor.as_deref(), deadline).await? {
                if let Some(why) = page.doubt {
                    return Err(doubt(format!("reading the protected group {group}: {why}.")));
                }
                members.extend(page.items.into_iter().map(|key| key.to_string()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let users = self.protected_users.iter().map(|name| fold(name)).collect();
        let duplicates = self.duplicates(deadline).await?;
        Ok(Protection { own_key, groups, marked, members, users, duplicates })
    }

    /// The groups that Jira itself marks as administrators' in its group picker. The picker may cut its answer off, so
    /// a second look goes by the word that such groups mostly have in their names.
    async fn marked_groups(&self, deadline: Option<Timestamp>) -> Result<HashSet<String>, TargetError> {
        let mut marked = HashSet::new();
        for query in ["", "admin"] {
            let ask = Ask::get("/groups/picker", "reading the administrators' groups")
                .query("query", query)
                .query("maxResults", "1000")
                .deadline(deadline);
            let answer: Suggestions = self.read(&ask).await?;
            let shown = answer.groups.len();
            marked.extend(answer.groups.iter().filter(|group| group.is_admin()).map(|group| fold(&group.name)));
            if answer.total.is_some_and(|total| total <= shown) {
                break;
            }
        }
        Ok(marked)
    }

    /// The logins that several directories hold; none where this Jira (before 8.19) or our rights do not tell.
    async fn duplicates(&self, deadline: Option<Timestamp>) -> Result<HashMap<String, String>, TargetError> {
        let ask = Ask::get("/user/duplicated/list", "reading duplicate accounts").deadline(deadline);
        let answer = self.ask(&ask).await?;
        if matches!(answer.status.as_u16(), 403..=405) {
            return Ok(HashMap::new());
        }
        if !answer.status.is_success() {
            return Err(self.unexpected(&ask, &answer));
        }
        // Entries of another shape are passed over: what is not understood here only loses a warning.
        let all: Duplicates = serde_json::from_slice(&answer.body).unwrap_or_default();
        let entry = |(name, directories): (String, serde_json::Value)| {
            let directories: Vec<DirectoryAccount> = serde_json::from_value(directories).ok()?;
            let names: Vec<_> = directories.into_iter().filter_map(|directory| directory.directory_name).collect();
            (!names.is_empty()).then(|| (fold(&name), names.join(", ")))
        };
        Ok(all.by_login().into_iter().filter_map(entry).collect())
    }
}
