//! Complete lists: all accounts page by page, groups at once.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use reqwest::StatusCode;

use super::{
    CrowdTarget,
    dialect::reason,
    paging::{PAGE, Place},
    wire::{Groups, Users},
};
use crate::{
    model::{Account, ErrorClass},
    targets::{
        Page, TargetError,
        rest::{Ask, not_done},
    },
};

/// A list of groups, read to its end.
#[derive(Default)]
pub(super) struct Walked {
    /// The names of the groups.
    pub names: Vec<String>,
    /// Whether the list changed during the read, so that groups may be missing.
    pub moved: bool,
}

impl CrowdTarget {
    /// Returns one page of all accounts, inactive ones included.
    pub(super) async fn list_accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        let what = "listing all accounts";
        let protection = if cursor.is_none() { self.fresh_protection().await? } else { self.protection(None).await? };
        let place = Place::read(cursor).ok_or_else(|| not_done(ErrorClass::Bug, format!("{what}: invalid cursor.")))?;
        let from = place.from.to_string();
        let expand = if self.attributes.is_empty() { "user" } else { "user,attributes" };
        let ask = Ask::get("/search", what)
            .query("entity-type", "user")
            .query("restriction", "")
            .query("start-index", &from)
            .query("max-results", PAGE)
            .query("expand", expand);
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.refused_read(&ask, &answer));
        }
        let page: Users = self.rest.parse(&ask, &answer)?;
        let reported_list = page.users.reported;
        let brought = place.take(page.users.into_iter().collect(), |user| user.name.as_deref());
        let (users, unknown) = self.complete(brought.items).await?;
        // A list that does not expand attributes may show every account without any.
        if users
            .iter()
            .any(|user| self.attributes.iter().any(|name| user.attribute(name).is_some_and(|one| !one.is_empty())))
        {
            self.lists_attributes.store(true, Ordering::Relaxed);
        }
        let reported = self.lists_attributes.load(Ordering::Relaxed);
        let account = |user| {
            let account = self.account_in(user, &protection, None)?;
            Some(if reported { account } else { Account { attributes: BTreeMap::new(), ..account } })
        };
        let items = users.into_iter().filter_map(account).collect();
        let moved = brought.moved.then(|| "accounts were created or deleted during the listing".to_owned());
        let unread = (unknown > 0).then(|| format!("{unknown} listed accounts could not be read"));
        let unlisted = (!reported_list).then(|| "a page of accounts was returned without its list".to_owned());
        Ok(Page { items, next: brought.next.as_ref().map(Place::write), incomplete: unlisted.or(moved).or(unread) })
    }

    /// Reads a list of groups to its end. The list is empty if Crowd reports that the group does not exist or that it
    /// has no such lists.
    pub(super) async fn walk_groups<'a>(&self, ask: impl Fn() -> Ask<'a>) -> Result<Walked, TargetError> {
        let (mut place, mut walked) = (Place::default(), Walked::default());
        loop {
            let from = place.from.to_string();
            let ask: Ask<'_> = ask();
            let ask = ask.query("start-index", &from).query("max-results", PAGE);
            let answer = self.rest.ask(&ask).await?;
            match (answer.status, reason(&answer).as_str()) {
                (status, _) if status.is_success() => {}
                (StatusCode::NOT_FOUND, "GROUP_NOT_FOUND") | (_, "NESTED_GROUPS_NOT_SUPPORTED") => {
                    return Ok(walked);
                }
                _ => return Err(self.refused_read(&ask, &answer)),
            }
            let page: Groups = self.rest.parse(&ask, &answer)?;
            walked.moved |= !page.groups.reported || page.groups.iter().any(|group| group.name.is_none());
            let brought = place.take(page.groups.into_iter().collect(), |group| group.name.as_deref());
            walked.names.extend(brought.items.into_iter().filter_map(|group| group.name));
            walked.moved |= brought.moved;
            match brought.next {
                Some(next) => place = next,
                None => return Ok(walked),
            }
        }
    }
}
