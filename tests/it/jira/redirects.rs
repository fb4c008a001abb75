//! Redirects and sign-in pages instead of an answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use usersync::{
    model::{
        ErrorClass::{Credentials, Maintenance},
        Operation,
    },
    targets::{Target, TargetErrorKind},
};

use super::{
    scripted_server::{Reply, Seen, Server},
    world::{client, healthy, not_done, soon},
};

/// Answers of the calls about one account, by number from 0; `None`: the normal one.
async fn answering(answers: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) -> Server {
    let asked = Arc::new(AtomicUsize::new(0));
    Server::start(move |seen: &Seen| {
        let about_one = seen.is("GET", "/user") && seen.asks("key").is_some();
        let answer = if about_one { answers(asked.fetch_add(1, Ordering::Relaxed)) } else { None };
        answer.unwrap_or_else(|| healthy(seen))
    })
    .await
}

#[tokio::test]
async fn every_redirect_passes_by_itself_and_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        for to in ["https://login.sso.example.org/away", "/maintenance", ""] {
            let server =
                answering(move |_| Some(Reply::empty(status).header("Location", to).header("Retry-After", "40"))).await;
            let jira = client(&server.url);
            for _ in 0..5 {
                let error = jira.account(&"JIRAUSER10".into()).await.expect_err("no answer");
                assert_eq!(error.kind, not_done(Maintenance), "{status} to {to}: {error}");
                assert_eq!(error.retry_after.map(|wait| wait.as_secs()), Some(40));
            }
            assert!(jira.account(&"JIRAUSER2".into()).await.is_err());
            assert!(jira.account_named("ada").await.is_ok(), "the credentials are still sent");
        }
    }
}

#[tokio::test]
async fn only_several_sign_in_pages_in_a_row_mean_refused_credentials() {
    let form = "<html><form action='/j_security_check'><input type='password' name='p'></form></html>";
    let pages: [fn(&str) -> Reply; 3] = [
        |_| Reply::empty(302).header("Location", "/login.jsp?os_destination=x"),
        |_| Reply::empty(307).header("Location", "https://idp.example.org/realms/a/protocol/openid-connect/auth?x=y"),
        |form| Reply::html(200, form),
    ];
    for page in pages {
        // Two pages and an answer, repeatedly.
        let server = answering(move |nth| (nth % 3 < 2).then(|| page(form))).await;
        let jira = client(&server.url);
        for nth in 0..9 {
            match jira.account(&"JIRAUSER10".into()).await {
                Ok(found) => assert!(found.is_some() && nth % 3 == 2),
                Err(error) => {
                    assert_eq!(error.kind, not_done(Maintenance), "{error}");
                    assert!(error.text.contains("sent a sign-in page instead of an answer"), "{error}");
                }
            }
        }
        let server = answering(move |_| Some(page(form))).await;
        let jira = client(&server.url);
        for nth in 0..4 {
            let error = jira.account(&"JIRAUSER10".into()).await.expect_err("no answer");
            let kind = not_done(if nth < 2 { Maintenance } else { Credentials });
            assert_eq!(error.kind, kind, "{nth}: {error}");
        }
        assert_eq!(server.count("GET", "/user"), 3, "then they are not sent any more");
    }
}

#[tokio::test]
async fn sign_in_pages_to_writes_are_counted_whatever_reads_are_answered() {
    let form = "<html><form action='/j_security_check'><input type='password' name='p'></form></html>";
    for (page, first) in [
        (Reply::empty(302).header("Location", "/login.jsp"), not_done(Maintenance)),
        // It may replace the answer to a write that took effect.
        (Reply::html(200, form), TargetErrorKind::Unanswered),
    ] {
        let server =
            Server::start(move |seen: &Seen| if seen.is("PUT", "/user") { page.clone() } else { healthy(seen) }).await;
        let jira = client(&server.url);
        let deactivate =
            Operation::DeactivateUser { account: "JIRAUSER10".into(), name: "ada".into(), takes: Vec::new() };
        for nth in 0..3 {
            assert!(jira.account(&"JIRAUSER10".into()).await.expect("reads pass").is_some());
            let error = jira.apply(&deactivate, soon()).await.expect_err("no answer");
            let last = nth == 2 && first == not_done(Maintenance);
            assert_eq!(error.kind, if last { not_done(Credentials) } else { first }, "{nth}: {error}");
        }
        let error = jira.account(&"JIRAUSER10".into()).await.expect_err("the credentials count as refused");
        assert_eq!(error.kind, not_done(Credentials), "{error}");
        assert_eq!(server.count("PUT", "/user"), 3, "then they are not sent any more");
    }
}
