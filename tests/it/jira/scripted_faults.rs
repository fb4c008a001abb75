//! Every fault, for a read and for every write: its meaning and its message.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use usersync::{
    model::ErrorClass::{Credentials, Forbidden, Maintenance, Permanent, Throttled, Transient, Unconfirmed},
    targets::{
        Target, TargetError,
        TargetErrorKind::{self, Unanswered, Unsupported},
    },
};

use super::{
    scripted_server::{Reply, Seen, Server},
    world::{client, healthy, not_done, refusal, settings, soon, user, writes},
};

/// For checks after a refusal: a world in which the write did not take effect.
fn leftover(seen: &Seen) -> Reply {
    if seen.is("GET", "/user") && seen.asks("key") == Some("JIRAUSER10") {
        return Reply::json(200, user("JIRAUSER10", "ada", &[]));
    }
    healthy(seen)
}

struct Fault {
    name: &'static str,
    reply: Reply,
    read: TargetErrorKind,
    write: TargetErrorKind,
    text: &'static str,
    wait: Option<f64>,
}

fn fault(name: &'static str, reply: Reply, read: TargetErrorKind, write: TargetErrorKind, text: &'static str) -> Fault {
    Fault { name, reply, read, write, text, wait: None }
}

#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn faults() -> Vec<Fault> {
    let both = |name, reply, kind: TargetErrorKind, text| fault(name, reply, kind, kind, text);
    let json = |status| Reply::json(status, json!({"errorMessages": ["Words of Jira."], "errors": {}}));
    let transient = not_done(Transient);
    vec![
        fault("closed without a word", Reply::Close, transient, Unanswered, "broke before the answer was complete"),
        fault("cut in the middle", Reply::Truncated(200, "{\"key\"".into()), transient, Unanswered, "broke before"),
        fault("no answer", Reply::Hang, transient, Unanswered, "did not answer within 1 s"),
        both(
            "401",
            Reply::html(401, "<html>Unauthorized (401)</html>"),
            not_done(Credentials),
            "rejected the personal",
        ),
        both(
            "401 that means 403",
            json(401).header("X-AUSERNAME", "jsync"),
            not_done(Forbidden),
            "jsync lacks the permission",
        ),
        fault("403", json(403), not_done(Forbidden), Unsupported, "403, saying \"Words of Jira\""),
        both("403 XSRF", Reply::text(403, "XSRF check failed"), not_done(Forbidden), "X-Atlassian-Token"),
        both(
            "404 of a proxy",
            Reply::html(404, "<html>nginx</html>"),
            not_done(Unconfirmed),
            "does not come from Jira",
        ),
        both(
            "404 of a wrong path",
            Reply::json(404, json!({"message": "null for uri", "status-code": 404})),
            not_done(Unconfirmed),
            "path prefix",
        ),
        both("409", json(409), transient, "another operation is in progress"),
        both("429", Reply::empty(429), not_done(Throttled), "rate limited (429) by"),
        Fault {
            wait: Some(7.0),
            ..both("429, 7 s", Reply::empty(429).header("Retry-After", "7"), not_done(Throttled), "asking to wait 7 s")
        },
        Fault {
            wait: Some(1.5),
            ..both(
                "429, 1.5 s",
                Reply::empty(429).header("retry-after", "1.5"),
                not_done(Throttled),
                "asking to wait 2 s",
            )
        },
        fault("500", json(500), transient, Unanswered, "500, saying \"Words of Jira\""),
        fault(
            "502",
            Reply::html(502, "<html><h1>Bad Gateway</h1></html>"),
            transient,
            Unanswered,
            "Jira answered 502.",
        ),
        both("503", Reply::html(503, "<html>Starting</html>"), transient, "usersync retries it."),
        Fault {
            wait: Some(30.0),
            ..both("503, 30 s", Reply::empty(503).header("Retry-After", "30"), transient, "Jira answered 503.")
        },
        fault(
            "503 of a proxy that had sent it",
            Reply::text(503, "upstream connect error or disconnect/reset before headers"),
            transient,
            Unanswered,
            "503",
        ),
        fault("504", Reply::empty(504), transient, Unanswered, "504"),
        both("408", Reply::empty(408), transient, "408"),
        both("418", json(418), not_done(Permanent), "418, saying"),
        both(
            "redirect to a sign-in page",
            Reply::empty(302).header("Location", "/login.jsp?os_destination=x"),
            not_done(Maintenance),
            "sign-in page",
        ),
        both(
            "redirect elsewhere",
            Reply::empty(301).header("Location", "https://other.example.org/jira/rest"),
            not_done(Maintenance),
            "a redirect to https://other.example.org/jira/rest.",
        ),
        both(
            "passed over, with 200",
            Reply::json(200, json!([])).header("X-Seraph-LoginReason", "OUT, AUTHENTICATED_FAILED"),
            not_done(Credentials),
            "retries when they change",
        ),
        both(
            "denied, with 200",
            Reply::json(200, json!({})).header("x-seraph-loginreason", "AUTHENTICATION_DENIED"),
            not_done(Credentials),
            "does not retry until they change",
        ),
        both(
            "anonymous, with 200",
            Reply::json(200, json!({})).header("X-AUSERNAME", "anonymous"),
            not_done(Credentials),
            "rejected the personal access token",
        ),
        both(
            "CAPTCHA",
            json(403).header("X-Authentication-Denied-Reason", "CAPTCHA_CHALLENGE; login-url=x"),
            not_done(Credentials),
            "until a CAPTCHA is solved",
        ),
        fault(
            "oversized",
            Reply::text(200, &"x".repeat(65 << 10)),
            not_done(Unconfirmed),
            Unanswered,
            "and is not read",
        ),
        fault(
            "a page with 200",
            Reply::html(200, "<html>Welcome</html>"),
            not_done(Unconfirmed),
            Unanswered,
            "an HTML page instead of JSON",
        ),
    ]
}

fn check(name: &str, of: &str, error: &TargetError, kind: TargetErrorKind, fault: &Fault) {
    assert_eq!(error.kind, kind, "{name} on {of}: {}", error.text);
    assert!(error.text.contains(fault.text), "{name} on {of}: {}", error.text);
    assert_eq!(error.retry_after.map(|wait| wait.as_secs_f64()), fault.wait, "{name} on {of}");
    assert!(!error.text.contains("s3cr3t"), "{name} on {of} tells the token: {}", error.text);
    assert!(!error.text.contains("example.org/rest"), "{name} on {of} tells a path: {}", error.text);
    assert!(!error.text.contains("bob@"), "{name} on {of} tells an address: {}", error.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_means_the_right_thing_for_reads_and_for_every_write() {
    for fault in faults() {
        let reply = fault.reply.clone();
        let broken = Server::start(move |seen| {
            let named = seen.asks("key").is_some();
            if seen.is("GET", "/user") && named { reply.clone() } else { healthy(seen) }
        })
        .await;
        let error = client(&broken.url).account(&"JIRAUSER10".into()).await.expect_err(fault.name);
        check(fault.name, "a read", &error, fault.read, &fault);
        assert!(error.text.starts_with("reading account JIRAUSER10: "), "{}", error.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_means_the_right_thing_for_every_write() {
    for fault in faults() {
        for (operation, method, path) in writes() {
            let reply = fault.reply.clone();
            let broken =
                Server::start(move |seen| if seen.is(method, path) { reply.clone() } else { leftover(seen) }).await;
            let jira = client(&broken.url);
            let error = jira.apply(&operation, soon()).await.expect_err(fault.name);
            check(fault.name, &operation.to_string(), &error, fault.write, &fault);
            assert_eq!(broken.count(method, path), 1, "{} on {operation} is sent once", fault.name);
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_received_nothing() {
    let closed = Server::start(healthy).await.url.clone();
    tokio::task::yield_now().await;
    let jira = client(&closed);
    let error = jira.account(&"JIRAUSER10".into()).await.expect_err("nobody listens");
    assert_eq!(error.kind, not_done(Transient));
    for (operation, ..) in writes() {
        let error = jira.apply(&operation, soon()).await.expect_err("nobody listens");
        assert_eq!(error.kind, not_done(Transient), "{operation}: {}", error.text);
        assert!(error.text.contains("refuses the connection"), "{}", error.text);
    }
    let mut elsewhere = settings(&closed);
    elsewhere.base_url = "http://jira.invalid/".parse().expect("a URL");
    let jira = usersync::targets::jira::JiraTarget::new(elsewhere).expect("good settings");
    let error = jira.probe().await.expect_err("no such name");
    assert_eq!(error.kind, not_done(Transient));
    assert!(error.text.contains("cannot be resolved"), "{}", error.text);
}

#[tokio::test]
async fn past_its_deadline_nothing_is_sent() {
    let server = Server::start(healthy).await;
    let jira = client(&server.url);
    jira.account(&"JIRAUSER10".into()).await.expect("a warm cache");
    let before = server.journal().len();
    for (operation, ..) in writes() {
        let past = Timestamp::now() - SignedDuration::from_millis(1);
        let error = jira.apply(&operation, past).await.expect_err("too late");
        assert_eq!(error.kind, not_done(Transient), "{operation}");
        assert!(error.text.contains("deadline exceeded before"), "{}", error.text);
    }
    assert_eq!(server.journal().len(), before);
}

#[tokio::test]
async fn a_call_does_not_outlive_its_deadline() {
    let server = Server::start(|seen| if seen.method == "PUT" { Reply::Hang } else { healthy(seen) }).await;
    let mut patient = settings(&server.url);
    patient.http.call_timeout = std::time::Duration::from_mins(1);
    let jira = usersync::targets::jira::JiraTarget::new(patient).expect("good settings");
    let (operation, ..) = writes().swap_remove(1);
    let deadline = Timestamp::now() + SignedDuration::from_millis(300);
    let error = jira.apply(&operation, deadline).await.expect_err("no answer");
    assert_eq!(error.kind, Unanswered);
}

#[tokio::test]
async fn a_call_whose_turn_is_past_its_deadline_sends_nothing() {
    let server = Server::start(|seen| if seen.method == "PUT" { Reply::Hang } else { healthy(seen) }).await;
    let mut narrow = settings(&server.url);
    narrow.http.parallel = 1;
    let jira = usersync::targets::jira::JiraTarget::new(narrow).expect("good settings");
    jira.account(&"JIRAUSER10".into()).await.expect("a warm cache");
    let (first, ..) = writes().swap_remove(1);
    let (second, ..) = writes().swap_remove(5);
    let late = Timestamp::now() + SignedDuration::from_millis(100);
    let (first, second) = tokio::join!(jira.apply(&first, soon()), jira.apply(&second, late));
    assert_eq!(first.expect_err("no answer").kind, Unanswered);
    assert_eq!(second.expect_err("no turn").kind, not_done(Transient));
    assert_eq!(server.count("DELETE", "/user"), 0);
}

#[tokio::test]
async fn the_pace_is_kept_and_ends_with_the_deadline() {
    let server = Server::start(healthy).await;
    let mut slow = settings(&server.url);
    slow.http.per_second = std::num::NonZeroU32::new(1);
    let jira = usersync::targets::jira::JiraTarget::new(slow).expect("good settings");
    let (update, ..) = writes().swap_remove(1);
    jira.apply(&update, soon()).await.expect("the first of its second");
    let late = Timestamp::now() + SignedDuration::from_millis(50);
    assert_eq!(jira.apply(&update, late).await.expect_err("no turn").kind, not_done(Throttled));
    assert_eq!(server.count("PUT", "/user"), 1);
}

#[tokio::test]
async fn a_proxy_gets_the_absolute_url() {
    let proxy = Server::start(healthy).await;
    let mut behind = settings(&"http://jira.invalid/".parse().expect("a URL"));
    behind.http.proxy = Some(proxy.url.clone());
    let jira = usersync::targets::jira::JiraTarget::new(behind).expect("good settings");
    assert!(jira.account(&"JIRAUSER10".into()).await.expect("an answer").is_some());
    assert!(proxy.journal().iter().all(|seen| seen.headers["host"] == "jira.invalid"));
}

#[tokio::test]
async fn a_read_whose_connection_broke_is_sent_once_more() {
    let broken = std::sync::atomic::AtomicBool::new(false);
    let server = Server::start(move |seen| {
        let first = seen.is("GET", "/user") && !broken.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first { Reply::Close } else { healthy(seen) }
    })
    .await;
    let account = client(&server.url).account(&"JIRAUSER10".into()).await.expect("the second answer");
    assert!(account.is_some());
}

#[tokio::test]
async fn missing_and_unknown_fields_are_tolerated_or_not_confirmed() {
    for (body, class) in [
        (json!({"key": "JIRAUSER10", "name": "ada", "active": false, "new": {"x": 1}}), None),
        (json!({"name": "ada", "active": true}), Some(Unconfirmed)),
        (json!({"key": "JIRAUSER10", "active": true}), Some(Unconfirmed)),
        (json!({"key": "JIRAUSER10", "name": "ada"}), Some(Unconfirmed)),
        (json!({}), Some(Unconfirmed)),
        (json!([]), Some(Unconfirmed)),
        (json!("ada"), Some(Unconfirmed)),
        (json!({"key": 10, "name": "ada", "active": true}), Some(Unconfirmed)),
    ] {
        let reported = body.clone();
        let server =
            Server::start(
                move |seen| {
                    if seen.is("GET", "/user") { Reply::json(200, reported.clone()) } else { healthy(seen) }
                },
            )
            .await;
        let got = client(&server.url).account(&"JIRAUSER10".into()).await;
        match class {
            None => assert_eq!(got.expect("enough").expect("there").display_name, "ada"),
            Some(class) => assert_eq!(got.expect_err("too little").kind, not_done(class), "{body}"),
        }
    }
}

#[tokio::test]
async fn nonsense_as_the_answer_of_a_write_is_not_a_success() {
    for (operation, method, path) in writes().into_iter().take(5) {
        let server =
            Server::start(
                move |seen| {
                    if seen.is(method, path) { Reply::text(200, "done, more or less") } else { healthy(seen) }
                },
            )
            .await;
        let error = client(&server.url).apply(&operation, soon()).await.expect_err("nonsense");
        assert_eq!(error.kind, Unanswered, "{operation}: {}", error.text);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_reported_once() {
    for reply in [
        refusal(400, "Cannot edit user, as the user's directory is read-only."),
        refusal(403, "Cannot add user, as External User Management is enabled."),
        refusal(405, "Read only"),
        Reply::html(405, "<html>Not allowed</html>"),
    ] {
        for (operation, method, path) in writes() {
            let reported = reply.clone();
            let server =
                Server::start(move |seen| if seen.is(method, path) { reported.clone() } else { healthy(seen) }).await;
            match client(&server.url).apply(&operation, soon()).await {
                Err(error) => {
                    assert_eq!(error.kind, Unsupported, "{operation}: {}", error.text);
                    assert!(error.text.contains("read-only"), "{}", error.text);
                }
                // A read after 400 showed that the member was already added.
                Ok(_) => assert!(operation.to_string().starts_with("add "), "{operation} {reply:?}"),
            }
        }
    }
}
