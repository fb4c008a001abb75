//! Help, wrong usage, wrong configuration.

use super::place::Place;

/// Every command, by its words.
pub const COMMANDS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["demo"],
    &["check"],
    &["plan"],
    &["sync"],
    &["explain"],
    &["link"],
    &["unlink"],
    &["unmatched"],
    &["drift"],
    &["status"],
    &["events"],
    &["events", "list"],
    &["events", "show"],
    &["events", "replay"],
    &["changes"],
    &["audit"],
    &["tasks"],
    &["dead"],
    &["dead", "list"],
    &["dead", "replay"],
    &["runs"],
    &["runs", "list"],
    &["runs", "show"],
    &["approvals"],
    &["approvals", "list"],
    &["approvals", "show"],
    &["approvals", "approve"],
    &["approvals", "reject"],
    &["approvals", "withdraw"],
    &["connector"],
    &["connector", "list"],
    &["connector", "pause"],
    &["connector", "resume"],
    &["connector", "confirm"],
    &["connector", "retry"],
    &["connector", "rename"],
    &["connector", "remove"],
    &["target"],
    &["target", "list"],
    &["target", "confirm"],
    &["target", "retry"],
    &["target", "rename"],
    &["target", "remove"],
    &["alert"],
    &["alert", "test"],
    &["config"],
    &["config", "check"],
    &["config", "example"],
    &["config", "path"],
    &["config", "reference"],
    &["policy"],
    &["policy", "test"],
    &["keycloak"],
    &["keycloak", "setup"],
    &["keycloak", "remove"],
    &["keycloak", "test-event"],
];

#[tokio::test]
async fn every_command_explains_itself_with_an_example() {
    let place = Place::nowhere();
    for words in COMMANDS {
        let args: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
        let help = place.run(&args).await;
        help.ended(0).says("Example").says("  usersync ");
        assert!(help.err.is_empty(), "{help}");
        assert!(help.out.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
    let help = place.run(&["--help"]).await;
    for code in 0..=4 {
        help.says(&format!("\n  {code}  "));
    }
}

#[tokio::test]
async fn help_lists_every_command_that_is_tested() {
    let place = Place::nowhere();
    let help = place.run(&["--help"]).await;
    let listed: Vec<&str> = help
        .out
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .collect();
    assert!(listed.len() > 10, "{help}");
    for name in listed {
        assert!(COMMANDS.iter().any(|words| words.first() == Some(&name)), "{name} is not tested");
    }
}

#[tokio::test]
async fn the_version_is_printed() {
    let ran = Place::nowhere().run(&["--version"]).await;
    ran.ended(0).says(concat!("usersync ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_reports_the_mistake() {
    let place = Place::nowhere();
    for args in [
        &["frobnicate"][..],
        &["plan", "--nonsense"],
        &["approvals", "approve"],
        &["approvals", "approve", "one"],
        &["events", "--from", "some day"],
        &["dead", "list", "--class", "odd"],
        &["dead", "replay"],
        &["dead", "replay", "alice"],
        &["events", "replay"],
        &[],
    ] {
        let ran = place.run(args).await;
        ran.ended(2);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{args:?}: {ran}");
    }
    place.run(&["plan", "--connector", "acmee"]).await.ended(2).complains("did you mean acme?");
    place.run(&["plan", "--target", "wiki"]).await.ended(2).complains("there is no such target; there are: jira");
    place.run(&["connector", "pause", "other"]).await.ended(2).complains("there is no such connector");
    assert!(!place.store_file().exists(), "a refused command makes no store");
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_2_and_points_at_the_place() {
    let place = Place::nowhere();
    let text = std::fs::read_to_string(place.file("usersync.toml")).expect("readable");
    std::fs::write(place.file("usersync.toml"), text.replace("kind = \"jira\"", "kind = \"jirra\"")).expect("written");
    for args in [&["config", "check"][..], &["status"], &["check"], &["sync"], &["approvals", "list", "--json"]] {
        let ran = place.run(args).await;
        ran.ended(2).complains("usersync.toml:7:8").complains("jirra");
        assert_eq!(ran.out.is_empty(), !args.contains(&"--json"), "{ran}");
    }
    let missing = place.run(&["status", "--config", "nowhere.toml"]).await;
    missing.ended(2).complains("nowhere.toml").complains("there is no such file");
}

#[tokio::test]
async fn the_configuration_commands_work_without_servers() {
    let place = Place::nowhere();
    let example = place.run(&["config", "example"]).await;
    example.ended(0).says("[[connector]]").says("[[target]]");
    place.run(&["config", "path"]).await.ended(0).says("usersync.toml");
    place.run(&["config", "reference"]).await.ended(0).says("### `[[target]]`");
    place.run(&["config", "check"]).await.ended(0).says("1 connector, 1 target");
    let (code, document) = place.json(&["config", "check"]).await;
    assert_eq!((code, &document["connectors"]), (0, &serde_json::json!(["acme"])));
    let (_, document) = place.json(&["config", "reference"]).await;
    assert!(document["keys"].as_array().is_some_and(|keys| keys.len() > 20));
    let (_, document) = place.json(&["config", "path"]).await;
    assert_eq!(document["exists"], true);
    let quiet = place.run(&["config", "check", "--quiet"]).await;
    assert_eq!(quiet.ended(0).out, "");
}

#[tokio::test]
async fn the_file_is_found_by_the_environment_too() {
    let place = Place::nowhere();
    std::fs::rename(place.file("usersync.toml"), place.file("other.toml")).expect("moved");
    let mut command = place.command(&["config", "path"]);
    command.env("USERSYNC_CONFIG", place.file("other.toml"));
    let output = command.output().expect("it runs");
    place.read(&["config", "path"], &output).ended(0).says("other.toml");
}

/// Every command with its required arguments.
pub const CALLS: &[&[&str]] = &[
    &["serve"],
    &["demo"],
    &["check"],
    &["plan"],
    &["sync"],
    &["sync", "alice"],
    &["explain", "alice"],
    &["link", "alice", "alice"],
    &["unlink", "alice"],
    &["unmatched"],
    &["drift"],
    &["status"],
    &["events", "list"],
    &["events", "show", "1"],
    &["events", "replay", "--from", "1h"],
    &["changes"],
    &["audit"],
    &["tasks"],
    &["dead", "list"],
    &["dead", "replay", "--all"],
    &["runs", "list"],
    &["runs", "show", "1"],
    &["approvals", "list"],
    &["approvals", "show", "1"],
    &["approvals", "approve", "1"],
    &["approvals", "reject", "1"],
    &["approvals", "withdraw", "1"],
    &["connector", "list"],
    &["connector", "pause", "acme"],
    &["connector", "resume", "acme"],
    &["connector", "retry", "acme"],
    &["connector", "confirm", "acme"],
    &["connector", "rename", "acme", "corp"],
    &["connector", "remove", "acme"],
    &["target", "list"],
    &["target", "retry", "jira"],
    &["target", "confirm", "jira"],
    &["target", "rename", "jira", "wiki"],
    &["target", "remove", "jira"],
    &["alert", "test"],
    &["config", "check"],
    &["config", "example"],
    &["config", "path"],
    &["config", "reference"],
    &["policy", "test"],
    &["keycloak", "setup", "--url", "http://127.0.0.1:9", "--realm", "acme"],
    &["keycloak", "remove", "--url", "http://127.0.0.1:9", "--realm", "acme"],
    &["keycloak", "test-event"],
];

#[tokio::test]
async fn json_is_one_document_for_every_command_or_refused() {
    let place = Place::nowhere();
    for words in COMMANDS {
        let called = CALLS.iter().any(|call| call.starts_with(words));
        assert!(called, "{words:?} is not called");
    }
    for call in CALLS {
        let (code, document) = place.json(call).await;
        assert!(document.is_object(), "{call:?}: {document}");
        if document.get("error").is_some() {
            assert_eq!(document["exit_code"], code, "{call:?}: {document}");
            assert_ne!(code, 0, "{call:?}");
        }
        if [&["serve"][..], &["demo"], &["config", "example"]].contains(call) {
            assert_eq!(code, 2, "{call:?}");
            assert!(document["error"]["message"].as_str().is_some_and(|why| why.contains("--json")), "{document}");
        }
    }
}
