//! What must not be changed (usersync's own account and administrators above all), and what lets accounts sign in.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    BitbucketTarget,
    paging::List,
    wire::{CompleteUser, Permitted, User},
};
use crate::{
    model::{AccountId, ErrorClass, Operation},
    targets::{
        TargetError, TargetErrorKind,
        rest::{Ask, Protection, atlassian, ended, error, fold, unconfirmed},
    },
};

/// Placeholder for a permission that Bitbucket did not name.
const UNNAMED: &str = "unnamed";

/// Whether a global permission grants administrator rights; an unknown permission counts as one that does.
pub(super) fn administers(permission: &str) -> bool {
    !matches!(permission, "LICENSED_USER" | "PROJECT_CREATE")
}

/// Prefix of a licensed group in a record of what lets an account sign in.
pub(super) const GROUP: &str = "group:";
/// Prefix of an account's own global permission in such a record; see [`GROUP`].
pub(super) const PERMISSION: &str = "permission:";

/// Global permissions of groups and users. Any of them lets a user sign in.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Groups by folded name: the name as Bitbucket spells it, and the permission.
    pub groups: HashMap<String, (String, String)>,
    /// Permissions granted to users directly, by account id.
    pub users: HashMap<AccountId, String>,
}

impl Grants {
    /// Returns what lets an account with these groups sign in.
    pub(super) fn access(&self, id: &AccountId, groups: &[String]) -> Vec<String> {
        let licensed = groups.iter().filter(|name| self.groups.contains_key(&fold(name)));
        let mut access: Vec<String> = licensed.map(|name| format!("{GROUP}{name}")).collect();
        access.extend(self.users.get(id).map(|permission| format!("{PERMISSION}{permission}")));
        access.sort_unstable();
        access
    }

    /// Returns the folded names of the groups that grant administrator rights.
    pub(super) fn administrators(&self) -> HashSet<String> {
        let admins = self.groups.iter().filter(|(_, (_, permission))| administers(permission));
        admins.map(|(name, _)| name.clone()).collect()
    }
}

/// Data of the server that applies to all accounts.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub protection: Protection,
    pub grants: Grants,
}

impl BitbucketTarget {
    /// Returns the data that applies to all accounts, re-read when it is stale.
    pub(super) async fn known(&self, deadline: Option<Timestamp>) -> Result<Arc<Known>, TargetError> {
        self.known.get(self.read_known(deadline)).await
    }

    /// Re-reads the data that applies to all accounts.
    pub(super) async fn fresh_known(&self) -> Result<Arc<Known>, TargetError> {
        self.known.forget().await;
        self.known(None).await
    }

    /// Refuses to deactivate or delete usersync's own account, or the last other administrator that can still sign in.
    /// An approval does not override this.
    pub(super) async fn refuse_lockout(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let Some(account) = ended(operation) else { return Ok(()) };
        let deadline = Some(deadline);
        let known = self.known(deadline).await?;
        known.protection.refuse_own_deactivation(operation)?;
        let direct = known.grants.users.get(account).is_some_and(|permission| administers(permission));
        if !direct && !known.protection.members.contains(account.as_str()) {
            return Ok(());
        }
        let mut active = HashSet::new();
        for group in &known.protection.marked {
            let members = self.members_of(group, deadline).await?.0.into_iter();
            active.extend(members.filter(|user| user.active).map(|user| user.id));
        }
        let direct = self.permitted(None, deadline).await?.into_iter();
        let direct = direct.filter(|(_, permission, user)| administers(permission) && user.active == Some(true));
        active.extend(direct.map(|(id, ..)| id));
        known.protection.refuse_last_end(operation, &active)
    }

    /// Refuses to change an account that became an administrator after the last read: it is protected, and the plan did
    /// not know it.
    pub(super) async fn refuse_new_administrator(
        &self,
        what: &str,
        user: &CompleteUser,
        grants: &Grants,
        groups: &[String],
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let direct = grants.users.get(&user.id);
        let by_group =
            groups.iter().filter_map(|name| grants.groups.get(&fold(name))).map(|(_, permission)| permission);
        if !direct.into_iter().chain(by_group).any(|permission| administers(permission)) {
            return Ok(());
        }
        let known = self.known(deadline).await?;
        let id = user.id.as_str();
        if known.protection.members.contains(id) || known.protection.people.contains_key(id) {
            return Ok(());
        }
        self.known.forget().await;
        let text =
            format!("{what}: the account has become an administrator, so nothing was sent. usersync re-reads it.");
        Err(error(TargetErrorKind::NotFound, text))
    }

    /// Reads usersync's own account. Every answer names the user that is signed in.
    pub(super) async fn myself(&self, deadline: Option<Timestamp>) -> Result<CompleteUser, TargetError> {
        let what = "reading usersync's own account";
        let ask = Ask::get("/admin/users", what).query("limit", "1").deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let login = atlassian::caller(&answer).or_else(|| self.login.clone()).ok_or_else(|| {
            unconfirmed(format!(
                "{what}: Bitbucket does not report the token's user (no header X-AUSERNAME). If a proxy removes \
                 headers, configure it to forward them, or sign in with user and password."
            ))
        })?;
        self.rest.signed_in_as(&login);
        let me = self.user_by_login(&login, deadline).await?;
        me.ok_or_else(|| {
            unconfirmed(format!(
                "{what}: Bitbucket reports the signed-in user as {login}, but returns no \
                                              such user."
            ))
        })
    }

    /// Re-reads the global permissions of groups and users.
    pub(super) async fn grants(&self, deadline: Option<Timestamp>) -> Result<Grants, TargetError> {
        let what = "reading the global permissions of groups";
        let lacks = || unconfirmed(format!("{what}: a permission was returned without its group."));
        let all = self.all::<Permitted>(List::new("/admin/permissions/groups", what, deadline)).await?;
        let mut groups = HashMap::new();
        for one in all.unwrap_or_default() {
            let name = one.group.and_then(|group| group.name).ok_or_else(lacks)?;
            groups.insert(fold(&name), (name, one.permission.unwrap_or_else(|| UNNAMED.to_owned())));
        }
        let users = self.permitted(None, deadline).await?;
        Ok(Grants { groups, users: users.into_iter().map(|(id, permission, _)| (id, permission)).collect() })
    }

    /// Returns the users with their own global permission; with `filter`, only those with this text in their login.
    pub(super) async fn permitted(
        &self,
        filter: Option<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<(AccountId, String, User)>, TargetError> {
        let what = "reading the global permissions of users";
        let lacks = || unconfirmed(format!("{what}: a permission was returned without its user's id."));
        let mut list = List::new("/admin/permissions/users", what, deadline);
        if let Some(filter) = filter {
            list = list.filter(filter);
        }
        let all = self.all::<Permitted>(list).await?.unwrap_or_default();
        let each = all.into_iter().map(|one| {
            let user = one.user.ok_or_else(lacks)?;
            let id = user.id.ok_or_else(lacks)?;
            Ok((id.to_string().into(), one.permission.unwrap_or_else(|| UNNAMED.to_owned()), user))
        });
        each.collect()
    }

    /// Returns all members of a group, and why some may be missing; empty if there is no such group.
    pub(super) async fn members_of(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(Vec<CompleteUser>, Option<String>), TargetError> {
        let what = format!("reading the members of {group}");
        let list = List::new("/admin/groups/more-members", &what, deadline).of(group);
        let members = match self.all::<User>(list).await {
            Err(error) if error.class() == ErrorClass::Unconfirmed => return Ok((Vec::new(), Some(error.text))),
            members => members?.unwrap_or_default(),
        };
        let came = members.len();
        let people: Vec<CompleteUser> = members.into_iter().filter_map(User::whole).collect();
        let lost = came - people.len();
        let why = (lost > 0).then(|| format!("{lost} members of {group} were returned without id, name or active"));
        Ok((people, why))
    }

    async fn read_known(&self, deadline: Option<Timestamp>) -> Result<Known, TargetError> {
        let own_id = self.myself(deadline).await?.id.to_string();
        let grants = self.grants(deadline).await?;
        let marked = grants.administrators();
        let mut groups: HashSet<String> = self.frozen_groups.iter().map(|name| fold(name)).collect();
        groups.extend(marked.iter().cloned());
        let (mut members, mut incomplete) = (HashSet::new(), None);
        for group in &groups {
            let (people, why) = self.members_of(group, deadline).await?;
            members.extend(people.into_iter().map(|user| user.id.to_string()));
            incomplete = incomplete.or(why);
        }
        let people = grants.users.iter().filter(|(_, permission)| administers(permission));
        let people = people
            .map(|(id, permission)| (id.to_string(), format!("an administrator (global permission {permission})")));
        let protection = Protection {
            own_id,
            people: people.collect(),
            groups,
            groups_alone: self.protected_groups.iter().map(|name| fold(name)).collect(),
            marked,
            members,
            users: self.protected_users.iter().map(|name| fold(name)).collect(),
            duplicates: HashMap::new(),
            incomplete,
        };
        Ok(Known { protection, grants })
    }
}
