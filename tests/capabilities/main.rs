//! The whole product between its imitations: one module a capability.
#![allow(missing_docs)]

mod groups;
mod people;
mod runs;
mod support;
