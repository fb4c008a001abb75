//! Which groups a connector syncs, and how they are named in the targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PathPattern;

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

/// The groups that a connector syncs, and their names in the targets. The default is all groups under their own names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupRules {
    /// The groups that are synced; empty: all.
    pub only: Vec<PathPattern>,
    /// Groups that are not synced.
    pub excluded: Vec<PathPattern>,
    /// What names a group.
    pub named_by: NamedBy,
    /// Stands between the names of a path.
    pub separator: String,
    /// Begins each name.
    pub prefix: String,
    /// Ends each name.
    pub suffix: String,
    /// Names of single groups, by path; without prefix and suffix.
    pub names: BTreeMap<String, String>,
    /// Who is a member of a group.
    pub members: Members,
    /// Whether groups that the target lacks are created.
    pub create: bool,
}

impl Default for GroupRules {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            excluded: Vec::new(),
            named_by: NamedBy::Leaf,
            separator: "-".to_owned(),
            prefix: String::new(),
            suffix: String::new(),
            names: BTreeMap::new(),
            members: Members::Direct,
            create: true,
        }
    }
}
