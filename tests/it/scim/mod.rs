//! The SCIM client against the simulator with its switches, and against the standard's own schemas.

mod attributes;
mod batch;
mod contract;
mod cost;
mod credentials;
mod harm;
mod listing;
mod members;
mod names;
mod odd;
mod operations;
mod probing;
mod shown;
mod spoken;
mod taken;
mod users;
mod world;
