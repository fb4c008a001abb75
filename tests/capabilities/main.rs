//! The whole product between its imitations: one module a capability.
#![allow(missing_docs)]

mod access;
mod accounting;
mod attributes;
mod crowd;
mod defects;
mod doubt;
mod faults;
mod groups;
mod hook;
mod joins;
mod memberships;
mod missing;
mod people;
mod restart;
mod runs;
mod scim;
mod support;
mod two_realms;
