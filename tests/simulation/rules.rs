//! A drawn policy, and what it requires of the target. Stated without the product's own policy code, so that both can be
//! compared.

use std::collections::BTreeSet;

use rand::{RngExt, rngs::SmallRng};
use serde_json::{Value, json};
use usersync::model::{EmptyGroups, GroupId, LeaverAction, Policy, TargetName, UnmanagedMembers};

use crate::world::Person;

/// Name of the constant group.
pub const CONSTANT: &str = "everyone";

/// Beginning of the names that rules which do not apply to the target would give to groups.
pub const WRONG: &str = "wrong-";

/// A policy with a few simple rules.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Rules {
    /// The group that users must be in.
    required: Option<&'static str>,
    /// The group whose members are out of scope.
    excluded: Option<&'static str>,
    /// The group that is not synced.
    unsynced: Option<&'static str>,
    /// The suffix of logins.
    suffix: &'static str,
    /// Whether the display name is the last name alone.
    last_name: bool,
    /// The prefix of group names.
    prefix: &'static str,
    /// Whether the users with these logins get the constant group; `None`: there is none.
    constant: Option<&'static [&'static str]>,
    /// Whether only new accounts get the constant group.
    constant_for_new: bool,
    /// Whether the rules for groups are those of the target, and the connector has others.
    own_groups: bool,
    /// Whether groups of one name become one group.
    pub merged: bool,
    /// Whether the members of sub-groups are members of the groups above them.
    subgroups: bool,
    /// Whether missing groups are created.
    create: bool,
    pub empty: EmptyGroups,
    pub unmanaged: UnmanagedMembers,
    /// The login that is left out.
    excluded_login: Option<&'static str>,
    /// Hours between leaving and the action.
    grace: u8,
    disabled: LeaverAction,
    deleted: LeaverAction,
    out_of_scope: LeaverAction,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            required: None,
            excluded: None,
            unsynced: None,
            suffix: "",
            last_name: false,
            prefix: "",
            constant: None,
            constant_for_new: false,
            own_groups: false,
            merged: false,
            subgroups: false,
            create: true,
            empty: EmptyGroups::Create,
            unmanaged: UnmanagedMembers::Keep,
            excluded_login: None,
            grace: 0,
            disabled: LeaverAction::Deactivate,
            deleted: LeaverAction::Deactivate,
            out_of_scope: LeaverAction::Deactivate,
        }
    }
}

impl Rules {
    /// Draws rules about these groups and logins.
    pub fn draw(rng: &mut SmallRng, groups: &[&'static str], logins: &'static [&'static str]) -> Self {
        let grace = [0, 0, 3][rng.random_range(0..3)];
        let action = |rng: &mut SmallRng| {
            use LeaverAction::{Deactivate, Delete, Nothing, RemoveGroups};
            // A deletion needs a grace period.
            let actions = [Nothing, RemoveGroups, Deactivate, if grace > 0 { Delete } else { Deactivate }];
            actions[rng.random_range(0..actions.len())]
        };
        let mut group = |odds: f64| rng.random_bool(odds).then(|| groups[rng.random_range(0..groups.len())]);
        let (required, excluded, unsynced) = (group(0.4), group(0.3), group(0.3));
        Self {
            required,
            // Nobody could be in scope.
            excluded: excluded.filter(|group| required != Some(group)),
            unsynced,
            suffix: ["", "", ".ext", "-x"][rng.random_range(0..4)],
            last_name: rng.random_bool(0.3),
            prefix: ["", "", "kc-"][rng.random_range(0..3)],
            constant: [None, Some(logins), Some(&logins[..1])][rng.random_range(0..3)],
            constant_for_new: rng.random_bool(0.2),
            own_groups: rng.random_bool(0.3),
            merged: rng.random_bool(0.3),
            subgroups: rng.random_bool(0.4),
            create: rng.random_bool(0.8),
            empty: [EmptyGroups::Create, EmptyGroups::Create, EmptyGroups::Skip, EmptyGroups::Delete]
                [rng.random_range(0..4)],
            unmanaged: [UnmanagedMembers::Keep, UnmanagedMembers::Report, UnmanagedMembers::Remove]
                [rng.random_range(0..3)],
            excluded_login: rng.random_bool(0.2).then(|| logins[rng.random_range(0..logins.len())]),
            grace,
            disabled: action(rng),
            deleted: action(rng),
            out_of_scope: action(rng),
        }
    }

    /// Returns the policy in the form of the configuration.
    pub fn policy(&self, target: &TargetName) -> Value {
        let within = |group: Option<&str>| group.map(pattern).into_iter().collect::<Vec<_>>();
        let mut groups = json!({ "excluded": within(self.unsynced), "prefix": self.prefix });
        let mut account = json!({});
        // The same rules, by templates.
        if self.last_name {
            let prefix = self.prefix;
            groups = json!({ "name": format!("{prefix}{{{{ name }}}}") });
            if let Some(id) = self.unsynced {
                let regex = pattern(id).replace('*', "[^/]+");
                groups["condition"] = format!("{{{{ path is not matching('^{regex}(/|$)') }}}}").into();
            }
            account["display_name"] = "{{ last_name }}".into();
        }
        if !self.suffix.is_empty() {
            account["login"] = format!("{{{{ username }}}}{}", self.suffix).into();
        }
        if let Some(logins) = self.constant {
            let any: Vec<String> = logins.iter().map(|login| format!("username == '{login}'")).collect();
            let condition = format!("{{{{ {} }}}}", any.join(" or "));
            let users = if self.constant_for_new { "new" } else { "all" };
            groups["constant"] = json!([{ "name": CONSTANT, "for": users, "condition": condition }]);
        }
        if self.merged {
            groups["merged"] = json!(["*"]);
        }
        groups["members"] = if self.subgroups { "with_subgroups" } else { "direct" }.into();
        groups["create"] = self.create.into();
        groups["empty"] = json!(self.empty);
        groups["unmanaged_members"] = json!(self.unmanaged);
        let mut policy = json!({
            "scope": {
                "required_groups": within(self.required),
                "excluded_groups": within(self.excluded),
                "excluded_logins": self.excluded_login.into_iter().collect::<Vec<_>>(),
            },
            "groups": groups,
            "leavers": {
                "disabled": self.disabled,
                "deleted": self.deleted,
                "out_of_scope": self.out_of_scope,
                "grace": format!("{}h", self.grace),
            },
            "account": account,
        });
        if self.own_groups {
            policy["targets"] = json!({ target.as_str(): { "groups": policy["groups"] } });
            let constant = json!([{ "name": format!("{WRONG}{CONSTANT}") }]);
            policy["groups"] = json!({ "prefix": WRONG, "members": "with_subgroups", "constant": constant });
        }
        policy
    }

    /// Returns the policy with these settings instead of the defaults.
    pub fn apply_to(&self, base: &Policy, target: &TargetName) -> Policy {
        let drawn: Policy = serde_json::from_value(self.policy(target)).expect("a policy");
        Policy { first_run: base.first_run, adopt: base.adopt, safety: base.safety, ..drawn }
    }

    /// Returns whether a user is in scope.
    pub fn has_in_scope(&self, person: &Person) -> bool {
        let is_in = |group: &str| person.groups.iter().any(|id| is_within(id.as_str(), group));
        let is_named = self.excluded_login.is_none_or(|login| login != person.login);
        is_named && self.required.is_none_or(is_in) && !self.excluded.is_some_and(is_in)
    }

    /// Returns what happens to a user's account; `None`: the user has not left.
    pub fn on_leaving(&self, person: Option<&Person>) -> Option<LeaverAction> {
        let Some(person) = person else { return Some(self.deleted) };
        let disabled = (!person.enabled).then_some(self.disabled);
        let out = (!self.has_in_scope(person)).then_some(self.out_of_scope);
        disabled.max(out)
    }

    /// Returns the login of a user's account.
    pub fn login(&self, person: &Person) -> String {
        format!("{}{}", person.login, self.suffix)
    }

    /// Returns the display name of a user's account.
    pub fn display_name(&self, id: &str) -> String {
        if self.last_name { id.to_owned() } else { format!("Person {id}") }
    }

    /// Returns a group's name in the target; `None`: it is not synced.
    pub fn group(&self, id: &str, name: &str) -> Option<String> {
        let is_left_out = self.unsynced.is_some_and(|unsynced| is_within(id, unsynced));
        (!is_left_out).then(|| format!("{}{name}", self.prefix))
    }

    /// Returns the groups that a user is a member of, whether they are synced or not.
    pub fn groups_of(&self, person: &Person) -> BTreeSet<GroupId> {
        let mut groups = person.groups.clone();
        if self.subgroups {
            groups.extend(person.groups.iter().filter_map(parent));
        }
        groups
    }

    /// Returns whether a group of this many members in scope is created if the target lacks it.
    pub fn creates(&self, members: usize) -> bool {
        self.create && (members > 0 || self.empty == EmptyGroups::Create)
    }

    /// Returns whether the group is adopted that has the name of a group with this many members in scope.
    pub fn adopts(&self, members: usize) -> bool {
        members > 0 || self.empty == EmptyGroups::Create
    }

    /// Returns whether a group keeps its name in the target if no other group has the new one.
    pub fn may_keep_names(&self) -> bool {
        !self.create
    }

    /// Returns whether the constant group has exactly the members that the policy grants it to.
    pub fn decides_constant(&self) -> bool {
        self.constant.is_some() && !self.constant_for_new
    }

    /// Returns whether a user gets the constant group.
    pub fn grants_constant(&self, person: &Person) -> bool {
        self.constant.is_some_and(|logins| logins.contains(&person.login.as_str()))
    }
}

/// Returns the group above a group: `g1` for `g1.a`.
pub fn parent(id: &GroupId) -> Option<GroupId> {
    id.as_str().split_once('.').map(|(parent, _)| parent.into())
}

/// Returns whether a group is another one, or below it.
fn is_within(id: &str, other: &str) -> bool {
    id == other || id.split_once('.').is_some_and(|(parent, _)| parent == other)
}

/// Returns the pattern of a group's path, whatever its name is.
fn pattern(id: &str) -> String {
    id.split_once('.').map_or_else(|| format!("/{id}/*"), |(parent, _)| format!("/{parent}/*/*"))
}
