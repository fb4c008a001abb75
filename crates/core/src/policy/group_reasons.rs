//! Describes which rules select and name a group.

use super::{groups::shown, left_out};
use crate::model::{GroupRules, GroupState, GroupVerdict, NamedBy};

/// Returns whether the policy selects a group, as the rules name it, and by which rule; `None`: the condition fails.
pub fn selected_by(group: &GroupState, rules: &GroupRules) -> (Option<bool>, String) {
    if let Some(why) = left_out(group, rules) {
        return (Some(false), why);
    }
    if let GroupVerdict::Failed(why) = &group.verdict {
        return (None, why.clone());
    }
    let pattern = rules.only.iter().find(|pattern| pattern.matches(&group.path));
    let by_path = pattern.map_or_else(
        || {
            let excluded = rules.setting("excluded");
            format!("all groups of the realm are synced, and {excluded} of the policy does not name it")
        },
        |pattern| format!("selected by {} of the policy ({pattern})", rules.setting("only")),
    );
    let why = match &rules.condition {
        Some(condition) => format!("{by_path}, and it meets {} ({condition})", rules.setting("condition")),
        None => by_path,
    };
    (Some(true), why)
}

/// Returns the rule that gives a group its name.
pub fn named_by(path: &str, rules: &GroupRules) -> String {
    if rules.names.contains_key(path) {
        return format!("{} of the policy", rules.setting("names"));
    }
    let base = match rules.named_by {
        _ if rules.name.is_some() => {
            format!("{} of the policy ({})", rules.setting("name"), shown(rules.name.as_ref()))
        }
        NamedBy::Leaf => "its own name".to_owned(),
        NamedBy::Path => format!("its path, joined by {:?}", rules.separator),
    };
    let affixes = [("prefix", &rules.prefix), ("suffix", &rules.suffix)].into_iter();
    let affixes = affixes.filter(|(_, text)| !text.is_empty()).map(|(what, text)| format!(" with the {what} {text:?}"));
    base + &affixes.collect::<Vec<_>>().join(" and")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> GroupRules {
        serde_json::from_str(json).unwrap()
    }

    fn group(path: &str) -> GroupState {
        GroupState::new("1".into(), "group".to_owned(), path.to_owned())
    }

    #[test]
    fn the_rule_that_selects_a_group_is_named() {
        let chosen = rules(r#"{"only": ["/ops", "/eng/**"], "excluded": ["/eng/secret"]}"#);
        assert_eq!(
            selected_by(&group("/eng/core"), &chosen),
            (Some(true), "selected by groups.only of the policy (/eng/**)".to_owned())
        );
        let excluded = "left out by groups.excluded of the policy (/eng/secret)";
        assert_eq!(selected_by(&group("/eng/secret"), &chosen), (Some(false), excluded.to_owned()));
        let unnamed = "not selected by groups.only of the policy";
        assert_eq!(selected_by(&group("/hr"), &chosen), (Some(false), unnamed.to_owned()));
        let (selected, why) = selected_by(&group("/hr"), &GroupRules::default());
        assert!(selected == Some(true) && why.starts_with("all groups of the realm are synced"), "{why}");
    }

    #[test]
    fn a_group_is_not_said_to_be_selected_if_the_condition_fails() {
        let by =
            |verdict| selected_by(&GroupState { verdict, ..group("/hr") }, &rules(r#"{"condition": "{{ path }}"}"#));
        assert_eq!(by(GroupVerdict::Failed("it fails".to_owned())), (None, "it fails".to_owned()));
        let (selected, why) = by(GroupVerdict::Unnamed("no name".to_owned()));
        assert!(selected == Some(true) && why.ends_with("and it meets groups.condition ({{ path }})"), "{why}");
    }

    #[test]
    fn the_rule_that_names_a_group_is_named() {
        for (json, expected) in [
            ("{}", "its own name"),
            (r#"{"name": "{{ name }}"}"#, "groups.name of the policy ({{ name }})"),
            (r#"{"named_by": "path"}"#, "its path, joined by \"-\""),
            (r#"{"prefix": "kc-", "suffix": "-x"}"#, "its own name with the prefix \"kc-\" and with the suffix \"-x\""),
            (r#"{"prefix": "kc-", "names": {"/eng": "E"}}"#, "groups.names of the policy"),
        ] {
            assert_eq!(named_by("/eng", &rules(json)), expected, "{json}");
        }
    }
}
