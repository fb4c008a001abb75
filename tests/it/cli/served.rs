//! The server as an operator runs it: the built binary, its log, its exit code, and the commands beside it.

use std::{
    net::SocketAddr,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use usersync::demo::stack::{CONNECTOR, HOOK_SECRET, SimulatedServers, StackOptions};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, Webhook},
};

use super::place::{Place, Ran};

/// Timeout of every wait; the store waits 5 s for a lock, and retries every 5 s.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(40);

pub struct Served {
    pub servers: SimulatedServers,
    pub place: Place,
    pub child: Child,
    pub address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(place: &Place) -> Child {
    let log = std::fs::File::create(place.file("serve.log")).expect("a file");
    let mut command = place.command(&["serve"]);
    command.env("USERSYNC_SERVER_LISTEN", "127.0.0.1:0").env("USERSYNC_LOG", "usersync=debug");
    command.stdout(Stdio::null()).stderr(log).spawn().expect("it starts")
}

/// Returns the address on which it listens, from its output.
async fn address(place: &Place) -> SocketAddr {
    let began = Instant::now();
    loop {
        let log = std::fs::read_to_string(place.file("serve.log")).unwrap_or_default();
        let found =
            log.lines().find_map(|line| line.split("listening on ").nth(1)?.split_whitespace().next()?.parse().ok());
        match found {
            Some(address) => return address,
            None => assert!(began.elapsed() < STEP_TIMEOUT, "{log}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Served {
    /// Serves a realm of a few users with the binary.
    async fn prepare(first_run: &str, prepare: impl FnOnce(&SimulatedServers)) -> Self {
        Self::configured(first_run, prepare, |_| {}).await
    }

    /// The same with another configuration.
    pub async fn configured(
        first_run: &str,
        prepare: impl FnOnce(&SimulatedServers),
        configure: impl FnOnce(&Place),
    ) -> Self {
        let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
        servers.realm.import_group("/engineering").expect("made");
        let staff = (0..10).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/engineering"]));
        servers.realm.import_users(staff).expect("imported");
        prepare(&servers);
        let place = Place::at(&servers);
        place.configure(|text| format!("{text}\n[connector.policy]\nfirst_run = \"{first_run}\"\n"));
        configure(&place);
        let child = start(&place);
        let address = address(&place).await;
        let served = Self { servers, place, child, address };
        served.connect();
        served
    }

    fn connect(&self) {
        let url = format!("http://{}/hooks/{CONNECTOR}", self.address);
        self.servers.realm.set_webhook(Some(Webhook::listener(url, HOOK_SECRET)));
    }

    pub async fn restart(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        self.child = start(&self.place);
        self.address = address(&self.place).await;
        self.connect();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.file("serve.log")).expect("a log")
    }

    /// Waits until the log contains this text.
    async fn logs(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < STEP_TIMEOUT, "no `{text}` in {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.expect("answered");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Repeats a command until its output contains this text.
    pub async fn until(&self, args: &[&str], code: i32, text: &str) -> Ran {
        let began = Instant::now();
        loop {
            let ran = self.place.run(args).await;
            if ran.code == code && (ran.out.contains(text) || ran.err.contains(text)) {
                return ran;
            }
            assert!(began.elapsed() < STEP_TIMEOUT, "no `{text}` with exit {code} in {ran}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_reported_until_a_reload_brings_a_new_one() {
    let mut served = Served::prepare("apply", |_| {}).await;
    served.until(&["status"], 0, "In sync.").await;
    let token = served.servers.jira.token().to_owned();
    served.servers.jira.revoke_token(&token);
    served.servers.realm.create_user(NewUser::named("alice")).await.expect("created");

    let refused = "jira refuses usersync's credentials";
    let status = served.until(&["status"], 4, &format!("Degraded: {refused}, for ")).await;
    status.says("1 task waits.").says("Renew the token or password");
    served.place.run(&["tasks"]).await.ended(0).says(&format!("Tasks wait: {refused}, since "));
    let (_, tasks) = served.place.json(&["tasks"]).await;
    assert_eq!(tasks["conditions"][0]["code"], "credentials_refused");
    let (code, ready) = served.get("/readyz").await;
    assert_eq!(code, 200, "events are taken all the same");
    assert!(ready.contains(r#""code":"credentials_refused""#) && ready.contains(r#""since":"#), "{ready}");
    let (_, metrics) = served.get("/metrics").await;
    let series =
        r#"usersync_condition_since_timestamp_seconds{condition="credentials_refused",connector="",target="jira"} "#;
    assert!(metrics.contains(series), "{metrics}");
    let log = served.log();
    let runs = ["full reconcile started", "full reconcile ended"];
    for line in ["configuration loaded", runs[0], runs[1], "DEBUG", "written", refused] {
        assert!(log.contains(line), "no `{line}` in {log}");
    }
    assert!(!log.contains("alice") && !log.contains("staff1"), "the log names a user: {log}");

    served.restart().await;
    served.until(&["status"], 4, &format!("Degraded: {refused}, for ")).await;

    served.servers.jira.set_credentials("admin", "admin", "another-token");
    served.place.configure(|text| {
        let text = text.replace(&token, "another-token");
        text.replace("path = \"usersync.db\"", "path = \"usersync.db\"\nretention = \"40d\"")
    });
    served.signal("-HUP");
    served.until(&["status"], 0, "In sync.").await;
    assert!(served.servers.jira.snapshot().account("alice").is_some());
    let log = served.log();
    assert!(log.contains("the configuration is reloaded") && log.contains("target jira.token"), "{log}");
    assert!(log.contains("in use only after a restart: store.retention"), "{log}");
    assert!(log.contains(&format!("over: {refused}")), "{log}");
    for login in ["alice", "staff1"] {
        assert!(!log.contains(login), "the log names {login}: {log}");
    }
    served.signal("-TERM");
    assert_eq!(served.child.wait().expect("ended").code(), Some(0));
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_reported_until_it_can() {
    let served = Served::prepare("apply", |_| {}).await;
    served.until(&["status"], 0, "In sync.").await;
    let file = format!("sqlite://{}", served.place.store_file().display());
    let mut other = SqliteConnection::connect(&file).await.expect("opens");
    other.execute("BEGIN IMMEDIATE").await.expect("locks");
    let began = Instant::now();
    loop {
        let (code, body) = served.get("/readyz").await;
        if code == 503 {
            assert!(body.contains("another process has locked it") && body.contains("not_writable"), "{body}");
            break;
        }
        assert!(began.elapsed() < STEP_TIMEOUT, "{body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (status, check) = tokio::join!(served.place.run(&["status"]), served.place.run(&["check"]));
    status.ended(1).says("Degraded: the store cannot be written: another process has locked it.");
    check.ended(1).says("another process has locked it");
    assert!(served.log().contains("the store cannot be written"), "{}", served.log());

    other.execute("ROLLBACK").await.expect("unlocks");
    served.until(&["status"], 0, "In sync.").await;
    let began = Instant::now();
    while served.get("/readyz").await.0 != 200 {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", served.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_first_plan_that_fails_is_shown_at_once() {
    let served = Served::prepare("hold", |servers| {
        servers.jira.faults.add(Fault::unavailable());
    })
    .await;
    let status = served.until(&["status"], 4, "Degraded: jira does not answer").await;
    status.says("503");
    served.place.run(&["plan"]).await.ended(4).complains("503");
    served
        .place
        .run(&["sync"])
        .await
        .ended(4)
        .complains("its first plan fails: connecting: Jira answered 503")
        .complains("503");
}

#[tokio::test]
async fn a_refused_create_is_listed_as_a_failed_task() {
    let served = Served::prepare("apply", |servers| {
        let body = r#"{"errorMessages":[],"errors":{"username":"This name is not allowed."}}"#;
        let refused = Fault::status(400, body).header("content-type", "application/json");
        servers.jira.faults.add(refused.method("POST").path("/api/2/user").once());
    })
    .await;
    let status = served.until(&["status"], 1, "Out of sync: 1 failed task.").await;
    status.says("1 failed task: usersync dead list --connector acme --target jira");
    served.place.run(&["dead", "list"]).await.ended(0).says("This name is not allowed");
    assert!(served.log().contains("failed task: usersync dead list"), "{}", served.log());
    served.place.run(&["dead", "replay", "--all"]).await.ended(0);
    served.until(&["status"], 0, "In sync.").await;
}

#[tokio::test]
async fn check_reports_what_the_listener_has_delivered() {
    let served = Served::prepare("apply", |_| {}).await;
    served.until(&["status"], 0, "In sync.").await;
    served.place.run(&["check"]).await.says("no event received since");
    served.servers.realm.create_user(NewUser::named("alice")).await.expect("created");
    served.until(&["check"], 0, "last event").await.says("pushed (");
}

#[tokio::test]
async fn e1_a_running_server_goes_on_while_a_connector_is_added() {
    let served = Served::prepare("apply", |servers| {
        servers.keycloak.add_realm("fresh");
    })
    .await;
    served.until(&["status"], 0, "In sync.").await;
    let url = served.servers.keycloak.url();
    served.place.configure(|text| {
        format!(
            "{text}\n[[connector]]\nname = \"fresh\"\nurl = \"{url}\"\nrealm = \"fresh\"\n\
             client_secret_file = \"fresh-client.secret\"\nhook_secret_file = \"fresh-hook.secret\"\ntargets = [\"jira\"]\n"
        )
    });
    served.signal("-HUP");
    served.logs("so nothing is reloaded").await;
    let args = ["keycloak", "setup", "--connector", "fresh"];
    let mut command = served.place.command(&args);
    command.env("KEYCLOAK_ADMIN_PASSWORD", "admin");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
    served.place.read(&args, &output).ended(0).says("continues. A new connector needs a restart.");
    served.signal("-HUP");
    served.logs("in use only after a restart: connector fresh.").await;
    served.servers.realm.create_user(NewUser::named("alice")).await.expect("created");
    let began = Instant::now();
    while served.servers.jira.snapshot().account("alice").is_none() {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", served.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, _) = served.get("/readyz").await;
    assert_eq!(code, 200);
}
