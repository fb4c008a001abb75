//! Time, which advances only when the driver says so.

use jiff::Timestamp;
use rand::RngExt;
use usersync::store::EngineStore;

use super::{Simulation, past};
use crate::{gates::Opens, world::MARGIN};

impl Simulation<'_> {
    pub(super) async fn next_due(&self) -> Option<Timestamp> {
        let connectors: Vec<_> = self.pairs.iter().map(|pair| pair.connector.clone()).collect();
        self.store.next_due(&self.pairs[0].target, &connectors).await.expect("the store answers")
    }

    /// Returns the times of everything that only time triggers.
    pub(super) async fn times(&self) -> Vec<Timestamp> {
        let due = self.next_due().await;
        let world = self.shared.world();
        let mut times: Vec<Timestamp> = due.into_iter().collect();
        times.extend(self.shared.gates.waiting().into_iter().filter_map(|gate| match gate.opens {
            Opens::At(time) => Some(time),
            _ => None,
        }));
        for request in world.requests.values() {
            times.push(if request.sender.is_some() { past(request.deadline) } else { request.deadline + MARGIN });
        }
        times.extend(world.pending.as_ref().map(|pending| pending.by));
        times.extend(world.hidden.values());
        times.retain(|time| *time > world.now);
        times.sort();
        times
    }

    pub(super) async fn may_advance(&self) -> bool {
        !self.times().await.is_empty()
    }

    /// Advances the clock, mostly to the next of these times.
    pub(super) async fn advance(&mut self) {
        let times = self.times().await;
        let Some(first) = times.first() else { return };
        let time = if self.rng.random_bool(0.7) { *first } else { times[self.rng.random_range(0..times.len())] };
        let requests: Vec<u64> = self.shared.world().requests.keys().copied().collect();
        for number in requests {
            let Some(request) = self.shared.world().requests.get(&number).cloned() else { continue };
            if request.sender.is_some() && request.deadline < time {
                if self.left.timeout > 0 && self.rng.random_bool(0.7) {
                    self.left.timeout -= 1;
                    self.shared.world().give_up_waiting(number);
                } else {
                    self.arrive(number).await;
                }
            }
            let orphan = self.shared.world().requests.get(&number).is_some_and(|request| request.sender.is_none());
            if orphan && request.deadline + MARGIN <= time {
                if self.rng.random_bool(0.7) {
                    self.arrive(number).await;
                } else {
                    self.shared.world().lose(number);
                }
            }
        }
        let mut world = self.shared.world();
        if world.pending.as_ref().is_some_and(|pending| pending.by <= time) {
            world.commit();
        }
        world.now = time;
        let since = time.duration_since(crate::world::BEGIN);
        world.say(format!("time: {since:#}"));
    }

    /// Checks, when no step is possible, that this is because all work is done.
    pub(super) async fn stuck(&mut self) {
        let due = self.next_due().await;
        let mut world = self.shared.world();
        if !self.actors.is_empty() || due.is_some() {
            let text = format!("nothing can happen, but {} work, due: {due:?}", self.actors.len());
            world.violated("L", text);
        }
    }
}
