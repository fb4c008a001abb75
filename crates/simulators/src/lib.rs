//! Simulated Keycloak, Jira, Confluence, Bitbucket, Crowd and SCIM servers: in memory, over real HTTP on loopback
//! ports, for `usersync demo`, tests and benchmarks.
//!
//! Each server has its own folder. [`fault`] makes any of them misbehave; [`journal`] records their requests. The crate
//! does not use usersync's clients, so that a simulator follows what a server does, not what a client expects.

pub mod agree;
pub mod bitbucket;
pub mod clock;
pub mod confluence;
pub mod crowd;
pub mod fault;
mod front;
mod identities;
pub mod jira;
pub mod journal;
pub mod keycloak;
mod line;
mod roster;
pub mod scim;
mod server;
mod versions;

pub use bitbucket::{BitbucketOptions, SimulatedBitbucket};
pub use confluence::{ConfluenceOptions, SimulatedConfluence};
pub use crowd::{CrowdOptions, SimulatedCrowd};
pub use fault::{Fault, Faults};
pub use jira::{JiraOptions, SimulatedJira};
pub use journal::{Entry, Journal};
pub use keycloak::{KeycloakOptions, SimulatedKeycloak};
pub use scim::{ScimOptions, ScimSwitches, SimulatedScim};
