//! A state with its history, so that an earlier version can answer a read.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use super::fault::Stale;
use parking_lot::{Mutex, RwLock};

/// The current version of `W`, and the earlier ones that are kept.
#[derive(Debug)]
pub(crate) struct Versions<W> {
    now: RwLock<Arc<W>>,
    past: Mutex<Past<W>>,
}

#[derive(Debug)]
struct Past<W> {
    keep: usize,
    kept: VecDeque<Arc<W>>,
    frozen: Option<Arc<W>>,
}

impl<W: Clone> Versions<W> {
    /// Starts with `world`; keeps the last `keep` versions.
    pub(crate) fn new(world: W, keep: usize) -> Self {
        Self { now: RwLock::new(Arc::new(world)), past: Mutex::new(Past { keep, kept: VecDeque::new(), frozen: None }) }
    }

    /// Reads the current version, or the one that `stale` requests if it is kept.
    pub(crate) fn read<R>(&self, stale: Option<Stale>, view: impl FnOnce(&W) -> R) -> R {
        let earlier = stale.and_then(|stale| {
            let past = self.past.lock();
            match stale {
                Stale::Frozen => past.frozen.clone(),
                Stale::ChangesAgo(0) => None,
                Stale::ChangesAgo(n) => {
                    past.kept.get(past.kept.len().saturating_sub(n)).or_else(|| past.kept.front()).cloned()
                }
            }
        });
        match earlier {
            Some(world) => view(&world),
            None => view(&self.now.read()),
        }
    }

    /// Changes the current version in place; on an error `change` must leave it unchanged.
    pub(crate) fn write<R, E>(&self, change: impl FnOnce(&mut W) -> Result<R, E>) -> Result<R, E> {
        let mut now = self.now.write();
        let mut past = self.past.lock();
        if past.keep == 0 {
            drop(past);
            // Clones only while a frozen version is held.
            return change(Arc::make_mut(&mut now));
        }
        let before = Arc::clone(&now);
        let result = change(Arc::make_mut(&mut now))?;
        past.push(before);
        Ok(result)
    }

    /// Changes the current version in place.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut W) -> R) -> R {
        let Ok(result) = self.write(|world| Ok::<R, Infallible>(change(world)));
        result
    }

    /// Returns a copy of the current version, to try a change on.
    pub(crate) fn draft(&self) -> W {
        W::clone(&self.now.read())
    }

    /// Saves the current version for [`Stale::Frozen`] reads.
    pub(crate) fn freeze(&self) {
        let now = Arc::clone(&self.now.read());
        self.past.lock().frozen = Some(now);
    }
}

impl<W> Past<W> {
    fn push(&mut self, before: Arc<W>) {
        if self.keep == 0 {
            return;
        }
        if self.kept.len() == self.keep {
            self.kept.pop_front();
        }
        self.kept.push_back(before);
    }
}
