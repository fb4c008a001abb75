//! Protection state of single groups and accounts, for servers that do not list the groups that grant administration.

use std::collections::{HashMap, HashSet};

use crate::model::AccountId;
use parking_lot::Mutex;

/// Groups that grant administration, and accounts that they protect.
#[derive(Debug, Default)]
pub struct Standings(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// Whether a group grants administration, by folded name; `None`: the server does not say.
    groups: HashMap<String, Option<bool>>,
    accounts: HashSet<AccountId>,
}

impl Standings {
    fn with<T>(&self, work: impl FnOnce(&mut Found) -> T) -> T {
        work(&mut self.0.lock())
    }

    /// Replaces all known groups by these, by folded name; others are read again.
    pub fn renew(&self, groups: impl IntoIterator<Item = (String, bool)>) {
        let groups = groups.into_iter().map(|(name, marked)| (name, Some(marked))).collect();
        self.with(|found| found.groups = groups);
    }

    /// Returns what is known of a group; `None`: it was not read yet.
    #[expect(clippy::option_option, reason = "not asked for yet, not told, told")]
    pub fn known(&self, folded: &str) -> Option<Option<bool>> {
        self.with(|found| found.groups.get(folded).copied())
    }

    /// Records what the server says about a group.
    pub fn learn(&self, folded: String, administers: Option<bool>) {
        self.with(|found| found.groups.insert(folded, administers));
    }

    /// Returns the folded names of all groups known to grant administration, with those in `others`.
    pub fn marked(&self, others: &HashSet<String>) -> HashSet<String> {
        self.with(|found| {
            let marked = found.groups.iter().filter(|(_, marked)| **marked == Some(true));
            marked.map(|(name, _)| name).chain(others).cloned().collect()
        })
    }

    /// Records an account that one of these groups protects.
    pub fn protect(&self, account: &AccountId) {
        self.with(|found| found.accounts.insert(account.clone()));
    }

    /// Whether one of these groups protects an account.
    pub fn protects(&self, account: &AccountId) -> bool {
        self.with(|found| found.accounts.contains(account))
    }
}
