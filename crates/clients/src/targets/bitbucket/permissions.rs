//! Global permissions of groups and users: what lets an account sign in, and what grants administrator rights.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    BitbucketTarget,
    paging::List,
    wire::{Permitted, User},
};
use crate::{
    model::AccountId,
    targets::{
        TargetError,
        rest::{Ask, fold, unconfirmed},
    },
};

/// Placeholder for a permission that Bitbucket did not name.
const UNNAMED: &str = "unnamed";

/// Global permissions in ascending order; each includes those before it.
pub(super) const RANKS: [&str; 4] = ["LICENSED_USER", "PROJECT_CREATE", "ADMIN", "SYS_ADMIN"];

/// Prefix of a licensed group in a record of what lets an account sign in.
pub(super) const GROUP: &str = "group:";
/// Prefix of an account's own global permission in such a record; see [`GROUP`].
pub(super) const PERMISSION: &str = "permission:";

/// Whether a global permission grants administrator rights; an unknown permission counts as one that does.
pub(super) fn administers(permission: &str) -> bool {
    !matches!(permission, "LICENSED_USER" | "PROJECT_CREATE")
}

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

impl BitbucketTarget {
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

    /// Grants a global permission to a user.
    pub(super) async fn grant(
        &self,
        what: &str,
        login: &str,
        permission: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let ask = Ask::new(Method::PUT, "/admin/permissions/users", what)
            .query("name", login)
            .query("permission", permission)
            .login(login)
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await;
        self.known.forget().await;
        let answer = answer?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused_access(&ask, &answer, deadline).await) }
    }

    /// Revokes a user's own global permission. Succeeds if the user has none.
    pub(super) async fn revoke(
        &self,
        what: &str,
        account: &AccountId,
        login: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let ask = Ask::new(Method::DELETE, "/admin/permissions/users", what)
            .query("name", login)
            .login(login)
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await;
        self.known.forget().await;
        let answer = answer?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let own = self.rest.said(&answer, Some(login)).own;
        // A success other than 204 is not Bitbucket's: a proxy may have answered.
        let undocumented = answer.status.is_success();
        if undocumented || (own && answer.status == StatusCode::NOT_FOUND) {
            let permitted = self.permitted(Some(login), deadline).await?;
            if permitted.iter().all(|(id, ..)| id != account) {
                return Ok(());
            }
        }
        if undocumented {
            let code = answer.status.as_u16();
            let text = format!(
                "{what}: Bitbucket answered {code} instead of 204, and {login} still has its global permission. A \
                 proxy may have answered the DELETE itself. Configure it to forward DELETE."
            );
            return Err(unconfirmed(text));
        }
        let hint = "Revoke its global permission manually, or grant usersync's account SYS_ADMIN.";
        Err(self.refused_write(&ask, &answer, hint))
    }
}
