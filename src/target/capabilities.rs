//! What a target can do.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// Into so many groups an account can be put by one call, [`Target::join_groups`](super::Target::join_groups).
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
