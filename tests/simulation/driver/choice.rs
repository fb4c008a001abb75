//! Which step comes next.

use rand::{RngExt, rngs::SmallRng};

use super::{RUN, Simulation};
use crate::gates::{Actor, Opens, Waiting};

/// Possible next steps.
#[derive(Clone, Debug)]
pub(super) enum Next {
    Pass { gate: Waiting, fails: bool },
    StartWorker(Actor),
    StartRun(usize),
    Change,
    Commit,
    Deliver(usize),
    LoseEvent(usize),
    DoubleEvent(usize),
    Arrive(u64),
    LoseRequest(u64),
    GiveUpWaiting(u64),
    Crash,
    Drift,
    StoreFails,
    Hide,
    ChangePolicy,
    Approve,
    Advance,
}

/// Probability of each step; drawn for each seed, so that some seeds switch often and others hardly ever.
pub(super) struct Weights {
    same_actor: u32,
    start: u32,
    change: u32,
    deliver: u32,
    arrive: u32,
    fault: u32,
    advance: u32,
    run: u32,
    /// Whether runs start only after the last change, so that both sides must be in sync after them.
    runs_come_last: bool,
}

impl Weights {
    pub(super) fn draw(rng: &mut SmallRng) -> Self {
        let mut one_of = |choices: &[u32]| choices[rng.random_range(0..choices.len())];
        Self {
            same_actor: one_of(&[1, 1, 4, 20]),
            start: one_of(&[2, 8, 20]),
            change: one_of(&[1, 3, 10]),
            deliver: one_of(&[2, 8, 20]),
            arrive: one_of(&[2, 8, 20]),
            fault: one_of(&[1, 1, 3, 10]),
            advance: one_of(&[0, 1, 1, 4]),
            run: one_of(&[2, 10, 40]),
            runs_come_last: one_of(&[0, 1]) == 1,
        }
    }
}

impl Simulation<'_> {
    pub(super) async fn choose(&mut self) -> Option<Next> {
        let mut choices = self.must_happen();
        if self.waits_for_approval().await {
            choices.push((self.weights.deliver, Next::Approve));
        }
        let busy = !choices.is_empty();
        if !busy && self.may_advance().await {
            choices.push((8, Next::Advance));
        } else if busy {
            choices.push((self.weights.advance, Next::Advance));
        }
        choices.extend(self.may_happen(!choices.is_empty()));
        let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            self.stuck().await;
            return None;
        }
        let mut left = self.rng.random_range(0..total);
        for (weight, next) in choices {
            if left < weight {
                return Some(next);
            }
            left -= weight;
        }
        None
    }

    /// Returns steps that make progress, one of which must happen eventually.
    pub(super) fn must_happen(&self) -> Vec<(u32, Next)> {
        let mut choices = Vec::new();
        let world = self.shared.world();
        for gate in self.shared.gates.waiting() {
            let open = match gate.opens {
                Opens::Chosen | Opens::Reading => true,
                Opens::At(time) => time <= world.now,
                Opens::Answered(request) => world.answers.contains_key(&request),
            };
            if open {
                let weight = if gate.actor == self.last_actor { 8 * self.weights.same_actor } else { 8 };
                choices.push((weight, Next::Pass { gate, fails: false }));
            }
        }
        for worker in (0..self.scenario.workers).filter(|worker| !self.actors.contains_key(worker)) {
            if !self.idle.contains(&worker) {
                choices.push((self.weights.start, Next::StartWorker(worker)));
            }
        }
        choices.extend((0..world.events.len()).map(|event| (self.weights.deliver, Next::Deliver(event))));
        choices.extend(world.requests.keys().map(|request| (self.weights.arrive, Next::Arrive(*request))));
        if world.pending.is_some() {
            choices.push((self.weights.change + 2, Next::Commit));
        }
        choices
    }

    /// Returns optional steps: changes, runs, and faults.
    pub(super) fn may_happen(&self, busy: bool) -> Vec<(u32, Next)> {
        let mut choices = Vec::new();
        let world = self.shared.world();
        let Weights { change, fault, run, runs_come_last, .. } = self.weights;
        if self.left.change > 0 && world.pending.is_none() {
            choices.push((change, Next::Change));
        }
        if self.left.run > 0 && (self.left.change == 0 || !runs_come_last) {
            let free = (0..self.pairs.len()).filter(|realm| !self.actors.contains_key(&(RUN + realm)));
            choices.extend(free.map(|realm| (run, Next::StartRun(realm))));
        }
        if self.left.drift > 0 {
            choices.push((2, Next::Drift));
        }
        if self.left.hide > 0 {
            choices.push((2, Next::Hide));
        }
        if self.left.policy > 0 {
            choices.push((change, Next::ChangePolicy));
        }
        if !busy {
            return choices;
        }
        for event in 0..world.events.len() {
            if self.left.lose > 0 {
                choices.push((fault, Next::LoseEvent(event)));
            }
            if self.left.double > 0 {
                choices.push((fault, Next::DoubleEvent(event)));
            }
        }
        for (number, request) in &world.requests {
            if request.sender.is_none() {
                choices.push((fault, Next::LoseRequest(*number)));
            } else if self.left.timeout > 0 {
                choices.push((fault, Next::GiveUpWaiting(*number)));
            }
        }
        if self.left.timeout > 0 {
            choices.extend(world.answers.keys().map(|number| (fault, Next::GiveUpWaiting(*number))));
        }
        if self.left.fault > 0 {
            let readings = self.shared.gates.waiting().into_iter().filter(|gate| gate.opens == Opens::Reading);
            choices.extend(readings.map(|gate| (fault, Next::Pass { gate, fails: true })));
        }
        if self.left.store > 0 && world.store_out.is_none() && !self.actors.is_empty() {
            choices.push((fault, Next::StoreFails));
        }
        if self.left.crash > 0 && !self.actors.is_empty() {
            choices.push((fault, Next::Crash));
        }
        choices
    }
}
