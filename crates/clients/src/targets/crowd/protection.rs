//! Accounts and groups that must not be changed: administrators, their groups, and what the settings name. A Crowd
//! application has no account of its own.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    CrowdTarget,
    paging::{MAX_LIST_READS, Place},
    settings::ADMINISTRATORS,
    wire::User,
};
use crate::{
    model::{AccountId, ErrorClass, Operation},
    targets::{
        TargetError, TargetErrorKind, Writes,
        rest::{Ask, Protection, administrators_unconfirmed, ended, fold, refuse_protected},
    },
};

#[async_trait]
impl Writes for CrowdTarget {
    async fn check_protection(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        self.refuse_unseen_administrator(operation, deadline).await?;
        self.refuse_lockout(operation, deadline).await
    }
}

impl CrowdTarget {
    /// Returns what must not be changed; reads it again when the cached copy has expired.
    pub(super) async fn protection(&self, deadline: Option<Timestamp>) -> Result<Arc<Protection>, TargetError> {
        self.protection.get(self.read_protection(deadline)).await
    }

    /// Reads what must not be changed, past the cache.
    pub(super) async fn fresh_protection(&self) -> Result<Arc<Protection>, TargetError> {
        self.protection.forget().await;
        self.protection(None).await
    }

    /// Refuses to deactivate or delete the last active member of an administrators' group, even with an approval. One
    /// Crowd serves several products, so each of these groups counts by itself.
    async fn refuse_lockout(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let Some(account) = ended(operation) else { return Ok(()) };
        let protection = self.protection(Some(deadline)).await?;
        let read = Box::pin(self.account_by_id(account, Some(deadline)));
        let fresh = Box::pin(self.fresh_protection());
        if !protection.administers(account, &protection.marked, read, fresh).await? {
            return Ok(());
        }
        for group in &protection.marked {
            let (members, why) = match self.all_members(group, Some(deadline)).await {
                Err(error) if is_unreadable(&error) => (Vec::new(), Some(error.text)),
                read => read?.unwrap_or_default(),
            };
            // The missing member may be this account.
            if let Some(why) = why {
                return Err(administrators_unconfirmed(operation, &why));
            }
            let active: HashSet<AccountId> =
                members.iter().filter(|user| user.active == Some(true)).filter_map(User::id).collect();
            protection.refuse_last_end(operation, &active)?;
        }
        Ok(())
    }

    /// Refuses to update or rename an account that is protected in a way that the listing could not show. The caller
    /// then reads it again. Operations that remove access are read again in any case.
    async fn refuse_unseen_administrator(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let (Operation::UpdateUser { account: id, .. } | Operation::RenameUser { account: id, .. }) = operation else {
            return Ok(());
        };
        let protection = self.protection(Some(deadline)).await?;
        if protection.incomplete.is_none() || protection.account(id.as_str(), "", None).is_some() {
            return Ok(());
        }
        refuse_protected(operation, self.account_by_id(id, Some(deadline)).await?)
    }

    async fn read_protection(&self, deadline: Option<Timestamp>) -> Result<Protection, TargetError> {
        let settings = &self.settings;
        let mut protection = Protection::configured(&settings.protection);
        protection.groups.extend(ADMINISTRATORS.map(str::to_owned));
        for group in protection.groups.clone() {
            let read = self.all_members(&group, deadline).await;
            // A name that this Crowd does not have protects no account.
            if matches!(read, Ok(None)) {
                continue;
            }
            if ADMINISTRATORS.contains(&group.as_str()) {
                protection.marked.insert(group.clone());
            }
            let (users, why) = match read {
                // Its members stay protected: each account shows its own groups.
                Err(error) if is_unreadable(&error) => {
                    protection.incomplete = Some(error.text);
                    continue;
                }
                read => read?.unwrap_or_default(),
            };
            protection.incomplete = protection.incomplete.or(why);
            protection.members.extend(users.iter().filter_map(User::id).map(|id| id.to_string()));
            match self.child_groups(&group, deadline).await {
                Ok(children) => protection.groups.extend(children),
                Err(error) if is_unreadable(&error) => protection.incomplete = Some(error.text),
                Err(error) => return Err(error),
            }
        }
        Ok(protection)
    }

    /// Returns all members of a group and its sub-groups, and why some may be missing; `None` if there is no such group.
    /// An account that was a member at any time during the read counts.
    async fn all_members(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<(Vec<User>, Option<String>)>, TargetError> {
        let (mut members, mut incomplete) = (Vec::new(), None);
        for _ in 0..MAX_LIST_READS {
            incomplete = None;
            let mut place = Place::default();
            loop {
                let Some(page) = self.members_of("/group/user/nested", group, &place, deadline).await? else {
                    return Ok(None);
                };
                members.extend(page.users);
                let unreadable =
                    (page.unreadable > 0).then(|| format!("unreadable members of {group}: {}", page.unreadable));
                incomplete = incomplete.or(page.incomplete).or(unreadable);
                match page.next {
                    Some(next) => place = next,
                    None => break,
                }
            }
            if incomplete.is_none() {
                break;
            }
        }
        Ok(Some((members, incomplete)))
    }

    /// Returns the folded names of all groups nested in a group. Their members have all rights of the outer group.
    async fn child_groups(&self, group: &str, deadline: Option<Timestamp>) -> Result<Vec<String>, TargetError> {
        let what = format!("reading the groups in {group}");
        let ask = || Ask::get("/group/child-group/nested", &what).query("groupname", group).deadline(deadline);
        let mut children = Vec::new();
        for _ in 0..MAX_LIST_READS {
            let groups = self.walk_groups(ask).await?;
            children.extend(groups.names.iter().map(|name| fold(name)));
            if !groups.moved {
                break;
            }
        }
        Ok(children)
    }
}

/// Whether an answer came that carries no information, for example a refusal without a reason.
fn is_unreadable(error: &TargetError) -> bool {
    error.class() == ErrorClass::Unconfirmed || error.kind == TargetErrorKind::NotFound
}
