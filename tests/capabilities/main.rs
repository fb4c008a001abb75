//! The whole product between its imitations: one module a capability.
#![allow(missing_docs)]

mod people;
mod support;
