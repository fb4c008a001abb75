//! Detects the end of a target's listing: its explicit end, or pages without new entries.

use std::collections::HashSet;

use crate::model::ReadEvidence;

/// Number of consecutive empty pages after which the listing ends.
const EMPTY_AT_MOST: usize = 1_000;

/// A listing of a target that is read page by page.
#[derive(Default)]
pub(super) struct Pages {
    cursors: HashSet<String>,
    empty: usize,
    read: ReadEvidence,
    /// Why the listing may be incomplete; `None`: it is complete.
    pub incomplete: Option<String>,
}

impl Pages {
    /// Records a page with this number of entries and of new entries. Returns the start of the next page. A listing
    /// that repeats itself is ended, so that it is not read forever.
    pub fn next(
        &mut self,
        (came, fresh): (usize, usize),
        next: Option<String>,
        incomplete: Option<String>,
    ) -> Option<String> {
        self.read.add_page(came, fresh);
        self.incomplete = self.incomplete.take().or(incomplete);
        if fresh < came {
            self.incomplete("the listing returned entries twice: it changed during the read, or its pages repeat");
        }
        let next = next?;
        self.empty = if came == 0 { self.empty + 1 } else { 0 };
        let nothing_new = came > 0 && fresh == 0 || self.empty >= EMPTY_AT_MOST;
        if nothing_new || !self.cursors.insert(next.clone()) {
            self.incomplete("the pages of the listing repeat, so the read was stopped");
            return None;
        }
        Some(next)
    }

    /// Describes how the listing was read, with this number of entries, each once.
    pub fn evidence(&self, read: usize) -> ReadEvidence {
        ReadEvidence { lists: 1, read, ..self.read.clone() }
    }

    fn incomplete(&mut self, why: &str) {
        self.incomplete.get_or_insert_with(|| why.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_ends_where_it_says_so_or_where_it_repeats() {
        let next = |cursor: &str| Some(cursor.to_owned());
        let mut pages = Pages::default();
        assert_eq!(pages.next((2, 2), next("2"), None), next("2"));
        assert_eq!(pages.next((0, 0), next("4"), None), next("4"), "an empty page may be followed by others");
        assert_eq!((pages.next((1, 1), None, None), pages.incomplete), (None, None));

        let mut same_page = Pages::default();
        assert_eq!(same_page.next((2, 2), next("2"), None), next("2"));
        assert_eq!(same_page.next((2, 0), next("4"), None), None);
        let evidence = same_page.evidence(2);
        assert_eq!((evidence.read, evidence.pages, evidence.repeats, evidence.lists), (2, 2, 2, 1));
        assert!(same_page.incomplete.is_some_and(|why| why.contains("twice")));

        let mut same_cursor = Pages::default();
        assert_eq!(same_cursor.next((0, 0), next("2"), None), next("2"));
        assert_eq!(same_cursor.next((1, 1), next("2"), None), None);
        assert!(same_cursor.incomplete.is_some_and(|why| why.contains("repeat")));

        let mut endless = Pages::default();
        let pages = 0..EMPTY_AT_MOST;
        let read = pages.take_while(|n| endless.next((0, 0), next(&n.to_string()), None).is_some()).count();
        assert!(read < EMPTY_AT_MOST && endless.incomplete.is_some());

        let mut reported = Pages::default();
        assert_eq!(reported.next((2, 1), next("2"), next("not all is shown")), next("2"));
        assert_eq!(reported.incomplete.as_deref(), Some("not all is shown"));
    }
}
