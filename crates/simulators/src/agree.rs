//! Comparison of a Keycloak realm with a target: users, groups and memberships. It reads the bare states and uses none
//! of usersync's own decisions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::keycloak::{GroupState, RealmSnapshot, UserState};

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Number of enabled users that have their account.
    pub users: usize,
    /// Number of groups that exist on both sides.
    pub groups: usize,
    /// Number of memberships of these users in these groups that exist on both sides.
    pub memberships: usize,
    /// The differences, as text.
    pub differences: Vec<String>,
}

impl Agreement {
    /// Returns whether nothing differs.
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, groups, memberships, differences } = self;
        write!(f, "{users} users, {groups} groups and {memberships} memberships agree")?;
        differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))
    }
}

/// State of a target, as far as it must agree with a realm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The product, such as `Jira`.
    pub product: &'static str,
    /// Accounts by login in lower case.
    pub accounts: BTreeMap<String, HeldAccount>,
    /// Logins of members by group name, both in lower case.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// Groups that come with the product.
    pub own_groups: BTreeSet<String>,
    /// Logins of administrators, which are not compared.
    pub administrators: BTreeSet<String>,
}

/// State of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAccount {
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether the account is active.
    pub active: bool,
}

/// A simulator of a target that exposes its bare state.
pub trait Holds: Send + Sync {
    /// Returns the current state.
    fn held(&self) -> Held;
}

impl Held {
    /// Builds the state of a product: accounts by login, and members by group.
    pub fn of(
        product: &'static str,
        accounts: impl IntoIterator<Item = (String, HeldAccount)>,
        groups: &BTreeMap<String, BTreeSet<String>>,
    ) -> Self {
        let members = |members: &BTreeSet<String>| members.iter().map(|login| login.to_lowercase()).collect();
        Self {
            product,
            accounts: accounts.into_iter().map(|(login, account)| (login.to_lowercase(), account)).collect(),
            groups: groups.iter().map(|(name, logins)| (name.to_lowercase(), members(logins))).collect(),
            ..Self::default()
        }
    }

    /// Marks these groups as the product's own, and the members of the first as its administrators.
    #[must_use]
    pub fn brings(mut self, groups: &[&str]) -> Self {
        self.own_groups = groups.iter().map(|name| (*name).to_owned()).collect();
        self.administrators = groups.first().and_then(|name| self.groups.get(*name)).cloned().unwrap_or_default();
        self
    }
}

/// Compares a realm with the state of a target. Accounts whose logins are in `unmanaged` have no user in Keycloak.
pub fn compare(realm: &RealmSnapshot, held: &Held, unmanaged: &[&str]) -> Agreement {
    let mut agreement = Agreement::default();
    let product = held.product;
    let people: Vec<&UserState> = realm.users.values().filter(|user| !user.service_account).collect();
    let known: BTreeSet<String> = people.iter().map(|user| user.username.to_lowercase()).collect();
    let mut present = BTreeMap::new();
    for user in people {
        let login = user.username.to_lowercase();
        if held.administrators.contains(&login) {
            continue;
        }
        match held.accounts.get(&login) {
            Some(account) if user.enabled => {
                agreement.differences.extend(account_differs(user, &login, account, product));
                agreement.users += 1;
                present.insert(user.id.as_str(), login);
            }
            Some(account) if account.active => {
                agreement.differences.push(format!("{login} is disabled in Keycloak, but active in {product}"));
            }
            // Some targets reject an account without an address.
            None if user.enabled && user.email.as_deref().is_some_and(|email| !email.trim().is_empty()) => {
                agreement.differences.push(format!("{login} has no account in {product}"));
            }
            _ => {}
        }
    }
    for (name, _) in held.accounts.iter().filter(|(_, account)| account.active) {
        if !known.contains(name) && !held.administrators.contains(name) && !unmanaged.contains(&name.as_str()) {
            agreement.differences.push(format!("{name} is active in {product}, but not in Keycloak"));
        }
    }
    compare_groups(realm, held, &present, &mut agreement);
    agreement
}

fn account_differs(user: &UserState, login: &str, account: &HeldAccount, product: &str) -> Vec<String> {
    let mut differences = Vec::new();
    if !account.active {
        differences.push(format!("{login} is enabled in Keycloak, but not active in {product}"));
    }
    let names = [&user.first_name, &user.last_name];
    let names: Vec<&str> =
        names.into_iter().flatten().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    let shown = if names.is_empty() { user.username.clone() } else { names.join(" ") };
    if account.display_name != shown {
        let there = &account.display_name;
        differences.push(format!("{login} is called \"{shown}\" in Keycloak, \"{there}\" in {product}"));
    }
    let email = user.email.as_deref().map(str::trim).filter(|email| !email.is_empty());
    if email.is_some_and(|email| email != account.email) {
        differences.push(format!("{login} has another e-mail address in Keycloak than in {product}"));
    }
    differences
}

/// Compares groups by the name that both sides use. A name that two group paths map to is skipped.
fn compare_groups(realm: &RealmSnapshot, held: &Held, present: &BTreeMap<&str, String>, agreement: &mut Agreement) {
    let mut by_name: BTreeMap<String, Vec<&GroupState>> = BTreeMap::new();
    for group in realm.groups.values() {
        by_name.entry(group.name.trim().to_lowercase()).or_default().push(group);
    }
    let (there, product) = (&held.groups, held.product);
    let logins: BTreeSet<&String> = present.values().collect();
    for (name, groups) in &by_name {
        let [group] = groups.as_slice() else { continue };
        if held.own_groups.contains(name) {
            continue;
        }
        let Some(members) = there.get(name) else {
            agreement.differences.push(format!("group {} is not there in {product}", group.path));
            continue;
        };
        agreement.groups += 1;
        let wanted: BTreeSet<&String> = group.members.iter().filter_map(|id| present.get(id.as_str())).collect();
        let found: BTreeSet<&String> = members.iter().filter(|login| logins.contains(login)).collect();
        agreement.memberships += wanted.intersection(&found).count();
        let lacks = wanted.difference(&found).map(|login| format!("{login} is not in group {name} in {product}"));
        agreement.differences.extend(lacks);
        let more = found.difference(&wanted).map(|login| format!("{login} is in group {name} in {product} only"));
        agreement.differences.extend(more);
    }
    for (name, members) in there.iter().filter(|(name, _)| !by_name.contains_key(*name)) {
        if !held.own_groups.contains(name) {
            let left = members.iter().filter(|login| logins.contains(login));
            agreement.differences.extend(left.map(|login| format!("{login} is still in group {name} in {product}")));
        }
    }
}
