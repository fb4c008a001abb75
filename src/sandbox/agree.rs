//! Whether source and target agree, read off the bare state of the two imitations. Shares nothing with policy and plan,
//! so that it finds their mistakes, too.

use std::collections::{BTreeMap, BTreeSet};

use super::{jira::JiraSnapshot, keycloak::RealmSnapshot};

/// What was compared, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Enabled users who have their active account.
    pub users: usize,
    /// Groups that are there on both sides.
    pub groups: usize,
    /// Memberships that are there on both sides.
    pub memberships: usize,
    /// What differs, each in words.
    pub differences: Vec<String>,
}

/// Compares a realm with a Jira by the default rules: each enabled user with an e-mail address has an active account of
/// the same login, name and address; nobody else's account that `ours` names is active; each group has a namesake with
/// just the same people of ours. Accounts and groups that are strangers to the realm are left out of it.
pub fn agree(realm: &RealmSnapshot, jira: &JiraSnapshot, ours: &BTreeSet<String>) -> Agreement {
    let mut agreement = Agreement::default();
    let mut enabled: BTreeMap<&str, &str> = BTreeMap::new();
    for user in realm.users.values().filter(|user| !user.service_account && user.enabled && user.email.is_some()) {
        enabled.insert(&user.id, &user.username);
        match jira.accounts.values().find(|account| account.name == user.username) {
            None => agreement.differences.push(format!("{} has no account", user.username)),
            Some(account) => {
                let name = [user.first_name.as_deref(), user.last_name.as_deref()];
                let name = name.into_iter().flatten().collect::<Vec<_>>().join(" ");
                if !account.active {
                    agreement.differences.push(format!("the account {} is not active", account.name));
                } else if account.display_name != name && !name.is_empty() {
                    let text = format!("the account {} is called {}, not {name}", account.name, account.display_name);
                    agreement.differences.push(text);
                } else if Some(&account.email) != user.email.as_ref() {
                    agreement.differences.push(format!("the account {} has another e-mail address", account.name));
                } else {
                    agreement.users += 1;
                }
            }
        }
    }
    let logins: BTreeSet<&str> = enabled.values().copied().collect();
    for account in jira.accounts.values().filter(|account| ours.contains(&account.key) && account.active) {
        if !logins.contains(account.name.as_str()) {
            agreement.differences.push(format!("the account {} is active, but nobody's", account.name));
        }
    }
    compare_groups(realm, jira, ours, &enabled, &mut agreement);
    agreement
}

fn compare_groups(
    realm: &RealmSnapshot,
    jira: &JiraSnapshot,
    ours: &BTreeSet<String>,
    enabled: &BTreeMap<&str, &str>,
    agreement: &mut Agreement,
) {
    let our_logins: BTreeSet<&str> = jira
        .accounts
        .values()
        .filter(|account| ours.contains(&account.key) && account.active)
        .map(|account| account.name.as_str())
        .collect();
    for group in realm.groups.values() {
        let namesake = jira.groups.iter().find(|(name, _)| name.to_lowercase() == group.name.to_lowercase());
        let Some((name, members)) = namesake else {
            agreement.differences.push(format!("the group {} is not there", group.name));
            continue;
        };
        agreement.groups += 1;
        let wanted: BTreeSet<&str> = group.members.iter().filter_map(|id| enabled.get(id.as_str()).copied()).collect();
        let present: BTreeSet<&str> =
            members.iter().map(String::as_str).filter(|name| our_logins.contains(name)).collect();
        agreement.memberships += wanted.intersection(&present).count();
        for missing in wanted.difference(&present) {
            agreement.differences.push(format!("{missing} is not in {name}"));
        }
        for extra in present.difference(&wanted) {
            agreement.differences.push(format!("{extra} is in {name}, but not in Keycloak"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{
        jira::AccountState,
        keycloak::{GroupState, UserState},
    };

    fn world() -> (RealmSnapshot, JiraSnapshot, BTreeSet<String>) {
        let user = UserState {
            id: "1".into(),
            username: "alice".into(),
            email: Some("alice@example.org".into()),
            first_name: Some("Alice".into()),
            last_name: Some("Ng".into()),
            enabled: true,
            attributes: BTreeMap::new(),
            federation_link: None,
            service_account: false,
            groups: BTreeSet::from(["g".into()]),
        };
        let group = GroupState {
            id: "g".into(),
            name: "Eng".into(),
            path: "/Eng".into(),
            parent: None,
            members: BTreeSet::from(["1".into()]),
        };
        let account = AccountState {
            key: "JIRAUSER1".into(),
            name: "alice".into(),
            display_name: "Alice Ng".into(),
            email: "alice@example.org".into(),
            active: true,
            directory: "internal".into(),
            groups: BTreeSet::from(["eng".into()]),
        };
        let realm = RealmSnapshot {
            users: BTreeMap::from([("1".into(), user)]),
            groups: BTreeMap::from([("g".into(), group)]),
        };
        let jira = JiraSnapshot {
            accounts: BTreeMap::from([("JIRAUSER1".into(), account)]),
            groups: BTreeMap::from([("eng".into(), BTreeSet::from(["alice".into(), "stranger".into()]))]),
        };
        (realm, jira, BTreeSet::from(["JIRAUSER1".into()]))
    }

    #[test]
    fn what_is_the_same_on_both_sides_is_counted_and_strangers_are_left_out() {
        let (realm, jira, ours) = world();
        let agreement = agree(&realm, &jira, &ours);
        assert_eq!(agreement, Agreement { users: 1, groups: 1, memberships: 1, differences: vec![] });
    }

    #[test]
    fn each_difference_is_told() {
        let (mut realm, jira, ours) = world();
        realm.groups.get_mut("g").expect("there").members.clear();
        assert_eq!(agree(&realm, &jira, &ours).differences, ["alice is in eng, but not in Keycloak"]);
        let (mut realm, jira, ours) = world();
        realm.users.get_mut("1").expect("there").enabled = false;
        let told = agree(&realm, &jira, &ours).differences;
        assert_eq!(told, ["the account alice is active, but nobody's", "alice is in eng, but not in Keycloak"]);
        let (realm, mut jira, ours) = world();
        jira.accounts.clear();
        assert_eq!(agree(&realm, &jira, &ours).differences, ["alice has no account", "alice is not in eng"]);
        let (realm, mut jira, ours) = world();
        jira.accounts.get_mut("JIRAUSER1").expect("there").display_name = "A".into();
        assert_eq!(agree(&realm, &jira, &ours).differences, ["the account alice is called A, not Alice Ng"]);
    }
}
