//! Selects the groups that are synced, and names them.

use std::{collections::BTreeSet, sync::Arc};

use super::condition::{meets, truth};
use crate::model::{
    ConstantGroup, GrantedTo, GroupRules, GroupState, GroupTemplate, GroupVerdict, Members, NamePattern, NamedBy,
    PathPattern, Policy, RoleName, Scope, UserState, parent_paths, path_names,
};

/// Number of paths that a conflict of names shows.
const SHOWN_PATHS: usize = 3;

/// Returns why a group, as the rules name it, is not synced; `None`: it is.
pub fn left_out(group: &GroupState, rules: &GroupRules) -> Option<String> {
    let by_condition = || {
        (group.verdict == GroupVerdict::LeftOut).then(|| {
            let (setting, condition) = (rules.setting("condition"), shown(rules.condition.as_ref()));
            format!("left out by {setting} of the policy ({condition})")
        })
    };
    path_left_out(&group.path, rules).or_else(by_condition)
}

pub(super) fn shown(template: Option<&GroupTemplate>) -> String {
    template.map(GroupTemplate::to_string).unwrap_or_default()
}

/// Returns why no group with this path is synced; `None`: one may be. An excluded group is left out with all groups below it, except those
/// that the selection names by their exact paths.
pub fn path_left_out(path: &str, rules: &GroupRules) -> Option<String> {
    // A constant group.
    if !path.starts_with('/') {
        return None;
    }
    let is_named = rules.only.iter().any(|pattern| pattern.literal() == Some(path));
    let excludes = |pattern: &&PathPattern| pattern.matches(path) || !is_named && pattern.matches_within(path);
    if let Some(pattern) = rules.excluded.iter().find(excludes) {
        return Some(format!("left out by {} of the policy ({pattern})", rules.setting("excluded")));
    }
    let chosen = rules.only.is_empty() || rules.only.iter().any(|pattern| pattern.matches(path));
    (!chosen).then(|| format!("not selected by {} of the policy", rules.setting("only")))
}

/// Returns the paths of the selected parent groups that also get the group's members, according to the rules.
pub fn paths_above<'p>(path: &'p str, rules: &'p GroupRules) -> impl Iterator<Item = &'p str> {
    let above = rules.counts_subgroups().then(|| parent_paths(path)).into_iter().flatten();
    let counts = |path: &&str| rules.members_at(path) == Members::WithSubgroups;
    above.filter(move |path| counts(path) && path_left_out(path, rules).is_none())
}

/// Returns the paths of the selected parent groups that also get the user as a member, according to the rules.
pub fn paths_above_user<'u>(user: &'u UserState, rules: &'u GroupRules) -> BTreeSet<&'u str> {
    let mut paths: BTreeSet<&str> = user.groups.iter().flat_map(|group| paths_above(&group.path, rules)).collect();
    for group in &user.groups {
        paths.remove(group.path.as_str());
    }
    paths
}

/// Returns whether a constant group of the rules is granted to a user; `is_new`: its account is created.
///
/// # Errors
/// The group's condition cannot be applied to the user, or it is not known whether the user has one of the group's
/// roles; the error says why.
pub fn grants(constant: &ConstantGroup, rules: &GroupRules, user: &UserState, is_new: bool) -> Result<bool, String> {
    if constant.granted_to == GrantedTo::New && !is_new {
        return Ok(false);
    }
    if !constant.roles.is_empty() && !has_any(user, &constant.roles).map_err(ToOwned::to_owned)? {
        return Ok(false);
    }
    let cannot =
        |why| format!("{}: cannot apply the condition of {}: {why}", user.username, rules.group_of(constant).path);
    constant.condition.as_ref().map_or(Ok(true), |template| meets(template, user).map_err(cannot))
}

/// Returns whether a user has at least one of these roles.
///
/// # Errors
/// This is not known; the error says why.
fn has_any<'u>(user: &'u UserState, roles: &[RoleName]) -> Result<bool, &'u str> {
    let mut unread = None;
    for role in roles {
        match user.roles.has(role) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(why) => unread = Some(why.why()),
        }
    }
    unread.map_or(Ok(false), Err)
}

/// Returns why a group that the target lacks is not created; `None`: it is.
pub fn not_created(name: &str, path: &str, rules: &GroupRules) -> Option<String> {
    let setting = || rules.setting("create");
    (!rules.creates_at(path))
        .then(|| format!("the target has no group {name}; create it there, or set {} = true in the policy", setting()))
}

/// Returns whether the names or the selection of groups follow from their paths.
pub fn paths_decide_groups(policy: &Policy) -> bool {
    let GroupRules { only, excluded, named_by, names, .. } = &policy.groups;
    let by_rule = policy.groups.templates().next().is_some() || !policy.groups.overrides.is_empty();
    by_rule || *named_by == NamedBy::Path || !(only.is_empty() && excluded.is_empty() && names.is_empty())
}

/// Returns whether the scope or the memberships of users follow from the paths of their groups.
pub fn paths_decide_users(policy: &Policy) -> bool {
    let Scope { required_groups, excluded_groups, condition, .. } = &policy.scope;
    let scoped = !(required_groups.is_empty() && excluded_groups.is_empty() && condition.is_none());
    // A group inherits the roles of the groups above it.
    let granted = policy.groups.constant.iter().any(|constant| constant.condition.is_some());
    scoped || granted || policy.uses_roles() || policy.groups.counts_subgroups()
}

/// Returns whether several groups may have this name in a target: they become one group there.
pub fn is_merged(name: &str, rules: &GroupRules) -> bool {
    rules.merged.iter().any(|pattern| pattern.matches(name))
}

/// Returns why groups that have one name in a target feed no group there, and what to do. The text is the same for each
/// of them.
pub fn same_name<'g>(name: &str, rules: &GroupRules, groups: impl IntoIterator<Item = &'g GroupState>) -> String {
    let paths: BTreeSet<&str> = groups.into_iter().map(|group| group.path.as_str()).collect();
    let number = if paths.len() == 2 { "two".to_owned() } else { paths.len().to_string() };
    let more = paths.len().saturating_sub(SHOWN_PATHS);
    let more = (more > 0).then(|| format!("{more} more"));
    let shown: Vec<String> = paths.into_iter().take(SHOWN_PATHS).map(str::to_owned).chain(more).collect();
    let (last, others) = shown.split_last().map_or(("", [].as_slice()), |(last, others)| (last.as_str(), others));
    format!(
        "{number} groups in Keycloak have the name {name} in the target: {} and {last}. Rename one of them, give it a name \
         in the policy ({}), or let them share one group ({} = [{name:?}])",
        others.join(", "),
        rules.setting("names"),
        rules.setting("merged")
    )
}

/// Returns which patterns and paths of the policy fit none of these groups, each with its setting. Required groups are not
/// part of it: without one, nothing is decided.
pub fn unmatched(policy: &Policy, groups: &[GroupState]) -> Vec<String> {
    let (rules, scope) = (&policy.groups, &policy.scope);
    let fits_none = |pattern: &&PathPattern| groups.iter().all(|group| !pattern.matches(&group.path));
    let of_groups = |key: &str, what: &dyn ToString| format!("{}: {}", rules.setting(key), what.to_string());
    let only = rules.only.iter().filter(fits_none).map(|pattern| of_groups("only", pattern));
    let excluded = rules.excluded.iter().filter(fits_none).map(|pattern| of_groups("excluded", pattern));
    let paths = rules.names.keys().filter(|path| groups.iter().all(|group| group.path != **path));
    let left_out = scope.excluded_groups.iter().filter(fits_none);
    let left_out = left_out.map(|pattern| format!("scope.excluded_groups: {pattern}"));
    // The name of a group for which a template fails is not known.
    let all_named = groups.iter().all(|group| group.verdict.fault().is_none());
    let fits_no_name = |pattern: &&NamePattern| groups.iter().all(|group| !pattern.matches(&group.name));
    let merged = rules.merged.iter().filter(|_| all_named).filter(fits_no_name);
    let merged = merged.map(|pattern| of_groups("merged", pattern) + " fits no name of a group in the target");
    let paths = paths.map(|path| of_groups("names", path));
    let overrides = rules.overrides.iter().map(|own| &own.path).filter(fits_none);
    let overrides = overrides.map(|pattern| of_groups("overrides", pattern));
    let by_path = left_out.chain(only).chain(excluded).chain(paths).chain(overrides);
    by_path.map(|what| what + " fits no group in Keycloak").chain(merged).collect()
}

/// Returns whether a pattern of the selected groups fits none of these groups: then a group that is not selected may be
/// one whose path has changed.
pub fn selects_nothing_by_one(rules: &GroupRules, groups: &[GroupState]) -> bool {
    rules.only.iter().any(|pattern| groups.iter().all(|group| !pattern.matches(&group.path)))
}

/// Returns whether the rules give groups other names than their own, or a verdict.
pub fn shapes_groups(rules: &GroupRules) -> bool {
    let GroupRules { named_by, prefix, suffix, names, .. } = rules;
    let renames = *named_by != NamedBy::Leaf || !(prefix.is_empty() && suffix.is_empty() && names.is_empty());
    renames || rules.templates().next().is_some()
}

/// Returns a group as read, with the name and the verdict that the rules give it. Its attributes are dropped.
pub fn named_group(group: GroupState, rules: &GroupRules) -> GroupState {
    let verdict = verdict(&group, rules);
    let (name, verdict) = match rules.name.as_ref().filter(|_| !rules.names.contains_key(&group.path)) {
        Some(template) if verdict.is_selected() => match rendered_name(template, &group, rules) {
            Ok(name) => (name, verdict),
            Err(why) => (affixed(&group.name, rules), GroupVerdict::Unnamed(why)),
        },
        _ => (named_by_path(&group, rules), verdict),
    };
    GroupState { name, verdict, attributes: None, ..group }
}

fn verdict(group: &GroupState, rules: &GroupRules) -> GroupVerdict {
    let Some(condition) = rules.condition.as_ref().filter(|_| path_left_out(&group.path, rules).is_none()) else {
        return GroupVerdict::Selected;
    };
    match truth(condition.render(group)) {
        Ok(true) => GroupVerdict::Selected,
        Ok(false) => GroupVerdict::LeftOut,
        Err(why) => GroupVerdict::Failed(fault(&rules.setting("condition"), &why)),
    }
}

fn rendered_name(template: &GroupTemplate, group: &GroupState, rules: &GroupRules) -> Result<String, String> {
    match template.render(group) {
        Ok(name) if name.is_empty() => Err(fault(&rules.setting("name"), "it is empty for this group")),
        Ok(name) => Ok(affixed(&name, rules)),
        Err(why) => Err(fault(&rules.setting("name"), &why.to_string())),
    }
}

fn fault(setting: &str, why: &str) -> String {
    format!(
        "cannot render {setting} of the policy ({why}). The group keeps its name. Nobody is added, and only users who \
         leave it in Keycloak are removed. Correct the template, or the group in Keycloak"
    )
}

fn named_by_path(group: &GroupState, rules: &GroupRules) -> String {
    match (rules.names.get(&group.path), rules.named_by) {
        (Some(name), _) => name.clone(),
        (None, NamedBy::Leaf) => affixed(&group.name, rules),
        (None, NamedBy::Path) => affixed(&path_names(&group.path).collect::<Vec<_>>().join(&rules.separator), rules),
    }
}

fn affixed(name: &str, rules: &GroupRules) -> String {
    format!("{}{name}{}", rules.prefix, rules.suffix)
}

/// Returns a user as read, with the names that the rules give its groups.
pub fn with_named_groups(user: UserState, rules: &GroupRules) -> UserState {
    // The rules of another target may need the attributes of groups.
    if !shapes_groups(rules) && user.all_groups().all(|group| group.attributes.is_none()) {
        return user;
    }
    let named = |groups: &[Arc<GroupState>]| {
        groups.iter().map(|group| Arc::new(named_group(GroupState::clone(group), rules))).collect()
    };
    UserState { groups: named(&user.groups), parent_groups: named(&user.parent_groups), ..user }
}

/// Returns the own names of groups that the rules may give this name, to search for them. With a template of names, any
/// group may have it.
pub fn own_names(name: &str, rules: &GroupRules) -> Vec<String> {
    let from_table = rules.names.iter().filter(|(_, given)| given.to_lowercase() == name.to_lowercase());
    let mut own: Vec<String> = from_table.filter_map(|(path, _)| path_names(path).last()).collect();
    let folded = name.to_lowercase();
    let bare = folded.strip_prefix(&rules.prefix.to_lowercase());
    let bare = bare.and_then(|bare| bare.strip_suffix(&rules.suffix.to_lowercase()));
    if let Some(bare) = bare.filter(|bare| !bare.is_empty()) {
        own.push(bare.to_owned());
        let separator = rules.separator.to_lowercase();
        if rules.named_by == NamedBy::Path && !separator.is_empty() {
            // A group's own name may contain the separator.
            own.extend(bare.match_indices(&separator).map(|(at, _)| bare[at + separator.len()..].to_owned()));
        }
    }
    own.sort();
    own.dedup();
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> GroupRules {
        serde_json::from_str(json).unwrap()
    }

    fn group(path: &str) -> GroupState {
        let name = path_names(path).last().unwrap();
        GroupState::new(path.into(), name, path.into())
    }

    fn name(path: &str, json: &str) -> String {
        named_group(group(path), &rules(json)).name
    }

    #[test]
    fn groups_are_selected_by_path() {
        let chosen = rules(r#"{"only": ["/eng/**", "/ops"], "excluded": ["/eng/secret/**", "/eng/secret"]}"#);
        for path in ["/eng/core", "/ops"] {
            assert_eq!(path_left_out(path, &chosen), None, "{path}");
        }
        let excluded = path_left_out("/eng/secret/red", &chosen);
        assert_eq!(excluded.as_deref(), Some("left out by groups.excluded of the policy (/eng/secret/**)"));
        let below = path_left_out("/eng/secret/blue", &rules(r#"{"excluded": ["/eng/secret"]}"#));
        assert_eq!(below.as_deref(), Some("left out by groups.excluded of the policy (/eng/secret)"));
        let named = r#"{"only": ["/eng/**", "/eng/secret/blue"], "excluded": ["/eng/secret"]}"#;
        assert_eq!(path_left_out("/eng/secret/blue", &rules(named)), None);
        assert!(path_left_out("/eng/secret/red", &rules(named)).is_some());
        let named = r#"{"only": ["/eng/secret/blue"], "excluded": ["/eng/*/blue"]}"#;
        assert!(path_left_out("/eng/secret/blue", &rules(named)).is_some());
        let other = path_left_out("/hr", &chosen);
        assert_eq!(other.as_deref(), Some("not selected by groups.only of the policy"));
        assert_eq!(path_left_out("/hr", &GroupRules::default()), None);
    }

    #[test]
    fn only_groups_that_the_condition_selects_are_named_by_the_template() {
        let named = |condition: &str| {
            let json = format!(r#"{{"condition": "{condition}", "name": "{{{{ name }}}}-x", "prefix": "p-"}}"#);
            let group = named_group(group("/eng/core"), &rules(&json));
            (group.name, group.verdict.is_selected())
        };
        assert_eq!(named("{{ true }}"), ("p-core-x".to_owned(), true));
        assert_eq!(named("{{ false }}"), ("p-core".to_owned(), false));
    }

    fn no_group(what: &str) -> String {
        format!("{what} fits no group in Keycloak")
    }

    #[test]
    fn what_fits_no_group_is_reported_with_its_setting() {
        let rules =
            rules(r#"{"only": ["/eng/**", "/projects"], "excluded": ["/old"], "names": {"/a": "A", "/eng/x": "X"}}"#);
        let groups = [group("/eng/x"), group("/b")];
        let expected = ["groups.only: /projects", "groups.excluded: /old", "groups.names: /a"].map(no_group);
        let policy = Policy { groups: rules.clone(), ..Policy::default() };
        assert_eq!(unmatched(&policy, &groups), expected);
        let scope = serde_json::from_str(r#"{"excluded_groups": ["/eng", "/teams/betta"]}"#).unwrap();
        let policy = Policy { scope, ..Policy::default() };
        assert_eq!(
            unmatched(&policy, &groups),
            ["scope.excluded_groups: /eng", "scope.excluded_groups: /teams/betta"].map(no_group)
        );
        assert!(selects_nothing_by_one(&rules, &groups));
        assert!(!selects_nothing_by_one(&rules, &[group("/eng/x"), group("/projects")]));
        assert_eq!(unmatched(&Policy::default(), &groups), [] as [String; 0]);
    }

    #[test]
    fn a_group_is_named_by_its_own_name_its_path_or_the_table() {
        for (path, json, expected) in [
            ("/eng/platform", "{}", "platform"),
            ("/eng/platform", r#"{"named_by": "path"}"#, "eng-platform"),
            ("/eng/a~/b", r#"{"named_by": "path", "separator": "."}"#, "eng.a/b"),
            ("/eng/platform", r#"{"prefix": "kc-", "suffix": "-team"}"#, "kc-platform-team"),
            (
                "/eng/platform",
                r#"{"named_by": "path", "prefix": "kc-", "names": {"/eng/platform": "Platform"}}"#,
                "Platform",
            ),
        ] {
            assert_eq!(name(path, json), expected, "{path} {json}");
            assert_eq!(shapes_groups(&rules(json)), json != "{}", "{json}");
        }
    }

    #[test]
    fn the_groups_that_may_have_a_name_are_found_by_their_own_names() {
        for json in [
            "{}",
            r#"{"named_by": "path"}"#,
            r#"{"named_by": "path", "separator": "", "prefix": "K"}"#,
            r#"{"prefix": "kc-", "suffix": "-team"}"#,
            r#"{"named_by": "path", "names": {"/eng/red-team": "R"}}"#,
        ] {
            for path in ["/eng", "/eng/Red-Team", "/eng/red-team", "/a/b/c"] {
                let group = named_group(group(path), &rules(json));
                let own = path_names(path).last().unwrap().to_lowercase();
                let found = own_names(&group.name.to_uppercase(), &rules(json));
                let by_whole = json.contains("\"separator\": \"\"");
                assert!(by_whole || found.contains(&own), "{json} {path} {found:?}");
            }
        }
        assert_eq!(own_names("kc-", &rules(r#"{"prefix": "kc-"}"#)), [] as [String; 0]);
        assert_eq!(own_names("other", &rules(r#"{"prefix": "kc-"}"#)), [] as [String; 0]);
    }

    #[test]
    fn with_sub_groups_a_user_is_a_member_of_the_selected_groups_above() {
        let paths = ["/eng/core/red", "/eng/core", "/ops/night"];
        let user =
            UserState { groups: paths.map(|path| Arc::new(group(path))).to_vec(), ..crate::plan::fixtures::user() };
        for (json, expected) in [
            ("{}", &[] as &[&str]),
            (r#"{"members": "with_subgroups"}"#, &["/eng", "/ops"]),
            (r#"{"members": "with_subgroups", "excluded": ["/ops"]}"#, &["/eng"]),
            (r#"{"members": "with_subgroups", "only": ["/ops"]}"#, &["/ops"]),
        ] {
            let rules = rules(json);
            assert_eq!(paths_above_user(&user, &rules).into_iter().collect::<Vec<_>>(), expected, "{json}");
        }
    }

    #[test]
    fn a_users_groups_get_their_names() {
        let user = UserState { groups: vec![Arc::new(group("/eng/core"))], ..crate::plan::fixtures::user() };
        let named = |json: &str| with_named_groups(user.clone(), &rules(json)).groups[0].name.clone();
        assert_eq!((named("{}"), named(r#"{"named_by": "path"}"#)), ("core".to_owned(), "eng-core".to_owned()));
    }

    fn marked(path: &str, sync: &str) -> GroupState {
        let attributes = [("sync".to_owned(), vec![sync.to_owned()])].into();
        GroupState { attributes: Some(attributes), ..group(path) }
    }

    #[test]
    fn a_condition_selects_among_the_groups_that_the_paths_select() {
        let rules = rules(r#"{"only": ["/eng/**", "/ops"], "condition": "{{ attributes.sync }}"}"#);
        for (group, out, fault) in [
            (marked("/ops", "true"), None, None),
            (marked("/ops", "False"), Some("left out by groups.condition of the policy ({{ attributes.sync }})"), None),
            (marked("/hr", "maybe"), Some("not selected by groups.only of the policy"), None),
            (marked("/eng/a", "maybe"), None, Some("it renders \"maybe\", not true or false")),
            (group("/eng/a"), None, Some("Keycloak did not return the group's attributes")),
        ] {
            let ruled = named_group(group.clone(), &rules);
            assert_eq!(left_out(&ruled, &rules).as_deref(), out, "{group:?}");
            assert_eq!(ruled.verdict.fault().is_some(), fault.is_some(), "{group:?}");
            assert!(fault.is_none_or(|why| ruled.verdict.fault().unwrap().contains(why)), "{ruled:?}");
            assert_eq!((ruled.name, ruled.attributes), (group.name, None));
        }
    }

    #[test]
    fn a_template_names_a_group_unless_the_table_does() {
        let json = r#"{"name": "{{ attributes.jira or names | join('.') if path != '/hr' }}", "prefix": "kc-", "names": {"/ops": "Ops"}}"#;
        let rules = rules(json);
        let with = |path: &str| GroupState { attributes: Some([].into()), ..group(path) };
        let jira = [("jira".to_owned(), vec!["Engineers".to_owned()])];
        for (group, name) in [
            (with("/eng/a~/b"), "kc-eng.a/b"),
            (GroupState { attributes: Some(jira.into()), ..group("/eng") }, "kc-Engineers"),
            (group("/ops"), "Ops"),
        ] {
            let named = named_group(group, &rules);
            assert_eq!((named.name.as_str(), named.verdict), (name, GroupVerdict::Selected));
        }
        for (group, why) in [(with("/hr"), "(it is empty for this group)"), (group("/eng"), "did not return")] {
            let fault = named_group(group, &rules).verdict;
            assert!(fault.fault().is_some_and(|text| text.contains(why)), "{fault:?}");
        }
        assert!(shapes_groups(&rules) && rules.uses_attributes());
    }

    #[test]
    fn attributes_that_the_rules_of_another_target_need_are_dropped() {
        let eng = GroupState { attributes: Some(std::collections::BTreeMap::default()), ..group("/eng") };
        let user = UserState { groups: vec![Arc::new(eng)], ..crate::plan::fixtures::user() };
        let named = with_named_groups(user, &GroupRules::default());
        assert_eq!((named.groups[0].name.as_str(), &named.groups[0].attributes), ("eng", &None));
    }

    #[test]
    fn groups_of_one_name_are_named_with_what_solves_it() {
        let of = |paths: &[&str]| {
            same_name("x", &GroupRules::default(), &paths.iter().map(|path| group(path)).collect::<Vec<_>>())
        };
        assert_eq!(of(&["/b/x", "/a/x"]), of(&["/a/x", "/b/x"]), "in any order");
        assert!(
            of(&["/b/x", "/a/x"]).starts_with("two groups in Keycloak have the name x in the target: /a/x and /b/x. ")
        );
        let own = GroupRules { own_of: Some("jira".into()), ..GroupRules::default() };
        let why = same_name("x", &own, &[group("/a/x"), group("/b/x")]);
        assert!(why.contains("(targets.jira.groups.names)") && why.contains("(targets.jira.groups.merged = [\"x\"])"));
        assert!(
            of(&["/c", "/b", "/a"]).starts_with("3 groups in Keycloak have the name x in the target: /a, /b and /c. ")
        );
        assert!(of(&["/e", "/d", "/c", "/b", "/a"]).contains(" in the target: /a, /b, /c and 2 more. "));
        assert!(of(&["/b", "/a"]).ends_with("(groups.names), or let them share one group (groups.merged = [\"x\"])"));
        let merging = rules(r#"{"merged": ["Team-*"]}"#);
        assert!(is_merged("team-a", &merging) && !is_merged("a-team-a", &merging));
        let policy = Policy { groups: merging, ..Policy::default() };
        let expected = ["groups.merged: Team-* fits no name of a group in the target"];
        assert_eq!(unmatched(&policy, &[group("/x")]), expected);
        let failing = GroupState { verdict: GroupVerdict::Failed("it fails".to_owned()), ..group("/y") };
        assert_eq!(unmatched(&policy, &[group("/x"), failing]), [""; 0], "its name may be one of them");
    }

    #[test]
    fn single_groups_have_settings_of_their_own() {
        let rules = rules(
            r#"{"create": false, "overrides": [
                {"path": "/eng", "members": "with_subgroups"},
                {"path": "/eng/**", "create": true, "members": "with_subgroups"},
                {"path": "/**", "unmanaged_members": "report", "members": "direct"}
            ]}"#,
        );
        let above = |path: &'static str| paths_above(path, &rules).collect::<Vec<_>>();
        assert_eq!((above("/eng/core/red"), above("/ops/night")), (vec!["/eng/core", "/eng"], vec![]));
        assert!(not_created("x", "/eng/x", &rules).is_none() && not_created("x", "/eng", &rules).is_some());
        assert_eq!(rules.unmanaged_members_at("/eng"), crate::model::UnmanagedMembers::Report);
        assert!(rules.counts_subgroups());
        let plain = GroupRules::default();
        assert!(!plain.counts_subgroups() && plain.creates_at("/eng"));
        let policy = Policy { groups: rules, ..Policy::default() };
        assert_eq!(
            unmatched(&policy, &[group("/ops")]),
            ["groups.overrides: /eng", "groups.overrides: /eng/**"].map(no_group)
        );
        assert!(paths_decide_groups(&policy) && paths_decide_users(&policy));
    }

    #[test]
    fn paths_decide_where_a_setting_names_paths_or_inherits() {
        let policy = |json: &str| serde_json::from_str::<Policy>(json).unwrap();
        for (json, groups, users) in [
            ("{}", false, false),
            (r#"{"groups": {"only": ["/a"]}}"#, true, false),
            (r#"{"groups": {"excluded": ["/a"]}}"#, true, false),
            (r#"{"groups": {"names": {"/a": "A"}}}"#, true, false),
            (r#"{"groups": {"named_by": "path"}}"#, true, false),
            (r#"{"groups": {"members": "with_subgroups"}}"#, false, true),
            (r#"{"scope": {"required_groups": ["/a"]}}"#, false, true),
            (r#"{"scope": {"excluded_groups": ["/a"]}}"#, false, true),
            (r#"{"scope": {"condition": "{{ username }}"}}"#, false, true),
            (r#"{"scope": {"required_roles": ["a"]}}"#, false, true),
        ] {
            let policy = policy(json);
            assert_eq!((paths_decide_groups(&policy), paths_decide_users(&policy)), (groups, users), "{json}");
        }
    }
}
