//! The source: Keycloak's Admin REST API, its tokens, walks, events and signatures.

pub mod decode;
pub mod signature;
mod source;

pub use source::{Source, SourceError, SourceInfo, Walked};
