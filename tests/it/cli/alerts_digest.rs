//! The daily digest: once a day to each alert that wants it, also if the server was down at its time.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::Value;
use usersync::{model::AlertState, store::OperatorStore as _};

use super::{
    alerts::{Receiver, program},
    served::{STEP_TIMEOUT, Served},
};
use crate::support::smtp::{MailServer, Tls};

/// Returns the key for a digest an hour ago.
fn an_hour_ago() -> String {
    let time = (Timestamp::now() - SignedDuration::from_hours(1)).to_zoned(TimeZone::UTC);
    format!("digest = \"{}\"\n", time.strftime("%H:%M"))
}

/// Returns the digests among the messages.
fn digests(receiver: &Receiver) -> Vec<Value> {
    let all = receiver.all().into_iter().map(|one| one.body);
    all.filter(|body| body["type"] == "digest.daily").collect()
}

async fn until(served: &Served, is_done: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_done() {
        assert!(began.elapsed() < STEP_TIMEOUT, "{}", served.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops the server, and changes what is stored of an alert so that digests are on since two hours ago.
async fn two_hours_earlier(served: &mut Served, names: &[&str]) {
    served.child.kill().expect("killed");
    served.child.wait().expect("gone");
    let store = served.place.store().await;
    for name in names {
        let mut state = AlertState::default();
        state.schedule_digest(Timestamp::now() - SignedDuration::from_hours(2), |_| None);
        store.keep_alert_state(name, &state).await.expect("stored");
    }
    store.close().await;
}

#[tokio::test]
async fn a_digest_that_was_missed_is_sent_once_at_start_in_each_way() {
    let receiver = Receiver::start().await;
    let mail = MailServer::start(Tls::None).await;
    let digest = an_hour_ago();
    let mut served = Served::configured(
        "hold",
        |_| {},
        |place| {
            let got = place.file("got").display().to_string();
            let program = program(place, "page", &format!("cat >> {got}"));
            let webhook = receiver.alert();
            let (port, rest) = (mail.port, "problems = [\"stopped\"]");
            place.configure(|text| {
                format!(
                    "{text}{webhook}{digest}\n[[alert]]\nname = \"mail\"\nsmtp = \"127.0.0.1:{port}\"\ntls = \"none\"\n\
                 from = \"a@example.org\"\nto = [\"b@example.org\"]\n{rest}\n{digest}\n[[alert]]\nname = \"pager\"\n\
                 command = [\"{program}\"]\n{rest}\n{digest}"
                )
            });
        },
    )
    .await;
    // It was turned on just now: the digest of an hour ago is not sent.
    until(&served, || !receiver.all().is_empty()).await;
    assert_eq!((digests(&receiver).len(), mail.received().len()), (0, 0));

    two_hours_earlier(&mut served, &["ops", "mail", "pager", "gone"]).await;
    served.restart().await;
    let file = served.place.file("got");
    let got = || std::fs::read_to_string(&file).unwrap_or_default();
    until(&served, || digests(&receiver).len() + mail.received().len() == 2 && got().ends_with('}')).await;
    let digest = digests(&receiver).remove(0);
    let (data, pair) = (&digest["data"], &digest["data"]["pairs"][0]);
    assert!(data["id"].as_str().is_some_and(|id| id.starts_with("digest_ops_20")), "{digest}");
    assert_eq!(data["nothing_to_do"], Value::Bool(false), "{digest}");
    assert_eq!(
        (&pair["connector"], &pair["target"], &pair["state"]),
        (&"acme".into(), &"jira".into(), &"first_run_waits".into())
    );
    assert_eq!((&pair["needs_attention"], &pair["approvals"][0]["id"]), (&Value::Bool(true), &1.into()), "{digest}");
    let text = &mail.received()[0];
    assert_eq!(text.header("Subject"), "usersync: daily digest, 1 of 1 connector needs attention");
    let body = text.body();
    assert!(body.contains("Connector acme, target jira: Waits for its first run's approval"), "{body}");
    assert!(
        body.contains("- Approval 1: the first run waits since ") && body.contains("usersync approvals show 1"),
        "{body}"
    );
    let command: Value = serde_json::from_str(&got()).expect("JSON");
    assert_eq!(command["type"], "digest.daily");

    // The approval is announced again, because what was announced is forgotten.
    until(&served, || receiver.all().len() == 3).await;
    // Not twice for one day, and nothing is kept of an alert that is not in the configuration.
    served.restart().await;
    served.place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    let has_recovered = || receiver.all().last().is_some_and(|one| one.body["data"]["began"] == serde_json::json!([]));
    until(&served, has_recovered).await;
    assert_eq!((digests(&receiver).len(), mail.received().len()), (1, 1));
    served.child.kill().expect("killed");
    served.child.wait().expect("gone");
    let store = served.place.store().await;
    assert_eq!(store.alert_state("gone").await.expect("read"), AlertState::default());
    assert_ne!(store.alert_state("ops").await.expect("read"), AlertState::default());
    store.close().await;
}

#[tokio::test]
async fn a_digest_counts_changes_and_says_that_there_is_nothing_to_do_and_is_retried() {
    let receiver = Receiver::start().await;
    let alert = receiver.alert() + &an_hour_ago();
    let mut served =
        Served::configured("apply", |_| {}, |place| place.configure(|text| format!("{text}{alert}"))).await;
    served.until(&["status"], 0, "In sync.").await;
    two_hours_earlier(&mut served, &["ops"]).await;
    receiver.answers([503, 503]);
    served.restart().await;
    until(&served, || digests(&receiver).len() == 3).await;
    let ids: std::collections::BTreeSet<String> = receiver.all().into_iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), 1, "every attempt has the same id");
    let digest = digests(&receiver).remove(2);
    let pair = &digest["data"]["pairs"][0];
    assert_eq!((&pair["failed_runs"], &pair["failed_tasks"]), (&0.into(), &0.into()), "{digest}");
    assert!(pair["runs"].as_u64() >= Some(1), "{digest}");
    assert_eq!((&pair["changes"]["create"], &pair["changes"]["add_member"]), (&10.into(), &10.into()), "{digest}");
    served.until(&["status"], 0, "In sync.").await;
}
