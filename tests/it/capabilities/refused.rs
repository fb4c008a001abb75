//! Refused credentials stop a side only until the next probe: after 1, 5 and 15 minutes, then every hour. A CAPTCHA
//! stops it until the secret changes or an operator resumes it.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use usersync::demo::clock::DrivenClock;
use usersync::{
    demo::{
        stack::StackOptions,
        targets::{Product, SimulatedTarget},
    },
    model::{About, Condition, ConditionCode},
    store::{OperatorStore, OrderEnd, StoreReads},
};
use usersync_simulators::{Fault, fault::FaultId, keycloak::UserChange};

use super::support::{World, options, world_with};

/// Returns a stack with a clock that the test moves.
async fn driven(other_target: Option<&SimulatedTarget>) -> (World, DrivenClock) {
    let clock = DrivenClock::default();
    let other_targets = other_target.map(|server| server.other_target().expect("a client")).into_iter().collect();
    let options = StackOptions { clock: Arc::new(clock.clone()), other_targets, ..options() };
    (world_with(options).await, clock)
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// Waits until the stored conditions match.
async fn until(w: &World, what: &str, is_so: impl Fn(&[Condition]) -> bool) -> Vec<Condition> {
    for _ in 0..1_000 {
        let conditions = w.stack.store.conditions().await.expect("readable");
        if is_so(&conditions) {
            return conditions;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {:#?}", w.stack.store.conditions().await);
}

/// Waits until the side is known to refuse usersync's credentials.
async fn refused(w: &World, about: &About) -> Condition {
    let is_it = |one: &Condition| one.about == *about && one.code == ConditionCode::CredentialsRefused;
    let conditions = until(w, "it is refused", |all| all.iter().any(is_it)).await;
    conditions.into_iter().find(is_it).expect("just seen")
}

async fn change(w: &World, mark: &str) {
    w.realm().update_user(&w.id("staff1"), UserChange::email(format!("{mark}@example.com"))).await.expect("changed");
    w.realm().webhook_idle().await;
}

/// Makes every authenticated call fail with this fault; Jira's public resources are read without credentials.
fn every_sign_in(w: &World, fault: &Fault) -> Vec<FaultId> {
    let paths = ["/rest/api/2/user", "/rest/api/2/my"];
    paths.into_iter().map(|path| w.jira().faults.add(fault.clone().path(path))).collect()
}

fn hits(w: &World, faults: &[FaultId]) -> u64 {
    faults.iter().map(|fault| w.jira().faults.hits(*fault)).sum()
}

/// Waits long enough for several contacts at test intervals.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(900)).await;
}

/// Checks that the side answers again and that the waiting work is done.
async fn well(w: &World) {
    until(w, "it is well", <[Condition]>::is_empty).await;
    w.calm().await;
    w.agrees();
    assert_eq!(w.dead().await, Vec::<String>::new());
}

#[tokio::test]
async fn one_401_of_a_scim_server_stops_it_for_a_minute() {
    let server = Product::Scim.simulate().await.expect("a free port");
    let (w, clock) = driven(Some(&server)).await;
    server.faults.add(Fault::status(401, "").once());
    change(&w, "one").await;
    let condition = refused(&w, &About::target(&"scim".into())).await;
    let again = condition.again_at.expect("a time").duration_since(condition.since);
    assert_eq!(again, minutes(1));
    let health = w.stack.health.readiness();
    assert!(health.conditions.iter().any(|one| one.again_at.is_some()), "{health:?}");
    let asked = server.journal.len();
    a_while().await;
    assert_eq!(server.journal.len(), asked, "nothing is sent before");
    clock.advance(minutes(1));
    well(&w).await;
    let shown = format!("{:?}", server.server.held());
    assert!(shown.contains("one@example.com"), "{shown}");
}

#[tokio::test]
async fn one_anonymous_answer_of_jira_stops_it_for_a_minute() {
    let (w, clock) = driven(None).await;
    w.jira().faults.add(Fault::status(401, "").header("X-AUSERNAME", "anonymous").once());
    change(&w, "anonymous").await;
    refused(&w, &About::target(&"jira".into())).await;
    clock.advance(minutes(1));
    well(&w).await;
}

#[tokio::test]
async fn a_proxy_that_sends_every_write_to_a_sign_in_page_refuses_the_credentials() {
    let (w, clock) = driven(None).await;
    let fault = w.jira().faults.add(Fault::login_redirect("/login.jsp").method("PUT"));
    change(&w, "proxy").await;
    let jira = About::target(&"jira".into());
    for _ in 0..100 {
        // As long as a retry waits.
        clock.advance(SignedDuration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
        if w.stack.store.conditions().await.expect("readable").iter().any(|one| one.about == jira) {
            break;
        }
    }
    let condition = refused(&w, &jira).await;
    assert!(condition.text.contains("sent a sign-in page instead of an answer"), "{condition:?}");
    assert_eq!(w.jira().faults.hits(fault), 3, "reads were answered in between");
    w.jira().faults.clear();
    clock.advance(minutes(1));
    well(&w).await;
}

#[tokio::test]
async fn one_refused_client_secret_stops_keycloak_for_a_minute() {
    let (w, clock) = driven(None).await;
    let body = r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#;
    let fault = Fault::status(401, body).header("content-type", "application/json").path("/token").once();
    w.servers.keycloak.faults.add(fault);
    w.servers.keycloak.revoke_tokens();
    change(&w, "secret").await;
    let condition = refused(&w, &About::source(&"acme".into())).await;
    assert!(condition.again_at.is_some());
    let asked = w.servers.keycloak.journal.count("POST", "/token");
    a_while().await;
    assert_eq!(w.servers.keycloak.journal.count("POST", "/token"), asked);
    clock.advance(minutes(1));
    well(&w).await;
}

#[tokio::test]
async fn credentials_that_stay_refused_are_probed_less_and_less_often() {
    let (w, clock) = driven(None).await;
    let faults = every_sign_in(&w, &Fault::status(401, ""));
    change(&w, "probes").await;
    refused(&w, &About::target(&"jira".into())).await;
    for gap in [1, 5, 15, 60, 60] {
        let before = hits(&w, &faults);
        clock.advance(minutes(gap) - SignedDuration::from_secs(20));
        a_while().await;
        assert_eq!(hits(&w, &faults), before, "{gap} min: too early");
        clock.advance(SignedDuration::from_secs(20));
        a_while().await;
        assert_eq!(hits(&w, &faults), before + 1, "{gap} min: one probe");
    }
    w.jira().faults.clear();
    clock.advance(minutes(60));
    well(&w).await;
}

#[tokio::test]
async fn a_captcha_is_probed_only_on_an_operators_command() {
    let (w, clock) = driven(None).await;
    let captcha = Fault::status(403, "").header("X-Authentication-Denied-Reason", "CAPTCHA_CHALLENGE; login-url=x");
    let faults = every_sign_in(&w, &captcha);
    change(&w, "captcha").await;
    let jira = About::target(&"jira".into());
    let condition = refused(&w, &jira).await;
    assert_eq!(condition.again_at, None);
    let before = hits(&w, &faults);
    for _ in 0..4 {
        clock.advance(minutes(61));
        a_while().await;
    }
    assert_eq!(hits(&w, &faults), before, "it is never sent again");
    let end = order(&w, &jira).await;
    assert!(matches!(&end, OrderEnd::Refused { why } if why.contains("CAPTCHA")), "{end:?}");
    assert_eq!(hits(&w, &faults), before + 1, "but for once, as it was ordered");
    w.jira().faults.clear();
    assert_eq!(order(&w, &jira).await, OrderEnd::Done);
    well(&w).await;
    let audit: Vec<String> =
        w.stack.store.audit(None, 4).await.expect("readable").into_iter().map(|one| one.what).collect();
    assert_eq!(audit[0], "done: contact jira: it answers");
    assert_eq!(audit[1], "requested: contact jira at once");
}

/// Orders a contact of the running service, and waits for its end.
async fn order(w: &World, about: &About) -> OrderEnd {
    w.stack.store.order_contact(about, "ann", Timestamp::now()).await.expect("ordered");
    for _ in 0..1_000 {
        let orders = w.stack.store.contact_orders().await.expect("readable");
        if let Some(end) = orders.into_iter().find(|order| order.about == *about).and_then(|order| order.ended) {
            return end;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not carried out");
}
