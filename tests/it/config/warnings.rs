//! Unwise settings are warnings.

use std::{fs, os::unix::fs::PermissionsExt};

use usersync::config::{Config, Env};

use super::{Folder, SMALL, TOKEN, small, with_connector};

#[test]
fn what_is_unwise_is_a_warning() {
    let folder = Folder::new();
    let unused = format!(
        "{SMALL}[[target]]\nname = \"wiki\"\nkind = \"jira\"\nurl = \"https://wiki\"\ntoken_file = \"jira.token\"\n"
    );
    let cases = [
        (unused, "usersync.toml:14:8: warning: no connector fills this target"),
        (
            with_connector("accept_p2 = true\np2_secret_file = \"hook.secret\""),
            "usersync.toml:13:13: warning: events in the p2 form have no timestamp",
        ),
        (
            with_connector("p2_secret_file = \"hook.secret\""),
            "usersync.toml:13:18: warning: p2_secret_file is not used",
        ),
        (
            small("https://sso", "http://sso"),
            "usersync.toml:9:7: warning: secrets and personal data are sent there without TLS",
        ),
        (String::new(), "usersync.toml: warning: there is no connector, so nothing is kept in sync"),
    ];
    for (text, expected) in cases {
        let warnings = folder.warnings(&text);
        assert!(warnings.len() == 1 && warnings[0].starts_with(expected), "{expected}\n{warnings:?}");
    }
    assert_eq!(folder.warnings(&small("https://sso.example.org", "http://localhost:8080")), Vec::<String>::new());
}

#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    let folder = Folder::new();
    let open = |name: &str| fs::set_permissions(folder.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    open("jira.token");
    let warnings = folder.warnings(SMALL);
    assert_eq!(
        warnings,
        [
            "usersync.toml:5:14: warning: other users on this machine can read file jira.token\n    token_file = \"jira.token\"\n                 ^^^^^^^^^^^^\n    chmod 600 jira.token"
        ]
    );
    folder.write("jira.token", TOKEN);
    let path = folder.write("usersync.toml", &small("token_file = \"jira.token\"", "token = \"inline\""));
    assert!(Config::load(&path, &Env::default()).unwrap().warnings.is_empty());
    open("usersync.toml");
    let warnings = Config::load(&path, &Env::default()).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].message(), "it contains secrets, and other users on this machine can read it");
}
