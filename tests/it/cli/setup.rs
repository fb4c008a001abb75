//! First setup: the messages before anything runs.

use jiff::Timestamp;
use usersync::{
    demo::stack::{SimulatedServers, StackOptions},
    model::{Pair, RunTrigger},
    store::{EngineStore, StoreReads},
};
use usersync_simulators::{KeycloakOptions, SimulatedKeycloak, keycloak::NewUser};

use super::place::{Place, Ran};

const ADMIN: &str = "a-very-secret-password";

/// Runs a command as an administrator, with the password in the environment.
async fn administer(place: &Place, args: &[&str]) -> Ran {
    let mut command = place.command(args);
    command.env("KEYCLOAK_ADMIN_PASSWORD", ADMIN);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
    place.read(args, &output)
}

async fn keycloak() -> SimulatedKeycloak {
    let options = KeycloakOptions { admin: ("admin".into(), ADMIN.into()), ..KeycloakOptions::default() };
    SimulatedKeycloak::start(options).await.expect("the simulator starts")
}

/// Adds a connector without its secrets.
fn add_connector(place: &Place, url: &str) {
    place.configure(|text| {
        format!(
            "{text}\n[[connector]]\nname = \"fresh\"\nurl = \"{url}\"\nrealm = \"fresh\"\n\
             client_secret_file = \"fresh-client.secret\"\nhook_secret_file = \"fresh-hook.secret\"\ntargets = [\"jira\"]\n"
        )
    });
}

#[tokio::test]
async fn e1_setup_works_for_a_connector_whose_secrets_are_not_there_yet() {
    let keycloak = keycloak().await;
    keycloak.add_realm("fresh");
    let mut place = Place::nowhere();
    add_connector(&place, &keycloak.url());
    place.run(&["config", "check"]).await.ended(2).complains("fresh-client.secret");

    let setup = administer(&place, &["keycloak", "setup", "--connector", "fresh"]).await;
    setup
        .ended(0)
        .says("create client usersync")
        .says("fresh-client.secret (mode 0600, owner ")
        .says("fresh-hook.secret (mode 0600, owner ")
        .says("usersync check");
    for name in ["fresh-client.secret", "fresh-hook.secret"] {
        place.secrets.push(std::fs::read_to_string(place.file(name)).expect("written").trim().to_owned());
    }
    place.run(&["config", "check"]).await.ended(0).says("2 connectors");
    administer(&place, &["keycloak", "setup", "--connector", "fresh"]).await.ended(0).says("Nothing to do");
}

#[tokio::test]
async fn e1_only_the_connectors_own_section_must_be_valid() {
    let keycloak = keycloak().await;
    keycloak.add_realm("fresh");
    let place = Place::nowhere();
    add_connector(&place, &keycloak.url());
    place.configure(|text| text.replace("kind = \"jira\"", "kind = \"jirra\""));
    let setup = ["keycloak", "setup", "--connector", "fresh"];
    administer(&place, &setup)
        .await
        .ended(0)
        .says("The configuration is not valid as a whole yet. Show its errors: usersync config check");
    administer(&place, &["keycloak", "setup", "--connector", "frehs"]).await.ended(2).complains("did you mean fresh?");
    administer(&place, &["keycloak", "setup"]).await.ended(2).complains("--connector NAME");
    place.configure(|text| text.replace("realm = \"fresh\"", "realm = 7"));
    administer(&place, &setup).await.ended(2).complains("realm");
}

#[tokio::test]
async fn e1_for_a_connector_without_files_the_missing_keys_are_reported() {
    let keycloak = keycloak().await;
    keycloak.add_realm("fresh");
    let place = Place::nowhere();
    add_connector(&place, &keycloak.url());
    place.configure(|text| text.replace("client_secret_file = \"fresh-client.secret\"\n", ""));
    administer(&place, &["keycloak", "setup", "--connector", "fresh"])
        .await
        .ended(0)
        .says("Add to connector fresh: client_secret_file = \"")
        .says("fresh-client.secret\"");
}

#[tokio::test]
async fn e2_files_get_an_owner_that_exists() {
    let keycloak = keycloak().await;
    keycloak.add_realm("fresh");
    let place = Place::nowhere();
    let of = ["--url", &keycloak.url(), "--realm", "fresh"];
    let setup = [&["keycloak", "setup"][..], &of].concat();
    administer(&place, &[&setup[..], &["--owner", "no-such-user"]].concat())
        .await
        .ended(2)
        .complains("--owner no-such-user: this system has no user of that name");
    administer(&place, &[&setup[..], &["--client-secret-file", "nowhere/x"]].concat())
        .await
        .ended(2)
        .complains("there is no folder");
    assert!(!place.file("fresh-client.secret").exists());
}

#[tokio::test]
async fn e3_the_address_is_usersyncs_own_in_help_readme_and_error() {
    let place = Place::nowhere();
    let of = ["--url", "http://127.0.0.1:9", "--realm", "acme"];
    let with = |address: &'static str| [&["keycloak", "setup"][..], &of, &["--address", address]].concat();
    administer(&place, &with("https://usersync.example.org/hooks/acme"))
        .await
        .ended(2)
        .complains("write it as https://usersync.example.org: /hooks/CONNECTOR is added");
    administer(&place, &with("usersync.example.org")).await.ended(2).complains("https://usersync.example.org");
    let help = place.run(&["keycloak", "setup", "--help"]).await;
    help.says("--address https://usersync.example.org").says("without /hooks/");
    for text in [include_str!("../../../README.md"), include_str!("../../../docs/operate.md"), help.out.as_str()] {
        for (_, rest) in text.match_indices("--address ").map(|(at, found)| text.split_at(at + found.len())) {
            let value = rest.split_whitespace().next().unwrap_or_default().trim_matches('`');
            assert!(!value.contains("/hooks"), "{value}");
        }
    }
}

#[tokio::test]
async fn e4_an_address_without_a_scheme_is_answered_with_one() {
    let place = Place::nowhere();
    for (given, wanted) in
        [("sso.example.org", "https://sso.example.org"), ("sso.example.org:8443", "https://sso.example.org:8443")]
    {
        let args = ["keycloak", "setup", "--url", given, "--realm", "acme"];
        place.run(&args).await.ended(2).complains(&format!("write it as {wanted}"));
    }
}

#[tokio::test]
async fn e5_a_first_run_without_operations_needs_no_approval() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let place = Place::at(&servers);
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    place.run(&["sync"]).await.ended(0).says("create        1 user");
    // It starts again, and both sides are in sync.
    place.run(&["connector", "confirm", "acme"]).await.ended(0);
    place.run(&["plan"]).await.ended(0).says("It has no operations, so it needs no approval.");
    place.run(&["sync"]).await.ended(0);
    place.run(&["status"]).await.ended(0).says("In sync.");
    place.run(&["approvals", "list"]).await.ended(0).says("Nothing waits for approval.");
}

#[tokio::test]
async fn a_realm_without_users_stays_in_its_first_plan_which_is_reported() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    let place = Place::at(&servers);
    let none = "The realm has no users in scope yet";
    place.run(&["plan"]).await.ended(0).says(none);
    place.run(&["sync"]).await.ended(0).says(none).says("waits for approval");
    let (code, document) = place.json(&["sync"]).await;
    assert_eq!((code, &document["runs"][0]["no_users"]), (0, &serde_json::json!(true)));
    place
        .run(&["status"])
        .await
        .ended(0)
        .says("New: the realm has no users in scope yet. Once it has users, plan the first run: usersync sync");

    // An event of one user is stored, and its task waits.
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let alice = servers.realm.snapshot().user("alice").map(|user| user.id.clone()).expect("there");
    let store = place.store().await;
    let event = super::without_server::event("e-alice", &alice, false);
    store.append_events(&"acme".into(), &["jira".into()], vec![event], Timestamp::now()).await.expect("stored");
    store.close().await;
    place.run(&["status"]).await.ended(0).says(
        "1 task waits: nothing is written before the first run is approved; plan it: usersync sync; then approve it: \
         usersync approvals approve --connector acme",
    );
    place
        .run(&["plan"])
        .await
        .ended(0)
        .says("sync plans it and holds it until it is approved: usersync approvals approve --connector acme");
    place.run(&["sync"]).await.ended(3).says("the first run waits for approval");
    assert!(servers.jira.snapshot().account("alice").is_none(), "nothing is written before");
    place.run(&["plan"]).await.says("Nothing is written before it is approved: usersync approvals approve 1");
    place.run(&["status"]).await.ended(3).says(
        "1 task waits: nothing is written before the first run is approved; approve it: usersync approvals approve",
    );
    place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    place.run(&["plan"]).await.ended(0).says("This would be the first run. It is approved.");
    place.run(&["sync"]).await.ended(0).says("create        1 user");
    place.run(&["status"]).await.ended(0).says("In sync.");
}

#[tokio::test]
async fn a_new_address_of_the_same_server_is_confirmed_by_one_command() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let place = Place::at(&servers);
    place.run(&["sync"]).await.ended(3);
    place.run(&["target", "confirm", "jira", "--same-server"]).await.ended(0).says("keeps its state: first run held");
    place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);

    servers.jira.set_base_url("https://jira.example.org");
    let (same, other) = ("usersync target confirm jira --same-server", "such as a clone: usersync target confirm jira");
    place.run(&["sync"]).await.ended(3).complains(same).complains(other);
    place.run(&["status"]).await.ended(3).says(same).says(other).says("https://jira.example.org");
    place.run(&["sync"]).await.ended(3).complains(same).complains(other);
    place
        .run(&["target", "confirm", "jira", "--same-server"])
        .await
        .ended(0)
        .says("at https://jira.example.org is the same server; everything known about it is kept.")
        .says("acme → jira is in service. Its next full reconcile compares the links.")
        .says("or by: usersync sync");
    place.run(&["sync"]).await.ended(0).says("Nothing to do: all 1 user");
    place.run(&["status"]).await.ended(0).says("In sync.");
    place.run(&["audit"]).await.ended(0).says("confirmed target jira: the same server, now").says("tester");

    servers.jira.set_identity("another-server", "Another");
    place.run(&["sync"]).await.ended(3).complains("is another server than before");
    place
        .run(&["target", "confirm", "jira", "--same-server"])
        .await
        .ended(1)
        .complains("is not the same server: its id is another-server, and was")
        .complains("If it is another server: usersync target confirm jira");
    place.run(&["status"]).await.ended(3).says("Stopped: ");
}

#[tokio::test]
async fn tasks_under_a_new_name_are_replaced_by_a_run() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let place = Place::at(&servers);
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    // Keycloak already sends to the new URL.
    let store = place.store().await;
    let event = super::without_server::event("e-alice", "u-alice", false);
    store.append_events(&"corp".into(), &["jira".into()], vec![event], Timestamp::now()).await.expect("stored");
    store.close().await;
    place
        .run(&["connector", "rename", "acme", "corp"])
        .await
        .ended(0)
        .says("corp → jira: a full reconcile is requested, for what waited under the old name.");
    let store = place.store().await;
    let pair = Pair::new("corp", "jira");
    assert_eq!(store.requested_run(&pair).await.expect("readable"), Some(RunTrigger::Event));
    store.close().await;
}

#[tokio::test]
async fn e5_one_command_decides_all_of_a_connector() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let place = Place::at(&servers);
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve"]).await.ended(2).complains("--connector");
    place.run(&["approvals", "approve", "1", "--connector", "acme"]).await.ended(2);
    place.run(&["approvals", "approve", "--connector", "acmee"]).await.ended(2).complains("did you mean acme?");
    let approved = place.run(&["approvals", "approve", "--connector", "acme", "--note", "read"]).await;
    approved
        .ended(0)
        .says("approval 1    acme → jira    first run")
        .says("create")
        .says("Approved: the first run of acme → jira, 1 operation.")
        .says("usersync sync");
    place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0).says("Nothing of connector acme waits");
    place.run(&["sync"]).await.ended(0).says("create        1 user");
    let (code, document) = place.json(&["approvals", "reject", "--connector", "acme", "--target", "jira"]).await;
    assert_eq!((code, &document["sets"]), (0, &serde_json::json!([])));
}

#[tokio::test]
async fn e7_the_audit_names_the_operator() {
    let place = Place::nowhere();
    place.store().await.close().await;
    place.run(&["connector", "pause", "acme"]).await.ended(0);
    place.run(&["connector", "resume", "acme", "--by", "dora"]).await.ended(0);
    let mut command = place.command(&["connector", "pause", "acme"]);
    command.env_remove("SUDO_USER");
    assert!(command.status().expect("runs").success());
    let (_, document) = place.json(&["audit"]).await;
    let by: Vec<&str> =
        document["audit"].as_array().expect("a list").iter().filter_map(|one| one["by"].as_str()).collect();
    let id = std::process::Command::new("id").arg("-un").output().expect("runs").stdout;
    let us = String::from_utf8(id).expect("text");
    assert_eq!(by, [us.trim(), "dora", "tester"], "never the USER of the environment");
}

#[tokio::test]
async fn e6_a_renamed_connector_keeps_its_links_and_a_removed_one_frees_them() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let place = Place::at(&servers);
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);

    let server = place.store().await;
    place.run(&["connector", "rename", "acme", "corp"]).await.ended(1).complains("Stop it, run this command again");
    server.close().await;
    place.run(&["connector", "rename", "acme", "Not A Name"]).await.ended(2).complains("is not a valid name");
    place
        .run(&["connector", "rename", "acme", "corp"])
        .await
        .ended(0)
        .says("connector acme is renamed to corp, with 1 link and 0 managed groups.")
        .says("Replace acme with corp in")
        .says("usersync keycloak setup --connector corp");
    place.run(&["target", "rename", "jira", "jira-prod"]).await.ended(0).says("Replace jira with jira-prod in");
    place.configure(|text| {
        text.replace("name = \"acme\"", "name = \"corp\"")
            .replace("name = \"jira\"", "name = \"jira-prod\"")
            .replace("targets = [\"jira\"]", "targets = [\"jira-prod\"]")
    });
    place.run(&["sync"]).await.ended(0).says("Nothing to do: all 1 user");
    place.run(&["changes"]).await.ended(0).says("corp → jira-prod");
    place.run(&["audit"]).await.ended(0).says("renamed connector acme to corp").says("tester");

    place.run(&["connector", "remove", "corp"]).await.ended(2).complains("remove it from the file");
    place.configure(|text| text.replace("name = \"corp\"", "name = \"other\""));
    place
        .run(&["connector", "remove", "corp"])
        .await
        .ended(0)
        .says("corp → jira-prod: 1 account and 0 groups stay as they are");
    assert!(servers.jira.snapshot().account("alice").is_some_and(|account| account.active));
    place.run(&["plan"]).await.says("adopt         1 account");
}
