//! Event polling: changes are found without a listener, nothing is missed or done twice, and a gap is answered.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::stack::{CLIENT_SECRET, Stack, StackOptions},
    engine::EngineTimes,
    keycloak::Source as _,
    model::{EventLog, EventPoll, Gap, LogPosition, RunMode, RunTrigger, Uses},
    store::{EngineStore as _, EventFilter, OperatorStore as _, PolledEvents, StoreReads as _, sqlite},
};
use usersync_simulators::keycloak::{NewUser, UserChange};

use super::support::{World, on, options, servers, until, world_with};

fn polled() -> StackOptions {
    StackOptions { poll_events: Some(SignedDuration::from_millis(60)), ..options() }
}

/// Starts usersync on a realm with staff; the listener is off, and polling has begun.
async fn without_listener(options: StackOptions) -> World {
    let w = world_with(options).await;
    w.realm().switch_webhook(false);
    until("the first poll", async || state(&w).await.admin.is_some()).await;
    w
}

async fn state(w: &World) -> EventPoll {
    w.stack.store.event_poll(&"acme".into()).await.unwrap()
}

async fn counts(w: &World) -> PolledEvents {
    w.stack.store.polled_events(&"acme".into()).await.unwrap()
}

/// Waits for this number of complete polls.
async fn polls(w: &World, number: usize) {
    let reads = || {
        let paths = w.servers.keycloak.journal.entries().into_iter().map(|entry| entry.path);
        paths.filter(|path| path.ends_with("/admin/realms/acme/events")).count()
    };
    let before = reads();
    until("further polls", async || reads() > before + number).await;
}

/// Returns the number of full reconciles that an event or a gap requested.
async fn requested_runs(w: &World) -> usize {
    let runs = w.stack.store.runs(Some(&Stack::pair()), 50).await.unwrap();
    runs.iter().filter(|run| run.mode == RunMode::Apply && run.trigger == RunTrigger::Event).count()
}

fn nova() -> NewUser {
    NewUser::named("nova").in_groups(&["/staff"])
}

#[tokio::test]
async fn a_change_that_is_not_pushed_is_found_by_polling() {
    let w = without_listener(polled()).await;
    let id = w.realm().create_user(nova()).await.expect("created");
    until("the account", async || w.has_account("nova")).await;
    w.realm().update_user(&id, UserChange::enabled(false)).await.expect("changed");
    until("the deactivation", async || !w.account("nova").active).await;
    w.settled().await;
    let counts = counts(&w).await;
    assert_eq!((counts.only_polled, counts.recent), (counts.events, counts.events), "{counts:?}");
    assert!(counts.events >= 2 && counts.last.is_some(), "{counts:?}");
    assert_eq!(w.stack.store.event_counts(&"acme".into()).await.unwrap().received, 0, "none was pushed");
    assert_eq!(requested_runs(&w).await, 0);
}

#[tokio::test]
async fn an_event_that_is_pushed_and_polled_causes_one_piece_of_work() {
    let w = world_with(polled()).await;
    until("the first poll", async || state(&w).await.admin.is_some()).await;
    w.realm().create_user(nova()).await.expect("created");
    w.settled().await;
    polls(&w, 2).await;
    let written = w.written_by(polls(&w, 3)).await;
    assert_eq!(written, [""; 0], "the reads overlap, and nothing is done again");
    let events = w.stack.store.events(&EventFilter { limit: 100, ..EventFilter::default() }).await.unwrap();
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &events {
        *ids.entry(&event.id).or_default() += 1;
    }
    assert!(!ids.is_empty() && ids.values().all(|times| *times == 1), "{ids:?}");
    assert_eq!(counts(&w).await.only_polled, 0, "all were pushed, before they were polled or after it");
    assert!(events.iter().all(|event| event.duplicates <= 1), "polling again is not counted: {events:?}");
}

#[tokio::test]
async fn an_event_that_becomes_visible_after_a_younger_one_is_found() {
    let w = without_listener(polled()).await;
    w.realm().hold_stored_events(true);
    w.realm().create_user(nova()).await.expect("created");
    w.realm().hold_stored_events(false);
    w.realm().create_user(NewUser::named("younger").in_groups(&["/staff"])).await.expect("created");
    until("the younger user's account", async || w.has_account("younger")).await;
    polls(&w, 2).await;
    assert!(!w.has_account("nova"), "its event is not visible yet");
    w.realm().show_held_events();
    until("the account", async || w.has_account("nova")).await;
    assert_eq!(requested_runs(&w).await, 0);
}

#[tokio::test]
async fn an_event_whose_commit_took_longer_than_the_overlap_is_found_by_a_deep_read() {
    let overlap = SignedDuration::from_millis(1_500);
    let times = EngineTimes { poll_overlap: overlap, ..EngineTimes::hasty() };
    let w = without_listener(StackOptions { times, ..polled() }).await;
    w.realm().hold_stored_events(true);
    w.realm().create_user(nova()).await.expect("created");
    w.realm().hold_stored_events(false);
    tokio::time::sleep(overlap.unsigned_abs() + Duration::from_secs(1)).await;
    w.realm().show_held_events();
    until("the account", async || w.has_account("nova")).await;
    assert_eq!(requested_runs(&w).await, 0);
}

#[tokio::test]
async fn many_events_of_one_millisecond_are_read_completely_and_once() {
    let servers = servers(options()).await;
    let start = Timestamp::now().as_millisecond();
    for (millis, groups) in [(0, 700), (1, 2_300), (2, 10), (7, 1_000), (8, 1)] {
        servers.realm.set_event_time(Some(start + millis));
        for nth in 0..groups {
            servers.realm.create_group(None, &format!("g{millis}-{nth}")).await.expect("created");
        }
    }
    let source = servers.place().source().expect("a source");
    let (mut read, mut next) = (Vec::new(), Timestamp::from_millisecond(start).ok());
    while let Some(from) = next {
        let page = source.stored_events(EventLog::Admin, from, Uses::default()).await.expect("read");
        assert!(page.next.is_none_or(|next| next > from), "it makes progress");
        read.extend(page.events.into_iter().map(|event| event.id));
        next = page.next;
    }
    let stored = servers.realm.admin_events();
    let stored = stored.iter().filter(|event| event["time"].as_i64() >= Some(start));
    let mut stored: Vec<String> = stored.map(|event| event["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(stored.len(), 4_011);
    stored.sort();
    read.sort();
    assert_eq!(read, stored);
}

#[tokio::test]
async fn cleared_events_are_a_gap_that_one_full_reconcile_answers() {
    let w = without_listener(polled()).await;
    w.realm().create_user(nova()).await.expect("created");
    until("the account", async || w.has_account("nova")).await;
    let lost = w.id("nova");
    w.realm().hold_stored_events(true);
    w.realm().update_user(&lost, UserChange::enabled(false)).await.expect("changed");
    w.realm().clear_events();
    w.realm().hold_stored_events(false);
    until("the gap", async || state(&w).await.gap.is_some()).await;
    let gap = state(&w).await.gap.expect("a gap");
    assert_eq!(gap.why, Gap::Cleared);
    until("the deactivation", async || !w.account("nova").active).await;
    polls(&w, 3).await;
    assert_eq!(requested_runs(&w).await, 1);
}

#[tokio::test]
async fn a_realm_without_events_is_reported_and_a_gap_ends_that() {
    let w = without_listener(polled()).await;
    w.realm().set_events(false, false, false);
    until("the settings", async || state(&w).await.settings.is_some_and(|now| !now.admin.stored && !now.user.stored))
        .await;
    w.realm().create_user(nova()).await.expect("created");
    let state_now = state(&w).await;
    assert_eq!((state_now.problem, state_now.gap, state_now.admin), (None, None, None), "it is no failure");
    assert_eq!(w.stack.store.conditions().await.unwrap(), []);
    w.realm().set_events(true, true, true);
    until("the gap", async || state(&w).await.gap.is_some_and(|gap| gap.why == Gap::TurnedOff)).await;
    until("the account", async || w.has_account("nova")).await;
    assert!(requested_runs(&w).await >= 1);
}

/// A world with its store in a folder, stopped.
struct Stopped {
    servers: usersync::demo::stack::SimulatedServers,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Stopped {
    async fn after_a_poll() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("usersync.db");
        let w = without_listener(StackOptions { store: Some(file.clone()), ..polled() }).await;
        w.realm().create_user(NewUser::named("first")).await.expect("created");
        until("the account", async || w.has_account("first")).await;
        until("the position", async || state(&w).await.admin.is_some_and(|read| read.newest.is_some())).await;
        w.settled().await;
        let World { servers, stack } = w;
        stack.stop().await;
        Self { servers, file, folder }
    }

    /// Changes the stored position of the admin events.
    async fn change_position(&self, change: impl FnOnce(&mut LogPosition)) {
        let opening = sqlite::OpenOptions::new(Timestamp::now());
        let store = sqlite::SqliteStore::open(&self.file, opening).await.expect("opened");
        let mut poll = store.event_poll(&"acme".into()).await.unwrap();
        change(poll.admin.as_mut().expect("a position"));
        store.keep_event_poll(&"acme".into(), &poll).await.unwrap();
        store.close().await;
    }

    /// Starts usersync again, without the listener.
    async fn started(self) -> (World, tempfile::TempDir) {
        let w = on(self.servers).await;
        w.realm().switch_webhook(false);
        (w, self.folder)
    }
}

#[tokio::test]
async fn a_restart_continues_where_the_last_poll_ended() {
    let stopped = Box::pin(Stopped::after_a_poll()).await;
    stopped.change_position(|position| position.read_to -= SignedDuration::from_mins(5)).await;
    stopped.servers.realm.create_user(nova()).await.expect("created");
    let (w, _folder) = stopped.started().await;
    until("the account", async || w.has_account("nova")).await;
    assert_eq!(requested_runs(&w).await, 0, "nothing was missed");
    assert_eq!(state(&w).await.gap, None);
}

#[tokio::test]
async fn an_outage_longer_than_the_expiry_is_a_gap() {
    let stopped = Box::pin(Stopped::after_a_poll()).await;
    let roles = ["view-users", "view-events", "view-realm"];
    stopped.servers.realm.add_service_client("usersync", CLIENT_SECRET, &roles);
    stopped.servers.realm.set_event_expiry(Some(3_600));
    stopped.change_position(|position| position.read_to -= SignedDuration::from_hours(2)).await;
    let (w, _folder) = stopped.started().await;
    until("the gap", async || state(&w).await.gap.is_some()).await;
    let gap = state(&w).await.gap.expect("a gap");
    assert_eq!((gap.why, gap.log), (Gap::Expired, EventLog::Admin));
    until("the full reconcile", async || requested_runs(&w).await == 1).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_a_gap() {
    let stopped = Box::pin(Stopped::after_a_poll()).await;
    stopped.change_position(|position| position.read_to += SignedDuration::from_hours(1)).await;
    let (w, _folder) = stopped.started().await;
    until("the gap", async || state(&w).await.gap.is_some_and(|gap| gap.why == Gap::ClockSetBack)).await;
    until("the full reconcile", async || requested_runs(&w).await == 1).await;
    w.realm().create_user(nova()).await.expect("created");
    until("the account", async || w.has_account("nova")).await;
    polls(&w, 2).await;
    assert_eq!(requested_runs(&w).await, 1, "one gap, one full reconcile");
}

#[tokio::test]
async fn a_recreated_service_account_is_a_gap() {
    let w = without_listener(polled()).await;
    w.realm().delete_client("usersync").expect("deleted");
    w.realm().add_service_client("usersync", CLIENT_SECRET, &["view-users", "view-events"]);
    w.servers.keycloak.revoke_tokens();
    until("the gap", async || state(&w).await.gap.is_some_and(|gap| gap.why == Gap::Recreated)).await;
    until("the full reconcile", async || requested_runs(&w).await == 1).await;
}

#[tokio::test]
async fn a_missing_right_is_reported_and_stops_nothing_else() {
    let servers = servers(polled()).await;
    servers.realm.add_service_client("usersync", CLIENT_SECRET, &["view-users"]);
    let w = on(servers).await;
    until("the problem", async || state(&w).await.problem.is_some()).await;
    let problem = state(&w).await.problem.expect("a problem").text;
    assert!(problem.contains("lacks the role view-events. Grant it: realm acme, Clients, usersync"), "{problem}");
    w.realm().create_user(nova()).await.expect("created");
    w.settled().await;
    assert!(w.has_account("nova"), "the listener's events are applied");
    assert_eq!(w.stack.store.conditions().await.unwrap(), []);
    w.realm().add_service_client("usersync", CLIENT_SECRET, &["view-users", "view-events"]);
    w.servers.keycloak.revoke_tokens();
    until("polling", async || state(&w).await.problem.is_none()).await;
}

#[tokio::test]
async fn without_an_interval_nothing_is_polled() {
    let w = world_with(options()).await;
    w.realm().create_user(nova()).await.expect("created");
    w.settled().await;
    assert_eq!(state(&w).await, EventPoll::default());
    let asked = w.servers.keycloak.journal.entries().into_iter().filter(|entry| entry.path.contains("events")).count();
    assert_eq!(asked, 0);
}
