//! In-memory imitations of Keycloak and of its targets over real HTTP on loopback ports, for `usersync demo`, for tests
//! and for benchmarks.
//!
//! One folder each; [`fault`] makes any of them misbehave, [`journal`] remembers what was asked of them.

pub mod agree;
pub mod bitbucket;
pub mod clock;
pub mod confluence;
pub mod crowd;
pub mod fault;
mod front;
pub mod house;
pub mod jira;
pub mod journal;
pub mod keycloak;
mod line;
pub mod neighbours;
mod roster;
pub mod scim;
mod server;
mod versions;

pub use bitbucket::{BitbucketOptions, BitbucketSandbox};
pub use confluence::{ConfluenceOptions, ConfluenceSandbox};
pub use crowd::{CrowdOptions, CrowdSandbox};
pub use fault::{Fault, Faults};
pub use jira::{JiraOptions, JiraSandbox};
pub use journal::{Entry, Journal};
pub use keycloak::{KeycloakOptions, KeycloakSandbox};
pub use scim::{ScimOptions, ScimSandbox, ScimSwitches};
