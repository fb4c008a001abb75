//! The HTTP interface: the hook that receives Keycloak's events, and the endpoints for monitoring.

mod budget;
mod connections;
mod hooks;
mod refusals;
mod secrets;
mod server;
mod watch;

pub use hooks::{HookConnector, Hooks};
pub use secrets::{HookSecrets, ReadSecret};
pub use server::{ListenError, Server, ServerSettings, TlsFiles};
