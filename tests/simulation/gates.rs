//! Gates, at which work stops until the driver lets it continue. Only one actor is polled at a time, and only up to its
//! next gate, so that the driver alone decides the order.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

/// Number of a worker or a run.
pub type Actor = usize;

/// Condition that opens a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// The driver's choice.
    Chosen,
    /// The driver's choice, before a read of the source or the target, which may fail.
    Reading,
    /// This time.
    At(Timestamp),
    /// The answer to this request.
    Answered(u64),
}

/// An actor that waits at a gate.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub gate: u64,
    pub actor: Actor,
    pub what: String,
    pub opens: Opens,
}

#[derive(Default)]
struct State {
    /// The actor that is being polled.
    actor: Actor,
    last: u64,
    waiting: BTreeMap<u64, (Waiting, Waker)>,
    opened: BTreeSet<u64>,
    /// Calls of the store in progress, and gates that are opened but not passed yet.
    busy: usize,
}

/// All gates of one simulation.
#[derive(Default)]
pub struct Gates(Mutex<State>);

impl Gates {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Waits until the driver opens the gate.
    pub fn pass(&self, what: impl Into<String>, opens: Opens) -> Gate<'_> {
        Gate { gates: self, what: what.into(), opens, id: None }
    }

    /// Marks work that ends by itself, without the driver.
    pub fn busy(&self) -> Busy<'_> {
        self.state().busy += 1;
        Busy(self)
    }

    /// Sets the actor that is polled.
    pub fn turn_to(&self, actor: Actor) {
        self.state().actor = actor;
    }

    /// Returns the actor that is polled.
    pub fn actor(&self) -> Actor {
        self.state().actor
    }

    /// Returns whether the actor cannot continue until the driver opens one of its gates.
    pub fn stands(&self, actor: Actor) -> bool {
        let state = self.state();
        state.busy == 0 && state.waiting.values().any(|(waiting, _)| waiting.actor == actor)
    }

    /// Returns all waiting actors, oldest first.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.state().waiting.values().map(|(waiting, _)| waiting.clone()).collect()
    }

    /// Opens a gate.
    pub fn open(&self, gate: u64) {
        let mut state = self.state();
        if let Some((_, waker)) = state.waiting.remove(&gate) {
            state.opened.insert(gate);
            state.busy += 1;
            drop(state);
            waker.wake();
        }
    }
}

/// See [`Gates::busy`].
pub struct Busy<'g>(&'g Gates);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
    }
}

/// See [`Gates::pass`].
pub struct Gate<'g> {
    gates: &'g Gates,
    what: String,
    opens: Opens,
    id: Option<u64>,
}

impl Future for Gate<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let gates = self.gates;
        let mut state = gates.state();
        let gate = if let Some(gate) = self.id {
            if state.opened.remove(&gate) {
                state.busy -= 1;
                self.id = None;
                return Poll::Ready(());
            }
            gate
        } else {
            state.last += 1;
            state.last
        };
        self.id = Some(gate);
        let waiting = Waiting { gate, actor: state.actor, what: self.what.clone(), opens: self.opens };
        let actor = state.waiting.get(&gate).map_or(waiting.actor, |(known, _)| known.actor);
        state.waiting.insert(gate, (Waiting { actor, ..waiting }, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let Some(gate) = self.id else { return };
        let mut state = self.gates.state();
        state.waiting.remove(&gate);
        if state.opened.remove(&gate) {
            state.busy -= 1;
        }
    }
}
