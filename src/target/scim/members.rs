//! Memberships: who is in a group, which groups an account is in, joining and leaving.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ScimTarget,
    change::{TRIES, if_match, overtaken},
    path_of,
    profile::Removal,
    service::Service,
    wire::{Resource, accounts_among, adding, equals, removing_by_filter, removing_by_value},
};
use crate::{
    model::{AccountId, TargetGroupId},
    target::{
        Applied, Page, TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, doubt, error, not_possible},
    },
};

/// What is asked for where `members` has to be.
const WITH_MEMBERS: &str = "displayName,members";
/// Nobody has this id.
const NOBODY: &str = "usersync-nobody";

/// Whether groups can be found by a member: not known, seen to work, seen not to. A server may answer with none, or with
/// all, to a filter that it does not know.
const WORKS: u8 = 1;
const FAILS: u8 = 2;

/// A group's members as they came.
struct Members {
    /// The group.
    group: Resource,
    version: Option<String>,
    all: Vec<Value>,
    doubt: Option<String>,
}

impl Members {
    fn ids(&self) -> Vec<AccountId> {
        accounts_among(&self.all).0
    }
}

/// What came of adding members.
pub(super) enum Added {
    Done,
    /// The server refused the PATCH.
    Refused(Box<Answer>),
}

/// What came of one try to take a member out.
enum Removed {
    Done,
    /// The server took it, and did nothing.
    Ignored,
    Refused(Box<Answer>),
}

impl ScimTarget {
    /// A group's members, all at once.
    pub(super) async fn members_of(
        &self,
        group: &TargetGroupId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        let what = format!("reading the members of {group}");
        let Some(members) = self.read_members(group, &what, false, deadline).await? else { return Ok(None) };
        let (items, unread) = accounts_among(&members.all);
        let unread = (unread > 0).then(|| format!("{unread} members of {group} came without an id"));
        Ok(Some(Page { items, next: None, doubt: members.doubt.or(unread) }))
    }

    /// A group with its members; `whole` with all its other attributes as well.
    async fn read_members(
        &self,
        group: &TargetGroupId,
        what: &str,
        whole: bool,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Members>, TargetError> {
        let service = self.service(deadline).await?;
        let Some(groups) = &service.groups else { return Ok(None) };
        let path = path_of(groups, group.as_str(), what)?;
        let asking = |named: bool| {
            let ask = Ask::get(path.as_str(), what).deadline(deadline);
            if named { ask.query("attributes", WITH_MEMBERS) } else { ask }
        };
        let named = service.ask_members && !whole;
        let Some(read) = self.whole(&asking(named)).await? else { return Ok(None) };
        let mut members = read.resource.list("members");
        if members.is_none() && !named {
            // Some leave them out unless they are asked for.
            let Some(again) = self.whole(&asking(true)).await? else { return Ok(None) };
            members = again.resource.list("members");
        }
        let mut why = None;
        if members.is_none() && !service.profile.on_request {
            why = self.has_hidden_members(&service, group, deadline).await?;
        }
        Ok(Some(Members { group: read.resource, version: read.version, all: members.unwrap_or_default(), doubt: why }))
    }

    /// A group without members looks like one whose members are not told; whether an account says that it is in it.
    async fn has_hidden_members(
        &self,
        service: &Service,
        group: &TargetGroupId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<String>, TargetError> {
        if !service.filter {
            return Ok(None);
        }
        let filter = equals("groups.value", group.as_str());
        let what = format!("reading the members of {group}");
        let ask =
            Ask::get(service.users.as_str(), &what).query("filter", &filter).query("count", "1").deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        // Whatever else comes is no evidence.
        let list = serde_json::from_slice(&answer.body).ok().and_then(super::wire::List::read);
        let list = list.filter(|_| answer.status.is_success());
        let inside = |user: &Resource| user.direct_groups().is_some_and(|groups| groups.contains(group));
        let found = list.is_some_and(|list| list.items.iter().any(inside));
        Ok(found.then(|| format!("{group} came without members, but an account says that it is in it")))
    }

    /// The groups that an account is in; `None` where that cannot be told for certain.
    pub(super) async fn groups_of(
        &self,
        user: &Resource,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Vec<TargetGroupId>>, TargetError> {
        if let Some(groups) = user.direct_groups() {
            if !groups.is_empty() {
                self.learned.tells_groups.store(true, Ordering::Relaxed);
            }
            return Ok(Some(groups));
        }
        let service = self.service(deadline).await?;
        let Some(path) = &service.groups else { return Ok(Some(Vec::new())) };
        // An account without groups mostly comes without the attribute.
        if service.profile.on_request || self.learned.tells_groups.load(Ordering::Relaxed) {
            return Ok(Some(Vec::new()));
        }
        let what = format!("reading the groups of {id}");
        if service.filter && self.learned.member_filter.load(Ordering::Relaxed) != FAILS {
            match self.member_filter_works(path, deadline).await? {
                Some(true) => {
                    let found = self.groups_by_member(path, id.as_str(), deadline).await?;
                    if let Some(found) = found {
                        return Ok(Some(found));
                    }
                }
                Some(false) => {}
                None => return Ok(Some(Vec::new())),
            }
        }
        match self.groups_with_members(path, &what, |members| members.contains(id), deadline).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.class() == crate::model::ErrorClass::Doubt => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether groups can be found by a member, tried once on a membership that is known; `None` if there is no
    /// membership at all.
    async fn member_filter_works(&self, path: &str, deadline: Option<Timestamp>) -> Result<Option<bool>, TargetError> {
        match self.learned.member_filter.load(Ordering::Relaxed) {
            WORKS => return Ok(Some(true)),
            FAILS => return Ok(Some(false)),
            _ => {}
        }
        let works = match self.groups_by_member(path, NOBODY, deadline).await? {
            Some(found) if found.is_empty() => {
                let what = "looking for a group with members";
                let Some((group, member)) = self.any_membership(path, what, deadline).await? else { return Ok(None) };
                let found = self.groups_by_member(path, member.as_str(), deadline).await?;
                found.is_some_and(|found| found.contains(&group))
            }
            _ => false,
        };
        self.learned.member_filter.store(if works { WORKS } else { FAILS }, Ordering::Relaxed);
        Ok(Some(works))
    }

    /// The groups that a filter by member finds; `None` where the server does not know it, or shows less than it counts.
    async fn groups_by_member(
        &self,
        path: &str,
        member: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Vec<TargetGroupId>>, TargetError> {
        let what = format!("reading the groups of {member}");
        let filter = equals("members.value", member);
        let query = [("filter", filter.as_str()), ("excludedAttributes", "members")];
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let slice = match self.slice(path, &what, &query, cursor.as_deref(), deadline).await {
                Ok(slice) if cursor.is_none() && slice.whole => {
                    return Ok(Some(slice.items.iter().filter_map(Resource::id).map(TargetGroupId::from).collect()));
                }
                Ok(slice) => slice,
                Err(error) if error.kind == TargetErrorKind::NotDone(crate::model::ErrorClass::Permanent) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if slice.doubt.is_some() {
                return Ok(None);
            }
            found.extend(slice.items.iter().filter_map(Resource::id).map(TargetGroupId::from));
            cursor = slice.next;
            if cursor.is_none() {
                return Ok(Some(found));
            }
        }
    }

    async fn any_membership(
        &self,
        path: &str,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<(TargetGroupId, AccountId)>, TargetError> {
        let mut cursor = None::<String>;
        loop {
            let slice = self.slice(path, what, &[], cursor.as_deref(), deadline).await?;
            for group in &slice.items {
                let Some(id) = group.id().map(TargetGroupId::from) else { continue };
                let members = self.members_told(group, &id, deadline).await?;
                if let Some(member) = members.into_iter().next() {
                    return Ok(Some((id, member)));
                }
            }
            if let Some(why) = slice.doubt {
                return Err(doubt(format!("{what}: {why}.")));
            }
            cursor = slice.next;
            if cursor.is_none() {
                return Ok(None);
            }
        }
    }

    /// The groups whose members fit, by looking at each.
    async fn groups_with_members(
        &self,
        path: &str,
        what: &str,
        fits: impl Fn(&[AccountId]) -> bool,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let slice = self.slice(path, what, &[], cursor.as_deref(), deadline).await?;
            if let Some(why) = slice.doubt {
                return Err(doubt(format!("{what}: {why}.")));
            }
            for group in &slice.items {
                let Some(id) = group.id().map(TargetGroupId::from) else { continue };
                if fits(&self.members_told(group, &id, deadline).await?) {
                    found.push(id);
                }
            }
            cursor = slice.next;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    /// The members of a group of a list; asked for where the list left them out.
    async fn members_told(
        &self,
        group: &Resource,
        id: &TargetGroupId,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<AccountId>, TargetError> {
        if let Some(members) = group.list("members") {
            return Ok(accounts_among(&members).0);
        }
        let page = self.members_of(id, deadline).await?;
        match page.as_ref().and_then(|page| page.doubt.as_deref()) {
            Some(why) => Err(doubt(format!("reading the members of {id}: {why}."))),
            None => Ok(page.map(|page| page.items).unwrap_or_default()),
        }
    }

    /// Whether an account is in a group; `None` if one of them is gone.
    async fn is_member(
        &self,
        group: &TargetGroupId,
        account: &AccountId,
        deadline: Timestamp,
    ) -> Result<Option<bool>, TargetError> {
        let Some(found) = self.account_by_id(account, Some(deadline)).await? else { return Ok(None) };
        if found.groups.as_ref().is_some_and(|groups| groups.contains(group)) {
            return Ok(Some(true));
        }
        let what = format!("reading the members of {group}");
        match self.read_members(group, &what, false, Some(deadline)).await? {
            None => Ok(None),
            Some(Members { doubt: Some(why), .. }) => Err(doubt(format!("{what}: {why}."))),
            Some(members) => Ok(Some(members.ids().contains(account))),
        }
    }

    /// Adds members by one write. One that somebody else's came before is tried again: nothing was done then.
    pub(super) async fn add_members(
        &self,
        group: &TargetGroupId,
        accounts: &[&AccountId],
        what: &str,
        deadline: Timestamp,
    ) -> Result<Added, TargetError> {
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&self.groups_path(what, Some(deadline)).await?, group.as_str(), what)?;
        let ids: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let mut tries = TRIES;
        while self.patches(&service) {
            let ask = Ask::new(Method::PATCH, path.as_str(), what).deadline(Some(deadline)).json(&adding(&ids))?;
            let answer = self.rest.ask(&ask).await?;
            if answer.status.is_success() {
                return Ok(Added::Done);
            }
            if answer.status == StatusCode::PRECONDITION_FAILED {
                tries -= 1;
                if tries == 0 {
                    return Err(overtaken(what));
                }
            } else if !self.takes_no_patch(&answer) {
                return Ok(Added::Refused(Box::new(answer)));
            }
        }
        let add = |members: &mut Vec<Value>| {
            let (there, _) = accounts_among(members);
            let before = members.len();
            let missing = accounts.iter().filter(|account| !there.contains(**account));
            members.extend(missing.map(|account| json!({ "value": account.as_str() })));
            members.len() > before
        };
        if self.put_members(group, &path, what, add, deadline).await? {
            return Ok(Added::Done);
        }
        Err(error(TargetErrorKind::NotFound, format!("{what}: the group is not there.")))
    }

    /// Adds one member by itself.
    pub(super) async fn add_alone(
        &self,
        group: &TargetGroupId,
        account: &AccountId,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let Added::Refused(answer) = self.add_members(group, &[account], what, deadline).await? else {
            return Ok(Applied::Done);
        };
        match self.is_member(group, account, deadline).await? {
            Some(true) => Ok(Applied::Done),
            None => Err(error(TargetErrorKind::NotFound, format!("{what}: one of them is not there."))),
            Some(false) => Err(self.refused(what, None, &answer)),
        }
    }

    /// Takes a member out. Gone accounts and groups have no members, which is as wished.
    pub(super) async fn remove_member(
        &self,
        group: &TargetGroupId,
        account: &AccountId,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&self.groups_path(what, Some(deadline)).await?, group.as_str(), what)?;
        let mut last = None;
        for form in [Removal::Filter, Removal::Value] {
            let chosen = service.profile.removal;
            if !self.patches(&service) || (chosen != Removal::FindOut && chosen != form) {
                continue;
            }
            let removed = match form {
                Removal::Value if chosen == Removal::FindOut => {
                    self.remove_without_filter(group, account, &path, what, deadline).await?
                }
                Removal::Value => {
                    self.remove_by(removing_by_value(account.as_str()), group, account, &path, what, deadline).await?
                }
                _ => {
                    self.remove_by(removing_by_filter(account.as_str()), group, account, &path, what, deadline).await?
                }
            };
            match removed {
                Removed::Done => return Ok(Applied::Done),
                // Only what the server itself refuses is worth another form.
                Removed::Refused(answer) if !self.rest.said(&answer, None).own => {
                    return Err(self.refused(what, None, &answer));
                }
                other => last = Some(other),
            }
        }
        if self.patches(&service) {
            return Err(match last {
                Some(Removed::Refused(answer)) => self.refused(what, None, &answer),
                _ => not_possible(format!(
                    "{what}: the SCIM server took it, but the account is still a member, and no other form of removing \
                     one member works there. Take it out by hand."
                )),
            });
        }
        self.put_without(group, account, &path, what, deadline).await?;
        Ok(Applied::Done)
    }

    async fn remove_by(
        &self,
        patch: Value,
        group: &TargetGroupId,
        account: &AccountId,
        path: &str,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Removed, TargetError> {
        let ask = Ask::new(Method::PATCH, path, what).deadline(Some(deadline)).json(&patch)?;
        let answer = self.rest.ask(&ask).await?;
        if self.takes_no_patch(&answer) {
            return Ok(Removed::Refused(Box::new(answer)));
        }
        let success = answer.status.is_success();
        if success && self.learned.removal_proven.load(Ordering::Relaxed) {
            return Ok(Removed::Done);
        }
        // Some take what they do not understand, and do nothing.
        let inside = match self.is_member(group, account, deadline).await {
            // A removal that was taken and cannot be looked at may have taken effect or not.
            Err(why) if success => {
                return Err(error(
                    TargetErrorKind::Unanswered,
                    format!("{} Whether {what} was done is found out by looking.", why.text),
                ));
            }
            other => other?,
        };
        if inside != Some(true) {
            if success && inside == Some(false) {
                self.learned.removal_proven.store(true, Ordering::Relaxed);
            }
            return Ok(Removed::Done);
        }
        Ok(if success { Removed::Ignored } else { Removed::Refused(Box::new(answer)) })
    }

    /// Removes where the server takes no filter, and nobody knows what it makes of a value: by the letter of the standard
    /// that takes all members out (RFC 7644, section 3.5.2.2). So the value is used only for the last member, and the
    /// group is written back whole without this one otherwise.
    async fn remove_without_filter(
        &self,
        group: &TargetGroupId,
        account: &AccountId,
        path: &str,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Removed, TargetError> {
        let Some(before) = self.read_members(group, what, false, Some(deadline)).await? else {
            return Ok(Removed::Done);
        };
        if let Some(why) = before.doubt {
            return Err(doubt(format!("{what}: {why}.")));
        }
        if before.ids().iter().all(|id| id == account) {
            return self.remove_by(removing_by_value(account.as_str()), group, account, path, what, deadline).await;
        }
        self.put_without(group, account, path, what, deadline).await.map(|()| Removed::Done)
    }

    /// Writes a group back without this member; one that is gone has no members.
    async fn put_without(
        &self,
        group: &TargetGroupId,
        account: &AccountId,
        path: &str,
        what: &str,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let remove = |members: &mut Vec<Value>| {
            let before = members.len();
            members.retain(|member| !accounts_among(std::slice::from_ref(member)).0.contains(account));
            members.len() < before
        };
        self.put_members(group, path, what, remove, deadline).await.map(drop)
    }

    /// Writes a whole group back with other members; `false` if it is gone. `edit` tells whether there is a change.
    async fn put_members(
        &self,
        group: &TargetGroupId,
        path: &str,
        what: &str,
        edit: impl Fn(&mut Vec<Value>) -> bool,
        deadline: Timestamp,
    ) -> Result<bool, TargetError> {
        // Several workers have members of one group to write, and not every server has versions.
        let _alone = self.whole_group.lock().await;
        for _ in 0..TRIES {
            let Some(read) = self.read_members(group, what, true, Some(deadline)).await? else { return Ok(false) };
            if let Some(why) = read.doubt {
                return Err(doubt(format!("{what}: {why}.")));
            }
            let (mut body, mut members) = (read.group, read.all);
            if !edit(&mut members) {
                return Ok(true);
            }
            body.set("members", Value::Array(members));
            let ask = Ask::new(Method::PUT, path, what).deadline(Some(deadline)).json(&body)?;
            let ask = if_match(ask, read.version);
            let answer = self.rest.ask(&ask).await?;
            match answer.status {
                StatusCode::PRECONDITION_FAILED => {}
                status if status.is_success() => return Ok(true),
                StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::CONFLICT => {
                    return Err(self.refused(what, None, &answer));
                }
                _ => return Err(self.rest.unexpected(&ask, &answer)),
            }
        }
        Err(overtaken(what))
    }
}
