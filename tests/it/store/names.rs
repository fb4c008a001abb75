//! Renamed and removed connectors and targets.

use usersync::{model::*, store::*};

use super::world::*;

async fn linked_everywhere(store: &World) {
    store.linked("ann", "a1", at(0)).await;
    store.event("e1", &[user("bob")], at(1)).await;
    store.set_pair_state(&pair(), PairState::InService, at(1)).await.unwrap();
}

pub async fn a_renamed_connector_keeps_what_it_has(store: World) {
    linked_everywhere(&store).await;
    let named = Declared::Connector(pair().connector);
    let kept = store.rename(&named, "new", "dora", at(2)).await.unwrap();
    let new = Pair { connector: "new".into(), ..pair() };
    assert_eq!((kept.len(), &kept[0].pair, kept[0].links), (1, &new, 1));
    assert_eq!(store.links(&new).await.unwrap().len(), 1);
    assert_eq!(store.pair_state(&new).await.unwrap(), PairState::InService);
    assert!(store.links(&pair()).await.unwrap().is_empty());
    let tasks = store.tasks(&TaskFilter { limit: 10, ..TaskFilter::default() }).await.unwrap();
    assert!(tasks.iter().all(|task| task.pair == new) && !tasks.is_empty(), "{tasks:?}");
    assert_eq!(store.event_counts(&"new".into()).await.unwrap().received, 1);
    assert!(store.audit(None, 1).await.unwrap()[0].what.contains("to new"));
    let again = store.rename(&named, "newer", "dora", at(3)).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
}

pub async fn a_new_name_that_has_links_is_refused(store: World) {
    linked_everywhere(&store).await;
    let (corp, other) = (Declared::Connector(pair().connector), Pair { connector: "other".into(), ..pair() });
    store.ensure_pairs(std::slice::from_ref(&other), at(1)).await.unwrap();
    store.hold_first_run(&other, serde_json::json!({}), at(1)).await.unwrap();
    let refused = store.rename(&Declared::Connector("other".into()), pair().connector.as_str(), "dora", at(2)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    // The other one has started under the new configuration, and has nothing yet.
    store.rename(&corp, "other", "dora", at(2)).await.unwrap();
    assert_eq!(store.links(&other).await.unwrap().len(), 1);
    assert_eq!(store.pair_state(&other).await.unwrap(), PairState::InService);
    assert!(store.approvals(true).await.unwrap().is_empty());
}

pub async fn a_run_replaces_the_tasks_under_the_new_name(store: World) {
    linked_everywhere(&store).await;
    let bob = NewEvent { id: "e9".into(), ..event("e9", &[user("bob")]) };
    store.append_events(&"new".into(), &[target()], vec![bob], at(2)).await.unwrap();
    let corp = Declared::Connector(connector());
    store.rename(&corp, "new", "dora", at(3)).await.unwrap();
    let new = Pair { connector: "new".into(), ..pair() };
    assert_eq!(store.requested_run(&new).await.unwrap(), Some(RunTrigger::Event));
    // The request stays until a run ends.
    let run = store.begin_run(&new, RunTrigger::Event, RunMode::Apply, at(4)).await.unwrap();
    store.end_run(run, RunOutcome::Stopped, serde_json::Value::Null, at(5)).await.unwrap();
    assert_eq!(store.counts(&new, at(5)).await.unwrap().last_successful_run, None);
    assert_eq!(store.requested_run(&new).await.unwrap(), Some(RunTrigger::Event));

    // The same for a target; a new name loses nothing.
    let wiki = Pair { target: "wiki".into(), ..new.clone() };
    store.raise(&wiki, &[user("bob")], Priority::Event, &because("test"), at(6)).await.unwrap();
    let run = store.begin_run(&new, RunTrigger::Event, RunMode::Apply, at(6)).await.unwrap();
    store.end_run(run, RunOutcome::Done, serde_json::Value::Null, at(7)).await.unwrap();
    assert_eq!(store.counts(&new, at(7)).await.unwrap().last_successful_run, Some(at(7)));
    store.rename(&Declared::Target(target()), "wiki", "dora", at(8)).await.unwrap();
    assert_eq!(store.requested_run(&wiki).await.unwrap(), Some(RunTrigger::Event));
    let run = store.begin_run(&wiki, RunTrigger::Event, RunMode::Apply, at(9)).await.unwrap();
    store.end_run(run, RunOutcome::Done, serde_json::Value::Null, at(9)).await.unwrap();
    store.rename(&Declared::Target("wiki".into()), "fresh", "dora", at(10)).await.unwrap();
    assert_eq!(store.requested_run(&Pair { target: "fresh".into(), ..new }).await.unwrap(), None);
}

pub async fn a_renamed_target_keeps_what_it_has(store: World) {
    linked_everywhere(&store).await;
    let identity = TargetIdentity::new("server-1", None);
    store.pin_target(&pair().target, &identity).await.unwrap();
    store.rename(&Declared::Target(pair().target), "new", "dora", at(2)).await.unwrap();
    let new = Pair { target: "new".into(), ..pair() };
    assert_eq!(store.links(&new).await.unwrap().len(), 1);
    assert_eq!(store.target_identity(&"new".into(), &identity).await.unwrap(), (Some(identity), None));
}

pub async fn a_removed_connector_frees_its_accounts(store: World) {
    linked_everywhere(&store).await;
    let other = Pair { connector: "other".into(), ..pair() };
    store.ensure_pairs(std::slice::from_ref(&other), at(1)).await.unwrap();
    assert_eq!(store.linked_elsewhere(&other).await.unwrap().len(), 1);
    let kept = store.remove(&Declared::Connector(pair().connector), "dora", at(2)).await.unwrap();
    assert_eq!((kept[0].links, &kept[0].pair), (1, &pair()));
    assert!(store.linked_elsewhere(&other).await.unwrap().is_empty());
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::New);
    assert_eq!(store.counts(&pair(), at(2)).await.unwrap().links, 0);
    assert!(store.tasks(&TaskFilter { limit: 10, ..TaskFilter::default() }).await.unwrap().is_empty());
    assert!(store.audit(None, 1).await.unwrap()[0].what.contains("1 linked account"));
    let unknown = store.remove(&Declared::Target("nowhere".into()), "dora", at(3)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
}
