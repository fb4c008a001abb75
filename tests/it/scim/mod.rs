//! The SCIM client against the simulator with its switches, against the standard's own schemas, and against a real
//! Keycloak's SCIM server.

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
mod probing;
mod real;
mod realm_to_realm;
mod shown;
mod spoken;
mod taken;
mod users;
mod world;

#[path = "../support/contract.rs"]
mod description;
#[path = "../support/real.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod realm;
