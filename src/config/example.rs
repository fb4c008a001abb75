//! The file to begin with.

/// A commented configuration that works once the files and variables that it names are there.
pub const EXAMPLE: &str = include_str!("example.toml");
