//! Batches additions to groups in a full reconcile: one call adds all users that wait for a group.
//!
//! All users of a wave are claimed at once. Each user completes the operations that come first, such as creating its
//! account, then waits until the whole wave has done so. Then all store the intents of their additions, and the calls
//! begin with the group that has most users waiting.
//!
//! That may take minutes where the server limits calls. A user with a new event leaves the wave: its additions that are
//! not being sent are withdrawn and its claim is released, so that its task is worked at once.
//!
//! # Guarantees
//! An addition is stored as an intent before it is sent (rule: an open intent locks its subject and account). It is
//! sent only while its user's claim is held (rule: an ended claim writes nothing). An addition that is not sent in time
//! is returned to its user, which stores a new intent.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::ports::{Engine, TargetPort};
use crate::{
    clock::Clock,
    gate::for_operation,
    model::{AccountId, Pair, Priority, Subject, TargetGroupId, Token},
    store::StoreError,
    targets::{AddedMembers, TargetError, TargetErrorKind},
    telemetry::metrics::Peer,
};

/// The verb of an addition.
const VERB: &str = "add_member";
/// One in `LEAVING` users of a wave, and at least `LEAVING_ALWAYS`, may leave it for an event that removes no access.
/// The additions of a user that leaves cost calls of their own.
const LEAVING: usize = 10;
const LEAVING_ALWAYS: usize = 20;
/// Number of users that work concurrently up to their additions, for each call that the target takes concurrently. Each
/// of them waits for the store several times.
const BEGINNING: usize = 3;
/// Maximum number of users whose intents of additions are being stored, and of users whose ends are being stored. The
/// store writes as many at once with little more effort than one, and still has time for the users that begin.
const STORING: usize = 128;

/// State that the waves of a run share. The users of a wave begin while the previous wave ends, so that the target is
/// called while the store writes.
pub(super) struct Waves {
    /// Limits how many users work concurrently up to their additions.
    beginning: Arc<Semaphore>,
    /// Limits how many users call the target concurrently after their additions.
    resuming: Arc<Semaphore>,
    /// Limits how many users store intents of additions concurrently.
    writing: Arc<Semaphore>,
    /// Limits how many users store their end concurrently.
    ending: Arc<Semaphore>,
    /// Groups with a write in progress.
    busy: Mutex<BTreeSet<TargetGroupId>>,
    /// Signals that a group's write has ended.
    freed: Notify,
    /// A wave may stand still behind another, so all have one progress.
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Time of the last progress: a wave began, a user reached the next stage, or a call ended.
    last: Timestamp,
    /// Number of users that wait until the server accepts calls.
    waiting_for_server: usize,
}

impl Waves {
    /// Creates the state for waves of a target that takes this many calls concurrently.
    pub fn new(parallel: usize) -> Arc<Self> {
        Arc::new(Self {
            beginning: Arc::new(Semaphore::new(BEGINNING * parallel.max(1))),
            resuming: Arc::new(Semaphore::new(parallel.max(1))),
            writing: Arc::new(Semaphore::new(STORING)),
            ending: Arc::new(Semaphore::new(STORING)),
            busy: Mutex::default(),
            freed: Notify::new(),
            progress: Mutex::default(),
        })
    }
}

/// The additions of one wave.
pub(super) struct Additions {
    clock: Arc<dyn Clock>,
    pair: Pair,
    /// Whether workers process tasks during the wave.
    beside_workers: bool,
    /// Ends the run early.
    cancel: CancellationToken,
    /// Maximum number of accounts in one call.
    most: usize,
    state: Mutex<State>,
    /// Signals that each user of the wave has reached its additions or ended without any.
    all_came: Notify,
    /// Wakes the sender.
    changed: Notify,
    waves: Arc<Waves>,
}

impl fmt::Debug for Additions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Additions").field("pair", &self.pair).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// Users that are not done.
    users: HashSet<Subject>,
    /// Number of users that may still leave for an event that removes no access.
    may_leave: usize,
    /// Number of users that have not reached their additions.
    coming: usize,
    /// Number of users that have reached their additions and are storing the intents.
    writing: usize,
    /// Number of users that are not done.
    present: usize,
    next: u64,
    lines: BTreeMap<TargetGroupId, Line>,
}

/// Users that wait for one group.
#[derive(Debug, Default)]
struct Line {
    name: String,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    account: AccountId,
    token: Token,
    deadline: Timestamp,
    answer: oneshot::Sender<AdditionResult>,
}

/// The result of one addition.
#[derive(Clone, Debug)]
pub(super) enum AdditionResult {
    Done,
    /// Refused in a batch; sent separately, it gets its own reason.
    Alone,
    /// Not sent in time.
    NotSent,
    /// The claim has ended.
    Ended,
    Failed(TargetError),
}

/// One addition that is stored as an intent.
pub(super) struct Addition<'a> {
    pub group: &'a TargetGroupId,
    pub group_name: &'a str,
    pub account: &'a AccountId,
}

/// Stage of a user in the wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Coming,
    Writing,
    Sending,
}

/// A user's part in a wave, from its start to the end of the user's work.
#[derive(Debug)]
pub(super) struct Part {
    additions: Arc<Additions>,
    subject: Subject,
    own: Mutex<Own>,
}

#[derive(Debug)]
struct Own {
    stage: Stage,
    permit: Option<OwnedSemaphorePermit>,
}

impl Additions {
    /// Creates a wave of these users; one call takes at most `most` accounts. No tasks are worked during a `first` run.
    pub fn wave(
        waves: &Arc<Waves>,
        clock: Arc<dyn Clock>,
        pair: &Pair,
        subjects: &[Subject],
        most: usize,
        first: bool,
        cancel: CancellationToken,
    ) -> (Arc<Self>, Vec<Part>) {
        let users = subjects.len();
        let state = State {
            users: subjects.iter().cloned().collect(),
            may_leave: (users / LEAVING).max(LEAVING_ALWAYS),
            coming: users,
            present: users,
            ..State::default()
        };
        waves.progress.lock().last = clock.now();
        let wave = Arc::new(Self {
            clock,
            pair: pair.clone(),
            beside_workers: !first,
            cancel,
            most: most.max(1),
            state: Mutex::new(state),
            all_came: Notify::new(),
            changed: Notify::new(),
            waves: Arc::clone(waves),
        });
        let part = |subject: &Subject| {
            let own = Mutex::new(Own { stage: Stage::Coming, permit: None });
            Part { additions: Arc::clone(&wave), subject: subject.clone(), own }
        };
        let parts = subjects.iter().map(part).collect();
        (wave, parts)
    }

    /// Returns whether the subject is in the wave, and the run's waves have made progress since this time or wait for the
    /// server.
    pub fn works(&self, pair: &Pair, subject: &Subject, since: Timestamp) -> bool {
        let progresses = {
            let progress = self.waves.progress.lock();
            progress.last >= since || progress.waiting_for_server > 0
        };
        *pair == self.pair && progresses && self.state.lock().users.contains(subject)
    }

    fn note_progress(&self) {
        self.waves.progress.lock().last = self.clock.now();
    }

    /// Returns whether a user may leave for an event of this priority.
    fn may_leave_for(&self, priority: Priority) -> bool {
        if !self.beside_workers || priority == Priority::Removal {
            return self.beside_workers;
        }
        let mut state = self.state.lock();
        let may = state.may_leave > 0;
        state.may_leave = state.may_leave.saturating_sub(1);
        may
    }

    /// Sends the collected additions until all users of the wave are done.
    pub async fn send(&self, engine: &Engine, port: &TargetPort) {
        let mut calls = FuturesUnordered::new();
        loop {
            // Before the check, so that no signal is missed.
            let freed = self.waves.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            while calls.len() < port.parallel.max(1)
                && let Some(call) = self.next()
            {
                calls.push(self.call(engine, port, call));
            }
            if calls.is_empty() && self.state.lock().present == 0 {
                return;
            }
            tokio::select! {
                biased;
                Some(group) = calls.next(), if !calls.is_empty() => {
                    self.waves.busy.lock().remove(&group);
                    self.waves.freed.notify_waiters();
                    self.note_progress();
                }
                () = self.changed.notified() => {}
                () = freed => {}
            }
        }
    }

    /// Returns the next call: for the group with most users waiting among those without a write in progress.
    fn next(&self) -> Option<(TargetGroupId, String, Vec<Waiting>)> {
        let mut state = self.state.lock();
        if state.coming > 0 || state.writing > 0 {
            return None;
        }
        let lines = &mut state.lines;
        let mut busy = self.waves.busy.lock();
        let free = lines.iter().filter(|(group, _)| !busy.contains(*group));
        let group = free.max_by_key(|(_, line)| line.waiting.len()).map(|(group, _)| group.clone())?;
        let line = lines.get_mut(&group)?;
        let some = line.waiting.len().min(self.most);
        let (name, waiting) = (line.name.clone(), line.waiting.drain(..some).collect());
        if line.waiting.is_empty() {
            lines.remove(&group);
        }
        busy.insert(group.clone());
        Some((group, name, waiting))
    }

    /// Adds accounts to a group, in smaller calls where the target refuses the batch.
    async fn call(
        &self,
        engine: &Engine,
        port: &TargetPort,
        (group, name, waiting): (TargetGroupId, String, Vec<Waiting>),
    ) -> TargetGroupId {
        let mut held = Vec::with_capacity(waiting.len());
        for one in waiting {
            match engine.store.still_held(one.token).await {
                Ok(true) => held.push(one),
                Ok(false) | Err(StoreError::ClaimEnded) => drop(one.answer.send(AdditionResult::Ended)),
                Err(_) => drop(one.answer.send(AdditionResult::NotSent)),
            }
        }
        let mut calls = vec![held];
        while let Some(mut some) = calls.pop() {
            let Some(deadline) = some.iter().map(|one| one.deadline).min() else { continue };
            let accounts: Vec<AccountId> = some.iter().map(|one| one.account.clone()).collect();
            let sent_at = engine.clock.now();
            let call = port.target.add_members(&group, &name, &accounts, deadline);
            let came = for_operation(VERB, engine.times.call / 3, call).await;
            let took = engine.clock.now().duration_since(sent_at).unsigned_abs();
            engine.metrics.called(Peer::Target(&port.name), came.as_ref().err().map(TargetError::class), took);
            let reported = match came {
                Ok(AddedMembers::All) => AdditionResult::Done,
                Ok(AddedMembers::Refused) if some.len() > 1 => {
                    let rest = some.split_off(some.len() / 2);
                    calls.extend([rest, some]);
                    continue;
                }
                Ok(AddedMembers::Refused) => AdditionResult::Alone,
                Err(error) => {
                    // One call is one failure, regardless of its number of users.
                    engine.note_target_failure(port, &error);
                    AdditionResult::Failed(error)
                }
            };
            for one in some {
                drop(one.answer.send(reported.clone()));
            }
        }
        group
    }

    fn withdraw(&self, group: &TargetGroupId, number: u64) -> bool {
        let mut state = self.state.lock();
        let Some(line) = state.lines.get_mut(group) else { return false };
        let before = line.waiting.len();
        line.waiting.retain(|one| one.number != number);
        let withdrawn = line.waiting.len() < before;
        if line.waiting.is_empty() {
            state.lines.remove(group);
        }
        withdrawn
    }
}

impl Part {
    /// Waits for permission to begin.
    pub async fn begin(&self) {
        self.take_turn(&self.additions.waves.beginning).await;
    }

    /// Waits for permission to call the target, which a user keeps. Up to its additions it has it already.
    pub async fn resume(&self) {
        let has_permit = self.own.lock().permit.is_some();
        if !has_permit {
            self.take_turn(&self.additions.waves.resuming).await;
        }
    }

    /// Waits for permission to store intents of additions. Dropping the permit ends it.
    pub async fn turn_to_write(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.additions.waves.writing).acquire_owned().await.ok()
    }

    /// Waits for permission to store the end of the work. Dropping the permit ends it.
    pub async fn turn_to_end(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.additions.waves.ending).acquire_owned().await.ok()
    }

    async fn take_turn(&self, turns: &Arc<Semaphore>) {
        let permit = Arc::clone(turns).acquire_owned().await.ok();
        self.own.lock().permit = permit;
    }

    /// Waits until the server accepts calls. The wait may be long, but it ends.
    pub async fn wait_for_server<F: Future>(&self, open: F) -> F::Output {
        let _waiting = WaitingForServer::begin(&self.additions);
        open.await
    }

    /// Waits until an event of the user has to be worked before the wave continues, or until the user's claim has
    /// ended.
    pub async fn must_leave(&self, events: &mut watch::Receiver<Option<Priority>>) {
        loop {
            let waits = *events.borrow_and_update();
            if waits.is_some_and(|priority| self.additions.may_leave_for(priority)) || events.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the run has to end.
    pub async fn stopped(&self) {
        self.additions.cancel.cancelled().await;
    }

    /// Leaves the wave, which no longer waits for the user.
    pub fn leave(&self) {
        self.pass(Stage::Sending);
    }

    /// Waits until all users of the wave have reached this stage. Other users work meanwhile. Returns `false` if the
    /// user has to leave the wave.
    pub async fn reach_additions(&self, events: &mut watch::Receiver<Option<Priority>>) -> bool {
        {
            let mut own = self.own.lock();
            own.permit = None;
            if own.stage == Stage::Coming {
                own.stage = Stage::Writing;
                let mut state = self.additions.state.lock();
                state.coming -= 1;
                state.writing += 1;
                self.additions.note_progress();
                self.additions.notify_if_all_came(&state);
            }
        }
        tokio::select! {
            biased;
            () = self.must_leave(events) => false,
            () = self.additions.until_all_came() => true,
        }
    }

    /// Queues additions that are stored as intents, and returns the result of each. After `late`, additions that still
    /// wait are returned unsent.
    pub async fn add(
        &self,
        additions: &[Addition<'_>],
        token: Token,
        late: impl Future<Output = ()>,
        deadline: Timestamp,
    ) -> Vec<AdditionResult> {
        let mut waits = Vec::with_capacity(additions.len());
        {
            let mut state = self.additions.state.lock();
            for addition in additions {
                let (answer, reported) = oneshot::channel();
                let number = state.next;
                state.next += 1;
                let line = state.lines.entry(addition.group.clone()).or_default();
                line.name.clear();
                line.name.push_str(addition.group_name);
                let account = addition.account.clone();
                line.waiting.push(Waiting { number, account, token, deadline, answer });
                waits.push((addition.group, number, reported));
            }
        }
        self.pass(Stage::Sending);
        let unsent = || {
            let text = "the call was cancelled before its response arrived".to_owned();
            AdditionResult::Failed(TargetError { kind: TargetErrorKind::Unanswered, text, retry_after: None })
        };
        tokio::pin!(late);
        let mut is_late = false;
        let mut all = Vec::with_capacity(waits.len());
        for (group, number, mut reported) in waits {
            if !is_late {
                tokio::select! {
                    biased;
                    reported = &mut reported => {
                        all.push(reported.unwrap_or_else(|_| unsent()));
                        continue;
                    }
                    () = &mut late => is_late = true,
                }
            }
            all.push(if self.additions.withdraw(group, number) {
                AdditionResult::NotSent
            } else {
                // It is being sent, and that ends by the deadline.
                reported.await.unwrap_or_else(|_| unsent())
            });
        }
        all
    }

    fn pass(&self, to: Stage) {
        let mut own = self.own.lock();
        let mut state = self.additions.state.lock();
        match own.stage {
            Stage::Coming => state.coming -= 1,
            Stage::Writing => state.writing -= 1,
            Stage::Sending => {}
        }
        own.stage = to;
        self.additions.note_progress();
        self.additions.notify_if_all_came(&state);
        self.additions.changed.notify_one();
    }
}

/// See [`Part::wait_for_server`].
struct WaitingForServer<'a>(&'a Additions);

impl<'a> WaitingForServer<'a> {
    fn begin(additions: &'a Additions) -> Self {
        additions.waves.progress.lock().waiting_for_server += 1;
        Self(additions)
    }
}

impl Drop for WaitingForServer<'_> {
    fn drop(&mut self) {
        self.0.waves.progress.lock().waiting_for_server -= 1;
        self.0.note_progress();
    }
}

impl Additions {
    fn notify_if_all_came(&self, state: &State) {
        if state.coming == 0 {
            self.all_came.notify_waiters();
            self.changed.notify_one();
        }
    }

    async fn until_all_came(&self) {
        loop {
            let all_came = self.all_came.notified();
            tokio::pin!(all_came);
            all_came.as_mut().enable();
            if self.state.lock().coming == 0 {
                return;
            }
            all_came.await;
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.pass(Stage::Sending);
        {
            let mut state = self.additions.state.lock();
            state.present -= 1;
            state.users.remove(&self.subject);
        }
        self.additions.changed.notify_one();
    }
}
