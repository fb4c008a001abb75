//! Lists that are paged in name order.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// An id, shared by everything that refers to it.
pub(crate) type Id = Arc<str>;

/// Ids in name order, as a database lists them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    by_name: BTreeMap<Arc<str>, Id>,
    // Offset paging over a tree would be quadratic; built for the first page after a change.
    flat: OnceLock<Vec<Id>>,
}

impl Roster {
    pub(crate) fn insert(&mut self, name: &str, id: &Id) {
        self.flat = OnceLock::new();
        self.by_name.insert(name.into(), Arc::clone(id));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.flat = OnceLock::new();
        self.by_name.remove(name);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str, id: &Id) {
        self.remove(from);
        self.insert(to, id);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Id> {
        self.by_name.get(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn ids(&self) -> &[Id] {
        self.flat.get_or_init(|| self.by_name.values().cloned().collect())
    }
}
