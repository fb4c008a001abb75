//! Indexes of a target's accounts by login and by other values, and of links by account.

use std::{collections::HashSet, hash::BuildHasher as _};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    model::{Account, AccountId, Link, MatchedBy, Packed},
    policy,
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

/// The accounts of a target by a value that several accounts can have.
pub(super) struct Values {
    by: MatchedBy,
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Values {
    /// Indexes the values of these accounts by which this key finds them. Accounts without one are left out.
    pub fn new(accounts: &Packed<Account>, by: &MatchedBy) -> Self {
        let (mut places, hasher) = (HashTable::new(), RandomState::default());
        for (place, account) in (0..).zip(accounts.iter()) {
            let Some(value) = value_of(&account, by) else { continue };
            let hash = |place: &u32| hasher.hash_one(value_of(&accounts.get(*place as usize), by).unwrap_or_default());
            places.insert_unique(hasher.hash_one(&value), place, hash);
        }
        Self { by: by.clone(), places, hasher }
    }

    /// Returns the indexes of the accounts with this value, in their order.
    pub fn find(&self, value: &str, accounts: &Packed<Account>) -> Vec<usize> {
        let hashed = self.places.iter_hash(self.hasher.hash_one(value)).map(|place| *place as usize);
        let mut found: Vec<usize> =
            hashed.filter(|place| value_of(&accounts.get(*place), &self.by).as_deref() == Some(value)).collect();
        found.sort_unstable();
        found
    }
}

/// Returns an account's value for a key in the form in which it is compared; `None`: it has none.
fn value_of(account: &Account, by: &MatchedBy) -> Option<String> {
    let value = match by {
        MatchedBy::Email => account.email.as_deref().map(policy::fold_value),
        MatchedBy::Attribute(name) => account.attributes.get(name).cloned(),
        MatchedBy::Login | MatchedBy::OtherLogin | MatchedBy::Operator => None,
    };
    value.filter(|value| !value.is_empty())
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
    fn all_accounts_with_a_value_are_found() {
        let mailed = |id: &str, email: Option<&str>| Account { email: email.map(str::to_owned), ..account(id, id) };
        let mut accounts: Vec<Account> = (0..100).map(|number| mailed(&format!("x{number}"), Some("x@x"))).collect();
        accounts.extend([mailed("1", Some("Ann@Example.org")), mailed("2", None), mailed("3", Some(" "))]);
        accounts.push(mailed("4", Some(" ann@example.org")));
        accounts[101].attributes.insert("externalId".to_owned(), "N7".to_owned());
        let accounts: Packed<Account> = accounts.into_iter().collect();
        let emails = Values::new(&accounts, &MatchedBy::Email);
        assert_eq!(emails.find("ann@example.org", &accounts), [100, 103]);
        assert_eq!(emails.find("x@x", &accounts).len(), 100);
        assert_eq!(emails.find("", &accounts), [0; 0]);
        let ids = Values::new(&accounts, &MatchedBy::Attribute("externalId".to_owned()));
        assert_eq!((ids.find("N7", &accounts), ids.find("n7", &accounts)), (vec![101], vec![]));
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
