//! The list of keys: examples, parser, model and documentation agree.

use std::collections::{BTreeMap, BTreeSet};

use usersync::{
    config::{Config, EXAMPLE, Env, Row, full_example, reference, reference_markdown},
    model::Policy,
};

use super::{Folder, HOOK, SMALL, with_connector};

/// Returns sections, keys and values of the example, including those behind a #.
fn example_keys() -> BTreeMap<(String, String), String> {
    let mut section = String::new();
    let mut keys = BTreeMap::new();
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if section == "[connector.policy.groups.names]" && line.starts_with('"') {
            keys.insert((section.clone(), "PATH".to_owned()), String::new());
        } else if let Some((key, value)) = line.split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            let value = value.split(" #").next().unwrap_or_default().trim();
            // Keys that an administrator names freely stand for all such keys.
            if section == "[target.token_parameters]" {
                keys.insert((section.clone(), "NAME".to_owned()), value.to_owned());
                continue;
            }
            if section == "[connector.policy.targets.wiki]" {
                keys.insert(("[connector.policy.targets.TARGET]".to_owned(), key.to_owned()), value.to_owned());
                continue;
            }
            if section.contains(".policy.targets.") && section.ends_with(".account]") {
                let section = "[connector.policy.targets.TARGET.account]".to_owned();
                keys.insert((section, key.to_owned()), value.to_owned());
                continue;
            }
            if section.contains(".policy.targets.") && section.ends_with(".matching]") {
                let section = "[connector.policy.targets.TARGET.matching]".to_owned();
                keys.insert((section, key.to_owned()), value.to_owned());
                continue;
            }
            if section.contains(".policy.targets.") {
                let section = "[connector.policy.targets.TARGET.attributes]".to_owned();
                keys.insert((section, "ATTRIBUTE".to_owned()), value.to_owned());
                continue;
            }
            keys.insert((section.clone(), key.to_owned()), value.to_owned());
        }
    }
    keys
}

#[test]
fn the_example_works_as_it_is() {
    let folder = Folder::new();
    folder.write("acme-hook.secret", HOOK);
    let config = folder.load(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!((config.targets.len(), config.connectors.len()), (1, 1));
}

#[test]
fn the_full_example_works_as_it_is_and_has_valid_values_for_every_key() {
    let folder = Folder::new();
    folder.write("acme-hook.secret", HOOK);
    let config = folder.load(&full_example()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let lines = full_example();
    let lines = lines.lines().map(|line| match line.strip_prefix("# ") {
        Some(bare) => bare,
        None => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let path = folder.write("usersync.toml", &text);
    let errors = Config::find_and_load_without_files(Some(&path), &Env::of([("NONE", "")])).unwrap_err();
    // Some keys exclude each other, apply to another kind of target, or name one that the example has not.
    for problem in errors.problems() {
        let message = problem.message();
        let known = [
            "is also set",
            "and the target is a jira",
            "does not fill this target",
            "does not begin with whsec_",
            "too short for a signing secret",
        ];
        assert!(known.iter().any(|part| message.contains(part)), "{problem}");
    }
}

#[test]
fn the_example_names_every_key_with_its_default() {
    let example = example_keys();
    let rows = reference();
    let listed: BTreeSet<_> = rows.iter().map(|row| (row.section.clone(), row.key.to_owned())).collect();
    assert_eq!(example.keys().cloned().collect::<BTreeSet<_>>(), listed);
    for row in rows {
        if let Some(default) = row.default.strip_prefix('`') {
            assert_eq!(example[&(row.section, row.key.to_owned())], default.trim_end_matches('`'), "{}", row.key);
        }
    }
}

#[test]
fn the_parser_reads_every_key_of_the_list() {
    let folder = Folder::new();
    for row in reference() {
        // A list of lists is invalid for every key, so each key that is read reports an error.
        let mut text = String::new();
        let mut wrong_line = 0;
        let mut lines: Vec<String> = Vec::new();
        let sections = [
            "[server]",
            "[server.tls]",
            "[store]",
            "[log]",
            "[[target]]",
            "[target.token_parameters]",
            "[target.habits]",
            "[[connector]]",
            "[connector.policy]",
            "[connector.policy.scope]",
            "[connector.policy.groups]",
            "[connector.policy.groups.names]",
            "[[connector.policy.groups.overrides]]",
            "[[connector.policy.groups.constant]]",
            "[connector.policy.account]",
            "[connector.policy.matching]",
            "[connector.policy.leavers]",
            "[connector.policy.safety]",
            "[connector.policy.targets.TARGET]",
            "[connector.policy.targets.TARGET.account]",
            "[connector.policy.targets.TARGET.matching]",
            "[connector.policy.targets.TARGET.attributes]",
            "[[connector.group_test]]",
            "[[connector.user_test]]",
            "[[alert]]",
        ];
        for section in sections {
            let optional = [
                "[server.tls]",
                "[target.token_parameters]",
                "[target.habits]",
                "[connector.policy.groups.names]",
                "[[connector.policy.groups.overrides]]",
                "[[connector.policy.groups.constant]]",
                "[connector.policy.account]",
                "[connector.policy.targets.TARGET]",
                "[connector.policy.targets.TARGET.account]",
                "[connector.policy.targets.TARGET.matching]",
                "[connector.policy.targets.TARGET.attributes]",
                "[[connector.group_test]]",
                "[[connector.user_test]]",
                "[[alert]]",
            ];
            if optional.contains(&section) && row.section != section {
                continue;
            }
            lines.push(section.to_owned());
            if section == row.section {
                lines.push(format!("{} = [[]]", row.key));
                wrong_line = lines.len();
            }
            let own = SMALL.split("\n\n").find(|part| part.starts_with(section)).unwrap_or_default();
            for line in own
                .lines()
                .skip(1)
                .filter(|line| section != row.section || !line.starts_with(&format!("{} =", row.key)))
            {
                lines.push(line.to_owned());
            }
        }
        text.push_str(&lines.join("\n"));
        let errors = folder.load(&text).expect_err(row.key);
        let there =
            errors.problems().iter().find(|problem| problem.position().is_some_and(|(line, _)| line == wrong_line));
        let problem = there.unwrap_or_else(|| panic!("{} {} is not read:\n{errors}", row.section, row.key));
        assert!(!problem.message().contains("unknown"), "{problem}");
    }
}

#[test]
fn the_policys_keys_and_defaults_are_those_of_the_model() {
    fn flatten(value: &serde_json::Value, path: &str, into: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    flatten(value, &format!("{path}.{key}"), into);
                }
            }
            _ => {
                into.insert(path.to_owned());
            }
        }
    }
    let mut model = BTreeSet::new();
    flatten(&serde_json::to_value(Policy::default()).unwrap(), "connector.policy", &mut model);
    let rows = reference().into_iter().filter(|row| row.section.starts_with("[connector.policy"));
    // Keys that an administrator names freely have no default.
    let is_free = |row: &Row| {
        row.section.contains(".targets.") || row.section.ends_with(".names]") || row.section.ends_with("]]")
    };
    let rows: Vec<_> = rows.filter(|row| !is_free(row)).collect();
    let listed: BTreeSet<String> =
        rows.iter().map(|row| format!("{}.{}", row.section.trim_matches(['[', ']']), row.key)).collect();
    assert_eq!(model, listed);
    let line = |row: Row| {
        let section = row.section.trim_matches(['[', ']']).trim_start_matches("connector.").to_owned();
        format!("{section}.{} = {}", row.key, row.default.trim_matches('`'))
    };
    let text = with_connector(
        &rows.into_iter().filter(|row| !row.default.is_empty()).map(line).collect::<Vec<_>>().join("\n"),
    );
    assert_eq!(Folder::new().load(&text).unwrap().connectors[0].policy, Policy::default());
}

#[test]
fn the_documentation_table_has_every_key() {
    let table = reference_markdown();
    assert!(table.starts_with("### `[server]`\n\n| key | value | default | meaning |\n"));
    assert!(table.contains("| `listen` | address and port | `\"127.0.0.1:8475\"` |"));
    assert!(table.contains("Variable: `USERSYNC_SERVER_TLS_KEY_FILE`."));
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), reference().len());
    let mut headings: Vec<&str> = table.lines().filter(|line| line.starts_with('#')).collect();
    headings.sort_unstable();
    assert!(headings.is_sorted_by(|one, next| one < next), "a section stands twice: {headings:?}");
}

#[test]
fn the_documentation_is_the_table_of_this_version() {
    let documented = include_str!("../../../docs/configuration.md");
    let tables = &documented[documented.find("### ").unwrap()..];
    assert!(
        tables == reference_markdown(),
        "docs/configuration.md is outdated: replace its tables by `usersync config reference`"
    );
}

/// Words in the tables of the migration guide that are no keys: values, filters of templates, parts of a template rule,
/// a field of Keycloak.
const NO_KEYS: [&str; 9] = [
    "nothing",
    "delete",
    "anonymize",
    "remove_groups",
    "default",
    "regex_replace",
    "when = \"create\"",
    "when = \"always\"",
    "enabled",
];

#[test]
fn the_migration_guide_names_sections_and_keys_that_exist() {
    let rows = reference();
    let tables = rows.iter().filter(|row| row.kind == "table");
    let tables = tables.map(|row| format!("{}.{}]", row.section.trim_end_matches(']'), row.key));
    let sections: BTreeSet<String> = rows.iter().map(|row| row.section.clone()).chain(tables).collect();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/migration.md")).expect("the guide");
    let mut checked = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        // The text of a cell may have an escaped bar.
        let line = line.replace("\\|", "/");
        let ours = line.split('|').nth(2).unwrap_or_default();
        let words: Vec<&str> = ours.split('`').skip(1).step_by(2).collect();
        let named: Vec<&str> = words.iter().copied().filter(|word| word.starts_with('[')).collect();
        assert!(named.iter().all(|section| sections.contains(*section)), "{named:?}: {line}");
        for word in words {
            let is_other = ["[", "{{", "usersync "].iter().any(|start| word.starts_with(start));
            if is_other || NO_KEYS.contains(&word) {
                continue;
            }
            let key = word.split(" = ").next().unwrap_or_default();
            let is_it = |row: &Row| match key.rsplit_once('.') {
                Some((section, key)) => row.key == key && row.section == format!("[connector.{section}]"),
                None => row.key == key && (named.is_empty() || named.contains(&row.section.as_str())),
            };
            assert!(rows.iter().any(is_it), "{word}: {line}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}
