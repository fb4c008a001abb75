//! Reads of memberships: members of a group, and groups of an account.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    ScimTarget,
    discovery::{Service, path_of},
    forms::Shown,
    learned::HIDDEN,
    wire::{List, Resource, accounts_among, equals},
};
use crate::{
    model::{AccountId, ErrorClass, TargetGroupId},
    targets::{
        Memberships, Page, TargetError, TargetErrorKind,
        rest::{Ask, members_lacking, unconfirmed},
    },
};

/// Attributes requested if `members` must be requested explicitly.
const WITH_MEMBERS: &str = "displayName,members";
/// Maximum number of groups that are read one by one instead of by a list of all.
const FEW: usize = 3;
/// Number of groups read concurrently for an account's memberships.
const SIDE_BY_SIDE: usize = 4;
/// Maximum number of groups read to find one with members.
pub(super) const MAX_GROUPS_READ: usize = 10;
/// An id that no account has.
const UNKNOWN_ID: &str = "usersync-nobody";

/// Whether a filter finds groups by member: unknown, works, or fails. A server may answer an unsupported filter with no
/// group or with all.
const WORKS: u8 = 1;
const FAILS: u8 = 2;

/// A group's members as the server returned them.
pub(super) struct Members {
    /// The group.
    pub group: Resource,
    pub version: Option<String>,
    pub all: Vec<Value>,
    /// Why members may be missing; `None`: complete.
    pub incomplete: Option<String>,
}

impl Members {
    pub(super) fn ids(&self) -> Vec<AccountId> {
        accounts_among(&self.all).0
    }
}

impl ScimTarget {
    /// Returns all members of a group at once.
    pub(super) async fn members_of(
        &self,
        group: &TargetGroupId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        if self.learned.is_just_created(group) {
            return Ok(Some(Page { items: Vec::new(), next: None, incomplete: None }));
        }
        let what = format!("reading the members of {group}");
        let Some(members) = self.read_members(group, &what, false, deadline).await? else { return Ok(None) };
        let (items, unread) = accounts_among(&members.all);
        let unread = members_lacking(unread, group.as_str(), "an id");
        Ok(Some(Page { items, next: None, incomplete: members.incomplete.or(unread) }))
    }

    /// Reads a group with its members; with `whole`, also with all its other attributes.
    pub(super) async fn read_members(
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
        let Some(read) = self.whole(&asking(named), &path, deadline).await? else { return Ok(None) };
        let mut members = read.resource.list("members");
        if members.is_none() && self.learned.is_just_created(group) {
            return Ok(Some(Members {
                group: read.resource,
                version: read.version,
                all: Vec::new(),
                incomplete: None,
            }));
        }
        if members.is_none() && !named {
            // Some servers omit members unless they are requested.
            let Some(again) = self.whole(&asking(true), &path, deadline).await? else { return Ok(None) };
            members = again.resource.list("members");
        }
        let mut all = members.unwrap_or_default();
        let mut why = None;
        if !all.is_empty() {
            if self.learned.members_shown() == Shown::Never {
                self.forget_observed(HIDDEN);
            }
            self.learned.set_shown(Shown::Alone);
        } else if !service.profile.on_request {
            let shown = self.learned.members_shown();
            if shown != Shown::Alone {
                all = self.members_in_list(&service, group, &read.resource, deadline).await?;
            }
            if !all.is_empty() {
                self.learned.set_shown(Shown::InLists);
            } else if shown == Shown::Never {
                why = Some(format!("the SCIM server does not return the members of {group}"));
            } else {
                why = self.has_hidden_members(&service, group, deadline).await?;
            }
        }
        Ok(Some(Members { group: read.resource, version: read.version, all, incomplete: why }))
    }

    /// Reads the members of a group from a list of groups, if the group itself shows none.
    async fn members_in_list(
        &self,
        service: &Service,
        group: &TargetGroupId,
        resource: &Resource,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<Value>, TargetError> {
        let (Some(path), Some(name)) = (service.groups.as_deref(), resource.text("displayName")) else {
            return Ok(Vec::new());
        };
        if !service.filter {
            return Ok(Vec::new());
        }
        let (filter, what) = (equals("displayName", &name), format!("reading the members of {group}"));
        let ask = Ask::get(path, &what).query("filter", &filter).deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        let list = serde_json::from_slice(&answer.body).ok().and_then(List::read);
        let found = list.filter(|_| answer.status.is_success()).map(|list| list.items).unwrap_or_default();
        let found = found.into_iter().find(|one| one.id().as_deref() == Some(group.as_str()));
        Ok(found.and_then(|one| one.list("members")).unwrap_or_default())
    }

    /// Checks whether an account lists a group that was returned without members, because its members may be hidden.
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
        // No other answer is evidence.
        let list = serde_json::from_slice(&answer.body).ok().and_then(List::read);
        let list = list.filter(|_| answer.status.is_success());
        let inside = |user: &Resource| user.direct_groups().is_some_and(|groups| groups.contains(group));
        let found = list.is_some_and(|list| list.items.iter().any(inside));
        Ok(found.then(|| format!("{group} was returned without members, but an account lists it")))
    }

    /// Returns the groups that an account itself shows. `None`: it shows none, possibly because the server never does.
    pub(super) fn shown_groups(&self, service: &Service, user: &Resource) -> Option<Vec<TargetGroupId>> {
        // Some servers always return an empty list.
        if let Some(groups) = user.direct_groups().filter(|groups| !groups.is_empty()) {
            self.learned.accounts_show_groups.store(true, Ordering::Relaxed);
            return Some(groups);
        }
        // An account without groups usually lacks the attribute.
        let none = service.groups.is_none() || service.profile.on_request || self.accounts_show_groups();
        none.then(Vec::new)
    }

    /// Whether accounts were seen to show their groups.
    pub(super) fn accounts_show_groups(&self) -> bool {
        self.learned.accounts_show_groups.load(Ordering::Relaxed)
    }

    /// Returns those of the given groups that contain an account. It uses a filter for groups by member if that works.
    /// Otherwise it uses the list of groups, if several are requested and the list shows members, or each group itself.
    pub(super) async fn memberships_among(
        &self,
        account: &AccountId,
        groups: &BTreeSet<TargetGroupId>,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        let service = self.service(None).await?;
        let Some(path) = service.groups.as_deref().filter(|_| !groups.is_empty()) else { return Ok(Vec::new()) };
        let known = self.learned.member_filter.load(Ordering::Relaxed);
        if service.filter
            && known != FAILS
            && (known == WORKS || groups.len() > FEW)
            && self.member_filter_works(path, None).await? == Some(true)
            && let Some(found) = self.groups_by_member(path, account.as_str(), None).await?
        {
            return Ok(found.into_iter().filter(|group| groups.contains(group)).collect());
        }
        let listed = if groups.len() > FEW { self.listed_members(groups).await? } else { None };
        let listed = listed.unwrap_or_default().ids;
        let read = |group: TargetGroupId| {
            let listed = listed.get(&group).map(|members| members.contains(account));
            async move {
                let inside = match listed {
                    Some(inside) => inside,
                    None => self.members_alone(&group, None).await?.contains(account),
                };
                Ok(inside.then_some(group))
            }
        };
        let found: Vec<Option<TargetGroupId>> =
            stream::iter(groups.iter().cloned().map(read)).buffered(SIDE_BY_SIDE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads the members of these groups from a list of all groups, in pages; `None` if the list shows none. A member
    /// missing from the list is read again before anything depends on it.
    pub(super) async fn listed_members(
        &self,
        groups: &BTreeSet<TargetGroupId>,
    ) -> Result<Option<Memberships>, TargetError> {
        let service = self.service(None).await?;
        let Some(path) = service.groups.as_deref().filter(|_| !self.learned.lists_hide.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let query: &[_] = if service.ask_members { &[("attributes", WITH_MEMBERS)] } else { &[] };
        let (mut reported, mut cursor, mut shows) = (Memberships::default(), None::<String>, false);
        loop {
            let slice = self.slice(path, "reading the members of all groups", query, cursor.as_deref(), None).await?;
            if slice.incomplete.is_some() {
                return Ok(None);
            }
            for group in &slice.items {
                let Some(id) = group.id().map(TargetGroupId::from) else { continue };
                let (members, unread) = accounts_among(&group.list("members").unwrap_or_default());
                shows |= !members.is_empty();
                // A list may omit the members of some groups, so a group that looks empty is read alone.
                if unread == 0 && !members.is_empty() && groups.contains(&id) {
                    reported.ids.insert(id, members);
                }
            }
            cursor = slice.next;
            if cursor.is_none() {
                break;
            }
        }
        if !shows {
            // All groups may be empty. Lists count as unsuitable only if single groups have shown members.
            let any = self.learned.members_shown() == Shown::Alone;
            self.learned.lists_hide.store(any, Ordering::Relaxed);
            return Ok(None);
        }
        Ok(Some(reported))
    }

    /// Whether a filter finds groups by member, tested once on a known membership; `None` if there is no membership.
    async fn member_filter_works(&self, path: &str, deadline: Option<Timestamp>) -> Result<Option<bool>, TargetError> {
        match self.learned.member_filter.load(Ordering::Relaxed) {
            WORKS => return Ok(Some(true)),
            FAILS => return Ok(Some(false)),
            _ => {}
        }
        let works = match self.groups_by_member(path, UNKNOWN_ID, deadline).await? {
            Some(found) if found.is_empty() => {
                let what = "searching for a group with members";
                let any = self.any_membership(path, what, MAX_GROUPS_READ, deadline).await?;
                let Some((group, member)) = any else { return Ok(None) };
                let found = self.groups_by_member(path, member.as_str(), deadline).await?;
                found.is_some_and(|found| found.contains(&group))
            }
            _ => false,
        };
        self.learned.member_filter.store(if works { WORKS } else { FAILS }, Ordering::Relaxed);
        Ok(Some(works))
    }

    /// Returns the groups that a filter by member finds. `None`: the filter is unsupported, or the server shows fewer
    /// groups than it counts.
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
                Err(error) if error.kind == TargetErrorKind::NotDone(ErrorClass::Permanent) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if slice.incomplete.is_some() {
                return Ok(None);
            }
            found.extend(slice.items.iter().filter_map(Resource::id).map(TargetGroupId::from));
            cursor = slice.next;
            if cursor.is_none() {
                return Ok(Some(found));
            }
        }
    }

    /// Returns a membership of any group. Reads at most `at_most` groups one by one if the list omits their members.
    pub(super) async fn any_membership(
        &self,
        path: &str,
        what: &str,
        mut at_most: usize,
        deadline: Option<Timestamp>,
    ) -> Result<Option<(TargetGroupId, AccountId)>, TargetError> {
        let mut cursor = None::<String>;
        loop {
            let slice = self.slice(path, what, &[], cursor.as_deref(), deadline).await?;
            for group in &slice.items {
                let Some(id) = group.id().map(TargetGroupId::from) else { continue };
                let listed = group.list("members").filter(|members| !members.is_empty());
                let members = match listed {
                    Some(members) => accounts_among(&members).0,
                    None if at_most == 0 => return Ok(None),
                    None => {
                        at_most -= 1;
                        self.members_alone(&id, deadline).await?
                    }
                };
                if let Some(member) = members.into_iter().next() {
                    return Ok(Some((id, member)));
                }
            }
            if let Some(why) = slice.incomplete {
                return Err(unconfirmed(format!("{what}: {why}.")));
            }
            cursor = slice.next;
            if cursor.is_none() {
                return Ok(None);
            }
        }
    }

    /// Reads the members of a single group.
    async fn members_alone(
        &self,
        id: &TargetGroupId,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<AccountId>, TargetError> {
        let page = self.members_of(id, deadline).await?;
        match page.as_ref().and_then(|page| page.incomplete.as_deref()) {
            Some(why) => Err(unconfirmed(format!("reading the members of {id}: {why}."))),
            None => Ok(page.map(|page| page.items).unwrap_or_default()),
        }
    }

    /// Whether the group contains an account; `None` if the group no longer exists.
    pub(super) async fn is_member(
        &self,
        group: &TargetGroupId,
        account: &AccountId,
        deadline: Timestamp,
    ) -> Result<Option<bool>, TargetError> {
        let what = format!("reading the members of {group}");
        match self.read_members(group, &what, false, Some(deadline)).await? {
            None => Ok(None),
            Some(Members { incomplete: Some(why), .. }) => Err(unconfirmed(format!("{what}: {why}."))),
            Some(members) => Ok(Some(members.ids().contains(account))),
        }
    }
}
