//! The command line as operators and scripts use it: the built binary against a store file, beside a running server,
//! and against simulated servers.

#[path = "cli/alone.rs"]
mod alone;
#[path = "cli/beside.rs"]
mod beside;
#[path = "cli/demo.rs"]
mod demo;
#[cfg(target_os = "linux")]
#[path = "cli/full_disk.rs"]
mod full_disk;
#[path = "cli/named.rs"]
mod named;
#[path = "cli/narrow.rs"]
mod narrow;
#[path = "cli/place.rs"]
mod place;
#[path = "cli/realm.rs"]
mod realm;
#[path = "cli/schemas.rs"]
mod schemas;
#[path = "cli/served.rs"]
mod served;
#[path = "cli/setup.rs"]
mod setup;
#[path = "cli/tls.rs"]
mod tls;
#[path = "cli/usage.rs"]
mod usage;
#[path = "cli/whole.rs"]
mod whole;
