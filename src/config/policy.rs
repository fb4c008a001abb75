//! Reads `[connector.policy]`.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Spanned, de::DeValue};

use super::{
    problem::Place,
    reader::Table,
    typed::typed,
    values::{Wrong, kind_of, quoted},
};
use crate::model::{AccountTemplates, AttributeRule, Empty, GroupRules, LeaverAction, NamePattern, NamedBy, Policy};

/// The tables of a policy.
const TABLES: [&str; 6] = ["scope", "groups", "account", "matching", "leavers", "safety"];
/// The tables of a policy for a single target.
const OWN_TABLES: [&str; 3] = ["groups", "account", "matching"];

pub(super) fn policy(connector: &Table<'_>) -> Option<Policy> {
    let lists = lists_for_tables(connector);
    if !lists.is_empty() {
        for (key, place, wrong) in lists {
            connector.wrong(&key, place, wrong);
        }
        return None;
    }
    let (policy, mut fine): (Policy, _) =
        typed(connector, "policy", "write [connector.policy] below its [[connector]]")?;
    let limits = [("percent", policy.safety.percent), ("remove_members_percent", policy.safety.remove_members_percent)];
    for (key, percent) in limits {
        if !(0.0..=50.0).contains(&percent) {
            let wrong = Wrong::new(format!("{percent} is not 0 to 50"))
                .help("no limit allows more than half; operations above a limit need an approval");
            let place = at(connector, &["safety", key]);
            let place = place.map_or_else(|| connector.place_of("policy"), |(_, value)| Place::Span(value.span()));
            connector.wrong(&format!("policy.safety.{key}"), place, wrong);
            fine = false;
        }
    }
    let general = (vec!["account"], &policy.account);
    let own = policy.targets.iter().map(|(name, own)| (vec!["targets", name.as_str(), "account"], &own.account));
    for (path, templates) in std::iter::once(general).chain(own) {
        for key in clearing(templates) {
            let path: Vec<&str> = path.iter().copied().chain([key]).collect();
            let wrong = Wrong::new("empty = \"clear\" is only for further attributes")
                .help("leave it out; an empty value never clears a login, a display name or an e-mail address");
            connector.wrong(&format!("policy.{}", path.join(".")), place_in_policy(connector, &path), wrong);
            fine = false;
        }
    }
    let mut mistakes =
        name_pattern_mistakes(connector, &["leavers", "kept_groups"], &policy.leavers.kept_groups, "alumni-*");
    if is_text(policy.scope.condition.as_ref()) {
        let place = value_at(connector, &["scope", "condition"]);
        mistakes.push(("policy.scope.condition".to_owned(), place, no_condition()));
    }
    mistakes.extend(group_mistakes(connector, &["groups"], &policy.groups));
    for (name, own) in &policy.targets {
        let path = ["targets", name.as_str(), "groups"];
        let Some(rules) = &own.groups else { continue };
        mistakes.extend(group_mistakes(connector, &path, rules));
    }
    for (key, place, wrong) in mistakes {
        connector.wrong(&key, place, wrong);
        fine = false;
    }
    let leavers = &policy.leavers;
    if leavers.grace.is_negative() {
        let place = place_in_policy(connector, &["leavers", "grace"]);
        connector.wrong("policy.leavers.grace", place, Wrong::new("a grace period cannot be negative"));
        fine = false;
    }
    let actions = [leavers.disabled, leavers.deleted, leavers.out_of_scope];
    if let Some(action) = actions.into_iter().filter(|action| leavers.grace.is_zero() && action.ends_account()).max() {
        let done = if action == LeaverAction::Anonymize { "anonymized" } else { "deleted" };
        let wrong = Wrong::new(format!("accounts are {done} only after a grace period"));
        let place = place_in_policy(connector, &["leavers"]);
        connector.wrong("policy.leavers", place, wrong.help("add grace = \"30d\" to [connector.policy.leavers]"));
        fine = false;
    }
    if !leavers.kept_groups.is_empty() && !actions.contains(&LeaverAction::RemoveGroups) {
        let place = place_in_policy(connector, &["leavers", "kept_groups"]);
        let help =
            "set disabled, deleted or out_of_scope to \"remove_groups\"; the other actions remove nobody from a group";
        connector.reader.warn(place, "policy.leavers.kept_groups is not used", Some(help.to_owned()));
    }
    fine.then_some(policy)
}

/// Returns the keys whose rules clear a value that every account has.
fn clearing(templates: &AccountTemplates) -> Vec<&'static str> {
    let AccountTemplates { login, display_name, email } = templates;
    let rules = [("login", login), ("display_name", display_name), ("email", email)];
    let clears = |rule: &Option<AttributeRule>| rule.as_ref().is_some_and(|rule| rule.empty == Empty::Clear);
    rules.into_iter().filter(|(_, rule)| clears(rule)).map(|(key, _)| key).collect()
}

/// A mistake, with its key and its place.
type Mistake = (String, Place, Wrong);

/// Returns the lists in place of tables, which serde would read by position.
fn lists_for_tables(connector: &Table<'_>) -> Vec<Mistake> {
    let Some(DeValue::Table(policy)) = connector.raw("policy").map(Spanned::get_ref) else { return Vec::new() };
    let mut tables: Vec<(Vec<&str>, &Spanned<DeValue<'_>>)> = Vec::new();
    for (key, value) in policy {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("targets", DeValue::Table(targets)) => {
                for (target, value) in targets {
                    let path = vec!["targets", target.get_ref().as_ref()];
                    if let DeValue::Table(own) = value.get_ref() {
                        let own = own.iter().filter(|(key, _)| OWN_TABLES.contains(&key.get_ref().as_ref()));
                        tables.extend(own.map(|(key, value)| ([&path[..], &[key.get_ref().as_ref()]].concat(), value)));
                    }
                    tables.push((path, value));
                }
            }
            (key, _) if TABLES.contains(&key) => tables.push((vec![key], value)),
            _ => {}
        }
    }
    let lists = tables.into_iter().filter(|(_, value)| matches!(value.get_ref(), DeValue::Array(_)));
    let mistake = |(path, value): (Vec<&str>, &Spanned<DeValue<'_>>)| {
        let wrong = Wrong::new(format!("this is {}, but a table is expected", kind_of(value.get_ref())));
        let wrong = wrong.help(format!("write [connector.{}] and its keys below it", named(&path)));
        (named(&path), Place::Span(value.span()), wrong)
    };
    lists.map(mistake).collect()
}

/// Returns the mistakes in the rules for groups at this path of the policy.
fn group_mistakes(connector: &Table<'_>, path: &[&str], rules: &GroupRules) -> Vec<Mistake> {
    let at = |key| [path, &[key]].concat();
    let mut mistakes = template_mistakes(connector, path, rules);
    mistakes.extend(name_pattern_mistakes(connector, &at("merged"), &rules.merged, "admins"));
    for (index, own) in rules.overrides.iter().enumerate().filter(|(_, own)| !own.sets_something()) {
        let wrong = Wrong::new(format!("the entry for {} sets nothing", own.path))
            .help("add members, create, unmanaged_members or empty, or remove the entry");
        let place = place_in_list(connector, &at("overrides"), index, Some("path"));
        mistakes.push((named(&at("overrides")), place, wrong));
    }
    let names = name_mistakes(rules).into_iter();
    mistakes.extend(names.map(|(key, wrong)| (named(&at(key)), place_in_policy(connector, &at(key)), wrong)));
    mistakes
}

/// Returns the key at this path of the policy, as messages name it.
fn named(path: &[&str]) -> String {
    format!("policy.{}", path.join("."))
}

/// Returns the mistakes in the names of groups, each with its key.
fn name_mistakes(rules: &GroupRules) -> Vec<(&'static str, Wrong)> {
    let mut mistakes = Vec::new();
    if rules.named_by == NamedBy::Path && rules.separator.is_empty() {
        let wrong = Wrong::new("an empty separator would give different paths the same name");
        mistakes.push(("separator", wrong.help("write a text such as \"-\"")));
    }
    if rules.named_by == NamedBy::Path && rules.name.is_some() {
        let wrong = Wrong::new("`name` and `named_by` cannot both name the groups");
        mistakes.push(("named_by", wrong.help("remove one of them; in `name`, the path is {{ names | join('-') }}")));
    }
    let mut given: BTreeMap<String, &String> = BTreeMap::new();
    for (path, name) in &rules.names {
        if !path.starts_with('/') {
            let wrong = Wrong::new(format!("{} is not a group's path", quoted(path)));
            mistakes.push(("names", wrong.help("write it as \"/eng/platform\"")));
        }
        if name.trim().is_empty() {
            mistakes.push(("names", Wrong::new(format!("{path} has an empty name"))));
        }
        if let Some(other) = given.insert(name.to_lowercase(), path) {
            mistakes.push(("names", Wrong::new(format!("{other} and {path} have the same name {}", quoted(name)))));
        }
    }
    let mut constants: BTreeSet<String> = BTreeSet::new();
    for constant in &rules.constant {
        if constant.name.trim().is_empty() {
            mistakes.push(("constant", Wrong::new("a group has an empty name")));
        }
        if !constants.insert(constant.name.to_lowercase()) {
            let wrong = Wrong::new(format!("{} is listed twice", quoted(&constant.name)));
            mistakes
                .push(("constant", wrong.help("remove one entry; if both have a condition, combine them with `or`")));
        }
    }
    mistakes
}

/// Returns whether a template is a plain text.
pub(super) fn is_text(template: Option<&impl ToString>) -> bool {
    let text = template.map(ToString::to_string);
    text.is_some_and(|text| !text.contains("{{") && !text.contains("{%"))
}

/// Returns the mistake of a plain text in place of a template.
pub(super) fn no_template(example: &str) -> Wrong {
    Wrong::new("this is no template: write it as \"{{ … }}\"")
        .help(format!("as {example}; all forms: docs/templates.md"))
}

/// Returns the mistake of a plain text in place of a condition on users.
fn no_condition() -> Wrong {
    no_template("\"{{ attributes.type != 'contractor' }}\"")
}

/// Returns the place of the value at this path of the policy.
fn value_at(connector: &Table<'_>, path: &[&str]) -> Place {
    at(connector, path).map_or_else(|| connector.place_of("policy"), |(_, value)| Place::Span(value.span()))
}

/// Returns the conditions, and the template of names, that are a plain text, in the rules for groups at this path.
fn template_mistakes(connector: &Table<'_>, path: &[&str], rules: &GroupRules) -> Vec<Mistake> {
    let at = |key| [path, &[key]].concat();
    let mut mistakes = Vec::new();
    if is_text(rules.condition.as_ref()) {
        let wrong = no_template("\"{{ attributes.sync == 'yes' }}\"");
        mistakes.push((named(&at("condition")), value_at(connector, &at("condition")), wrong));
    }
    if is_text(rules.name.as_ref()) {
        let wrong = Wrong::new("this text gives all groups the same name: write a template as \"{{ … }}\"")
            .help("as \"{{ names | join('-') | lower }}\"; all forms: docs/templates.md");
        mistakes.push((named(&at("name")), value_at(connector, &at("name")), wrong));
    }
    for (index, constant) in rules.constant.iter().enumerate() {
        if is_text(constant.condition.as_ref()) {
            let place = place_in_list(connector, &at("constant"), index, Some("condition"));
            mistakes.push((named(&at("constant")) + ".condition", place, no_condition()));
        }
    }
    mistakes
}

/// Returns the patterns of names of groups that are paths, in the list at this path of the policy.
fn name_pattern_mistakes(
    connector: &Table<'_>,
    path: &[&str],
    patterns: &[NamePattern],
    example: &str,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let pattern = pattern.to_string();
        if pattern.starts_with('/') {
            let what = "is a path, but a name of a group in the target is expected";
            let wrong = Wrong::new(format!("{} {what}", quoted(&pattern)))
                .help(format!("write the name that the group has in the target, such as {example:?}"));
            mistakes.push((named(path), place_in_list(connector, path, index, None), wrong));
        }
    }
    mistakes
}

/// Returns the place of an element of the list at this path of the policy; `key`: that of the value in the element.
pub(super) fn place_in_list(connector: &Table<'_>, path: &[&str], index: usize, key: Option<&str>) -> Place {
    let list = at(connector, path).map(|(_, value)| value.get_ref());
    let item = match list {
        Some(DeValue::Array(items)) => items.get(index),
        _ => None,
    };
    let Some(item) = item else { return place_in_policy(connector, path) };
    let inner = match (item.get_ref(), key) {
        (DeValue::Table(table), Some(key)) => {
            table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
        }
        _ => None,
    };
    Place::Span(inner.unwrap_or(item).span())
}

/// Returns the key's place and the value at this path of the policy. If a key is missing, the last one found counts.
fn at<'t>(connector: &Table<'t>, path: &[&str]) -> Option<(Place, &'t Spanned<DeValue<'t>>)> {
    let mut found = None;
    let mut value = connector.raw("policy")?;
    for key in path {
        let DeValue::Table(table) = value.get_ref() else { break };
        let Some((name, inner)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        found = Some((Place::Span(name.span()), inner));
        value = inner;
    }
    found
}

/// Returns the place of the last of these keys that the policy contains.
pub(super) fn place_in_policy(connector: &Table<'_>, path: &[&str]) -> Place {
    at(connector, path).map_or_else(|| connector.place_of("policy"), |(key, _)| key)
}
