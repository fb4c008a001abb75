//! Steps beside the actors: changes, events, requests on their way, failures, approvals.

use jiff::SignedDuration;
use rand::RngExt;
use usersync::{
    model::{Approval, Operation},
    store::{Decision, OperatorStore, StoreReads},
};

use super::{COMMITS_WITHIN, Simulation, engine};
use crate::{
    checks::STRANGER,
    scenario::Change,
    world::{Pending, StoreFault},
};

impl Simulation<'_> {
    pub(super) fn change(&mut self) {
        let changes = self.scenario.changes(&self.shared.world().realms, &self.born);
        self.left.change -= 1;
        if changes.is_empty() {
            return;
        }
        let Change { what, after, hints } = changes[self.rng.random_range(0..changes.len())].clone();
        let early = self.left.early > 0 && self.rng.random_bool(0.5);
        self.left.early -= u32::from(early);
        for realm in &after {
            self.born.extend(realm.users.keys().map(ToString::to_string));
            self.born.extend(realm.groups.keys().map(ToString::to_string));
        }
        self.run_since.clear();
        self.running_since.clear();
        self.lost |= hints.is_empty();
        let mut world = self.shared.world();
        if early {
            world.say(format!("source: it will be that {what}, an event says so already"));
            world.pending = Some(Pending { what, realms: after, by: world.now + COMMITS_WITHIN });
        } else {
            world.become_realms(after);
            let shown = world.show();
            world.say(format!("source: {what}: {shown}"));
        }
        for (realm, subject) in hints {
            world.send_event(realm, subject, early);
        }
    }

    pub(super) async fn deliver(&mut self, event: usize) {
        let sent = self.shared.world().events.remove(event);
        let now = self.now();
        self.shared.world().say(format!("event of {} is stored", sent.event.about));
        let pair = &self.pairs[sent.realm];
        let targets = [pair.target.clone()];
        // Through the engine's own store, which may be a sabotaged one.
        let stored = self.engine.store().append_events(&pair.connector, &targets, vec![sent.event.clone()], now).await;
        if stored.is_err() {
            // It was not acknowledged, so its sender retries.
            self.shared.world().events.push(sent);
        }
    }

    pub(super) async fn arrive(&mut self, request: u64) {
        self.expect_nobody_harmed(request).await;
        self.shared.world().arrive(request);
    }

    /// Checks that no user that was enabled throughout is deactivated, not even for a moment.
    pub(super) async fn expect_nobody_harmed(&self, request: u64) {
        let hit = {
            let world = self.shared.world();
            let operation = world.requests.get(&request).map(|request| &request.operation);
            match operation {
                Some(operation @ Operation::DeactivateUser { account, .. }) => world.addressed(account, operation).ok(),
                _ => None,
            }
        };
        let Some(hit) = hit else { return };
        for pair in &self.pairs {
            let links = self.store.links(pair).await.expect("the store answers");
            let Some(link) = links.iter().find(|link| link.account == hit) else { continue };
            let mut world = self.shared.world();
            if world.never_off.contains(&link.user) {
                world.violated("S1t", format!("{} was enabled throughout and is deactivated", link.user));
            }
        }
    }

    /// Restarts usersync with another policy, which needs a full reconcile.
    pub(super) async fn change_policy(&mut self) {
        self.left.policy -= 1;
        self.left.run += 1;
        self.lost = true;
        self.run_since.clear();
        let rules = self.scenario.draw_rules(&mut self.rng);
        {
            let mut world = self.shared.world();
            world.say(format!("the policy changes: {}", rules.policy(&self.pairs[0].target)));
            world.become_rules(rules);
        }
        self.restart().await;
    }

    /// Returns the open approvals.
    pub(super) async fn open_approvals(&self) -> Vec<Approval> {
        let mut open = self.store.approvals(true).await.expect("the store answers");
        open.retain(|approval| self.pairs.contains(&approval.pair));
        open
    }

    pub(super) async fn waits_for_approval(&self) -> bool {
        self.scenario.draws_policy && !self.open_approvals().await.is_empty()
    }

    /// Approves all that waits for an operator.
    pub(super) async fn approve(&mut self) {
        for approval in self.open_approvals().await {
            self.shared.world().say(format!("an operator approves: {:?}", approval.kind));
            let (by, note) = ("operator".to_owned(), None);
            let decision = Decision { set: approval.id, items: Vec::new(), approve: true, by, note };
            self.store.decide(&decision, self.now()).await.expect("the store answers");
        }
    }

    /// Crashes and restarts the process: its memory is lost, requests in flight are not.
    pub(super) async fn crash(&mut self) {
        self.left.crash -= 1;
        self.shared.world().say("crash");
        self.restart().await;
    }

    pub(super) async fn restart(&mut self) {
        self.actors.clear();
        self.running_since.clear();
        self.shared.world().claims.clear();
        self.store.crash(self.now()).await.expect("the store answers");
        self.engine = engine(self.scenario, self.sabotage, &self.shared, &self.store, &self.pairs, self.seed);
    }

    /// Hides an account from the target for a while: as long as a stale node or a resync takes, or for hours.
    pub(super) fn hide(&mut self) {
        self.left.hide -= 1;
        self.lost = true;
        self.run_since.clear();
        self.running_since.clear();
        let mut world = self.shared.world();
        let accounts: Vec<_> = world.accounts.values().filter(|account| account.name != STRANGER).cloned().collect();
        let account = &accounts[self.rng.random_range(0..accounts.len())];
        let minutes = [1, 5, 20, 120][self.rng.random_range(0..4)];
        let until = world.now + SignedDuration::from_mins(minutes);
        world.hidden.insert(account.id.clone(), until);
        world.say(format!("target: {} is not found for {minutes} minutes", account.id));
    }

    /// Makes this many calls of the store fail.
    pub(super) fn store_fails(&mut self) {
        self.left.store -= 1;
        let fault = if self.rng.random_bool(0.7) { StoreFault::Refused } else { StoreFault::Unconfirmed };
        let calls = self.rng.random_range(1..=8);
        let mut world = self.shared.world();
        world.say(format!("the next {calls} calls of the store fail: {fault:?}"));
        world.store_out = Some((fault, calls));
    }

    /// Changes something in the target without usersync.
    pub(super) fn drift(&mut self) {
        self.left.drift -= 1;
        self.lost = true;
        self.run_since.clear();
        self.running_since.clear();
        let mut world = self.shared.world();
        let accounts: Vec<_> = world.accounts.values().filter(|account| account.name != STRANGER).cloned().collect();
        let groups: Vec<_> = world.groups.keys().cloned().collect();
        let account = &accounts[self.rng.random_range(0..accounts.len())];
        // An effect that this change undoes cannot be seen any more when the intent is recovered.
        for intent in world.intents.values_mut().filter(|intent| intent.outcome.is_none()) {
            intent.took_effect &= intent.operation.account() != Some(&account.id);
        }
        if self.rng.random_bool(0.5) {
            let group = &groups[self.rng.random_range(0..groups.len())];
            if let Some((_, members)) = world.groups.get_mut(group)
                && !members.remove(&account.id)
            {
                members.insert(account.id.clone());
            }
        } else if let Some(account) = world.accounts.get_mut(&account.id) {
            account.display_name = "Another name".into();
        }
        let shown = world.show();
        world.say(format!("drift in the target: {shown}"));
    }
}
