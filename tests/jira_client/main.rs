//! The Jira client against a small server that answers, and misbehaves, as told.

mod behaviour;
mod credentials;
mod faults;
mod listing;
mod probing;
mod redirects;
mod server;
mod standing;
mod trust;
mod world;
