//! The binary with a configuration file: check, plan, serve, approve, kill, serve again.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use usersync_simulators::{JiraOptions, SimulatedJira};

use super::{
    changes::user,
    compare::differences,
    keycloak::{Realm, Server},
    place::hire,
};

/// Time limit for both sides to be in sync.
const STEP_TIMEOUT: Duration = Duration::from_secs(90);

/// A realm, a simulated Jira, and a configuration file with which every command is run.
pub struct Place {
    pub realm: Realm,
    pub jira: SimulatedJira,
    folder: TempDir,
    server: Option<Child>,
    /// The configuration without the policy.
    text: String,
}

impl Place {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usersync"));
        command.args(args).current_dir(self.folder.path()).env_clear().env("USER", "tester");
        command.env("KEYCLOAK_ADMIN_PASSWORD", "admin").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; returns its output.
    pub async fn run(&self, args: &[&str], code: i32) -> String {
        let (ended, said) = self.ended(args).await;
        assert_eq!(ended, Some(code), "usersync {args:?}\n{said}");
        said
    }

    /// Runs a command to its end; returns its exit code and output.
    pub async fn ended(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (said(&output.stdout), said(&output.stderr));
        (output.status.code(), format!("{out}{err}"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("usersync.log")).unwrap_or_default()
    }

    pub fn serve(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("usersync.log"));
        let log = log.expect("a file");
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.server = Some(command.spawn().expect("it starts"));
    }

    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.kill().expect("killed");
        server.wait().expect("gone");
    }

    /// Waits until the condition holds.
    pub async fn until<T>(&self, what: &str, found: impl AsyncFn() -> Result<T, String>) -> T {
        let began = Instant::now();
        loop {
            match found().await {
                Ok(found) => return found,
                Err(why) => assert!(began.elapsed() < STEP_TIMEOUT, "{what}: {why}\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Writes the configuration with this policy to a file in the folder.
    pub fn configure(&self, file: &str, policy: &str) {
        private(&self.folder.path().join(file), &format!("{}{policy}", self.text));
    }

    async fn in_step(&self, what: &str) {
        self.until(what, async || {
            let differences = differences(&self.realm, &self.jira.snapshot()).await;
            if differences.is_empty() { Ok(()) } else { Err(format!("{differences:#?}")) }
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn private(file: &Path, content: &str) {
    std::fs::write(file, content).expect("written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("private");
}

/// Follows the README: writes the configuration, then sets up the realm with these options for rights, which creates the
/// client's secret.
pub async fn prepare(server: &Server, realm: Realm, port: u16, policy: &str, rights: &[&str]) -> Place {
    let jira = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [("hook.secret", server.hook_secret.as_str()), ("jira.token", jira.token())] {
        private(&folder.path().join(name), content);
    }
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:{port}"

[[target]]
name = "jira"
kind = "jira"
url = "{}"
token_file = "jira.token"

[[connector]]
name = "acme"
url = "{}"
realm = "{}"
client_secret_file = "client.secret"
hook_secret_file = "hook.secret"
targets = ["jira"]
"#,
        jira.url(),
        server.url,
        realm.name
    );
    let place = Place { realm, jira, folder, server: None, text };
    place.configure("usersync.toml", policy);
    let address = format!("http://127.0.0.1:{port}");
    let setup = [&["keycloak", "setup", "--connector", "acme", "--address", &address], rights].concat();
    let done = place.run(&setup, 0).await;
    assert!(done.contains("create client usersync") && done.contains("listener usersync"), "{done}");
    let again = place.run(&setup, 0).await;
    assert!(again.contains("Nothing to do: no change is needed."), "{again}");
    place
}

pub async fn serves_once_its_first_run_is_approved(server: &Server, port: u16) {
    let realm = Realm::fresh(server, "e2e-binary").await;
    hire(&realm).await;
    let mut place = prepare(server, realm, port, "", &[]).await;
    place.run(&["check"], 0).await;
    let plan = place.run(&["plan"], 0).await;
    assert!(plan.contains("100"), "the plan has all the staff: {plan}");
    assert_eq!(place.jira.snapshot().accounts.len(), 1, "a plan writes nothing");

    place.serve();
    let held = place
        .until("the first run is held", async || {
            let (_, said) = place.ended(&["approvals", "list", "--json"]).await;
            let sets: Value = serde_json::from_str(&said).map_err(|_| said.clone())?;
            sets["approvals"][0]["id"].as_i64().ok_or(said)
        })
        .await
        .to_string();
    assert_eq!(place.jira.snapshot().accounts.len(), 1, "nothing is written before the approval");
    let early = place.realm.post("users", &user("early")).await;
    place.run(&["approvals", "approve", &held, "--note", "looked at"], 0).await;
    place.in_step("the approved first run").await;
    place.run(&["keycloak", "test-event", "--connector", "acme"], 0).await;

    place.realm.put(&format!("users/{early}"), &json!({"username": "later"})).await;
    place.in_step("a change while it serves").await;
    place.kill();
    place.realm.delete(&format!("users/{early}")).await;
    place.realm.post("users", &user("newest")).await;
    place.serve();
    place.in_step("changes while it was killed").await;
    let status = place.run(&["status"], 0).await;
    assert!(status.contains("In sync."), "{status}");
    place.run(&["explain", "newest"], 0).await;
    let events = place.run(&["events", "--wide"], 0).await;
    assert!(events.contains("CREATE USER"), "{events}");
    let log = place.log();
    assert!(!log.contains("ERROR") && !log.contains(server.hook_secret.trim()), "{log}");
    place.realm.leave().await;
}
