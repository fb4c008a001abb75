//! Reads a failing page in parts: one entry that Keycloak cannot read makes it answer 500 for the whole page.

use super::{
    KeycloakSource, SourceError, Unreadable,
    fault::Asked,
    requests::{Listing, PageRead},
    wire::{Entry, Listed},
};

/// Maximum number of failed entries in one listing; with more, the listing fails.
const FAILED_AT_MOST: usize = 20;

/// Number of consecutive failed entries at which the listing fails: single entries are then not the cause.
const FAILED_IN_A_ROW: usize = 5;

/// Maximum number of failing request paths that the reason names.
const NAMED: usize = 3;

/// What was read in parts of one listing.
#[derive(Default)]
pub(super) struct Parts {
    /// Offsets of the entries for which Keycloak answers 500.
    pub failed: Vec<usize>,
    /// Failed entries since the last successful read.
    in_a_row: usize,
    /// Whether any page was read in parts.
    any: bool,
}

impl Parts {
    /// Returns why the listing may be incomplete, if a page was read in parts.
    pub fn why(&self, listing: &Listing<'_>) -> Option<String> {
        let path = listing.below.join("/");
        let (one, many) = match (listing.asked, listing.below.last()) {
            (_, Some(&"members")) => ("member", "members"),
            (Asked::Users, _) | (_, Some(&"users")) => ("user", "users"),
            (_, Some(&"roles")) => ("role", "roles"),
            (_, Some(&"clients")) => ("client", "clients"),
            (_, Some(&"organizations")) => ("organization", "organizations"),
            _ => ("group", "groups"),
        };
        let query: Vec<String> = listing.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let address = |offset: &usize| {
            let place = [format!("first={offset}"), "max=1".to_owned()];
            format!("/{path}?{}", [&query[..], &place[..]].concat().join("&"))
        };
        let named: Vec<String> = self.failed.iter().take(NAMED).map(address).collect();
        let more = match self.failed.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let offsets = self.failed.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        match self.failed.len() {
            0 => self.any.then(|| {
                format!(
                    "Keycloak answered 500 for a page of the {many} at /{path}; usersync read \
                                           it in parts"
                )
            }),
            number => Some(format!(
                "{number} {} could not be read, at position {offsets}: Keycloak answers 500 for {}{more}. Its log \
                 names the cause; correct it there",
                if number == 1 { one } else { many },
                named.join(" and "),
            )),
        }
    }
}

impl KeycloakSource {
    /// Reads a page, and halves it where Keycloak answers 500, down to single entries. A single entry that fails is
    /// recorded by its offset and kept as an entry without id. `None` only if Keycloak itself answers that the
    /// listing's parent is gone.
    ///
    /// # Errors
    /// Keycloak fails for more than [`FAILED_AT_MOST`] entries, or for [`FAILED_IN_A_ROW`] consecutive ones: single
    /// entries are not the cause.
    pub(super) async fn page_in_parts<T: Listed>(
        &self,
        &Listing { asked, below, query, max, gone, .. }: &Listing<'_>,
        first: usize,
        parts: &mut Parts,
    ) -> Result<Option<Vec<Entry<T>>>, SourceError> {
        let mut page = Vec::new();
        let mut left = vec![(first, max)];
        while let Some((first, max)) = left.pop() {
            match self.try_page(asked, below, query, (first, max), gone).await? {
                PageRead::Gone => return Ok(None),
                PageRead::Read(entries) => {
                    parts.in_a_row = 0;
                    page.extend(entries);
                }
                PageRead::Failed(_) if max > 1 => {
                    parts.any = true;
                    let half = max / 2;
                    left.extend([(first + half, max - half), (first, half)]);
                }
                PageRead::Failed(error) => {
                    parts.failed.push(first);
                    parts.in_a_row += 1;
                    if parts.in_a_row >= FAILED_IN_A_ROW || parts.failed.len() > FAILED_AT_MOST {
                        return Err(error);
                    }
                    page.push(Entry::Unreadable(
                        None,
                        Unreadable { name: None, why: "Keycloak answers 500 for it".to_owned() },
                    ));
                }
            }
        }
        Ok(Some(page))
    }
}
