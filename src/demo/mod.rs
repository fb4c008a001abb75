//! A complete usersync between simulated servers, for `usersync demo`, tests and benchmarks.

pub mod clock;
pub mod stack;
pub mod targets;
