//! In-memory imitations of Keycloak and of the targets over real HTTP on loopback ports, for `usersync demo`,
//! for tests and for benchmarks.
//!
//! [`keycloak`], [`jira`] and [`scim`] are the servers, [`fault`] makes any of them misbehave, [`journal`] remembers what
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
pub mod scim;
mod server;
mod versions;

pub use fault::{Fault, Faults};
pub use jira::{JiraOptions, JiraSandbox};
pub use journal::{Entry, Journal};
pub use keycloak::{KeycloakOptions, KeycloakSandbox};
pub use scim::{ScimOptions, ScimSandbox, ScimSwitches};
