//! Runs, pairs, identities, requests, changes, housekeeping.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn hooks_of_removed_connectors_are_stored(store: World) {
    let signs = |file: &str| serde_json::json!({ "file": file });
    let both = [("acme".into(), signs("a")), ("partners".into(), signs("p"))];
    assert_eq!(store.remember_hooks(&both).await.unwrap(), []);
    let kept = [("acme".into(), signs("a2"))];
    assert_eq!(store.remember_hooks(&kept).await.unwrap(), [("partners".into(), signs("p"))]);
    assert_eq!(
        store.remember_hooks(&[]).await.unwrap(),
        [("acme".into(), signs("a2")), ("partners".into(), signs("p"))]
    );
}

pub async fn a_run_is_recorded(store: World) {
    let other = Pair::new("corp", "wiki");
    let first = store.begin_run(&pair(), RunTrigger::First, RunMode::DryRun, at(1)).await.unwrap();
    let second = store.begin_run(&other, RunTrigger::Schedule, RunMode::Apply, at(2)).await.unwrap();
    assert!(second > first);
    store.progress_run(first, serde_json::json!({"read": 10})).await.unwrap();
    let runs = store.runs(None, 9).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [second, first]);
    let expected = RunRecord {
        id: first,
        pair: pair(),
        trigger: RunTrigger::First,
        mode: RunMode::DryRun,
        started_at: at(1),
        ended_at: None,
        outcome: RunOutcome::Running,
        cancelled_by: None,
        progress: None,
        report: serde_json::json!({"read": 10}),
    };
    assert_eq!(runs[1], expected);
    let failed = RunOutcome::Failed { why: "no rights".into(), class: Some(ErrorClass::Forbidden) };
    store.end_run(first, failed.clone(), serde_json::json!({"read": 11}), at(3)).await.unwrap();
    let runs = store.runs(Some(&pair()), 9).await.unwrap();
    assert_eq!((runs.len(), runs[0].outcome.clone(), runs[0].ended_at), (1, failed, Some(at(3))));
    // An ended run stays unchanged.
    let late = store.end_run(first, RunOutcome::Done, serde_json::Value::Null, at(4)).await;
    assert!(matches!(late, Err(StoreError::NotFound(_))));
    assert!(matches!(store.progress_run(first, serde_json::Value::Null).await, Err(StoreError::NotFound(_))));
    // The end of the process stops the other run.
    store.crash(at(5)).await;
    assert_eq!(store.runs(None, 1).await.unwrap()[0].outcome, RunOutcome::Stopped);
    assert!(store.runs(Some(&Pair::new("no", "body")), 9).await.unwrap().is_empty());
}

pub async fn a_run_in_progress_has_its_progress_and_can_be_cancelled(store: World) {
    let newest = async || store.runs(None, 1).await.unwrap().remove(0);
    let progress =
        RunProgress { phase: "applying".into(), phase_began: at(1), done: 3, total: 10, errors: 1, at: at(2) };
    for is_cancelled in [true, false] {
        store.request_run(&pair()).await.unwrap();
        let run = store.begin_run(&pair(), RunTrigger::Event, RunMode::Apply, at(1)).await.unwrap();
        store.note_progress(run, &progress).await.unwrap();
        assert_eq!(newest().await.progress, Some(progress.clone()));
        if is_cancelled {
            store.cancel_run(run, "ann", at(3)).await.unwrap();
            store.cancel_run(run, "bob", at(3)).await.unwrap();
        }
        store.end_run(run, RunOutcome::Stopped, serde_json::Value::Null, at(4)).await.unwrap();
        let ended = newest().await;
        assert_eq!((ended.progress, ended.cancelled_by), (None, is_cancelled.then(|| "ann".to_owned())));
        let requested = store.requested_run(&pair()).await.unwrap();
        assert_eq!(requested, (!is_cancelled).then_some(RunTrigger::Event), "only a cancelled run is not repeated");
        store.note_progress(run, &progress).await.unwrap();
        assert_eq!(newest().await.progress, None, "it has ended");
        assert!(matches!(store.cancel_run(run, "ann", at(5)).await, Err(StoreError::NotFound(_))));
    }
    assert!(store.audit(None, 9).await.unwrap().iter().any(|line| line.what.starts_with("requested: cancel run")));
}

pub async fn a_pair_begins_as_new_and_keeps_its_state(store: World) {
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::New);
    let made = store.ensure_pairs(&[pair()], at(1)).await.unwrap();
    assert_eq!(made, [PairRecord { pair: pair(), state: PairState::New, since: at(1) }]);
    store.set_pair_state(&pair(), PairState::InService, at(2)).await.unwrap();
    let other = Pair::new("corp", "wiki");
    let again = store.ensure_pairs(&[other.clone(), pair()], at(3)).await.unwrap();
    assert_eq!(again[0], PairRecord { pair: other, state: PairState::New, since: at(3) });
    assert_eq!(again[1], PairRecord { pair: pair(), state: PairState::InService, since: at(2) });
    for state in [PairState::Held, PairState::Approved, PairState::Stopped] {
        store.set_pair_state(&pair(), state, at(4)).await.unwrap();
        assert_eq!(store.pair_state(&pair()).await.unwrap(), state);
    }
}

pub async fn identities_are_pinned_until_an_operator_confirms(store: World) {
    let source =
        |account: &str| SourceIdentity { issuer: "https://kc/realms/a".into(), service_account: account.into() };
    let server = |id: &str| TargetIdentity::new(id, None);
    let wiki = TargetName::from("wiki");
    let both = [pair(), Pair::new("corp", "wiki")];
    store.ensure_pairs(&both, at(0)).await.unwrap();
    for pair in &both {
        store.set_pair_state(pair, PairState::InService, at(1)).await.unwrap();
    }
    assert_eq!(store.source_identity(&connector()).await.unwrap(), None);
    assert_eq!(store.target_identity(&target(), &server("A")).await.unwrap(), (None, None));
    assert_eq!(store.pin_source(&connector(), &source("1")).await.unwrap(), source("1"));
    assert_eq!(store.source_identity(&connector()).await.unwrap(), Some(source("1")));
    assert_eq!(store.pin_source(&connector(), &source("2")).await.unwrap(), source("1"));
    assert_eq!(store.pin_target(&target(), &server("A")).await.unwrap(), (server("A"), None));
    assert_eq!(store.pin_target(&target(), &server("B")).await.unwrap(), (server("A"), None));
    assert_eq!(store.target_identity(&target(), &server("B")).await.unwrap(), (Some(server("A")), None));
    assert_eq!(store.target_identity(&wiki, &server("A")).await.unwrap(), (None, Some(target())));
    // The same server under two names.
    assert_eq!(store.pin_target(&wiki, &server("A")).await.unwrap(), (server("A"), Some(target())));

    store.confirm_identity(None, Some(&target()), "eve", at(2)).await.unwrap();
    assert_eq!(store.pin_target(&target(), &server("B")).await.unwrap(), (server("B"), None));
    assert_eq!(store.pair_state(&both[0]).await.unwrap(), PairState::New);
    assert_eq!(store.pair_state(&both[1]).await.unwrap(), PairState::InService);
    store.confirm_identity(Some(&connector()), None, "eve", at(3)).await.unwrap();
    assert_eq!(store.pair_state(&both[1]).await.unwrap(), PairState::New);
    assert_eq!(store.pin_source(&connector(), &source("2")).await.unwrap(), source("2"));
    let audit = store.audit(None, 9).await.unwrap();
    assert_eq!((audit.len(), audit[0].by.as_str(), audit[0].at), (2, "eve", at(3)));
    assert_eq!(store.audit(Some(audit[0].id), 9).await.unwrap(), audit[1..]);
}

pub async fn a_target_is_pinned_by_its_id_and_the_base_url_that_it_reports(store: World) {
    let server = |url: Option<&str>| TargetIdentity::new("A", url);
    let (production, staging) = (server(Some("https://jira.example.org")), server(Some("https://staging.example.org")));
    let clone = TargetName::from("staging");
    store.ensure_pairs(&[pair(), Pair::new("corp", "staging")], at(0)).await.unwrap();
    // As an earlier version pinned it: until the base URL is known, it may be the same server.
    assert_eq!(store.pin_target(&target(), &server(None)).await.unwrap(), (server(None), None));
    assert_eq!(store.target_identity(&clone, &staging).await.unwrap(), (None, Some(target())));
    // Completed by the first contact, and kept if a later one does not report it.
    assert_eq!(store.pin_target(&target(), &production).await.unwrap(), (production.clone(), None));
    assert_eq!(store.pin_target(&target(), &server(None)).await.unwrap(), (production.clone(), None));
    assert_eq!(store.pin_target(&target(), &staging).await.unwrap(), (production.clone(), None));
    // A clone beside it is another server, unless it does not report its base URL.
    assert_eq!(store.target_identity(&clone, &server(None)).await.unwrap(), (None, Some(target())));
    assert_eq!(store.pin_target(&clone, &staging).await.unwrap(), (staging.clone(), None));
    store.confirm_identity(None, Some(&target()), "eve", at(2)).await.unwrap();
    assert_eq!(store.pin_target(&target(), &staging).await.unwrap(), (staging, Some(clone)));
}

pub async fn another_server_leaves_links_unconfirmed_and_decisions_withdrawn(store: World) {
    store.ensure_pairs(&[pair()], at(0)).await.unwrap();
    for name in ["ann", "bob"] {
        store.linked(name, &format!("{name}-account"), at(1)).await;
    }
    let ann = store.work(&user("ann"), at(2)).await;
    assert!(!ann.unconfirmed);
    let given = Link { given: ["g1".into()].into(), ..ann.link.clone().unwrap() };
    let last = Step { link: Some(LinkWrite::Put(given)), ..Step::default() };
    let held = vec![hold(ApprovalKind::Adoption, "adopt:a9", "f")];
    store.complete(ann.token, last, held, at(9), at(2)).await.unwrap();

    store.confirm_identity(None, Some(&target()), "eve", at(3)).await.unwrap();
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), ["ann".into(), "bob".into()]);
    assert_eq!(store.counts(&pair(), at(3)).await.unwrap().memberships, 0, "groups are found by name again");
    assert!(store.standing_items(&pair()).await.unwrap().is_empty());
    assert!(store.approvals(true).await.unwrap().is_empty());
    let run = store.begin_run(&pair(), RunTrigger::First, RunMode::Apply, at(4)).await.unwrap();
    let dropped = [("bob".into(), "account bob-account is now eve".to_owned())];
    // A claimed subject is left to the next run.
    let bob = store.work(&user("bob"), at(4)).await;
    assert!(bob.unconfirmed);
    store.confirm_links(&pair(), run, &["ann".into()], &dropped, at(4)).await.unwrap();
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), ["bob".into()]);
    store.done(bob.token, at(5)).await;
    store.confirm_links(&pair(), run, &[], &dropped, at(5)).await.unwrap();
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), Vec::new());
    assert_eq!(store.link(&pair(), &"bob".into()).await.unwrap(), None);
    assert!(store.link(&pair(), &"ann".into()).await.unwrap().is_some());
    let change = store.changes(&ChangeFilter::default()).await.unwrap().remove(0);
    assert_eq!(
        (change.verb.as_str(), change.after["why"].as_str()),
        ("drop_link", Some("account bob-account is now eve"))
    );
}

fn server(id: &str, url: &str) -> TargetIdentity {
    TargetIdentity::new(id, Some(url))
}

pub async fn the_same_server_under_another_address_keeps_all_but_compares_its_links(store: World) {
    store.ensure_pairs(&[pair()], at(0)).await.unwrap();
    let (before, after) = (server("A", "http://jira.example.org"), server("A", "https://jira.example.org"));
    store.pin_target(&target(), &before).await.unwrap();
    store.linked("ann", "ann-account", at(1)).await;
    let ann = store.work(&user("ann"), at(2)).await;
    let given = Link { given: ["g1".into()].into(), ..ann.link.clone().unwrap() };
    let last = Step { link: Some(LinkWrite::Put(given.clone())), ..Step::default() };
    let held = vec![hold(ApprovalKind::Adoption, "adopt:a9", "f")];
    store.complete(ann.token, last, held, at(9), at(2)).await.unwrap();
    store.set_pair_state(&pair(), PairState::InService, at(2)).await.unwrap();
    store.stop_for_target(&pair(), at(3)).await.unwrap();
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::Stopped);

    let pairs = store.confirm_same_server(&target(), &after, "eve", at(4)).await.unwrap();
    assert_eq!(pairs, [PairRecord { pair: pair(), state: PairState::InService, since: at(4) }]);
    assert_eq!(store.pin_target(&target(), &after).await.unwrap(), (after, None));
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), Some(given));
    assert_eq!(store.standing_items(&pair()).await.unwrap().len(), 1, "approvals stay");
    assert_eq!(store.approvals(true).await.unwrap().len(), 1);
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), ["ann".into()]);
    assert_eq!(store.requested_run(&pair()).await.unwrap(), Some(RunTrigger::Operator), "which compares the links");
    assert!(store.audit(None, 1).await.unwrap()[0].what.contains("the same server, now A at https://jira.example.org"));

    // A worker that handles the user before that run finds another login, and drops the link with its reason.
    let ann = store.work(&user("ann"), at(5)).await;
    assert!(ann.unconfirmed);
    let why = "account ann-account is now eve".to_owned();
    let drop = Step { link: Some(LinkWrite::Unconfirmed { why: why.clone() }), ..Step::default() };
    store.step(ann.token, drop, at(5)).await.unwrap();
    store.done(ann.token, at(5)).await;
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), None);
    assert_eq!(store.unconfirmed_links(&pair()).await.unwrap(), Vec::new());
    assert!(store.dropped_links(&pair()).await.unwrap().is_empty(), "its account is somebody else's for good");
    let change = store.changes(&ChangeFilter::default()).await.unwrap().remove(0);
    assert_eq!((change.verb.as_str(), change.after["why"].as_str()), ("drop_link", Some(why.as_str())));
}

pub async fn only_a_server_of_the_same_id_is_the_same_server(store: World) {
    let jira = server("A", "https://jira.example.org");
    let refused = async |found: &TargetIdentity| {
        let confirmed = store.confirm_same_server(&target(), found, "eve", at(2)).await;
        let Err(StoreError::Refused(why)) = confirmed else { panic!("{confirmed:?}") };
        why
    };
    store.ensure_pairs(&[pair(), Pair::new("corp", "staging")], at(0)).await.unwrap();
    assert!(refused(&jira).await.contains("no server was recorded yet"));
    store.pin_target(&target(), &jira).await.unwrap();
    let why = refused(&server("B", "https://jira.example.org")).await;
    assert!(why.contains("its id is B, and was A"), "{why}");
    assert!(why.contains("usersync target confirm jira") && !why.contains("identified by its address"), "{why}");
    let why = refused(&TargetIdentity::new("https://scim.example.org", None)).await;
    assert!(why.contains("identified by its address only"), "{why}");
    let staging = server("A", "https://staging.example.org");
    store.pin_target(&"staging".into(), &staging).await.unwrap();
    assert!(refused(&staging).await.contains("the same server as target staging"));
    assert_eq!(store.pin_target(&target(), &jira).await.unwrap(), (jira, None), "nothing is changed");
    assert_eq!(store.audit(None, 9).await.unwrap(), []);
}

pub async fn a_pair_stopped_for_its_target_resumes_its_previous_state(store: World) {
    let jira = server("A", "https://jira.example.org");
    store.pin_target(&target(), &jira).await.unwrap();
    let confirm = async |at| store.confirm_same_server(&target(), &jira, "eve", at).await.unwrap().remove(0).state;
    for state in [PairState::New, PairState::NoUsers, PairState::Held, PairState::Approved, PairState::InService] {
        store.set_pair_state(&pair(), state, at(1)).await.unwrap();
        store.stop_for_target(&pair(), at(2)).await.unwrap();
        store.stop_for_target(&pair(), at(3)).await.unwrap();
        store.crash(at(4)).await;
        assert_eq!(confirm(at(5)).await, state);
    }
    // It does not confirm another realm, whichever was found first.
    store.set_pair_state(&pair(), PairState::Stopped, at(6)).await.unwrap();
    store.stop_for_target(&pair(), at(7)).await.unwrap();
    assert_eq!(confirm(at(8)).await, PairState::Stopped);
    store.set_pair_state(&pair(), PairState::InService, at(9)).await.unwrap();
    store.stop_for_target(&pair(), at(10)).await.unwrap();
    store.set_pair_state(&pair(), PairState::Stopped, at(11)).await.unwrap();
    assert_eq!(confirm(at(12)).await, PairState::Stopped);
    store.confirm_identity(Some(&connector()), None, "eve", at(13)).await.unwrap();
    assert_eq!(confirm(at(14)).await, PairState::New);

    // A first run that is approved meanwhile continues as approved.
    let set = store.hold_first_run(&pair(), serde_json::json!({}), at(15)).await.unwrap();
    store.stop_for_target(&pair(), at(16)).await.unwrap();
    let decision = Decision { set, items: Vec::new(), approve: true, by: "ann".into(), note: None };
    store.decide(&decision, at(17)).await.unwrap();
    assert_eq!(confirm(at(18)).await, PairState::Approved);
}

pub async fn a_pause_stays(store: World) {
    assert!(store.paused().await.unwrap().is_empty());
    store.set_paused(&connector(), true, "eve", at(1)).await.unwrap();
    store.set_paused(&"other".into(), true, "eve", at(1)).await.unwrap();
    store.set_paused(&"other".into(), false, "eve", at(2)).await.unwrap();
    store.crash(at(3)).await;
    assert_eq!(store.paused().await.unwrap(), [connector()].into());
}

fn a_run(target: Option<&str>, trigger: RunTrigger) -> Request {
    Request::Run { connector: connector(), target: target.map(TargetName::from), trigger }
}

pub async fn a_run_stays_requested_until_it_begins(store: World) {
    let wiki = Pair::new("corp", "wiki");
    store.ensure_pairs(&[pair(), wiki.clone(), Pair::new("other", "jira")], at(0)).await.unwrap();
    assert_eq!(store.requested_run(&pair()).await.unwrap(), None);
    for target in [None, Some("jira"), None] {
        store.request(&a_run(target, RunTrigger::Operator), "eve", at(1)).await.unwrap();
    }
    assert_eq!(store.requested_run(&Pair::new("other", "jira")).await.unwrap(), None);
    store.crash(at(2)).await;
    // A dry run answers no request; neither does a run of another pair.
    store.begin_run(&pair(), RunTrigger::Operator, RunMode::DryRun, at(3)).await.unwrap();
    for pair in [pair(), wiki.clone()] {
        assert_eq!(store.requested_run(&pair).await.unwrap(), Some(RunTrigger::Operator));
        let run = store.begin_run(&pair, RunTrigger::Schedule, RunMode::Apply, at(3)).await.unwrap();
        assert_eq!(store.requested_run(&pair).await.unwrap(), None, "once");
        // It is requested again during the run.
        store.request(&a_run(Some("jira"), RunTrigger::Operator), "eve", at(4)).await.unwrap();
        store.end_run(run, RunOutcome::Done, serde_json::Value::Null, at(5)).await.unwrap();
    }
    assert_eq!(store.requested_run(&pair()).await.unwrap(), Some(RunTrigger::Operator));
    assert_eq!(store.requested_run(&wiki).await.unwrap(), None);
}

pub async fn a_run_requested_by_an_event_stays_requested_until_a_run_completes(store: World) {
    let event = Some(RunTrigger::Event);
    let begin = async |at| store.begin_run(&pair(), RunTrigger::Event, RunMode::Apply, at).await.unwrap();
    let end = async |run, outcome, at| store.end_run(run, outcome, serde_json::Value::Null, at).await.unwrap();
    let asked = async || store.requested_run(&pair()).await.unwrap();
    store.request(&a_run(Some("jira"), RunTrigger::Event), "eve", at(1)).await.unwrap();
    store.request(&a_run(Some("jira"), RunTrigger::Operator), "eve", at(1)).await.unwrap();
    let run = begin(at(2)).await;
    assert_eq!(asked().await, None);
    end(run, RunOutcome::Failed { why: "503".into(), class: None }, at(3)).await;
    assert_eq!(asked().await, event, "a person sees that it failed");
    let run = begin(at(4)).await;
    // Requested again meanwhile: one run is enough.
    store.request(&a_run(Some("jira"), RunTrigger::Event), "eve", at(5)).await.unwrap();
    end(run, RunOutcome::Stopped, at(6)).await;
    assert_eq!(asked().await, event);
    begin(at(7)).await;
    assert_eq!(asked().await, None);
    store.crash(at(9)).await;
    assert_eq!(asked().await, event, "the process ended before the run did");
    let run = begin(at(10)).await;
    end(run, RunOutcome::Problems, at(11)).await;
    assert_eq!(asked().await, None);
    store.crash(at(12)).await;
    assert_eq!(asked().await, None);
}

pub async fn changes_are_filtered_and_paged(store: World) {
    let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(0)).await.unwrap();
    for nth in 0..6 {
        let name = format!("u{}", nth % 3);
        let observation = store.next_observation().await.unwrap();
        let claimed = if nth < 3 {
            store.work(&user(&name), at(nth)).await
        } else {
            store.claim_planned(&pair(), run, planned(&user(&name), observation, None), at(nth)).await.unwrap().unwrap()
        };
        let id = store.intend(claimed.token, create(&name), at(nth + 9), at(nth)).await;
        store
            .resolve(claimed.token, id, ChangeOutcome::Refused { why: format!("no {nth}"), permanent: false }, at(nth))
            .await;
        store.done(claimed.token, at(nth)).await;
    }
    let why = async |filter: ChangeFilter| -> Vec<String> {
        let changes = store.changes(&filter).await.unwrap();
        changes
            .into_iter()
            .map(|change| match change.outcome {
                ChangeOutcome::Refused { why, .. } => why,
                other => format!("{other:?}"),
            })
            .collect()
    };
    let all = ChangeFilter::default();
    assert_eq!(why(all.clone()).await, ["no 5", "no 4", "no 3", "no 2", "no 1", "no 0"]);
    assert_eq!(why(ChangeFilter { subject: Some(user("u1")), ..all.clone() }).await, ["no 4", "no 1"]);
    assert_eq!(why(ChangeFilter { name: Some("u2".into()), limit: 1, ..all.clone() }).await, ["no 5"]);
    assert_eq!(why(ChangeFilter { run: Some(run), ..all.clone() }).await, ["no 5", "no 4", "no 3"]);
    assert_eq!(why(ChangeFilter { from: Some(at(1)), to: Some(at(3)), ..all.clone() }).await, ["no 2", "no 1"]);
    assert!(why(ChangeFilter { target: Some("wiki".into()), ..all.clone() }).await.is_empty());
    assert_eq!(why(ChangeFilter { connector: Some(connector()), ..all.clone() }).await.len(), 6);
    let page = store.changes(&ChangeFilter { limit: 2, ..all.clone() }).await.unwrap();
    assert_eq!(why(ChangeFilter { before: Some(page[1].id), limit: 2, ..all }).await, ["no 3", "no 2"]);
    assert_eq!(store.counts(&pair(), at(9)).await.unwrap().last_change, Some(at(5)));
}

pub async fn old_records_are_pruned_and_open_ones_kept(store: World) {
    for nth in 0..5 {
        store.event(&format!("e{nth}"), &[], at(nth)).await;
    }
    let old = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(0)).await.unwrap();
    store.end_run(old, RunOutcome::Done, serde_json::Value::Null, at(1)).await.unwrap();
    let last = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(1)).await.unwrap();
    store.end_run(last, RunOutcome::Done, serde_json::Value::Null, at(2)).await.unwrap();
    let dry = store.begin_run(&pair(), RunTrigger::Operator, RunMode::DryRun, at(1)).await.unwrap();
    store.end_run(dry, RunOutcome::Done, serde_json::Value::Null, at(900)).await.unwrap();
    store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(0)).await.unwrap();
    let ann = store.work(&user("ann"), at(0)).await;
    let id = store.intend(ann.token, create("ann"), at(9), at(0)).await;
    store.resolve(ann.token, id, ChangeOutcome::Done, at(1)).await;
    store.intend(ann.token, create("ann"), at(9), at(1)).await;
    let held = vec![hold(ApprovalKind::Adoption, "a", "f"), hold(ApprovalKind::Adoption, "b", "f")];
    store.complete(ann.token, Step::default(), held, at(1), at(1)).await.unwrap();
    let (set, items) = store.approval(store.approvals(true).await.unwrap()[0].id).await.unwrap();
    let reject = Decision { set: set.id, items: vec![items[0].id], approve: false, by: "eve".into(), note: None };
    store.decide(&reject, at(1)).await.unwrap();

    // Two events, then one more; a change, a run and an audit entry with the first.
    assert_eq!(store.prune(at(3), 2).await.unwrap(), 5);
    assert_eq!(store.prune(at(3), 2).await.unwrap(), 1);
    assert_eq!(store.prune(at(3), 2).await.unwrap(), 0);
    assert_eq!(store.events(&EventFilter::default()).await.unwrap().len(), 2);
    assert!(store.changes(&ChangeFilter::default()).await.unwrap().is_empty());
    assert_eq!(store.runs(None, 9).await.unwrap().len(), 3);
    assert_eq!(store.prune(at(1_000), 100).await.unwrap(), 3);
    // The last successful full reconcile stays, however old, and the one that has not ended.
    assert_eq!(store.runs(None, 9).await.unwrap().len(), 2);
    assert_eq!(store.counts(&pair(), at(1_000)).await.unwrap().last_successful_run, Some(at(2)));
    let (set, items) = store.approval(set.id).await.unwrap();
    assert_eq!((set.open, items.len()), (true, 2));
    assert_eq!(store.claims(&user("ann"), at(9)).await.intents.len(), 1);
    // A deleted event can be stored again.
    assert_eq!(store.event("e0", &[], at(5)).await.stored, 1);
}

pub async fn refused_requests_are_counted_until_an_event_is_accepted(store: World) {
    let refused = |connector: Option<&str>, count, since, last| Refusals {
        connector: connector.map(Into::into),
        reason: RefusalReason::WrongSecret,
        count,
        since: at(since),
        last: at(last),
    };
    store.note_refusals(&[refused(Some("corp"), 1, 1, 1), refused(None, 7, 2, 3)]).await.unwrap();
    store.note_refusals(&[refused(Some("corp"), 4, 5, 9)]).await.unwrap();
    let expected = [refused(Some("corp"), 5, 1, 9), refused(None, 7, 2, 3)];
    assert_eq!(store.refusals().await.unwrap(), expected, "counts add up, each connector for itself");
    store.append_events(&"other".into(), &[], vec![event("1", &[])], at(10)).await.unwrap();
    store.note_refusals(&[refused(Some("corp"), 1, 11, 11)]).await.unwrap();
    assert_eq!(store.refusals().await.unwrap()[0], refused(Some("corp"), 6, 1, 11));
    store.append_events(&"corp".into(), &[], vec![event("1", &[])], at(12)).await.unwrap();
    store.note_refusals(&[refused(Some("corp"), 2, 13, 14)]).await.unwrap();
    assert_eq!(store.refusals().await.unwrap()[0], refused(Some("corp"), 2, 13, 14), "an accepted event ends a series");
    let a_day_later = 14 + 24 * 60 * 60 + 1;
    store.note_refusals(&[refused(Some("corp"), 1, a_day_later, a_day_later)]).await.unwrap();
    assert_eq!(store.refusals().await.unwrap()[0], refused(Some("corp"), 1, a_day_later, a_day_later));
}

pub async fn it_reports_that_it_works(store: World) {
    store.check().await.unwrap();
}
