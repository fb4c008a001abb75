//! Lists read by position. Crowd reports no total, and a page may be shorter than requested. So a list ends with the
//! page that brings nothing new. Each page except the first starts with the last entry of the page before. If it does
//! not, an entry was removed meanwhile and later entries moved up past the position.

use reqwest::StatusCode;

use super::{CrowdTarget, errors::reason, wire::Groups};
use crate::targets::{
    TargetError,
    rest::{Ask, invalid_position, position},
};

/// Groups, users and members requested in one page; Crowd's default.
pub(super) const PAGE: &str = "1000";

/// Maximum number of reads of a list that changes while it is read.
pub(super) const MAX_LIST_READS: usize = 3;

/// Position at which the read of a list continues.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The index of the first entry to request.
    pub from: usize,
    /// The name expected at this position: the last entry of the page before. `None`: nothing to compare.
    last: Option<String>,
}

/// The new content of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageItems<T> {
    /// Entries that no earlier page returned.
    pub items: Vec<T>,
    /// The next position; `None` at the end.
    pub next: Option<Place>,
    /// Whether entries may have been skipped.
    pub moved: bool,
}

impl Place {
    /// Parses a cursor.
    pub(super) fn read(what: &str, cursor: Option<&str>) -> Result<Self, TargetError> {
        let Some(cursor) = cursor else { return Ok(Self::default()) };
        let (from, last) = cursor.split_once(':').ok_or_else(|| invalid_position(what, cursor))?;
        Ok(Self { from: position(what, Some(from))?, last: (!last.is_empty()).then(|| last.to_owned()) })
    }

    /// Formats the position as a cursor.
    pub(super) fn write(&self) -> String {
        format!("{}:{}", self.from, self.last.as_deref().unwrap_or_default())
    }

    /// Takes the page that was read from this position.
    pub(super) fn take<T>(&self, mut items: Vec<T>, name: impl Fn(&T) -> Option<&str>) -> PageItems<T> {
        let came = items.len();
        // A page of one entry, requested again from that entry, might never advance.
        let last = items.last().filter(|_| came > 1).and_then(&name).map(str::to_owned);
        let from = self.from + came - usize::from(last.is_some());
        let mut moved = false;
        if let Some(known) = &self.last {
            match items.iter().position(|item| name(item) == Some(known)) {
                // Entries added at earlier positions moved known entries into this page.
                Some(at) => drop(items.drain(..=at)),
                None => moved = true,
            }
        }
        // If the expected entry is missing, even an empty page does not prove the end of the list.
        let next = (!items.is_empty()).then_some(Self { from, last });
        PageItems { items, next, moved }
    }
}

/// A list of groups, read to its end.
#[derive(Default)]
pub(super) struct Walked {
    /// The names of the groups.
    pub names: Vec<String>,
    /// Whether the list changed during the read, so that groups may be missing.
    pub moved: bool,
}

impl CrowdTarget {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(pages: &[&[&str]]) -> (Vec<String>, Vec<usize>, bool) {
        let (mut place, mut all, mut asked, mut moved) = (Place::default(), Vec::new(), Vec::new(), false);
        for page in pages {
            asked.push(place.from);
            let brought = place.take(page.to_vec(), |name| Some(name));
            all.extend(brought.items.iter().map(|name| (*name).to_owned()));
            moved |= brought.moved;
            let Some(next) = brought.next else { break };
            place = Place::read("", Some(&next.write())).expect("a cursor of ours");
            assert_eq!(place, next);
        }
        (all, asked, moved)
    }

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_list_ends_with_the_page_that_brings_nothing_new() {
        assert_eq!(walk(&[&[]]), (Vec::new(), vec![0], false));
        assert_eq!(walk(&[&["a"], &[]]), (names("a"), vec![0, 1], false));
        assert_eq!(walk(&[&["a", "b", "c"], &["c", "d"], &["d"]]), (names("a b c d"), vec![0, 2, 3], false));
        assert_eq!(walk(&[&["a"], &["b"], &["c"], &[]]), (names("a b c"), vec![0, 1, 2, 3], false));
    }

    #[test]
    fn who_comes_in_moves_nobody_out_and_who_leaves_may() {
        assert_eq!(walk(&[&["b", "c"], &["b", "c", "d"], &["d"]]), (names("b c d"), vec![0, 1, 3], false));
        assert_eq!(walk(&[&["a", "b"], &["d", "e"], &["e"]]), (names("a b d e"), vec![0, 1, 2], true));
        assert_eq!(walk(&[&["a", "b"], &[]]), (names("a b"), vec![0, 1], true));
    }

    #[test]
    fn names_may_hold_what_parts_a_cursor() {
        let place = Place { from: 7, last: Some("a:b:".to_owned()) };
        assert_eq!(Place::read("", Some(&place.write())), Ok(place));
        assert!(Place::read("", Some("x:y")).is_err());
        assert_eq!(Place::read("", None), Ok(Place::default()));
    }
}
