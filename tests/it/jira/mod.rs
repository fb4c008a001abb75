//! The Jira client against a small server with scripted answers and faults, and against the simulated Jira (`versions`);
//! and the simulated Jira against the vendor's description (`contract`).

mod behaviour;
mod contract;
mod credentials;
mod listing;
mod probing;
mod protection;
mod redirects;
mod scripted_faults;
mod scripted_server;
mod standing;
mod trust;
mod versions;
mod world;
