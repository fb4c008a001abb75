//! What was asked of a simulated server, in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The method, in capitals.
    pub method: String,
    /// The path as it was sent, without the query.
    pub path: String,
    /// The query as it was sent, without the question mark; empty where there was none.
    pub query: String,
    /// The request's `Content-Type`, empty where there was none.
    pub content_type: String,
    /// The request's headers, but for the credentials.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Bytes,
    /// The status answered; `None` where the connection was cut instead.
    pub status: Option<u16>,
    /// The answer's body, as the server meant it (before a fault spoiled it).
    pub answer: Bytes,
    /// True where a fault made the answer, not the server.
    pub faulted: bool,
    /// When the request had been read.
    pub at: SystemTime,
}

impl Entry {
    /// Path and query as one.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// A header of the request as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The request's body as JSON; `Null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The answer's body as JSON; `Null` where it is none.
    pub fn answer_json(&self) -> Value {
        serde_json::from_slice(&self.answer).unwrap_or(Value::Null)
    }

    /// True for requests that ask for a change (not GET, HEAD or OPTIONS).
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

    /// Turns recording on or off; what was recorded stays.
    pub fn record(&self, on: bool) {
        self.0.on.store(on, Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    pub(crate) fn push(&self, entry: Entry) {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// All entries so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The entries that `pick` picks.
    pub fn matching(&self, pick: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter(|entry| pick(entry)).cloned().collect()
    }

    /// The requests that asked for a change.
    pub fn writes(&self) -> Vec<Entry> {
        self.matching(Entry::is_write)
    }

    /// How many requests had this method (`*` for any) and this text in path or query.
    pub fn count(&self, method: &str, text: &str) -> usize {
        let entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter(|e| (method == "*" || e.method == method) && e.target().contains(text)).count()
    }

    /// How many requests were recorded.
    pub fn len(&self) -> usize {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True where nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
