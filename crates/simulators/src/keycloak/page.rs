//! Pages of lists, and answers of the Admin REST API.

use serde::Serialize;

use super::errors::Refused;
use crate::front::{Reply, Request};

/// A page of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) first: usize,
    pub(crate) max: usize,
}

impl Page {
    /// Reads `first` and `max`. A negative value means none; for a value that is not a number Keycloak finds no path.
    pub(crate) fn of(request: &Request, default_max: usize) -> Result<Self, Refused> {
        let number = |name: &str| -> Result<Option<i64>, Refused> {
            match request.param(name) {
                Some(text) if !text.is_empty() => text.parse().map(Some).map_err(|_| Refused::no_path()),
                _ => Ok(None),
            }
        };
        let first = number("first")?.map_or(0, |n| usize::try_from(n).unwrap_or(0));
        let max = number("max")?.map_or(default_max, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Self { first, max })
    }

    /// Returns this page of a slice.
    pub(crate) fn cut<T>(self, all: &[T]) -> &[T] {
        let start = self.first.min(all.len());
        let end = start.saturating_add(self.max).min(all.len());
        &all[start..end]
    }
}

/// Returns a 200 answer with the admin API's headers.
pub(crate) fn ok(body: &impl Serialize) -> Reply {
    Reply::json_utf8(200, body).with("cache-control", "no-cache")
}
