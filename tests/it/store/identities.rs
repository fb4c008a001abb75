//! The identities of realms and targets, pinned until an operator confirms another one.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn identities_are_pinned_until_an_operator_confirms(store: World) {
    let source =
        |account: &str| SourceIdentity { issuer: "https://kc/realms/a".into(), service_account: account.into() };
    let server = |id: &str| TargetIdentity::new(id, None);
    let wiki = TargetName::from("wiki");
    let both = [pair(), Pair::new("corp", "wiki")];
    store.ensure_pairs(&both, at(0)).await.unwrap();
    for pair in &both {
        store.set_pair_state(pair, PairState::InService, at(1)).await.unwrap();
    }
    assert_eq!(store.source_identity(&connector()).await.unwrap(), None);
    assert_eq!(store.target_identity(&target(), &server("A")).await.unwrap(), (None, None));
    assert_eq!(store.pin_source(&connector(), &source("1")).await.unwrap(), source("1"));
    assert_eq!(store.source_identity(&connector()).await.unwrap(), Some(source("1")));
    assert_eq!(store.pin_source(&connector(), &source("2")).await.unwrap(), source("1"));
    assert_eq!(store.pin_target(&target(), &server("A")).await.unwrap(), (server("A"), None));
    assert_eq!(store.pin_target(&target(), &server("B")).await.unwrap(), (server("A"), None));
    assert_eq!(store.target_identity(&target(), &server("B")).await.unwrap(), (Some(server("A")), None));
    assert_eq!(store.target_identity(&wiki, &server("A")).await.unwrap(), (None, Some(target())));
    // The same server under two names.
    assert_eq!(store.pin_target(&wiki, &server("A")).await.unwrap(), (server("A"), Some(target())));

    store.confirm_identity(None, Some(&target()), "eve", at(2)).await.unwrap();
    assert_eq!(store.pin_target(&target(), &server("B")).await.unwrap(), (server("B"), None));
    assert_eq!(store.pair_state(&both[0]).await.unwrap(), PairState::New);
    assert_eq!(store.pair_state(&both[1]).await.unwrap(), PairState::InService);
    store.confirm_identity(Some(&connector()), None, "eve", at(3)).await.unwrap();
    assert_eq!(store.pair_state(&both[1]).await.unwrap(), PairState::New);
    assert_eq!(store.pin_source(&connector(), &source("2")).await.unwrap(), source("2"));
    let audit = store.audit(None, 9).await.unwrap();
    assert_eq!((audit.len(), audit[0].by.as_str(), audit[0].at), (2, "eve", at(3)));
    assert_eq!(store.audit(Some(audit[0].id), 9).await.unwrap(), audit[1..]);
}

pub async fn a_target_is_pinned_by_its_id_and_the_base_url_that_it_reports(store: World) {
    let server = |url: Option<&str>| TargetIdentity::new("A", url);
    let (production, staging) = (server(Some("https://jira.example.org")), server(Some("https://staging.example.org")));
    let clone = TargetName::from("staging");
    store.ensure_pairs(&[pair(), Pair::new("corp", "staging")], at(0)).await.unwrap();
    // As an earlier version pinned it: until the base URL is known, it may be the same server.
    assert_eq!(store.pin_target(&target(), &server(None)).await.unwrap(), (server(None), None));
    assert_eq!(store.target_identity(&clone, &staging).await.unwrap(), (None, Some(target())));
    // Completed by the first contact, and kept if a later one does not report it.
    assert_eq!(store.pin_target(&target(), &production).await.unwrap(), (production.clone(), None));
    assert_eq!(store.pin_target(&target(), &server(None)).await.unwrap(), (production.clone(), None));
    assert_eq!(store.pin_target(&target(), &staging).await.unwrap(), (production.clone(), None));
    // A clone beside it is another server, unless it does not report its base URL.
    assert_eq!(store.target_identity(&clone, &server(None)).await.unwrap(), (None, Some(target())));
    assert_eq!(store.pin_target(&clone, &staging).await.unwrap(), (staging.clone(), None));
    store.confirm_identity(None, Some(&target()), "eve", at(2)).await.unwrap();
    assert_eq!(store.pin_target(&target(), &staging).await.unwrap(), (staging, Some(clone)));
}

pub async fn another_server_leaves_links_unconfirmed_and_decisions_withdrawn(store: World) {
    store.ensure_pairs(&[pair()], at(0)).await.unwrap();
    for name in ["ann", "bob"] {
        store.linked(name, &format!("{name}-account"), at(1)).await;
    }
    let ann = store.work(&user("ann"), at(2)).await;
    assert!(!ann.unconfirmed);
    let given = Link { given: ["g1".into()].into(), ..ann.link.clone().unwrap() };
    let last = Step { link: Some(LinkWrite::Put(given)), ..Step::default() };
    let held = vec![hold(ApprovalKind::Adoption, "adopt:a9", "f")];
    store.complete(ann.token, last, held, at(9), at(2)).await.unwrap();

    store.confirm_identity(None, Some(&target()), "eve", at(3)).await.unwrap();
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), ["ann".into(), "bob".into()]);
    assert_eq!(store.counts(&pair(), at(3)).await.unwrap().memberships, 0, "groups are found by name again");
    assert!(store.standing_items(&pair()).await.unwrap().is_empty());
    assert!(store.approvals(true).await.unwrap().is_empty());
    let run = store.begin_run(&pair(), RunTrigger::First, RunMode::Apply, at(4)).await.unwrap();
    let dropped = [("bob".into(), "account bob-account is now eve".to_owned())];
    // A claimed subject is left to the next run.
    let bob = store.work(&user("bob"), at(4)).await;
    assert!(bob.unconfirmed);
    store.confirm_links(&pair(), run, &["ann".into()], &dropped, at(4)).await.unwrap();
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), ["bob".into()]);
    store.done(bob.token, at(5)).await;
    store.confirm_links(&pair(), run, &[], &dropped, at(5)).await.unwrap();
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), Vec::new());
    assert_eq!(store.link(&pair(), &"bob".into()).await.unwrap(), None);
    assert!(store.link(&pair(), &"ann".into()).await.unwrap().is_some());
    let change = store.changes(&ChangeFilter::default()).await.unwrap().remove(0);
    assert_eq!(
        (change.verb.as_str(), change.after["why"].as_str()),
        ("drop_link", Some("account bob-account is now eve"))
    );
}

pub async fn the_same_server_under_another_address_keeps_all_but_compares_its_links(store: World) {
    store.ensure_pairs(&[pair()], at(0)).await.unwrap();
    let (before, after) = (server("A", "http://jira.example.org"), server("A", "https://jira.example.org"));
    store.pin_target(&target(), &before).await.unwrap();
    store.linked("ann", "ann-account", at(1)).await;
    let ann = store.work(&user("ann"), at(2)).await;
    let given = Link { given: ["g1".into()].into(), ..ann.link.clone().unwrap() };
    let last = Step { link: Some(LinkWrite::Put(given.clone())), ..Step::default() };
    let held = vec![hold(ApprovalKind::Adoption, "adopt:a9", "f")];
    store.complete(ann.token, last, held, at(9), at(2)).await.unwrap();
    store.set_pair_state(&pair(), PairState::InService, at(2)).await.unwrap();
    store.stop_for_target(&pair(), at(3)).await.unwrap();
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::Stopped);

    let pairs = store.confirm_same_server(&target(), &after, "eve", at(4)).await.unwrap();
    assert_eq!(pairs, [PairRecord { pair: pair(), state: PairState::InService, since: at(4) }]);
    assert_eq!(store.pin_target(&target(), &after).await.unwrap(), (after, None));
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), Some(given));
    assert_eq!(store.standing_items(&pair()).await.unwrap().len(), 1, "approvals stay");
    assert_eq!(store.approvals(true).await.unwrap().len(), 1);
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), ["ann".into()]);
    assert_eq!(store.requested_run(&pair()).await.unwrap(), Some(RunTrigger::Operator), "which compares the links");
    assert!(store.audit(None, 1).await.unwrap()[0].what.contains("the same server, now A at https://jira.example.org"));

    // A worker that handles the user before that run finds another login, and drops the link with its reason.
    let ann = store.work(&user("ann"), at(5)).await;
    assert!(ann.unconfirmed);
    let why = "account ann-account is now eve".to_owned();
    let drop = Step { link: Some(LinkWrite::Unconfirmed { why: why.clone() }), ..Step::default() };
    store.step(ann.token, drop, at(5)).await.unwrap();
    store.done(ann.token, at(5)).await;
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), None);
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), Vec::new());
    assert!(store.dropped_links(&pair()).await.unwrap().is_empty(), "its account is another user's for good");
    let change = store.changes(&ChangeFilter::default()).await.unwrap().remove(0);
    assert_eq!((change.verb.as_str(), change.after["why"].as_str()), ("drop_link", Some(why.as_str())));
}

pub async fn only_a_server_of_the_same_id_is_the_same_server(store: World) {
    let jira = server("A", "https://jira.example.org");
    let refused = async |found: &TargetIdentity| {
        let confirmed = store.confirm_same_server(&target(), found, "eve", at(2)).await;
        let Err(StoreError::Refused(why)) = confirmed else { panic!("{confirmed:?}") };
        why
    };
    store.ensure_pairs(&[pair(), Pair::new("corp", "staging")], at(0)).await.unwrap();
    assert!(refused(&jira).await.contains("no server was recorded yet"));
    store.pin_target(&target(), &jira).await.unwrap();
    let why = refused(&server("B", "https://jira.example.org")).await;
    assert!(why.contains("its id is B, and was A"), "{why}");
    assert!(why.contains("usersync target confirm jira") && !why.contains("identified by its address"), "{why}");
    let why = refused(&TargetIdentity::new("https://scim.example.org", None)).await;
    assert!(why.contains("identified by its address only"), "{why}");
    let staging = server("A", "https://staging.example.org");
    store.pin_target(&"staging".into(), &staging).await.unwrap();
    assert!(refused(&staging).await.contains("the same server as target staging"));
    assert_eq!(store.pin_target(&target(), &jira).await.unwrap(), (jira, None), "nothing is changed");
    assert_eq!(store.audit(None, 9).await.unwrap(), []);
}
