//! The faces on HTTP: the hook that Keycloak's events come in by, and what watches over the process.

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
