//! usersync keeps users and groups of Keycloak realms in sync in Jira, Confluence, Bitbucket, Crowd and SCIM services.
//!
//! The modules, from the inside out: [`model`] defines the data types; [`policy`] and [`plan`] are pure; [`engine`]
//! drives [`keycloak`], [`targets`] and [`store`] through traits; [`web`] and [`cli`] are the entry points.

pub mod alerts;
pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod engine;
pub mod store;
pub mod telemetry;
pub mod web;

pub use usersync_clients::{backoff, keycloak, targets};
use usersync_clients::{clock, gate, http};
pub use usersync_core::{model, plan, policy};
