//! Plans the operations from the actual to the desired state: pure, no I/O, no clock. The same functions serve the
//! worker, the run and the dry run.

mod cause;
mod groups;
mod safety_limit;
mod user;

pub use cause::cause;
pub use groups::{GroupTable, Resolved};
pub use safety_limit::{Measure, limit};
use user::leaving;
pub use user::{
    Decision, Findings, Hold, NameHolder, OwnerStanding, Planned, Presence, Situation, Then, decide, has_left,
    link_command, name_words, wanted_name,
};

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
