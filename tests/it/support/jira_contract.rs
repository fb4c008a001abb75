//! Jira's API description, with its known errors.

use usersync_simulators::journal::Entry;

use super::contract::Contract;

/// Checks each request with its answer; returns what is wrong, and the unused deviations. `base_path` is the base path
/// of that Jira.
pub fn check(entries: &[Entry], base_path: &str) -> (Vec<String>, Vec<String>) {
    let description = include_str!("../../contracts/jira-10.3.openapi.json");
    let deviations = include_str!("../../contracts/jira-deviations.json");
    // Errors have no described body: Jira's own form, a page, or nothing.
    let mut contract = Contract::new(description, deviations, "/rest")
        .alias("/api/latest/", "/api/2/")
        .refusal(|body| body["errorMessages"].is_array() && body["errors"].is_object());
    let problems = contract.check(entries, base_path);
    (problems, contract.unused())
}
