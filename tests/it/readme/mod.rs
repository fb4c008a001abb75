//! The documents match the program's output.

use std::path::Path;

#[test]
fn the_configuration_tables_are_the_programs_own() {
    let page = include_str!("../../../docs/configuration.md");
    let tables = usersync::config::reference_markdown();
    assert!(page.contains(tables.trim()), "put the output of `usersync config reference` into docs/configuration.md");
}

#[test]
fn every_way_to_be_misled_has_its_test() {
    let page = include_str!("../../../docs/architecture.md");
    let (_, table) = page.split_once("## Ways to be misled").expect("the table");
    let (table, _) = table.split_once("\n## ").expect("its end");
    let sources = [
        include_str!("../capabilities/misleading.rs"),
        include_str!("../capabilities/faults.rs"),
        include_str!("../capabilities/federation.rs"),
        include_str!("../capabilities/misled_targets.rs"),
        include_str!("../capabilities/missing.rs"),
        include_str!("../capabilities/odd_answers.rs"),
        include_str!("../capabilities/organizations.rs"),
        include_str!("../capabilities/presence.rs"),
        include_str!("../capabilities/short_lists.rs"),
        include_str!("../keycloak_reading/mod.rs"),
    ];
    let rows: Vec<&str> = table.lines().filter(|line| line.ends_with("` |")).collect();
    assert!(rows.len() >= 40, "{}", rows.len());
    for row in rows {
        let test = row.trim_end_matches("` |").rsplit('`').next().expect("a name");
        let names = [format!("fn {test}()"), format!("    {test}:")];
        let exists = sources.iter().any(|source| names.iter().any(|name| source.contains(name)));
        assert!(exists, "no test is named {test}: {row}");
    }
}

#[test]
fn every_file_that_contributing_names_exists() {
    let page = include_str!("../../../CONTRIBUTING.md");
    let (_, section) = page.split_once("## Where to change what").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let short_forms = [
        ("core/", "crates/core/src/"),
        ("clients/", "crates/clients/src/"),
        ("targets/", "crates/clients/src/targets/"),
        ("simulators/", "crates/simulators/src/"),
        ("listener/", "keycloak-spi-notes/event-listener/src/main/java/io/usersync/keycloak/"),
    ];
    let paths = section.split('`').skip(1).step_by(2).filter(|code| code.contains('/') && !code.contains(' '));
    let paths: Vec<String> = paths.flat_map(without_braces).collect();
    assert!(paths.len() > 100, "{}", paths.len());
    for path in paths {
        let short = short_forms.into_iter().find(|(short, _)| path.starts_with(short));
        let full = short.map_or_else(|| path.clone(), |(short, full)| path.replacen(short, full, 1));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut kinds = ["jira", "confluence", "bitbucket", "crowd", "scim", "keycloak"].into_iter();
        assert!(kinds.any(|kind| root.join(full.replace("KIND", kind)).exists()), "no file {path}");
    }
}

/// Returns the paths that one with `{a,b}` stands for.
fn without_braces(path: &str) -> Vec<String> {
    let Some((start, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (names, end) = rest.split_once('}').expect("a closing brace");
    names.split(',').flat_map(|name| without_braces(&format!("{start}{name}{end}"))).collect()
}
