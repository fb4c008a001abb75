//! Signing in.

use usersync::{
    model::ErrorClass::{Credentials, Doubt, Forbidden},
    sandbox::Fault,
    target::Target,
};

use super::world::{client, create, not_done, password, place, settings, soon, token};

#[tokio::test]
async fn a_401_that_names_us_is_a_missing_right_and_one_that_does_not_is_a_refused_credential() {
    let place = place().await;
    place.see("ada").await;
    let refusal = r#"{"errors":[{"context":null,"message":"You are not permitted.","exceptionName":"x"}]}"#;
    let named = Fault::status(401, refusal).header("x-ausername", "bsync").path("filter=joe").once();
    place.server.faults.add(named);
    let error = place.target.account_named("joe").await.expect_err("refused");
    assert_eq!(error.kind, not_done(Forbidden), "{}", error.text);
    assert!(error.text.contains("bsync lacks the right; give it the global permission ADMIN"), "{}", error.text);
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
    for credentials in [token("wrong"), password("bsync", "wrong")] {
        let mut wrong = settings(&place.server);
        wrong.credentials = credentials;
        let target = client(wrong);
        place.server.journal.clear();
        for _ in 0..3 {
            let error = target.account_named("ada").await.expect_err("refused");
            assert_eq!(error.kind, not_done(Credentials), "{}", error.text);
            assert!(!error.text.contains("wrong"), "{}", error.text);
        }
        assert_eq!(target.apply(&create("bob"), soon()).await.expect_err("refused").kind, not_done(Credentials));
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
    assert!(error.text.contains("HTTP access token") && error.kind == not_done(Credentials), "{}", error.text);
}

#[tokio::test]
async fn whom_a_token_belongs_to_has_to_be_told() {
    let place = place().await;
    place.server.set_names_caller(false);
    let error = place.target.probe().await.expect_err("unknown");
    assert_eq!(error.kind, not_done(Doubt), "{}", error.text);
    assert!(error.text.contains("X-AUSERNAME"), "{}", error.text);
    let mut basic = settings(&place.server);
    basic.credentials = password("bsync", "s3cr3t-pass");
    assert_eq!(client(basic).probe().await.expect("known before").signed_in_as, "bsync");
}
