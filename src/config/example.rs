//! The example configuration file.

/// A commented configuration. It works once the files and variables that it names exist.
pub const EXAMPLE: &str = include_str!("example.toml");
