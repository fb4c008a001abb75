//! usersync keeps users and groups of Keycloak realms in sync in Jira, Confluence, Bitbucket, Crowd and SCIM services.
//!
//! The modules, from the inside out: [`model`] defines the data types; [`policy`] and [`plan`] are pure; [`engine`]
//! drives [`keycloak`], [`target`] and [`store`] through traits; [`web`] and [`cli`] are the entry points.

pub mod cli;
mod clock;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod engine;
mod gate;
mod http;
pub mod keycloak;
mod pace;
pub mod retry;
pub mod store;
pub mod target;
pub mod telemetry;
pub mod web;

pub use usersync_core::{model, plan, policy};
