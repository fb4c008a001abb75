//! Events.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn an_event_is_stored_with_its_tasks(store: World) {
    let appended = store.event("1", &[user("ann"), Subject::group("devs")], at(1)).await;
    assert_eq!(appended, Appended { stored: 1, duplicates: 0 });
    let stored = store.events(&EventFilter::default()).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(
        (stored[0].id.as_str(), stored[0].kind.as_str(), stored[0].about.as_str()),
        ("1", "UPDATE USER", "users/x")
    );
    assert_eq!(stored[0].hints, [user("ann"), Subject::group("devs")]);
    assert_eq!((stored[0].received_at, stored[0].occurred_at), (at(1), Some(at(-1))));
    assert_eq!((stored[0].body.as_str(), stored[0].outcome.clone()), (r#"{"a":1}"#, EventOutcome::Accepted));

    let first = store.claim_one(at(1)).await.unwrap();
    let second = store.claim_one(at(1)).await.unwrap();
    assert!(store.claim_one(at(1)).await.is_none());
    assert_eq!((first.cause, first.caused_at), (Cause::Event { id: "1".into() }, at(1)));
    assert_eq!(first.generation, 1);
    assert_ne!(first.subject, second.subject);
    store.done(first.token, at(2)).await;
    store.done(second.token, at(2)).await;
    assert!(store.tasks(&TaskFilter::default()).await.unwrap().is_empty());
}

pub async fn a_repeated_event_is_a_duplicate_and_creates_no_task(store: World) {
    let uuid = "0f3b6a52-7c1e-4d55-9a7b-00000000abcd";
    for id in ["1", uuid] {
        assert_eq!(store.event(id, &[user("ann")], at(1)).await, Appended { stored: 1, duplicates: 0 });
        let ann = store.claims(&user("ann"), at(1)).await;
        store.done(ann.token, at(1)).await;
        assert_eq!(store.event(id, &[user("ann")], at(2)).await, Appended { stored: 0, duplicates: 1 });
        assert!(store.claim_one(at(9)).await.is_none());
    }
    // A different spelling is another id; another connector's event is another event.
    assert_eq!(store.event(&uuid.to_uppercase(), &[], at(3)).await.stored, 1);
    let elsewhere = store.append_events(&"other".into(), &[], vec![event("1", &[])], at(3)).await.unwrap();
    assert_eq!(elsewhere, Appended { stored: 1, duplicates: 0 });
    // Twice in one call, beside a new one.
    let three = vec![event("2", &[user("bob")]), event("2", &[user("cid")]), event("1", &[user("cid")])];
    let appended = store.append_events(&connector(), &[target()], three, at(4)).await.unwrap();
    assert_eq!(appended, Appended { stored: 1, duplicates: 2 });
    let bob = store.claims(&user("bob"), at(4)).await;
    assert!(store.claim_one(at(9)).await.is_none());
    store.done(bob.token, at(4)).await;

    let filter = EventFilter { id: Some("1".into()), connector: Some(connector()), ..EventFilter::default() };
    let first = store.events(&filter).await.unwrap();
    assert_eq!((first.len(), first[0].duplicates), (1, 2));
    let counts = store.event_counts(&connector()).await.unwrap();
    assert_eq!((counts.received, counts.duplicates, counts.last), (8, 4, Some(at(4))));
    assert_eq!(store.event_counts(&"nobody".into()).await.unwrap(), EventCounts::default());
}

pub async fn an_ignored_event_is_stored_and_requests_nothing(store: World) {
    let ignored = NewEvent {
        outcome: EventOutcome::Ignored("another realm".into()),
        wants_run: true,
        ..event("1", &[user("ann")])
    };
    let appended = store.append_events(&connector(), &[target()], vec![ignored], at(1)).await.unwrap();
    assert_eq!(appended.stored, 1);
    assert!(store.claim_one(at(9)).await.is_none());
    assert_eq!(store.requested_run(&pair()).await.unwrap(), None);
    let filter = EventFilter { ignored: true, ..EventFilter::default() };
    let stored = store.events(&filter).await.unwrap();
    assert_eq!(stored[0].outcome, EventOutcome::Ignored("another realm".into()));
    let replayed = store.replay_events(&filter, &|_| vec![target()], "me", at(2)).await.unwrap();
    assert_eq!(replayed, (0, 0));
}

pub async fn an_event_that_needs_a_run_requests_one(store: World) {
    let wants = |id: &str| NewEvent { wants_run: true, ..event(id, &[]) };
    store.append_events(&connector(), &[target()], vec![wants("1"), wants("2")], at(1)).await.unwrap();
    store.append_events(&connector(), &[target()], vec![wants("1"), wants("3")], at(2)).await.unwrap();
    assert_eq!(store.requested_run(&pair()).await.unwrap(), Some(RunTrigger::Event));
    store.begin_run(&pair(), RunTrigger::Event, RunMode::Apply, at(3)).await.unwrap();
    assert_eq!(store.requested_run(&pair()).await.unwrap(), None);
    // A duplicate raises nothing.
    store.append_events(&connector(), &[target()], vec![wants("2")], at(4)).await.unwrap();
    assert_eq!(store.requested_run(&pair()).await.unwrap(), None);
}

pub async fn each_of_many_callers_gets_its_own_result(store: World) {
    let callers = (0..300).map(|nth: i64| {
        let store = &store;
        async move {
            // Every third event repeats the one before it.
            let id = format!("e{}", nth - i64::from(nth % 3 == 2));
            store.event(&id, &[user(&format!("u{}", nth % 50))], at(1)).await
        }
    });
    let appended = futures::future::join_all(callers).await;
    assert_eq!(appended.iter().map(|one| one.stored).sum::<usize>(), 200);
    assert_eq!(appended.iter().map(|one| one.duplicates).sum::<usize>(), 100);
    for three in appended.chunks(3) {
        assert_eq!(three[0], Appended { stored: 1, duplicates: 0 });
        assert_eq!(three[1].stored + three[2].stored, 1);
    }
    assert_eq!(store.tasks(&TaskFilter::default()).await.unwrap().len(), 50);
    let counts = store.event_counts(&connector()).await.unwrap();
    assert_eq!((counts.received, counts.duplicates, counts.last), (300, 100, Some(at(1))));
}

pub async fn an_event_reaches_every_target(store: World) {
    let targets = ["jira".into(), "wiki".into()];
    store.append_events(&connector(), &targets, vec![event("1", &[user("ann")])], at(1)).await.unwrap();
    for target in &targets {
        let claimed = store.claim(target, &[connector()], at(1)).await.unwrap().unwrap();
        assert_eq!(claimed.pair, Pair::new("corp", target.as_str()));
        // The same subject on another target is a separate task.
        assert_eq!(claimed.subject, user("ann"));
    }
}

pub async fn events_are_filtered_and_paged(store: World) {
    for nth in 0..10 {
        store.event(&format!("e{nth}"), &[user(&format!("u{}", nth % 2))], at(nth)).await;
    }
    store.append_events(&"other".into(), &[], vec![event("x", &[])], at(3)).await.unwrap();
    let ids = async |filter: EventFilter| -> Vec<String> {
        store.events(&filter).await.unwrap().into_iter().map(|event| event.id).collect()
    };
    let all = EventFilter { connector: Some(connector()), ..EventFilter::default() };
    assert_eq!(ids(all.clone()).await.len(), 10);
    assert_eq!(ids(EventFilter { subject: Some(user("u1")), limit: 2, ..all.clone() }).await, ["e9", "e7"]);
    assert_eq!(ids(EventFilter { subject: Some(user("u")), ..all.clone() }).await, Vec::<String>::new());
    assert_eq!(ids(EventFilter { from: Some(at(3)), to: Some(at(5)), ..all.clone() }).await, ["e4", "e3"]);
    let page = store.events(&EventFilter { limit: 4, ..all.clone() }).await.unwrap();
    let next = EventFilter { before: Some(page[3].seq), limit: 2, ..all.clone() };
    assert_eq!(ids(next).await, ["e5", "e4"]);
    // One task becomes a dead letter.
    let u0 = store.claim_one(at(9)).await.unwrap();
    assert_eq!(u0.subject, user("u0"));
    store.fail(u0.token, failure(None), at(9)).await.unwrap();
    assert_eq!(ids(EventFilter { failed: true, ..all }).await, ["e8", "e6", "e4", "e2", "e0"]);
}

pub async fn replayed_events_make_their_subjects_due(store: World) {
    store.event("1", &[user("ann"), user("bob")], at(1)).await;
    store.event("2", &[user("ann")], at(2)).await;
    store.event("3", &[user("cid")], at(3)).await;
    while let Some(claimed) = store.claim_one(at(4)).await {
        store.done(claimed.token, at(4)).await;
    }
    let filter = EventFilter { to: Some(at(3)), ..EventFilter::default() };
    let targets_of = |name: &ConnectorName| {
        assert_eq!(*name, connector());
        vec![target()]
    };
    assert_eq!(store.replay_events(&filter, &targets_of, "eve", at(5)).await.unwrap(), (2, 2));
    let mut again: Vec<Subject> = Vec::new();
    while let Some(claimed) = store.claim_one(at(5)).await {
        assert_eq!(claimed.cause, because("replayed by eve"));
        again.push(claimed.subject);
    }
    again.sort();
    assert_eq!(again, [user("ann"), user("bob")]);
    assert!(store.audit(None, 1).await.unwrap()[0].what.contains("replayed 2 events"));
}

pub async fn a_polled_event_is_the_same_event_as_the_pushed_one(store: World) {
    let polled = |id: &str| NewEvent { polled: true, ..event(id, &[user("ann")]) };
    let poll = async |ids: &[&str], now| {
        let events = ids.iter().map(|id| polled(id)).collect();
        store.append_events(&connector(), &[target()], events, at(now)).await.unwrap()
    };
    store.event("pushed", &[user("ann")], at(1)).await;
    assert_eq!(poll(&["pushed", "e1", "e2"], 2).await, Appended { stored: 2, duplicates: 1 });
    assert_eq!(poll(&["pushed", "e1", "e2"], 3).await, Appended { stored: 0, duplicates: 3 });
    let counts = async || store.polled_events(&connector()).await.unwrap();
    assert_eq!(counts().await, PolledEvents { events: 2, last: Some(at(2)), recent: 3, only_polled: 2 });
    let claimed = store.claim_one(at(4)).await.expect("a task");
    assert_eq!(claimed.subject, user("ann"));
    let duplicates = async |id: &str| {
        let filter = EventFilter { id: Some(id.into()), ..EventFilter::default() };
        store.events(&filter).await.unwrap()[0].duplicates
    };
    assert_eq!((duplicates("pushed").await, duplicates("e1").await), (0, 0), "reads overlap: that is no repetition");
    assert_eq!(store.event("e1", &[user("ann")], at(5)).await, Appended { stored: 0, duplicates: 1 });
    assert_eq!(counts().await.only_polled, 1, "the sender delivered it, though later");
    let pushed = store.event_counts(&connector()).await.unwrap();
    assert_eq!((pushed.received, pushed.duplicates, pushed.last), (2, 1, Some(at(5))));
    assert_eq!(store.polled_events(&"nobody".into()).await.unwrap(), PolledEvents::default());
}

pub async fn hours_with_events_are_counted(store: World) {
    let hour = 3_600;
    let busy = async |name: &str, from, to| store.busy_hours(&name.into(), at(from), at(to)).await.unwrap();
    let name = connector().to_string();
    assert_eq!(busy(&name, 0, 24 * hour).await, 0);
    for (id, second) in [("e1", 10), ("e2", 20), ("e3", 2 * hour), ("e4", 5 * hour - 1), ("e5", 30 * hour)] {
        let event = NewEvent { occurred_at: Some(at(second)), ..event(id, &[]) };
        store.append_events(&connector(), &[target()], vec![event], at(second)).await.unwrap();
    }
    assert_eq!(busy(&name, 0, 24 * hour).await, 3);
    assert_eq!(busy(&name, hour, 24 * hour).await, 2);
    assert_eq!(busy(&name, 24 * hour, 48 * hour).await, 1);
    assert_eq!(busy("nobody", 0, 24 * hour).await, 0);
}

pub async fn the_state_of_polling_is_kept(store: World) {
    assert_eq!(store.event_poll(&connector()).await.unwrap(), EventPoll::default());
    let polled = NewEvent { polled: true, ..event("e1", &[]) };
    store.append_events(&connector(), &[target()], vec![polled], at(1)).await.unwrap();
    assert_eq!(store.event_poll(&connector()).await.unwrap(), EventPoll::default());
    let newest = Some(EventMark { at: at(1), id: "e1".into() });
    let poll = EventPoll { admin: Some(LogPosition { read_to: at(2), newest }), ..EventPoll::default() };
    store.keep_event_poll(&connector(), &poll).await.unwrap();
    assert_eq!(store.event_poll(&connector()).await.unwrap(), poll);
    assert_eq!(store.polled_events(&connector()).await.unwrap().events, 1);
    assert_eq!(store.event_poll(&"other".into()).await.unwrap(), EventPoll::default());
    store.remove(&Declared::Connector(connector()), "me", at(3)).await.unwrap();
    assert_eq!(store.event_poll(&connector()).await.unwrap(), EventPoll::default());
}
