//! The one gate that all calls to a server pass: so many at a time, no faster than its pace, and none while it refuses them.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use jiff::{SignedDuration, Timestamp};
use reqwest::{StatusCode, header::HeaderMap};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    clock::Clock,
    model::ErrorClass,
    pace::{Limits, Pace},
    telemetry::CallMeter,
};

/// How long a call waits for its turn, where nothing else is said; see [`turn_within`].
const TURN_WITHIN: SignedDuration = SignedDuration::from_secs(30);

tokio::task_local! {
    static LIMIT: SignedDuration;
}

/// Has each call of `work` wait so long at most while its server limits calls, and no longer than to its deadline; one
/// that the server refused for now is sent again within that time. Elsewhere the refusal is its answer.
pub async fn turn_within<F: Future>(limit: SignedDuration, work: F) -> F::Output {
    LIMIT.scope(limit, work).await
}

/// Whether a call that the server refused for now is sent again.
pub fn sends_again() -> bool {
    LIMIT.try_with(|_| ()).is_ok()
}

/// See the module.
pub struct Gate {
    clock: Arc<dyn Clock>,
    places: Semaphore,
    pace: Mutex<Pace>,
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

/// Why a call has no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// Its time was up before.
    Late,
    /// The server limits calls until then, and that is too late for this one.
    Limited(Timestamp),
}

impl Gate {
    /// A gate for so many calls at a time, and so many a second.
    pub fn new(clock: Arc<dyn Clock>, parallel: usize, per_second: Option<NonZeroU32>) -> Self {
        Self {
            clock,
            places: Semaphore::new(parallel.max(1)),
            pace: Mutex::new(Pace::new(per_second)),
            meter: RwLock::default(),
        }
    }

    /// Now, by the clock that deadlines are measured with.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Counts calls here from now on.
    pub fn attach(&self, meter: &CallMeter) {
        meter.clone_into(&mut self.meter.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Where calls are counted.
    pub fn meter(&self) -> CallMeter {
        self.meter.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until when a call that begins now waits while its server limits calls.
    pub fn latest(&self, deadline: Option<Timestamp>) -> Timestamp {
        let latest = self.now() + LIMIT.try_with(|limit| *limit).unwrap_or(TURN_WITHIN);
        deadline.map_or(latest, |deadline| deadline.min(latest))
    }

    /// Waits for the turn of a call of this kind: for a place until its deadline, for the pace until `latest`.
    ///
    /// # Errors
    /// Nothing was sent: the call has no turn before its time is up.
    pub async fn enter(&self, lane: &str, deadline: Option<Timestamp>, latest: Timestamp) -> Result<Turn<'_>, NoTurn> {
        loop {
            let place = self.place(deadline).await?;
            let now = self.now();
            let admitted = self.pace().admit(lane, now);
            match admitted {
                Ok(()) => return Ok(Turn { _place: place, sent: now }),
                Err(at) if at > latest => return Err(NoTurn::Limited(at)),
                Err(at) => {
                    // Others may go meanwhile.
                    drop(place);
                    self.clock.sleep(at.duration_since(now)).await;
                }
            }
        }
    }

    /// Waits until the server takes calls again, if it refused one, until `latest` at the latest.
    ///
    /// # Errors
    /// It does not take any before.
    pub async fn until_open(&self, latest: Timestamp) -> Result<(), NoTurn> {
        loop {
            let now = self.now();
            let closed_until = self.pace().closed_until(now);
            match closed_until {
                None => return Ok(()),
                Some(at) if at > latest => return Err(NoTurn::Limited(at)),
                Some(at) => self.clock.sleep(at.duration_since(now)).await,
            }
        }
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

    /// Learns from the answer to a call. Returns whether the server refused it for now, so that it may be sent again.
    pub fn answered(&self, lane: &str, turn: Turn<'_>, status: StatusCode, headers: &HeaderMap) -> bool {
        let now = self.now();
        let limits = Limits::read(status, headers, now);
        let closed_until = {
            let mut pace = self.pace();
            pace.answered(lane, turn.sent, &limits, now);
            pace.closed_until(now)
        };
        // Its place is free for another call.
        drop(turn);
        match closed_until {
            Some(until) if status == StatusCode::TOO_MANY_REQUESTS => self.meter().limited(now, until),
            None => self.meter().takes_calls(),
            Some(_) => {}
        }
        limits.is_refusal()
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an answer with this status is counted. 404 answers a question, so it is no error.
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
