//! Guarantees of every kind of target, whatever the product: the same tests for each, against its simulator.

mod client_certificates;
mod conformance;
mod faults;
mod oauth;
mod places;
mod proxies;
mod table;
mod undocumented;
