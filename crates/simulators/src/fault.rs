//! Switchable faults: what can go wrong between a client and a server, on demand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::DrivenClock;

/// Which earlier state a stale read is answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The state of that many changes ago, as far as the server's options keep a history.
    ChangesAgo(usize),
    /// The state at the last `freeze()` of the server.
    Frozen,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Kind {
    /// This answer instead of the server's; the request has no effect.
    Answer {
        /// The status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
    /// This status and body instead of the server's, although the request had its effect.
    AnswerAfter {
        /// The status.
        status: u16,
        /// Its body.
        body: String,
    },
    /// Waits before the request has its effect.
    DelayBefore(Duration),
    /// Waits for the gate before the request has its effect, and has it even when its client is gone by then, as a
    /// request does that a proxy holds back. A request that only waits ends with its connection.
    Late(Gate),
    /// Waits after the effect, before the answer.
    DelayAfter(Duration),
    /// Cuts the connection; the request has no effect.
    CutBefore,
    /// Cuts the connection after the effect.
    CutAfter,
    /// Cuts the connection after the effect and after this many bytes of the answer's body.
    CutMidway(usize),
    /// The answer's body ends after this many bytes, with a clean end.
    Truncate(usize),
    /// Spaces of this size are put before the answer's body.
    Huge(usize),
    /// The read is answered from an earlier state.
    Stale(Stale),
    /// A field of the answer's JSON is other than it should be.
    Mangle(Mangle),
    /// The answer's JSON is changed on its way out.
    Edit(Edit),
    /// An answer that is a list with an entry of this id is a 500 instead, as Keycloak answers a whole page if it cannot
    /// read one user of it.
    FailsOver(String),
}

/// What is made of the fields of one name in an answer, at any depth.
#[derive(Clone, Debug)]
pub struct Mangle {
    /// The field's name.
    pub field: String,
    /// What stands there instead; `None`: the field is missing.
    pub into: Option<Value>,
    /// Only the first field of this name; else all of them.
    pub first_only: bool,
}

impl Mangle {
    /// The body with its fields mangled; one that is not JSON stays as it is.
    pub(crate) fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut value = serde_json::from_slice(body).ok()?;
        self.walk(&mut value);
        serde_json::to_vec(&value).ok()
    }

    /// Whether it is done.
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
    /// Changes the body; one that is no JSON stays.
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

/// What late requests wait for; clones are one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(CancellationToken);

impl Gate {
    /// Lets through all who wait, and all who come.
    pub fn open(&self) {
        self.0.cancel();
    }

    pub(crate) async fn opened(&self) {
        self.0.cancelled().await;
    }
}

/// A fault: what goes wrong, for which requests, how often.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: Kind,
    method: Option<String>,
    path: String,
    skip: u64,
    times: Option<u64>,
    /// Strikes only what is past it.
    limit: Option<Limit>,
}

/// A limit of calls by a clock, as services publish theirs; clones count together.
#[derive(Clone)]
pub struct Limit {
    kind: LimitKind,
    clock: DrivenClock,
    /// Calls that are left, as of an instant.
    left: Arc<Mutex<(f64, Timestamp)>>,
}

#[derive(Clone, Copy, Debug)]
enum LimitKind {
    /// So many calls at most, and so many more each second: Bitbucket's are 60 and 5.
    Bucket(f64, f64),
    /// So many calls in each window of so many seconds, which begins with its first call: Slack's are 180 in 60.
    Window(f64, i64),
}

impl std::fmt::Debug for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

impl Limit {
    /// A full bucket of `size` calls, to which `per_second` are added.
    pub fn bucket(clock: DrivenClock, size: f64, per_second: f64) -> Self {
        Self::new(LimitKind::Bucket(size, per_second), clock, size)
    }

    /// So many calls in each window of so many seconds.
    pub fn window(clock: DrivenClock, calls: f64, seconds: i64) -> Self {
        Self::new(LimitKind::Window(calls, seconds), clock, calls)
    }

    fn new(kind: LimitKind, clock: DrivenClock, left: f64) -> Self {
        let left = Arc::new(Mutex::new((left, clock.now())));
        Self { kind, clock, left }
    }

    /// Counts a call; for one that is past the limit the seconds to wait.
    fn take(&self) -> Option<u64> {
        let now = self.clock.now();
        let mut state = self.left.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// This fault for every request, until it is taken away.
    pub fn new(kind: Kind) -> Self {
        Self { kind, method: None, path: String::new(), skip: 0, times: None, limit: None }
    }

    /// A status with a body, without effect.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::new(Kind::Answer { status, headers: Vec::new(), body: body.into() })
    }

    /// A proxy's 503 page in HTML.
    pub fn unavailable() -> Self {
        Self::html(503, "<html><body><h1>503 Service Unavailable</h1></body></html>")
    }

    /// HTML with any status instead of JSON.
    pub fn html(status: u16, body: impl Into<String>) -> Self {
        Self::status(status, body).header("content-type", "text/html;charset=UTF-8")
    }

    /// 429 with `Retry-After` in seconds.
    pub fn too_many(retry_after: u64) -> Self {
        Self::status(429, "").header("retry-after", retry_after.to_string())
    }

    /// 429 with `Retry-After` for what is past a limit.
    pub fn limited(limit: Limit) -> Self {
        Self { limit: Some(limit), ..Self::status(429, "") }
    }

    /// A redirect to a login page, as a single sign-on proxy gives it.
    pub fn login_redirect(location: impl Into<String>) -> Self {
        Self::status(302, "").header("location", location)
    }

    /// Waits before the effect.
    pub fn delay(wait: Duration) -> Self {
        Self::new(Kind::DelayBefore(wait))
    }

    /// Waits for the gate before the effect, whether or not the client waits too.
    pub fn late(gate: &Gate) -> Self {
        Self::new(Kind::Late(gate.clone()))
    }

    /// Waits between effect and answer.
    pub fn delay_after(wait: Duration) -> Self {
        Self::new(Kind::DelayAfter(wait))
    }

    /// Cuts the connection before the effect.
    pub fn cut() -> Self {
        Self::new(Kind::CutBefore)
    }

    /// Cuts the connection after the effect.
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

    /// Fails over lists that hold the entry of this id.
    pub fn fails_over(id: impl Into<String>) -> Self {
        Self::new(Kind::FailsOver(id.into()))
    }

    /// Answers reads from an earlier state.
    pub fn stale(stale: Stale) -> Self {
        Self::new(Kind::Stale(stale))
    }

    /// Adds a header to an [`Kind::Answer`]; has no meaning for other kinds.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Kind::Answer { headers, .. } = &mut self.kind {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// Only for requests of this method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Only for requests that have this text in path or query.
    #[must_use]
    pub fn path(mut self, text: impl Into<String>) -> Self {
        self.path = text.into();
        self
    }

    /// Only for the first so many requests that match.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only for the first request that matches.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Lets the first so many matching requests pass.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }
}

/// Names one fault that was added.
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
    /// Switches a fault on.
    pub fn add(&self, fault: Fault) -> FaultId {
        let id = FaultId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let armed = Armed { id, fault, seen: 0, hits: 0 };
        self.0.armed.lock().unwrap_or_else(PoisonError::into_inner).push(armed);
        id
    }

    /// Switches a fault off.
    pub fn remove(&self, id: FaultId) {
        self.0.armed.lock().unwrap_or_else(PoisonError::into_inner).retain(|armed| armed.id != id);
    }

    /// Switches all faults off; latency stays.
    pub fn clear(&self) {
        self.0.armed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often a fault struck.
    pub fn hits(&self, id: FaultId) -> u64 {
        let armed = self.0.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed.iter().find(|armed| armed.id == id).map_or(0, |armed| armed.hits)
    }

    /// Makes every call take this long more.
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

    /// What strikes this request, in the order in which it was switched on.
    pub(crate) fn strike(&self, method: &str, target: &str) -> Vec<Kind> {
        let mut armed = self.0.armed.lock().unwrap_or_else(PoisonError::into_inner);
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
