//! What was found out of single groups and accounts, where a server does not list which groups make administrators.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::model::AccountId;

/// Which groups make administrators, and which accounts are protected by one of them.
#[derive(Debug, Default)]
pub struct Standings(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// By folded name: whether it makes administrators; `None` where the server does not tell.
    groups: HashMap<String, Option<bool>>,
    accounts: HashSet<AccountId>,
}

impl Standings {
    fn with<T>(&self, work: impl FnOnce(&mut Found) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets all groups but these, by folded name; others are asked for again.
    pub fn renew(&self, groups: impl IntoIterator<Item = (String, bool)>) {
        let groups = groups.into_iter().map(|(name, marked)| (name, Some(marked))).collect();
        self.with(|found| found.groups = groups);
    }

    /// What is known of a group; `None`: it was not asked for yet.
    #[expect(clippy::option_option, reason = "not asked for yet, not told, told")]
    pub fn known(&self, folded: &str) -> Option<Option<bool>> {
        self.with(|found| found.groups.get(folded).copied())
    }

    /// Notes what a group turned out to be.
    pub fn learn(&self, folded: String, administers: Option<bool>) {
        self.with(|found| found.groups.insert(folded, administers));
    }

    /// Folded names of all groups that are known to make administrators.
    pub fn marked(&self) -> HashSet<String> {
        self.with(|found| {
            let marked = found.groups.iter().filter(|(_, marked)| **marked == Some(true));
            marked.map(|(name, _)| name.clone()).collect()
        })
    }

    /// Notes an account that is protected by one of these groups.
    pub fn protect(&self, account: &AccountId) {
        self.with(|found| found.accounts.insert(account.clone()));
    }

    /// Whether an account was found to be protected by one of these groups.
    pub fn protects(&self, account: &AccountId) -> bool {
        self.with(|found| found.accounts.contains(account))
    }
}
