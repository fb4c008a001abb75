//! Set up a realm, check that an event arrives, remove the setup.

use usersync::{
    demo::stack::{SimulatedServers, StackOptions},
    model::{FirstRun, Policy},
};
use usersync_simulators::{KeycloakOptions, SimulatedKeycloak};

use super::place::{Place, Ran};

const ADMIN: &str = "a-very-secret-password";

/// Runs a command as an administrator, with the password in the environment.
async fn administer(place: &Place, args: &[&str]) -> Ran {
    let mut command = place.command(args);
    command.env("KEYCLOAK_ADMIN_PASSWORD", ADMIN);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
    place.read(args, &output)
}

fn keycloak() -> KeycloakOptions {
    KeycloakOptions { admin: ("admin".into(), ADMIN.into()), ..KeycloakOptions::default() }
}

#[tokio::test]
async fn a_realm_is_set_up_and_removed_and_secrets_stay_in_files() {
    let keycloak = SimulatedKeycloak::start(keycloak()).await.expect("the simulator starts");
    let realm = keycloak.add_realm("fresh");
    realm.set_events(false, false, false);
    let mut place = Place::nowhere();
    place.secrets.push(ADMIN.to_owned());
    let url = keycloak.url();
    let of = ["--url", &url, "--realm", "fresh"];
    let setup = [&["keycloak", "setup"][..], &of, &["--address", "https://usersync.example.org"]].concat();

    let plan = administer(&place, &[&setup[..], &["--dry-run"]].concat()).await;
    plan.ended(0)
        .says("would do   create client usersync in realm fresh")
        .says("usersync-key-fresh-secret-file=FILE")
        .says("Nothing was changed.");
    assert!(!place.file("fresh-client.secret").exists());

    administer(&place, &setup).await.ended(0).says("done       create client usersync").says("fresh-client.secret");
    for name in ["fresh-client.secret", "fresh-hook.secret"] {
        let secret = std::fs::read_to_string(place.file(name)).expect("written");
        place.secrets.push(secret.trim().to_owned());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(place.file(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
    let hook = std::fs::read(place.file("fresh-hook.secret")).expect("written");
    administer(&place, &setup).await.ended(0).says("Nothing to do: no change is needed.");
    assert_eq!(
        std::fs::read(place.file("fresh-hook.secret")).expect("there"),
        hook,
        "Keycloak holds that secret by now"
    );
    let (remove, again) = ([&["keycloak", "remove"][..], &of].concat(), [&["keycloak", "setup"][..], &of].concat());
    administer(&place, &again).await.ended(0).says("Nothing to do: no change is needed.");
    administer(&place, &[&remove[..], &["--dry-run"]].concat())
        .await
        .ended(0)
        .says("would do   delete client usersync");
    administer(&place, &remove).await.ended(0).says("done       delete client usersync").says("stay as they are");
    administer(&place, &remove).await.ended(0).says("Nothing to do");
}

#[tokio::test]
async fn an_administrator_is_never_an_argument() {
    let mut place = Place::nowhere();
    place.secrets.push(ADMIN.to_owned());
    let args = ["keycloak", "setup", "--url", "http://127.0.0.1:9", "--realm", "acme"];
    for command in ["setup", "remove", "test-event"] {
        place.run(&["keycloak", command, "--help"]).await.ended(0).says("KEYCLOAK_ADMIN_PASSWORD");
    }
    place.run(&args).await.ended(2).complains("KEYCLOAK_ADMIN_PASSWORD");
    place.run(&[&args[..], &["--password", "x"]].concat()).await.ended(2);
    administer(&place, &args).await.ended(4).complains("127.0.0.1:9");
    place.run(&["keycloak", "setup", "--url", "http://127.0.0.1:9"]).await.ended(2).complains("--realm");
    administer(&place, &["keycloak", "test-event"]).await.ended(1).complains("No server runs");
}

#[tokio::test]
async fn a_test_event_arrives_at_the_running_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StackOptions {
        keycloak: keycloak(),
        policy: Policy { first_run: FirstRun::Apply, ..Policy::default() },
        store: Some(folder.path().join("usersync.db")),
        ..StackOptions::default()
    };
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    let mut place = Place::within(folder, &servers);
    place.secrets.push(ADMIN.to_owned());
    let stack = servers.build().await.expect("the server starts");
    administer(&place, &["keycloak", "test-event"]).await.ended(0).says("The event arrived after");
    stack.stop().await;
}
