//! Shared parts of the tests.

#![allow(dead_code, reason = "each test uses a part")]

pub mod faulty;
pub mod real;
