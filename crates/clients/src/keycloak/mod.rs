//! The source: Keycloak's Admin REST API, its tokens, listings, events and signatures.

mod address;
mod base;
mod client;
pub mod decode;
mod diagnose;
mod fault;
mod federation;
mod groups;
mod http;
mod organizations;
mod pages;
mod parts;
mod realm_settings;
mod requests;
mod roles;
mod search;
mod settings;
pub mod setup;
pub mod signature;
mod source;
mod stored_events;
mod token;
mod users;
mod wire;

pub use crate::secret::SecretProvider;
pub use diagnose::Diagnosis;
pub use realm_settings::{DIRECTORY_EVENTS, KEY_ATTRIBUTE, LISTENER};
pub use requests::KeycloakSource;
pub use settings::{Connection, KeycloakSettings, TimeOuts};
pub use source::{
    AllHolders, EventPage, Federation, FullListing, Holders, OnProgress, OrganizationMembers, ProviderContact,
    RoleHolders, Source, SourceError, SourceInfo, Unreadable,
};
