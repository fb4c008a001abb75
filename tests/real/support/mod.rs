//! The Keycloaks and realms that the tests use.

pub mod federated;
pub mod keycloak;
pub mod realm;
pub mod slapd;
