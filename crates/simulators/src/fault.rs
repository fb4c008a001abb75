//! Switchable faults: everything that can go wrong between a client and a server, on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::DrivenClock;

/// The earlier state that answers a stale read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The state this many changes ago, as far as the server's options keep a history.
    ChangesAgo(usize),
    /// The state at the last `freeze()` of the server.
    Frozen,
}

/// Kind of a fault.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Answers with this instead of the server's answer; the request has no effect.
    Answer {
        /// The status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
    /// Answers with this status and body instead of the server's, although the request took effect.
    AnswerAfter {
        /// The status.
        status: u16,
        /// Its body.
        body: String,
    },
    /// Waits before the request takes effect.
    DelayBefore(Duration),
    /// Waits for the gate before the request takes effect. It takes effect even if its client has disconnected, as
    /// behind a buffering proxy. A request that merely waits ends with its connection.
    Late(Gate),
    /// Waits after the request takes effect, before the answer.
    DelayAfter(Duration),
    /// Closes the connection; the request has no effect.
    CutBefore,
    /// Closes the connection after the request takes effect.
    CutAfter,
    /// Closes the connection after the request takes effect and after this many bytes of the answer's body.
    CutMidway(usize),
    /// Ends the answer's body cleanly after this many bytes.
    Truncate(usize),
    /// Puts this many spaces before the answer's body.
    Huge(usize),
    /// Answers the read from an earlier state.
    Stale(Stale),
    /// Replaces or removes fields in the answer's JSON.
    Mangle(Mangle),
    /// Changes the answer's JSON before it is sent.
    Edit(Edit),
    /// Answers 500 instead of a list with an entry of this id, as Keycloak fails a whole page if it cannot read one
    /// user.
    FailsOver(String),
}

/// Replacement of the fields of one name in an answer, at any depth.
#[derive(Clone, Debug)]
pub struct Mangle {
    /// The field's name.
    pub field: String,
    /// The new value; `None`: the field is removed.
    pub into: Option<Value>,
    /// Whether only the first field of this name changes; else all of them.
    pub first_only: bool,
}

impl Mangle {
    /// Returns the body with its fields replaced; `None` if it is not JSON.
    pub(crate) fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut value = serde_json::from_slice(body).ok()?;
        self.walk(&mut value);
        serde_json::to_vec(&value).ok()
    }

    /// Replaces fields; returns whether the walk can stop.
    fn walk(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(object) => {
                if object.contains_key(&self.field) {
                    match &self.into {
                        Some(into) => _ = object.insert(self.field.clone(), into.clone()),
                        None => _ = object.remove(&self.field),
                    }
                    if self.first_only {
                        return true;
                    }
                }
                object.values_mut().any(|value| self.walk(value))
            }
            Value::Array(values) => values.iter_mut().any(|value| self.walk(value)),
            _ => false,
        }
    }
}

/// A change of an answer's JSON.
#[derive(Clone)]
pub struct Edit(Arc<dyn Fn(&mut Value) + Send + Sync>);

impl Edit {
    /// Changes the body; a body that is not JSON stays.
    pub(crate) fn apply(&self, body: &[u8]) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice(body) else { return body.to_vec() };
        (self.0)(&mut value);
        serde_json::to_vec(&value).unwrap_or_default()
    }
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Edit")
    }
}

/// A gate that late requests wait for; clones share one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(CancellationToken);

impl Gate {
    /// Lets all waiting and all later requests pass.
    pub fn open(&self) {
        self.0.cancel();
    }

    pub(crate) async fn opened(&self) {
        self.0.cancelled().await;
    }
}

/// A fault: what goes wrong, for which requests, and how often.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: Kind,
    method: Option<String>,
    path: String,
    skip: u64,
    times: Option<u64>,
    /// The fault hits only requests above this limit; `None`: no limit.
    limit: Option<Limit>,
}

/// A rate limit driven by a clock; clones share one count.
#[derive(Clone)]
pub struct Limit {
    kind: LimitKind,
    clock: DrivenClock,
    /// Calls left at an instant.
    left: Arc<Mutex<(f64, Timestamp)>>,
}

#[derive(Clone, Copy, Debug)]
enum LimitKind {
    /// Size of the bucket, and calls added per second. Bitbucket's values are 60 and 5.
    Bucket(f64, f64),
    /// Calls per window, and the window's length in seconds. A window begins with its first call. Slack's values are
    /// 180 and 60.
    Window(f64, i64),
}

impl std::fmt::Debug for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

impl Limit {
    /// Returns a full bucket of `size` calls; `per_second` are added each second.
    pub fn bucket(clock: DrivenClock, size: f64, per_second: f64) -> Self {
        Self::new(LimitKind::Bucket(size, per_second), clock, size)
    }

    /// Returns a limit of this many calls per window of this many seconds.
    pub fn window(clock: DrivenClock, calls: f64, seconds: i64) -> Self {
        Self::new(LimitKind::Window(calls, seconds), clock, calls)
    }

    fn new(kind: LimitKind, clock: DrivenClock, left: f64) -> Self {
        let left = Arc::new(Mutex::new((left, clock.now())));
        Self { kind, clock, left }
    }

    /// Counts a call; returns the seconds to wait if it is above the limit.
    fn take(&self) -> Option<u64> {
        let now = self.clock.now();
        let mut state = self.left.lock();
        let (left, at) = &mut *state;
        let since = now.duration_since(*at).as_secs_f64();
        let wait = match self.kind {
            LimitKind::Bucket(size, per_second) => {
                (*left, *at) = ((*left + since * per_second).min(size), now);
                (1.0 - *left) / per_second
            }
            LimitKind::Window(calls, seconds) => {
                let seconds = Duration::from_secs(seconds.unsigned_abs()).as_secs_f64();
                if since >= seconds {
                    (*left, *at) = (calls, now);
                }
                seconds - since
            }
        };
        if *left >= 1.0 {
            *left -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64(wait.ceil().max(0.0)).as_secs())
    }
}

impl Fault {
    /// Returns a fault that hits every request until it is removed.
    pub fn new(kind: Kind) -> Self {
        Self { kind, method: None, path: String::new(), skip: 0, times: None, limit: None }
    }

    /// Answers with a status and a body, without effect.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::new(Kind::Answer { status, headers: Vec::new(), body: body.into() })
    }

    /// Answers with a proxy's 503 page in HTML.
    pub fn unavailable() -> Self {
        Self::html(503, "<html><body><h1>503 Service Unavailable</h1></body></html>")
    }

    /// Answers with HTML instead of JSON, with any status.
    pub fn html(status: u16, body: impl Into<String>) -> Self {
        Self::status(status, body).header("content-type", "text/html;charset=UTF-8")
    }

    /// Answers 429 with `Retry-After` in seconds.
    pub fn too_many(retry_after: u64) -> Self {
        Self::status(429, "").header("retry-after", retry_after.to_string())
    }

    /// Answers requests above a limit with 429 and `Retry-After`.
    pub fn limited(limit: Limit) -> Self {
        Self { limit: Some(limit), ..Self::status(429, "") }
    }

    /// Redirects to a login page, as a single sign-on proxy does.
    pub fn login_redirect(location: impl Into<String>) -> Self {
        Self::status(302, "").header("location", location)
    }

    /// Waits before the request takes effect.
    pub fn delay(wait: Duration) -> Self {
        Self::new(Kind::DelayBefore(wait))
    }

    /// Waits for the gate before the request takes effect, whether or not the client waits too.
    pub fn late(gate: &Gate) -> Self {
        Self::new(Kind::Late(gate.clone()))
    }

    /// Waits between the effect and the answer.
    pub fn delay_after(wait: Duration) -> Self {
        Self::new(Kind::DelayAfter(wait))
    }

    /// Closes the connection before the request takes effect.
    pub fn cut() -> Self {
        Self::new(Kind::CutBefore)
    }

    /// Closes the connection after the request takes effect.
    pub fn cut_after() -> Self {
        Self::new(Kind::CutAfter)
    }

    /// Ends the body early.
    pub fn truncate(bytes: usize) -> Self {
        Self::new(Kind::Truncate(bytes))
    }

    /// Changes the JSON of the answer.
    pub fn edit(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::new(Kind::Edit(Edit(Arc::new(change))))
    }

    /// Fails lists that contain an entry of this id.
    pub fn fails_over(id: impl Into<String>) -> Self {
        Self::new(Kind::FailsOver(id.into()))
    }

    /// Answers reads from an earlier state.
    pub fn stale(stale: Stale) -> Self {
        Self::new(Kind::Stale(stale))
    }

    /// Adds a header to a [`Kind::Answer`]; has no effect on other kinds.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Kind::Answer { headers, .. } = &mut self.kind {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// Limits the fault to requests of this method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Limits the fault to requests with this text in path or query.
    #[must_use]
    pub fn path(mut self, text: impl Into<String>) -> Self {
        self.path = text.into();
        self
    }

    /// Limits the fault to this many matching requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Limits the fault to the first matching request.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }
}

/// Identifies a fault that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

#[derive(Debug)]
struct Armed {
    id: FaultId,
    fault: Fault,
    seen: u64,
    hits: u64,
}

/// The faults of one server; clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    armed: Mutex<Vec<Armed>>,
    next: AtomicU64,
    latency_nanos: AtomicU64,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&self, fault: Fault) -> FaultId {
        let id = FaultId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let armed = Armed { id, fault, seen: 0, hits: 0 };
        self.0.armed.lock().push(armed);
        id
    }

    /// Removes a fault.
    pub fn remove(&self, id: FaultId) {
        self.0.armed.lock().retain(|armed| armed.id != id);
    }

    /// Removes all faults; latency stays.
    pub fn clear(&self) {
        self.0.armed.lock().clear();
    }

    /// Returns how often a fault hit a request.
    pub fn hits(&self, id: FaultId) -> u64 {
        let armed = self.0.armed.lock();
        armed.iter().find(|armed| armed.id == id).map_or(0, |armed| armed.hits)
    }

    /// Adds this latency to every call.
    pub fn set_latency(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.latency_nanos.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        match self.0.latency_nanos.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Returns the faults that hit this request, in the order in which they were added.
    pub(crate) fn strike(&self, method: &str, target: &str) -> Vec<Kind> {
        let mut armed = self.0.armed.lock();
        let mut struck = Vec::new();
        for one in armed.iter_mut() {
            let fault = &one.fault;
            if fault.method.as_deref().is_some_and(|wanted| wanted != method) || !target.contains(&fault.path) {
                continue;
            }
            one.seen += 1;
            if one.seen <= fault.skip || fault.times.is_some_and(|times| one.hits >= times) {
                continue;
            }
            let mut kind = fault.kind.clone();
            if let Some(limit) = &fault.limit {
                let Some(wait) = limit.take() else { continue };
                if let Kind::Answer { headers, .. } = &mut kind {
                    headers.push(("retry-after".to_owned(), wait.to_string()));
                }
            }
            struck.push(kind);
            one.hits += 1;
        }
        struck
    }
}
