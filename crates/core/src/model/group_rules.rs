//! Which groups a connector syncs, and how they are named in the targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{GroupId, GroupState, GroupTemplate, NamePattern, PathPattern, RoleName, TargetName, Template};

/// The part of a group's path that names it in a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// Its own name: `platform` for `/eng/platform`.
    #[default]
    Leaf,
    /// The whole path, joined by the separator: `eng-platform` for `/eng/platform`.
    Path,
}

/// Who is a member of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Members {
    /// Its direct members.
    #[default]
    Direct,
    /// Also the members of the groups below it, whether these are synced or not.
    WithSubgroups,
}

/// What happens to members of managed groups whose accounts no user is linked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnmanagedMembers {
    /// They stay.
    #[default]
    Keep,
    /// They stay, and each full reconcile reports them.
    Report,
    /// A full reconcile removes them from the group.
    Remove,
}

/// What happens to groups without a member in scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyGroups {
    /// They are created like others, and stay.
    #[default]
    Create,
    /// They are created or adopted once they have a member; groups that exist stay.
    Skip,
    /// The same, and a full reconcile deletes empty groups that usersync created.
    Delete,
}

/// The users that a constant group is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantedTo {
    /// All users in scope.
    #[default]
    All,
    /// Users whose account usersync creates, at its creation. Their memberships stay.
    New,
}

/// A group of the targets that has no source group: the policy grants it to users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantGroup {
    /// Its name in the targets.
    pub name: String,
    /// The users that it is for.
    #[serde(default, rename = "for")]
    pub granted_to: GrantedTo,
    /// Roles of which a member has at least one, directly, by composite roles or by groups; empty: no requirement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleName>,
    /// A template that renders `true` for the users among these that are members, and `false` for the others; `None`:
    /// all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Template>,
}

/// Start of the id that a constant group has among the source groups. Keycloak's ids contain no colon.
const CONSTANT: &str = "constant:";

impl ConstantGroup {
    /// Returns its id among the source groups.
    pub fn id(&self) -> GroupId {
        format!("{CONSTANT}{}", self.name).into()
    }
}

impl GroupId {
    /// Returns whether it is the id of a constant group.
    pub fn is_constant(&self) -> bool {
        self.as_str().starts_with(CONSTANT)
    }
}

/// Settings of some groups, in place of those of all groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupOverride {
    /// The groups that they apply to.
    pub path: PathPattern,
    /// Who is a member of a group; `None`: as for all groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    /// Whether groups that the target lacks are created; `None`: as for all groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
    /// What happens to members whose accounts no user is linked to; `None`: as for all groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmanaged_members: Option<UnmanagedMembers>,
    /// What happens to groups without a member in scope; `None`: as for all groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<EmptyGroups>,
}

impl GroupOverride {
    /// Returns whether it sets anything.
    pub fn sets_something(&self) -> bool {
        self.members.is_some() || self.create.is_some() || self.unmanaged_members.is_some() || self.empty.is_some()
    }
}

/// The groups that a connector syncs, and their names in the targets. The default is all groups under their own names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupRules {
    /// The groups that are synced; empty: all.
    pub only: Vec<PathPattern>,
    /// Groups that are not synced.
    pub excluded: Vec<PathPattern>,
    /// A template that renders `true` for the groups among these that are synced, and `false` for the others; `None`: all
    /// are.
    pub condition: Option<GroupTemplate>,
    /// What names a group.
    pub named_by: NamedBy,
    /// A template that renders the name of a group, in place of `named_by`.
    pub name: Option<GroupTemplate>,
    /// Stands between the names of a path.
    pub separator: String,
    /// Begins each name.
    pub prefix: String,
    /// Ends each name.
    pub suffix: String,
    /// Names of single groups, by path; without prefix and suffix.
    pub names: BTreeMap<String, String>,
    /// Names in a target that several groups may have: they become one group there.
    pub merged: Vec<NamePattern>,
    /// Who is a member of a group.
    pub members: Members,
    /// Whether groups that the target lacks are created.
    pub create: bool,
    /// What happens to members whose accounts no user is linked to.
    pub unmanaged_members: UnmanagedMembers,
    /// What happens to groups without a member in scope.
    pub empty: EmptyGroups,
    /// Settings of some groups. For each setting, the first entry that has it and whose pattern matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<GroupOverride>,
    /// Groups of the targets that the policy grants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constant: Vec<ConstantGroup>,
    /// The target whose own rules these are, as messages name it; `None`: they are those of the connector.
    #[serde(skip)]
    pub own_of: Option<TargetName>,
}

impl GroupRules {
    /// Returns where the policy has one of these settings, such as `groups.only` or `targets.jira.groups.only`.
    pub fn setting(&self, key: &str) -> String {
        match &self.own_of {
            Some(target) => format!("targets.{target}.groups.{key}"),
            None => format!("groups.{key}"),
        }
    }

    /// Returns the group that stands for a constant group among the source groups. Its path begins with no slash, so no
    /// pattern fits.
    pub fn group_of(&self, constant: &ConstantGroup) -> GroupState {
        let path = format!("{} ({})", constant.name, self.setting("constant"));
        GroupState::new(constant.id(), constant.name.clone(), path)
    }

    /// Returns the groups that stand for all constant groups.
    pub fn constant_groups(&self) -> Vec<GroupState> {
        self.constant.iter().map(|constant| self.group_of(constant)).collect()
    }

    /// Returns the constant group with this id.
    pub fn constant(&self, id: &GroupId) -> Option<&ConstantGroup> {
        let name = id.as_str().strip_prefix(CONSTANT)?;
        self.constant.iter().find(|constant| constant.name == name)
    }

    fn own<T>(&self, path: &str, setting: impl Fn(&GroupOverride) -> Option<T>) -> Option<T> {
        self.overrides.iter().filter(|own| own.path.matches(path)).find_map(setting)
    }

    /// Returns who is a member of the group with this path.
    pub fn members_at(&self, path: &str) -> Members {
        self.own(path, |own| own.members).unwrap_or(self.members)
    }

    /// Returns whether the members of sub-groups count for any group.
    pub fn counts_subgroups(&self) -> bool {
        let own = self.overrides.iter().filter_map(|own| own.members);
        own.chain([self.members]).any(|members| members == Members::WithSubgroups)
    }

    /// Returns whether the group with this path is created where a target lacks it.
    pub fn creates_at(&self, path: &str) -> bool {
        self.own(path, |own| own.create).unwrap_or(self.create)
    }

    /// Returns what happens to unmanaged members of the group with this path.
    pub fn unmanaged_members_at(&self, path: &str) -> UnmanagedMembers {
        self.own(path, |own| own.unmanaged_members).unwrap_or(self.unmanaged_members)
    }

    /// Returns what happens to the group with this path while it has no member in scope.
    pub fn empty_at(&self, path: &str) -> EmptyGroups {
        self.own(path, |own| own.empty).unwrap_or(self.empty)
    }

    /// Returns whether it matters for any group whether it has members.
    pub fn handles_empty(&self) -> bool {
        let own = self.overrides.iter().filter_map(|own| own.empty);
        own.chain([self.empty]).any(|setting| setting != EmptyGroups::Create)
    }

    /// Returns the templates that are rendered for groups.
    pub fn templates(&self) -> impl Iterator<Item = &GroupTemplate> {
        self.condition.iter().chain(&self.name)
    }

    /// Returns whether a template uses the attributes of groups.
    pub fn uses_attributes(&self) -> bool {
        self.templates().any(GroupTemplate::uses_attributes)
    }

    /// Returns whether new accounts are granted constant groups.
    pub fn grants_to_new(&self) -> bool {
        self.constant.iter().any(|constant| constant.granted_to == GrantedTo::New)
    }
}

impl Default for GroupRules {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            excluded: Vec::new(),
            condition: None,
            named_by: NamedBy::Leaf,
            name: None,
            separator: "-".to_owned(),
            prefix: String::new(),
            suffix: String::new(),
            names: BTreeMap::new(),
            merged: Vec::new(),
            members: Members::Direct,
            create: true,
            unmanaged_members: UnmanagedMembers::Keep,
            empty: EmptyGroups::Create,
            overrides: Vec::new(),
            constant: Vec::new(),
            own_of: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_new_accounts_are_known() {
        let grants = |json: &str| serde_json::from_str::<GroupRules>(json).unwrap().grants_to_new();
        assert!(grants(r#"{"constant": [{"name": "a"}, {"name": "b", "for": "new"}]}"#));
        assert!(!grants(r#"{"constant": [{"name": "a"}]}"#) && !grants("{}"));
    }

    #[test]
    fn each_setting_of_an_override_counts() {
        let own = |json: &str| serde_json::from_str::<GroupOverride>(json).unwrap();
        assert!(!own(r#"{"path": "/a"}"#).sets_something());
        for json in [
            r#"{"path": "/a", "members": "direct"}"#,
            r#"{"path": "/a", "create": false}"#,
            r#"{"path": "/a", "unmanaged_members": "keep"}"#,
            r#"{"path": "/a", "empty": "skip"}"#,
        ] {
            assert!(own(json).sets_something(), "{json}");
        }
    }

    #[test]
    fn the_setting_of_one_group_goes_before_that_of_all() {
        let json = r#"{"empty": "delete", "overrides": [{"path": "/a", "empty": "skip"}]}"#;
        let rules: GroupRules = serde_json::from_str(json).unwrap();
        assert_eq!((rules.empty_at("/a"), rules.empty_at("/b")), (EmptyGroups::Skip, EmptyGroups::Delete));
    }

    #[test]
    fn every_constant_group_is_found_by_the_id_of_the_group_that_stands_for_it() {
        let json = r#"{"constant": [{"name": "licence"}, {"name": "b", "for": "new"}]}"#;
        let rules: GroupRules = serde_json::from_str(json).unwrap();
        let groups = rules.constant_groups();
        let found = groups.iter().filter_map(|group| rules.constant(&group.id)).map(|constant| constant.name.as_str());
        assert_eq!(found.collect::<Vec<_>>(), ["licence", "b"]);
    }

    #[test]
    fn empty_groups_matter_if_the_setting_of_any_group_says_so() {
        let rules = |json: &str| serde_json::from_str::<GroupRules>(json).unwrap();
        for (json, handles_empty) in [
            ("{}", false),
            (r#"{"overrides": [{"path": "/a", "empty": "create"}]}"#, false),
            (r#"{"overrides": [{"path": "/a", "empty": "skip"}]}"#, true),
            (r#"{"empty": "delete"}"#, true),
        ] {
            assert_eq!(rules(json).handles_empty(), handles_empty, "{json}");
        }
    }
}
