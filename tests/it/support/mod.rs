//! Shared parts of the tests.

pub mod contract;
pub mod faulty;
pub mod jira_contract;
pub mod smtp;

use usersync::{model::Account, targets::Target};

/// Lists all accounts of a target; returns them, and why the list may be incomplete.
pub async fn all_accounts(target: &dyn Target) -> (Vec<Account>, Option<String>) {
    let (mut accounts, mut cursor, mut incomplete) = (Vec::new(), None, None);
    loop {
        let page = target.accounts(cursor.as_deref()).await.expect("a page");
        accounts.extend(page.items);
        incomplete = incomplete.or(page.incomplete);
        cursor = page.next;
        if cursor.is_none() {
            return (accounts, incomplete);
        }
    }
}
