//! The complete product between its simulators: one module per capability.
#![allow(missing_docs)]

mod access;
mod accounting;
mod additions;
mod answers;
mod attributes;
mod calls;
mod clones;
mod conditions;
mod counted;
mod crowd;
mod defects;
mod faults;
mod groups;
mod hook;
mod hostile;
mod limits;
mod link_orders;
mod memberships;
mod missing;
mod odd_answers;
mod people;
mod presence;
mod protection;
mod redirects;
mod refused;
mod restart;
mod runs;

mod scim;
mod scim_cost;
mod sessions;
mod short_lists;
mod support;
mod two_realms;
mod waves;
mod wiki_groups;
