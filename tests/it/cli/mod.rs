//! The command line as operators and scripts use it: the built binary against a store file, beside a running server,
//! and against simulated servers.

mod alone;
mod beside;
mod demo;
#[cfg(target_os = "linux")]
mod full_disk;
mod named;
mod narrow;
mod place;
mod realm;
mod schemas;
mod served;
mod setup;
mod tls;
mod usage;
mod whole;
