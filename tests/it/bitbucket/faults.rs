//! Every fault, for a read and for every write: its meaning and its message.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use usersync::{
    model::ErrorClass::{Credentials, Forbidden, Maintenance, Permanent, Throttled, Transient, Unconfirmed},
    targets::{
        Applied, Target, TargetError,
        TargetErrorKind::{self, NameTaken, Unanswered, Unsupported},
    },
};
use usersync_simulators::Fault;

use super::world::{Place, WRITES, client, not_done, place, settings, soon, writes};

struct Case {
    name: &'static str,
    fault: Fault,
    read: TargetErrorKind,
    write: TargetErrorKind,
    text: &'static str,
    wait: Option<f64>,
}

const OWN: &str = r#"{"errors":[{"context":null,"message":"Words of Bitbucket.","exceptionName":"x"}]}"#;

fn case(name: &'static str, fault: Fault, read: TargetErrorKind, write: TargetErrorKind, text: &'static str) -> Case {
    Case { name, fault, read, write, text, wait: None }
}

fn cases() -> Vec<Case> {
    let both = |name, fault, kind: TargetErrorKind, text| case(name, fault, kind, kind, text);
    let own = |status| Fault::status(status, OWN).header("content-type", "application/json");
    let transient = not_done(Transient);
    vec![
        case("cut before", Fault::cut(), transient, Unanswered, "broke before the answer was complete"),
        both("401", own(401), not_done(Credentials), "rejected the password of bsync"),
        both(
            "401 in HTML",
            Fault::html(401, "<html>no</html>"),
            not_done(Credentials),
            "rejected the password of bsync",
        ),
        both(
            "401 that means 403",
            own(401).header("x-ausername", "bsync"),
            not_done(Forbidden),
            "bsync lacks the permission",
        ),
        case("403", own(403), not_done(Forbidden), Unsupported, "saying \"Words of Bitbucket\""),
        both("403 XSRF", Fault::status(403, "XSRF check failed"), not_done(Forbidden), "X-Atlassian-Token"),
        both("403 of a proxy", Fault::html(403, "<html>WAF</html>"), not_done(Forbidden), "lacks the permission"),
        both(
            "404 of a proxy",
            Fault::html(404, "<html>nginx</html>"),
            not_done(Unconfirmed),
            "does not come from Bitbucket",
        ),
        both(
            "404 of a wrong path",
            Fault::status(404, r#"{"message":"null for uri","status-code":404}"#),
            not_done(Unconfirmed),
            "path prefix",
        ),
        both("409 of a proxy", Fault::html(409, "<html>busy</html>"), transient, "another operation is in progress"),
        both("429", Fault::status(429, ""), not_done(Throttled), "rate limited (429) by"),
        Case { wait: Some(1.0), ..both("429, 1 s", Fault::too_many(1), not_done(Throttled), "asking to wait 1 s") },
        case("500", own(500), transient, Unanswered, "500, saying \"Words of Bitbucket\""),
        case("502", Fault::html(502, "<html><h1>Bad Gateway</h1></html>"), transient, Unanswered, "answered 502."),
        both("503", Fault::unavailable(), transient, "usersync retries it."),
        Case {
            wait: Some(1.0),
            ..both("503, 1 s", Fault::status(503, "").header("retry-after", "1"), transient, "answered 503.")
        },
        case(
            "503 of a proxy that had sent it",
            Fault::status(503, "upstream connect error or disconnect/reset before headers"),
            transient,
            Unanswered,
            "503",
        ),
        case("504", Fault::status(504, ""), transient, Unanswered, "504"),
        both("415", Fault::status(415, ""), not_done(Permanent), "415"),
        both("418", own(418), not_done(Permanent), "418, saying"),
        both(
            "redirect to a sign-in page",
            Fault::login_redirect("/login?next=x"),
            not_done(Maintenance),
            "sign-in page",
        ),
        both(
            "redirect elsewhere",
            Fault::status(301, "").header("location", "https://other.example.org/git/rest"),
            not_done(Maintenance),
            "a redirect to https://other.example.org/git/rest.",
        ),
        both(
            "passed over, with 200",
            Fault::status(200, "{}").header("x-seraph-loginreason", "AUTHENTICATED_FAILED"),
            not_done(Credentials),
            "retries when they change",
        ),
        both(
            "anonymous, with 200",
            Fault::status(200, "{}").header("x-ausername", "anonymous"),
            not_done(Credentials),
            "rejected the password of bsync",
        ),
        both(
            "CAPTCHA",
            own(403).header("x-authentication-denied-reason", "CAPTCHA_CHALLENGE; login-url=x"),
            not_done(Credentials),
            "until a CAPTCHA is solved",
        ),
        case(
            "a page with 200",
            Fault::html(200, "<html>Welcome</html>"),
            not_done(Unconfirmed),
            Unanswered,
            "an HTML page instead of JSON",
        ),
    ]
}

fn check(case: &Case, of: &str, error: &TargetError, kind: TargetErrorKind) {
    let name = case.name;
    assert_eq!(error.kind, kind, "{name} on {of}: {}", error.text);
    assert!(error.text.contains(case.text), "{name} on {of}: {}", error.text);
    assert_eq!(error.retry_after.map(|wait| wait.as_secs_f64()), case.wait, "{name} on {of}");
    assert!(!error.text.contains("s3cr3t"), "{name} on {of} tells the token: {}", error.text);
    assert!(!error.text.contains("/rest/api"), "{name} on {of} tells a path: {}", error.text);
    assert!(!error.text.contains("@example"), "{name} on {of} tells an address: {}", error.text);
    assert!(!error.text.contains("Aa1-"), "{name} on {of} tells a password: {}", error.text);
}

/// Returns a place with a client that has read the server's general data and the accounts of the operations.
async fn warm() -> Place {
    let place = place().await;
    for name in ["ada", "joe"] {
        place.see(name).await;
    }
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_means_the_right_thing_for_reads() {
    let place = warm().await;
    for case in cases() {
        place.server.faults.clear();
        place.target.forget_refusal();
        place.server.faults.add(case.fault.clone().path("filter=ada"));
        let error = place.target.account_named("ada").await.expect_err(case.name);
        check(&case, "a read", &error, case.read);
        assert!(error.text.starts_with("reading ada: "), "{}", error.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_means_the_right_thing_for_every_write() {
    for case in cases() {
        for at in 0..WRITES {
            // Sign-in pages in answer to writes count in a row, so each write has its own client.
            let place = warm().await;
            let before = place.server.snapshot();
            let (operation, method, path) = writes(&place)[at].clone();
            place.server.faults.add(case.fault.clone().method(method).path(path));
            let error = place.apply(&operation).await.expect_err(case.name);
            check(&case, &operation.to_string(), &error, case.write);
            assert_eq!(place.server.journal.count(method, path), 1, "{} on {operation} is sent once", case.name);
            assert_eq!(place.server.snapshot(), before, "{} on {operation}", case.name);
        }
    }
}

#[tokio::test]
async fn a_conflict_reported_by_bitbucket_is_final() {
    for at in 0..WRITES {
        let place = warm().await;
        let (operation, method, path) = writes(&place)[at].clone();
        place.server.faults.add(Fault::status(409, OWN).method(method).path(path));
        let answer = place.apply(&operation).await;
        let kind = match operation.verb() {
            "create" => Err(not_done(Permanent)),
            "create_group" => Err(NameTaken),
            // As far as a read shows, he is no longer a member.
            _ => Err(Unsupported),
        };
        assert_eq!(answer.map(|_| ()).map_err(|error| error.kind), kind, "{operation}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_by_a_read_and_done_once() {
    for at in 0..WRITES {
        let place = warm().await;
        let (operation, method, path) = writes(&place)[at].clone();
        let before = place.server.snapshot();
        place.server.faults.add(Fault::cut_after().method(method).path(path).once());
        let error = place.apply(&operation).await.expect_err("no answer");
        assert_eq!(error.kind, Unanswered, "{operation}: {}", error.text);
        let after = place.server.snapshot();
        assert_ne!(after, before, "{operation} took effect");
        let again = place.apply(&operation).await;
        match operation.verb() {
            "create" | "create_group" => assert_eq!(again.expect_err("taken").kind, NameTaken, "{operation}"),
            "deactivate" => assert!(place.see("ada").await.access.is_empty()),
            _ => {
                assert_eq!(again, Ok(Applied::Done), "{operation}");
                assert_eq!(place.server.snapshot(), after, "{operation}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time() {
    let place = warm().await;
    let mut short = settings(&place.server);
    short.http.call_timeout = Duration::from_millis(200);
    let target = client(short);
    target.account_named("ada").await.expect("an answer");
    place.server.faults.add(Fault::delay(Duration::from_secs(30)));
    let error = target.account_named("ada").await.expect_err("no answer");
    assert_eq!(error.kind, not_done(Transient), "{}", error.text);
    place.server.faults.clear();
    place.server.faults.add(Fault::delay_after(Duration::from_secs(30)).method("PUT"));
    let (update, ..) = writes(&place)[1].clone();
    let error = target.apply(&update, soon()).await.expect_err("no answer");
    assert_eq!(error.kind, Unanswered, "{}", error.text);
    assert_eq!(place.server.snapshot().account("ada").expect("there").display_name, "ada Shown");
}

#[tokio::test]
async fn past_its_deadline_nothing_is_sent() {
    let place = warm().await;
    let asked = place.server.journal.len();
    for (operation, ..) in writes(&place) {
        let past = Timestamp::now() - SignedDuration::from_millis(1);
        let error = place.target.apply(&operation, past).await.expect_err("too late");
        assert_eq!(error.kind, not_done(Transient), "{operation}: {}", error.text);
    }
    assert_eq!(place.server.journal.len(), asked);
}

#[tokio::test]
async fn nonsense_as_the_answer_of_a_write_is_not_a_success() {
    // The calls with a body that the client reads.
    for at in [1, 2, 6] {
        for body in ["done, more or less", "{}", "[]", "7"] {
            let place = warm().await;
            let (operation, method, path) = writes(&place)[at].clone();
            place.server.faults.add(Fault::status(200, body).method(method).path(path));
            let error = place.apply(&operation).await.expect_err("nonsense");
            assert_eq!(error.kind, Unanswered, "{operation}: {}", error.text);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_cut_short_is_not_confirmed() {
    let place = warm().await;
    let mut small = settings(&place.server);
    small.http.body_max = 64 << 10;
    let target = client(small);
    target.account_named("joe").await.expect("an answer");
    place.server.faults.add(Fault::truncate(10).path("filter=ada").once());
    let error = target.account_named("ada").await.expect_err("cut short");
    assert_eq!(error.kind, not_done(Unconfirmed), "{}", error.text);
    place.server.faults.add(Fault::new(usersync_simulators::fault::Kind::Huge(70 << 10)).path("filter=ada"));
    let error = target.account_named("ada").await.expect_err("too large");
    assert_eq!(error.kind, not_done(Unconfirmed), "{}", error.text);
    assert!(error.text.contains("and is not read"), "{}", error.text);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_received_nothing() {
    let place = place().await;
    let target = client(settings(&place.server));
    let writes = writes(&place);
    place.server.shutdown().await;
    for (operation, ..) in writes {
        let error = target.apply(&operation, soon()).await.expect_err("nobody listens");
        assert_eq!(error.kind, not_done(Transient), "{operation}: {}", error.text);
    }
}
