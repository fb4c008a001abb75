//! The Jira client against a small server with scripted answers and faults.

mod behaviour;
mod credentials;
mod faults;
mod listing;
mod probing;
mod protection;
mod redirects;
mod server;
mod standing;
mod trust;
mod world;
