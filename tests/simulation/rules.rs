//! A drawn policy, and what it requires of the target. Stated without the product's own policy code, so that both can be
//! compared.

use rand::{RngExt, rngs::SmallRng};
use serde_json::{Value, json};
use usersync::model::{LeaverAction, Policy};

use crate::world::Person;

/// Name of the constant group.
pub const CONSTANT: &str = "everyone";

/// A policy with a few simple rules.
#[derive(Clone, Debug)]
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
            disabled: LeaverAction::Deactivate,
            deleted: LeaverAction::Deactivate,
            out_of_scope: LeaverAction::Deactivate,
        }
    }
}

impl Rules {
    /// Draws rules about these groups and logins.
    pub fn draw(rng: &mut SmallRng, groups: &[&'static str], logins: &'static [&'static str]) -> Self {
        let action = |rng: &mut SmallRng| {
            let actions = [LeaverAction::Nothing, LeaverAction::RemoveGroups, LeaverAction::Deactivate];
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
            disabled: action(rng),
            deleted: action(rng),
            out_of_scope: action(rng),
        }
    }

    /// Returns the policy in the form of the configuration.
    pub fn policy(&self) -> Value {
        let within = |group: Option<&str>| group.iter().map(|id| format!("/{id}/*")).collect::<Vec<_>>();
        let mut policy = json!({
            "scope": { "required_groups": within(self.required), "excluded_groups": within(self.excluded) },
            "groups": { "excluded": within(self.unsynced), "prefix": self.prefix },
            "leavers": { "disabled": self.disabled, "deleted": self.deleted, "out_of_scope": self.out_of_scope },
            "account": {},
        });
        // The same rules, by templates.
        if self.last_name {
            let prefix = self.prefix;
            policy["groups"] = json!({ "name": format!("{prefix}{{{{ name }}}}") });
            if let Some(id) = self.unsynced {
                policy["groups"]["condition"] = format!("{{{{ path is not matching('^/{id}/') }}}}").into();
            }
        }
        if !self.suffix.is_empty() {
            policy["account"]["login"] = format!("{{{{ username }}}}{}", self.suffix).into();
        }
        if self.last_name {
            policy["account"]["display_name"] = "{{ last_name }}".into();
        }
        if let Some(logins) = self.constant {
            let any: Vec<String> = logins.iter().map(|login| format!("username == '{login}'")).collect();
            let condition = format!("{{{{ {} }}}}", any.join(" or "));
            policy["groups"]["constant"] = json!([{ "name": CONSTANT, "condition": condition }]);
        }
        policy
    }

    /// Returns the policy with these settings instead of the defaults.
    pub fn apply_to(&self, base: &Policy) -> Policy {
        let drawn: Policy = serde_json::from_value(self.policy()).expect("a policy");
        Policy { first_run: base.first_run, adopt: base.adopt, safety: base.safety, ..drawn }
    }

    /// Returns whether a user is in scope.
    pub fn has_in_scope(&self, person: &Person) -> bool {
        let is_in = |group: &str| person.groups.iter().any(|id| id.as_str() == group);
        self.required.is_none_or(is_in) && !self.excluded.is_some_and(is_in)
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
        (self.unsynced != Some(id)).then(|| format!("{}{name}", self.prefix))
    }

    /// Returns whether there is a constant group.
    pub fn has_constant(&self) -> bool {
        self.constant.is_some()
    }

    /// Returns whether a user gets the constant group.
    pub fn grants_constant(&self, person: &Person) -> bool {
        self.constant.is_some_and(|logins| logins.contains(&person.login.as_str()))
    }
}
