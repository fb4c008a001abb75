//! Refused credentials are sent once, and again only after they change.

use std::sync::{Arc, Mutex};

use usersync::{
    model::ErrorClass::{Credentials as Refused, Permanent},
    targets::{
        Credentials, Target,
        jira::{JiraSettings, JiraTarget},
    },
};

use super::{
    scripted_server::{Reply, Server},
    world::{client, healthy, not_done, settings},
};

fn good_only(good: &'static str) -> impl Fn(&super::scripted_server::Seen) -> Reply + Send + Sync {
    move |seen| {
        if seen.headers.get("authorization").is_some_and(|sent| sent == good) {
            healthy(seen)
        } else {
            Reply::empty(401)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_secret_is_sent_once_until_it_changes() {
    let server = Server::start(good_only("Bearer new")).await;
    let secret = Arc::new(Mutex::new("old".to_owned()));
    let reported = Arc::clone(&secret);
    let token = Credentials::Token(Arc::new(move || Ok(reported.lock().expect("the secret").clone().into())));
    let jira = Arc::new(JiraTarget::new(JiraSettings::new(server.url.clone(), token)).expect("good settings"));

    let tries: Vec<_> = (0..8)
        .map(|_| {
            let jira = Arc::clone(&jira);
            tokio::spawn(async move { jira.group_named("dev").await })
        })
        .collect();
    for each in tries {
        let error = each.await.expect("no panic").expect_err("refused");
        assert_eq!(error.kind, not_done(Refused));
        assert!(error.text.contains("personal access token"), "{}", error.text);
        assert!(!error.text.contains("old"), "{}", error.text);
    }
    assert_eq!(server.journal().len(), 1, "eight callers, one attempt");

    jira.forget_refusal();
    jira.group_named("dev").await.expect_err("still refused");
    assert_eq!(server.journal().len(), 2);

    "new".clone_into(&mut secret.lock().expect("the secret"));
    assert!(jira.group_named("dev").await.expect("taken").is_some());
    "newer".clone_into(&mut secret.lock().expect("the secret"));
    assert_eq!(jira.members(&"dev".into(), None).await.expect_err("refused").kind, not_done(Refused));
}

#[tokio::test]
async fn user_and_password_are_sent_as_basic() {
    let server = Server::start(good_only("Basic anN5bmM6cMOkc3M6d29yZA==")).await;
    let basic = |password: &'static str| Credentials::Basic {
        user: "jsync".to_owned(),
        password: Arc::new(move || Ok(password.to_owned().into())),
    };
    let make =
        |password| JiraTarget::new(JiraSettings::new(server.url.clone(), basic(password))).expect("good settings");
    assert!(make("päss:word").group_named("dev").await.expect("taken").is_some());
    let error = make("wr0ng").group_named("dev").await.expect_err("refused");
    assert!(error.text.contains("the password of jsync") && error.text.contains("Jira 11"), "{}", error.text);
    assert!(!error.text.contains("wr0ng"));
}

#[tokio::test]
async fn a_missing_secret_is_reported_and_nothing_is_sent() {
    let server = Server::start(healthy).await;
    for (secret, text) in [(Err("JIRA_TOKEN is not set."), "JIRA_TOKEN"), (Ok("two\nlines"), "cannot be sent")] {
        let token =
            Credentials::Token(Arc::new(move || secret.map(|secret| secret.to_owned().into()).map_err(str::to_owned)));
        let jira = JiraTarget::new(JiraSettings::new(server.url.clone(), token)).expect("good settings");
        let error = jira.group_named("dev").await.expect_err("no secret");
        assert_eq!(error.kind, not_done(Refused));
        assert!(error.text.contains(text), "{}", error.text);
    }
    assert!(server.journal().is_empty());
}

#[tokio::test]
async fn settings_are_shown_without_secrets() {
    let mut settings = settings(&"https://me:hush@jira.example.org/jira".parse().expect("a URL"));
    settings.http.proxy = Some("http://me:hush@proxy.example.org:3128".parse().expect("a URL"));
    let shown = format!("{settings:?}");
    assert!(shown.contains("proxy.example.org:3128") && shown.contains("https://jira.example.org"), "{shown}");
    assert!(!shown.contains("hush") && !shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test]
async fn an_answer_before_sign_in_proves_nothing_about_credentials() {
    let server = Server::start(|_| Reply::empty(503).header("X-AUSERNAME", "anonymous")).await;
    let jira = client(&server.url);
    for _ in 0..2 {
        let error = jira.group_named("dev").await.expect_err("starting");
        assert_eq!(error.kind, not_done(usersync::model::ErrorClass::Transient));
    }
    assert_eq!(server.journal().len(), 2);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_with_a_message() {
    let server = Server::start(healthy).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut cases = Vec::new();
    for (url, text) in [
        ("ftp://jira.example.org", "not a valid Jira address"),
        ("https://me:hush@jira.example.org", "contains a user or password"),
        ("https://jira.example.org/?a=b", "contains ? or #"),
    ] {
        cases.push((settings(&url.parse().expect("a URL")), text));
    }
    let mut empty = settings(&server.url);
    empty.http.ca_file = Some(file.path().to_owned());
    cases.push((empty, "holds no PEM certificate"));
    let mut missing = settings(&server.url);
    missing.http.ca_file = Some("/nowhere/ca.pem".into());
    cases.push((missing, "ca_file /nowhere/ca.pem cannot be read"));
    for (settings, text) in cases {
        let error = JiraTarget::new(settings).err().expect("refused");
        assert_eq!(error.kind, not_done(Permanent));
        assert!(error.text.contains(text), "{}", error.text);
        assert!(!error.text.contains("hush"));
    }
}
