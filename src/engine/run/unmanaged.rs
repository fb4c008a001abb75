//! Reports the unmanaged members of managed groups: accounts that no user is linked to.

use std::collections::{BTreeMap, HashSet};

use super::{
    Run,
    own_groups::some,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    model::{AccountId, ConstantGroup, GroupMapping, GroupState, IdSet, TargetGroupId, UnmanagedMembers},
    plan::GroupTable,
    policy,
};

impl Run<'_> {
    /// Reports the unmanaged members of the groups that this connector feeds, if the policy says so. An account with
    /// the login of a user is not one: it is about to be adopted, or waits for an approval.
    pub(super) fn report_unmanaged(&mut self, source: &SourceWalk, target: &TargetWalk, groups: &GroupTable) {
        let rules = &self.connector.policy.groups;
        if !rules.reports_unmanaged() {
            return;
        }
        let reports = |group: &GroupState| rules.unmanaged_members_at(&group.path) == UnmanagedMembers::Report;
        let constants: Vec<GroupState> = rules.constant.iter().map(ConstantGroup::group).collect();
        let reported = source.groups.iter().chain(&constants).filter(|group| reports(group));
        let reported: IdSet<TargetGroupId> = reported
            .filter_map(|group| match groups.mapping(&group.id) {
                Some(GroupMapping::Managed { group, .. }) => Some(group.clone()),
                _ => None,
            })
            .collect();
        let case = self.info.capabilities.login_case;
        let linked: IdSet<AccountId> = target.linked().map(|link| link.account).collect();
        let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let accounts = target.accounts();
        for place in 0..accounts.len() {
            let id = AccountId::from(accounts.key(place));
            let mut fed = target
                .groups_at(place)
                .filter_map(|group| groups.managed(group))
                .filter(|group| group.fed_by(self.pair) && reported.contains(&group.id));
            let Some(first) = fed.next() else { continue };
            if linked.contains(&id) || target.is_linked_elsewhere(&id) {
                continue;
            }
            let name = accounts.get(place).name;
            if name != self.info.signed_in_as {
                let names = std::iter::once(first).chain(fed).map(|group| group.name.clone());
                members.insert(name, names.collect());
            }
        }
        if !members.is_empty() {
            let rules = self.connector.policy.account_rules(&self.pair.target);
            let login = |place| policy::login(&source.user(place), &self.info.capabilities, rules, true).ok().flatten();
            let users: HashSet<String> = (0..source.users()).filter_map(login).map(|login| case.fold(&login)).collect();
            members.retain(|name, _| !users.contains(&case.fold(name)));
        }
        let mut by_group: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (account, groups) in members {
            for group in groups {
                by_group.entry(group).or_default().push(account.clone());
            }
        }
        for (group, accounts) in by_group {
            let why = format!("{group}: unmanaged members stay: {}", some(&accounts));
            self.report.kept.insert(why, accounts.len());
        }
    }
}
