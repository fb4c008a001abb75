//! The README says what the program says.

#[test]
fn its_configuration_table_is_the_programs_own() {
    let readme = include_str!("../README.md");
    let table = usersync::config::reference_markdown();
    assert!(readme.contains(table.trim()), "put the output of `usersync config reference` into README.md");
}
