//! Whether a Keycloak and a Jira hold the same people, groups and memberships: compared by their bare states, with
//! nothing of what usersync itself decides by.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    house::Grounds,
    jira::{AccountState, JiraSnapshot},
    keycloak::{GroupState, RealmSnapshot, UserState},
};

/// Groups that a Jira brings along.
const JIRAS_OWN: [&str; 2] = ["jira-administrators", "jira-software-users"];

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Enabled users who have their account.
    pub users: usize,
    /// Groups that are there on both sides.
    pub groups: usize,
    /// Memberships of these users in these groups that are there on both sides.
    pub memberships: usize,
    /// What differs, in words.
    pub differences: Vec<String>,
}

impl Agreement {
    /// Whether nothing differs.
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

/// Compares the two sides as they are now.
pub fn agree(grounds: &Grounds) -> Agreement {
    agree_but_for(grounds, &[])
}

/// The same, where accounts with these logins are nobody's in Keycloak.
pub fn agree_but_for(grounds: &Grounds, strangers: &[&str]) -> Agreement {
    compare(&grounds.realm.snapshot(), &grounds.jira.snapshot(), strangers)
}

fn compare(realm: &RealmSnapshot, jira: &JiraSnapshot, strangers: &[&str]) -> Agreement {
    let mut agreement = Agreement::default();
    let accounts: BTreeMap<&str, &AccountState> =
        jira.accounts.values().map(|account| (account.name.as_str(), account)).collect();
    let administrators = jira.groups.get(JIRAS_OWN[0]).cloned().unwrap_or_default();
    let people: Vec<&UserState> = realm.users.values().filter(|user| !user.service_account).collect();
    let known: BTreeSet<String> = people.iter().map(|user| user.username.to_lowercase()).collect();
    let mut present = BTreeMap::new();
    for user in people {
        let login = user.username.to_lowercase();
        let account = accounts.get(login.as_str()).copied();
        if administrators.contains(&login) {
            continue;
        }
        match account {
            Some(account) if user.enabled => {
                agreement.differences.extend(account_differs(user, account));
                agreement.users += 1;
                present.insert(user.id.as_str(), login);
            }
            Some(account) if account.active => {
                agreement.differences.push(format!("{login} is disabled in Keycloak, but active in Jira"));
            }
            // Without an address Jira takes nobody.
            None if user.enabled && user.email.as_deref().is_some_and(|email| !email.trim().is_empty()) => {
                agreement.differences.push(format!("{login} has no account in Jira"));
            }
            _ => {}
        }
    }
    for account in jira.accounts.values().filter(|account| account.active) {
        let name = account.name.as_str();
        if !known.contains(name) && !administrators.contains(name) && !strangers.contains(&name) {
            agreement.differences.push(format!("{name} is active in Jira, but not in Keycloak"));
        }
    }
    compare_groups(realm, jira, &present, &mut agreement);
    agreement
}

fn account_differs(user: &UserState, account: &AccountState) -> Vec<String> {
    let mut differences = Vec::new();
    let login = &account.name;
    if !account.active {
        differences.push(format!("{login} is enabled in Keycloak, but not active in Jira"));
    }
    let names = [&user.first_name, &user.last_name];
    let names: Vec<&str> =
        names.into_iter().flatten().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    let shown = if names.is_empty() { user.username.clone() } else { names.join(" ") };
    if account.display_name != shown {
        differences.push(format!("{login} is called \"{shown}\" in Keycloak, \"{}\" in Jira", account.display_name));
    }
    let email = user.email.as_deref().map(str::trim).filter(|email| !email.is_empty());
    if email.is_some_and(|email| email != account.email) {
        differences.push(format!("{login} has another e-mail address in Keycloak than in Jira"));
    }
    differences
}

/// Groups by the name that both sides know them by; those that two paths lead to are nobody's.
fn compare_groups(
    realm: &RealmSnapshot,
    jira: &JiraSnapshot,
    present: &BTreeMap<&str, String>,
    agreement: &mut Agreement,
) {
    let mut by_name: BTreeMap<String, Vec<&GroupState>> = BTreeMap::new();
    for group in realm.groups.values() {
        by_name.entry(group.name.trim().to_lowercase()).or_default().push(group);
    }
    let there: BTreeMap<String, &BTreeSet<String>> =
        jira.groups.iter().map(|(name, members)| (name.to_lowercase(), members)).collect();
    let logins: BTreeSet<&String> = present.values().collect();
    for (name, groups) in &by_name {
        let [group] = groups.as_slice() else { continue };
        if JIRAS_OWN.contains(&name.as_str()) {
            continue;
        }
        let Some(members) = there.get(name) else {
            agreement.differences.push(format!("group {} is not there in Jira", group.path));
            continue;
        };
        agreement.groups += 1;
        let wanted: BTreeSet<&String> = group.members.iter().filter_map(|id| present.get(id.as_str())).collect();
        let found: BTreeSet<&String> = members.iter().filter(|login| logins.contains(login)).collect();
        agreement.memberships += wanted.intersection(&found).count();
        let lacks = wanted.difference(&found).map(|login| format!("{login} is not in group {name} in Jira"));
        agreement.differences.extend(lacks);
        let more = found.difference(&wanted).map(|login| format!("{login} is in group {name} in Jira only"));
        agreement.differences.extend(more);
    }
    for (name, members) in there.iter().filter(|(name, _)| !by_name.contains_key(*name)) {
        if !JIRAS_OWN.contains(&name.as_str()) {
            let left = members.iter().filter(|login| logins.contains(login));
            agreement.differences.extend(left.map(|login| format!("{login} is still in group {name} in Jira")));
        }
    }
}
