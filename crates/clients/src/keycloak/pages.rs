//! Reads listings in pages, to their end, each entry once, and checks that consecutive pages fit together.

use std::collections::{BTreeMap, HashSet};

use super::{
    KeycloakSource, SourceError, Unreadable,
    parts::Parts,
    requests::Listing,
    wire::{Entry, Group, Listed, Member, User},
};
use crate::model::{Packed, ReadEvidence, UserId, UserState};

/// Maximum number of times a listing is read while its pages do not fit together.
const TRIES: usize = 3;

/// A collection that receives the entries of a listing, each once.
pub(super) trait Collect: Default + Send {
    /// The representation of an entry.
    type Entry: Listed;

    /// Whether an entry with this id was added before.
    fn contains(&self, id: &str) -> bool;

    /// Adds an entry with a new id.
    fn add(&mut self, entry: Self::Entry);

    fn len(&self) -> usize;
}

/// The result of reading all pages of a listing.
pub(super) struct Paged<C> {
    pub items: C,
    pub unreadable: Vec<(String, Unreadable)>,
    /// Number of entries for which Keycloak itself answers 500: nothing is known of them.
    pub failed: usize,
    /// Why the listing may be incomplete; `None`: it is complete.
    pub incomplete: Option<String>,
    /// Its pages, see [`Paged::evidence`].
    pub pages: ReadEvidence,
}

impl<C: Default> Default for Paged<C> {
    fn default() -> Self {
        Self {
            items: C::default(),
            unreadable: Vec::new(),
            failed: 0,
            incomplete: None,
            pages: ReadEvidence::default(),
        }
    }
}

impl Paged<Packed<UserState>> {
    /// Merges the result of another read of the same listing.
    pub fn merge(&mut self, other: Self) {
        let known: HashSet<String> = self.unreadable.iter().map(|(id, _)| id.clone()).collect();
        for user in other.items.iter().filter(|user| !known.contains(user.id.as_str())) {
            self.items.push(&user);
        }
        let items = &self.items;
        let is_new = |(id, _): &(String, _)| !known.contains(id) && !items.contains(id);
        self.unreadable.extend(other.unreadable.into_iter().filter(is_new));
        self.failed += other.failed;
        self.pages.add_part(&other.pages);
        if let Some(why) = other.incomplete {
            self.unconfirmed(|| why);
        }
    }
}

impl<C: Collect> Paged<C> {
    /// Returns the number of entries, readable or not.
    pub fn len(&self) -> usize {
        self.items.len() + self.unreadable.len() + self.failed
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Describes how this list was read.
    pub fn evidence(&self) -> ReadEvidence {
        let unreadable = self.unreadable.len() + self.failed;
        ReadEvidence { lists: 1, read: self.len(), unreadable, ..self.pages.clone() }
    }
}

impl<C> Paged<C> {
    /// Records why the listing may be incomplete; the first reason is kept.
    pub fn unconfirmed(&mut self, why: impl FnOnce() -> String) {
        self.incomplete.get_or_insert_with(why);
    }
}

impl Collect for Packed<UserState> {
    type Entry = User;

    fn contains(&self, id: &str) -> bool {
        Packed::contains(self, id)
    }

    fn add(&mut self, entry: User) {
        self.push(&entry.with_groups(Vec::new()));
    }

    fn len(&self) -> usize {
        Packed::len(self)
    }
}

impl Collect for Packed<UserId> {
    type Entry = Member;

    fn contains(&self, id: &str) -> bool {
        Packed::contains(self, id)
    }

    fn add(&mut self, entry: Member) {
        self.push(&entry.into());
    }

    fn len(&self) -> usize {
        Packed::len(self)
    }
}

impl Collect for BTreeMap<String, Group> {
    type Entry = Group;

    fn contains(&self, id: &str) -> bool {
        self.contains_key(id)
    }

    fn add(&mut self, entry: Group) {
        self.insert(entry.id.clone(), entry);
    }

    fn len(&self) -> usize {
        BTreeMap::len(self)
    }
}

impl KeycloakSource {
    /// Reads a listing until a page is empty; `None` only if Keycloak itself answers that its parent is gone.
    pub(super) async fn pages<C: Collect>(
        &self,
        listing: Listing<'_>,
        read: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Option<Paged<C>>, SourceError> {
        let mut left = TRIES;
        let mut earlier = None;
        loop {
            left -= 1;
            let Some(mut paged) = self.pages_once(listing, read).await? else { return Ok(None) };
            if let Some(earlier) = &earlier {
                paged.pages.add_earlier(earlier);
            }
            // An entry that Keycloak itself cannot read fails again.
            if left == 0 || paged.incomplete.is_none() || paged.failed > 0 {
                return Ok(Some(paged));
            }
            earlier = Some(paged.pages);
        }
    }

    /// Reads a listing once. The page after a full page begins with the full page's last entry: pages between which an
    /// entry was created or deleted do not fit together. A page with nothing new ends the listing: a server that
    /// ignores offsets must not cause an endless loop.
    async fn pages_once<C: Collect>(
        &self,
        listing: Listing<'_>,
        read: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Option<Paged<C>>, SourceError> {
        let Listing { asked, below, from, max, .. } = listing;
        let mut paged = Paged::<C>::default();
        let mut parts = Parts::default();
        let mut odd = HashSet::new();
        let mut first = from;
        let mut joint: Option<String> = None;
        let mut without_id = 0;
        loop {
            let Some(page) = self.page_in_parts::<C::Entry>(&listing, first, &mut parts).await? else {
                return Ok(None);
            };
            if page.is_empty() {
                break;
            }
            let (came, known) = (page.len(), paged.items.len() + odd.len() + without_id);
            let is_joined = joint.is_none() || page[0].id() == joint.as_deref();
            let expected = came - usize::from(joint.is_some());
            joint = (came == max && max > 1).then(|| page.last().and_then(Entry::id).map(str::to_owned)).flatten();
            for entry in page {
                match entry {
                    Entry::Read(item) => {
                        if !odd.contains(item.id()) && !paged.items.contains(item.id()) {
                            paged.items.add(item);
                        }
                    }
                    Entry::Unreadable(Some(id), why) => {
                        if !paged.items.contains(&id) && odd.insert(id.clone()) {
                            paged.unreadable.push((id, why));
                        }
                    }
                    Entry::Unreadable(None, _) => without_id += 1,
                }
            }
            read(paged.len());
            let fresh = paged.items.len() + odd.len() + without_id - known;
            // The last entry of a full page is requested twice.
            paged.pages.add_page(came, if is_joined { fresh + came - expected } else { fresh });
            if !is_joined || fresh != expected {
                paged.unconfirmed(|| {
                    format!(
                        "the pages of the {asked} at /{} are inconsistent: entries were added or removed during the \
                         read, or the server ignores the offset",
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
            // This reason replaces the others: it says what an operator can do.
            paged.incomplete = Some(why);
        }
        let without_id = without_id - paged.failed;
        if without_id > 0 {
            paged.unconfirmed(|| format!("{without_id} entries of the {asked} at /{} have no id", below.join("/")));
        }
        Ok(Some(paged))
    }
}
