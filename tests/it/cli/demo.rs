//! The demo, as after a fresh download.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use super::place::Place;

/// A demo process that is always ended, even if a test fails.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn e10_the_demo_shows_plan_approval_explain_and_status() {
    let place = Place::nowhere();
    let demo = place.run(&["demo", "--fast"]).await;
    demo.ended(0)
        .says("$ usersync plan --target jira")
        .says("create        40 users")
        .says("$ usersync approvals approve --connector acme")
        .says("Approved: the first run of acme → jira, 40 operations.")
        .says("alice becomes alicia")
        .says("$ usersync explain alicia")
        .says("$ usersync status")
        .says("source and target agree");
}

#[tokio::test]
async fn e10_a_demo_that_is_kept_can_be_used_and_ends_cleanly() {
    let place = Place::nowhere();
    let mut command = place.command(&["demo", "--all", "--keep", "--fast"]);
    let mut child = Kept(command.stdout(Stdio::piped()).spawn().expect("it starts"));
    let pid = child.0.id();
    let output = BufReader::new(child.0.stdout.take().expect("a pipe"));
    let (reported, config) = tokio::task::spawn_blocking(move || {
        let mut reported = String::new();
        let mut config = None;
        for line in output.lines() {
            let line = line.expect("text");
            reported.push_str(&line);
            reported.push('\n');
            if let Some((_, rest)) = line.split_once("usersync --config ") {
                config = rest.strip_suffix(" status").map(str::to_owned);
            }
            if line.starts_with("Ctrl-C ends it") {
                break;
            }
        }
        (reported, config)
    })
    .await
    .expect("joined");
    for product in ["Keycloak", "Jira", "Confluence", "Bitbucket", "Crowd", "SCIM"] {
        let line = reported
            .lines()
            .find(|line| line.starts_with(&format!("{product:<10} http")))
            .unwrap_or_else(|| panic!("no {product} in {reported}"));
        assert!(line.contains("token ") || line.contains("password "), "{line}");
    }
    let config = config.unwrap_or_else(|| panic!("no configuration in {reported}"));
    for args in [&["status"][..], &["check"], &["plan"], &["explain", "alicia"], &["changes"], &["config", "check"]] {
        let ran = place.run(&[args, &["--config", &config]].concat()).await;
        // Exit code 1: one target cannot rename a login, which is reported as a problem.
        assert!(ran.code <= 1, "{args:?}: {ran}");
    }
    assert!(std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status().expect("kill").success());
    let code = tokio::task::spawn_blocking(move || child.0.wait()).await.expect("joined").expect("ended").code();
    assert_eq!(code, Some(0));
    assert!(!std::path::Path::new(&config).exists(), "nothing is left behind");
}
