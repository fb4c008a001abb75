//! Events.

use usersync::{model::*, store::*};

use crate::world::*;

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
