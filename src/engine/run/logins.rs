//! Indexes of a target's accounts by login, and of links by account.

use std::{collections::HashSet, hash::BuildHasher as _};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    model::{Account, AccountId, Link, Packed},
    targets::CaseRule,
};

/// The accounts of a target by login.
pub(super) struct Logins {
    case: CaseRule,
    places: HashTable<u32>,
    hasher: RandomState,
    /// Folded logins that several accounts have.
    ambiguous: HashSet<String>,
}

/// The account with a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Unlinked,
    /// The account at this index.
    One(usize),
    Several,
}

impl Logins {
    /// Indexes the logins of these accounts, compared by this rule.
    pub fn new(accounts: &Packed<Account>, case: CaseRule) -> Self {
        let mut logins = Self {
            case,
            places: HashTable::with_capacity(accounts.len()),
            hasher: RandomState::default(),
            ambiguous: HashSet::new(),
        };
        for (place, account) in (0..).zip(accounts.iter()) {
            let login = case.fold(&account.name);
            if logins.place(&login, accounts).is_some() {
                logins.ambiguous.insert(login);
            } else {
                let hash = |place: &u32| logins.hasher.hash_one(case.fold(&accounts.get(*place as usize).name));
                logins.places.insert_unique(logins.hasher.hash_one(&login), place, hash);
            }
        }
        logins
    }

    /// Returns the index of the first account with this folded login.
    fn place(&self, login: &str, accounts: &Packed<Account>) -> Option<u32> {
        let has_it = |place: &u32| self.case.fold(&accounts.get(*place as usize).name) == login;
        self.places.find(self.hasher.hash_one(login), has_it).copied()
    }

    /// Returns which of the indexed accounts has a login.
    pub fn find(&self, login: &str, accounts: &Packed<Account>) -> Found {
        let login = self.case.fold(login);
        match self.place(&login, accounts) {
            None => Found::Unlinked,
            Some(_) if self.ambiguous.contains(&login) => Found::Several,
            Some(place) => Found::One(place as usize),
        }
    }
}

/// Links by account.
pub(super) struct Owners {
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Owners {
    /// Indexes these links.
    pub fn new(links: &Packed<Link>) -> Self {
        let mut owners = Self { places: HashTable::with_capacity(links.len()), hasher: RandomState::default() };
        for (place, link) in (0..).zip(links.iter()) {
            let hash = |place: &u32| owners.hasher.hash_one(&links.get(*place as usize).account);
            owners.places.insert_unique(owners.hasher.hash_one(&link.account), place, hash);
        }
        owners
    }

    /// Returns the link of an account.
    pub fn find(&self, account: &AccountId, links: &Packed<Link>) -> Option<Link> {
        let is_it = |place: &u32| links.get(*place as usize).account == *account;
        self.places.find(self.hasher.hash_one(account), is_it).map(|place| links.get(*place as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, name: &str) -> Account {
        Account {
            id: id.into(),
            name: name.to_owned(),
            display_name: String::new(),
            email: None,
            attributes: std::collections::BTreeMap::new(),
            active: true,
            access: Vec::new(),
            groups: None,
            protected: None,
            immutable: None,
        }
    }

    #[test]
    fn a_login_is_found_by_the_rule_of_its_target() {
        let accounts: Packed<Account> =
            [account("1", "Ann"), account("2", "ben"), account("3", "BEN"), account("4", "cat")].into_iter().collect();
        let folded = Logins::new(&accounts, CaseRule::Insensitive);
        let find = |login| folded.find(login, &accounts);
        assert_eq!([find("ANN"), find("Ben"), find("cat")], [Found::One(0), Found::Several, Found::One(3)]);
        assert_eq!(find("dan"), Found::Unlinked);
        let exact = Logins::new(&accounts, CaseRule::Sensitive);
        let find = |login| exact.find(login, &accounts);
        assert_eq!([find("ANN"), find("ben"), find("BEN")], [Found::Unlinked, Found::One(1), Found::One(2)]);
    }

    #[test]
    fn an_account_is_its_user_s() {
        let links: Packed<Link> = (0..100)
            .map(|number| Link::new(format!("u{number}").into(), format!("a{number}").into(), "name"))
            .collect();
        let owners = Owners::new(&links);
        for number in 0..100 {
            let owner = owners.find(&format!("a{number}").into(), &links).map(|link| link.user);
            assert_eq!(owner, Some(format!("u{number}").into()));
        }
        assert_eq!(owners.find(&"b".into(), &links), None);
    }
}
