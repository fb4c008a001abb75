//! A list that is bounded while it is collected.

use std::{
    collections::HashSet,
    hash::{BuildHasher, Hash, RandomState},
    ops::Deref,
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};

/// Default number of entries that a report keeps of each list.
pub(super) const KEPT: usize = 1_000;

/// Shared by all lists, so that their hashes can be compared.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The first entries of a list, and the total number of entries. Dereferences to the kept entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Read<T>")]
pub struct Listed<T> {
    total: u64,
    first: Vec<T>,
    #[serde(skip)]
    keep: usize,
    /// Hashes of the entries that were added by `push_once`.
    #[serde(skip)]
    seen: HashSet<u64>,
}

/// The stored form; older reports have the list alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Read<T> {
    Listed { total: u64, first: Vec<T> },
    Alone(Vec<T>),
}

impl<T> Listed<T> {
    /// Creates an empty list that keeps its first `keep` entries.
    pub(in crate::engine) fn keeping(keep: usize) -> Self {
        Self { total: 0, first: Vec::new(), keep, seen: HashSet::new() }
    }

    /// Adds an entry, which is created only if it is kept.
    pub(in crate::engine) fn push_with(&mut self, entry: impl FnOnce() -> T) {
        self.total += 1;
        if self.first.len() < self.keep {
            self.first.push(entry());
        }
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, entry: T) {
        self.push_with(|| entry);
    }

    /// Returns the number of entries, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the kept entries for modification.
    pub(in crate::engine) fn kept_mut(&mut self) -> &mut [T] {
        &mut self.first
    }

    /// Drops all entries but the first `keep`.
    pub(in crate::engine) fn truncate(&mut self, keep: usize) {
        self.first.truncate(keep);
    }
}

impl<T: Hash> Listed<T> {
    /// Adds an entry unless it was added before.
    pub(super) fn push_once(&mut self, entry: T) {
        if self.seen.insert(HASHER.hash_one(&entry)) {
            self.push(entry);
        }
    }

    /// Adds entries, each unless it was added before.
    pub(super) fn extend_once(&mut self, entries: impl IntoIterator<Item = T>) {
        entries.into_iter().for_each(|entry| self.push_once(entry));
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl<T> From<Vec<T>> for Listed<T> {
    fn from(first: Vec<T>) -> Self {
        let total = u64::try_from(first.len()).unwrap_or(u64::MAX);
        Self { total, first, ..Self::default() }
    }
}

impl<T> From<Read<T>> for Listed<T> {
    fn from(read: Read<T>) -> Self {
        match read {
            Read::Listed { total, first } => Self { total, first, ..Self::default() },
            Read::Alone(first) => first.into(),
        }
    }
}

impl<T> Deref for Listed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.first
    }
}

impl<T: PartialEq> PartialEq for Listed<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.total, &self.first) == (other.total, &other.first)
    }
}

impl<T: PartialEq> PartialEq<Vec<T>> for Listed<T> {
    fn eq(&self, other: &Vec<T>) -> bool {
        self.first == *other && self.total == u64::try_from(other.len()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_all_and_keeps_the_first() {
        let mut list = Listed::keeping(2);
        (0..5).for_each(|number| list.push(number));
        assert_eq!((list.total(), &list[..]), (5, &[0, 1][..]));
        let text = serde_json::to_string(&list).expect("written");
        assert_eq!(text, r#"{"total":5,"first":[0,1]}"#);
        assert_eq!(serde_json::from_str::<Listed<i32>>(&text).expect("read"), list);
        assert_eq!(serde_json::from_str::<Listed<i32>>("[7, 8]").expect("read").total(), 2);
    }

    #[test]
    fn what_was_found_twice_is_listed_once_though_it_is_not_kept() {
        let mut list = Listed::keeping(1);
        list.extend_once(["a", "b", "b", "a"]);
        assert_eq!((list.total(), &list[..]), (2, &["a"][..]));
    }
}
