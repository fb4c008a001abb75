//! A server is its id and its own base URL, as a clone has the id of its original.

use std::sync::Arc;

use jiff::Timestamp;
use usersync::{
    model::Pair,
    sandbox::{
        JiraOptions, JiraSandbox,
        house::{House, HouseOptions},
        keycloak::NewUser,
        neighbours::Neighbour,
    },
    store::{PairState, Store},
    target::{
        Credentials,
        jira::{JiraSettings, JiraTarget},
    },
};

use crate::support::{grounds, on, options, world};

#[tokio::test]
async fn a_clone_in_productions_place_stops_the_target_until_an_operator_confirms() {
    let w = world().await;
    w.jira().set_base_url("https://staging.example.org");
    let before = w.writes().len();
    w.realm().switch_webhook(false);
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    let error = w.try_run().await.expect_err("another server").to_string();
    assert!(error.contains("reports another base URL than before, as a clone does"), "{error}");
    assert!(error.contains("https://staging.example.org"), "{error}");
    assert!(error.contains(&format!("usersync target confirm {}", House::pair().target)), "{error}");
    let store = &w.house.store;
    assert_eq!(store.pair_state(&House::pair()).await.unwrap(), PairState::Stopped);
    assert_eq!(w.writes().len(), before, "nothing is written to it");

    store.confirm_identity(None, Some(&House::pair().target), "ann", Timestamp::now()).await.unwrap();
    w.house.in_service().await.unwrap();
    w.settled().await;
    assert!(w.account("alice").active);
    // Where the server does not report it for once, it is still the same.
    w.jira().set_base_url("");
    w.run().await;
    assert_eq!(store.pair_state(&House::pair()).await.unwrap(), PairState::InService);
}

#[tokio::test]
async fn a_staging_clone_beside_production_is_a_server_of_its_own() {
    let staging = JiraSandbox::start(JiraOptions::default()).await.expect("a free port");
    let token = staging.token().to_owned();
    let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
    let settings = JiraSettings::new(staging.url().parse().expect("an address"), credentials);
    let target = Arc::new(JiraTarget::new(settings).expect("good settings"));
    let clone = Neighbour { name: "staging".into(), target };
    let grounds = grounds(HouseOptions { neighbours: vec![clone], ..options() }).await;
    staging.set_identity(&grounds.jira.server_id(), "Jira");
    let w = on(grounds).await;
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.calm().await;
    let pairs = [House::pair(), Pair { target: "staging".into(), ..House::pair() }];
    for pair in pairs {
        assert_eq!(w.house.store.pair_state(&pair).await.unwrap(), PairState::InService, "{pair}");
    }
    assert!(w.account("alice").active);
    assert!(staging.snapshot().account("alice").is_some_and(|account| account.active));
}
