//! Authentication with a token, and with access tokens that a client requests.

use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use usersync::{
    model::ErrorClass::{Credentials as Refused, Permanent, Transient, Unconfirmed},
    targets::{
        ClientCredentials, Credentials, Target,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{Fault, ScimOptions, SimulatedScim};

use super::{
    operations::{create, not_done, soon},
    world::{World, settings, token},
};

struct Client {
    server: SimulatedScim,
    scim: ScimTarget,
    secret: Arc<Mutex<String>>,
}

async fn client(scope: Option<&str>) -> Client {
    let own = ("a client:of%ours".to_owned(), "s3cr:t&ü%+".to_owned());
    let options = ScimOptions { client: own, ..ScimOptions::default() };
    let secret = Arc::new(Mutex::new(options.client.1.clone()));
    let server = SimulatedScim::start(options).await.expect("a free port");
    let kept = Arc::clone(&secret);
    let credentials = Credentials::Client(Box::new(ClientCredentials {
        scope: scope.map(str::to_owned),
        ..ClientCredentials::new(
            server.token_url().parse().expect("a URL"),
            "a client:of%ours",
            Arc::new(move || Ok(SecretString::from(kept.lock().expect("a lock").clone()))),
        )
    }));
    let settings = ScimSettings { credentials, ..settings(&server) };
    assert!(!format!("{settings:?}").contains("s3cr"));
    let scim = ScimTarget::new(settings).expect("good settings");
    Client { server, scim, secret }
}

impl Client {
    fn tokens(&self) -> usize {
        self.server.journal.count("POST", "/oauth/token")
    }
}

#[tokio::test]
async fn an_access_token_is_fetched_once_and_kept() {
    let client = client(Some("scim read")).await;
    let info = client.scim.probe().await.expect("a first contact");
    assert_eq!(info.signed_in_as, "client a client:of%ours");
    let observations = (0..8).map(|_| client.scim.accounts(None));
    assert!(futures::future::join_all(observations).await.iter().all(Result::is_ok));
    assert_eq!(client.tokens(), 1);
    let asked = client.server.journal.matching(|entry| entry.path == "/oauth/token").remove(0);
    assert_eq!(asked.body, "grant_type=client_credentials&scope=scim+read");
}

#[tokio::test]
async fn a_token_that_is_over_or_revoked_is_renewed_and_the_call_sent_again_once() {
    let client = client(None).await;
    client.scim.probe().await.expect("a first contact");
    client.server.revoke_tokens();
    client.scim.apply(&create("ada"), soon()).await.expect("with a new token");
    assert_eq!(client.tokens(), 2);
    assert_eq!(client.server.len(), 1);
    let posts = client.server.journal.matching(|entry| entry.method == "POST" && entry.path.ends_with("/Users"));
    assert_eq!(posts.iter().map(|post| post.status).collect::<Vec<_>>(), [Some(401), Some(201)]);
    // Tokens that expire at once are fetched for each call.
    client.server.switch(|switches| switches.token_life = 0);
    client.server.revoke_tokens();
    let error = client.scim.accounts(None).await.expect_err("never good");
    assert_eq!(error.kind, not_done(Refused), "{error}");
    let (before, calls) = (client.tokens(), client.server.journal.len());
    assert_eq!(client.scim.accounts(None).await.expect_err("known by now").kind, not_done(Refused));
    assert_eq!((client.tokens(), client.server.journal.len()), (before, calls), "nothing is sent");
    client.server.switch(|switches| switches.token_life = 300);
    client.scim.forget_refusal();
    client.scim.accounts(None).await.expect("well again");
}

#[tokio::test]
async fn a_refused_secret_is_sent_once_and_a_new_one_is_used() {
    let client = client(None).await;
    "wrong".clone_into(&mut client.secret.lock().expect("a lock"));
    for _ in 0..3 {
        let error = client.scim.accounts(None).await.expect_err("refused");
        assert_eq!(error.kind, not_done(Refused));
        assert!(error.text.contains("client_secret") && !error.text.contains("wrong"), "{error}");
    }
    assert_eq!(client.tokens(), 1);
    "s3cr:t&ü%+".clone_into(&mut client.secret.lock().expect("a lock"));
    client.scim.accounts(None).await.expect("taken");
    // A secret rotated while a token is valid is used for the next token.
    client.server.set_client_secret("another");
    "another".clone_into(&mut client.secret.lock().expect("a lock"));
    client.scim.accounts(None).await.expect("taken");
    assert_eq!(client.tokens(), 3);
}

#[tokio::test]
async fn a_failing_token_endpoint_is_distinguished_from_refused_credentials() {
    for (fault, class) in [
        (Fault::unavailable(), Transient),
        (Fault::cut(), Transient),
        (Fault::html(200, "<html>Sign in</html>"), Unconfirmed),
        (Fault::status(200, "{}"), Unconfirmed),
        (Fault::status(400, r#"{"error":"invalid_scope"}"#), Permanent),
        (Fault::status(404, ""), Permanent),
    ] {
        let client = client(None).await;
        client.server.faults.add(fault.path("/oauth/token"));
        let error = client.scim.apply(&create("ada"), soon()).await.expect_err("no token");
        assert_eq!(error.kind, not_done(class), "{error}");
        client.server.faults.clear();
        client.scim.apply(&create("ada"), soon()).await.expect("all is well again");
    }
}

#[tokio::test]
async fn a_refused_token_is_sent_once() {
    let world = World::switched(|_| {}).await;
    let settings = ScimSettings { credentials: token("wrong"), ..settings(&world.server) };
    let scim = ScimTarget::new(settings).expect("good settings");
    for _ in 0..3 {
        let error = scim.probe().await.expect_err("refused");
        assert_eq!(error.kind, not_done(Refused));
        assert!(error.text.contains("audience"), "{error}");
    }
    assert_eq!(world.server.journal.len(), 1);
    world.server.set_token("wrong");
    scim.forget_refusal();
    scim.probe().await.expect("taken");
}
