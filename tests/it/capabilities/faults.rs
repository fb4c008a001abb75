//! Each remote call fails in each way: nothing is lost, nothing is done twice, and both sides are in sync when the
//! fault ends.

use std::time::{Duration, SystemTime};

use usersync::{model::ChangeOutcome, store::OperatorStore};
use usersync_simulators::{
    Fault,
    fault::Kind,
    jira::RateLimit,
    keycloak::{NewUser, UserChange},
};

use super::{
    restart::every_write_has_its_change,
    support::{World, world},
};

/// Makes a joiner, a changed user, a leaver, and membership changes.
async fn change_a_little(w: &World, mark: &str) {
    let realm = w.realm();
    let group = realm.create_group(None, &format!("group-{mark}")).await.unwrap();
    let staff = realm.snapshot().group("/staff").unwrap().id.clone();
    let newcomer = realm.create_user(NewUser::named(format!("new-{mark}"))).await.unwrap();
    realm.join(&newcomer, &group).await.unwrap();
    realm.update_user(&w.id("staff1"), UserChange::email(format!("{mark}@example.com"))).await.unwrap();
    realm.update_user(&w.id("staff2"), UserChange::enabled(false)).await.unwrap();
    realm.join(&w.id("staff3"), &group).await.unwrap();
    realm.leave(&w.id("staff4"), &staff).await.unwrap();
    realm.webhook_idle().await;
}

/// Undoes changes that would add up over several faults.
async fn change_back(w: &World) {
    let realm = w.realm();
    let staff = realm.snapshot().group("/staff").unwrap().id.clone();
    realm.update_user(&w.id("staff2"), UserChange::enabled(true)).await.unwrap();
    realm.join(&w.id("staff4"), &staff).await.unwrap();
    w.calm().await;
}

/// Name of a fault, and how to make it.
type NamedFault = (&'static str, fn() -> Fault);

/// Returns the number of requests to create this account.
fn makings(w: &World, login: &str) -> usize {
    let makes = |one: &usersync_simulators::journal::Entry| {
        one.method == "POST" && one.path.ends_with("/api/2/user") && one.json()["name"] == login && !one.faulted
    };
    w.jira().journal.matching(makes).len()
}

#[tokio::test]
async fn whatever_jira_answers_to_a_write_all_is_done_once_in_the_end() {
    let kinds: [NamedFault; 8] = [
        ("503", Fault::unavailable),
        ("429", || Fault::too_many(0)),
        ("500", || Fault::status(500, "{\"errorMessages\":[\"Internal error\"],\"errors\":{}}")),
        ("500 after the effect", || Fault::new(Kind::AnswerAfter { status: 500, body: "Internal error".into() })),
        ("a page", || Fault::html(200, "<html>Sign in</html>")),
        ("a cut before the effect", Fault::cut),
        ("a cut after the effect", Fault::cut_after),
        ("a cut answer", || Fault::new(Kind::CutMidway(10))),
    ];
    let w = world().await;
    for (number, (name, fault)) in kinds.into_iter().enumerate() {
        for method in ["POST", "PUT", "DELETE"] {
            w.jira().faults.add(fault().method(method).times(2));
        }
        let mark = format!("w{number}");
        change_a_little(&w, &mark).await;
        w.calm().await;
        w.jira().faults.clear();
        w.run().await;
        assert_eq!(w.dead().await, Vec::<String>::new(), "{name}");
        w.agrees();
        assert!(makings(&w, &format!("new-{mark}")) <= 1, "{name}");
        change_back(&w).await;
    }
    every_write_has_its_change(&w).await;
}

#[tokio::test]
async fn whatever_jira_answers_to_a_read_nothing_wrong_is_written() {
    let kinds: [NamedFault; 5] = [
        ("503", Fault::unavailable),
        ("404 of a proxy", || Fault::html(404, "<html>Not here</html>")),
        ("a page", || Fault::html(200, "<html>Sign in</html>")),
        ("half an answer", || Fault::truncate(20)),
        ("a cut", Fault::cut),
    ];
    let w = world().await;
    for (number, (name, fault)) in kinds.into_iter().enumerate() {
        w.jira().faults.add(fault().method("GET").times(6));
        let mark = format!("r{number}");
        change_a_little(&w, &mark).await;
        w.calm().await;
        w.jira().faults.clear();
        w.run().await;
        w.calm().await;
        w.agrees();
        assert_eq!(makings(&w, &format!("new-{mark}")), 1, "{name}");
        change_back(&w).await;
    }
    every_write_has_its_change(&w).await;
}

#[tokio::test]
async fn a_jira_that_is_too_slow_is_read_again_and_nothing_is_done_twice() {
    let w = world().await;
    w.jira().faults.add(Fault::delay(Duration::from_millis(1500)).method("POST").times(1));
    w.jira().faults.add(Fault::delay_after(Duration::from_millis(1500)).method("PUT").times(1));
    change_a_little(&w, "slow").await;
    w.calm().await;
    let outcomes: Vec<_> = w.changes().await.into_iter().map(|change| change.outcome).collect();
    assert!(outcomes.contains(&ChangeOutcome::FoundDone), "{outcomes:?}");
    w.run().await;
    w.agrees();
    assert_eq!(w.dead().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_jira_that_is_down_gets_no_calls_and_all_is_done_when_it_is_back() {
    let w = world().await;
    w.jira().faults.add(Fault::unavailable());
    change_a_little(&w, "down").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let asked = w.jira().journal.len();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let more = w.jira().journal.len() - asked;
    assert!(more <= 5, "{more} requests in 0.4 s to a server that is down");
    w.jira().faults.clear();
    w.calm().await;
    w.agrees();
    every_write_has_its_change(&w).await;
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let w = world().await;
    w.jira().faults.add(Fault::too_many(2).once());
    let began = SystemTime::now();
    let asked = w.jira().journal.len();
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    w.realm().webhook_idle().await;
    w.stack.quiet(jiff::SignedDuration::from_secs(10)).await.unwrap();
    let entries = w.jira().journal.entries().split_off(asked);
    let refused = entries.iter().position(|one| one.status == Some(429)).expect("it was refused");
    let next = entries.get(refused + 1).expect("it was asked again");
    let pause = next.at.duration_since(entries[refused].at).unwrap();
    assert!(pause >= Duration::from_millis(1900), "{pause:?} of {:?}", began.elapsed());
    w.agrees();
}

#[tokio::test]
async fn a_jira_that_limits_the_rate_is_filled_all_the_same() {
    let w = world().await;
    w.jira().set_rate_limit(Some(RateLimit { limit: 15, interval_seconds: 1, fill_rate: 15 }));
    change_a_little(&w, "limited").await;
    w.calm().await;
    w.jira().set_rate_limit(None);
    w.run().await;
    assert_eq!(w.dead().await, Vec::<String>::new());
    w.agrees();
}

#[tokio::test]
async fn refused_credentials_are_sent_once_until_they_change() {
    let w = world().await;
    let token = w.jira().token().to_owned();
    w.jira().revoke_token(&token);
    let asked = w.jira().journal.len();
    change_a_little(&w, "token").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    let refused = w.jira().journal.entries().split_off(asked).into_iter().filter(|one| one.status == Some(401)).count();
    assert!((1..=8).contains(&refused), "{refused} requests with a token that is refused");
    let before = w.jira().journal.len();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let signed_in =
        w.jira().journal.entries().split_off(before).into_iter().filter(|one| one.status == Some(401)).count();
    assert_eq!(signed_in, 0);
    w.jira().set_credentials("admin", "admin", "another-token");
    w.servers.set_jira_token("another-token");
    w.calm().await;
    w.agrees();
    assert_eq!(w.dead().await, Vec::<String>::new());
}

#[tokio::test]
async fn credentials_that_are_ignored_do_not_make_jira_appear_empty() {
    let w = world().await;
    let before = w.jira().snapshot();
    w.jira().refuse_credentials_silently(true);
    assert!(w.try_run().await.is_err());
    assert_eq!(w.jira().snapshot(), before);
    w.jira().refuse_credentials_silently(false);
}

#[tokio::test]
async fn a_captcha_is_not_tried_again() {
    let w = world().await;
    let captcha = Fault::status(403, "").header("X-Authentication-Denied-Reason", "CAPTCHA_CHALLENGE; login-url=x");
    w.jira().faults.add(captcha);
    let asked = w.jira().journal.len();
    change_a_little(&w, "captcha").await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(w.jira().journal.len() - asked <= 10, "{} requests", w.jira().journal.len() - asked);
}

#[tokio::test]
async fn whatever_keycloak_answers_all_is_in_sync_when_it_recovers() {
    let kinds: [NamedFault; 7] = [
        ("503", Fault::unavailable),
        ("429", || Fault::too_many(0)),
        ("401", || Fault::status(401, "{\"error\":\"HTTP 401 Unauthorized\"}")),
        ("404 of a proxy", || Fault::html(404, "<html>Not here</html>")),
        ("a page", || Fault::html(200, "<html>Sign in</html>")),
        ("half an answer", || Fault::truncate(20)),
        ("a cut", Fault::cut),
    ];
    let w = world().await;
    for (number, (name, fault)) in kinds.into_iter().enumerate() {
        w.servers.keycloak.faults.add(fault().path("/admin/").times(8));
        let mark = format!("k{number}");
        change_a_little(&w, &mark).await;
        w.calm().await;
        w.servers.keycloak.faults.clear();
        w.run().await;
        w.agrees();
        assert_eq!(makings(&w, &format!("new-{mark}")), 1, "{name}");
        change_back(&w).await;
    }
}

#[tokio::test]
async fn a_keycloak_that_is_slow_or_down_is_waited_for() {
    let w = world().await;
    w.servers.keycloak.faults.add(Fault::delay(Duration::from_millis(2500)).path("/admin/").times(2));
    change_a_little(&w, "slow").await;
    w.calm().await;
    w.agrees();
    change_back(&w).await;
    w.servers.keycloak.faults.add(Fault::unavailable());
    assert!(w.try_run().await.is_err());
    change_a_little(&w, "down").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    w.servers.keycloak.faults.clear();
    w.calm().await;
    w.agrees();
}

#[tokio::test]
async fn a_client_secret_that_is_refused_is_sent_once_until_it_changes() {
    let w = world().await;
    let before = w.jira().snapshot();
    w.realm().add_service_client("usersync", "another-secret-of-the-client", &["view-users", "view-events"]);
    w.servers.keycloak.revoke_tokens();
    let asked = w.servers.keycloak.journal.count("POST", "/token");
    change_a_little(&w, "secret").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(w.servers.keycloak.journal.count("POST", "/token") - asked, 1);
    assert_eq!(w.jira().snapshot(), before);
    w.servers.set_client_secret("another-secret-of-the-client");
    w.calm().await;
    w.agrees();
    assert_eq!(w.dead().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_role_and_a_missing_realm_stop_the_work_and_not_the_events() {
    let w = world().await;
    let before = w.jira().snapshot();
    w.realm().set_client_roles("usersync", &[]);
    w.servers.keycloak.revoke_tokens();
    change_a_little(&w, "role").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(w.jira().snapshot(), before);
    assert!(w.try_run().await.is_err());
    w.realm().set_client_roles("usersync", &["view-users", "view-events"]);
    w.servers.keycloak.revoke_tokens();
    w.calm().await;
    w.agrees();
    change_back(&w).await;

    let before = w.jira().snapshot();
    w.realm().set_realm_gone(true);
    change_a_little(&w, "realm").await;
    assert!(w.try_run().await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(w.jira().snapshot(), before);
    w.realm().set_realm_gone(false);
    w.calm().await;
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn events_lost_doubled_and_out_of_order_end_in_the_same_state() {
    let w = world().await;
    w.realm().hold_webhook();
    change_a_little(&w, "order").await;
    let mut events = w.realm().take_held();
    events.reverse();
    events.remove(1);
    for event in events.clone() {
        w.realm().post_events(vec![event]).await;
    }
    w.realm().post_events(events).await;
    w.realm().switch_webhook(true);
    w.calm().await;
    w.run().await;
    w.agrees();
    let duplicates = w.stack.store.event_counts(&"acme".into()).await.unwrap().duplicates;
    assert!(duplicates > 0);
}

#[tokio::test]
async fn an_event_sent_before_the_commit_is_followed_by_a_recheck() {
    use usersync::demo::stack::CONNECTOR;
    use usersync_simulators::keycloak::{Timing, Webhook};
    const SECRET: &str = "a-p2-secret-that-is-long-enough";
    let mut options = super::support::options();
    options.p2_secret = Some(SECRET.to_owned());
    let w = super::support::world_with(options).await;
    let url = format!("{}/hooks/{CONNECTOR}", w.stack.url());
    let early = Timing::PreCommit(Duration::from_millis(100));
    w.realm().set_webhook(Some(Webhook::p2(url, SECRET).timing(early)));
    let alice = w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    let group = w.realm().create_group(None, "new").await.unwrap();
    w.realm().join(&alice, &group).await.unwrap();
    w.settled().await;
    w.agrees();
}
