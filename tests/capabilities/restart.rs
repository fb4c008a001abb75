//! Stopped and started again on the same store in the middle of work.

use usersync::{
    engine::EngineTimes,
    model::ChangeOutcome,
    sandbox::{
        Fault,
        fault::Kind,
        keycloak::{NewUser, UserChange},
    },
    store::Store,
};

use crate::support::{World, on, options, world_with};

/// Each write that Jira took has its change, and no intent is left open.
pub async fn every_write_has_its_change(w: &World) {
    let took = |one: &&usersync::sandbox::journal::Entry| !one.faulted || one.status.is_none();
    let writes = w.writes().iter().filter(took).count();
    let changes = w.changes().await;
    assert!(writes <= changes.len(), "{writes} writes, {} changes: {changes:#?}", changes.len());
    let stale = w.house.store.stale_intents(&usersync::sandbox::house::House::pair(), jiff::Timestamp::now()).await;
    assert_eq!(stale.unwrap(), []);
}

#[tokio::test]
async fn stopped_in_the_middle_of_work_it_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.store = Some(folder.path().join("usersync.db"));
    let mut w = world_with(options).await;
    w.jira().faults.set_latency(std::time::Duration::from_millis(10));
    for round in 0..3 {
        for number in 0..8 {
            let user = NewUser::named(format!("new{round}{number}")).in_groups(&["/staff"]);
            w.realm().create_user(user).await.unwrap();
        }
        w.realm().webhook_idle().await;
        let World { grounds, house } = w;
        house.stop().await;
        w = on(grounds).await;
    }
    w.settled().await;
    every_write_has_its_change(&w).await;
    let creates = w.changes().await.iter().filter(|change| change.verb == "create").count();
    assert_eq!(creates, crate::support::STAFF + 24, "each account was made once");
    w.agrees();
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_before_the_stop_is_settled_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.store = Some(folder.path().join("usersync.db"));
    options.times = EngineTimes { call: jiff::SignedDuration::from_millis(900), ..EngineTimes::hasty() };
    let w = world_with(options).await;
    let cut = w.jira().faults.add(Fault::new(Kind::CutAfter).method("POST").path("/user").once());
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    w.realm().webhook_idle().await;
    while w.jira().faults.hits(cut) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let World { grounds, house } = w;
    house.stop().await;
    let w = on(grounds).await;
    w.calm().await;
    let outcomes: Vec<_> = w.changes_of(&w.id("alice")).await.into_iter().map(|change| change.outcome).collect();
    assert!(outcomes.contains(&ChangeOutcome::FoundDone), "{outcomes:?}");
    assert_eq!(
        w.jira()
            .journal
            .matching(|one| one.json()["name"] == "alice" && one.path.ends_with("/api/2/user") && one.method == "POST")
            .len(),
        1
    );
    every_write_has_its_change(&w).await;
    w.agrees();
}
