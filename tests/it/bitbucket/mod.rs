//! Tests of the Bitbucket client and the simulated Bitbucket, against each other and against the vendor's description.

mod access;
mod batch;
mod behaviour;
mod credentials;
mod described;
mod faults;
mod finding;
mod listing;
mod probing;
mod world;
