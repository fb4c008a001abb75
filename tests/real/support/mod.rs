//! The Keycloaks and realms that the tests use.

pub mod keycloak;
pub mod realm;
