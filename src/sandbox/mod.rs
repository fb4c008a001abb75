//! In-memory imitations of Keycloak and Jira Data Center over real HTTP on loopback ports, for `usersync demo`,
//! for tests and for benchmarks.
//!
//! [`keycloak`] and [`jira`] are the two servers, [`fault`] makes either of them misbehave, [`journal`] remembers what
//! was asked of them.

pub mod agree;
pub mod fault;
mod front;
pub mod house;
pub mod jira;
pub mod journal;
pub mod keycloak;
mod line;
mod roster;
mod server;
mod versions;

pub use fault::{Fault, Faults};
pub use jira::{JiraOptions, JiraSandbox};
pub use journal::{Entry, Journal};
pub use keycloak::{KeycloakOptions, KeycloakSandbox};
