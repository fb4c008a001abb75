//! Lists all accounts. A list may return too few fields of an account, or no attributes.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use super::{
    CrowdTarget,
    paging::{PAGE, Place},
    wire::{User, Users},
};
use crate::{
    model::Account,
    targets::{
        Page, TargetError,
        rest::{Ask, NO_LIST, fold, lenient::some, unconfirmed, unless_unreadable, unread_accounts},
    },
};

/// Users of a list, with all their fields.
pub(super) struct Completed {
    pub users: Vec<User>,
    /// The number of users without a name, or deleted since they were listed.
    pub unknown: usize,
    /// The number of users whose own answers are unreadable. They exist and are left out.
    pub unreadable: usize,
}

/// Number of found accounts from which on a search is not confirmed to be complete.
const MOST_FOUND: usize = 100;

impl CrowdTarget {
    /// Returns one page of all accounts, inactive ones included.
    pub(super) async fn list_accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        let what = "listing all accounts";
        let protection = if cursor.is_none() { self.fresh_protection().await? } else { self.protection(None).await? };
        let place = Place::read(what, cursor)?;
        let from = place.from.to_string();
        let expand = if self.settings.attributes.is_empty() { "user" } else { "user,attributes" };
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
        let Completed { users, unknown, .. } = self.complete(brought.items).await?;
        // A list that does not expand attributes may show every account without any.
        if users.iter().any(|user| {
            self.settings.attributes.iter().any(|name| user.attribute(name).is_some_and(|one| !one.is_empty()))
        }) {
            self.lists_attributes.store(true, Ordering::Relaxed);
        }
        let reported = self.lists_attributes.load(Ordering::Relaxed);
        let account = |user| {
            let account = self.account_in(user, &protection, None)?;
            Some(if reported { account } else { Account { attributes: BTreeMap::new(), ..account } })
        };
        let items = users.into_iter().filter_map(account).collect();
        let moved = brought.moved.then(|| "accounts were created or deleted during the listing".to_owned());
        let unread = unread_accounts(unknown);
        let unlisted = (!reported_list).then(|| NO_LIST.to_owned());
        Ok(Page { items, next: brought.next.as_ref().map(Place::write), incomplete: unlisted.or(moved).or(unread) })
    }

    /// Returns the accounts with this e-mail address.
    ///
    /// # Source
    /// Atlassian, "Crowd Query Language": `email = "…"`, where an asterisk stands for any text.
    pub(super) async fn accounts_by_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        let what = "searching accounts by e-mail address";
        let protection = self.protection(None).await?;
        let quoted = email.trim().replace('\\', r"\\").replace('"', r#"\""#);
        let most = MOST_FOUND.to_string();
        let restriction = format!("email = \"{quoted}\"");
        let ask = Ask::get("/search", what)
            .query("entity-type", "user")
            .query("restriction", &restriction)
            .query("start-index", "0")
            .query("max-results", &most)
            .query("expand", "user");
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.refused_read(&ask, &answer));
        }
        let page: Users = self.rest.parse(&ask, &answer)?;
        if !page.users.reported {
            return Err(unconfirmed(format!("{what}: {NO_LIST}.")));
        }
        let listed: Vec<User> = page.users.into_iter().collect();
        if listed.len() >= MOST_FOUND {
            return Err(unconfirmed(format!(
                "{what}: Crowd returned {MOST_FOUND} accounts or more, so some may be missing."
            )));
        }
        let Completed { users, unknown, unreadable } = self.complete(listed).await?;
        if let Some(why) = unread_accounts(unknown + unreadable) {
            return Err(unconfirmed(format!("{what}: {why}.")));
        }
        let has_it = |user: &User| user.email.as_deref().is_some_and(|one| fold(one) == fold(email));
        Ok(users.into_iter().filter(has_it).filter_map(|user| self.account_in(user, &protection, None)).collect())
    }

    /// Reads users again if a list returned too few of their fields, for example without expanded entries.
    pub(super) async fn complete(&self, users: Vec<User>) -> Result<Completed, TargetError> {
        let (mut whole, mut unknown, mut unreadable) = (Vec::with_capacity(users.len()), 0, 0);
        for user in users {
            let read = match (&some(user.name.clone()), user.active) {
                (Some(_), Some(_)) => Some(user),
                // An unreadable user fails on its own when it is read alone.
                (Some(name), None) => {
                    let Some(found) = unless_unreadable(self.user_by_login(name, None).await)? else {
                        unreadable += 1;
                        continue;
                    };
                    found
                }
                (None, _) => None,
            };
            unknown += usize::from(read.is_none());
            whole.extend(read);
        }
        Ok(Completed { users: whole, unknown, unreadable })
    }
}
