//! Limits the memory that all request bodies take together.
//!
//! A body is charged for the memory that it takes, at that moment, never for the length that it announces. Bodies that
//! are being read are not yet verified; they share a quarter of the budget. If that quarter is full, the body that has
//! been read for the longest is evicted. So senders that never finish their bodies cannot keep out one that does.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Bytes charged to a request before its body's first byte: for its task and the connection's buffer.
pub(super) const REQUEST: usize = 8 * 1024;

/// Divisor of the budget for bodies that are being read: a quarter.
const UNVERIFIED_PART: usize = 4;

/// The memory budget of a listener.
pub(super) struct Budget {
    total: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes of all requests.
    held: usize,
    /// Bytes of the requests that are being read.
    unverified: usize,
    /// The requests that are being read, oldest first.
    reading: BTreeMap<u64, Reading>,
    next: u64,
}

struct Reading {
    bytes: usize,
    evicted: Arc<Notify>,
}

/// The budget has no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Budget {
    pub fn new(total: usize) -> Self {
        Self { total, state: Mutex::default() }
    }

    /// Charges for a request before its body is read.
    pub fn begin(&self) -> Result<Charge<'_>, Full> {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let evicted = Arc::new(Notify::new());
        state.reading.insert(id, Reading { bytes: 0, evicted: Arc::clone(&evicted) });
        drop(state);
        let mut charge = Charge { budget: self, id, evicted, verified: None };
        charge.grow(REQUEST)?;
        Ok(charge)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns the bytes charged now: of all requests, and of those being read.
    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        let state = self.state();
        (state.held, state.unverified)
    }
}

/// The bytes charged to one request; released when it is dropped.
pub(super) struct Charge<'a> {
    budget: &'a Budget,
    id: u64,
    evicted: Arc<Notify>,
    /// The bytes, once the signature is verified; `None`: the body is being read.
    verified: Option<usize>,
}

impl Charge<'_> {
    /// Charges for more bytes of a body that is being read.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let (total, unverified) = (self.budget.total, self.budget.total / UNVERIFIED_PART);
        let mut state = self.budget.state();
        while state.held + bytes > total || state.unverified + bytes > unverified {
            let oldest = state.reading.first_key_value().map(|(id, _)| *id).filter(|id| *id < self.id);
            let Some(reading) = oldest.and_then(|id| state.reading.remove(&id)) else { return Err(Full) };
            state.held -= reading.bytes;
            state.unverified -= reading.bytes;
            reading.evicted.notify_one();
        }
        let reading = state.reading.get_mut(&self.id).ok_or(Full)?;
        reading.bytes += bytes;
        state.held += bytes;
        state.unverified += bytes;
        Ok(())
    }

    /// Returns once the body is evicted for a newer one.
    pub fn evicted(&self) -> impl Future<Output = ()> + use<> {
        let evicted = Arc::clone(&self.evicted);
        async move { evicted.notified().await }
    }

    /// Marks the signature as verified: the bytes no longer count as being read.
    pub fn verified(&mut self) {
        let mut state = self.budget.state();
        if let Some(reading) = state.reading.remove(&self.id) {
            state.unverified -= reading.bytes;
            self.verified = Some(reading.bytes);
        }
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if let Some(reading) = state.reading.remove(&self.id) {
            state.unverified -= reading.bytes;
            state.held -= reading.bytes;
        }
        state.held -= self.verified.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const K: usize = 1024;

    #[test]
    fn bodies_that_are_read_have_a_quarter_and_the_oldest_makes_room() {
        let budget = Budget::new(256 * K);
        let mut slow = budget.begin().unwrap();
        slow.grow(40 * K).unwrap();
        let mut signed = budget.begin().unwrap();
        signed.grow(8 * K).unwrap();
        assert!(slow.evicted().now_or_never().is_none(), "64 KiB are full, not more");
        let evicted = slow.evicted();
        signed.grow(K).unwrap();
        assert!(evicted.now_or_never().is_some());
        assert_eq!(budget.held(), (17 * K, 17 * K));
        assert_eq!(slow.grow(1), Err(Full), "who made room gets none back");
        drop(slow);
        assert_eq!(budget.held(), (17 * K, 17 * K), "nothing is given back twice");
        signed.verified();
        assert_eq!(budget.held(), (17 * K, 0));
        drop(signed);
        assert_eq!(budget.held(), (0, 0));
    }

    #[test]
    fn who_came_first_never_drives_out_who_came_later() {
        let budget = Budget::new(256 * K);
        let mut first = budget.begin().unwrap();
        let mut later = budget.begin().unwrap();
        later.grow(40 * K).unwrap();
        assert_eq!(first.grow(40 * K), Err(Full));
        assert!(later.evicted().now_or_never().is_none());
        drop(first);
        later.grow(16 * K).unwrap();
        assert_eq!(later.grow(K), Err(Full), "a quarter is a quarter");
    }

    #[test]
    fn verified_requests_never_take_more_than_the_budget() {
        let budget = Budget::new(256 * K);
        let mut held = Vec::new();
        while let Ok(mut charge) = budget.begin() {
            charge.grow(24 * K).unwrap();
            charge.verified();
            held.push(charge);
            assert!(budget.held().0 <= 256 * K);
        }
        assert_eq!(held.len(), 8);
        held.pop();
        assert!(budget.begin().is_ok());
        held.clear();
        assert_eq!(budget.held(), (0, 0));
    }
}
