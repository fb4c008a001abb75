//! Comparison of Keycloak with Jira, by their bare states.

use std::collections::{BTreeMap, BTreeSet};

use usersync_simulators::jira::JiraSnapshot;

use super::keycloak::{Person, Realm};

/// Groups that a new Jira has, and its administrator.
const OWN_GROUPS: [&str; 2] = ["jira-administrators", "jira-software-users"];
const ADMINISTRATOR: &str = "admin";

/// Returns the differences between the realm and the Jira, one per line; empty: they are in sync.
pub async fn differences(realm: &Realm, jira: &JiraSnapshot) -> Vec<String> {
    let people = realm.people().await;
    let groups = realm.groups().await;
    let mut lines = accounts(&people, jira);
    lines.extend(memberships(&people, &groups, jira));
    lines
}

/// Returns whether a user must have an active account: enabled, with the e-mail address that Jira requires.
fn belongs(person: &Person) -> bool {
    person.enabled && person.email.is_some()
}

fn accounts(people: &BTreeMap<String, Person>, jira: &JiraSnapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for person in people.values().filter(|person| belongs(person)) {
        let login = &person.login;
        let Some(account) = jira.account(login) else {
            lines.push(format!("{login} has no account in Jira"));
            continue;
        };
        if !account.active {
            lines.push(format!("{login} is enabled in Keycloak, but not active in Jira"));
        }
        if account.display_name != person.display_name {
            lines.push(format!("{login} is {:?} in Keycloak, {:?} in Jira", person.display_name, account.display_name));
        }
        if Some(&account.email) != person.email.as_ref() {
            lines.push(format!("{login} has the address {:?} in Keycloak, {:?} in Jira", person.email, account.email));
        }
    }
    let logins: BTreeSet<_> = people.values().filter(|p| belongs(p)).map(|p| p.login.to_lowercase()).collect();
    let unmanaged = jira.accounts.values().filter(|account| account.active && account.name != ADMINISTRATOR);
    let unmanaged = unmanaged.filter(|account| !logins.contains(&account.name));
    lines.extend(unmanaged.map(|account| format!("{} is active in Jira, but not enabled in Keycloak", account.name)));
    lines
}

fn memberships(
    people: &BTreeMap<String, Person>,
    groups: &BTreeMap<String, Vec<String>>,
    jira: &JiraSnapshot,
) -> Vec<String> {
    let mut wanted: BTreeMap<String, Vec<BTreeSet<String>>> = BTreeMap::new();
    for (path, members) in groups {
        let leaf = path.rsplit('/').next().unwrap_or_default().to_lowercase();
        let members = members.iter().filter_map(|id| people.get(id)).filter(|person| belongs(person));
        wanted.entry(leaf).or_default().push(members.map(|person| person.login.to_lowercase()).collect());
    }
    let active = |name: &String| jira.account(name).is_some_and(|account| account.active);
    let found: BTreeMap<String, BTreeSet<String>> = jira
        .groups
        .iter()
        .map(|(group, members)| (group.to_lowercase(), members.iter().filter(|name| active(name)).cloned().collect()))
        .collect();
    let mut lines = Vec::new();
    let nobody = BTreeSet::new();
    for (group, sources) in &wanted {
        // Groups that share a name are not synced.
        let [wanted] = sources.as_slice() else { continue };
        let Some(found) = found.get(group) else {
            lines.push(format!("the group {group} is not in Jira"));
            continue;
        };
        lines.extend(wanted.difference(found).map(|login| format!("{login} is not in {group} in Jira")));
        lines.extend(found.difference(wanted).map(|login| format!("{login} is in {group} in Jira, not in Keycloak")));
    }
    for (group, members) in found {
        if wanted.contains_key(&group) || OWN_GROUPS.contains(&group.as_str()) {
            continue;
        }
        let left = members.difference(&nobody);
        lines.extend(left.map(|login| format!("{login} is still in {group} in Jira, which Keycloak does not have")));
    }
    lines
}
