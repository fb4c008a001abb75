//! Confluence's lists, read page by page: whether a page is the last one, and whether it is complete.

use serde::{Deserialize, de::DeserializeOwned};

use crate::targets::rest::{
    NO_LIST,
    lenient::{Entries, maybe},
    page_read_before,
};

/// One page of any list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: DeserializeOwned + Default")]
pub(super) struct ResultPage<T> {
    #[serde(default = "Entries::default")]
    pub results: Entries<T>,
    #[serde(default, deserialize_with = "maybe")]
    pub total_count: Option<usize>,
    #[serde(rename = "_links", default, deserialize_with = "maybe")]
    pub links: Option<Links>,
}

/// The links of a page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Links {
    #[serde(default, deserialize_with = "maybe")]
    pub next: Option<String>,
}

impl<T> ResultPage<T> {
    /// Returns the start of the next page, if this one began at `at`, and why the listing may be incomplete. The server
    /// may return fewer entries than requested, and omit those that usersync may not see. So only its own link shows
    /// whether more follow.
    pub(super) fn next(&self, at: usize) -> (Option<usize>, Option<String>) {
        if !self.results.reported {
            return (None, Some(NO_LIST.to_owned()));
        }
        let end = at + self.results.len();
        let Some(link) = self.links.as_ref().and_then(|links| links.next.as_deref()) else {
            let short = self.total_count.filter(|total| end < *total);
            return (None, short.map(|total| format!("{end} of {total} were returned")));
        };
        if self.results.is_empty() {
            return (None, Some("an empty page reports more entries".to_owned()));
        }
        match start_of(link).unwrap_or(end) {
            next if next > at => (Some(next), None),
            _ => (None, Some(page_read_before("Confluence"))),
        }
    }
}

/// Returns the start position in a link to a page.
fn start_of(link: &str) -> Option<usize> {
    let (_, query) = link.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "start")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(count: usize, next: Option<&str>, total: Option<usize>) -> ResultPage<()> {
        let links = Some(Links { next: next.map(str::to_owned) });
        ResultPage { results: vec![(); count].into(), total_count: total, links }
    }

    #[test]
    fn a_page_continues_at_its_link() {
        assert_eq!(page(50, Some("/rest/api/user/list?limit=50&start=50"), None).next(0), (Some(50), None));
        assert_eq!(page(48, Some("/rest/api/user/list?start=50&limit=50"), None).next(0), (Some(50), None));
        assert_eq!(page(50, Some("/rest/api/user/list?limit=50"), None).next(100), (Some(150), None));
        assert_eq!(page(3, None, Some(103)).next(100), (None, None));
        assert_eq!(page(3, None, Some(110)).next(100), (None, Some("103 of 110 were returned".to_owned())));
        assert!(page(50, Some("?start=100"), None).next(100).1.is_some_and(|why| why.contains("already read")));
        assert!(page(0, Some("?start=200"), None).next(100).1.is_some_and(|why| why.contains("empty page")));
    }
}
