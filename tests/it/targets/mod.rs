//! Guarantees of every kind of target, whatever the product: the same tests for each, against its simulator.

mod conformance;
mod faults;
mod oauth;
mod places;
mod signed_way;
mod table;
mod undocumented;
mod way_there;
