//! A message to an operator, before it is written for a way of delivery.

use serde_json::{Value, json};

use super::Alert;
use crate::model::Digest;

/// What is delivered.
#[derive(Clone, Copy)]
pub enum Notice<'a> {
    /// A change of a state, or a test.
    Alert(&'a Alert),
    /// The daily digest.
    Digest(&'a Digest),
}

impl<'a> Notice<'a> {
    /// Returns the unique id; the same in every attempt.
    pub fn id(self) -> &'a str {
        match self {
            Self::Alert(alert) => &alert.id,
            Self::Digest(digest) => &digest.id,
        }
    }

    /// Returns the document that is sent, in the form that Standard Webhooks recommends.
    pub(super) fn document(self) -> Value {
        let (kind, at, data) = match self {
            Self::Alert(alert) if alert.pair.is_some() => ("state.changed", alert.at, json!(alert)),
            Self::Alert(alert) => ("alert.test", alert.at, json!(alert)),
            Self::Digest(digest) => ("digest.daily", digest.to, json!(digest)),
        };
        json!({ "type": kind, "timestamp": at, "data": data })
    }
}
