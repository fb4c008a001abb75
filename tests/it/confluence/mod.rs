//! The Confluence client against the simulated Confluence, version by version. All requests and all answers are checked
//! against the vendor's description.

mod life;
mod listing;
mod probing;
mod reads;
mod refusals;
mod simulator;
mod world;
