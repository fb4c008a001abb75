//! The groups of a run: reconciled before the users, or modelled in a dry run.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Item, Run,
    members::is_about_one,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{
        approval_keys::approval_item,
        case::{RunRules, fingerprint},
        drift::{deleted_group_stays, group_deleted, is_left_deleted},
        error::WorkError,
        group::{Intended, adoption_rejected, adoption_waits, intend, keeps_name, wanted_rename},
        user::Walked,
    },
    model::{
        Action, AdoptRule, ApprovalKind, DriftRule, GrantedTo, GroupId, GroupMapping, GroupRules, GroupState, Handling,
        Limited, ManagedGroup, NewApprovalItem, ObjectKind, ObservationSeq, Operation, RunMode, Subject, TargetGroupId,
    },
    plan::{self, GroupTable},
    policy,
    store::Planned,
    targets::CaseRule,
};

impl Run<'_> {
    /// Reconciles the groups, or models the result. Returns the table that users are planned with.
    pub(super) async fn groups(
        &mut self,
        source: &SourceWalk,
        target: &TargetWalk,
        rules: &RunRules,
    ) -> Result<GroupTable, WorkError> {
        let engine = self.engine;
        let connector = Arc::clone(&self.connector);
        let case = self.info.capabilities.group_case;
        let mut table = GroupTable::clone(&*engine.group_table(self.pair).await?);
        let group_rules = &connector.policy.groups;
        let names = by_name(&source.groups, group_rules, case);
        self.report_unmatched(source);
        let keeps = policy::selects_nothing_by_one(group_rules, &source.groups);
        let mut work: Vec<Subject> = Vec::new();
        // Groups that share a target group which another one creates before.
        let (mut creating, mut later): (HashSet<String>, Vec<Subject>) = (HashSet::new(), Vec::new());
        let mut renames = 0;
        let mut holders = None;
        let with_members = self.with_members(source);
        let constants = group_rules.constant_groups();
        let readable = source.groups.iter().filter(|group| !source.has_failed_group(&group.id));
        for group in readable.chain(&constants) {
            let intended = self.intended(group, &table, &source.groups, &mut holders);
            let shares = group.id.is_constant() || policy::is_merged(&group.name, group_rules);
            let namesakes = names.get(&case.fold(&group.name)).filter(|named| !shares && named.len() > 1);
            // A condition that leaves it out has read the group itself.
            let is_left_out = policy::path_left_out(&group.path, group_rules).is_some();
            if keeps && is_left_out && matches!(table.mapping(&group.id), Some(GroupMapping::Managed { .. })) {
                continue;
            }
            let sharing = names.get(&case.fold(&group.name)).filter(|_| shares).map_or(&[][..], Vec::as_slice);
            let is_unfed = is_unfed(&intended, &table);
            if is_unfed && namesakes.is_none() && self.is_left_empty(group, sharing, &table, with_members.as_ref()) {
                // A known one becomes unknown, so that its first member raises its task.
                if table.mapping(&group.id).is_some() && self.options.mode == RunMode::Apply {
                    work.push(Subject::Group(group.id.clone()));
                }
                continue;
            }
            // A known conflict is not worked on again: its work would search for the groups of its name.
            let why = namesakes.filter(|_| is_unfed).map(|namesakes| conflict(group, namesakes, group_rules, case));
            let intended = why.map_or(intended, Intended::None);
            let rename = wanted_rename(group, &table, &self.info.capabilities);
            let renamed = rename.is_some();
            let undecided = rename.is_some_and(|to| !is_decided(group, to, &table, target));
            renames += u32::from(undecided && matches!(intended, Intended::InSync(_) | Intended::Create(_)));
            match intended {
                Intended::InSync(_) if renamed => {
                    let name = policy::group_name(group, case);
                    match self.options.mode {
                        RunMode::Apply => work.push(Subject::Group(group.id.clone())),
                        RunMode::DryRun => {
                            self.model_rename(&mut table, target, group, &name).await?;
                        }
                    }
                }
                Intended::InSync(_) => {
                    let subject = Subject::Group(group.id.clone());
                    self.in_sync.others.push(Planned { subject, observation: source.observation, account: None });
                }
                Intended::Stays(why) => work.extend(self.stays(&mut table, group, why)),
                Intended::None(why) if matches!(table.mapping(&group.id), Some(GroupMapping::Unmapped { why: known, .. }) if *known == why) =>
                {
                    self.report_unmapped(group, &why);
                }
                Intended::Create(name)
                    if self.options.mode == RunMode::Apply && !creating.insert(case.fold(&name)) && shares =>
                {
                    later.push(Subject::Group(group.id.clone()));
                }
                _ if self.options.mode == RunMode::Apply => work.push(Subject::Group(group.id.clone())),
                Intended::None(why) => self.model_unmapped(&mut table, group, why),
                Intended::Ask(_) if let Some(namesakes) = namesakes => {
                    self.model_unmapped(&mut table, group, conflict(group, namesakes, group_rules, case));
                }
                Intended::Existing(id) => {
                    if let Some(managed) = table.managed(&id).cloned() {
                        table.assume(self.pair, group, managed);
                    }
                }
                Intended::Create(name) => self.model_group(&mut table, target, group, name).await?,
                Intended::Ask(other) => {
                    // The group that holds the name has another one by now, and will release it.
                    if let Some(GroupMapping::Managed { group: id, .. }) = table.mapping(&other)
                        && let Some(managed) = table.managed(id).cloned()
                    {
                        table.assume(self.pair, group, managed);
                    }
                }
            }
        }
        work.extend(self.former_constants(&table).await?);
        let gone = self.gone_groups(source, &mut table, &mut work).await;
        if self.options.mode == RunMode::DryRun {
            return Ok(table);
        }
        let rules = &self.limit_group_renames(renames, rules).await?;
        self.apply_groups(work, source.observation, rules).await?;
        self.apply_groups(later, source.observation, rules).await?;
        if !gone.is_empty() && !self.options.cancel.is_cancelled() {
            self.options.report_progress("re-reading deleted groups", 0, gone.len(), 0);
            engine.clock.sleep(engine.times.gone_twice).await;
            self.apply_groups(gone, source.observation, rules).await?;
        }
        self.current_groups().await
    }

    /// Returns the mapped groups that Keycloak confirms to be gone, and adds those that may exist to the other work.
    async fn gone_groups(
        &mut self,
        source: &SourceWalk,
        table: &mut GroupTable,
        work: &mut Vec<Subject>,
    ) -> Vec<Subject> {
        let mut gone = Vec::new();
        for id in self.absent_groups(source, table) {
            // A group with an unknown state fails in its own work.
            let read = self.engine.read_group_gone(&self.connector, self.pair, &id).await;
            self.report.evidence.source.by_id(ObjectKind::Groups).answered(read.as_ref().ok().map(|gone| !gone));
            // One that was created during this run may be missing in the listing.
            if let (Ok(false), Some(path)) = (&read, self.paths.get(&id)) {
                self.report.unconfirmed.push_once(format!(
                    "group {path}: Keycloak's listing and count lack it, but Keycloak returns it by its id. Its members \
                     stay; other groups may be missing"
                ));
            }
            let is_gone = matches!(read, Ok(true));
            if is_gone {
                self.gone.push(id.clone());
                if !self.is_kept_until_empty(&id, table) {
                    table.let_go(self.pair, &id);
                }
            }
            if is_gone {
                gone.push(Subject::Group(id));
            } else {
                if read.is_err() {
                    self.hidden.push(id.clone());
                }
                work.push(Subject::Group(id));
            }
        }
        table.hide(self.hidden.iter().cloned());
        gone
    }

    /// Returns the groups as they are recorded, and those that Keycloak does not show.
    async fn current_groups(&self) -> Result<GroupTable, WorkError> {
        let mut table = GroupTable::clone(&*self.engine.group_table(self.pair).await?);
        table.hide(self.hidden.iter().cloned());
        Ok(table)
    }

    /// Reports what the policy names and the realm does not have.
    fn report_unmatched(&mut self, source: &SourceWalk) {
        if source.groups_incomplete.is_some() {
            return;
        }
        let unmatched = policy::unmatched(&self.connector.policy, &source.groups).into_iter();
        self.report
            .unconfirmed
            .extend_once(unmatched.map(|what| format!("{what}. Correct it in the policy, or remove it there")));
    }

    /// Returns the mapped groups that were not listed, if the listing is complete; reports them otherwise.
    fn absent_groups(&mut self, source: &SourceWalk, table: &GroupTable) -> Vec<GroupId> {
        let present = source.group_ids();
        let is_absent = |id: &&GroupId| !id.is_constant() && !present.contains(id);
        let mut absent: Vec<GroupId> = table.sources().map(|(id, _)| id).filter(is_absent).cloned().collect();
        if source.groups_incomplete.is_some() {
            self.report.unconfirmed.extend_once(absent.drain(..).map(|id| {
                let name = table.mapping(&id).map_or_else(|| id.to_string(), |mapping| mapping.name().to_owned());
                format!(
                    "group {name}: not listed by Keycloak, but the listing is incomplete. This group is not \
                         changed"
                )
            }));
        }
        absent
    }

    /// Returns the rules for the work on groups: all renames are held if they would exceed their limit.
    async fn limit_group_renames(&mut self, renames: u32, rules: &RunRules) -> Result<RunRules, WorkError> {
        let (kind, mut rules) = (Limited::RenameGroup, rules.clone());
        if renames > 0 {
            let engine = self.engine;
            let limit = plan::limit(kind, &self.connector.policy.safety, engine.measure(self.pair).await?);
            let done = engine.store.done_in_last_hour(self.pair, kind, engine.clock.now()).await?;
            self.report.limits.insert(kind, (renames, limit));
            if renames.saturating_add(done) > limit {
                rules.hold.insert(kind);
                self.report.hold(kind);
            }
        }
        Ok(rules)
    }

    /// Reports constant groups that are no longer in the policy: they keep their members. Returns those without members
    /// that usersync added.
    async fn former_constants(&mut self, table: &GroupTable) -> Result<Vec<Subject>, WorkError> {
        let mut empty = Vec::new();
        let rules = &self.connector.policy.groups;
        for (id, mapping) in table.sources().filter(|(id, _)| id.is_constant() && rules.constant(id).is_none()) {
            let members = match mapping {
                GroupMapping::Managed { group, .. } => self.engine.store.given(self.pair, group).await?.len(),
                GroupMapping::Unmapped { .. } => 0,
            };
            if members == 0 {
                empty.push(Subject::Group(id.clone()));
                continue;
            }
            let why = format!(
                "{}: it is no longer in {} of the policy; members that usersync added stay. To remove them, \
                 add the entry again with for = \"all\" and condition = \"{{{{ false }}}}\"",
                mapping.name(),
                rules.setting("constant")
            );
            *self.report.kept.entry(why).or_default() += members;
        }
        self.report_shared_constants(table);
        Ok(empty)
    }

    /// Reports constant groups for new accounts that a group in Keycloak also feeds: the two kinds of members cannot be
    /// distinguished.
    fn report_shared_constants(&mut self, table: &GroupTable) {
        let connector = &self.pair.connector;
        for constant in self.connector.policy.groups.constant.iter().filter(|one| one.granted_to == GrantedTo::New) {
            let Some(GroupMapping::Managed { group, .. }) = table.mapping(&constant.id()) else { continue };
            let fed_too = |managed: &ManagedGroup| {
                managed.sources.iter().any(|(other, source)| other == connector && !source.is_constant())
            };
            if table.managed(group).is_some_and(fed_too) {
                let setting = self.connector.policy.groups.setting("constant");
                self.report.unconfirmed.push_once(format!(
                    "{}: {setting} of the policy grants it to new accounts, and a group in Keycloak has the same name, \
                     so members who leave that group stay. Give one of the two another name",
                    constant.name
                ));
            }
        }
    }

    /// Decides on a group without reading the target. The listed holder of its name only decides that it stays.
    fn intended<'g>(
        &self,
        group: &GroupState,
        table: &GroupTable,
        listed: &'g [GroupState],
        holders: &mut Option<HashMap<&'g GroupId, &'g GroupState>>,
    ) -> Intended {
        let (rules, capabilities) = (&self.connector.policy.groups, &self.info.capabilities);
        let intended = intend(group, rules, table, capabilities, None);
        let Intended::Ask(other) = &intended else { return intended };
        let holders = holders.get_or_insert_with(|| listed.iter().map(|group| (&group.id, group)).collect());
        let holder = holders.get(other).filter(|holder| keeps_name(holder, &group.name, capabilities.group_case));
        match holder.map(|holder| intend(group, rules, table, capabilities, Some(holder))) {
            Some(stays @ Intended::Stays(_)) => stays,
            _ => intended,
        }
    }

    /// Reports a group that keeps feeding what it feeds. Returns its task if that is not on record; a dry run models it.
    fn stays(&mut self, table: &mut GroupTable, group: &GroupState, why: String) -> Option<Subject> {
        // Whatever its own name is: its name in the target may not be known.
        self.report.unsupported.push_once(format!("group {}: {why}", group.path));
        self.standing.insert(group.id.clone());
        let has_fault = group.verdict.fault().is_some();
        let (is_known, own) = match table.mapping(&group.id) {
            Some(GroupMapping::Managed { group: own, name }) => {
                (has_fault || *name == group.name, table.managed(own).cloned())
            }
            Some(GroupMapping::Unmapped { why: known, .. }) => (has_fault || *known == why, None),
            None => (false, None),
        };
        if is_known || self.options.mode == RunMode::Apply {
            return (!is_known).then(|| Subject::Group(group.id.clone()));
        }
        match own {
            Some(own) => table.assume(self.pair, group, own),
            None => table.assume_unmapped(self.pair, group, why),
        }
        None
    }

    fn model_unmapped(&mut self, table: &mut GroupTable, group: &GroupState, why: String) {
        self.report_unmapped(group, &why);
        table.assume_unmapped(self.pair, group, why);
    }

    /// Reports why a group feeds no target group, unless the policy leaves it out. A group that the target's settings
    /// exclude is reported by its members.
    fn report_unmapped(&mut self, group: &GroupState, why: &str) {
        let is_left_out = policy::left_out(group, &self.connector.policy.groups).is_some();
        if !is_left_out && !self.info.capabilities.protected_groups.is_left_alone(&group.name) {
            self.report.unsupported.push_once(format!("group {}: {why}", group.path));
        }
    }

    /// Models the creation of this group.
    async fn model_group(
        &mut self,
        table: &mut GroupTable,
        target: &TargetWalk,
        group: &GroupState,
        name: String,
    ) -> Result<(), WorkError> {
        let subject = Subject::Group(group.id.clone());
        let found = match self.port.target.group_named(&name).await {
            // A group that is ambiguous or cannot be read does not end the plan.
            Err(error) if is_about_one(error.class()) => {
                self.report.conflicts.push(format!("group {}: {}", group.path, error.text));
                table.assume_unmapped(self.pair, group, error.text);
                return Ok(());
            }
            found => found?,
        };
        let freely = self.options.first || self.connector.policy.adopt == AdoptRule::Always;
        let (id, name, adopted) = match found {
            Some(found) if found.protected.is_some() => {
                let why = found.protected.unwrap_or_default();
                self.model_unmapped(table, group, format!("{}: {why}; never changed", found.name));
                return Ok(());
            }
            // Managed for another connector, or renamed to this name outside usersync.
            Some(found) if let Some(managed) = table.managed(&found.id).cloned() => {
                (found.id, found.name, managed.adopted)
            }
            Some(found)
                if target.is_rejected(&subject, &NewApprovalItem::adoption(found.id.as_str(), String::new())) =>
            {
                self.report.rejected += 1;
                let why = adoption_rejected(&found.name);
                self.model_unmapped(table, group, why);
                return Ok(());
            }
            Some(found) if freely => {
                let action = Action::adopt_group(group, &found);
                self.report.plan(&subject, action, None, || "the group has this name".to_owned());
                (found.id, found.name, true)
            }
            Some(found) => {
                self.report.held += 1;
                let (action, held) = (Action::adopt_group(group, &found), Some(ApprovalKind::Adoption));
                self.report.plan(&subject, action, held, || "the group has this name".to_owned());
                self.model_unmapped(table, group, adoption_waits(&found.name));
                return Ok(());
            }
            None if self.leaves_drift() && is_left_deleted(group, table.mapping(&group.id), &self.pair.target) => {
                self.report.drift.add(&subject, &name, group_deleted(), Handling::Reported);
                self.model_unmapped(table, group, deleted_group_stays(&self.pair.target));
                return Ok(());
            }
            None if self.model_rename(table, target, group, &name).await? => return Ok(()),
            None if let Some(why) = policy::not_created(&name, &group.path, &self.connector.policy.groups) => {
                if matches!(table.mapping(&group.id), Some(GroupMapping::Managed { .. })) {
                    // It keeps feeding the group that it fed under its former name.
                    self.report_unmapped(group, &why);
                    return Ok(());
                }
                self.model_unmapped(table, group, why);
                return Ok(());
            }
            None => {
                let make = Operation::CreateGroup { name: name.clone() };
                if let Some(why) = target.why_not(&subject, &make, &fingerprint(group)) {
                    self.model_unmapped(table, group, why);
                    return Ok(());
                }
                let side = if group.id.is_constant() { "the policy" } else { "Keycloak" };
                self.report.plan(&subject, make.into(), None, || format!("{} in {side}", group.path));
                let id = TargetGroupId::from(self.info.capabilities.group_case.fold(&name));
                self.planned.insert(id.clone());
                (id, name, false)
            }
        };
        let managed = ManagedGroup { id, name, adopted, removals_approved: false, sources: Vec::new() };
        table.assume(self.pair, group, managed);
        Ok(())
    }

    /// Models renaming the group that this one has fed so far. Returns whether it would be renamed.
    async fn model_rename(
        &mut self,
        table: &mut GroupTable,
        target: &TargetWalk,
        group: &GroupState,
        name: &str,
    ) -> Result<bool, WorkError> {
        let own = table.renamable(&group.id).filter(|_| self.info.capabilities.rename_group).cloned();
        let Some(own) = own else { return Ok(false) };
        let found = match self.port.target.group_named(&own.name).await {
            Err(error) if is_about_one(error.class()) => None,
            found => found?,
        };
        let subject = Subject::Group(group.id.clone());
        let rename = Operation::RenameGroup { group: own.id.clone(), name: own.name, to: name.to_owned() };
        if found.is_none_or(|found| found.id != own.id || found.protected.is_some())
            || target.why_not(&subject, &rename, &fingerprint(group)).is_some()
        {
            return Ok(false);
        }
        let path = &group.path;
        let cause = match self.paths.get(&group.id) {
            Some(known) if known == path => format!("named by the policy: {path}"),
            Some(_) => format!("renamed in Keycloak: {path}"),
            None => format!("renamed in Keycloak or by the policy: {path}"),
        };
        self.report.plan(&subject, rename.into(), None, || cause);
        table.assume_renamed(group, name.to_owned());
        Ok(true)
    }

    /// Returns why a managed group is not created again; `None`: one of its groups in Keycloak is to be created.
    fn not_created(&self, group: &ManagedGroup) -> Option<String> {
        if self.leaves_drift() {
            return Some(deleted_group_stays(&self.pair.target));
        }
        let ours = group.sources.iter().filter(|(connector, _)| *connector == self.pair.connector);
        let path = |id: &GroupId| self.paths.get(id).map_or("", String::as_str);
        let reasons = ours.map(|(_, id)| policy::not_created(&group.name, path(id), &self.connector.policy.groups));
        reasons.collect::<Option<Vec<_>>>()?.pop()
    }

    /// Returns whether drift stays as it is.
    fn leaves_drift(&self) -> bool {
        self.connector.policy.drift_in(&self.pair.target) == DriftRule::Report
    }

    /// Reports in a dry run that a managed group was deleted.
    fn report_deleted(&mut self, group: &ManagedGroup) {
        let mut sources = group.sources.iter().filter(|(connector, _)| *connector == self.pair.connector);
        let Some((_, source)) = sources.next() else { return };
        let handling = if self.leaves_drift() { Handling::Reported } else { Handling::Open };
        self.report.drift.add(&Subject::Group(source.clone()), &group.name, group_deleted(), handling);
    }

    /// Models a managed group that was deleted outside usersync and is not created again.
    fn model_lost(&mut self, table: &mut GroupTable, group: &ManagedGroup, why: &str) {
        for (_, id) in group.sources.iter().filter(|(connector, _)| *connector == self.pair.connector) {
            let Some(GroupMapping::Managed { name, .. }) = table.mapping(id) else { continue };
            let path = self.paths.get(id).cloned().unwrap_or_else(|| format!("/{name}"));
            let source = GroupState::new(id.clone(), name.clone(), path);
            self.model_unmapped(table, &source, why.to_owned());
        }
    }

    async fn apply_groups(
        &mut self,
        work: Vec<Subject>,
        observation: ObservationSeq,
        rules: &RunRules,
    ) -> Result<(), WorkError> {
        let item = |subject| Item {
            planned: Planned { subject, observation, account: None },
            walked: Walked::default(),
            operations: 0,
        };
        self.apply("groups", work.len(), work.into_iter().map(item), rules).await
    }

    /// Recreates managed groups that were deleted outside usersync.
    pub(super) async fn restore_groups(
        &mut self,
        absent: Vec<TargetGroupId>,
        mut table: GroupTable,
        rules: &RunRules,
    ) -> Result<GroupTable, WorkError> {
        let (mut sources, mut later) = (Vec::<Subject>::new(), Vec::<Subject>::new());
        let absent: Vec<ManagedGroup> = absent.iter().filter_map(|group| table.managed(group).cloned()).collect();
        for group in absent {
            if self.options.mode == RunMode::DryRun {
                self.report_deleted(&group);
            }
            if self.options.mode == RunMode::DryRun
                && let Some(why) = self.not_created(&group)
            {
                self.model_lost(&mut table, &group, &why);
                continue;
            }
            let ours = group.sources.iter().filter(|(connector, source)| {
                *connector == self.pair.connector
                    && !(self.standing.contains(source) && self.options.mode == RunMode::DryRun)
                    && matches!(table.mapping(source), Some(GroupMapping::Managed { .. }))
            });
            let ours: Vec<Subject> = ours.map(|(_, source)| Subject::Group(source.clone())).collect();
            if let (RunMode::DryRun, Some(first)) = (self.options.mode, ours.first())
                && !self.planned.contains(&group.id)
            {
                let make = Operation::CreateGroup { name: group.name.clone() };
                self.report.plan(first, make.into(), None, || "deleted in the target".to_owned());
            }
            // The others join the group that the first one creates.
            let mut ours = ours.into_iter();
            sources.extend(ours.next());
            later.extend(ours);
        }
        if self.options.mode == RunMode::DryRun || sources.is_empty() {
            return Ok(table);
        }
        let observation = self.engine.store.next_observation().await?;
        self.apply_groups(sources, observation, rules).await?;
        self.apply_groups(later, observation, rules).await?;
        self.current_groups().await
    }
}

/// Returns why groups of one name feed none.
fn conflict(group: &GroupState, namesakes: &[&GroupState], rules: &GroupRules, case: CaseRule) -> String {
    policy::same_name(&policy::group_name(group, case), rules, namesakes.iter().copied())
}

/// Returns whether a group is to feed a target group that no source group feeds, or that has to be created.
fn is_unfed(intended: &Intended, table: &GroupTable) -> bool {
    match intended {
        Intended::Create(_) => true,
        Intended::Existing(id) => table.managed(id).is_none_or(|managed| managed.sources.is_empty()),
        _ => false,
    }
}

/// Returns the groups that are synced, by their names in lower case where the target compares them so.
fn by_name<'g>(groups: &'g [GroupState], rules: &GroupRules, case: CaseRule) -> HashMap<String, Vec<&'g GroupState>> {
    let mut names: HashMap<String, Vec<&GroupState>> = HashMap::new();
    for group in groups {
        if policy::left_out(group, rules).is_none() && group.verdict.fault().is_none() {
            names.entry(case.fold(&group.name)).or_default().push(group);
        }
    }
    names
}

/// Returns whether an operator decided on the rename of a group.
fn is_decided(group: &GroupState, to: String, table: &GroupTable, target: &TargetWalk) -> bool {
    let Some(own) = table.renamable(&group.id) else { return false };
    let rename = Operation::RenameGroup { group: own.id.clone(), name: own.name.clone(), to };
    let subject = Subject::Group(group.id.clone());
    let item = approval_item(ApprovalKind::SafetyLimit(Limited::RenameGroup), &subject, &rename);
    target.is_rejected(&subject, &item) || target.is_approved(&subject, &item)
}
