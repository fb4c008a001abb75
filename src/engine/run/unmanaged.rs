//! Finds the unmanaged members of managed groups, which are accounts that no user is linked to, and reports or removes
//! them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    Item, Run,
    own_groups::some,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{
        approval_keys::approval_item,
        case::{RunRules, fingerprint},
        drift::unmanaged_member,
        error::WorkError,
        scope::judged,
        unmanaged::is_removal,
        user::{GroupWork, Walked},
    },
    model::{
        Account, AccountId, ApprovalKind, GroupId, GroupMapping, GroupState, Handling, IdSet, Limited, ManagedGroup,
        RunMode, Subject, TargetGroupId, UnmanagedMembers, adoption_key,
    },
    plan::{self, GroupTable, Presence},
    policy::{self, Verdict},
    store::Planned,
};

/// What is removed from the groups that source groups feed.
#[derive(Default)]
pub(super) struct Removals(BTreeMap<GroupId, Found>);

/// The unmanaged members that the policy removes from one group.
#[derive(Default)]
struct Found {
    accounts: Vec<AccountId>,
    /// Number of planned removals, without those that an operator rejected or the target does not support.
    planned: usize,
}

/// What the policy says about the unmanaged members of a target group.
struct MemberSettings<'s> {
    /// The source group with the smallest id, which stands for the group.
    source: &'s GroupState,
    /// The source groups of this connector that were read.
    sources: usize,
    /// Whether it removes them for each of these.
    removes: bool,
}

impl Run<'_> {
    /// Reports the unmanaged members of the groups that this connector feeds, or plans to remove them, as the policy
    /// says. An account that may be a user's is not one: it is about to be adopted, or waits for an approval.
    pub(super) fn plan_unmanaged(&mut self, source: &SourceWalk, target: &TargetWalk, groups: &GroupTable) -> Removals {
        let mut removals = Removals::default();
        let is_incomplete = self.may_lack_users(source, target);
        if !is_incomplete {
            // Removals that waited and are not needed any more are withdrawn.
            let waiting = target.groups_with(is_removal).map(|group| (group.clone(), Found::default()));
            removals.0.extend(waiting.filter(|(group, _)| !source.has_failed_group(group)));
        }
        let connector = Arc::clone(&self.connector);
        let rules = &connector.policy.groups;
        let constants = rules.constant_groups();
        let settings = self.member_settings(source, &constants, groups);
        for (id, accounts) in self.unmanaged_members(source, target, groups, &settings) {
            let (Some(managed), Some(own)) = (groups.managed(&id), settings.get(&id)) else { continue };
            let ours = managed.sources.iter().filter(|(connector, _)| *connector == self.pair.connector);
            let why = match plan::why_members_stay(self.pair, managed, groups, rules, &self.info.capabilities) {
                _ if !own.removes || ours.count() != own.sources => Some(String::new()),
                Some(why) => Some(why),
                None if is_incomplete => Some("the read is incomplete".to_owned()),
                None => target.groups_incomplete.get(&managed.name).cloned(),
            };
            if let Some(why) = why {
                self.note_added(managed, own.source, &accounts, Handling::Reported);
                self.keep_members(managed, &why, &accounts);
            } else {
                let found = removals.0.entry(own.source.id.clone()).or_default();
                self.plan_removals_from(managed, own.source, accounts, target, found);
            }
        }
        removals.0.retain(|group, found| found.planned > 0 || target.is_outdated(group, found));
        removals
    }

    /// Returns whether users or accounts that were not read may exist.
    fn may_lack_users(&self, source: &SourceWalk, target: &TargetWalk) -> bool {
        let failed = |(subject, _): &(Subject, String)| subject.as_user().is_some_and(|user| !target.is_linked(user));
        self.report.incomplete.is_some()
            || self.rereads
            || !self.silent.is_empty()
            || source.failed.iter().any(failed)
            || source.unread_holders().next().is_some()
    }

    /// Returns the target groups whose unmanaged members the policy does not simply keep.
    fn member_settings<'s>(
        &self,
        source: &'s SourceWalk,
        constants: &'s [GroupState],
        groups: &GroupTable,
    ) -> BTreeMap<TargetGroupId, MemberSettings<'s>> {
        let rules = &self.connector.policy.groups;
        let (mut all, mut reported) = (BTreeMap::<TargetGroupId, MemberSettings<'_>>::new(), HashSet::new());
        for group in source.groups.iter().chain(constants) {
            let Some(GroupMapping::Managed { group: id, .. }) = groups.mapping(&group.id) else { continue };
            let setting = rules.unmanaged_members_at(&group.path);
            if setting != UnmanagedMembers::Keep {
                reported.insert(id.clone());
            }
            // The path of a group that could not be read is not known.
            let removes = setting == UnmanagedMembers::Remove
                && !source.has_failed_group(&group.id)
                && policy::left_out(group, rules).is_none()
                && group.verdict.fault().is_none();
            let settings = all.entry(id.clone()).or_insert(MemberSettings { source: group, sources: 0, removes: true });
            settings.sources += 1;
            settings.removes &= removes;
            if group.id < settings.source.id {
                settings.source = group;
            }
        }
        all.retain(|id, _| reported.contains(id));
        all
    }

    /// Returns the unmanaged members of these groups.
    fn unmanaged_members(
        &self,
        source: &SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
        settings: &BTreeMap<TargetGroupId, MemberSettings<'_>>,
    ) -> BTreeMap<TargetGroupId, Vec<Account>> {
        let mut by_group: BTreeMap<TargetGroupId, Vec<Account>> = BTreeMap::new();
        if settings.is_empty() {
            return by_group;
        }
        let linked: IdSet<AccountId> = target.grants().map(|grants| grants.account).collect();
        let accounts = target.accounts();
        let is_fed = |group: &&TargetGroupId| {
            settings.contains_key(*group) && groups.managed(group).is_some_and(|managed| managed.fed_by(self.pair))
        };
        let mut awaited = None;
        for place in 0..accounts.len() {
            let id = AccountId::from(accounts.key(place));
            let fed: Vec<&TargetGroupId> = target.groups_at(place).filter(is_fed).collect();
            if fed.is_empty() || linked.contains(&id) || target.is_linked_elsewhere(&id) {
                continue;
            }
            let account = accounts.get(place);
            let awaited = awaited.get_or_insert_with(|| self.awaited(source, target));
            if account.name == self.info.signed_in_as || awaited.has(&account, self) {
                continue;
            }
            for group in fed {
                by_group.entry(group.clone()).or_default().push(account.clone());
            }
        }
        by_group
    }

    /// Returns the accounts that users may get: by their logins, by other keys of the policy, or by an operator.
    fn awaited(&self, source: &SourceWalk, target: &TargetWalk) -> Awaited {
        let (policy, capabilities) = (&self.connector.policy, &self.info.capabilities);
        let rules = policy.account_rules(&self.pair.target);
        let mut awaited = Awaited::default();
        awaited.accounts.extend(target.orders.values().filter_map(|order| order.account.clone()));
        for user in source.iter() {
            let Presence::Present(user, verdict) = judged(user, &policy.scope, &source.absent_groups) else {
                continue;
            };
            if matches!(verdict, Verdict::Out { .. }) {
                continue;
            }
            let login = policy::login(&user, capabilities, rules, true).ok().flatten();
            awaited.logins.extend(login.map(|login| capabilities.login_case.fold(&login)));
            if rules.matching.is_by_login_only() || target.is_linked(&user.id) {
                continue;
            }
            for search in policy::searches(&user, capabilities, rules).unwrap_or_default() {
                let found = target.search(search, source);
                awaited.accounts.extend(found.candidates.into_iter().map(|one| one.account.id));
            }
        }
        awaited.adoptions = target.standing_keys().filter(|key| key.starts_with(&adoption_key(""))).collect();
        awaited
    }

    /// Reports unmanaged members that stay. `why` is empty if the policy says so.
    fn keep_members(&mut self, group: &ManagedGroup, why: &str, accounts: &[Account]) {
        let mut names: Vec<String> = accounts.iter().map(|account| account.name.clone()).collect();
        names.sort();
        let because = if why.is_empty() { String::new() } else { format!(", because {why}") };
        let line = format!("{}: unmanaged members stay{because}: {}", group.name, some(&names));
        self.report.kept.insert(line, names.len());
    }

    /// Reports unmanaged members as drift.
    fn note_added(&mut self, group: &ManagedGroup, source: &GroupState, accounts: &[Account], handling: Handling) {
        let Some(drift) = unmanaged_member(group) else { return };
        for account in accounts {
            let subject = Subject::Group(source.id.clone());
            self.report.drift.add(&subject, &account.name, drift.clone(), handling);
        }
    }

    /// Plans the removals of unmanaged members from one group.
    fn plan_removals_from(
        &mut self,
        group: &ManagedGroup,
        source: &GroupState,
        accounts: Vec<Account>,
        target: &TargetWalk,
        found: &mut Found,
    ) {
        let (subject, kind) = (Subject::Group(source.id.clone()), ApprovalKind::SafetyLimit(Limited::RemoveMember));
        let held = (group.adopted && !group.removals_approved).then_some(ApprovalKind::AdoptedGroup);
        let mut staying: BTreeMap<String, Vec<Account>> = BTreeMap::new();
        for account in accounts {
            if let Some(why) = plan::why_member_stays(&account, &self.info.signed_in_as) {
                self.note_added(group, source, std::slice::from_ref(&account), Handling::Reported);
                staying.entry(why.to_owned()).or_default().push(account);
                continue;
            }
            let remove = plan::removal(group, &account);
            if self.options.mode == RunMode::DryRun {
                self.note_added(group, source, std::slice::from_ref(&account), Handling::Open);
            }
            found.accounts.push(account.id);
            if target.is_rejected(&subject, &approval_item(kind, &subject, &remove)) {
                self.report.rejected += 1;
                continue;
            }
            if let Some(why) = target.why_not(&subject, &remove, &fingerprint(source)) {
                self.report.unsupported.push_once(why);
                continue;
            }
            if target.is_approved(&subject, &approval_item(kind, &subject, &remove)) {
                *self.approved.entry(Limited::RemoveMember).or_default() += 1;
            }
            found.planned += 1;
            self.report.held += usize::from(held.is_some() && self.options.mode == RunMode::DryRun);
            self.report.plan(&subject, remove.into(), held, || {
                let setting = self.connector.policy.groups.setting("unmanaged_members");
                format!("not linked to a user ({setting} = \"remove\")")
            });
        }
        for (why, accounts) in staying {
            self.keep_members(group, &why, &accounts);
        }
    }

    /// Removes the unmanaged members that were planned. Under the claim of its group, each is read again.
    pub(super) async fn remove_unmanaged(&mut self, removals: Removals, rules: &RunRules) -> Result<(), WorkError> {
        let groups = removals.0;
        if groups.is_empty() {
            return Ok(());
        }
        // Their work records an observation, which is no reason to raise their tasks.
        let is_worked = |subject: &Subject| matches!(subject, Subject::Group(id) if groups.contains_key(id));
        self.in_sync.others.retain(|planned| !is_worked(&planned.subject));
        let observation = self.engine.store.next_observation().await?;
        let total = groups.len();
        let items = groups.into_iter().map(|(group, found)| Item {
            planned: Planned { subject: Subject::Group(group), observation, account: None },
            walked: Walked { group_work: Some(GroupWork::RemoveUnmanaged(found.accounts)), ..Walked::default() },
            operations: found.planned,
        });
        self.apply("removing unmanaged members", total, items, rules).await
    }
}

impl Removals {
    /// Returns the number of planned removals.
    pub fn planned(&self) -> usize {
        self.0.values().map(|found| found.planned).sum()
    }
}

/// Accounts that users may get.
#[derive(Default)]
struct Awaited {
    /// Logins that users have or would get, as the target compares them.
    logins: HashSet<String>,
    accounts: IdSet<AccountId>,
    /// Keys of adoptions that wait for an operator or that an operator decided.
    adoptions: HashSet<String>,
}

impl Awaited {
    fn has(&self, account: &Account, run: &Run<'_>) -> bool {
        self.logins.contains(&run.info.capabilities.login_case.fold(&account.name))
            || self.accounts.contains(&account.id)
            || self.adoptions.contains(&adoption_key(account.id.as_str()))
    }
}

impl TargetWalk {
    /// Returns whether an item of this group about a removal waits or is decided, and the removal is not found any more.
    fn is_outdated(&self, group: &GroupId, found: &Found) -> bool {
        let still = |key: &str| found.accounts.iter().any(|account| key.ends_with(&format!("@{account}")));
        let items = self.standing(&Subject::Group(group.clone()));
        items.iter().any(|one| is_removal(one) && !still(&one.item.key))
    }
}
