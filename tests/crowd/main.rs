//! The Crowd client and the simulated Crowd: what is particular to them, and both against the vendor's description.
//! What every kind of target promises is in `targets`.

mod accounts;
mod attributes;
#[path = "../support/contract.rs"]
mod contract;
mod description;
mod groups;
mod listing;
mod memberships;
mod place;
mod probing;
mod protection;
mod refusals;
mod simulator;
