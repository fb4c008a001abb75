//! The capabilities of a target.

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
    /// Case-insensitive, stored in lower case.
    Lower,
    /// Case-insensitive and case-preserving.
    Insensitive,
    /// Case-sensitive.
    Sensitive,
}

impl CaseRule {
    /// Returns the form in which two names are compared.
    pub fn fold(self, name: &str) -> String {
        match self {
            Self::Lower | Self::Insensitive => name.to_lowercase(),
            Self::Sensitive => name.to_owned(),
        }
    }

    /// Returns whether two names are the same.
    pub fn same(self, one: &str, other: &str) -> bool {
        self.fold(one) == self.fold(other)
    }

    /// Returns the form in which a name is written.
    pub fn written(self, name: &str) -> String {
        match self {
            Self::Lower => name.to_lowercase(),
            Self::Insensitive | Self::Sensitive => name.to_owned(),
        }
    }
}

/// How a target prevents an account from signing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deactivation {
    /// Unsupported.
    Never,
    /// By a switch of the account.
    Switch,
    /// By revoking everything that allows an account to sign in, see
    /// [`Account::access`](crate::model::Account::access); an account without any counts as inactive.
    Access,
}

/// The capabilities of a target: probed once, shown by `usersync check`, and respected by the planner.
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
    /// The personal data of an account can be removed.
    #[serde(default)]
    pub anonymize: bool,
    /// A group's name can be changed.
    pub rename_group: bool,
    /// Maximum number of groups to which one call adds an account, by `Target::add_to_groups`.
    #[serde(default = "one")]
    pub groups_at_once: usize,
    /// An account stores the source's id of its user.
    #[serde(default)]
    pub keeps_external_id: bool,
    /// An account can have further attributes, which the policy renders from templates.
    #[serde(default)]
    pub attributes: bool,
    /// An account requires an e-mail address.
    pub email_required: bool,
    /// E-mail addresses can be read back.
    pub reads_email: bool,
    /// Accounts can be searched by e-mail address, by `Target::accounts_with`.
    #[serde(default)]
    pub finds_by_email: bool,
    /// Accounts can be searched by an attribute, by `Target::accounts_with`.
    #[serde(default)]
    pub finds_by_attribute: bool,
    /// The case rule of logins.
    pub login_case: CaseRule,
    /// The case rule of group names.
    pub group_case: CaseRule,
    /// Maximum length of a login, in characters.
    pub login_max: usize,
    /// Characters that are not allowed in logins.
    pub login_forbids: Vec<char>,
    /// Maximum length of a group name, in characters.
    pub group_max: usize,
    /// Characters that are not allowed in group names.
    pub group_forbids: Vec<char>,
    /// Groups that give access to the product, each with the kind of access. Members that usersync did not add are not
    /// removed from them.
    #[serde(default)]
    pub access_groups: BTreeMap<TargetGroupId, String>,
    /// Groups that are never changed, nor their members.
    #[serde(default)]
    pub protected_groups: ProtectedGroups,
}

/// Groups that are never changed, nor their members, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProtectedGroups {
    /// By name in lower case, whether or not the target has such a group.
    pub by_name: BTreeMap<String, String>,
    /// By stable id, where that is not derived from the name.
    pub by_id: BTreeMap<TargetGroupId, String>,
    /// Those names that an operator excluded: it is not a problem that nothing is done about them.
    pub left_alone: BTreeSet<String>,
}

impl ProtectedGroups {
    /// Returns why a group is never changed, by its name.
    pub fn why_named(&self, name: &str) -> Option<&str> {
        self.by_name.get(&name.trim().to_lowercase()).map(String::as_str)
    }

    /// Returns whether an operator excluded this group.
    pub fn is_left_alone(&self, name: &str) -> bool {
        self.left_alone.contains(&name.trim().to_lowercase())
    }

    /// Returns why a group is never changed, by its id or its name.
    pub fn why(&self, id: &TargetGroupId, name: &str) -> Option<&str> {
        self.by_id.get(id).map(String::as_str).or_else(|| self.why_named(name))
    }
}

/// Default for a capability that was stored before any target lacked it.
fn yes() -> bool {
    true
}

/// Default of `groups_at_once` for capabilities that were stored without it.
fn one() -> usize {
    1
}

/// Maximum length of logins and group names where a vendor states none: the products' column width.
const USUAL_LENGTH: usize = 255;

impl Capabilities {
    /// Returns what a usual target can do, from which each states its differences: names are compared without case,
    /// accounts have a switch and may be deleted and renamed, groups are not renamed, and each call changes one
    /// membership.
    pub fn base() -> Self {
        Self {
            list_all: true,
            update: true,
            rename: true,
            deactivate: Deactivation::Switch,
            delete: true,
            anonymize: false,
            rename_group: false,
            groups_at_once: 1,
            keeps_external_id: false,
            attributes: false,
            email_required: false,
            reads_email: true,
            finds_by_email: false,
            finds_by_attribute: false,
            login_case: CaseRule::Insensitive,
            group_case: CaseRule::Insensitive,
            login_max: USUAL_LENGTH,
            login_forbids: Vec::new(),
            group_max: USUAL_LENGTH,
            group_forbids: Vec::new(),
            access_groups: BTreeMap::new(),
            protected_groups: ProtectedGroups::default(),
        }
    }

    /// Returns all capabilities as table rows: the name, and the target's value.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let yes = |can: bool| if can { "yes" } else { "no" }.to_owned();
        vec![
            ("list all accounts", yes(self.list_all)),
            ("change names and addresses", yes(self.update)),
            ("change logins", yes(self.rename)),
            ("deactivate", self.deactivate.to_string()),
            ("delete", yes(self.delete)),
            ("anonymize", yes(self.anonymize)),
            ("rename groups", yes(self.rename_group)),
            ("groups per call", self.groups_at_once.to_string()),
            ("stores the Keycloak id", yes(self.keeps_external_id)),
            ("further attributes", yes(self.attributes)),
            ("e-mail address required", yes(self.email_required)),
            ("e-mail address readable", yes(self.reads_email)),
            ("search by e-mail address", yes(self.finds_by_email)),
            ("search by attribute", yes(self.finds_by_attribute)),
            ("case of logins", self.login_case.to_string()),
            ("maximum login length", self.login_max.to_string()),
            ("forbidden in logins", characters(&self.login_forbids)),
            ("case of group names", self.group_case.to_string()),
            ("maximum group name length", self.group_max.to_string()),
            ("forbidden in group names", characters(&self.group_forbids)),
        ]
    }
}

impl fmt::Display for CaseRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lower => "lower-case",
            Self::Insensitive => "case-preserving",
            Self::Sensitive => "case-sensitive",
        })
    }
}

impl fmt::Display for Deactivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "no",
            Self::Switch => "yes",
            Self::Access => "by revoking access",
        })
    }
}

/// Returns the characters side by side, with all white space as one word.
fn characters(all: &[char]) -> String {
    let mut reported: Vec<String> = Vec::new();
    for c in all {
        let word = if c.is_whitespace() { "space".to_owned() } else { c.to_string() };
        if !reported.contains(&word) {
            reported.push(word);
        }
    }
    if reported.is_empty() { "-".to_owned() } else { reported.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_and_written_by_the_case_rule() {
        for (rule, folded, written) in [
            (CaseRule::Lower, "ädå love", "ädå love"),
            (CaseRule::Insensitive, "ädå love", "ÄDå Love"),
            (CaseRule::Sensitive, "ÄDå Love", "ÄDå Love"),
        ] {
            assert_eq!((rule.fold("ÄDå Love"), rule.written("ÄDå Love")), (folded.into(), written.into()), "{rule}");
        }
    }

    #[test]
    fn two_names_are_the_same_by_the_case_rule() {
        for (rule, other_case) in [(CaseRule::Lower, true), (CaseRule::Insensitive, true), (CaseRule::Sensitive, false)]
        {
            assert!(rule.same("Ada", "Ada"), "{rule}");
            assert_eq!((rule.same("Ada", "aDA"), rule.same("aDA", "Ada")), (other_case, other_case), "{rule}");
            assert!(!rule.same("Ada", "Ada "), "{rule}");
        }
    }

    #[test]
    fn a_protected_group_is_found_by_name_in_every_case_and_by_id() {
        let text =
            |all: &[(&str, &str)]| all.iter().map(|(name, why)| ((*name).to_owned(), (*why).to_owned())).collect();
        let groups = ProtectedGroups {
            by_name: text(&[("jira-administrators", "administrators"), ("both", "by name")]),
            by_id: [("g1".into(), "default group".to_owned())].into(),
            left_alone: ["site-admins".to_owned()].into(),
        };
        for (name, why, left_alone) in [
            ("jira-administrators", Some("administrators"), false),
            (" Jira-Administrators\t", Some("administrators"), false),
            (" Site-Admins ", None, true),
            ("site-admins", None, true),
            ("engineers", None, false),
        ] {
            assert_eq!((groups.why_named(name), groups.is_left_alone(name)), (why, left_alone), "{name}");
            assert_eq!(groups.why(&"g2".into(), name), why, "{name}");
        }
        assert_eq!(groups.why(&"g1".into(), "engineers"), Some("default group"));
        assert_eq!(groups.why(&"g1".into(), "both"), Some("default group"));
    }

    #[test]
    fn capabilities_that_were_stored_earlier_are_read_with_defaults() {
        let mut stored = serde_json::to_value(Capabilities::base()).unwrap();
        for added in [
            "update",
            "anonymize",
            "groups_at_once",
            "keeps_external_id",
            "attributes",
            "finds_by_email",
            "finds_by_attribute",
            "access_groups",
            "protected_groups",
        ] {
            assert!(stored.as_object_mut().unwrap().remove(added).is_some(), "{added}");
        }
        let read: Capabilities = serde_json::from_value(stored).unwrap();
        assert!(read.update);
        assert_eq!(read.groups_at_once, 1);
        assert_eq!(read, Capabilities::base());
    }

    #[test]
    fn all_capabilities_are_shown_in_a_table() {
        let usual = [
            ("list all accounts", "yes"),
            ("change names and addresses", "yes"),
            ("change logins", "yes"),
            ("deactivate", "yes"),
            ("delete", "yes"),
            ("anonymize", "no"),
            ("rename groups", "no"),
            ("groups per call", "1"),
            ("stores the Keycloak id", "no"),
            ("further attributes", "no"),
            ("e-mail address required", "no"),
            ("e-mail address readable", "yes"),
            ("search by e-mail address", "no"),
            ("search by attribute", "no"),
            ("case of logins", "case-preserving"),
            ("maximum login length", "255"),
            ("forbidden in logins", "-"),
            ("case of group names", "case-preserving"),
            ("maximum group name length", "255"),
            ("forbidden in group names", "-"),
        ];
        assert_eq!(Capabilities::base().rows(), usual.map(|(name, value)| (name, value.to_owned())));

        let other = Capabilities {
            list_all: false,
            update: false,
            rename: false,
            deactivate: Deactivation::Access,
            delete: false,
            rename_group: true,
            groups_at_once: 20,
            keeps_external_id: true,
            attributes: true,
            email_required: true,
            reads_email: false,
            finds_by_email: true,
            finds_by_attribute: true,
            login_case: CaseRule::Lower,
            group_case: CaseRule::Sensitive,
            login_max: 60,
            login_forbids: vec![' ', '<', '\t', '>', '<'],
            group_max: 80,
            group_forbids: vec!['/'],
            ..Capabilities::base()
        };
        let values: Vec<_> = other.rows().into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            values,
            [
                "no",
                "no",
                "no",
                "by revoking access",
                "no",
                "no",
                "yes",
                "20",
                "yes",
                "yes",
                "yes",
                "no",
                "yes",
                "yes",
                "lower-case",
                "60",
                "space < >",
                "case-sensitive",
                "80",
                "/"
            ]
        );
    }

    #[test]
    fn the_way_of_deactivation_has_a_word() {
        let words = [Deactivation::Never, Deactivation::Switch, Deactivation::Access].map(|way| way.to_string());
        assert_eq!(words, ["no", "yes", "by revoking access"]);
    }
}
