//! Authentication.

use axum::{Json, Router, routing::post};
use usersync::{
    model::ErrorClass::{Credentials, Forbidden, Permanent, Unconfirmed},
    targets::{
        ClientCredentials, Credentials as SignIn, Target,
        bitbucket::{BitbucketSettings, BitbucketTarget},
    },
};
use usersync_simulators::Fault;

use super::world::{client, create, not_done, password, place, settings, soon};

/// Returns a client that gets this access token from its own token server.
async fn by_access_token(settings: BitbucketSettings, token: &'static str) -> BitbucketTarget {
    let answer = move || async move { Json(serde_json::json!({ "access_token": token, "expires_in": 300 })) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("an address")).parse().expect("a URL");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/token", post(answer))).await });
    let credentials = ClientCredentials::new(url, "usersync", std::sync::Arc::new(|| Ok("s3cr3t".into())));
    client(BitbucketSettings { credentials: SignIn::Client(Box::new(credentials)), ..settings })
}

#[tokio::test]
async fn an_http_access_token_cannot_administer_and_is_refused_as_a_setting() {
    let place = place().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let admin = format!("{}/rest/api/1.0/admin", place.server.url());
    for path in ["users", "groups", "permissions/groups", "license"] {
        let answer = http.get(format!("{admin}/{path}")).bearer_auth(place.server.token()).send().await.expect("sent");
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["x-ausername"].to_str().unwrap()),
            (401, "bsync"),
            "{path}"
        );
        let text = answer.text().await.expect("a body");
        assert!(text.contains("You are not permitted to access this resource"), "{path}: {text}");
    }
    let token = SignIn::Token(std::sync::Arc::new(|| Ok("s3cr3t-token".to_owned().into())));
    let error = BitbucketTarget::new(BitbucketSettings { credentials: token, ..settings(&place.server) });
    let error = error.err().expect("refused");
    assert_eq!(error.kind, not_done(Permanent));
    assert!(error.text.contains("BSERV-10482") && error.text.contains("user and password"), "{}", error.text);
}

#[tokio::test]
async fn an_access_token_of_oauth_administers() {
    let place = place().await;
    place.server.add_access_token("bsync", "0auth");
    let target = by_access_token(settings(&place.server), "0auth").await;
    assert_eq!(target.probe().await.expect("signed in").signed_in_as, "bsync");
    target.apply(&create("bob"), soon()).await.expect("created");
    assert!(place.server.snapshot().account("bob").is_some());
}

#[tokio::test]
async fn a_401_that_names_us_is_a_missing_right_and_one_that_does_not_is_a_refused_credential() {
    let place = place().await;
    place.see("ada").await;
    let refusal = r#"{"errors":[{"context":null,"message":"You are not permitted.","exceptionName":"x"}]}"#;
    let named = Fault::status(401, refusal).header("x-ausername", "bsync").path("filter=joe").once();
    place.server.faults.add(named);
    let error = place.target.account_named("joe").await.expect_err("refused");
    assert_eq!(error.kind, not_done(Forbidden), "{}", error.text);
    assert!(error.text.contains("bsync lacks the permission; grant it the global permission ADMIN"), "{}", error.text);
    place.see("joe").await;

    place.server.faults.add(Fault::status(401, refusal).path("filter=joe").once());
    let error = place.target.account_named("joe").await.expect_err("refused");
    assert_eq!(error.kind, not_done(Credentials), "{}", error.text);
    let asked = place.server.journal.len();
    assert_eq!(place.target.account_named("joe").await.expect_err("not sent").kind, not_done(Credentials));
    assert_eq!(place.server.journal.len(), asked, "they are not sent again");
    place.target.forget_refusal();
    place.see("joe").await;
}

#[tokio::test]
async fn refused_tokens_and_passwords_are_sent_once() {
    let place = place().await;
    let mut wrong = settings(&place.server);
    wrong.credentials = password("bsync", "wrong");
    for target in [client(wrong), by_access_token(settings(&place.server), "wrong").await] {
        place.server.journal.clear();
        for _ in 0..3 {
            let error = target.account_named("ada").await.expect_err("refused");
            assert_eq!(error.kind, not_done(Credentials), "{}", error.text);
            assert!(!error.text.contains("wrong"), "{}", error.text);
        }
        assert_eq!(target.apply(&create("bob"), soon()).await.expect_err("refused").kind, not_done(Credentials));
        // A token fetched for the call is not fetched again.
        assert_eq!(place.server.journal.len(), 1);
    }
}

#[tokio::test]
async fn a_password_signs_in_until_a_captcha_or_an_administrator_is_in_the_way() {
    let place = place().await;
    let basic = || {
        let mut basic = settings(&place.server);
        basic.credentials = password("bsync", "s3cr3t-pass");
        client(basic)
    };
    assert_eq!(basic().probe().await.expect("signed in").signed_in_as, "bsync");
    place.server.set_captcha(true);
    let error = basic().probe().await.expect_err("refused");
    assert!(error.text.contains("CAPTCHA") && error.kind == not_done(Credentials), "{}", error.text);
    place.server.set_captcha(false);
    place.server.set_basic_allowed(false);
    let error = basic().probe().await.expect_err("refused");
    assert!(error.text.contains("allow-list") && error.kind == not_done(Credentials), "{}", error.text);
}

#[tokio::test]
async fn the_user_of_a_token_must_be_configured() {
    let place = place().await;
    place.server.set_names_caller(false);
    place.server.add_access_token("bsync", "0auth");
    let error = by_access_token(settings(&place.server), "0auth").await.probe().await.expect_err("unknown");
    assert_eq!(error.kind, not_done(Unconfirmed), "{}", error.text);
    assert!(error.text.contains("X-AUSERNAME"), "{}", error.text);
    let mut basic = settings(&place.server);
    basic.credentials = password("bsync", "s3cr3t-pass");
    assert_eq!(client(basic).probe().await.expect("known before").signed_in_as, "bsync");
}
