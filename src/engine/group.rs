//! Reconciles one group on one target: creates, adopts or releases it. Its members belong to their own users' tasks;
//! the group only raises the tasks of users whose memberships differ (rule: a membership belongs to its user).

use std::collections::{BTreeSet, HashSet};

use super::{
    case::{Case, RunRules, Unfinished, Worked, fingerprint},
    drift::{deleted_group_stays, group_deleted, is_left_deleted},
    error::WorkError,
    ledger::Fate,
    ports::Engine,
    send::Sent,
    user::GroupWork,
};
use crate::{
    model::{
        Action, AdoptRule, Cause, GroupId, GroupMapping, GroupRules, GroupState, ManagedGroup, NewApprovalItem,
        Operation, Priority, Subject, TargetGroup, TargetGroupId, UserId,
    },
    plan::GroupTable,
    policy,
    store::{Claimed, GroupWrite, NameFrom},
    targets::{Applied, Capabilities, CaseRule},
};

/// What a source group should map to on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intended {
    /// It already feeds this managed group.
    InSync(TargetGroupId),
    /// It is to feed this target group, which is managed already.
    Existing(TargetGroupId),
    /// It is to feed the group of this name, which may have to be created.
    Create(String),
    /// It feeds no group, for this reason.
    None(String),
    /// It keeps feeding the group that it feeds, for this reason: a template of the policy fails for it, or its name in
    /// the target is held by a group that does not release it.
    Stays(String),
    /// Another source group has that name on record. The source has to be read to confirm it.
    Ask(GroupId),
}

/// Decides without reading the target. `holder`: the group that has the name on record, if the source was read and it
/// has the name there.
pub fn intend(
    group: &GroupState,
    rules: &GroupRules,
    table: &GroupTable,
    capabilities: &Capabilities,
    holder: Option<&GroupState>,
) -> Intended {
    if let Some(why) = policy::left_out(group, rules) {
        return Intended::None(why);
    }
    if let Some(why) = group.verdict.fault() {
        return Intended::Stays(why.to_owned());
    }
    let case = capabilities.group_case;
    let name = policy::group_name(group, case);
    if let Some(why) = policy::unusable_group(&name, capabilities) {
        return Intended::None(why);
    }
    let protected = &capabilities.protected_groups;
    let fed = match table.mapping(&group.id) {
        Some(GroupMapping::Managed { group: id, name: mapped }) if case.fold(mapped) == case.fold(&group.name) => {
            Some(id)
        }
        _ => None,
    };
    if let Some(why) = fed.map_or_else(|| protected.why_named(&name), |id| protected.why(id, &name)) {
        return Intended::None(format!("{name}: {why}; never changed"));
    }
    // A group that keeps its former name because the new one is not created is looked up again.
    let is_named =
        |id: &TargetGroupId| table.managed(id).is_none_or(|managed| case.fold(&managed.name) == case.fold(&name));
    // One that waits for this name with its former group does not hold it.
    let other = table.others_feeding(&group.id, &group.name, case).find(|(_, id)| is_named(id));
    match (other.filter(|_| !policy::is_merged(&group.name, rules)), holder) {
        (Some((_, theirs)), Some(holder)) => return conflict(group, holder, &name, rules, fed == Some(theirs)),
        // Also for a group that has the name itself: two may have taken it at the same time.
        (Some((other, _)), None) => return Intended::Ask(other.clone()),
        (None, _) => {}
    }
    let is_renamed = || rules.creates_at(&group.path) && wanted_rename(group, table, capabilities).is_some();
    if let Some(id) = fed.filter(|id| is_named(id) || is_renamed()) {
        return Intended::InSync(id.clone());
    }
    let managed = table.managed_named(&name, case);
    managed.map_or(Intended::Create(name), |managed| Intended::Existing(managed.id.clone()))
}

/// Decides for a group whose name in the target is held by another one; `shares`: both feed the target group.
fn conflict(group: &GroupState, holder: &GroupState, name: &str, rules: &GroupRules, shares: bool) -> Intended {
    if holder.verdict.fault().is_some() {
        return Intended::Stays(format!(
            "the name {name} in the target is held by {}, whose template fails. Correct the template, or that group in \
             Keycloak",
            holder.path
        ));
    }
    let why = policy::same_name(name, rules, [group, holder]);
    // Their name was merged before. Which of them keeps the members is the operator's decision.
    if shares { Intended::Stays(why) } else { Intended::None(why) }
}

/// Returns whether a group that has this name on record keeps it: it has the name at the source, or a template of the
/// policy fails for it.
pub fn keeps_name(holder: &GroupState, name: &str, case: CaseRule) -> bool {
    holder.verdict.fault().is_some() || case.same(&holder.name, name)
}

/// Returns the name that the managed group of a source group should get by a rename; `None`: none.
pub fn wanted_rename(group: &GroupState, table: &GroupTable, capabilities: &Capabilities) -> Option<String> {
    let (case, own) = (capabilities.group_case, table.renamable(&group.id).filter(|_| capabilities.rename_group)?);
    let name = policy::group_name(group, case);
    (case.fold(&own.name) != case.fold(&name)).then_some(name)
}

impl Engine {
    /// Works on one claimed group, or does only this work of a run on it.
    pub(super) async fn work_group(
        &self,
        claim: Claimed,
        id: GroupId,
        group_work: Option<GroupWork>,
        rules: &RunRules,
    ) -> Result<Worked, Unfinished> {
        let mut case = Case::open(self, claim, rules).await?;
        let worked = match group_work {
            Some(GroupWork::RemoveUnmanaged(accounts)) => case.remove_unmanaged(&id, accounts).await.map(|()| true),
            Some(GroupWork::DeleteEmpty) => case.delete_empty(&id).await.map(|()| true),
            None => case.reconcile_group(&id).await,
        };
        match worked {
            Ok(true) => case.complete().await,
            Ok(false) => Ok(case.released()),
            Err(error) => {
                let _ = case.flush().await;
                Err(case.unfinished(error))
            }
        }
    }
}

impl Case<'_> {
    /// Reconciles the group. Returns `true` if all is done and the claim is to be completed, `false` if the claim was
    /// released.
    async fn reconcile_group(&mut self, id: &GroupId) -> Result<bool, WorkError> {
        let mut group = self.connector.source.group(id).await?;
        self.engine.identify(&self.connector).await?;
        if group.is_none()
            && !id.is_constant()
            && !self.engine.group_is_gone(&self.connector, &self.claim.pair, id).await?
        {
            group = self.connector.source.group(id).await?;
        }
        self.engine.source_answered(&self.connector);
        self.know_state(group.as_ref().map_or_else(|| "gone".to_owned(), fingerprint));
        if !self.claim.intents.is_empty() {
            self.recover_intents(None).await?;
        }
        let table = self.engine.group_table(&self.claim.pair).await?;
        let former = table.mapping(id).cloned();
        match group {
            Some(group) => {
                let is_new = former.is_none();
                if !is_new {
                    self.follow_move(&group).await?;
                }
                let ended = self.reconcile_present_group(&group, former).await?;
                if is_new {
                    self.note_place(&group).await?;
                }
                if ended {
                    self.remove_approved(&group).await?;
                    self.delete_approved(id, Some(&group)).await?;
                }
                Ok(ended)
            }
            None if id.is_constant() => self.let_constant_go(id, former).await.map(|()| true),
            None => {
                self.let_go(id, former).await?;
                self.delete_approved(id, None).await?;
                Ok(true)
            }
        }
    }

    async fn reconcile_present_group(
        &mut self,
        group: &GroupState,
        former: Option<GroupMapping>,
    ) -> Result<bool, WorkError> {
        let case = self.info.capabilities.group_case;
        let table = self.engine.group_table(&self.claim.pair).await?;
        let mut intended = intend(group, &self.connector.policy.groups, &table, &self.info.capabilities, None);
        if let Intended::Ask(other) = &intended {
            let holder = self.connector.source.group(other).await?;
            let holder = holder.filter(|holder| keeps_name(holder, &group.name, case));
            let stands = holder.is_some();
            if !stands {
                // It has another name by now, or is gone: its own task finds out.
                self.raise(vec![Subject::Group(other.clone())], Priority::Event).await?;
            }
            intended = match (table.mapping(other), table.mapping(&group.id)) {
                (Some(GroupMapping::Managed { group: id, .. }), Some(GroupMapping::Managed { group: own, name }))
                    if !stands && id == own && case.fold(name) == case.fold(&group.name) =>
                {
                    Intended::InSync(id.clone())
                }
                (Some(GroupMapping::Managed { group: id, .. }), _) if !stands => Intended::Existing(id.clone()),
                _ => intend(group, &self.connector.policy.groups, &table, &self.info.capabilities, holder.as_ref()),
            };
        }
        match intended {
            Intended::InSync(target) => return self.check_managed(group, &target, &table).await,
            Intended::Existing(target) => {
                let name = table.managed(&target).map_or_else(|| group.name.clone(), |managed| managed.name.clone());
                // Nothing feeds it, so that it may be gone, or be wanted by several groups.
                if table.managed(&target).is_none_or(|managed| managed.sources.is_empty()) {
                    return self.make(group, policy::group_name(group, case), former).await;
                }
                let adopted = table.managed(&target).is_some_and(|managed| managed.adopted);
                let concerned = self.concerned(&group.id, former.as_ref()).await?;
                self.manage(
                    group,
                    TargetGroup { id: target, name, protected: None },
                    NameFrom::Store,
                    adopted,
                    concerned,
                )
                .await
            }
            Intended::Create(name) => return self.make(group, name, former).await,
            Intended::None(why) => {
                self.confirm_left_out(group, former.as_ref()).await?;
                self.unmap(group, why, former).await
            }
            Intended::Stays(why) if group.verdict.fault().is_none() => self.stay(group, why, former).await,
            Intended::Stays(why) => self.stay_with_fault(group, why, former.as_ref()).await,
            Intended::Ask(_) => Err(WorkError::Unsteady(self.claim.subject.to_string())),
        }?;
        Ok(true)
    }

    /// Checks a mapping that stands: the target group must still exist, and its members may have changed.
    async fn check_managed(
        &mut self,
        group: &GroupState,
        target: &TargetGroupId,
        table: &GroupTable,
    ) -> Result<bool, WorkError> {
        // A rename that waits for approval.
        if let Some(wanted) = wanted_rename(group, table, &self.info.capabilities)
            && self.rename_with_source(group, &wanted, table.mapping(&group.id)).await?
        {
            let table = self.engine.group_table(&self.claim.pair).await?;
            if wanted_rename(group, &table, &self.info.capabilities).is_none() {
                return Ok(true);
            }
        }
        let name = table.managed(target).map_or_else(|| group.name.clone(), |managed| managed.name.clone());
        match self.port.target.group_named(&name).await? {
            // It was deleted outside usersync, or renamed, which stays where drift stays.
            None if !self.leaves_drift() || self.port.target.first_members(target).await?.is_none() => {
                return self.make_again(group, target, name, table).await;
            }
            // It was deleted and created again, perhaps for another group of the same name.
            Some(found) if found.id != *target && self.port.target.first_members(target).await?.is_none() => {
                if table.managed(&found.id).is_none() {
                    let adopt = Action::adopt_group(group, &found);
                    self.worked.drift.note(&name, group_deleted(), Some(adopt));
                }
                self.adopt_group(group, found, table.mapping(&group.id).cloned()).await?;
                return Ok(true);
            }
            _ => {}
        }
        if let Some(GroupMapping::Managed { name: mapped, .. }) = table.mapping(&group.id)
            && *mapped != group.name
        {
            let managed = table.managed(target).cloned();
            if let Some(managed) = managed {
                let (source, spelled) = (group.id.clone(), group.name.clone());
                let group = ManagedGroup { name, ..managed };
                let shared = policy::is_merged(&spelled, &self.connector.policy.groups);
                let named = NameFrom::Store;
                self.step.group = Some(GroupWrite::Manage { source, name: spelled, group, named, shared });
                self.flush().await?;
            }
        }
        if group.id.is_constant() {
            return Ok(true);
        }
        let members = self.members_of_all(&group.id, target, table).await?;
        let given: BTreeSet<UserId> = self.engine.store.given(&self.claim.pair, target).await?.into_iter().collect();
        let differ =
            members.iter().filter(|id| !given.contains(*id)).chain(given.iter().filter(|id| !members.contains(*id)));
        let differ = differ.cloned().map(Subject::User).collect();
        self.raise(differ, Priority::FanOut).await?;
        Ok(true)
    }

    /// Creates a managed group again that was deleted in the target, or leaves that so where drift stays.
    async fn make_again(
        &mut self,
        group: &GroupState,
        target: &TargetGroupId,
        name: String,
        table: &GroupTable,
    ) -> Result<bool, WorkError> {
        let former = table.mapping(&group.id).cloned();
        let ended = if self.leaves_drift() {
            self.worked.drift.note(&name, group_deleted(), None);
            self.unmap(group, deleted_group_stays(&self.claim.pair.target), former).await?;
            true
        } else {
            let create = Operation::CreateGroup { name: name.clone() };
            self.worked.drift.note(&name, group_deleted(), Some(create.into()));
            self.make(group, name, former).await?
        };
        self.raise_other_sources(&group.id, target).await?;
        Ok(ended)
    }

    /// Raises the tasks of the other groups that still feed a deleted group, so that their members join the new one.
    async fn raise_other_sources(&self, id: &GroupId, target: &TargetGroupId) -> Result<(), WorkError> {
        // A run works on all of them itself.
        if self.rules.in_run {
            return Ok(());
        }
        let table = self.engine.group_table(&self.claim.pair).await?;
        let sources = table.managed(target).into_iter().flat_map(|managed| &managed.sources);
        let others = sources.filter(|(connector, source)| *connector == self.claim.pair.connector && source != id);
        self.raise(others.map(|(_, source)| Subject::Group(source.clone())).collect(), Priority::FanOut).await
    }

    /// Creates the group, or adopts the existing one.
    async fn make(
        &mut self,
        group: &GroupState,
        name: String,
        former: Option<GroupMapping>,
    ) -> Result<bool, WorkError> {
        let case = self.info.capabilities.group_case;
        let mut namesakes = self.connector.source.groups_named(&group.name).await?;
        namesakes.retain(|other| {
            policy::left_out(other, &self.connector.policy.groups).is_none()
                && other.verdict.fault().is_none()
                && !group.id.is_constant()
                && other.id != group.id
                && case.fold(&other.name) == case.fold(&group.name)
        });
        let merged = policy::is_merged(&group.name, &self.connector.policy.groups);
        let is_managed = matches!(former, Some(GroupMapping::Managed { .. }));
        // Groups of one name are a conflict, whether they have members or not.
        let conflicts = !merged && !namesakes.is_empty();
        if !is_managed && !conflicts && self.is_left_empty(group, &namesakes).await? {
            if former.is_some() {
                // Unknown again, so that its first member raises its task.
                self.step.group = Some(GroupWrite::Forget { source: group.id.clone() });
                self.flush().await?;
            }
            return Ok(true);
        }
        if merged && self.waits_for_first(group, &namesakes).await? {
            return Ok(false);
        }
        if conflicts {
            let table = self.engine.group_table(&self.claim.pair).await?;
            let known = |other: &GroupState| {
                table.mapping(&other.id).is_some_and(|mapping| case.fold(mapping.name()) == case.fold(&other.name))
            };
            let why = policy::same_name(&name, &self.connector.policy.groups, namesakes.iter().chain([group]));
            let unknown: Vec<Subject> =
                namesakes.into_iter().filter(|other| !known(other)).map(|other| Subject::Group(other.id)).collect();
            self.unmap(group, why, former).await?;
            // Only a group mapped under this name raises this task when it releases the name; otherwise the task is
            // rechecked.
            return Ok(unknown.is_empty() || !self.wait_for(&unknown, true).await?);
        }
        if let Some(found) = self.port.target.group_named(&name).await? {
            self.adopt_group(group, found, former).await?;
            return Ok(true);
        }
        if self.leaves_drift() && is_left_deleted(group, former.as_ref(), &self.claim.pair.target) {
            self.worked.drift.note(&name, group_deleted(), None);
            self.unmap(group, deleted_group_stays(&self.claim.pair.target), former).await?;
            return Ok(true);
        }
        if self.rename_with_source(group, &name, former.as_ref()).await? {
            return Ok(true);
        }
        if let Some(why) = policy::not_created(&name, &group.path, &self.connector.policy.groups) {
            self.stay(group, why, former).await?;
            return Ok(true);
        }
        // Before the creation: a failure in between would leave a group that is not known as managed.
        let concerned = self.concerned(&group.id, former.as_ref()).await?;
        let create = Operation::CreateGroup { name: name.clone() };
        match self.send(&create, None).await? {
            Sent::Done(Applied::Group(made)) => self.manage(group, made, NameFrom::Target, false, concerned).await,
            Sent::ReadAgain => {
                if let Some(found) = self.port.target.group_named(&name).await? {
                    self.adopt_group(group, found, former).await
                } else {
                    let why = format!(
                        "{} A lookup finds no such group. Free the name there, then run: usersync dead replay --all",
                        self.last_refusal
                    );
                    self.keep_unsupported(self.key(&create), why.clone());
                    self.unmap(group, why, former).await
                }
            }
            Sent::Done(_) => Err(WorkError::Unsteady(self.claim.subject.to_string())),
            Sent::Held | Sent::Unsupported => {
                let why = self.worked.findings.unsupported.last().cloned();
                self.unmap(group, why.unwrap_or_else(|| "the target refused to create it".to_owned()), former).await
            }
            // Its members are completed without it. It is created once its name changes or an operator replays it.
            Sent::Refused => {
                let why = self.refused.pop().map_or_else(|| "the target refused it".to_owned(), |error| error.text);
                self.keep_unsupported(self.key(&create), why.clone());
                self.unmap(group, why, former).await
            }
        }?;
        Ok(true)
    }

    /// Waits for the first of the groups that share a target group, so that only one of them creates it. Returns whether
    /// the claim was released.
    async fn waits_for_first(&mut self, group: &GroupState, others: &[GroupState]) -> Result<bool, WorkError> {
        let table = self.engine.group_table(&self.claim.pair).await?;
        let rules = &self.connector.policy.groups;
        // One that is not created waits for each that is.
        let creates = rules.creates_at(&group.path);
        let creating = others.iter().filter(|other| rules.creates_at(&other.path)).map(|other| &other.id);
        let Some(first) = creating.min().filter(|first| !creates || **first < group.id) else { return Ok(false) };
        let (case, own) = (self.info.capabilities.group_case, table.mapping(&group.id));
        let is_known = match (table.mapping(first), own) {
            (Some(first), _) if !case.same(first.name(), &group.name) => false,
            // Both feed a group that was deleted outside usersync.
            (Some(GroupMapping::Managed { group: first, .. }), Some(GroupMapping::Managed { group: own, .. })) => {
                first != own
            }
            // One that is known under this name could not create it.
            (known, _) => known.is_some(),
        };
        Ok(!is_known && self.wait_for(&[Subject::Group(first.clone())], true).await?)
    }

    /// Renames the group that this one fed under its former name, if no other source feeds it and the target supports
    /// it. The members stay. Returns whether the group was renamed.
    async fn rename_with_source(
        &mut self,
        group: &GroupState,
        name: &str,
        former: Option<&GroupMapping>,
    ) -> Result<bool, WorkError> {
        let table = self.engine.group_table(&self.claim.pair).await?;
        let Some(own) = table.renamable(&group.id).filter(|_| self.info.capabilities.rename_group) else {
            return Ok(false);
        };
        let found = self.port.target.group_named(&own.name).await?;
        if found.is_none_or(|found| found.id != own.id || found.protected.is_some()) {
            return Ok(false);
        }
        let rename = Operation::RenameGroup { group: own.id.clone(), name: own.name.clone(), to: name.to_owned() };
        let waiting = self.waiting_for_name(&group.id, former).await?;
        match self.send(&rename, None).await? {
            Sent::Done(_) => {
                let renamed = TargetGroup { id: own.id.clone(), name: name.to_owned(), protected: None };
                self.manage(group, renamed, NameFrom::Target, false, waiting).await?;
                Ok(true)
            }
            // Another group has the name by now, or it is gone.
            Sent::ReadAgain => match self.port.target.group_named(name).await? {
                Some(found) => self.adopt_group(group, found, former.cloned()).await.map(|()| true),
                None => Ok(false),
            },
            Sent::Held => {
                // Until the rename is approved, the group keeps its former name and its members.
                if former.is_none_or(|former| former.name() != group.name) {
                    let own = TargetGroup { id: own.id.clone(), name: own.name.clone(), protected: None };
                    self.manage(group, own, NameFrom::Store, false, waiting).await?;
                }
                Ok(true)
            }
            Sent::Unsupported => Ok(false),
            Sent::Refused => {
                let why = self.refused.pop().map_or_else(|| "the target refused it".to_owned(), |error| error.text);
                self.keep_unsupported(self.key(&rename), why);
                Ok(false)
            }
        }
    }

    /// Lets a group feed the one that it fed under its former name, because the new one is not created. Without such a
    /// group, it feeds none.
    async fn stay(&mut self, group: &GroupState, why: String, former: Option<GroupMapping>) -> Result<(), WorkError> {
        let table = self.engine.group_table(&self.claim.pair).await?;
        let own = match &former {
            Some(GroupMapping::Managed { group: id, .. }) => table.managed(id).cloned(),
            _ => None,
        };
        let Some(own) = own else { return self.unmap(group, why, former).await };
        let found = self.port.target.group_named(&own.name).await?;
        if found.is_none_or(|found| found.id != own.id) {
            return self.unmap(group, why, former).await;
        }
        let text = format!("group {}: {why}. Until then, its members stay in {}", group.path, own.name);
        self.worked.findings.unsupported.push(text);
        if former.as_ref().is_none_or(|former| former.name() != group.name) {
            let waiting = self.waiting_for_name(&group.id, former.as_ref()).await?;
            let target = TargetGroup { id: own.id, name: own.name, protected: None };
            self.manage(group, target, NameFrom::Store, own.adopted, waiting).await?;
        }
        Ok(())
    }

    /// Lets a group for which a template fails feed what it feeds. One that feeds nothing is recorded, so that its move
    /// or deletion reaches the groups below it.
    async fn stay_with_fault(
        &mut self,
        group: &GroupState,
        why: String,
        former: Option<&GroupMapping>,
    ) -> Result<(), WorkError> {
        if former.is_none() {
            let (source, name) = (group.id.clone(), group.name.clone());
            self.step.group = Some(GroupWrite::Unmap { source, name, why: why.clone() });
            self.flush().await?;
        }
        self.worked.findings.unsupported.push(format!("group {}: {why}", group.path));
        self.inconclusive = true;
        Ok(())
    }

    async fn adopt_group(
        &mut self,
        group: &GroupState,
        found: TargetGroup,
        former: Option<GroupMapping>,
    ) -> Result<(), WorkError> {
        if let Some(why) = found.protected {
            return self.unmap(group, format!("{}: {why}; never changed", found.name), former).await;
        }
        // Another connector may have created it in the meantime: then it is managed already.
        let table = self.engine.group_table(&self.claim.pair).await?;
        if let Some(managed) = table.managed(&found.id) {
            let concerned = self.concerned(&group.id, former.as_ref()).await?;
            return self.manage(group, found, NameFrom::Target, managed.adopted, concerned).await;
        }
        let freely = self.rules.first || self.connector.policy.adopt == AdoptRule::Always;
        let item = NewApprovalItem::adoption(found.id.as_str(), format!("adopt the group {}", found.name));
        let action = Action::adopt_group(group, &found);
        self.worked.ledger.plan(action.clone(), &self.fingerprint);
        if self.is_rejected(&item) {
            self.set_aside.insert(item.key);
            let why = adoption_rejected(&found.name);
            return self.unmap(group, why, former).await;
        }
        if freely || self.approval(&item).is_some() {
            let concerned = self.concerned(&group.id, former.as_ref()).await?;
            self.manage(group, found, NameFrom::Target, true, concerned).await?;
            self.worked.ledger.end(action.clone(), Fate::Done);
            self.worked.linked.push(action);
            return Ok(());
        }
        self.hold(item);
        self.unmap(group, adoption_waits(&found.name), former).await
    }

    /// Records that the group feeds this target group from now on.
    async fn manage(
        &mut self,
        group: &GroupState,
        target: TargetGroup,
        named: NameFrom,
        adopted: bool,
        concerned: Vec<Subject>,
    ) -> Result<(), WorkError> {
        let managed = ManagedGroup {
            id: target.id,
            name: target.name,
            adopted,
            removals_approved: false,
            sources: vec![(self.claim.pair.connector.clone(), group.id.clone())],
        };
        self.step.raise = concerned;
        let (source, name) = (group.id.clone(), group.name.clone());
        let table = self.engine.group_table(&self.claim.pair).await?;
        let case = self.info.capabilities.group_case;
        // It does not take a name that it has already.
        let has_it = matches!(table.mapping(&group.id), Some(GroupMapping::Managed { group: fed, name: former })
            if *fed == managed.id && case.same(former, &name));
        let shared = has_it || policy::is_merged(&name, &self.connector.policy.groups);
        self.step.group = Some(GroupWrite::Manage { source, name, group: managed, named, shared });
        self.flush().await
    }

    /// Confirms that a managed group is left out on purpose: each pattern of the selected groups has to fit a group.
    async fn confirm_left_out(&self, group: &GroupState, former: Option<&GroupMapping>) -> Result<(), WorkError> {
        let rules = &self.connector.policy.groups;
        let is_managed = matches!(former, Some(GroupMapping::Managed { .. }));
        if !is_managed || policy::path_left_out(&group.path, rules).is_none() {
            return Ok(());
        }
        if policy::selects_nothing_by_one(rules, &self.connector.source.groups().await?.items) {
            let only = rules.setting("only");
            return Err(WorkError::Unconfirmed(format!(
                "group {} is no longer selected, but a pattern of {only} in the policy fits no group, so its members \
                 stay. Correct {only}",
                group.path
            )));
        }
        Ok(())
    }

    async fn unmap(&mut self, group: &GroupState, why: String, former: Option<GroupMapping>) -> Result<(), WorkError> {
        if former != Some(GroupMapping::Unmapped { name: group.name.clone(), why: why.clone() }) {
            let (source, name) = (group.id.clone(), group.name.clone());
            self.step.raise = self.concerned(&source, former.as_ref()).await?;
            self.step.group = Some(GroupWrite::Unmap { source, name, why: why.clone() });
            self.flush().await?;
        }
        let is_left_out = policy::left_out(group, &self.connector.policy.groups).is_some();
        if !is_left_out && !self.info.capabilities.protected_groups.is_left_alone(&group.name) {
            self.worked.findings.unsupported.push(format!("group {}: {why}", group.path));
        }
        // The reason for feeding no group says nothing about earlier decisions on the group that it might feed.
        self.inconclusive = true;
        Ok(())
    }

    /// Releases a source group that is gone: it feeds nothing any more. Its subgroups, which have no event of their
    /// own, may be gone too.
    async fn let_go(&mut self, id: &GroupId, former: Option<GroupMapping>) -> Result<(), WorkError> {
        let Some(known) = &former else { return Ok(()) };
        if let Some(managed) = self.kept_until_empty(id, known, None).await? {
            let given = self.engine.store.given(&self.claim.pair, &managed.id).await?;
            return self.raise(given.into_iter().map(Subject::User).collect(), Priority::FanOut).await;
        }
        let mut concerned = self.concerned(id, former.as_ref()).await?;
        let listed = self.connector.source.groups().await?.items;
        let present: HashSet<&GroupId> = listed.iter().map(|group| &group.id).collect();
        let table = self.engine.group_table(&self.claim.pair).await?;
        let absent = table.sources().filter(|(source, _)| *source != id && !present.contains(*source));
        concerned.extend(absent.map(|(source, _)| Subject::Group(source.clone())));
        concerned.extend(self.groups_above_gone(id, &listed).await?);
        self.step.raise = concerned;
        self.step.group = Some(GroupWrite::Forget { source: id.clone() });
        self.flush().await
    }

    /// Releases a constant group that is no longer in the policy, once usersync has granted it to nobody any more.
    async fn let_constant_go(&mut self, id: &GroupId, former: Option<GroupMapping>) -> Result<(), WorkError> {
        if let Some(GroupMapping::Managed { group, .. }) = &former
            && !self.engine.store.given(&self.claim.pair, group).await?.is_empty()
        {
            return Ok(());
        }
        self.step.raise = self.waiting_for_name(id, former.as_ref()).await?;
        self.step.group = Some(GroupWrite::Forget { source: id.clone() });
        self.flush().await
    }

    /// Returns the subjects that a changed mapping concerns: the members, and groups that could not get the name that
    /// is now free. They are raised in the same transaction as the change; the store adds the members of the former
    /// group. A run works all users itself after the groups. If it ends early, no other record shows which users need
    /// another group.
    pub(super) async fn concerned(
        &self,
        id: &GroupId,
        former: Option<&GroupMapping>,
    ) -> Result<Vec<Subject>, WorkError> {
        if id.is_constant() {
            // It may concern all users.
            if !self.rules.in_run {
                self.engine.store.request_run(&self.claim.pair).await?;
            }
            return self.waiting_for_name(id, former).await;
        }
        let moved = matches!(former, Some(GroupMapping::Managed { .. }));
        let users = if moved || !self.rules.in_run { self.members(id).await? } else { BTreeSet::new() };
        let users = users.into_iter().map(Subject::User);
        Ok(users.chain(self.waiting_for_name(id, former).await?).collect())
    }

    /// Returns the groups that could not get the name that is now free: they feed none, or their former group.
    pub(super) async fn waiting_for_name(
        &self,
        id: &GroupId,
        former: Option<&GroupMapping>,
    ) -> Result<Vec<Subject>, WorkError> {
        let Some(former) = former else { return Ok(Vec::new()) };
        let case = self.info.capabilities.group_case;
        let table = self.engine.group_table(&self.claim.pair).await?;
        let feeds_another = |mapping: &GroupMapping| match mapping {
            GroupMapping::Unmapped { .. } => true,
            GroupMapping::Managed { group, name } => {
                table.managed(group).is_some_and(|managed| !case.same(&managed.name, name))
            }
        };
        let waiting = table.sources().filter(|(source, mapping)| {
            *source != id && case.same(mapping.name(), former.name()) && feeds_another(mapping)
        });
        Ok(waiting.map(|(source, _)| Subject::Group(source.clone())).collect())
    }

    pub(super) async fn raise(&self, subjects: Vec<Subject>, priority: Priority) -> Result<(), WorkError> {
        // A run works all users itself, after the groups.
        let subjects: Vec<Subject> =
            subjects.into_iter().filter(|subject| !self.rules.in_run || subject.as_user().is_none()).collect();
        if subjects.is_empty() {
            return Ok(());
        }
        let cause = match &self.claim.cause {
            Cause::Other { .. } => Cause::Other { what: format!("a change of {}", self.claim.subject) },
            known => known.clone(),
        };
        self.engine.store.raise(&self.claim.pair, &subjects, priority, &cause, self.engine.clock.now()).await?;
        Ok(())
    }
}

/// Returns why a group of the target that existed before usersync is not managed: its adoption waits.
pub(super) fn adoption_waits(name: &str) -> String {
    format!("the group {name} existed before usersync; adopting it waits for approval")
}

/// Returns why a group of the target that existed before usersync is not managed: its adoption was rejected.
pub(super) fn adoption_rejected(name: &str) -> String {
    format!("the group {name} existed before usersync; adopting it was rejected")
}
