//! Listings in pages: read to their end, each entry once, and whether the pages fit together.

use std::collections::HashSet;

use super::{
    KeycloakSource, SourceError, Unreadable,
    client::Query,
    fault::Asked,
    parts::Parts,
    wire::{Entry, Listed},
};

/// How often a listing whose pages do not fit together is read.
const TRIES: usize = 3;

/// A listing that is read in pages.
#[derive(Clone, Copy)]
pub(super) struct Listing<'a> {
    pub asked: Asked,
    pub below: &'a [&'a str],
    pub query: Query<'a>,
    /// The offset of the first page.
    pub from: usize,
    /// Entries of one page.
    pub max: usize,
    /// Keycloak's own words for the absence of what the listing belongs to.
    pub gone: Option<&'a str>,
}

/// What all pages of a listing brought.
pub(super) struct Paged<T> {
    pub items: Vec<T>,
    pub unreadable: Vec<(String, Unreadable)>,
    /// Entries over which Keycloak itself fails: nothing is known of them.
    pub failed: usize,
    /// Why this may not be all, if so.
    pub incomplete: Option<String>,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unreadable: Vec::new(), failed: 0, incomplete: None }
    }
}

impl<T: Listed> Paged<T> {
    /// Takes in what another reading of the same listing brought.
    pub fn merge(&mut self, other: Self) {
        let known = self.items.iter().map(T::id).chain(self.unreadable.iter().map(|(id, _)| id.as_str()));
        let known: HashSet<String> = known.map(str::to_owned).collect();
        self.items.extend(other.items.into_iter().filter(|item| !known.contains(item.id())));
        self.unreadable.extend(other.unreadable.into_iter().filter(|(id, _)| !known.contains(id)));
        self.failed += other.failed;
        if let Some(why) = other.incomplete {
            self.doubt(|| why);
        }
    }
}

impl<T> Paged<T> {
    /// How many entries there are, readable or not.
    pub fn len(&self) -> usize {
        self.items.len() + self.unreadable.len() + self.failed
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in why it may not be all; the first reason stays.
    pub fn doubt(&mut self, why: impl FnOnce() -> String) {
        self.incomplete.get_or_insert_with(why);
    }
}

impl KeycloakSource {
    /// Reads a listing until a page is empty; `None` only if Keycloak itself says that what it belongs to is gone.
    pub(super) async fn pages<T: Listed>(
        &self,
        listing: Listing<'_>,
        read: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Option<Paged<T>>, SourceError> {
        let mut left = TRIES;
        loop {
            left -= 1;
            let paged = self.pages_once(listing, read).await?;
            // What Keycloak itself fails over stays so.
            let is_final = |paged: &Paged<T>| paged.incomplete.is_none() || paged.failed > 0;
            if left == 0 || paged.as_ref().is_none_or(is_final) {
                return Ok(paged);
            }
        }
    }

    /// A full page is followed by one that begins with its last entry: pages between which somebody came or went do not
    /// fit together. A page with nothing new ends the listing, so that a server that ignores offsets is not read forever.
    async fn pages_once<T: Listed>(
        &self,
        listing: Listing<'_>,
        read: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Option<Paged<T>>, SourceError> {
        let Listing { asked, below, from, max, .. } = listing;
        let mut paged = Paged::default();
        let mut parts = Parts::default();
        let mut seen = HashSet::new();
        let mut first = from;
        let mut joint: Option<String> = None;
        let mut without_id = 0;
        loop {
            let Some(page) = self.page_in_parts::<T>(&listing, first, &mut parts).await? else { return Ok(None) };
            if page.is_empty() {
                break;
            }
            let (came, known) = (page.len(), seen.len() + without_id);
            let is_joined = joint.is_none() || page[0].id() == joint.as_deref();
            let expected = came - usize::from(joint.is_some());
            joint = (came == max && max > 1).then(|| page.last().and_then(Entry::id).map(str::to_owned)).flatten();
            for entry in page {
                match entry {
                    Entry::Read(item) => {
                        if seen.insert(item.id().to_owned()) {
                            paged.items.push(item);
                        }
                    }
                    Entry::Odd(Some(id), why) => {
                        if seen.insert(id.clone()) {
                            paged.unreadable.push((id, why));
                        }
                    }
                    Entry::Odd(None, _) => without_id += 1,
                }
            }
            read(paged.len());
            let fresh = seen.len() + without_id - known;
            if !is_joined || fresh != expected {
                paged.doubt(|| {
                    format!(
                        "the pages of the {asked} at /{} do not fit together: entries came or went during the read, or \
                         the server ignores the offset",
                        below.join("/")
                    )
                });
            }
            if fresh == 0 {
                break;
            }
            first += max - usize::from(joint.is_some());
        }
        paged.failed = parts.failed.len();
        if let Some(why) = parts.why(&listing) {
            // This comes first: it says what an operator can do.
            paged.incomplete = Some(why);
        }
        let without_id = without_id - paged.failed;
        if without_id > 0 {
            paged.doubt(|| format!("{without_id} entries of the {asked} at /{} have no id", below.join("/")));
        }
        Ok(Some(paged))
    }
}
