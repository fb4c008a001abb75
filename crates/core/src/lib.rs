//! What usersync decides with: the nouns in [`model`], what a target can do in [`capabilities`], and the pure functions of
//! [`policy`] and [`plan`], which lead from the state at the source to the operations at a target.
//!
//! # Guarantees
//!
//! Nothing here does I/O, waits, or reads a clock: the same input gives the same answer.

pub mod capabilities;
pub mod model;
pub mod note;
pub mod plan;
pub mod policy;
