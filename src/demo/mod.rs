//! A complete usersync between simulated servers, for `usersync demo`, tests and benchmarks.

pub mod clock;
mod error;
pub mod stack;
pub mod targets;

pub use error::StackError;
