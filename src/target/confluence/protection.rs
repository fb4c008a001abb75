//! What must not be changed: our own account, administrators and their groups.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use super::{
    ConfluenceTarget,
    rights::place,
    wire::{GlobalPermission, User},
};
use crate::{
    model::{Account, AccountId, ErrorClass, Operation},
    target::{
        TargetError,
        rest::{Ask, Protection, doubt, ended, fold, not_done, segment},
    },
};

/// The group whose members administer every Confluence.
pub(super) const ADMINISTRATORS: &str = "confluence-administrators";

impl ConfluenceTarget {
    /// What must not be changed, read anew when it is old.
    pub(super) async fn protection(&self, deadline: Option<Timestamp>) -> Result<Arc<Protection>, TargetError> {
        self.protection.get(self.read_protection(deadline)).await
    }

    /// What must not be changed, read anew.
    pub(super) async fn fresh_protection(&self) -> Result<Arc<Protection>, TargetError> {
        self.protection.forget().await;
        self.protection(None).await
    }

    /// Our own account, and the last administrator who can still sign in beside us, are never taken from a Confluence,
    /// whoever approved it.
    pub(super) async fn refuse_fatal_end(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let Some(account) = ended(operation) else { return Ok(()) };
        let protection = self.protection(Some(deadline)).await?;
        protection.refuse_own_end(operation)?;
        // What was read a while ago does not know who became an administrator since.
        if !protection.members.contains(account.as_str()) {
            let Some(now) = self.account_by_key(account, Some(deadline)).await? else { return Ok(()) };
            let administers = match now.groups {
                Some(groups) => groups.iter().any(|group| protection.groups.contains(group.as_str())),
                None => self.fresh_protection().await?.members.contains(account.as_str()),
            };
            if !administers {
                return Ok(());
            }
        }
        let mut active = HashSet::new();
        for group in &protection.marked {
            let members = self.all_members(group, Some(deadline)).await?;
            let able = members.into_iter().filter(|user| user.active() == Some(true));
            active.extend(able.filter_map(|user| user.key.map(AccountId::from)));
        }
        protection.refuse_last_end(operation, &active)
    }

    /// Our own account.
    pub(super) async fn myself(&self, deadline: Option<Timestamp>) -> Result<Account, TargetError> {
        let what = "reading our own account";
        let mut me: User = self.rest.read(&Ask::get("/user/current", what).deadline(deadline)).await?;
        // It has just signed in.
        me.status = Some("current".to_owned());
        let me = me.into_account(&Protection::default(), None);
        let me = me.ok_or_else(|| doubt(format!("{what}: Confluence's answer lacks the user's key or login.")))?;
        self.rest.signed_in_as(&me.name);
        Ok(me)
    }

    async fn read_protection(&self, deadline: Option<Timestamp>) -> Result<Protection, TargetError> {
        let own_id = self.myself(deadline).await?.id.to_string();
        let mut groups: HashSet<String> = self.protected_groups.iter().map(|name| fold(name)).collect();
        let (marked, _) = self.marked_groups(&own_id, deadline).await?;
        groups.extend(marked.iter().cloned());
        let mut members = HashSet::new();
        for group in &groups {
            if place("", group).is_err() {
                return Err(not_done(
                    ErrorClass::Permanent,
                    format!(
                        "protected_groups: the members of {group} cannot be read, since Confluence's paths carry no \
                         slash. Name its members in protected_users instead."
                    ),
                ));
            }
            members.extend(self.all_members(group, deadline).await?.into_iter().filter_map(|user| user.key));
        }
        let users = self.protected_users.iter().map(|name| fold(name)).collect();
        Ok(Protection { own_id, groups, marked, members, users, ..Protection::default() })
    }

    /// The groups that are known to make administrators, and whether we are in one of them. Confluence has no list of
    /// them, but one of our own groups must be such a one.
    pub(super) async fn marked_groups(
        &self,
        own_id: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(HashSet<String>, bool), TargetError> {
        let own = self.groups_of(own_id, "reading our own groups", deadline).await?.unwrap_or_default();
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

    /// Whether a group makes administrators; `None` where this Confluence, or our rights, do not tell.
    pub(super) async fn makes_administrators(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<bool>, TargetError> {
        let what = format!("reading the permissions of {group}");
        let ask = Ask::get(format!("/permissions/group/{}", segment(group)), &what).deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let permissions: Option<Vec<GlobalPermission>> = serde_json::from_slice(&answer.body).ok();
        Ok(permissions.map(|all| all.iter().any(GlobalPermission::administers)))
    }

    /// Everybody in a protected group; nobody if there is no such group.
    async fn all_members(&self, group: &str, deadline: Option<Timestamp>) -> Result<Vec<User>, TargetError> {
        let mut members = Vec::new();
        let mut at = 0;
        // A default name that this Confluence does not have protects nobody.
        while let Some(page) = self.members_page(group, at, deadline).await? {
            let (next, why) = page.next(at);
            if let Some(why) = why {
                return Err(doubt(format!("reading the protected group {group}: {why}.")));
            }
            members.extend(page.results.into_iter().filter(User::known));
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(members)
    }
}
