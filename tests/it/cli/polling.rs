//! What `status` and `check` report about event polling.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::stack::{CLIENT_SECRET, CONNECTOR, SimulatedServers, Stack, StackOptions},
    engine::EngineTimes,
    model::{EventOutcome, FirstRun, NewEvent, Policy},
    store::EngineStore as _,
};
use usersync_simulators::keycloak::NewUser;

use super::{
    place::{Place, Ran},
    served::STEP_TIMEOUT,
};

async fn polling(roles: &[&str]) -> (SimulatedServers, Place, Stack) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StackOptions {
        policy: Policy { first_run: FirstRun::Apply, ..Policy::default() },
        store: Some(folder.path().join("usersync.db")),
        poll_events: Some(SignedDuration::from_millis(60)),
        times: EngineTimes::hasty(),
        ..StackOptions::default()
    };
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    servers.realm.add_service_client("usersync", CLIENT_SECRET, roles);
    servers.realm.import_users((0..5).map(|number| NewUser::named(format!("staff{number}")))).expect("imported");
    let place = Place::within(folder, &servers);
    let stack = servers.build().await.expect("the server starts");
    stack.in_service().await.expect("in service");
    (servers, place, stack)
}

/// Waits until a command prints this.
async fn until(place: &Place, command: &str, text: &str) -> Ran {
    let began = Instant::now();
    loop {
        let ran = place.run(&[command]).await;
        if ran.out.contains(text) {
            return ran;
        }
        assert!(began.elapsed() < STEP_TIMEOUT, "no `{text}` in {ran}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn status_and_check_report_what_came_only_by_polling() {
    let (servers, place, stack) = polling(&["view-users", "view-events"]).await;
    servers.realm.create_user(NewUser::named("pushed")).await.expect("created");
    servers.realm.webhook_idle().await;
    until(&place, "status", "polling      every 5 s, last ").await.ended(0);
    servers.realm.switch_webhook(false);
    for name in ["alice", "bob"] {
        servers.realm.create_user(NewUser::named(name)).await.expect("created");
    }
    let sentence = "came only by polling: the listener does not reach this server.";
    until(&place, "status", sentence).await.ended(0).says("2 of the last ").says("last new event ");
    let (_, document) = place.json(&["status"]).await;
    super::schemas::assert_valid(&["status"], &document);
    assert_eq!(document["pairs"][0]["polling"]["only_polled"], 2, "{document:#}");
    place.run(&["check"]).await.says(sentence).says("  ok    polling          every 5 s, last ");
    stack.stop().await;
}

#[tokio::test]
async fn a_realm_that_stores_no_events_is_reported_without_a_failure() {
    let (servers, place, stack) = polling(&["view-users", "view-events"]).await;
    servers.realm.set_events(false, false, false);
    let sentence = "Realm acme stores no admin events and no user events, so they cannot be polled. Turn them on: usersync \
                    keycloak setup";
    until(&place, "status", sentence).await.ended(0).says("In sync.");
    servers.realm.set_events(true, true, true);
    until(&place, "check", "may have been missed, because the realm did not store events for a while. A full").await;
    stack.stop().await;
}

#[tokio::test]
async fn a_missing_right_is_reported_with_its_name_and_its_effect() {
    let (_servers, place, stack) = polling(&["view-users"]).await;
    let status = until(&place, "status", "Events cannot be polled, for ").await;
    status.ended(0).says("lacks the role view-events. Grant it: realm acme, Clients, usersync, Service account roles");
    status.says("Meanwhile, only the full reconcile finds changes.");
    let check = place.run(&["check"]).await;
    check.ended(1).says("role view-events is missing, so events cannot be polled: only the listener and the full");
    stack.stop().await;
}

#[tokio::test]
async fn a_busy_realm_without_events_for_a_day_is_degraded_until_the_next_event() {
    let (servers, place, stack) = polling(&["view-users", "view-events"]).await;
    let hour = SignedDuration::from_hours(1);
    let began = Timestamp::now() - hour * (8 * 24 + 2);
    // One event in each hour, until 26 hours ago.
    for number in 0..=7 * 24 {
        let at = began + hour * number;
        let event = NewEvent {
            id: format!("e{number}"),
            occurred_at: Some(at),
            kind: "LOGIN".into(),
            about: String::new(),
            body: "{}".into(),
            hints: Vec::new(),
            may_remove: false,
            wants_run: false,
            recheck: false,
            polled: false,
            outcome: EventOutcome::Accepted,
        };
        stack.store.append_events(&CONNECTOR.into(), &[], vec![event], at).await.expect("stored");
    }
    let silent = "Degraded: no event of realm acme for 26 h, although it had events in 24 of 24 hours a week before.";
    until(&place, "status", silent).await.ended(1);
    servers.realm.create_user(NewUser::named("news")).await.expect("created");
    until(&place, "status", "In sync").await.ended(0);
}
