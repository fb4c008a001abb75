//! The command line as operators and scripts use it: the built binary against a store file, beside a running server,
//! and against simulated servers.

mod alerts;
mod alerts_digest;
mod alerts_email;
mod beside_server;
mod demo;
mod drift;
mod evidence;
mod explained_groups;
#[cfg(target_os = "linux")]
mod full_disk;
mod leads;
mod leavers;
mod matching;
mod named;
mod organizations;
mod place;
mod policy;
mod polling;
mod realm;
mod schemas;
pub mod served;
mod setup;
mod tls;
mod usage;
mod whole;
mod widths;
mod without_server;
