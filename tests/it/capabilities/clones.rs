//! A server is identified by its id and its base URL, because a clone has the id of its original.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use usersync::{
    demo::{
        stack::{Stack, StackOptions},
        targets::OtherTarget,
    },
    model::{Link, Packed, Pair, RunOutcome, RunTrigger, TargetIdentity, UserId},
    store::{EngineStore, OperatorStore, PairState, StoreReads},
    targets::{
        Credentials,
        jira::{JiraSettings, JiraTarget},
    },
};
use usersync_simulators::{JiraOptions, SimulatedJira, keycloak::NewUser};

use super::support::{on, options, servers, world};

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
    assert!(error.contains(&format!("usersync target confirm {}", Stack::pair().target)), "{error}");
    let store = &w.stack.store;
    assert_eq!(store.pair_state(&Stack::pair()).await.unwrap(), PairState::Stopped);
    assert_eq!(w.writes().len(), before, "nothing is written to it");

    store.confirm_identity(None, Some(&Stack::pair().target), "ann", Timestamp::now()).await.unwrap();
    w.stack.in_service().await.unwrap();
    w.settled().await;
    assert!(w.account("alice").active);
    // If the server once omits the base URL, it is still the same server.
    w.jira().set_base_url("");
    w.run().await;
    assert_eq!(store.pair_state(&Stack::pair()).await.unwrap(), PairState::InService);
}

#[tokio::test]
async fn the_same_server_under_a_new_address_keeps_what_usersync_knows_of_it() {
    let w = world().await;
    let store = &w.stack.store;
    let (links, before) = (store.links(&Stack::pair()).await.unwrap(), w.writes().len());
    let groups = store.managed_groups(&Stack::pair().target).await.unwrap();
    assert!(links.iter().all(|link| !link.given.is_empty()) && !groups.is_empty());
    w.jira().set_base_url("https://jira.example.org");
    let error = w.try_run().await.expect_err("another address").to_string();
    assert!(
        error.contains("the same server under a new address: usersync target confirm jira --same-server."),
        "{error}"
    );
    assert!(error.contains("another server, such as a clone: usersync target confirm jira"), "{error}");
    // While it is stopped, one account gets another login, and a user leaves its group in Keycloak.
    w.jira().rename_account("staff1", "somebody");
    let group = w.realm().snapshot().group("/staff").expect("there").id.clone();
    w.realm().leave(&w.id("staff2"), &group).await.unwrap();
    w.realm().webhook_idle().await;
    assert_eq!(w.writes().len(), before, "nothing is written to it");

    let found = TargetIdentity::new(w.jira().server_id(), Some("https://jira.example.org"));
    store.confirm_same_server(&Stack::pair().target, &found, "ann", Timestamp::now()).await.unwrap();
    assert_eq!(store.pair_state(&Stack::pair()).await.unwrap(), PairState::InService, "nothing is to be approved");
    let is_run = async || {
        let newest = store.runs(Some(&Stack::pair()), 1).await.unwrap().remove(0);
        newest.trigger == RunTrigger::Operator && newest.outcome != RunOutcome::Running
    };
    for _ in 0..1_000 {
        if is_run().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_run().await, "a run compares the links at once");
    w.calm().await;
    assert_eq!(store.unconfirmed_links(&Stack::pair()).await.unwrap(), Vec::new());
    let after = store.links(&Stack::pair()).await.unwrap();
    let user = |login: &str| UserId::from(w.id(login));
    let kept = |links: &Packed<Link>| {
        let others = links.iter().filter(|link| ![user("staff1"), user("staff2")].contains(&link.user));
        others.map(|link| (link.account, link.given)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(kept(&after), kept(&links));
    assert_eq!(store.managed_groups(&Stack::pair().target).await.unwrap(), groups);
    assert!(!w.members("staff").contains(&"staff2".to_owned()), "what usersync gave can be taken without an approval");
    // The link with the changed login is listed and dropped; the account is unchanged.
    assert!(w.account("somebody").groups.contains("staff"));
    let changes = w.changes().await;
    let dropped: Vec<_> = changes.iter().filter(|change| change.verb == "drop_link").collect();
    assert_eq!(dropped.len(), 1, "{dropped:#?}");
    assert!(dropped[0].after["why"].as_str().is_some_and(|why| why.ends_with("is now somebody")), "{dropped:#?}");
    assert!(w.has_account("staff1"), "it is created anew");
}

#[tokio::test]
async fn a_staging_clone_beside_production_is_a_server_of_its_own() {
    let staging = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
    let token = staging.token().to_owned();
    let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
    let settings = JiraSettings::new(staging.url().parse().expect("an address"), credentials);
    let target = Arc::new(JiraTarget::new(settings).expect("good settings"));
    let clone = OtherTarget { name: "staging".into(), target };
    let servers = servers(StackOptions { other_targets: vec![clone], ..options() }).await;
    staging.set_identity(&servers.jira.server_id(), "Jira");
    let w = on(servers).await;
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.calm().await;
    let pairs = [Stack::pair(), Pair { target: "staging".into(), ..Stack::pair() }];
    for pair in pairs {
        assert_eq!(w.stack.store.pair_state(&pair).await.unwrap(), PairState::InService, "{pair}");
    }
    assert!(w.account("alice").active);
    assert!(staging.snapshot().account("alice").is_some_and(|account| account.active));
}
