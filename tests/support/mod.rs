//! What several tests need.

pub mod real;
