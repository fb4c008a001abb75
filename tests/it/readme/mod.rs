//! The documents match the program's output.

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
        include_str!("../capabilities/missing.rs"),
        include_str!("../capabilities/odd_answers.rs"),
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
