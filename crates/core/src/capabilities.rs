//! What a target can do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::model::TargetGroupId;

/// How a target treats the case of logins and group names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseRule {
    /// Compared without regard to case, kept in lower case.
    Lower,
    /// Compared without regard to case, kept as given.
    Insensitive,
    /// Compared as given.
    Sensitive,
}

impl CaseRule {
    /// The form in which two names are compared.
    pub fn fold(self, name: &str) -> String {
        match self {
            Self::Lower | Self::Insensitive => name.to_lowercase(),
            Self::Sensitive => name.to_owned(),
        }
    }

    /// Whether two names are the same.
    pub fn same(self, one: &str, other: &str) -> bool {
        self.fold(one) == self.fold(other)
    }

    /// The form in which a name is written.
    pub fn written(self, name: &str) -> String {
        match self {
            Self::Lower => name.to_lowercase(),
            Self::Insensitive | Self::Sensitive => name.to_owned(),
        }
    }
}

/// How a target keeps an account from signing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deactivation {
    /// Not at all.
    Never,
    /// An account has a switch for it.
    Switch,
    /// By taking away all that lets an account sign in ([`Account::access`]); an account without any counts as inactive.
    Access,
}

/// What a target can do; probed once, shown by `usersync check`, obeyed by the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "a table of yes and no")]
pub struct Capabilities {
    /// All accounts can be listed, inactive ones included.
    pub list_all: bool,
    /// Display names and e-mail addresses can be changed.
    #[serde(default = "yes")]
    pub update: bool,
    /// A login can be changed.
    pub rename: bool,
    /// How an account is deactivated and activated.
    pub deactivate: Deactivation,
    /// An account can be deleted.
    pub delete: bool,
    /// A group's name can be changed.
    pub rename_group: bool,
    /// Into so many groups an account can be put by one call, [`Target::add_to_groups`](super::Target::join_groups).
    #[serde(default = "one")]
    pub groups_at_once: usize,
    /// An account keeps the id that the source has for it.
    #[serde(default)]
    pub keeps_external_id: bool,
    /// An account can have further attributes, which the policy makes by templates.
    #[serde(default)]
    pub attributes: bool,
    /// An account needs an e-mail address.
    pub email_required: bool,
    /// E-mail addresses can be read back.
    pub reads_email: bool,
    /// The case rule of logins.
    pub login_case: CaseRule,
    /// The case rule of group names.
    pub group_case: CaseRule,
    /// The longest login, in characters.
    pub login_max: usize,
    /// Characters that logins cannot have.
    pub login_forbids: Vec<char>,
    /// The longest group name, in characters.
    pub group_max: usize,
    /// Characters that group names cannot have.
    pub group_forbids: Vec<char>,
    /// Groups that give access to the product, each with how: nobody is removed from them whom usersync did not add.
    #[serde(default)]
    pub access_groups: BTreeMap<TargetGroupId, String>,
    /// Groups that are never changed, nor who is in them.
    #[serde(default)]
    pub protected_groups: ProtectedGroups,
}

/// Groups that are never changed, nor who is in them, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProtectedGroups {
    /// By name in lower case, whether the target has such a group or not.
    pub by_name: BTreeMap<String, String>,
    /// By stable id, where that is not made of the name.
    pub by_id: BTreeMap<TargetGroupId, String>,
    /// Of the names, those that an operator wants to be left alone: that nothing is done about them is no problem.
    pub left_alone: BTreeSet<String>,
}

impl ProtectedGroups {
    /// Why a group is never changed, by its name.
    pub fn why_named(&self, name: &str) -> Option<&str> {
        self.by_name.get(&name.trim().to_lowercase()).map(String::as_str)
    }

    /// Whether an operator wants this group to be left alone.
    pub fn is_left_alone(&self, name: &str) -> bool {
        self.left_alone.contains(&name.trim().to_lowercase())
    }

    /// Why a group is never changed, by its id or its name.
    pub fn why(&self, id: &TargetGroupId, name: &str) -> Option<&str> {
        self.by_id.get(id).map(String::as_str).or_else(|| self.why_named(name))
    }
}

/// What was kept before there was a target that could not.
fn yes() -> bool {
    true
}

/// The same.
fn one() -> usize {
    1
}

impl Capabilities {
    /// All of them as lines of a table: what it is, and how it stands here.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let yes = |can: bool| if can { "yes" } else { "no" }.to_owned();
        vec![
            ("list all accounts", yes(self.list_all)),
            ("change names and addresses", yes(self.update)),
            ("change logins", yes(self.rename)),
            ("deactivate", self.deactivate.to_string()),
            ("delete", yes(self.delete)),
            ("rename groups", yes(self.rename_group)),
            ("groups joined by one call", self.groups_at_once.to_string()),
            ("keeps the id in Keycloak", yes(self.keeps_external_id)),
            ("further attributes", yes(self.attributes)),
            ("e-mail address needed", yes(self.email_required)),
            ("e-mail address told", yes(self.reads_email)),
            ("case of logins", self.login_case.to_string()),
            ("longest login", self.login_max.to_string()),
            ("not in logins", characters(&self.login_forbids)),
            ("case of group names", self.group_case.to_string()),
            ("longest group name", self.group_max.to_string()),
            ("not in group names", characters(&self.group_forbids)),
        ]
    }
}

impl fmt::Display for CaseRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lower => "lower",
            Self::Insensitive => "any",
            Self::Sensitive => "matters",
        })
    }
}

impl fmt::Display for Deactivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "no",
            Self::Switch => "yes",
            Self::Access => "takes access",
        })
    }
}

/// Characters side by side, all white space as one word.
fn characters(all: &[char]) -> String {
    let mut told: Vec<String> = Vec::new();
    for c in all {
        let word = if c.is_whitespace() { "space".to_owned() } else { c.to_string() };
        if !told.contains(&word) {
            told.push(word);
        }
    }
    if told.is_empty() { "-".to_owned() } else { told.join(" ") }
}
