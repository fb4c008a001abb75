//! Bitbucket's lists, read page by page. Each page starts where the previous one says.

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{BitbucketTarget, wire::PageOf};
use crate::targets::{
    TargetError,
    rest::{Ask, NO_LIST, lenient::Entries, no_next_page, page_read_before, position, unconfirmed},
};

/// Page size; the server returns fewer entries if it is configured so.
const LIMIT: &str = "1000";

/// A list, and which of its entries are requested.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    path: &'static str,
    what: &'a str,
    filter: Option<&'a str>,
    context: Option<&'a str>,
    deadline: Option<Timestamp>,
}

impl<'a> List<'a> {
    /// Requests a whole list; `what` describes the purpose in messages.
    pub(super) fn new(path: &'static str, what: &'a str, deadline: Option<Timestamp>) -> Self {
        Self { path, what, filter: None, context: None, deadline }
    }

    /// Requests only entries with this text in one of their names.
    pub(super) fn filter(self, text: &'a str) -> Self {
        Self { filter: Some(text), ..self }
    }

    /// Requests only entries that belong to this user or group.
    pub(super) fn of(self, name: &'a str) -> Self {
        Self { context: Some(name), ..self }
    }
}

/// One page of a list.
pub(super) struct Leaf<T> {
    pub values: Entries<T>,
    /// Start of the next page; `None` at the end.
    pub next: Option<String>,
    /// Why entries may be missing; `None`: none are.
    pub incomplete: Option<String>,
}

impl BitbucketTarget {
    /// Returns one page of a list; `None` if Bitbucket reports that the list's user or group does not exist.
    pub(super) async fn leaf<T: DeserializeOwned + Default>(
        &self,
        list: List<'_>,
        start: Option<&str>,
    ) -> Result<Option<Leaf<T>>, TargetError> {
        let at: i64 = position(list.what, start)?;
        let start = start.unwrap_or("0");
        let mut ask = Ask::get(list.path, list.what).deadline(list.deadline);
        for (name, value) in [("context", list.context), ("filter", list.filter)] {
            if let Some(value) = value {
                ask = ask.query(name, value).login(value);
            }
        }
        let ask = ask.query("start", start).query("limit", LIMIT);
        let Some(page) = self.rest.find::<PageOf<T>>(&ask).await? else {
            return match list.context {
                Some(_) => Ok(None),
                None => Err(unconfirmed(format!("{}: Bitbucket reports that the list does not exist.", list.what))),
            };
        };
        let (next, incomplete) = match (page.is_last_page, page.next_page_start) {
            _ if !page.values.reported => (None, Some(NO_LIST.to_owned())),
            (Some(true), _) | (None, None) => (None, None),
            (Some(false), None) => (None, Some(no_next_page("Bitbucket"))),
            (_, Some(next)) if next <= at => (None, Some(page_read_before("Bitbucket"))),
            (_, Some(next)) => (Some(next.to_string()), None),
        };
        Ok(Some(Leaf { values: page.values, next, incomplete }))
    }

    /// Returns a whole list; `None` if its user or group does not exist.
    ///
    /// # Errors
    /// [`ErrorClass::Unconfirmed`] if the list may be incomplete.
    pub(super) async fn all<T: DeserializeOwned + Default>(
        &self,
        list: List<'_>,
    ) -> Result<Option<Vec<T>>, TargetError> {
        let mut all = Vec::new();
        self.each(list, |value| {
            all.push(value);
            Ok(false)
        })
        .await
        .map(|there| there.map(|_| all))
    }

    /// Reads a list until `seen` returns `true`. Returns `Some(true)` if it did, `Some(false)` at the end of the list,
    /// and `None` if there is no such list.
    pub(super) async fn each<T: DeserializeOwned + Default>(
        &self,
        list: List<'_>,
        mut seen: impl FnMut(T) -> Result<bool, TargetError>,
    ) -> Result<Option<bool>, TargetError> {
        let mut start = None;
        loop {
            let Some(leaf) = self.leaf::<T>(list, start.as_deref()).await? else { return Ok(None) };
            for value in leaf.values {
                if seen(value)? {
                    return Ok(Some(true));
                }
            }
            if let Some(why) = leaf.incomplete {
                return Err(unconfirmed(format!("{}: {why}.", list.what)));
            }
            if leaf.next.is_none() {
                return Ok(Some(false));
            }
            start = leaf.next;
        }
    }
}
