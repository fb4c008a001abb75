//! The client against a faulty Keycloak, and against proxies in front of it.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::SignedDuration;
use usersync::{
    keycloak::{Connection, KeycloakSettings, KeycloakSource, Source as _, SourceError},
    model::ErrorClass,
};

use crate::support::faulty::{Faulty, Reply, token};

const TOKEN: &str = "/realms/acme/protocol/openid-connect/token";
const COUNT: &str = "/admin/realms/acme/users/count";
const SECRET: &str = "top-secret-value";

fn settings(url: &str) -> KeycloakSettings {
    let mut settings = KeycloakSettings::new(url.parse().unwrap(), "acme", "usersync", Arc::new(|| Ok(SECRET.into())));
    settings.connection.time_outs.connect = Duration::from_millis(500);
    settings.connection.time_outs.call = Duration::from_millis(500);
    settings
}

fn source(server: &Faulty) -> KeycloakSource {
    KeycloakSource::new(settings(&server.url())).unwrap()
}

/// Answers every read of the number of users with the same reply.
async fn count(reply: Reply) -> (Result<usize, SourceError>, Faulty) {
    let server = Faulty::start(move |target, _| target.starts_with(COUNT).then(|| reply.clone())).await;
    (source(&server).user_count().await, server)
}

#[tokio::test]
async fn every_bad_answer_has_its_class_and_its_message() {
    use ErrorClass::{Forbidden, Permanent, Throttled, Transient, Unconfirmed};
    let json = |status, body: &str| Reply::Json(status, body.to_owned());
    let page = |status, body: &str| Reply::Whole(status, "content-type: text/html\r\n", body.to_owned());
    let html = "<html><title>Sign in to proxy</title><p>session=abc";
    let table = [
        (
            json("500 Internal Server Error", r#"{"error":"unknown_error"}"#),
            Transient,
            "500 when reading users, \"unknown_error\"",
        ),
        (
            page("502 Bad Gateway", "<h1>Bad Gateway</h1>"),
            Transient,
            "502 when reading users (received text/html: \"Bad Gateway\")",
        ),
        (page("200 OK", html), Transient, "no JSON when reading users (received text/html: \"Sign in to proxy"),
        (json("200 OK", ""), Transient, "no JSON when reading users without content"),
        (json("200 OK", "[1"), Transient, "ends too early"),
        (json("200 OK", "{\"a\""), Transient, "ends too early"),
        (json("200 OK", "{}"), Transient, "is not a number"),
        (json("401 Unauthorized", r#"{"error":"HTTP 401 Unauthorized"}"#), Transient, "although the token is fresh"),
        (
            json("403 Forbidden", r#"{"error":"unknown_error"}"#),
            Forbidden,
            "lacks the role view-users. Grant it: realm acme, Clients, usersync",
        ),
        (json("404 Not Found", r#"{"error":"Realm not found."}"#), Unconfirmed, "realm acme: Keycloak at"),
        (json("404 Not Found", r#"{"error":"User not found"}"#), Transient, "it confirms no deletion"),
        (page("404 Not Found", "nginx"), Transient, "it confirms no deletion"),
        (json("400 Bad Request", "{}"), Permanent, "400 when reading users"),
        (
            Reply::Whole("302 Found", "location: https://login.example.org/x?state=s\r\n", String::new()),
            Permanent,
            "redirected to https://login.example.org/x.",
        ),
        (Reply::Cut("3".into()), Transient, "the connection was cut"),
        (Reply::Nothing, Transient, "Check that Keycloak is running"),
        (Reply::Silence, Transient, "no complete answer within 0.5 s"),
        (Reply::Whole("429 Too Many Requests", "retry-after: 7\r\n", String::new()), Throttled, "rate limited (429)"),
    ];
    for (reply, class, words) in table {
        let (answer, server) = count(reply.clone()).await;
        let error = answer.unwrap_err();
        assert_eq!(error.class, class, "{reply:?}: {error}");
        assert!(error.text.contains(words), "{reply:?}: {error}");
        assert!(!error.text.contains(SECRET) && !error.text.contains('\n'), "{error}");
        assert!(server.asked(COUNT) <= 2, "{reply:?} was asked for {} times", server.asked(COUNT));
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let wait = |text: &'static str| async move {
        count(Reply::Whole("429 Too Many Requests", text, String::new())).await.0.unwrap_err().retry_after
    };
    assert_eq!(wait("retry-after: 7\r\n").await, Some(SignedDuration::from_secs(7)));
    assert_eq!(wait("retry-after: 0.5\r\n").await, Some(SignedDuration::from_millis(500)));
    assert_eq!(wait("retry-after: Thu, 01 Jan 2099 00:00:00 GMT\r\n").await, Some(SignedDuration::from_hours(1)));
    assert_eq!(wait("").await, None);
    let busy = count(Reply::Whole("503 Service Unavailable", "retry-after: 3\r\n", String::new())).await.0.unwrap_err();
    assert_eq!((busy.class, busy.retry_after), (ErrorClass::Transient, Some(SignedDuration::from_secs(3))));
}

#[tokio::test]
async fn only_keycloaks_own_404_means_deleted() {
    let gone = r#"{"error":"User not found"}"#;
    for (body, expected) in [
        (gone, Some(None)),
        (r#"{"error":"HTTP 404 Not Found"}"#, None),
        (r#"{"error":"Realm not found."}"#, None),
        (r#"{"error":"Could not find group by id"}"#, None),
        ("User not found", None),
        ("", None),
    ] {
        let server = Faulty::start(move |target, _| {
            target.starts_with("/admin/realms/acme/users/u1").then(|| Reply::Json("404 Not Found", body.into()))
        })
        .await;
        let answer = source(&server).user(&"u1".into()).await;
        assert_eq!(answer.clone().ok(), expected, "{body}: {answer:?}");
    }
    let half = Faulty::start(move |target, _| match target {
        "/admin/realms/acme/users/u1" => Some(Reply::ok(r#"{"id":"u1","username":"anna","enabled":true}"#)),
        target if target.starts_with("/admin/realms/acme/users/u1/groups") => {
            Some(Reply::Json("404 Not Found", gone.into()))
        }
        _ => None,
    })
    .await;
    assert_eq!(source(&half).user(&"u1".into()).await.unwrap_err().class, ErrorClass::Transient);
}

#[tokio::test]
async fn personal_data_in_a_broken_answer_is_not_shown() {
    let body = r#"[{"id":"u1","username":"anna","enabled":"anna@example.org"}]"#;
    let server = Faulty::start(move |target, _| match target {
        target if target.starts_with("/admin/realms/acme/users?first=0") => Some(Reply::ok(body)),
        "/admin/realms/acme/users/u1" => Some(Reply::ok(&body[1..body.len() - 1])),
        target if target.starts_with(COUNT) => Some(Reply::ok("1")),
        _ => None,
    })
    .await;
    let walked = source(&server).users(&|_, _| {}).await.unwrap();
    assert_eq!((walked.items.len(), walked.incomplete), (0, None));
    let (id, odd) = &walked.unreadable[0];
    assert!(id.as_str() == "u1" && odd.name.as_deref() == Some("anna") && odd.why.contains("enabled"), "{odd:?}");
    assert!(!odd.why.contains("anna"), "{odd:?}");
    let error = source(&server).user(&"u1".into()).await.unwrap_err();
    assert!(error.text.contains("unexpected format at line 1, column") && !error.text.contains("anna"), "{error}");
    let truncated =
        Faulty::start(move |target, _| target.starts_with("/admin/realms/acme/users?").then(|| Reply::ok(&body[..30])))
            .await;
    let error = source(&truncated).users(&|_, _| {}).await.unwrap_err();
    assert!(error.text.contains("ends too early, at line 1, column 30 (30 bytes)"), "{error}");
}

#[tokio::test]
async fn an_empty_listing_with_a_count_is_not_confirmed() {
    let server = Faulty::start(|target, _| {
        target.starts_with("/admin/realms/acme/groups/count").then(|| Reply::ok(r#"{"count":5}"#))
    })
    .await;
    let source = source(&server);
    let error = source.users(&|_, _| {}).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unconfirmed);
    assert!(error.text.contains("the role view-users is missing"), "{error}");
    let walked = source.groups().await.unwrap();
    assert!(walked.items.is_empty() && walked.incomplete.unwrap().contains("counts 5"));
}

#[tokio::test]
async fn a_page_larger_than_requested_is_not_confirmed() {
    let members = |count: usize| {
        let server = Faulty::start(move |target, _| {
            let page: Vec<String> = (0..count).map(|n| format!(r#"{{"id":"m{n}"}}"#)).collect();
            target.contains("/members?first=0").then(|| Reply::ok(format!("[{}]", page.join(","))))
        });
        async move {
            let settings = KeycloakSettings { page: 2, ..settings(&server.await.url()) };
            KeycloakSource::new(settings).unwrap().members(&"g".into()).await
        }
    };
    assert_eq!(members(3).await.unwrap_err().class, ErrorClass::Unconfirmed);
}

#[tokio::test]
async fn refused_credentials_are_sent_once_until_they_change() {
    let server = Faulty::start(|target, before| {
        let refusal =
            r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#;
        (target == TOKEN && before == 0).then(|| Reply::Json("401 Unauthorized", refusal.into()))
    })
    .await;
    let secret = Arc::new(Mutex::new("old".to_owned()));
    let provider = {
        let secret = secret.clone();
        Arc::new(move || Ok(secret.lock().unwrap().clone().into()))
    };
    let source = KeycloakSource::new(KeycloakSettings { secret: provider, ..settings(&server.url()) }).unwrap();
    for _ in 0..5 {
        let error = source.user_count().await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Credentials);
        assert!(error.text.contains("was refused (unauthorized_client)"), "{error}");
    }
    assert_eq!(server.asked(TOKEN), 1);
    *secret.lock().unwrap() = "new".into();
    assert_eq!(source.user_count().await, Ok(3));
    assert_eq!(server.asked(TOKEN), 2);
}

#[tokio::test]
async fn a_secret_rotated_between_reading_and_sending_is_read_again() {
    let refusal = r#"{"error":"invalid_client"}"#;
    let server = Faulty::start(move |target, before| {
        (target == TOKEN && before == 0).then(|| Reply::Json("401 Unauthorized", refusal.into()))
    })
    .await;
    let reads = AtomicUsize::new(0);
    let secret = Arc::new(move || Ok(format!("secret{}", reads.fetch_add(1, Ordering::SeqCst)).into()));
    let source = KeycloakSource::new(KeycloakSettings { secret, ..settings(&server.url()) }).unwrap();
    assert_eq!(source.user_count().await, Ok(3));
    assert_eq!(server.asked(TOKEN), 2);
}

#[tokio::test]
async fn one_token_serves_many_at_once_and_is_renewed_when_refused() {
    let server = Faulty::start(|_, _| None).await;
    let reading = source(&server);
    let all = futures::future::join_all((0..30).map(|_| reading.user_count())).await;
    assert!(all.into_iter().all(|count| count == Ok(3)));
    assert_eq!(server.asked(TOKEN), 1);

    let revoked = Faulty::start(|target, before| {
        (target.starts_with(COUNT) && before == 0).then(|| Reply::Json("401 Unauthorized", "{}".into()))
    })
    .await;
    assert_eq!(source(&revoked).user_count().await, Ok(3));
    assert_eq!((revoked.asked(TOKEN), revoked.asked(COUNT)), (2, 2));

    let short = Faulty::start(|target, _| (target == TOKEN).then(|| token(0))).await;
    let reading = source(&short);
    for _ in 0..3 {
        assert_eq!(reading.user_count().await, Ok(3));
    }
    assert_eq!(short.asked(TOKEN), 3, "a token that has ended is never sent");
}

#[tokio::test]
async fn keycloak_is_found_with_and_without_auth() {
    let server = Faulty::start(|target, _| match target {
        "/auth/realms/acme" => Some(Reply::ok(r#"{"realm":"acme"}"#)),
        "/auth/realms/acme/protocol/openid-connect/token" => Some(token(300)),
        "/realms/acme" => {
            Some(Reply::Whole("404 Not Found", "content-type: text/html\r\n", "<h1>Not Found</h1>".into()))
        }
        _ => None,
    })
    .await;
    for given in ["", "/", "/auth", "/auth/", "/auth/admin/master/console/"] {
        let source = KeycloakSource::new(settings(&format!("{}{given}", server.url()))).unwrap();
        let info = source.identify().await.unwrap();
        assert_eq!(info.base_url, format!("{}/auth", server.url()), "{given}");
    }
    let elsewhere = Faulty::start(|_, _| Some(Reply::Whole("404 Not Found", "", "nginx".into()))).await;
    let error = source(&elsewhere).identify().await.unwrap_err();
    assert!(error.text.contains("neither here nor with /auth"), "{error}");
    let other = KeycloakSource::new(KeycloakSettings { realm: "nosuch".into(), ..settings(&server.url()) }).unwrap();
    let error = other.identify().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unconfirmed);
    assert!(error.text.contains("has no such realm"), "{error}");
}

#[tokio::test]
async fn a_cut_read_is_sent_once_more() {
    let server =
        Faulty::start(|target, before| (target.starts_with(COUNT) && before == 0).then_some(Reply::Nothing)).await;
    assert_eq!(source(&server).user_count().await, Ok(3));
    assert_eq!(server.asked(COUNT), 2);
}

#[tokio::test]
async fn a_server_that_is_down_is_reported() {
    let error = KeycloakSource::new(settings("http://127.0.0.1:1")).unwrap().identify().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.text.starts_with("realm acme at http://127.0.0.1:1: no connection ("), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_without_showing_them() {
    let refused = |change: fn(&mut Connection)| {
        let mut settings = settings("http://127.0.0.1:1");
        change(&mut settings.connection);
        KeycloakSource::new(settings).unwrap_err()
    };
    for (change, words) in [
        ((|c| c.url = "ftp://h".parse().unwrap()) as fn(&mut Connection), "must begin with https://"),
        (|c| c.url = "https://anna:hunter2@h".parse().unwrap(), "contains a user name or password"),
        (|c| c.ca_file = Some("/nonexistent/ca.pem".into()), "ca_file /nonexistent/ca.pem"),
        (|c| c.ca_file = Some("Cargo.toml".into()), "Cargo.toml holds no PEM certificate"),
    ] {
        let error = refused(change);
        assert_eq!(error.class, ErrorClass::Permanent);
        assert!(error.text.contains(words) && !error.text.contains("hunter2"), "{error}");
    }
    let shown = format!("{:?}", KeycloakSource::new(settings("http://127.0.0.1:1/x?token=abc")).unwrap());
    assert!(!shown.contains(SECRET) && !shown.contains("abc"), "{shown}");
}

#[tokio::test]
async fn the_rate_limit_is_kept() {
    let server = Faulty::start(|_, _| None).await;
    let mut settings = settings(&server.url());
    settings.connection.per_second = NonZeroU32::new(1000);
    settings.connection.parallel = 1;
    let source = KeycloakSource::new(settings).unwrap();
    let all = futures::future::join_all((0..20).map(|_| source.user_count())).await;
    assert!(all.into_iter().all(|count| count == Ok(3)));
}
