//! The engine: reconciles one subject or all of them, and recovers from a crash at any point.
//!
//! A worker claims a task, reads the source, decides what the target should hold, and reads the target. It applies the
//! difference one operation at a time: stored as an intent, sent, recorded as a change. A run walks both sides and
//! passes the differences through the same functions. The rules for claims, observations and intents are those of the
//! store's trait; they were model-checked, and `tests/simulation` attacks them with this engine.

#![warn(clippy::disallowed_methods)]

mod additions;
mod approval_keys;
mod approval_log;
mod breaker;
mod case;
mod contact;
mod drift;
mod empty;
mod error;
mod federation;
mod group;
mod ledger;
mod link_order;
mod matching;
mod membership;
mod missing;
mod polling;
mod ports;
mod presence;
mod recover;
mod retry;
mod ruled_groups;
mod run;
mod scope;
mod send;
mod service;
mod sessions;
mod subgroups;
mod times;
mod unlisted;
mod unmanaged;
mod user;
mod verify;
mod without_server;
mod work;

pub use crate::clock::{Clock, Jitter, SystemClock};
pub(crate) use approval_keys::approval_key;
pub use case::Worked;
pub use drift::{DriftLine, DriftReport};
pub use empty::has_member_in_scope;
pub use error::WorkError;
pub use group::{Intended, intend, keeps_name, wanted_rename};
pub use ledger::{Fate, Ledger, Tally};
pub use matching::search_accounts;
pub use ports::{Connector, Engine, TargetPort};
pub use retry::{ATTEMPTS, wait as retry_delay};
pub use ruled_groups::with_policy;
pub use run::{Counts, Line, Listed, Progress, Report, RunOptions, Seats, WaitingLine};
pub use scope::judge;
pub use service::{Schedule, Service, ServiceOptions};
pub use subgroups::with_groups_below;
pub use times::EngineTimes;
pub use without_server::{Drained, FirstPlan};
