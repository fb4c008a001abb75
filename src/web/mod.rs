//! The HTTP interface: the hook that receives Keycloak's events, and the endpoints for monitoring.

mod budget;
mod connections;
mod hook_refusals;
mod hooks;
mod monitoring;
mod secrets;
mod server;

pub use hooks::{HookConnector, Hooks};
pub use secrets::{HookSecrets, ReadSecret};
pub use server::{ListenError, Server, ServerSettings, TlsFiles};
