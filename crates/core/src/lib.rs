//! The types and pure functions that usersync decides with.
//!
//! The data types are in [`model`], the abilities of a target in [`capabilities`]. The functions of [`policy`] and
//! [`plan`] lead from the state at the source to the operations at a target.
//!
//! # Guarantees
//!
//! Nothing here does I/O, waits, or reads a clock: the same input gives the same result.

#![warn(clippy::disallowed_methods)]

pub mod capabilities;
pub mod model;
pub mod note;
pub mod plan;
pub mod policy;
