//! The simulated world: realms, a target, requests and events in flight, and a clock. Nothing here moves by itself; the
//! driver moves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use usersync::{
    engine::Clock,
    model::{
        Account, AccountId, ChangeOutcome, ErrorClass, EventOutcome, GroupId, GroupState, IntentId, NewEvent,
        Operation, Subject, TargetGroup, TargetGroupId, Token, UnmanagedMembers, UserId, UserOrganizations, UserRoles,
        UserState,
    },
    targets::{Applied, TargetError, TargetErrorKind},
};

use crate::{
    gates::{Actor, Gates, Opens},
    rules::{Rules, parent},
};

/// How much later than its deadline a request may arrive; the engine's own margin.
pub const MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// Start time of every simulation.
pub const BEGIN: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// A user of a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub login: String,
    pub enabled: bool,
    pub groups: BTreeSet<GroupId>,
}

/// A realm: the users and groups of one source.
#[derive(Clone, Debug, Default)]
pub struct Realm {
    pub users: BTreeMap<UserId, Person>,
    /// Names by id.
    pub groups: BTreeMap<GroupId, String>,
}

/// A future change of the source.
#[derive(Clone, Debug)]
pub struct Pending {
    pub what: String,
    pub realms: Vec<Realm>,
    /// Latest time of the change.
    pub by: Timestamp,
}

/// An event in flight to the store.
#[derive(Clone, Debug)]
pub struct OnItsWay {
    pub realm: usize,
    pub event: NewEvent,
}

/// A request in flight to the target.
#[derive(Clone, Debug)]
pub struct Request {
    pub operation: Operation,
    pub intent: Option<IntentId>,
    /// Further operations of the same call.
    pub also: Vec<(Operation, Option<IntentId>)>,
    /// Whether the call adds accounts to one group: all of them, or none.
    pub additions: bool,
    pub deadline: Timestamp,
    /// The actor that waits for the answer; `None`: it has died or given up.
    pub sender: Option<Actor>,
}

/// An intent as it was stored.
#[derive(Clone, Debug)]
pub struct Intent {
    pub operation: Operation,
    pub writer: Actor,
    pub sent: bool,
    pub took_effect: bool,
    pub outcome: Option<ChangeOutcome>,
}

/// How a call of the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Nothing was written.
    Refused,
    /// It was written, but the caller gets an error.
    Unconfirmed,
}

/// State of the world.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct World {
    /// How the next calls of the store fail, and how many.
    pub store_out: Option<(StoreFault, u32)>,
    /// Accounts that the target does not find, and until when.
    pub hidden: BTreeMap<AccountId, Timestamp>,
    pub now: Timestamp,
    pub realms: Vec<Realm>,
    /// The policy in force.
    pub rules: Rules,
    /// Whether a policy was in force that merges groups of one name.
    pub were_merged: bool,
    /// Whether a policy was in force that removes unmanaged members.
    pub removed_unmanaged: bool,
    pub pending: Option<Pending>,
    pub events: Vec<OnItsWay>,
    pub accounts: BTreeMap<AccountId, Account>,
    /// Groups of the target with their members.
    pub groups: BTreeMap<TargetGroupId, (String, BTreeSet<AccountId>)>,
    /// Whether the target is addressed by login, not by stable id.
    pub by_name: bool,
    pub requests: BTreeMap<u64, Request>,
    /// Answers in flight, by their requests.
    pub answers: BTreeMap<u64, Result<Applied, TargetError>>,
    /// Groups that calls with several operations refused, by their requests.
    pub refused: BTreeMap<u64, Vec<TargetGroupId>>,
    pub intents: BTreeMap<IntentId, Intent>,
    /// Claimed subjects, and their claims.
    pub claims: BTreeMap<(usize, Subject), Token>,
    /// Whether the read behind the next opened gate fails.
    pub fail_reading: bool,
    /// Users that existed, were enabled and in scope all the time.
    pub never_off: BTreeSet<UserId>,
    /// Whether a full reconcile was requested and has not started.
    pub run_requested: bool,
    /// Times at which accounts were deactivated.
    pub deactivated_at: Vec<Timestamp>,
    /// Number of requests ever sent.
    pub sent: u64,
    /// Steps so far.
    pub trace: Vec<String>,
    /// Violated properties.
    pub violations: Vec<String>,
    numbers: u64,
    /// Number of accounts that were ever created.
    accounts_made: u64,
}

impl World {
    pub fn new(realms: Vec<Realm>, rules: Rules, by_name: bool) -> Self {
        Self {
            now: BEGIN,
            realms,
            were_merged: rules.merged,
            removed_unmanaged: rules.unmanaged == UnmanagedMembers::Remove,
            rules,
            pending: None,
            events: Vec::new(),
            accounts: BTreeMap::new(),
            groups: BTreeMap::new(),
            by_name,
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            refused: BTreeMap::new(),
            intents: BTreeMap::new(),
            claims: BTreeMap::new(),
            store_out: None,
            hidden: BTreeMap::new(),
            fail_reading: false,
            never_off: BTreeSet::new(),
            run_requested: false,
            deactivated_at: Vec::new(),
            sent: 0,
            trace: Vec::new(),
            violations: Vec::new(),
            numbers: 0,
            accounts_made: 0,
        }
    }

    /// Records a step.
    pub fn say(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    /// Records a violated property.
    pub fn violated(&mut self, property: &str, how: impl AsRef<str>) {
        let text = format!("{property}: {}", how.as_ref());
        self.trace.push(format!("!!! {text}"));
        self.violations.push(text);
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    // --- the source ---

    /// Treats all enabled users in scope as such from now on.
    pub fn begin_to_watch(&mut self) {
        let users = self.realms.iter().flat_map(|realm| realm.users.keys());
        self.never_off = users.cloned().collect();
        self.watch();
    }

    /// Replaces the realms.
    pub fn become_realms(&mut self, realms: Vec<Realm>) {
        self.realms = realms;
        self.watch();
    }

    /// Replaces the policy.
    pub fn become_rules(&mut self, rules: Rules) {
        self.were_merged |= rules.merged;
        self.removed_unmanaged |= rules.unmanaged == UnmanagedMembers::Remove;
        self.rules = rules;
        self.watch();
    }

    /// Forgets who is disabled or out of scope now.
    fn watch(&mut self) {
        let (realms, rules) = (&self.realms, &self.rules);
        let stays = |person: &Person| rules.on_leaving(Some(person)).is_none();
        self.never_off.retain(|id| realms.iter().any(|realm| realm.users.get(id).is_some_and(stays)));
    }

    /// Commits a change that was announced before.
    pub fn commit(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.say(format!("source: commits: {}", pending.what));
            self.become_realms(pending.realms);
        }
    }

    /// Sends an event. `recheck`: perhaps before the change is committed.
    pub fn send_event(&mut self, realm: usize, subject: Subject, recheck: bool) {
        let number = self.number();
        let event = NewEvent {
            id: format!("e{number}"),
            kind: "UPDATE".into(),
            about: subject.to_string(),
            occurred_at: Some(self.now),
            body: "{}".into(),
            hints: vec![subject],
            may_remove: false,
            wants_run: false,
            recheck,
            polled: false,
            outcome: EventOutcome::Accepted,
        };
        self.events.push(OnItsWay { realm, event });
    }

    /// Sends an event again, as another sender with its own id does.
    pub fn double_event(&mut self, index: usize) {
        let mut double = self.events[index].clone();
        double.event.id = format!("{}-again", double.event.id);
        self.events.push(double);
    }

    /// Returns a user as a read returns it.
    pub fn user_state(&self, realm: usize, id: &UserId) -> Option<UserState> {
        let realm = &self.realms[realm];
        let person = realm.users.get(id)?;
        let groups = person.groups.iter().filter_map(|id| group_state(realm, id)).map(Arc::new).collect();
        Some(UserState {
            id: id.clone(),
            username: person.login.clone(),
            first_name: Some("Person".into()),
            last_name: Some(id.to_string()),
            email: None,
            email_verified: Some(true),
            enabled: person.enabled,
            federation_link: None,
            attributes: BTreeMap::new(),
            groups,
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        })
    }

    // --- the target ---

    /// Returns the account with this login.
    pub fn account_named(&self, name: &str) -> Option<&Account> {
        self.accounts.values().find(|account| account.name == name)
    }

    /// Returns an account with its groups.
    pub fn read_account(&self, account: &Account) -> Account {
        let groups = self.groups.iter().filter(|(_, (_, members))| members.contains(&account.id));
        Account { groups: Some(groups.map(|(id, _)| id.clone()).collect()), ..account.clone() }
    }

    /// Creates an account without usersync.
    pub fn make_account(&mut self, name: &str, display_name: &str) -> Account {
        let id = AccountId::from(format!("a{}", self.accounts_made));
        self.accounts_made += 1;
        let account = Account {
            id: id.clone(),
            name: name.into(),
            display_name: display_name.into(),
            email: None,
            active: true,
            groups: Some(Vec::new()),
            protected: None,
            immutable: None,
            access: Vec::new(),
            attributes: BTreeMap::new(),
        };
        self.accounts.insert(id, account.clone());
        account
    }

    /// Sends a request.
    pub fn send(&mut self, operation: &Operation, deadline: Timestamp, sender: Actor) -> u64 {
        let number = self.number();
        let intent = self.set_out(operation, sender);
        let same = |request: &&Request| {
            request.sender.is_some()
                && operation.account().is_some()
                && request.operation.account() == operation.account()
        };
        if let Some(other) = self.requests.values().find(same) {
            let text = format!("{operation} and {} are under way at once for one account", other.operation);
            self.violated("S2", text);
        }
        let operation = operation.clone();
        let request = Request { operation, intent, also: Vec::new(), additions: false, deadline, sender: Some(sender) };
        self.requests.insert(number, request);
        number
    }

    /// Sends one request that adds accounts to a group. Another request of the same run, to another group, may be in
    /// flight for a user.
    pub fn send_additions(
        &mut self,
        group: &TargetGroupId,
        accounts: &[AccountId],
        deadline: Timestamp,
        sender: Actor,
    ) -> u64 {
        let number = self.number();
        let mut all = Vec::with_capacity(accounts.len());
        for account in accounts {
            let (operation, intent) = self.set_out_addition(group, account, sender);
            let same = |request: &&Request| {
                let mut operations = std::iter::once(&request.operation).chain(request.also.iter().map(|(one, _)| one));
                request.sender.is_some_and(|other| other != sender)
                    && operations.any(|other| other.account() == Some(account))
            };
            if let Some(other) = self.requests.values().find(same) {
                let text = format!("{operation} and {} are under way at once for one account", other.operation);
                self.violated("S2", text);
            }
            all.push((operation, intent));
        }
        let (operation, intent) = all.remove(0);
        let request = Request { operation, intent, also: all, additions: true, deadline, sender: Some(sender) };
        self.requests.insert(number, request);
        number
    }

    /// Prepares an addition that is addressed by its account's id alone, and returns its intent.
    fn set_out_addition(
        &mut self,
        group: &TargetGroupId,
        account: &AccountId,
        sender: Actor,
    ) -> (Operation, Option<IntentId>) {
        let written = self.intents.values().rev().map(|intent| &intent.operation).find(|operation| {
            matches!(operation, Operation::AddMember { group: to, account: who, .. } if to == group && who == account)
        });
        let unknown = || Operation::AddMember {
            group: group.clone(),
            group_name: group.to_string(),
            account: account.clone(),
            name: account.to_string(),
        };
        let operation = written.cloned().unwrap_or_else(unknown);
        let intent = self.set_out(&operation, sender);
        (operation, intent)
    }

    /// Sends one request for several operations.
    pub fn send_batch(&mut self, operations: &[Operation], deadline: Timestamp, sender: Actor) -> u64 {
        let number = self.send(&operations[0], deadline, sender);
        let also = operations[1..].iter().map(|one| (one.clone(), self.set_out(one, sender))).collect();
        self.requests.get_mut(&number).expect("just sent").also = also;
        number
    }

    /// Marks the intent of an operation as sent.
    fn set_out(&mut self, operation: &Operation, sender: Actor) -> Option<IntentId> {
        self.sent += 1;
        let intent = self.intents.iter_mut().rev().find(|(_, intent)| {
            intent.writer == sender && !intent.sent && intent.outcome.is_none() && intent.operation == *operation
        });
        let intent = intent.map(|(id, intent)| {
            intent.sent = true;
            *id
        });
        if intent.is_none() {
            self.violated("S3", format!("{operation} is sent without an intent"));
        }
        intent
    }

    /// Lets a request arrive: it takes effect or is refused.
    pub fn arrive(&mut self, number: u64) {
        let Some(request) = self.requests.remove(&number) else { return };
        if request.additions {
            return self.arrive_additions(number, request);
        }
        if !request.also.is_empty() {
            return self.arrive_together(number, request);
        }
        let answer = self.take_effect(&request.operation);
        let late = if request.sender.is_some() { "" } else { ", though nobody waits for it any more" };
        let outcome = answer.as_ref().map_or_else(|error| format!("refused, {}", error.text), |_| "done".into());
        self.say(format!("target: {}: {outcome}{late}", request.operation));
        if answer.is_ok() {
            self.effect(&request.operation, request.intent);
        }
        if request.sender.is_some() {
            self.answers.insert(number, answer);
        }
    }

    /// Lets a request arrive that adds accounts to a group: all become members, or it is refused because of one of
    /// them.
    fn arrive_additions(&mut self, number: u64, request: Request) {
        let Request { operation, intent, also, sender, .. } = request;
        let all: Vec<_> = std::iter::once((operation, intent)).chain(also).collect();
        let possible = all.iter().all(|(operation, _)| match operation {
            Operation::AddMember { group, account, .. } => {
                self.groups.contains_key(group) && self.addressed(account, operation).is_ok()
            }
            _ => false,
        });
        // Some servers refuse several at once although each one is possible.
        let refused = !possible || all.len() > 1 && number.is_multiple_of(5);
        for (operation, intent) in all {
            self.say(format!("target: additions: {operation}: {}", if refused { "refused" } else { "done" }));
            if !refused && self.take_effect(&operation).is_ok() {
                self.effect(&operation, intent);
            } else if let Some(intent) = intent.and_then(|id| self.intents.get_mut(&id)) {
                // It may be sent again, with fewer others or alone.
                intent.sent = false;
            }
        }
        if sender.is_some() {
            if refused {
                self.refused.insert(number, Vec::new());
            }
            self.answers.insert(number, Ok(Applied::Done));
        }
    }

    /// Lets a request for several operations arrive; some are refused, and the others take effect.
    fn arrive_together(&mut self, number: u64, request: Request) {
        let Request { operation, intent, also, sender, .. } = request;
        let mut refused = Vec::new();
        for (nth, (operation, intent)) in (0..).zip([(operation, intent)].into_iter().chain(also)) {
            let done = !(number + nth).is_multiple_of(3) && self.take_effect(&operation).is_ok();
            self.say(format!("target: together: {operation}: {}", if done { "done" } else { "refused" }));
            if done {
                self.effect(&operation, intent);
            } else if let Operation::AddMember { group, .. } = operation {
                // It may be sent again, alone.
                if let Some(intent) = intent.and_then(|id| self.intents.get_mut(&id)) {
                    intent.sent = false;
                }
                refused.push(group);
            }
        }
        if sender.is_some() {
            self.refused.insert(number, refused);
            self.answers.insert(number, Ok(Applied::Done));
        }
    }

    fn effect(&mut self, operation: &Operation, intent: Option<IntentId>) {
        match intent.and_then(|id| self.intents.get_mut(&id)) {
            Some(intent) if intent.outcome.is_none() => intent.took_effect = true,
            _ => self.violated("S3", format!("{operation} takes effect though its intent is not open")),
        }
    }

    /// Loses a request.
    pub fn lose(&mut self, number: u64) {
        let Some(request) = self.requests.remove(&number) else { return };
        self.say(format!("target: {}: never arrives", request.operation));
        if request.sender.is_some() {
            self.answers.insert(number, Err(unanswered(&request.operation)));
        }
    }

    /// Ends the sender's wait. The request may still arrive; if it has, its answer is lost.
    pub fn give_up_waiting(&mut self, number: u64) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.sender = None;
            let text = format!("target: {}: its sender waits no longer", request.operation);
            self.answers.insert(number, Err(unanswered(&request.operation)));
            self.say(text);
        } else if let Some(answer) = self.answers.get_mut(&number) {
            *answer = Err(refused(TargetErrorKind::Unanswered, "the answer was lost".into()));
            self.say("target: an answer is lost");
        }
    }

    /// Drops the sender of a request.
    pub fn orphan(&mut self, number: u64) {
        self.answers.remove(&number);
        if let Some(request) = self.requests.get_mut(&number) {
            request.sender = None;
        }
    }

    fn take_effect(&mut self, operation: &Operation) -> Result<Applied, TargetError> {
        let account = match operation.account() {
            Some(id) => Some(self.addressed(id, operation)?),
            None => None,
        };
        match (operation, account) {
            (Operation::CreateUser { name, fields, .. }, _) => {
                if self.account_named(name).is_some() {
                    return Err(refused(TargetErrorKind::NameTaken, format!("{name} is taken")));
                }
                let account = self.make_account(name, fields.display_name.as_deref().unwrap_or_default());
                return Ok(Applied::Account(account));
            }
            (Operation::CreateGroup { name }, _) => {
                if self.group_named(name).is_some() {
                    return Err(refused(TargetErrorKind::NameTaken, format!("group {name} is taken")));
                }
                // The first group of a name has it as its id, and keeps the id after a rename.
                let mut id = TargetGroupId::from(name.to_lowercase());
                while self.groups.contains_key(&id) {
                    id = format!("{id}'").into();
                }
                self.groups.insert(id.clone(), (name.clone(), BTreeSet::new()));
                return Ok(Applied::Group(TargetGroup { id, name: name.clone(), protected: None }));
            }
            (Operation::RenameGroup { group, to, .. }, _) => {
                if self.group_named(to).is_some_and(|other| other.id != *group) {
                    return Err(refused(TargetErrorKind::NameTaken, format!("group {to} is taken")));
                }
                let none = || refused(TargetErrorKind::NotFound, format!("there is no group {group}"));
                self.groups.get_mut(group).ok_or_else(none)?.0.clone_from(to);
            }
            (Operation::DeleteGroup { group, .. }, _) => {
                self.groups.remove(group);
            }
            (Operation::RenameUser { to, .. }, Some(id)) => {
                if self.account_named(to).is_some_and(|other| other.id != id) {
                    return Err(refused(TargetErrorKind::NameTaken, format!("{to} is taken")));
                }
                self.account(&id).name.clone_from(to);
            }
            (Operation::UpdateUser { fields, .. }, Some(id)) => {
                if let Some(name) = &fields.display_name {
                    self.account(&id).display_name.clone_from(name);
                }
            }
            (Operation::ActivateUser { .. }, Some(id)) => self.account(&id).active = true,
            (Operation::DeactivateUser { .. }, Some(id)) => {
                if self.account(&id).active {
                    self.account(&id).active = false;
                    self.deactivated_at.push(self.now);
                }
            }
            (Operation::DeleteUser { .. } | Operation::AnonymizeUser { .. }, Some(id)) => {
                self.accounts.remove(&id);
                for (_, members) in self.groups.values_mut() {
                    members.remove(&id);
                }
            }
            (Operation::AddMember { group, .. }, Some(id)) => {
                self.members(group)?.insert(id);
            }
            (Operation::RemoveMember { group, .. }, Some(id)) => {
                self.members(group)?.remove(&id);
            }
            (_, None) => unreachable!("{operation} names an account"),
        }
        Ok(Applied::Done)
    }

    /// Returns the account that an operation reaches.
    pub fn addressed(&self, id: &AccountId, operation: &Operation) -> Result<AccountId, TargetError> {
        let name = match operation {
            Operation::UpdateUser { name, .. }
            | Operation::RenameUser { name, .. }
            | Operation::ActivateUser { name, .. }
            | Operation::DeactivateUser { name, .. }
            | Operation::DeleteUser { name, .. }
            | Operation::AddMember { name, .. }
            | Operation::RemoveMember { name, .. } => name,
            _ => "",
        };
        let found = if self.by_name { self.account_named(name) } else { self.accounts.get(id) };
        let found = found.filter(|account| self.finds(&account.id));
        let none = || refused(TargetErrorKind::NotFound, format!("there is no account {name}"));
        found.map(|account| account.id.clone()).ok_or_else(none)
    }

    fn account(&mut self, id: &AccountId) -> &mut Account {
        self.accounts.get_mut(id).expect("it was just found")
    }

    /// Returns the target's group of a name.
    pub fn group_named(&self, name: &str) -> Option<TargetGroup> {
        let found = self.groups.iter().find(|(_, (known, _))| known.to_lowercase() == name.to_lowercase());
        found.map(|(id, (name, _))| TargetGroup { id: id.clone(), name: name.clone(), protected: None })
    }

    fn members(&mut self, group: &TargetGroupId) -> Result<&mut BTreeSet<AccountId>, TargetError> {
        let none = || refused(TargetErrorKind::NotFound, format!("there is no group {group}"));
        self.groups.get_mut(group).map(|(_, members)| members).ok_or_else(none)
    }

    /// Returns the complete state, in one line.
    pub fn show(&self) -> String {
        let mut text = String::new();
        for realm in &self.realms {
            for (id, person) in &realm.users {
                let state = if person.enabled { "" } else { " disabled" };
                let groups: Vec<&str> =
                    person.groups.iter().filter_map(|group| realm.groups.get(group)).map(String::as_str).collect();
                let _ = write!(text, "{id}=[{}{state} {}] ", person.login, groups.join("+"));
            }
        }
        text.push_str("| ");
        for account in self.accounts.values() {
            let state = if account.active { "" } else { " inactive" };
            let groups = self.read_account(account).groups.unwrap_or_default();
            let groups: Vec<&str> = groups.iter().map(TargetGroupId::as_str).collect();
            let _ = write!(text, "{}=[{}{state} {}] ", account.id, account.name, groups.join("+"));
        }
        text
    }
}

fn group_state(realm: &Realm, id: &GroupId) -> Option<GroupState> {
    let name = realm.groups.get(id)?;
    let above = match parent(id) {
        Some(parent) => group_state(realm, &parent)?.path,
        None => format!("/{id}"),
    };
    Some(GroupState::new(id.clone(), name.clone(), format!("{above}/{name}")))
}

impl Realm {
    /// Returns a group as a read returns it.
    pub fn group(&self, id: &GroupId) -> Option<GroupState> {
        group_state(self, id)
    }
}

fn refused(kind: TargetErrorKind, text: String) -> TargetError {
    TargetError { kind, text, retry_after: None }
}

fn unanswered(operation: &Operation) -> TargetError {
    refused(TargetErrorKind::Unanswered, format!("{operation}: no answer came in time"))
}

/// Returns a target's error after a deadline: nothing was sent.
pub fn too_late(operation: &Operation) -> TargetError {
    refused(TargetErrorKind::NotDone(ErrorClass::Transient), format!("{operation}: it was too late to send it"))
}

/// The world, and the gates before every access to it.
pub struct Shared {
    pub gates: Gates,
    world: Mutex<World>,
}

impl World {
    /// Returns whether the target finds an account now.
    pub fn finds(&self, id: &AccountId) -> bool {
        self.hidden.get(id).is_none_or(|until| *until <= self.now)
    }

    /// Returns the fault of this call of the store, if it fails.
    pub fn store_fault(&mut self) -> Option<StoreFault> {
        let (fault, left) = self.store_out?;
        self.store_out = (left > 1).then_some((fault, left - 1));
        self.say(format!("    the store fails: {fault:?}"));
        Some(fault)
    }
}

impl Shared {
    pub fn new(world: World) -> Self {
        Self { gates: Gates::default(), world: Mutex::new(world) }
    }

    /// Locks the world; never held over an `await`.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Waits until the driver allows a read; returns whether it fails.
    pub async fn reading(&self, what: String) -> bool {
        self.gates.pass(what, Opens::Reading).await;
        std::mem::take(&mut self.world().fail_reading)
    }
}

#[async_trait::async_trait]
impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.world().now
    }

    async fn sleep(&self, duration: SignedDuration) {
        let until = self.now() + duration;
        self.gates.pass(format!("sleeps for {duration:#}"), Opens::At(until)).await;
    }
}
