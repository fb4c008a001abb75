//! The Jira client against a small server with scripted answers and faults, and against the simulated Jira (`versions`);
//! and the simulated Jira against the vendor's description (`contract`).

mod behaviour;
mod contract;
mod credentials;
mod faults;
mod listing;
mod probing;
mod protection;
mod redirects;
mod server;
mod standing;
mod trust;
mod versions;
mod world;
