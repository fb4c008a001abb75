//! Decides which unmanaged members of a managed group may be removed.

use super::GroupTable;
use crate::{
    capabilities::Capabilities,
    model::{Account, GroupRules, ManagedGroup, Operation, Pair},
};

/// Returns why the unmanaged members of a group stay, although the policy removes them; `None`: they are removed.
pub fn why_members_stay(
    pair: &Pair,
    group: &ManagedGroup,
    groups: &GroupTable,
    rules: &GroupRules,
    capabilities: &Capabilities,
) -> Option<String> {
    if let Some(why) = capabilities.protected_groups.why(&group.id, &group.name) {
        return Some(why.to_owned());
    }
    if let Some(how) = capabilities.access_groups.get(&group.id) {
        return Some(format!(
            "the group grants {how}. To remove them, add the group to the target's managed_access_groups"
        ));
    }
    if groups.is_constant(pair, group) {
        return Some(format!("{} of the policy grants the group", rules.setting("constant")));
    }
    let other = group.sources.iter().map(|(connector, _)| connector).find(|other| **other != pair.connector)?;
    Some(format!("connector {other} feeds the group too"))
}

/// Returns why an unmanaged account is never removed from a group; `None`: it may be. `own_login`: the login that
/// usersync signs in with.
pub fn why_member_stays<'a>(account: &'a Account, own_login: &str) -> Option<&'a str> {
    match &account.protected {
        Some(why) => Some(why),
        None if account.name == own_login => Some("usersync signs in with it"),
        None => None,
    }
}

/// Returns the operation that removes an account from a group.
pub fn removal(group: &ManagedGroup, account: &Account) -> Operation {
    Operation::RemoveMember {
        group: group.id.clone(),
        group_name: group.name.clone(),
        account: account.id.clone(),
        name: account.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{GroupMapping, TargetGroupId},
        plan::fixtures::{account, capabilities},
    };

    fn group(sources: &[(&str, &str)]) -> ManagedGroup {
        ManagedGroup {
            id: "eng".into(),
            name: "Eng".into(),
            adopted: false,
            removals_approved: false,
            sources: sources.iter().map(|(connector, source)| ((*connector).into(), (*source).into())).collect(),
        }
    }

    #[test]
    fn members_stay_in_groups_that_are_protected_grant_access_or_have_other_sources() {
        let pair = Pair::new("acme", "jira");
        let plain = capabilities();
        let mut protecting = plain.clone();
        protecting.protected_groups.by_name.insert("eng".into(), "it has administrators".into());
        let mut giving = plain.clone();
        giving.access_groups.insert(TargetGroupId::from("eng"), "application access".into());
        let rules = GroupRules { own_of: Some("jira".into()), ..GroupRules::default() };
        for (capabilities, sources, expected) in [
            (&plain, &[("acme", "1"), ("acme", "2")] as &[_], None),
            (&plain, &[("acme", "1"), ("other", "1")], Some("connector other feeds the group too")),
            (&plain, &[("acme", "constant:Eng")], Some("targets.jira.groups.constant of the policy grants the group")),
            (&protecting, &[("acme", "1")], Some("it has administrators")),
            (
                &giving,
                &[("acme", "1")],
                Some(
                    "the group grants application access. To remove them, add the group to the target's \
                     managed_access_groups",
                ),
            ),
        ] {
            let group = group(sources);
            let mapping = GroupMapping::Managed { group: group.id.clone(), name: "Eng".into() };
            let table = GroupTable::new(vec![group.clone()], vec![("1".into(), mapping)]);
            assert_eq!(
                why_members_stay(&pair, &group, &table, &rules, capabilities).as_deref(),
                expected,
                "{sources:?}"
            );
        }
    }

    #[test]
    fn protected_accounts_and_our_own_stay() {
        let visitor = account();
        let own = Account { name: "jsync".into(), ..account() };
        let admin = Account { protected: Some("an administrator".into()), ..account() };
        assert_eq!(why_member_stays(&visitor, "jsync"), None);
        assert_eq!(why_member_stays(&own, "jsync"), Some("usersync signs in with it"));
        assert_eq!(why_member_stays(&admin, "jsync"), Some("an administrator"));
    }

    #[test]
    fn a_removal_names_the_group_and_the_account() {
        let visitor = Account { name: "visitor".into(), ..account() };
        let removal = removal(&group(&[]), &visitor);
        assert_eq!(removal.to_string(), "remove visitor from Eng");
    }
}
