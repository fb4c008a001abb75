//! The Confluence client against the simulated Confluence, version by version; all that it sends, and all that the simulator
//! answers, is held against the vendor's description.

#[path = "../support/contract.rs"]
mod contract;
mod life;
mod listing;
mod probing;
mod reads;
mod refusals;
mod simulator;
mod world;
