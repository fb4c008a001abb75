//! The documents match the program's output.

#[test]
fn the_configuration_tables_are_the_programs_own() {
    let page = include_str!("../../../docs/configuration.md");
    let tables = usersync::config::reference_markdown();
    assert!(page.contains(tables.trim()), "put the output of `usersync config reference` into docs/configuration.md");
}
