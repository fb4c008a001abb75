//! Reads `[[connector.group_test]]` and `[[connector.user_test]]`.

use toml::de::DeValue;

use super::{
    problem::Place,
    reader::Table,
    suggest::did_you_mean,
    typed::{Written, typed_list},
    values::{Wrong, quoted},
};
use crate::model::{GroupTest, PolicyTests, TargetName, UserTest};

const GROUP: &str = "group_test";
const USER: &str = "user_test";

/// Returns the tests; `None`: one of them is invalid.
pub(super) fn policy_tests(connector: &Table<'_>, targets: &[TargetName]) -> Option<PolicyTests> {
    let groups = typed_list::<GroupTest>(connector, GROUP, "write [[connector.group_test]] above each");
    let users = typed_list::<UserTest>(connector, USER, "write [[connector.user_test]] above each");
    let mut fine = true;
    for written in groups.iter().flatten() {
        fine &= target_is_known(connector, GROUP, written, written.read.target.as_ref(), targets);
        fine &= paths_are_valid(connector, GROUP, written, "path", std::slice::from_ref(&written.read.path));
    }
    for written in users.iter().flatten() {
        fine &= target_is_known(connector, USER, written, written.read.target.as_ref(), targets);
        fine &= paths_are_valid(connector, USER, written, "user", &written.read.user.groups);
        if written.read.user.username.trim().is_empty() {
            connector.wrong("user_test.user", place(written, "user"), Wrong::new("its username is empty"));
            fine = false;
        }
        if !written.read.expects_something() {
            let help = "add in_scope, groups, login, display_name, email or attributes";
            let wrong = Wrong::new(format!("{} expects nothing", quoted(&written.read.name))).help(help);
            connector.wrong(USER, place(written, "name"), wrong);
            fine = false;
        }
    }
    let groups = lines(connector, groups?);
    let users = lines(connector, users?);
    fine.then_some(PolicyTests { groups, users })
}

fn lines<T>(connector: &Table<'_>, all: Vec<Written<'_, T>>) -> Vec<(usize, T)> {
    let line = |written: &Written<'_, T>| connector.reader.line(Place::Span(written.value.span()));
    all.into_iter().map(|written| (line(&written), written.read)).collect()
}

/// Returns the place of a key's value.
fn place<T>(written: &Written<'_, T>, key: &str) -> Place {
    let DeValue::Table(table) = written.value.get_ref() else { return Place::Span(written.value.span()) };
    let found = table.iter().find(|(name, _)| name.get_ref() == key);
    Place::Span(found.map_or_else(|| written.value.span(), |(_, value)| value.span()))
}

fn target_is_known<T>(
    connector: &Table<'_>,
    key: &str,
    written: &Written<'_, T>,
    target: Option<&TargetName>,
    targets: &[TargetName],
) -> bool {
    let Some(target) = target.filter(|target| !targets.contains(target)) else { return true };
    let help = did_you_mean(target.as_str(), targets.iter().map(TargetName::as_str))
        .unwrap_or_else(|| "name a target of the connector, or remove the key to test all".to_owned());
    let wrong = Wrong::new(format!("the connector does not fill {}", quoted(target.as_str()))).help(help);
    connector.wrong(&format!("{key}.target"), place(written, "target"), wrong);
    false
}

fn paths_are_valid<T>(connector: &Table<'_>, key: &str, written: &Written<'_, T>, of: &str, paths: &[String]) -> bool {
    let Some(path) = paths.iter().find(|path| !path.starts_with('/') || path.len() == 1) else { return true };
    let wrong = Wrong::new(format!("{} is not a group's path", quoted(path))).help("write it as \"/eng/platform\"");
    connector.wrong(&format!("{key}.{of}"), place(written, of), wrong);
    false
}
