//! The SCIM client against a real Keycloak's SCIM server.

mod keycloak;
#[path = "../../it/scim/operations.rs"]
mod operations;
mod realm_to_realm;
