//! The mapping of source groups to target groups.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use crate::{
    capabilities::CaseRule,
    model::{
        GrantedTo, GroupId, GroupMapping, GroupRules, GroupState, IdMap, Link, ManagedGroup, Pair, TargetGroupId,
        UserState,
    },
    policy,
};

/// The groups of one connector on one target.
#[derive(Clone, Debug, Default)]
pub struct GroupTable {
    mappings: Vec<(GroupId, GroupMapping)>,
    /// Index of each group in `mappings`, as each user's groups are looked up.
    places: IdMap<GroupId, usize>,
    managed: BTreeMap<TargetGroupId, ManagedGroup>,
    /// Source groups by the name that they feed under, and managed groups by their own, both in lower case: a run looks
    /// up the name of each group.
    feeding: HashMap<String, Vec<GroupId>>,
    /// Indexes in `mappings` of constant groups.
    constants: Vec<usize>,
    named: HashMap<String, Vec<TargetGroupId>>,
    /// Source groups that may exist although Keycloak does not show them.
    hidden: Vec<GroupId>,
}

/// A user's source groups, resolved to target groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The target groups that the user should be a member of.
    pub wanted: BTreeSet<&'a TargetGroupId>,
    /// Source groups that have no target group yet, or have a new name: their tasks are worked first.
    pub missing: Vec<GroupId>,
    /// Target groups that the user is not removed from: those of source groups under their former name, before the new
    /// groups exist, hidden groups, and constant groups that are not decided for the user.
    pub keep: BTreeSet<&'a TargetGroupId>,
    /// Source groups that feed no target group, with the reason.
    pub unmapped: Vec<(Cow<'a, GroupState>, &'a str)>,
    /// Why constant groups are not decided for the user.
    pub undecided: Vec<String>,
}

impl GroupTable {
    /// Creates the table of a pair from the target's managed groups and the pair's mappings.
    pub fn new(managed: Vec<ManagedGroup>, mappings: Vec<(GroupId, GroupMapping)>) -> Self {
        let mut table = Self::default();
        for group in managed {
            table.manage(group);
        }
        for (group, mapping) in mappings {
            table.map(&group, mapping);
        }
        table
    }

    /// Returns the other source groups that feed a target group under this name.
    pub fn others_feeding<'a>(
        &'a self,
        group: &'a GroupId,
        name: &'a str,
        case: CaseRule,
    ) -> impl Iterator<Item = (&'a GroupId, &'a TargetGroupId)> {
        let candidates = self.feeding.get(&name.to_lowercase()).into_iter().flatten();
        // A constant group may share its target group.
        let is_other = move |other: &&GroupId| *other != group && !other.is_constant() && !group.is_constant();
        candidates.filter(is_other).filter_map(move |other| match self.mapping(other) {
            Some(GroupMapping::Managed { group: id, name: mapped }) if case.fold(mapped) == case.fold(name) => {
                Some((other, id))
            }
            _ => None,
        })
    }

    /// Returns the managed group of this name, whatever feeds it.
    pub fn managed_named(&self, name: &str, case: CaseRule) -> Option<&ManagedGroup> {
        let candidates = self.named.get(&name.to_lowercase()).into_iter().flatten();
        candidates.filter_map(|id| self.managed(id)).find(|managed| case.fold(&managed.name) == case.fold(name))
    }

    /// Returns the mapping of a source group.
    pub fn mapping(&self, group: &GroupId) -> Option<&GroupMapping> {
        self.places.get(group).map(|place| &self.mappings[*place].1)
    }

    /// Returns all source groups with a mapping.
    pub fn sources(&self) -> impl Iterator<Item = (&GroupId, &GroupMapping)> {
        self.mappings.iter().map(|(group, mapping)| (group, mapping))
    }

    /// Returns a managed group of the target.
    pub fn managed(&self, group: &TargetGroupId) -> Option<&ManagedGroup> {
        self.managed.get(group)
    }

    /// Returns the managed groups that this pair's connector feeds.
    pub fn fed_by<'a>(&'a self, pair: &'a Pair) -> impl Iterator<Item = &'a ManagedGroup> {
        self.managed.values().filter(|group| group.fed_by(pair))
    }

    /// Returns the target groups that decide a linked user's memberships: those that this pair feeds, and those that
    /// usersync granted.
    pub fn deciding(&self, pair: &Pair, link: Option<&Link>) -> BTreeSet<TargetGroupId> {
        let fed = self.fed_by(pair).map(|group| group.id.clone());
        fed.chain(link.iter().flat_map(|link| link.given.iter().cloned())).collect()
    }

    /// Returns the group that a source group feeds, if it can be renamed with the source group: it is not adopted and
    /// has no other source.
    pub fn renamable(&self, source: &GroupId) -> Option<&ManagedGroup> {
        let Some(GroupMapping::Managed { group, .. }) = self.mapping(source) else { return None };
        self.managed(group).filter(|managed| !managed.adopted && managed.sources.len() == 1)
    }

    /// Records that the target group is renamed with its source group; for a dry run.
    pub fn assume_renamed(&mut self, source: &GroupState, name: String) {
        let Some(renamed) = self.renamable(&source.id).cloned() else { return };
        if let Some(named) = self.named.get_mut(&renamed.name.to_lowercase()) {
            named.retain(|id| *id != renamed.id);
        }
        self.map(&source.id, GroupMapping::Managed { group: renamed.id.clone(), name: source.name.clone() });
        self.manage(ManagedGroup { name, ..renamed });
    }

    /// Records that a source group feeds a target group from now on; for a dry run, which models the groups it would
    /// create.
    pub fn assume(&mut self, pair: &Pair, source: &GroupState, group: ManagedGroup) {
        let id = group.id.clone();
        self.let_go(pair, &source.id);
        if !self.managed.contains_key(&id) {
            self.manage(group);
        }
        if let Some(managed) = self.managed.get_mut(&id) {
            managed.sources.push((pair.connector.clone(), source.id.clone()));
        }
        self.map(&source.id, GroupMapping::Managed { group: id, name: source.name.clone() });
    }

    /// Records that a source group feeds no target group; for a dry run.
    pub fn assume_unmapped(&mut self, pair: &Pair, source: &GroupState, why: String) {
        self.let_go(pair, &source.id);
        self.map(&source.id, GroupMapping::Unmapped { name: source.name.clone(), why });
    }

    /// Records that a source group no longer feeds a target group; for a dry run.
    pub fn let_go(&mut self, pair: &Pair, source: &GroupId) {
        let former = match self.mapping(source) {
            Some(GroupMapping::Managed { group, .. }) => group.clone(),
            _ => return,
        };
        if let Some(managed) = self.managed.get_mut(&former) {
            managed.sources.retain(|(connector, fed)| *connector != pair.connector || fed != source);
        }
    }

    /// Records that source groups may exist although Keycloak does not show them: nobody is removed from what they feed.
    pub fn hide(&mut self, groups: impl IntoIterator<Item = GroupId>) {
        self.hidden.extend(groups);
    }

    fn manage(&mut self, group: ManagedGroup) {
        self.named.entry(group.name.to_lowercase()).or_default().push(group.id.clone());
        self.managed.insert(group.id.clone(), group);
    }

    fn map(&mut self, source: &GroupId, mapping: GroupMapping) {
        if let GroupMapping::Managed { name, .. } = &mapping {
            // A former name stays here; it is ignored, as the mapping has another name by then.
            let feeding = self.feeding.entry(name.to_lowercase()).or_default();
            if !feeding.contains(source) {
                feeding.push(source.clone());
            }
        }
        if let Some(place) = self.places.get(source) {
            self.mappings[*place].1 = mapping;
        } else {
            if source.is_constant() {
                self.constants.push(self.mappings.len());
            }
            self.places.insert(source.clone(), self.mappings.len());
            self.mappings.push((source.clone(), mapping));
        }
    }

    /// Returns whether a constant group of this pair's connector feeds a managed group. Its other members are not known
    /// to be wrong there.
    pub fn is_constant(&self, pair: &Pair, group: &ManagedGroup) -> bool {
        group.sources.iter().any(|(connector, source)| *connector == pair.connector && source.is_constant())
    }

    /// Resolves a user's source groups, and the constant groups of the rules, to target groups. `is_new`: the user's
    /// account is created.
    pub fn resolve<'a>(&'a self, user: &'a UserState, rules: &GroupRules, is_new: bool) -> Resolved<'a> {
        let mut resolved = Resolved::default();
        for group in user.all_groups() {
            self.resolve_group(Cow::Borrowed(group), &mut resolved);
        }
        for constant in &rules.constant {
            let group = rules.group_of(constant);
            let granted = policy::grants(constant, rules, user, is_new);
            match granted {
                Ok(true) => self.resolve_group(Cow::Owned(group), &mut resolved),
                Ok(false) if constant.granted_to == GrantedTo::All => {}
                Ok(false) | Err(_) => self.keep(&group.id, &mut resolved),
            }
            resolved.undecided.extend(granted.err());
        }
        // An entry that was removed from the rules, perhaps by mistake, removes nobody.
        let constants = self.constants.iter().map(|place| &self.mappings[*place].0);
        for id in constants.filter(|id| rules.constant(id).is_none()) {
            self.keep(id, &mut resolved);
        }
        // Keycloak leaves out of a user's groups what the token may not see.
        for id in &self.hidden {
            self.keep(id, &mut resolved);
        }
        resolved
    }

    fn resolve_group<'a>(&'a self, group: Cow<'a, GroupState>, resolved: &mut Resolved<'a>) {
        // The group stays as it is: nobody is added or removed.
        if let Cow::Borrowed(group) = group
            && let Some(why) = group.verdict.fault()
        {
            match self.mapping(&group.id) {
                Some(GroupMapping::Managed { .. }) => self.keep(&group.id, resolved),
                Some(GroupMapping::Unmapped { .. }) | None => resolved.unmapped.push((Cow::Borrowed(group), why)),
            }
            return;
        }
        match self.mapping(&group.id) {
            Some(mapping) if mapping.name() != group.name => {
                resolved.missing.push(group.id.clone());
                self.keep(&group.id, resolved);
            }
            Some(GroupMapping::Managed { group: id, .. }) => {
                resolved.wanted.insert(id);
            }
            Some(GroupMapping::Unmapped { why, .. }) => resolved.unmapped.push((group, why)),
            None => resolved.missing.push(group.id.clone()),
        }
    }

    fn keep<'a>(&'a self, source: &GroupId, resolved: &mut Resolved<'a>) {
        if let Some(GroupMapping::Managed { group, .. }) = self.mapping(source) {
            resolved.keep.insert(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::fixtures::{GROUP_RULES, user};

    fn in_groups(groups: &[Arc<GroupState>]) -> UserState {
        UserState { groups: groups.to_vec(), ..user() }
    }

    fn group(id: &str, name: &str) -> Arc<GroupState> {
        Arc::new(GroupState::new(id.into(), name.into(), format!("/{name}")))
    }

    fn table() -> GroupTable {
        GroupTable::new(
            vec![ManagedGroup {
                id: "eng".into(),
                name: "Eng".into(),
                adopted: false,
                removals_approved: false,
                sources: vec![("acme".into(), "1".into())],
            }],
            vec![
                ("1".into(), GroupMapping::Managed { group: "eng".into(), name: "Eng".into() }),
                ("2".into(), GroupMapping::Unmapped { name: "Ops".into(), why: "two paths".into() }),
            ],
        )
    }

    #[test]
    fn known_groups_are_wanted_unknown_ones_are_missing() {
        let (table, user) = (table(), in_groups(&[group("1", "Eng"), group("2", "Ops"), group("3", "New")]));
        let resolved = table.resolve(&user, &GROUP_RULES, false);
        assert_eq!(resolved.wanted.into_iter().collect::<Vec<_>>(), [&"eng".into()]);
        assert_eq!(resolved.missing, ["3".into()]);
        assert_eq!(resolved.unmapped.len(), 1);
        assert!(resolved.keep.is_empty());
    }

    #[test]
    fn nobody_is_removed_from_what_a_hidden_group_feeds() {
        let (mut table, user) = (table(), in_groups(&[]));
        assert!(table.resolve(&user, &GROUP_RULES, false).keep.is_empty());
        table.hide(["1".into(), "2".into()]);
        let resolved = table.resolve(&user, &GROUP_RULES, false);
        assert_eq!(resolved.keep.into_iter().collect::<Vec<_>>(), [&"eng".into()]);
        assert!(resolved.wanted.is_empty());
    }

    #[test]
    fn groups_above_are_resolved_like_direct_ones() {
        let (table, user) =
            (table(), UserState { parent_groups: vec![group("1", "Eng"), group("3", "New")], ..user() });
        let resolved = table.resolve(&user, &GROUP_RULES, false);
        assert_eq!(resolved.wanted.into_iter().collect::<Vec<_>>(), [&"eng".into()]);
        assert_eq!(resolved.missing, ["3".into()]);
    }

    #[test]
    fn a_constant_group_is_wanted_kept_or_removed_as_the_rules_say() {
        let rules = |json: &str| serde_json::from_str::<GroupRules>(&format!(r#"{{"constant": [{json}]}}"#)).unwrap();
        let managed = GroupMapping::Managed { group: "everyone".into(), name: "everyone".into() };
        let known = GroupTable::new(Vec::new(), vec![("constant:everyone".into(), managed)]);
        let (unknown, user) = (GroupTable::default(), user());
        // The entry, whether the account is created, and whether the group is wanted, kept, missing and undecided.
        for (entry, is_new, expected) in [
            (r#"{"name": "everyone"}"#, false, (true, false, true, false)),
            (r#"{"name": "everyone", "condition": "{{ username == 'alice' }}"}"#, false, (true, false, true, false)),
            (r#"{"name": "everyone", "condition": "{{ username == 'bob' }}"}"#, false, (false, false, false, false)),
            (r#"{"name": "everyone", "condition": "{{ username }}"}"#, false, (false, true, false, true)),
            (r#"{"name": "everyone", "for": "new"}"#, true, (true, false, true, false)),
            (r#"{"name": "everyone", "for": "new"}"#, false, (false, true, false, false)),
            ("", false, (false, true, false, false)),
        ] {
            let rules = rules(entry);
            let (known, unknown) = (known.resolve(&user, &rules, is_new), unknown.resolve(&user, &rules, is_new));
            let group = TargetGroupId::from("everyone");
            let missing = unknown.missing == ["constant:everyone".into()];
            let found =
                (known.wanted.contains(&group), known.keep.contains(&group), missing, !known.undecided.is_empty());
            assert_eq!(found, expected, "{entry}");
        }
    }

    #[test]
    fn a_constant_group_shares_its_target_group() {
        let managed = |id: &str| (id.into(), GroupMapping::Managed { group: "eng".into(), name: "Eng".into() });
        let table = GroupTable::new(Vec::new(), vec![managed("1"), managed("constant:Eng")]);
        for id in ["1", "constant:Eng"] {
            assert_eq!(table.others_feeding(&id.into(), "Eng", CaseRule::Insensitive).next(), None, "{id}");
        }
        assert!(table.others_feeding(&"2".into(), "Eng", CaseRule::Insensitive).next().is_some());
    }

    #[test]
    fn what_a_dry_run_assumes_is_found_by_name_and_the_former_group_is_let_go() {
        let (mut table, pair) = (table(), Pair::new("acme", "jira"));
        let made = ManagedGroup { id: "dev".into(), name: "Dev".into(), sources: Vec::new(), ..managed(&table, "eng") };
        table.assume(&pair, &group("1", "Dev"), made);
        assert!(managed(&table, "dev").fed_by(&pair) && !managed(&table, "eng").fed_by(&pair));
        let case = CaseRule::Insensitive;
        let feeding = |name| table.others_feeding(&"9".into(), name, case).map(|(source, _)| source.clone()).next();
        assert_eq!((feeding("DEV"), feeding("Eng")), (Some("1".into()), None));
        assert_eq!(table.managed_named("dEV", case).map(|group| group.id.clone()), Some("dev".into()));
        assert_eq!(table.managed_named("dEV", CaseRule::Sensitive), None);
    }

    #[test]
    fn only_a_group_that_is_ours_alone_is_renamed_with_its_source() {
        let (mut table, case) = (table(), CaseRule::Insensitive);
        let eng = managed(&table, "eng");
        assert_eq!(table.renamable(&"1".into()), Some(&eng));
        assert_eq!((table.renamable(&"2".into()), table.renamable(&"3".into())), (None, None));
        table.assume_renamed(&group("1", "Dev"), "Dev".to_owned());
        assert_eq!(table.managed_named("dev", case).map(|group| group.id.clone()), Some("eng".into()));
        assert_eq!(
            (table.managed_named("eng", case), table.others_feeding(&"9".into(), "Eng", case).next()),
            (None, None)
        );
        assert!(table.resolve(&in_groups(&[group("1", "Dev")]), &GROUP_RULES, false).missing.is_empty());
        let other = ("other".into(), "7".into());
        let shared = ManagedGroup { sources: eng.sources.iter().cloned().chain([other]).collect(), ..eng.clone() };
        for group in [shared, ManagedGroup { adopted: true, ..eng }] {
            let mapping = GroupMapping::Managed { group: "eng".into(), name: "Eng".into() };
            assert_eq!(GroupTable::new(vec![group], vec![("1".into(), mapping)]).renamable(&"1".into()), None);
        }
    }

    #[test]
    fn renaming_a_group_leaves_a_group_that_differs_only_in_case() {
        let eng = managed(&table(), "eng");
        let upper = ManagedGroup { id: "upper".into(), name: "ENG".into(), sources: Vec::new(), ..eng.clone() };
        let mapping = GroupMapping::Managed { group: "eng".into(), name: "Eng".into() };
        let mut table = GroupTable::new(vec![eng, upper], vec![("1".into(), mapping)]);
        table.assume_renamed(&group("1", "Dev"), "Dev".to_owned());
        let named = |name| table.managed_named(name, CaseRule::Sensitive).map(|group| group.id.as_str());
        assert_eq!((named("Dev"), named("Eng"), named("ENG")), (Some("eng"), None, Some("upper")));
    }

    #[test]
    fn only_the_named_source_group_of_the_pair_stops_feeding_a_group() {
        let sources = |all: &[(&str, &str)]| -> Vec<_> {
            all.iter().map(|(connector, source)| ((*connector).into(), (*source).into())).collect()
        };
        let all = sources(&[("acme", "1"), ("acme", "2"), ("other", "1"), ("other", "2")]);
        let eng = ManagedGroup { sources: all, ..managed(&table(), "eng") };
        let mapping = GroupMapping::Managed { group: "eng".into(), name: "Eng".into() };
        let mut table = GroupTable::new(vec![eng], vec![("1".into(), mapping)]);
        table.let_go(&Pair::new("acme", "jira"), &"1".into());
        assert_eq!(managed(&table, "eng").sources, sources(&[("acme", "2"), ("other", "1"), ("other", "2")]));
    }

    #[test]
    fn a_source_group_that_a_dry_run_assumes_to_be_unmapped_feeds_no_group() {
        let (mut table, pair) = (table(), Pair::new("acme", "jira"));
        table.assume_unmapped(&pair, &group("1", "Eng"), "two paths".to_owned());
        let unmapped = GroupMapping::Unmapped { name: "Eng".into(), why: "two paths".into() };
        assert_eq!(table.mapping(&"1".into()), Some(&unmapped));
        assert_eq!(managed(&table, "eng").sources, []);
        assert_eq!(table.others_feeding(&"9".into(), "Eng", CaseRule::Insensitive).next(), None);
    }

    #[test]
    fn each_source_group_is_listed_once_with_its_newest_mapping() {
        let (mut table, pair) = (table(), Pair::new("acme", "jira"));
        table.assume_unmapped(&pair, &group("1", "Dev"), "two paths".to_owned());
        let sources = table.sources().map(|(source, mapping)| (source.as_str(), mapping.name())).collect::<Vec<_>>();
        assert_eq!(sources, [("1", "Dev"), ("2", "Ops")]);
    }

    #[test]
    fn the_groups_that_the_pair_feeds_and_those_that_usersync_granted_decide_memberships() {
        let eng = managed(&table(), "eng");
        let other = ManagedGroup { id: "other".into(), sources: vec![("other".into(), "7".into())], ..eng.clone() };
        let table = GroupTable::new(vec![eng, other], Vec::new());
        let mut link = Link::new("u".into(), "a".into(), "alice");
        link.given = ["eng".into(), "granted".into()].into();
        for (connector, link, expected) in [
            ("acme", None, &["eng"] as &[&str]),
            ("acme", Some(&link), &["eng", "granted"]),
            ("other", Some(&link), &["eng", "granted", "other"]),
            ("third", None, &[]),
        ] {
            let pair = Pair::new(connector, "jira");
            let deciding = table.deciding(&pair, link);
            assert_eq!(deciding.iter().map(TargetGroupId::as_str).collect::<Vec<_>>(), expected, "{connector}");
        }
        let fed = |connector| {
            let pair = Pair::new(connector, "jira");
            table.fed_by(&pair).map(|group| group.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!((fed("acme"), fed("other"), fed("third")), (vec!["eng".into()], vec!["other".into()], vec![]));
    }

    fn managed(table: &GroupTable, id: &str) -> ManagedGroup {
        table.managed(&id.into()).expect("there").clone()
    }

    #[test]
    fn a_renamed_group_is_missing_and_its_former_group_is_kept() {
        let (table, user) = (table(), in_groups(&[group("1", "Engineering")]));
        let resolved = table.resolve(&user, &GROUP_RULES, false);
        assert!(resolved.wanted.is_empty());
        assert_eq!(resolved.missing, ["1".into()]);
        assert_eq!(resolved.keep.into_iter().collect::<Vec<_>>(), [&"eng".into()]);
    }

    #[test]
    fn a_group_whose_template_fails_keeps_its_members_and_gets_no_more() {
        let failed = |id: &str| {
            let verdict = crate::model::GroupVerdict::Failed("it is odd".to_owned());
            Arc::new(GroupState { verdict, ..GroupState::clone(&group(id, "Other")) })
        };
        let (table, user) = (table(), in_groups(&[failed("1"), failed("2"), failed("3")]));
        let resolved = table.resolve(&user, &GROUP_RULES, false);
        assert!(resolved.wanted.is_empty() && resolved.missing.is_empty());
        assert_eq!(resolved.keep.into_iter().collect::<Vec<_>>(), [&"eng".into()]);
        let unmapped: Vec<_> = resolved.unmapped.iter().map(|(group, why)| (group.id.as_str(), *why)).collect();
        assert_eq!(unmapped, [("2", "it is odd"), ("3", "it is odd")]);
    }
}
