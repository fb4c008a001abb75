//! Journal of the requests to a simulated server, oldest first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::http::HeaderMap;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The method, in upper case.
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The query as sent, without the question mark; empty: none.
    pub query: String,
    /// The request's `Content-Type`; empty: none.
    pub content_type: String,
    /// The request's headers, without the credentials.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Bytes,
    /// The status of the answer; `None`: the connection was closed instead.
    pub status: Option<u16>,
    /// The answer's body, before a fault changed it.
    pub answer: Bytes,
    /// Whether a fault made the answer, not the server.
    pub faulted: bool,
    /// When the request was read completely.
    pub at: SystemTime,
}

impl Entry {
    /// Returns path and query.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// Returns the value of a request header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the request's body as JSON; `Null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Returns the answer's body as JSON; `Null` if it is not JSON.
    pub fn answer_json(&self) -> Value {
        serde_json::from_slice(&self.answer).unwrap_or(Value::Null)
    }

    /// Returns whether the request is a write (not GET, HEAD or OPTIONS).
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }
}

/// The requests of one server, oldest first; clones share one list.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    on: AtomicBool,
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    pub(crate) fn new(on: bool) -> Self {
        Self(Arc::new(Inner { on: AtomicBool::new(on), entries: Mutex::default() }))
    }

    /// Turns recording on or off; existing entries stay.
    pub fn record(&self, on: bool) {
        self.0.on.store(on, Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    pub(crate) fn push(&self, entry: Entry) {
        self.0.entries.lock().push(entry);
    }

    /// Returns all entries.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.entries.lock().clone()
    }

    /// Returns the entries that `pick` accepts.
    pub fn matching(&self, pick: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let entries = self.0.entries.lock();
        entries.iter().filter(|entry| pick(entry)).cloned().collect()
    }

    /// Returns the writes.
    pub fn writes(&self) -> Vec<Entry> {
        self.matching(Entry::is_write)
    }

    /// Returns the number of requests with this method (`*`: any) and this text in path or query.
    pub fn count(&self, method: &str, text: &str) -> usize {
        let entries = self.0.entries.lock();
        entries.iter().filter(|e| (method == "*" || e.method == method) && e.target().contains(text)).count()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.entries.lock().len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Deletes all entries.
    pub fn clear(&self) {
        self.0.entries.lock().clear();
    }
}
