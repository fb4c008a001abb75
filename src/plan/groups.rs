//! Which target group a source group feeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{GroupId, GroupMapping, GroupState, IdMap, ManagedGroup, Pair, TargetGroupId};

/// What is known of the groups of one connector on one target.
#[derive(Clone, Debug, Default)]
pub struct GroupTable {
    mappings: Vec<(GroupId, GroupMapping)>,
    /// Where in `mappings` each is: each user's groups are looked up.
    places: IdMap<GroupId, usize>,
    managed: BTreeMap<TargetGroupId, ManagedGroup>,
}

/// A user's source groups as target groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The target groups that the user should be in.
    pub wanted: BTreeSet<&'a TargetGroupId>,
    /// Source groups that have no target group yet, or another name by now: their tasks go first.
    pub missing: Vec<&'a GroupId>,
    /// Target groups of those by their former name: nobody leaves them before the new ones are there.
    pub keep: BTreeSet<&'a TargetGroupId>,
    /// Source groups that feed none, with the reason.
    pub unmapped: Vec<(&'a GroupState, &'a str)>,
}

impl GroupTable {
    /// The table of `pair`, from the target's managed groups and the pair's mappings.
    pub fn new(managed: Vec<ManagedGroup>, mappings: Vec<(GroupId, GroupMapping)>) -> Self {
        Self {
            places: mappings.iter().enumerate().map(|(place, (group, _))| (group.clone(), place)).collect(),
            mappings,
            managed: managed.into_iter().map(|group| (group.id.clone(), group)).collect(),
        }
    }

    /// What became of a source group.
    pub fn mapping(&self, group: &GroupId) -> Option<&GroupMapping> {
        self.places.get(group).map(|place| &self.mappings[*place].1)
    }

    /// All source groups that are known here.
    pub fn sources(&self) -> impl Iterator<Item = (&GroupId, &GroupMapping)> {
        self.mappings.iter().map(|(group, mapping)| (group, mapping))
    }

    /// A managed group of the target.
    pub fn managed(&self, group: &TargetGroupId) -> Option<&ManagedGroup> {
        self.managed.get(group)
    }

    /// The managed groups that this pair's connector feeds.
    pub fn fed_by<'a>(&'a self, pair: &'a Pair) -> impl Iterator<Item = &'a ManagedGroup> {
        self.managed.values().filter(|group| group.fed_by(pair))
    }

    /// All managed groups of the target, whoever feeds them.
    pub fn all_managed(&self) -> impl Iterator<Item = &ManagedGroup> {
        self.managed.values()
    }

    /// Notes that a source group feeds a target group from now on; for a dry run, which models what it would make.
    pub fn assume(&mut self, pair: &Pair, source: &GroupState, group: ManagedGroup) {
        let id = group.id.clone();
        let entry = self.managed.entry(id.clone()).or_insert(group);
        entry.sources.push((pair.connector.clone(), source.id.clone()));
        self.map(source, GroupMapping::Managed { group: id, name: source.name.clone() });
    }

    /// Notes that a source group feeds none; for a dry run.
    pub fn assume_unmapped(&mut self, source: &GroupState, why: String) {
        self.map(source, GroupMapping::Unmapped { name: source.name.clone(), why });
    }

    fn map(&mut self, source: &GroupState, mapping: GroupMapping) {
        if let Some(place) = self.places.get(&source.id) {
            self.mappings[*place].1 = mapping;
        } else {
            self.places.insert(source.id.clone(), self.mappings.len());
            self.mappings.push((source.id.clone(), mapping));
        }
    }

    /// The target groups of a user's source groups.
    pub fn resolve<'a>(&'a self, groups: &'a [Arc<GroupState>]) -> Resolved<'a> {
        let mut resolved = Resolved::default();
        for group in groups {
            match self.mapping(&group.id) {
                Some(mapping) if mapping.name() != group.name => {
                    resolved.missing.push(&group.id);
                    if let GroupMapping::Managed { group, .. } = mapping {
                        resolved.keep.insert(group);
                    }
                }
                Some(GroupMapping::Managed { group: id, .. }) => {
                    resolved.wanted.insert(id);
                }
                Some(GroupMapping::Unmapped { why, .. }) => resolved.unmapped.push((group, why)),
                None => resolved.missing.push(&group.id),
            }
        }
        resolved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str, name: &str) -> Arc<GroupState> {
        Arc::new(GroupState { id: id.into(), name: name.into(), path: format!("/{name}") })
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
        let (table, groups) = (table(), [group("1", "Eng"), group("2", "Ops"), group("3", "New")]);
        let resolved = table.resolve(&groups);
        assert_eq!(resolved.wanted.into_iter().collect::<Vec<_>>(), [&"eng".into()]);
        assert_eq!(resolved.missing, [&"3".into()]);
        assert_eq!(resolved.unmapped.len(), 1);
        assert!(resolved.keep.is_empty());
    }

    #[test]
    fn a_renamed_group_is_missing_and_its_former_group_is_kept() {
        let (table, groups) = (table(), [group("1", "Engineering")]);
        let resolved = table.resolve(&groups);
        assert!(resolved.wanted.is_empty());
        assert_eq!(resolved.missing, [&"1".into()]);
        assert_eq!(resolved.keep.into_iter().collect::<Vec<_>>(), [&"eng".into()]);
    }
}
