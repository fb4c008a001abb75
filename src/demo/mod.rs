//! A complete usersync between simulated servers, for `usersync demo`, tests and benchmarks.

pub mod stack;
pub mod targets;
