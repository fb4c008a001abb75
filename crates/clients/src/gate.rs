//! The gate for all calls to a server: it limits concurrency and rate, and holds calls while the server refuses them
//! temporarily.

use std::{num::NonZeroU32, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard, RwLock};
use reqwest::{StatusCode, header::HeaderMap};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    clock::Clock,
    meter::CallMeter,
    model::ErrorClass,
    pace::{Limits, Pace},
};

/// Default time that a call waits for its turn; see [`turn_within`].
const TURN_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// Duration of continuous 503 answers with a delay before the server is reported as unavailable.
const UNAVAILABLE: SignedDuration = SignedDuration::from_mins(1);

tokio::task_local! {
    static LIMIT: SignedDuration;
    static OPERATION: Operation;
}

/// An operation that waits for its turn before it is sent.
struct Operation {
    kind: &'static str,
    soon: SignedDuration,
    promised: Mutex<Option<Promised>>,
}

/// Reserved lanes of an operation's expected calls; released on drop.
struct Promised {
    pace: Arc<Mutex<Pace>>,
    lanes: Vec<String>,
}

impl Drop for Promised {
    fn drop(&mut self) {
        let mut pace = locked(&self.pace);
        self.lanes.iter().for_each(|lane| pace.keep(lane));
    }
}

/// Runs `work` as an operation of this kind. Within it, [`Gate::until_open`] waits for the lanes that such operations
/// are known to use. The wait ends when the operation's calls are expected to go within `soon`.
pub async fn for_operation<F: Future>(kind: &'static str, soon: SignedDuration, work: F) -> F::Output {
    if OPERATION.try_with(|_| ()).is_ok() {
        return work.await;
    }
    OPERATION.scope(Operation { kind, soon, promised: Mutex::default() }, work).await
}

/// Runs `work` with a limit on the time that each of its calls waits for a turn, at most to its deadline. Within that
/// time a call that the server refused temporarily is retried. Outside of `turn_within`, the refusal is the call's
/// answer.
pub async fn turn_within<F: Future>(limit: SignedDuration, work: F) -> F::Output {
    LIMIT.scope(limit, work).await
}

/// Whether a call that the server refused temporarily is retried.
pub fn sends_again() -> bool {
    LIMIT.try_with(|_| ()).is_ok()
}

/// The gate of one server; see the module.
pub struct Gate {
    clock: Arc<dyn Clock>,
    places: Semaphore,
    pace: Arc<Mutex<Pace>>,
    meter: RwLock<CallMeter>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("pace", &self.pace).finish_non_exhaustive()
    }
}

/// The right to send one call.
pub struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    sent: Timestamp,
}

/// Reason why a call gets no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// The deadline passed first.
    Late,
    /// The server accepts no calls until this time, which is too late for the call.
    Limited(Timestamp),
}

impl Gate {
    /// Creates a gate with a maximum of concurrent calls and of calls per second (`None`: unlimited).
    pub fn new(clock: Arc<dyn Clock>, parallel: usize, per_second: Option<NonZeroU32>) -> Self {
        Self {
            clock,
            places: Semaphore::new(parallel.max(1)),
            pace: Arc::new(Mutex::new(Pace::new(per_second))),
            meter: RwLock::default(),
        }
    }

    /// Returns the current time of the clock for deadlines.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Counts all later calls with this meter.
    pub fn attach(&self, meter: &CallMeter) {
        meter.clone_into(&mut self.meter.write());
    }

    /// Returns the meter that counts calls.
    pub fn meter(&self) -> CallMeter {
        self.meter.read().clone()
    }

    /// Returns the latest time to which a call that starts now may wait while its server limits calls.
    pub fn latest(&self, deadline: Option<Timestamp>) -> Timestamp {
        let latest = self.now() + LIMIT.try_with(|limit| *limit).unwrap_or(TURN_WITHIN);
        deadline.map_or(latest, |deadline| deadline.min(latest))
    }

    /// Waits for the turn of a call of this kind: for a free place until its deadline, for the rate until `latest`.
    ///
    /// # Errors
    /// The call got no turn in time; nothing was sent.
    pub async fn enter(&self, lane: &str, deadline: Option<Timestamp>, latest: Timestamp) -> Result<Turn<'_>, NoTurn> {
        self.note_lane(lane);
        loop {
            let place = self.place(deadline).await?;
            let now = self.now();
            let admitted = self.pace().admit(lane, now);
            match admitted {
                Ok(()) => {
                    self.keep_promise(lane);
                    return Ok(Turn { _place: place, sent: now });
                }
                Err(at) if at > latest => return Err(NoTurn::Limited(at)),
                Err(at) => {
                    // Other calls may use the place meanwhile.
                    drop(place);
                    self.clock.sleep(at.duration_since(now)).await;
                }
            }
        }
    }

    /// Waits until the server accepts calls again, if it refuses them temporarily, but not past `latest`. Within
    /// [`for_operation`], it waits for the calls of that operation.
    ///
    /// # Errors
    /// The server accepts no calls before `latest`.
    pub async fn until_open(&self, latest: Timestamp) -> Result<(), NoTurn> {
        loop {
            let now = self.now();
            match self.opens(now) {
                Ok(()) => return Ok(()),
                Err(at) if at > latest => return Err(NoTurn::Limited(at)),
                Err(at) => self.clock.sleep(at.duration_since(now)).await,
            }
        }
    }

    fn opens(&self, now: Timestamp) -> Result<(), Timestamp> {
        let of_operation = OPERATION.try_with(|operation| -> Result<(), Timestamp> {
            // Releases the lanes reserved by an earlier wait of the same operation.
            drop(locked(&operation.promised).take());
            let lanes = self.pace().begin(operation.kind, operation.soon, now)?;
            *locked(&operation.promised) = Some(Promised { pace: Arc::clone(&self.pace), lanes });
            Ok(())
        });
        of_operation.unwrap_or_else(|_| self.pace().closed_until(now).map_or(Ok(()), Err))
    }

    /// Records which lanes the current kind of operation uses.
    fn note_lane(&self, lane: &str) {
        let _ = OPERATION.try_with(|operation| self.pace().takes(operation.kind, lane));
    }

    fn keep_promise(&self, lane: &str) {
        let _ = OPERATION.try_with(|operation| {
            let mut promised = locked(&operation.promised);
            if let Some(promised) = promised.as_mut().filter(|promised| Arc::ptr_eq(&promised.pace, &self.pace))
                && let Some(nth) = promised.lanes.iter().position(|known| known == lane)
            {
                promised.lanes.swap_remove(nth);
                self.pace().keep(lane);
            }
        });
    }

    async fn place(&self, deadline: Option<Timestamp>) -> Result<SemaphorePermit<'_>, NoTurn> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let late = async {
            match deadline {
                Some(deadline) => self.clock.sleep(deadline.duration_since(self.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            place = self.places.acquire() => place.map_err(|_| NoTurn::Late),
            () = late => Err(NoTurn::Late),
        }
    }

    /// Learns from the answer to a call. Returns whether the server refused it temporarily, so that it may be retried.
    pub fn answered(&self, lane: &str, turn: Turn<'_>, status: StatusCode, headers: &HeaderMap) -> bool {
        let now = self.now();
        let limits = Limits::read(status, headers, now);
        let (closed_until, unavailable_since) = {
            let mut pace = self.pace();
            pace.answered(lane, turn.sent, &limits, now);
            (pace.closed_until(now), pace.unavailable_since())
        };
        // Frees the place for another call.
        drop(turn);
        match closed_until {
            Some(until) if status == StatusCode::TOO_MANY_REQUESTS => self.meter().limited(now, until),
            None => self.meter().takes_calls(),
            Some(_) => {}
        }
        match (unavailable_since, closed_until) {
            (None, _) => self.meter().available(),
            // No call is sent before then, so the outage is already known to last that long.
            (Some(since), Some(until)) if until.duration_since(since) >= UNAVAILABLE => {
                self.meter().unavailable(since, until);
            }
            (Some(_), _) => {}
        }
        limits.is_refusal()
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        locked(&self.pace)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// Returns the error class of a status for metrics. 404 answers a question, so it is not an error.
pub fn class_of(status: StatusCode) -> Option<ErrorClass> {
    match status.as_u16() {
        401 | 407 => Some(ErrorClass::Credentials),
        403 => Some(ErrorClass::Forbidden),
        429 => Some(ErrorClass::Throttled),
        408 => Some(ErrorClass::Transient),
        200..300 | 404 => None,
        400..500 => Some(ErrorClass::Permanent),
        _ => Some(ErrorClass::Transient),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::meter::CallObserver;
    use usersync_simulators::clock::DrivenClock;

    fn seconds(count: i64) -> SignedDuration {
        SignedDuration::from_secs(count)
    }

    /// Since when the server is reported as unavailable.
    #[derive(Debug, Default)]
    struct Unavailable(Mutex<Option<Timestamp>>);

    impl CallObserver for Unavailable {
        fn called(&self, _: Option<ErrorClass>, _: Duration, _: usize) {}
        fn refused_sign_in(&self) {}
        fn limited(&self, _: Timestamp, _: Timestamp) {}
        fn takes_calls(&self) {}

        fn unavailable(&self, since: Timestamp, _: Timestamp) {
            *self.0.lock() = Some(since);
        }

        fn available(&self) {
            *self.0.lock() = None;
        }
    }

    struct Scene {
        clock: DrivenClock,
        observer: Arc<Unavailable>,
        gate: Gate,
    }

    impl Scene {
        fn new() -> Self {
            let clock = DrivenClock::default();
            let gate = Gate::new(Arc::new(clock.clone()), 8, None);
            let observer = Arc::new(Unavailable::default());
            gate.attach(&CallMeter::new(Arc::clone(&observer) as Arc<dyn CallObserver>));
            Self { clock, observer, gate }
        }

        fn latest(&self) -> Timestamp {
            self.gate.now() + seconds(3_600)
        }

        /// Sends a call that gets this answer.
        async fn call(&self, lane: &str, status: u16, headers: &[(&'static str, &str)]) {
            let turn = self.gate.enter(lane, None, self.latest()).await.expect("a turn");
            let headers = headers
                .iter()
                .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().expect("a value")));
            self.gate.answered(lane, turn, StatusCode::from_u16(status).expect("one"), &headers.collect());
        }

        fn unavailable_since(&self) -> Option<Timestamp> {
            *self.observer.0.lock()
        }
    }

    #[tokio::test]
    async fn calls_refused_by_503_with_a_wait_are_reported_after_a_minute_until_one_is_answered() {
        let scene = Scene::new();
        let wait = [("retry-after", "10")];
        let began = scene.gate.now();
        for _ in 0..5 {
            scene.call("GET Users", 503, &wait).await;
            assert_eq!(scene.unavailable_since(), None);
            scene.clock.advance(seconds(10));
        }
        // This requested delay ends a minute after the first refusal.
        scene.call("GET Users", 503, &wait).await;
        scene.clock.advance(seconds(10));
        scene.call("GET Users", 503, &wait).await;
        let since = scene.unavailable_since().expect("reported");
        assert!(since.duration_since(began) < seconds(10), "since the first of them: {since}");
        scene.clock.advance(seconds(10));
        scene.call("GET Users", 404, &[]).await;
        assert_eq!(scene.unavailable_since(), None);
        // A requested delay of more than a minute is reported at once.
        scene.call("GET Users", 503, &[("retry-after", "120")]).await;
        assert!(scene.unavailable_since().is_some());
    }

    #[tokio::test]
    async fn an_operation_begins_when_the_lanes_of_its_kind_let_its_calls_go_soon() {
        let scene = Scene::new();
        let gate = &scene.gate;
        let opens = async |kind| for_operation(kind, seconds(10), gate.until_open(gate.now())).await;
        for_operation("create", seconds(10), scene.call("POST Users", 201, &[])).await;
        for_operation("add_member", seconds(10), scene.call("PATCH Groups", 200, &[])).await;
        scene.call("POST Users", 201, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "50")]).await;
        // Only this kind of call is limited; others are accepted.
        gate.until_open(gate.now()).await.expect("it is open");
        opens("add_member").await.expect("its lane is open");
        opens("rename").await.expect("nothing is known of it");
        let Err(NoTurn::Limited(at)) = opens("create").await else { panic!("its lane is closed") };
        assert!((seconds(38)..seconds(41)).contains(&at.duration_since(gate.now())), "{at}");
        scene.clock.advance(seconds(41));
        opens("create").await.expect("it opens soon");
    }

    #[tokio::test]
    async fn no_more_operations_begin_than_their_lane_lets_go() {
        let scene = Scene::new();
        let gate = &scene.gate;
        for_operation("create", seconds(10), scene.call("POST Users", 201, &[])).await;
        scene.call("POST Users", 201, &[("ratelimit-remaining", "2"), ("ratelimit-reset", "50")]).await;
        let began = parking_lot::Mutex::new(HashSet::new());
        let create = |number: usize, calls: bool| {
            let began = &began;
            let work = async move {
                gate.until_open(gate.now()).await?;
                began.lock().insert(number);
                if calls {
                    scene_call(gate).await;
                }
                // The call stays in progress while the others ask.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                Ok::<_, NoTurn>(())
            };
            for_operation("create", seconds(10), work)
        };
        let (one, two, three) = tokio::join!(create(1, false), create(2, true), create(3, false));
        assert!(one.is_ok() && two.is_ok() && three.is_err(), "{one:?} {two:?} {three:?}");
        // The first of them sent nothing and released its turn.
        create(4, true).await.expect("one is left");
        create(5, true).await.expect_err("none is left");
        assert_eq!(*began.lock(), HashSet::from([1, 2, 4]));
    }

    async fn scene_call(gate: &Gate) {
        let turn = gate.enter("POST Users", None, gate.now()).await.expect("a turn");
        gate.answered("POST Users", turn, StatusCode::CREATED, &HeaderMap::new());
    }
}
