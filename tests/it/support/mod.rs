//! Shared parts of the tests.

pub mod contract;
pub mod faulty;
pub mod jira_contract;
