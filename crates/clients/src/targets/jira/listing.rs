//! Lists all accounts. Late 10.3 and 11 have a dedicated listing. Earlier versions have only a search: versions before
//! 10 page through it, and 10.0 to 10.2 cut it off at 100.

use std::collections::{HashSet, VecDeque};

use reqwest::StatusCode;

use super::{
    JiraTarget,
    wire::{ListPage, TextOrNumber, User},
};
use crate::{
    model::Account,
    targets::{
        Page, TargetError,
        rest::{
            Ask, ListedAccounts, NO_LIST, Protection, fold, joined,
            lenient::{Entries, some},
            no_next_page, page_read_before, unconfirmed,
        },
    },
};

/// Page size for `/user/list`; Jira's default is 2000.
const LIST_PAGE: &str = "1000";
/// Page size for `/user/search` before Jira 10; also its maximum.
const SEARCH_PAGE: usize = 1000;
/// Maximum number of results of `/user/search` since Jira 10, over all pages.
pub(super) const SEARCH_CAP: usize = 100;
/// Search limits are multiples of this number.
const SMALLEST_BLOCK: usize = 50;
/// Maximum number of searches in one walk by prefix.
const SEARCHES: usize = 5000;
/// Characters that extend a prefix: those that most logins consist of.
const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789.-_@";
/// The purpose of a listing, for messages.
const LISTING: &str = "listing all accounts";
/// Search text that matches all accounts.
const ALL: &str = ".";

/// Position in a listing: whether an inactive account was seen so far, and Jira's own cursor.
struct Cursor {
    seen_inactive: bool,
    at: Option<String>,
}

impl Cursor {
    fn read(text: Option<&str>) -> Self {
        match text.and_then(|text| text.split_once(':')) {
            Some((seen, at)) => Self { seen_inactive: seen == "1", at: Some(at.to_owned()) },
            None => Self { seen_inactive: false, at: None },
        }
    }

    fn write(&self) -> Option<String> {
        self.at.as_ref().map(|at| format!("{}:{at}", u8::from(self.seen_inactive)))
    }
}

impl JiraTarget {
    /// Returns one page of all accounts. Where only a search exists, one page holds all of them, since a search cannot
    /// be resumed.
    pub(super) async fn list_accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        let what = LISTING;
        let protection = if cursor.is_none() { self.fresh_protection().await? } else { self.protection(None).await? };
        let mut place = Cursor::read(cursor);
        let mut ask = Ask::get("/user/list", what).query("maxResults", LIST_PAGE);
        let at = place.at.clone();
        if let Some(at) = &at {
            ask = ask.query("cursor", at);
        }
        let answer = self.rest.ask(&ask).await?;
        let absent = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        if absent && cursor.is_none() {
            return self.search_all(&protection).await;
        }
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let page: ListPage = self.rest.parse(&ask, &answer)?;
        let next = page.next_cursor.map(TextOrNumber::into_text).filter(|next| !next.is_empty());
        let mut unconfirmed = Vec::new();
        place.at = if page.is_last == Some(true) {
            None
        } else if next.is_none() {
            unconfirmed.extend((page.is_last == Some(false)).then(|| no_next_page("Jira")));
            None
        } else if next == at {
            unconfirmed.push(page_read_before("Jira"));
            None
        } else {
            next
        };
        if !page.values.reported {
            unconfirmed.push(NO_LIST.to_owned());
        }
        place.seen_inactive |= page.values.iter().any(|user| user.active == Some(false));
        let items = self.accounts_of(page.values, &protection, &mut unconfirmed).await?;
        if place.at.is_none() && !place.seen_inactive {
            unconfirmed.extend(self.hidden_inactive().await?);
        }
        Ok(Page { items, next: place.write(), incomplete: joined(&unconfirmed) })
    }

    /// Converts listed users to accounts. A user with missing fields is read individually.
    async fn accounts_of(
        &self,
        users: impl IntoIterator<Item = User, IntoIter: Send> + Send,
        protection: &Protection,
        unconfirmed: &mut Vec<String>,
    ) -> Result<Vec<Account>, TargetError> {
        let mut listed = ListedAccounts::default();
        for user in users {
            if user.is_gone() {
                continue;
            }
            let (key, name) = (some(user.key.clone()), some(user.name.clone()));
            let read = match (user.into_account(protection), key, name) {
                (Some(account), ..) => Ok(Some(account)),
                (None, Some(key), _) => self.account_by_key(&key.into(), None).await,
                (None, None, Some(name)) => self.account_by_login(&name, None).await,
                (None, None, None) => Ok(None),
            };
            listed.add(read)?;
        }
        Ok(listed.finish(unconfirmed))
    }

    /// Returns why a listing without any inactive account is incomplete, if it omitted one.
    async fn hidden_inactive(&self) -> Result<Option<String>, TargetError> {
        let ask = Ask::get("/user/search", "searching for an inactive account")
            .query("username", ALL)
            .query("includeActive", "false")
            .query("includeInactive", "true")
            .query("maxResults", "1");
        let found: Entries<User> = self.rest.read(&ask).await?;
        let hidden = found.into_iter().find(|user| user.active == Some(false));
        Ok(hidden.map(|_| "this Jira omits inactive accounts from its listing".to_owned()))
    }

    /// Returns all accounts by search: page by page where that works, by ever longer prefixes where it is cut off.
    async fn search_all(&self, protection: &Protection) -> Result<Page<Account>, TargetError> {
        let mut found = Found::default();
        let mut unconfirmed = Vec::new();
        let at_once = if self.version().await?.at_least(10, 0) { SEARCH_CAP } else { SEARCH_PAGE };
        if let Some(block) = self.search_pages(&mut found, at_once).await? {
            let done = self.search_prefixes(&mut found, block).await?;
            let how = if done { "the search by prefixes is complete" } else { "the search by prefixes is incomplete" };
            unconfirmed.push(format!(
                "this Jira has no listing of all accounts and may have truncated its search at {block}; {how}, so \
                 accounts may be missing"
            ));
        }
        let items = self.accounts_of(found.users, protection, &mut unconfirmed).await?;
        Ok(Page { items, next: None, incomplete: joined(&unconfirmed) })
    }

    /// Pages through the search for all accounts. Returns the size of the block at which it may have been cut off.
    /// Versions that page only inside their first block return nothing after it, as at the end of a complete list.
    async fn search_pages(&self, found: &mut Found, at_once: usize) -> Result<Option<usize>, TargetError> {
        let (mut start, mut pages) = (0_usize, 0);
        loop {
            let users = self.search(LISTING, ALL, start, at_once).await?;
            let came = users.len();
            if came == 0 {
                let round = start > 0 && start.is_multiple_of(SMALLEST_BLOCK);
                let cut = start == SEARCH_PAGE || (pages == 1 && round);
                return Ok(cut.then_some(start));
            }
            if found.take(users) == 0 {
                // The same accounts again: this version does not page at all.
                return Ok(Some(start));
            }
            start += came;
            pages += 1;
        }
    }

    /// Searches by prefix, with longer prefixes where an answer is full. Returns `false` after too many searches.
    async fn search_prefixes(&self, found: &mut Found, full: usize) -> Result<bool, TargetError> {
        let longer = |prefix: &str| ALPHABET.chars().map(|c| format!("{prefix}{c}")).collect::<Vec<_>>();
        let mut waiting: VecDeque<String> = longer("").into_iter().filter(|prefix| prefix != ALL).collect();
        // First characters of the logins seen so far that are not in the alphabet.
        let seen = found.users.iter().filter_map(|user| user.name.as_ref()?.to_lowercase().chars().next());
        let mut others: Vec<char> = seen.filter(|c| !ALPHABET.contains(*c)).collect();
        others.sort_unstable();
        others.dedup();
        waiting.extend(others.into_iter().map(String::from));
        let mut searches = 0;
        while let Some(prefix) = waiting.pop_front() {
            searches += 1;
            if searches > SEARCHES {
                return Ok(false);
            }
            let users = self.search(LISTING, &prefix, 0, full).await?;
            let came = users.len();
            found.take(users);
            if came >= full {
                waiting.extend(longer(&prefix));
            }
        }
        Ok(true)
    }

    /// Returns the accounts with this e-mail address. The search finds all accounts with a login, an address or a word of
    /// the display name that begins with the text.
    ///
    /// # Errors
    /// [`ErrorClass::Unconfirmed`](crate::model::ErrorClass::Unconfirmed) if the search may have been cut off.
    pub(super) async fn accounts_by_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        let what = "searching accounts by e-mail address";
        let protection = self.protection(None).await?;
        let users = self.search(what, email, 0, SEARCH_CAP).await?;
        if users.len() >= SEARCH_CAP {
            return Err(unconfirmed(format!(
                "{what}: Jira found {SEARCH_CAP} accounts or more and may have left out others. Change the address of \
                 the accounts that do not need it."
            )));
        }
        let mut unreadable = Vec::new();
        let mut found = self.accounts_of(users, &protection, &mut unreadable).await?;
        if let Some(why) = joined(&unreadable) {
            return Err(unconfirmed(format!("{what}: {why}.")));
        }
        found.retain(|account| account.email.as_deref().is_some_and(|one| fold(one) == fold(email)));
        Ok(found)
    }

    async fn search(&self, what: &str, query: &str, start: usize, max: usize) -> Result<Vec<User>, TargetError> {
        let (start, max) = (start.to_string(), max.to_string());
        let mut ask = Ask::get("/user/search", what)
            .query("username", query)
            .query("includeActive", "true")
            .query("includeInactive", "true")
            .query("maxResults", &max);
        if start != "0" {
            ask = ask.query("startAt", &start);
        }
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let users: Entries<User> = self.rest.parse(&ask, &answer)?;
        if users.reported { Ok(users.into_iter().collect()) } else { Err(unconfirmed(format!("{what}: {NO_LIST}."))) }
    }
}

/// Search results, each account once.
#[derive(Default)]
struct Found {
    users: Vec<User>,
    ids: HashSet<String>,
}

impl Found {
    /// Adds an answer, and returns the number of new accounts in it.
    fn take(&mut self, users: Vec<User>) -> usize {
        let before = self.users.len();
        for user in users {
            let id = user.key.clone().or_else(|| user.name.clone());
            if id.is_none_or(|id| self.ids.insert(id)) {
                self.users.push(user);
            }
        }
        self.users.len() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let cursor = Cursor::read(Some("1:10250"));
        assert!(cursor.seen_inactive);
        assert_eq!(cursor.write().as_deref(), Some("1:10250"));
        assert_eq!(Cursor::read(None).write(), None);
    }
}
