//! The source: Keycloak's Admin REST API, its tokens, walks, events and signatures.

mod source;

pub use source::{Source, SourceError, SourceInfo, Walked};
