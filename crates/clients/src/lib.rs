//! The clients of usersync: Keycloak, and the targets that it fills.
//!
//! [`keycloak`] reads a realm, sets it up and decodes its events. [`targets`] has a folder for each kind of target, with
//! one trait, [`targets::Target`]. Both use one HTTP client ([`http`]) with one limit of concurrent calls ([`gate`]), one
//! learned pace, one backoff ([`backoff`]) and one source of secrets ([`secret`]).
//!
//! # Guarantees
//!
//! No secret is in a log, an error or a `Debug` output. No redirect is followed, and no answer is read without a limit.

pub mod backoff;
pub mod clock;
pub mod env;
pub mod gate;
pub mod http;
pub mod keycloak;
pub mod meter;
mod pace;
pub mod personal;
pub mod secret;
pub mod settings;
pub mod targets;

use usersync_core::model;
