//! Reports the calls of a client to an observer.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::model::ErrorClass;

/// Receives what a client reports about its calls to one server.
pub trait CallObserver: fmt::Debug + Send + Sync {
    /// A call ended; `None`: it succeeded, else the class of its error. `bytes`: the size of the answer's body; 0 if no
    /// complete answer arrived.
    fn called(&self, error: Option<ErrorClass>, took: Duration, bytes: usize);
    /// The server refused the credentials.
    fn refused_sign_in(&self);
    /// A call was rate limited; no call is sent before `until`.
    fn limited(&self, now: Timestamp, until: Timestamp);
    /// Every call since `since` was answered by a 503 with `Retry-After`; no call is sent before `until`.
    fn unavailable(&self, since: Timestamp, until: Timestamp);
    /// An answer other than such a 503 arrived.
    fn available(&self);
    /// The server accepts calls.
    fn takes_calls(&self);
}

/// Reports the calls of a client to an observer; by default, to none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CallMeter(Option<Arc<dyn CallObserver>>);

impl CallMeter {
    /// Creates a meter that reports to this observer.
    pub fn new(observer: Arc<dyn CallObserver>) -> Self {
        Self(Some(observer))
    }

    fn report(&self, report: impl FnOnce(&dyn CallObserver)) {
        if let Some(observer) = &self.0 {
            report(observer.as_ref());
        }
    }

    /// See [`CallObserver::called`].
    pub fn called(&self, error: Option<ErrorClass>, took: Duration, bytes: usize) {
        self.report(|observer| observer.called(error, took, bytes));
    }

    /// See [`CallObserver::refused_sign_in`].
    pub fn refused_sign_in(&self) {
        self.report(|observer| observer.refused_sign_in());
    }

    /// See [`CallObserver::limited`].
    pub fn limited(&self, now: Timestamp, until: Timestamp) {
        self.report(|observer| observer.limited(now, until));
    }

    /// See [`CallObserver::unavailable`].
    pub fn unavailable(&self, since: Timestamp, until: Timestamp) {
        self.report(|observer| observer.unavailable(since, until));
    }

    /// See [`CallObserver::available`].
    pub fn available(&self) {
        self.report(|observer| observer.available());
    }

    /// See [`CallObserver::takes_calls`].
    pub fn takes_calls(&self) {
        self.report(|observer| observer.takes_calls());
    }
}
