//! Output of `--json`, against the published schemas.

use std::process::Stdio;

use serde_json::{Value, json};
use usersync::demo::stack::{SimulatedServers, StackOptions};
use usersync_simulators::{KeycloakOptions, keycloak::NewUser};

use super::{
    place::Place,
    usage::{CALLS, COMMANDS},
    without_server::full,
};

fn schemas() -> Value {
    serde_json::from_str(include_str!("../../../docs/schemas/v1.json")).expect("JSON")
}

/// Returns the definition of a command's document, by its longest known name.
fn definition(schemas: &Value, words: &[&str]) -> Option<String> {
    (1..=words.len()).rev().map(|count| words[..count].join("_")).find(|name| schemas["$defs"].get(name).is_some())
}

#[track_caller]
pub fn assert_valid(words: &[&str], document: &Value) {
    let schemas = schemas();
    let name = if document.get("error").is_some_and(Value::is_object) {
        "error".to_owned()
    } else {
        definition(&schemas, words).unwrap_or_else(|| panic!("{words:?} has no schema"))
    };
    let mut root = schemas;
    root["$ref"] = json!(format!("#/$defs/{name}"));
    let validator = jsonschema::validator_for(&root).expect("a schema");
    let wrong: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{words:?} against {name}: {wrong:#?}\n{document:#}");
}

#[tokio::test]
async fn e11_every_command_without_servers_writes_documents_that_match_its_schema() {
    let place = Place::nowhere();
    full(&place).await;
    for call in CALLS {
        let (_, document) = place.json(call).await;
        assert_eq!(document["schema"], 1, "{call:?}: {document}");
        assert_valid(call, &document);
    }
}

#[tokio::test]
async fn e11_every_command_with_servers_writes_documents_that_match_its_schema() {
    let options = StackOptions {
        keycloak: KeycloakOptions { admin: ("admin".into(), "admin".into()), ..KeycloakOptions::default() },
        ..StackOptions::default()
    };
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    servers.realm.import_users([NewUser::named("alice"), NewUser::named("bob")]).expect("imported");
    let place = Place::at(&servers);
    for call in [
        &["check"][..],
        &["plan"],
        &["sync"],
        &["approvals", "show", "1"],
        &["approvals", "approve", "--connector", "acme"],
        &["sync"],
        &["sync", "alice"],
        &["explain", "alice"],
        &["unmatched"],
        &["unlink", "alice"],
        &["link", "alice", "alice"],
        &["status"],
        &["runs", "show", "1"],
        &["changes"],
        &["target", "confirm", "jira", "--same-server"],
        &["target", "confirm", "jira"],
    ] {
        let (code, document) = place.json(call).await;
        assert!(document.get("error").is_none(), "{call:?} ended with {code}: {document}");
        assert_valid(call, &document);
    }
    for call in [&["setup", "--dry-run"][..], &["setup"], &["remove"]] {
        let args = [&["keycloak"][..], call, &["--json"]].concat();
        let mut command = place.command(&args);
        command.env("KEYCLOAK_ADMIN_PASSWORD", "admin");
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
        let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert!(document.get("error").is_none(), "{args:?}: {document}");
        assert_valid(&args, &document);
    }
}

#[test]
fn e11_every_command_has_a_schema() {
    let schemas = schemas();
    for words in COMMANDS {
        let without = [&["serve"][..], &["demo"], &["config", "example"]].contains(words);
        let has_parts = COMMANDS.iter().any(|other| other.len() > words.len() && other.starts_with(words));
        let name = words.join("_");
        assert_eq!(schemas["$defs"].get(&name).is_some(), !without && !has_parts, "{words:?}");
    }
}

#[tokio::test]
async fn e11_a_failure_has_a_stable_code() {
    let place = Place::nowhere();
    for (args, exit, code) in [
        (&["plan", "--connector", "other"][..], 2, "usage"),
        (&["approvals", "approve", "one"], 2, "usage"),
        (&["frobnicate"], 2, "usage"),
        (&["explain", "alice"], 4, "unreachable"),
        (&["status", "--config", "nowhere.toml"], 2, "configuration"),
        (&["serve"], 2, "usage"),
    ] {
        let (ended, document) = place.json(args).await;
        assert_eq!((ended, &document["error"]["code"]), (exit, &json!(code)), "{args:?}: {document}");
        assert!(document["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{document}");
        assert_valid(args, &document);
    }
}

#[tokio::test]
async fn e11_a_command_ends_cleanly_on_a_signal() {
    // A server that accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = format!("http://{}", silent.local_addr().expect("an address"));
    let place = Place::nowhere();
    place.configure(|text| text.replace("http://127.0.0.1:9", &address));
    for (signal, exit) in [("-INT", 130), ("-TERM", 143)] {
        let mut command = place.command(&["plan", "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // Now it waits for an answer.
        let _connection = silent.accept().await.expect("connected");
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("joined").expect("ended");
        assert_eq!(output.status.code(), Some(exit), "{signal}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!((&document["error"]["code"], &document["exit_code"]), (&json!("stopped"), &json!(exit)));
        assert_valid(&["plan"], &document);
    }
}
