//! Jira's description, with where it is known to be wrong.

#[path = "contract.rs"]
mod contract;

use usersync_simulators::journal::Entry;

use contract::Contract;

/// Checks each request with its answer; gives what is wrong, and the deviations that nothing made use of.
/// `base_path` is the path below which that Jira lies.
pub fn check(entries: &[Entry], base_path: &str) -> (Vec<String>, Vec<String>) {
    let description = include_str!("../contracts/jira-10.3.openapi.json");
    let deviations = include_str!("../contracts/jira-deviations.json");
    // Errors have no described body: Jira's own form, a page, or nothing.
    let mut contract = Contract::new(description, deviations, "/rest")
        .alias("/api/latest/", "/api/2/")
        .refusal(|body| body["errorMessages"].is_array() && body["errors"].is_object());
    let problems = contract.check(entries, base_path);
    (problems, contract.unused())
}
