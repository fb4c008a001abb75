//! The explanation of a group: what the policy makes of it, and its state on both sides.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    sync::Arc,
};

use serde::Serialize;

use super::{
    group_shown,
    side::{self, Past},
};
use crate::{
    cli::{
        Context,
        app::{self, Sides},
        args::PairArgs,
        exit::{Exit, Failure, Outcome},
        report,
    },
    config::Config,
    engine::{Intended, has_member_in_scope, intend, keeps_name, wanted_rename, with_groups_below},
    keycloak::{Source, SourceError},
    model::{
        AdoptRule, ApprovalItem, ApprovalKind, ConnectorName, EmptyGroups, GroupId, GroupMapping, GroupRules,
        GroupState, ManagedGroup, Members as Membership, Pair, Policy, Subject, TargetGroup, TargetGroupId, TargetName,
        TaskRecord, UnmanagedMembers, UserId, parent_paths, path_names,
    },
    plan::{self, GroupTable},
    policy,
    store::{PairState, Store},
    targets::{Target, TargetInfo},
};

/// The explanation of one group.
#[derive(Serialize)]
pub(super) struct ExplainedGroup {
    pub connector: ConnectorName,
    pub id: GroupId,
    /// The group as Keycloak shows it; `null`: deleted there, or not readable.
    pub group: Option<GroupState>,
    /// Whether the policy selects it; `null`: the group was not read, or the policy's condition fails for it.
    pub selected: Option<bool>,
    /// The rule that decides it.
    pub why: String,
    /// Number of members in Keycloak, as the policy counts them; `null`: not read.
    pub members: Option<usize>,
    /// Whether members of the groups below it count.
    pub with_subgroups: bool,
    /// Why Keycloak could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    pub targets: Vec<GroupOnTarget>,
}

/// The state of one group on one target.
#[derive(Serialize)]
pub(super) struct GroupOnTarget {
    pub target: String,
    pub state: PairState,
    /// The name that the group should have there; `null`: it is not synced, or a template of the policy fails for it.
    pub name: Option<String>,
    /// The rule that gives it this name.
    pub named_by: Option<String>,
    /// What is recorded for the group; `null`: nothing yet.
    pub mapping: Option<GroupMapping>,
    /// The target group that it feeds.
    pub managed: Option<ManagedGroup>,
    /// Whether the target has that group; `null`: not read.
    pub exists: Option<bool>,
    /// Members of the target group, those of others included.
    pub members: Option<Members>,
    /// Number of members that usersync added.
    pub added: usize,
    /// What happens to members that no user is linked to; `null`: the target or the group was not read.
    pub unmanaged_members: Option<String>,
    /// Planned operations and decisions, in words; empty: none.
    pub to_do: Vec<String>,
    /// Why the target could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    pub task: Option<TaskRecord>,
    pub held: Vec<(i64, ApprovalItem)>,
    pub changes: Vec<Past>,
}

/// The number of members of a target group.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Members {
    pub count: usize,
    /// Whether there are more, which were not counted.
    pub or_more: bool,
}

/// What a group is explained with.
struct Sight<'a> {
    sides: &'a Sides,
    store: &'a dyn Store,
}

pub(super) async fn run(context: &Context, name: &str, only: &PairArgs) -> Outcome {
    let config = context.config()?;
    let pairs = app::pairs(&config, only)?;
    let sides = Sides::new(&config)?;
    let opened = app::open_for_reading(context, &config).await?;
    let sight = Sight { sides: &sides, store: opened.store.as_ref() };
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    let mut failure = None;
    for ((connector, _), (policy, pairs)) in by_rules(&config, &pairs) {
        let found = match sight.find(connector, &policy, &pairs, name).await {
            Ok(found) => found,
            // The rules of another target may find it.
            Err(error) => {
                failure.get_or_insert(error);
                continue;
            }
        };
        for (id, found) in found {
            let explained = sight.explain(connector, &policy, &pairs, id, found).await?;
            let trouble = explained.trouble.is_some() || explained.targets.iter().any(|on| on.trouble.is_some());
            exit = exit.and(if trouble { Exit::Unreachable } else { Exit::Done });
            all.push(explained);
        }
    }
    if let (true, Some(failure)) = (all.is_empty(), failure) {
        return Err(failure);
    }
    if all.is_empty() {
        return Err(Failure::usage(format!(
            "{name}: no group in Keycloak has this path, name or id, and no managed group has this name. A group that \
             was deleted in Keycloak is found by its name in a target: usersync explain --group NAME"
        )));
    }
    let out = &context.out;
    if out.json {
        out.document(&serde_json::json!({ "groups": all }));
        return Ok(exit);
    }
    for (at, explained) in all.iter().enumerate() {
        if at > 0 {
            out.line("");
        }
        group_shown::show(out, explained, name);
    }
    Ok(exit)
}

/// Pairs with the same rules for groups, and their policy.
type Ruled<'p> = (Policy, Vec<&'p Pair>);

/// Returns the pairs by connector, and by target where the target has rules of its own for groups.
fn by_rules<'p>(
    config: &Config,
    pairs: &'p [Pair],
) -> BTreeMap<(&'p ConnectorName, Option<&'p TargetName>), Ruled<'p>> {
    let mut all: BTreeMap<_, Ruled<'p>> = BTreeMap::new();
    for pair in pairs {
        let policy = side::policy_of_pair(config, pair);
        let own = policy.groups.own_of.is_some().then_some(&pair.target);
        all.entry((&pair.connector, own)).or_insert_with(|| (policy, Vec::new())).1.push(pair);
    }
    all
}

impl Sight<'_> {
    /// Returns the groups that the name refers to: by path, by name in Keycloak or in a target, or by Keycloak's id.
    async fn find(
        &self,
        connector: &ConnectorName,
        policy: &Policy,
        pairs: &[&Pair],
        name: &str,
    ) -> Result<BTreeMap<GroupId, Result<Option<GroupState>, SourceError>>, Failure> {
        let source = self.sides.named_source(connector, policy);
        let is_path = name.starts_with('/');
        let own = if is_path { path_names(name).last().unwrap_or_default() } else { name.to_owned() };
        let mut found: BTreeMap<GroupId, Result<Option<GroupState>, SourceError>> = BTreeMap::new();
        // By the name in Keycloak, and by that in the targets.
        let own = self.sides.sources[connector].groups_named(&own).await;
        let named = |group| policy::named_group(group, &policy.groups);
        let mut reads = vec![own.map(|groups| groups.into_iter().map(named).collect())];
        if !is_path {
            reads.push(source.groups_named(name).await);
        }
        let mut trouble = None;
        for read in reads {
            match read {
                Ok(groups) => {
                    let groups = groups.into_iter().filter(|group| !is_path || group.path == name);
                    found.extend(groups.map(|group| (group.id.clone(), Ok(Some(group)))));
                }
                Err(error) => trouble = Some(error),
            }
        }
        let mut recorded: Vec<GroupId> = Vec::new();
        if !is_path {
            for pair in pairs {
                let managed = self.store.managed_groups(&pair.target).await?.into_iter();
                let named = managed.filter(|group| group.name.to_lowercase() == name.to_lowercase());
                let sources = named.flat_map(|group| group.sources);
                recorded.extend(sources.filter(|(owner, _)| owner == connector).map(|(_, id)| id));
            }
            if uuid::Uuid::try_parse(name).is_ok() && source.group(&name.into()).await.is_ok_and(|read| read.is_some())
            {
                recorded.push(name.into());
            }
        }
        for id in recorded {
            if let Entry::Vacant(entry) = found.entry(id) {
                let read = source.group(entry.key()).await;
                entry.insert(read);
            }
        }
        if let (Some(error), true) = (trouble, found.is_empty()) {
            return Err(error.into());
        }
        Ok(found)
    }

    async fn explain(
        &self,
        connector: &ConnectorName,
        policy: &Policy,
        pairs: &[&Pair],
        id: GroupId,
        found: Result<Option<GroupState>, SourceError>,
    ) -> Result<ExplainedGroup, Failure> {
        let source = self.sides.named_source(connector, policy);
        let (group, mut trouble) = match found {
            Ok(group) => (group, None),
            Err(error) => (None, Some(error.text)),
        };
        let (selected, why) = match &group {
            Some(group) => policy::selected_by(group, &policy.groups),
            None if trouble.is_some() => (None, "it could not be read".to_owned()),
            None => (None, "there is no group with this id in the realm any more".to_owned()),
        };
        let members = match &group {
            Some(group) => match members_of(source.as_ref(), group, &policy.groups).await {
                Ok(members) => members,
                Err(error) => {
                    trouble = Some(error.text);
                    None
                }
            },
            None => None,
        };
        let counts = |group: &GroupState| policy.groups.members_at(&group.path) == Membership::WithSubgroups;
        let with_subgroups = group.as_ref().is_some_and(counts);
        let mut targets = Vec::new();
        for pair in pairs {
            targets.push(self.on_target(pair, policy, source.as_ref(), &id, group.as_ref()).await?);
        }
        Ok(ExplainedGroup {
            connector: connector.clone(),
            id,
            group,
            selected,
            why,
            members,
            with_subgroups,
            trouble,
            targets,
        })
    }

    async fn on_target(
        &self,
        pair: &Pair,
        policy: &Policy,
        source: &dyn Source,
        id: &GroupId,
        group: Option<&GroupState>,
    ) -> Result<GroupOnTarget, Failure> {
        let store = self.store;
        let subject = Subject::Group(id.clone());
        let state = store.pair_state(pair).await?;
        let table = GroupTable::new(store.managed_groups(&pair.target).await?, store.group_mappings(pair).await?);
        let mapping = table.mapping(id).cloned();
        let managed = match &mapping {
            Some(GroupMapping::Managed { group, .. }) => table.managed(group).cloned(),
            _ => None,
        };
        let added = match &managed {
            Some(managed) => store.given(pair, &managed.id).await?.len(),
            None => 0,
        };
        let mut on = GroupOnTarget {
            target: pair.target.to_string(),
            state,
            name: None,
            named_by: None,
            mapping,
            managed,
            exists: None,
            members: None,
            added,
            unmanaged_members: None,
            to_do: Vec::new(),
            trouble: None,
            task: side::task(store, pair, &subject).await?,
            held: side::items(store, pair, &subject).await?,
            changes: side::past(store, pair, &subject).await?,
        };
        let Some(target) = self.sides.targets.get(&pair.target) else { return Ok(on) };
        let outlook = Outlook { pair, policy, state, source, target: target.as_ref(), table: &table, id };
        if let Err(text) = outlook.read(&mut on, group).await {
            on.trouble = Some(text);
        }
        Ok(on)
    }
}

/// What the next work on a group decides with.
struct Outlook<'a> {
    pair: &'a Pair,
    policy: &'a Policy,
    state: PairState,
    source: &'a dyn Source,
    target: &'a dyn Target,
    table: &'a GroupTable,
    id: &'a GroupId,
}

impl Outlook<'_> {
    /// Reads the target group and what the next work would do. The error is why one of the sides could not be read.
    async fn read(&self, on: &mut GroupOnTarget, group: Option<&GroupState>) -> Result<(), String> {
        let info = self.target.probe().await.map_err(|error| error.text)?;
        if let Some(managed) = on.managed.clone() {
            let members = self.target.first_members(&managed.id).await.map_err(|error| error.text)?;
            on.exists = Some(members.is_some());
            on.members = members.map(|(page, total)| Members {
                count: total.unwrap_or(page.items.len()),
                or_more: total.is_none() && page.next.is_some(),
            });
        }
        on.unmanaged_members =
            group.zip(on.managed.as_ref()).map(|(group, managed)| self.unmanaged(group, managed, &info));
        on.to_do = match group {
            Some(group) => {
                if policy::left_out(group, &self.policy.groups).is_none() && group.verdict.fault().is_none() {
                    on.name = Some(policy::group_name(group, info.capabilities.group_case));
                    let merged = policy::is_merged(&group.name, &self.policy.groups);
                    let setting = self.policy.groups.setting("merged");
                    let shared = merged.then(|| format!("; all groups of this name share one ({setting})"));
                    on.named_by =
                        Some(policy::named_by(&group.path, &self.policy.groups) + &shared.unwrap_or_default());
                }
                self.next(group, &info, on.exists).await?
            }
            None if on.mapping.is_some() => {
                let release = "release it, if Keycloak confirms that it is gone; memberships that usersync added are \
                               removed";
                let deletes = self.policy.groups.handles_empty() && on.managed.as_ref().is_some_and(|one| !one.adopted);
                let setting = self.policy.groups.setting("empty");
                let then = deletes.then(|| format!(". It is deleted once it is empty, if {setting} says so"));
                vec![release.to_owned() + &then.unwrap_or_default()]
            }
            None => Vec::new(),
        };
        Ok(())
    }

    /// Describes what full reconciles do with members of the target group that no user is linked to.
    fn unmanaged(&self, group: &GroupState, managed: &ManagedGroup, info: &TargetInfo) -> String {
        let setting = self.policy.groups.unmanaged_members_at(&group.path);
        let why = plan::why_members_stay(self.pair, managed, self.table, &self.policy.groups, &info.capabilities);
        match (setting, why) {
            (UnmanagedMembers::Keep, _) => "stay".to_owned(),
            (UnmanagedMembers::Report, _) => "stay, and each full reconcile lists them".to_owned(),
            (UnmanagedMembers::Remove, Some(why)) => format!("stay, because {why}"),
            (UnmanagedMembers::Remove, None) if managed.adopted && !managed.removals_approved => {
                "removed by a full reconcile, after an approval".to_owned()
            }
            (UnmanagedMembers::Remove, None) => "removed by a full reconcile".to_owned(),
        }
    }

    /// Describes what the next work on the group would do.
    async fn next(&self, group: &GroupState, info: &TargetInfo, exists: Option<bool>) -> Result<Vec<String>, String> {
        let (rules, capabilities) = (&self.policy.groups, &info.capabilities);
        let mut intended = intend(group, rules, self.table, capabilities, None);
        if let Intended::Ask(other) = &intended {
            let case = capabilities.group_case;
            let holder = self.source.group(other).await.map_err(|error| error.text)?;
            let Some(holder) = holder.filter(|holder| keeps_name(holder, &group.name, case)) else {
                return Ok(vec![format!(
                    "wait until group:{other} is reconciled, because its recorded name in the target is the same"
                )]);
            };
            intended = intend(group, rules, self.table, capabilities, Some(&holder));
        }
        Ok(match intended {
            Intended::InSync(id) if exists == Some(false) => {
                let name = self.table.managed(&id).map_or_else(|| group.name.clone(), |managed| managed.name.clone());
                let not_created = policy::not_created(&name, &group.path, rules).map(|why| format!("nothing: {why}"));
                vec![not_created.unwrap_or_else(|| "recreate it, because the target lacks it".to_owned())]
            }
            Intended::InSync(id) if self.is_deleted_once_empty(group, &id, info) && self.is_empty(group).await? => {
                let setting = rules.setting("empty");
                vec![format!("delete the target group by a full reconcile once it is empty there ({setting})")]
            }
            Intended::InSync(_) => {
                match (self.table.renamable(self.id), wanted_rename(group, self.table, capabilities)) {
                    (Some(own), Some(name)) => vec![format!("rename the group {} to {name}", own.name)],
                    _ => Vec::new(),
                }
            }
            Intended::Existing(id) if self.table.managed(&id).is_some_and(|managed| !managed.sources.is_empty()) => {
                let name = self.table.managed(&id).map_or_else(|| id.to_string(), |managed| managed.name.clone());
                vec![format!("add its members to the group {name}, which usersync manages already")]
            }
            Intended::Create(_) | Intended::Existing(_) => {
                let name = policy::group_name(group, capabilities.group_case);
                let is_managed = matches!(self.table.mapping(self.id), Some(GroupMapping::Managed { .. }));
                let waits_for_member = rules.empty_at(&group.path) != EmptyGroups::Create && !group.id.is_constant();
                let same_name = self.same_name(group, &name, info).await?;
                vec![if let Some(why) = same_name {
                    format!("nothing: {why}")
                } else if waits_for_member && !is_managed && self.is_empty(group).await? {
                    format!("nothing: it is created once it has a member in scope ({})", rules.setting("empty"))
                } else {
                    self.creation(group, &name, info).await?
                }]
            }
            Intended::None(why) => match self.table.mapping(self.id) {
                Some(GroupMapping::Managed { .. }) if self.keeps(group).await? => {
                    let only = rules.setting("only");
                    vec![format!(
                        "nothing: a pattern of {only} in the policy fits no group, so its members stay. Correct {only}"
                    )]
                }
                Some(GroupMapping::Managed { .. }) => {
                    vec![format!("release it ({why}); memberships that usersync added are removed")]
                }
                _ => Vec::new(),
            },
            Intended::Stays(why) => vec![format!("nothing: {why}")],
            Intended::Ask(other) => vec![format!("wait until group:{other} is reconciled")],
        })
    }

    /// Returns whether a group has no member in scope, and none of those that share its target group has one.
    async fn is_empty(&self, group: &GroupState) -> Result<bool, String> {
        let rules = &self.policy.groups;
        let mut groups = vec![group.clone()];
        if policy::is_merged(&group.name, rules) {
            groups.extend(self.source.groups_named(&group.name).await.map_err(|error| error.text)?);
        }
        let mut ids: Vec<GroupId> = groups.iter().map(|group| group.id.clone()).collect();
        if rules.counts_subgroups() {
            let listed = self.source.groups().await.map_err(|error| error.text)?;
            ids = with_groups_below(ids, &listed.items, rules);
        }
        has_member_in_scope(self.source, self.policy, ids).await.map(|has| !has).map_err(|error| error.text)
    }

    /// Returns whether the policy deletes this target group once it is empty.
    fn is_deleted_once_empty(&self, group: &GroupState, id: &TargetGroupId, info: &TargetInfo) -> bool {
        let is_ours = |managed: &ManagedGroup| {
            !managed.adopted
                && plan::why_members_stay(self.pair, managed, self.table, &self.policy.groups, &info.capabilities)
                    .is_none()
        };
        self.policy.groups.empty_at(&group.path) == EmptyGroups::Delete && self.table.managed(id).is_some_and(is_ours)
    }

    /// Returns whether a group that is not selected keeps its members, because a pattern of the selected groups may have
    /// meant it.
    async fn keeps(&self, group: &GroupState) -> Result<bool, String> {
        let rules = &self.policy.groups;
        if policy::path_left_out(&group.path, rules).is_none() {
            return Ok(false);
        }
        let listed = self.source.groups().await.map_err(|error| error.text)?;
        Ok(policy::selects_nothing_by_one(rules, &listed.items))
    }

    /// Returns why another group in Keycloak of this name is a conflict; `None`: there is none, or they are merged.
    async fn same_name(&self, group: &GroupState, name: &str, info: &TargetInfo) -> Result<Option<String>, String> {
        let rules = &self.policy.groups;
        if policy::is_merged(&group.name, rules) || group.id.is_constant() {
            return Ok(None);
        }
        let case = info.capabilities.group_case;
        let mut namesakes = self.source.groups_named(&group.name).await.map_err(|error| error.text)?;
        namesakes.retain(|other| {
            let is_synced = policy::left_out(other, rules).is_none() && other.verdict.fault().is_none();
            is_synced && other.id != group.id && case.same(&other.name, &group.name)
        });
        Ok((!namesakes.is_empty()).then(|| policy::same_name(name, rules, namesakes.iter().chain([group]))))
    }

    /// Describes how the group comes to a target group of this name.
    async fn creation(&self, group: &GroupState, name: &str, info: &TargetInfo) -> Result<String, String> {
        let found = self.target.group_named(name).await.map_err(|error| error.text)?;
        Ok(match (found, self.table.renamable(&group.id)) {
            (Some(found), _) => self.adoption(&found),
            (None, Some(own)) if info.capabilities.rename_group => format!("rename the group {} to {name}", own.name),
            (None, _) => self.missing(group, name),
        })
    }

    /// Describes what happens without a group of this name in the target.
    fn missing(&self, group: &GroupState, name: &str) -> String {
        let Some(why) = policy::not_created(name, &group.path, &self.policy.groups) else {
            return format!("create the group {name}");
        };
        match self.table.mapping(self.id) {
            Some(GroupMapping::Managed { group, .. }) if let Some(own) = self.table.managed(group) => {
                format!("nothing: {why}. Until then, its members stay in {}", own.name)
            }
            _ => format!("nothing: {why}"),
        }
    }

    fn adoption(&self, found: &TargetGroup) -> String {
        let name = &found.name;
        if let Some(why) = &found.protected {
            return format!("nothing, because the group {name} is never changed: {why}");
        }
        if self.table.managed(&found.id).is_some() {
            return format!("add its members to the group {name}, which usersync manages already");
        }
        if self.policy.adopt == AdoptRule::Always || self.state != PairState::InService {
            return format!("adopt the group {name}, which existed before usersync");
        }
        format!("wait for approval ({}): adopt the group {name}", report::why(ApprovalKind::Adoption))
    }
}

/// Returns the number of a group's members, with those of the groups below it if the rules say so; `None`: the group is
/// gone.
async fn members_of(source: &dyn Source, group: &GroupState, rules: &GroupRules) -> Result<Option<usize>, SourceError> {
    let mut groups = vec![group.id.clone()];
    if rules.members_at(&group.path) == Membership::WithSubgroups {
        let listed = source.groups().await?.items;
        let below = listed.into_iter().filter(|other| parent_paths(&other.path).any(|above| above == group.path));
        groups.extend(below.map(|group| group.id));
    }
    let mut members: Option<HashSet<UserId>> = None;
    for group in groups {
        if let Some(listing) = source.members(&group).await? {
            let unreadable = listing.unreadable.into_iter().map(|(id, _)| id);
            members.get_or_insert_default().extend(listing.items.iter().chain(unreadable));
        }
    }
    Ok(members.map(|members| members.len()))
}

impl Sides {
    /// Returns the source of a connector, whose groups have the names that the policy gives them.
    fn named_source(&self, connector: &ConnectorName, policy: &Policy) -> Arc<dyn Source> {
        let source = Arc::clone(&self.sources[connector]);
        crate::engine::with_policy(source, policy, policy.uses_group_attributes())
    }
}
