//! Commands on a store file without a running server.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use usersync::{
    demo::stack::Stack,
    model::{
        ApprovalItemState, ApprovalKind, Cause, ConnectorName, ErrorClass, EventOutcome, Limited, Link,
        NewApprovalItem, NewEvent, Operation, Priority, RunMode, RunOutcome, RunTrigger, Subject, TargetName,
        UserFields,
    },
    store::{
        Claimed, EngineStore, Failure, IntentOutcome, LinkWrite, NewIntent, PairState, Step, Stepped, StoreReads,
        sqlite::SqliteStore,
    },
};

use super::place::Place;

fn acme() -> ConnectorName {
    "acme".into()
}

fn jira() -> TargetName {
    "jira".into()
}

pub fn event(id: &str, user: &str, ignored: bool) -> NewEvent {
    NewEvent {
        id: id.into(),
        kind: "UPDATE USER".into(),
        about: format!("users/{user}"),
        occurred_at: Some(Timestamp::now()),
        body: json!({ "id": id, "resourcePath": format!("users/{user}") }).to_string(),
        hints: if ignored { Vec::new() } else { vec![Subject::user(user)] },
        may_remove: false,
        wants_run: false,
        recheck: false,
        polled: false,
        outcome: if ignored { EventOutcome::Ignored("a sign-in".into()) } else { EventOutcome::Accepted },
    }
}

pub async fn claim(store: &SqliteStore) -> Claimed {
    store.claim(&jira(), &[acme()], Timestamp::now()).await.expect("claims").expect("something is due")
}

/// Fills a store with one of everything: events, a change, a link, a task, a dead letter, a run, approvals.
pub async fn full(place: &Place) {
    let store = place.store().await;
    let pair = Stack::pair();
    let now = Timestamp::now();
    store.ensure_pairs(std::slice::from_ref(&pair), now).await.expect("pairs");
    store.set_pair_state(&pair, PairState::InService, now).await.expect("in service");
    let run = store.begin_run(&pair, RunTrigger::Schedule, RunMode::Apply, now).await.expect("begins");
    let report = json!({ "users": 2, "groups": 1, "accounts": 2, "in_scope": 2, "unchanged": 2, "took_ms": 1200,
        "incomplete": null, "planned": {}, "done": {}, "protected": 0, "limits": {}, "limits_reached": [], "held": 0, "raised": 0,
        "unsupported": [], "conflicts": [], "unconfirmed": [], "errors": [], "lines": [] });
    store.end_run(run, RunOutcome::Done, report, now).await.expect("ends");

    store.append_events(&acme(), &[jira()], vec![event("e-alice", "u-alice", false)], now).await.expect("stored");
    let claimed = claim(&store).await;
    let next = NewIntent {
        operation: Operation::CreateUser { name: "alice".into(), fields: UserFields::default(), external_id: None },
        before: serde_json::Value::Null,
        arrives_until: now + SignedDuration::from_secs(30),
        limit: None,
        approved_by: None,
    };
    let stepped = store.step(claimed.token, Step { next: vec![next], ..Step::default() }, now).await.expect("steps");
    let Stepped::Send(intents) = stepped else { panic!("{stepped:?}") };
    let step = Step {
        resolved: vec![IntentOutcome { intent: intents[0], outcome: usersync::model::ChangeOutcome::Done }],
        link: Some(LinkWrite::Put(Link::new("u-alice".into(), "JIRAUSER1".into(), "alice"))),
        ..Step::default()
    };
    store.step(claimed.token, step, now).await.expect("settles");
    let held = NewApprovalItem {
        kind: ApprovalKind::SafetyLimit(Limited::RemoveMember),
        what: "remove alice from eng".into(),
        key: "remove_member:eng".into(),
        fingerprint: "1".into(),
    };
    store.complete(claimed.token, Step::default(), vec![held], now, now).await.expect("completes");

    store.append_events(&acme(), &[jira()], vec![event("e-bob", "u-bob", false)], now).await.expect("stored");
    let failure = Failure { class: ErrorClass::Forbidden, text: "jira: 403 when creating bob".into(), retry_at: None };
    store.fail(claim(&store).await.token, failure, now).await.expect("fails");
    let ignored = event("e-ignored", "u-carol", true);
    store.append_events(&acme(), &[jira()], vec![ignored], now).await.expect("stored");
    let cause = Cause::Other { what: "asked for".into() };
    store.raise(&pair, &[Subject::user("u-carol")], Priority::Event, &cause, now).await.expect("raised");
    store.close().await;
}

const LISTS: &[(&[&str], &str)] = &[
    (&["events"], "events"),
    (&["events", "list"], "events"),
    (&["changes"], "changes"),
    (&["audit"], "audit"),
    (&["tasks"], "tasks"),
    (&["dead", "list"], "dead"),
    (&["runs"], "runs"),
    (&["approvals", "list"], "approvals"),
    (&["connector", "list"], "connectors"),
    (&["target", "list"], "targets"),
    (&["status"], "pairs"),
];

#[tokio::test]
async fn without_a_store_every_list_is_empty_and_reports_why() {
    let place = Place::nowhere();
    for (args, name) in LISTS {
        let ran = place.run(args).await;
        ran.ended(0).complains("There is no store yet at").complains("usersync sync");
        let (code, document) = place.json(args).await;
        assert_eq!(code, 0, "{args:?}");
        assert!(document[name].is_array(), "{args:?}: {document}");
    }
    place.run(&["status"]).await.says("New: nothing was planned yet. Plan it: usersync sync");
    assert!(!place.store_file().exists(), "looking makes no store");
}

#[tokio::test]
async fn an_empty_list_explains_its_zero() {
    let place = Place::nowhere();
    place.store().await.close().await;
    let lists: [(&[&str], &str); 7] = [
        (&["events"], "0 events: "),
        (&["changes"], "0 changes: "),
        (&["audit"], "0 "),
        (&["tasks"], "0 tasks: "),
        (&["dead", "list"], "No failed tasks."),
        (&["runs"], "0 runs: "),
        (&["approvals", "list"], "Nothing waits for approval."),
    ];
    for (args, sentence) in lists {
        let ran = place.run(args).await;
        ran.ended(0).says(sentence);
        assert_eq!(ran.err, "");
        assert_eq!(place.run(&[args, &["--quiet"]].concat()).await.out, "");
    }
    place.run(&["changes", "--name", "alice"]).await.ended(0).says("0 changes match the filters");
}

#[tokio::test]
async fn lists_show_what_is_there() {
    let place = Place::nowhere();
    full(&place).await;
    place
        .run(&["events"])
        .await
        .ended(0)
        .says("e-alice")
        .says("reconcile user:u-alice")
        .says("ignored: a sign-in")
        .says(" s ago");
    let ignored = place.run(&["events", "--ignored"]).await;
    assert!(!ignored.ended(0).says("e-ignored").out.contains("e-alice"));
    place.run(&["events", "--subject", "alice"]).await.ended(0).says("e-alice");
    place
        .run(&["events", "show", "e-alice"])
        .await
        .ended(0)
        .says("UPDATE USER  users/u-alice")
        .says("\"resourcePath\"");
    place.run(&["events", "show", "2"]).await.ended(0).says("e-bob    UPDATE USER  users/u-bob");
    place.run(&["events", "show", "99"]).await.ended(2).complains("there is no such event");
    place.run(&["events", "show", "e-nobody"]).await.ended(2).complains("there is no such event").complains("30 days");
    place
        .run(&["changes"])
        .await
        .ended(0)
        .says("create alice")
        .says("done")
        .says("user updated in Keycloak (event 1)")
        .says("acme → jira");
    place.run(&["changes", "--name", "bob"]).await.ended(0).says("0 changes match the filters");
    place.run(&["changes", "--subject", "zed"]).await.ended(2).complains("no linked account has this login");
    place.run(&["tasks"]).await.ended(0).says("user:u-carol").says("due, first").says("asked for");
    place.run(&["dead", "list"]).await.ended(0).says("user:u-bob").says("forbidden: jira: 403 when creating bob");
    place.run(&["dead", "list", "--class", "conflict"]).await.ended(0).says("No dead letter matches the filters.");
    place.run(&["runs"]).await.ended(0).says("schedule").says("done").says("nothing done: 2 of 2 in sync");
    place.run(&["runs", "show", "1"]).await.ended(0).says("all 2 users are in sync").says("took 1.2 s");
    place.run(&["runs", "show", "99"]).await.ended(2).complains("there is no such run");
    place.run(&["approvals", "list"]).await.ended(3).says("safety limit reached: removed memberships");
    place
        .run(&["approvals", "show", "1"])
        .await
        .ended(3)
        .says("remove alice from eng")
        .says("usersync approvals approve 1");
    place.run(&["approvals", "show", "7"]).await.ended(2).complains("there is no such approval");
    place.run(&["connector", "list"]).await.ended(0).says("acme").says("active");
    place.run(&["target", "list"]).await.ended(0).says("acme (in service)");
}

#[tokio::test]
async fn documents_have_stable_names() {
    let place = Place::nowhere();
    full(&place).await;
    let (_, events) = place.json(&["events"]).await;
    let first = &events["events"][0];
    for name in
        ["seq", "connector", "id", "kind", "about", "occurred_at", "received_at", "duplicates", "hints", "outcome"]
    {
        assert!(!first[name].is_null(), "{name}: {first}");
    }
    assert!(first["body"].is_object(), "{first}");
    let (_, changes) = place.json(&["changes"]).await;
    let change = &changes["changes"][0];
    assert_eq!(
        (&change["verb"], &change["name"], &change["outcome"]),
        (&json!("create"), &json!("alice"), &json!("done"))
    );
    assert_eq!(change["cause"], json!({ "by": "event", "id": "e-alice" }));
    let (_, tasks) = place.json(&["tasks"]).await;
    assert_eq!(tasks["tasks"][0]["subject"], "user:u-carol");
    let (_, dead) = place.json(&["dead", "list"]).await;
    assert_eq!(dead["dead"][0]["error"][0], "forbidden");
    let (code, held) = place.json(&["approvals", "list"]).await;
    assert_eq!(
        (code, &held["approvals"][0]["kind"], &held["approvals"][0]["limit"]),
        (3, &json!("safety_limit"), &json!("remove_member"))
    );
    let (_, set) = place.json(&["approvals", "show", "1"]).await;
    assert_eq!(set["items"][0]["state"], "open");
    let (_, runs) = place.json(&["runs"]).await;
    assert_eq!((&runs["runs"][0]["state"], &runs["runs"][0]["trigger"]), (&json!("done"), &json!("schedule")));
    let (_, status) = place.json(&["status"]).await;
    let pair = &status["pairs"][0];
    assert_eq!(
        (&pair["connector"], &pair["target"], &pair["state"]),
        (&json!("acme"), &json!("jira"), &json!("working"))
    );
    for name in ["sentence", "more", "approvals", "counts", "events", "last_event", "last_run", "next_run"] {
        assert!(pair.get(name).is_some(), "{name}: {pair}");
    }
    assert!(status["server"].is_null());
}

#[tokio::test]
async fn status_is_written_in_sentences() {
    let place = Place::nowhere();
    full(&place).await;
    let status = place.run(&["status"]).await;
    status
        .ended(1)
        .says("Working: 1 behind")
        .says("Held: 1 operation, safety limit reached: removed memberships; everything else continues. usersync approvals show 1")
        .says("1 failed task: usersync dead list --connector acme --target jira")
        .says("last event")
        .says("last change")
        .says("next run     none")
        .says("No server runs");
    place.run(&["connector", "pause", "acme"]).await.ended(0).says("acme is paused");
    place
        .run(&["status"])
        .await
        .says("Paused: events are stored, nothing is written. Resume: usersync connector resume acme");
    place.run(&["connector", "pause", "acme"]).await.ended(0).says("paused already");
    place.run(&["connector", "resume", "acme"]).await.ended(0).says("acme is resumed").says("No server runs");
}

#[tokio::test]
async fn decisions_are_written_with_who_and_why() {
    let place = Place::nowhere();
    full(&place).await;
    place.run(&["approvals", "approve", "1", "--item", "99"]).await.ended(2).complains("no such item");
    place
        .run(&["approvals", "approve", "1", "--note", "they moved"])
        .await
        .ended(0)
        .says("Approved: 1 operation of approval 1")
        .says("usersync sync");
    place.run(&["approvals", "approve", "1"]).await.ended(2).complains("this approval is closed").complains("tester");
    place.run(&["approvals", "list"]).await.ended(0).says("Nothing waits for approval.");
    place.run(&["approvals", "list", "--all"]).await.ended(0).says("tester").says("they moved");
    let store = place.store().await;
    let (set, items) = store.approval(1).await.expect("there");
    assert!(!set.open && items[0].state == ApprovalItemState::Approved);
    let audit = store.audit(None, 5).await.expect("readable");
    assert!(audit.iter().any(|done| done.by == "tester"), "{audit:?}");
    store.close().await;
}

#[tokio::test]
async fn a_rejection_is_listed_until_it_is_withdrawn() {
    let place = Place::nowhere();
    full(&place).await;
    place.run(&["approvals", "withdraw", "1"]).await.ended(1).says("has no rejections");
    place.run(&["approvals", "reject", "1"]).await.ended(0).says("usersync approvals withdraw 1");
    place.run(&["approvals", "list"]).await.ended(0).says("1 rejected").says("usersync approvals withdraw ID");
    place.run(&["approvals", "show", "1"]).await.ended(0).says("usersync approvals withdraw 1");
    place.run(&["approvals", "withdraw", "1", "--item", "99"]).await.ended(2).complains("no such item");
    place.run(&["approvals", "withdraw", "1"]).await.ended(0).says("Withdrew 1 rejection of approval 1");
    place.run(&["approvals", "list"]).await.ended(0).says("Nothing waits for approval.");
    place.run(&["audit"]).await.ended(0).says("withdrew 1 rejection of approval 1");
}

#[tokio::test]
async fn operators_actions_are_listed() {
    let place = Place::nowhere();
    full(&place).await;
    place.run(&["connector", "pause", "acme"]).await.ended(0);
    place.run(&["connector", "resume", "acme"]).await.ended(0);
    place.run(&["approvals", "approve", "1", "--note", "they moved"]).await.ended(0);
    let all = place.run(&["audit"]).await;
    all.ended(0)
        .says("tester")
        .says("paused connector acme")
        .says("resumed connector acme")
        .says("approved")
        .says(" s ago");
    let newest = place.run(&["audit", "--limit", "1"]).await;
    newest.ended(0).says("approved").says("Older ones: --before 3");
    let older = place.run(&["audit", "--before", "3"]).await;
    assert!(!older.ended(0).says("paused connector acme").out.contains("approved"), "{older}");
    let (code, document) = place.json(&["audit", "--limit", "0"]).await;
    assert_eq!((code, document["audit"].as_array().map(Vec::len)), (0, Some(3)));
    let first = &document["audit"][2];
    assert_eq!(
        (&first["id"], &first["by"], &first["what"]),
        (&json!(1), &json!("tester"), &json!("paused connector acme"))
    );
    assert!(first["at"].is_string(), "{first}");
}

#[tokio::test]
async fn a_replayed_task_is_back_in_the_queue() {
    let place = Place::nowhere();
    full(&place).await;
    place.run(&["dead", "replay", "--reason", "500"]).await.ended(0).says("No dead letter matches");
    place
        .run(&["dead", "replay", "--reason", "403"])
        .await
        .ended(0)
        .says("1 dead letter replayed")
        .says("No server runs: they are worked when it starts");
    place.run(&["dead", "list"]).await.ended(0).says("No failed tasks.");
    place.run(&["tasks", "--subject", "user:u-bob"]).await.ended(0).says("user:u-bob");
    place.run(&["events", "replay", "e-alice"]).await.ended(0).says("1 event replayed: 1 subject is reconciled again");
    place
        .run(&["events", "replay", "e-alice", "e-nobody"])
        .await
        .ended(1)
        .complains("e-nobody: there is no such event");
    place.run(&["events", "replay", "--from", "1h"]).await.ended(0).says("2 events replayed: 2 subjects are");
    let (code, document) = place.json(&["events", "replay", "--from", "1h", "--to", "30m"]).await;
    assert_eq!((code, &document["events"]), (0, &json!(0)));
    place.run(&["tasks", "--subject", "alice"]).await.ended(0).says("replayed by tester");
}

#[tokio::test]
async fn a_confirmed_identity_starts_with_a_new_first_run() {
    let place = Place::nowhere();
    let store = place.store().await;
    store.set_pair_state(&Stack::pair(), PairState::InService, Timestamp::now()).await.expect("in service");
    store.close().await;
    place.run(&["target", "confirm", "jira"]).await.ended(0).says("acme → jira starts again");
    let store = place.store().await;
    assert_eq!(store.pair_state(&Stack::pair()).await.expect("readable"), PairState::New);
    store.set_pair_state(&Stack::pair(), PairState::Stopped, Timestamp::now()).await.expect("stopped");
    store.close().await;
    place
        .run(&["status"])
        .await
        .ended(3)
        .says("Stopped: another server or realm")
        .says("usersync connector confirm acme");
    place.run(&["sync"]).await.ended(3).complains("usersync target confirm jira");
    place.run(&["connector", "confirm", "acme"]).await.ended(0).says("starts again");
    place.run(&["status"]).await.ended(0).says("New: nothing was planned yet");
}

#[tokio::test]
async fn unreachable_servers_end_with_4() {
    let place = Place::nowhere();
    full(&place).await;
    for args in [&["check"][..], &["plan"], &["sync"], &["sync", "alice"], &["explain", "alice"]] {
        let ran = place.run(args).await;
        ran.ended(4);
        assert!(format!("{}{}", ran.out, ran.err).contains("127.0.0.1:9"), "{args:?}: {ran}");
    }
    // What the store knows is explained all the same.
    place.run(&["explain", "alice"]).await.says("u-alice").says("create alice").says("remove alice from eng");
    let (_, runs) = place.json(&["runs"]).await;
    assert_eq!(
        runs["runs"].as_array().map(Vec::len),
        Some(2),
        "a plan leaves no run behind, a failed sync does: {runs}"
    );
}

#[tokio::test]
async fn a_pipe_that_is_closed_early_is_no_fault() {
    let place = Place::nowhere();
    full(&place).await;
    let mut child = place.command(&["config", "reference"]).stdout(std::process::Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}
