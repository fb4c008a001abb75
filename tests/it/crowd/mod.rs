//! Tests specific to the Crowd client and the simulated Crowd, and of both against the vendor's description. Tests of
//! all kinds of targets are in `targets`.

mod accounts;
mod attributes;
mod description;
mod groups;
mod listing;
mod memberships;
mod place;
mod probing;
mod protection;
mod refusals;
mod simulator;
