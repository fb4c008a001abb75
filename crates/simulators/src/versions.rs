//! A state with its past, so that a read can be answered from an earlier version.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::fault::Stale;

/// The present version of `W`, and as many earlier ones as were asked for.
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
    /// Starts with `world`, and keeps the last `keep` versions before each change.
    pub(crate) fn new(world: W, keep: usize) -> Self {
        Self { now: RwLock::new(Arc::new(world)), past: Mutex::new(Past { keep, kept: VecDeque::new(), frozen: None }) }
    }

    /// Reads the present version, or the one that `stale` asks for as far as it is kept.
    pub(crate) fn read<R>(&self, stale: Option<Stale>, view: impl FnOnce(&W) -> R) -> R {
        let earlier = stale.and_then(|stale| {
            let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
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
            None => view(&self.now.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Changes the present version in place; an error means that `change` left it as it was.
    pub(crate) fn write<R, E>(&self, change: impl FnOnce(&mut W) -> Result<R, E>) -> Result<R, E> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.keep == 0 {
            drop(past);
            // Clones only while somebody holds a frozen version.
            return change(Arc::make_mut(&mut now));
        }
        let before = Arc::clone(&now);
        let result = change(Arc::make_mut(&mut now))?;
        past.push(before);
        Ok(result)
    }

    /// A copy of the present version, to try a change on.
    pub(crate) fn draft(&self) -> W {
        W::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the present version for [`Stale::Frozen`] reads.
    pub(crate) fn freeze(&self) {
        let now = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner));
        self.past.lock().unwrap_or_else(PoisonError::into_inner).frozen = Some(now);
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
