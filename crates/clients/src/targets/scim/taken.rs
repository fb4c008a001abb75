//! Names and addresses that the server reports as taken: whether another object has them.

use std::collections::HashMap;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    ScimTarget,
    wire::{List, Resource, equals},
};
use crate::{
    model::{AccountId, TargetGroupId},
    targets::{
        TargetError,
        http::Answer,
        rest::{Ask, fold, group_name_taken, unsupported},
    },
};

/// Maximum number of kept names that the server's filter does not find.
const SPELLED: usize = 10_000;

impl ScimTarget {
    /// Whether another account has a login that the server reports as taken. If the filter finds none, the whole list
    /// is searched case-insensitively, because the filter may be case-sensitive although logins are not.
    pub(super) async fn is_login_taken(
        &self,
        name: &str,
        own: Option<&AccountId>,
        deadline: Timestamp,
    ) -> Result<bool, TargetError> {
        let what = format!("reading {name}");
        let service = self.service(Some(deadline)).await?;
        let other = |user: &Resource| user.id().as_deref() != own.map(AccountId::as_str);
        let found = self.find_by(&service.users, &what, ("userName", name), fold, &[], Some(deadline)).await?;
        if found.iter().any(other) {
            return Ok(true);
        }
        let fits =
            |user: &Resource| other(user) && user.text("userName").is_some_and(|login| fold(&login) == fold(name));
        let found = self.look_through(&service.users, &what, fits, &[], Some(deadline)).await?;
        let id = found.first().and_then(Resource::id);
        let taken = id.is_some();
        if let Some(id) = id {
            keep_spelled(&self.learned.accounts_spelled, name, id);
        }
        Ok(taken)
    }

    /// Refuses to create an account with the address of another account. The server itself reports a taken login.
    pub(super) async fn refuse_taken_address(
        &self,
        what: &str,
        name: &str,
        email: &str,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let service = self.service(Some(deadline)).await?;
        let filter = equals("emails.value", email);
        let ask = Ask::get(service.users.as_str(), what).query("filter", &filter).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let holders = serde_json::from_slice(&answer.body).ok().and_then(List::read);
        let holders = holders.filter(|_| answer.status.is_success()).map(|list| list.items).unwrap_or_default();
        let held = |user: &&Resource| user.email().is_some_and(|one| fold(&one) == fold(email));
        match holders.iter().find(held).and_then(|user| user.text("userName")) {
            Some(holder) if fold(&holder) != fold(name) => Err(unsupported(format!(
                "{what}: {holder} has the same e-mail address there. Change it for one of the two."
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the error for a group name that the server reports as taken. The whole list is searched
    /// case-insensitively, because the filter may be case-sensitive although names are not.
    pub(super) async fn group_name_taken(
        &self,
        what: &str,
        name: &str,
        own: Option<&TargetGroupId>,
        answer: &Answer,
        deadline: Timestamp,
    ) -> Result<TargetError, TargetError> {
        let path = self.groups_path(what, Some(deadline)).await?;
        let case = self.service(Some(deadline)).await?.profile.group_case;
        let said = self.rest.said(answer, None);
        let fits = |group: &Resource| {
            group.id().as_deref() != own.map(TargetGroupId::as_str)
                && group.text("displayName").is_some_and(|known| fold(&known) == fold(name))
        };
        let query = [("excludedAttributes", "members")];
        let found = self.look_through(&path, what, fits, &query, Some(deadline)).await?;
        let same =
            |group: &&Resource| group.text("displayName").is_some_and(|known| case.fold(&known) == case.fold(name));
        if let Some(id) = found.iter().find(same).and_then(Resource::id) {
            keep_spelled(&self.learned.groups_spelled, name, id);
            return Ok(group_name_taken(what, &said));
        }
        let why = match found.first().and_then(|group| group.text("displayName")) {
            Some(other) => format!("there is a group {other}, which differs only in case"),
            None => "it returns no group with this name".to_owned(),
        };
        Ok(unsupported(format!(
            "{what}: the SCIM server reports the name as taken{}, but {why}. Free the name there, or give the group \
             another one.",
            said.quoted()
        )))
    }
}

/// Records the id of an object that the server's filter does not find by name.
fn keep_spelled(names: &Mutex<HashMap<String, String>>, name: &str, id: String) {
    let mut names = names.lock();
    if names.len() >= SPELLED {
        names.clear();
    }
    names.insert(fold(name), id);
}
