//! Commands beside a running server: they store intentions, which the server reads at once.

use usersync::{
    demo::stack::{HOOK_SECRET, SimulatedServers, Stack, StackOptions},
    model::{FirstRun, Policy},
    store::{EngineStore, PairState, StoreReads, TaskFilter, sqlite::SqliteStore},
};
use usersync_simulators::{
    Fault,
    jira::NewAccount,
    keycloak::{NewUser, Webhook},
};

use super::place::Place;

/// Starts simulators, a place, and a server that works with its store in this process.
async fn running(policy: Policy) -> (SimulatedServers, Place, Stack) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Some(folder.path().join("usersync.db"));
    let options = StackOptions { policy, store, ..StackOptions::default() };
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    let place = Place::within(folder, &servers);
    servers.realm.import_group("/engineering").expect("made");
    let staff = (0..60).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/engineering"]));
    servers.realm.import_users(staff).expect("imported");
    let stack = servers.build().await.expect("the server starts");
    (servers, place, stack)
}

#[tokio::test]
async fn a_lock_of_another_process_is_respected() {
    let place = Place::nowhere();
    let store = place.store().await;
    let pid = std::process::id().to_string();
    assert_eq!(SqliteStore::worked_by(place.store_file()), Some(pid.clone()));
    place.run(&["status"]).await.ended(0).says(&format!("The server runs (pid {pid})."));
    place.run(&["check"]).await.ended(4).says(&format!("held by the running server (pid {pid})"));
    place.run(&["connector", "pause", "acme"]).await.ended(0);
    assert!(store.paused().await.expect("readable").contains(&"acme".into()));
    store.close().await;
    assert_eq!(SqliteStore::worked_by(place.store_file()), None);
}

#[tokio::test]
async fn a_run_of_the_server_is_cancelled() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let slow = servers.jira.faults.add(Fault::delay(std::time::Duration::from_secs(1)).method("GET"));
    place.run(&["sync", "--no-wait"]).await.ended(0);
    let newest = async || stack.store.runs(Some(&Stack::pair()), 1).await.expect("readable").remove(0);
    while newest().await.progress.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let id = newest().await.id.to_string();
    place.run(&["runs", "show", &id]).await.ended(0).says("In progress: ");
    place.run(&["runs"]).await.ended(0).says("running");
    let cancelled = place.run(&["runs", "cancel", &id, "--by", "ann"]).await;
    cancelled.ended(0).says("cancelled by ann.").says("It had written nothing.").says("usersync sync --connector acme");
    servers.jira.faults.remove(slow);
    place.run(&["runs", "show", &id]).await.ended(0).says("cancelled by ann");
    let status = place.run(&["status"]).await;
    status.ended(1).says("Out of sync: the last full reconcile was cancelled.").says("cancelled by ann before its end");
    place.run(&["runs", "cancel", &id]).await.ended(2).complains("has already ended: cancelled by ann");
    place.run(&["runs", "cancel", "4711"]).await.ended(2).complains("there is no such run");
    place.run(&["sync"]).await.ended(0).says("create");
    assert!(servers.jira.snapshot().account("alice").is_some());
    stack.stop().await;
}

#[tokio::test]
async fn commands_ask_the_running_server_and_see_what_it_did() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    place.run(&["status"]).await.ended(0).says("In sync.").says("The server runs");

    // A change without an event.
    servers.realm.import_users([NewUser::named("alice").in_groups(&["/engineering"])]).expect("imported");
    let planned = place.run(&["plan", "--list"]).await;
    planned.ended(0).says("create").says("  create alice").says("(complete)");
    assert!(servers.jira.snapshot().account("alice").is_none(), "a plan writes nothing");

    let alice = place.run(&["sync", "alice"]).await;
    alice.ended(0).says("create alice").says("add alice to engineering");
    assert!(servers.jira.snapshot().groups["engineering"].contains("alice"));
    place.run(&["sync", "alice"]).await.ended(0).says("alice is in sync; nothing to do.");

    servers.realm.import_users([NewUser::named("bob")]).expect("imported");
    let ran = place.run(&["sync"]).await;
    ran.ended(0).says("Requested from the running server").says("create").says("1 user");
    assert!(servers.jira.snapshot().account("bob").is_some());
    let down = servers.jira.faults.add(usersync_simulators::Fault::unavailable());
    place.run(&["sync"]).await.ended(4).complains(" failed: ");
    servers.jira.faults.remove(down);
    place.run(&["sync"]).await.ended(0).says("Nothing to do");
    place.run(&["sync", "--no-wait"]).await.ended(0).says("usersync runs");
    let (code, explained) = place.json(&["explain", "bob"]).await;
    assert_eq!((code, &explained["people"][0]["in_scope"]), (0, &serde_json::json!(true)));
    let status = place.run(&["status"]).await;
    status.says("last change").says("next run     ");
    stack.stop().await;
    place.run(&["status"]).await.ended(0).says("No server runs");
}

#[tokio::test]
async fn a_link_is_ordered_from_the_running_server_and_created_where_none_runs() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    let jira = &servers.jira;
    let ran = place.run(&["unlink", "staff7"]).await;
    ran.ended(0).says("unlink").says("done");
    let key = jira.snapshot().account("staff7").expect("it stays").key.clone();
    place.run(&["unlink", "staff7"]).await.ended(2).complains("has no link there");
    place.run(&["link", "staff7", "nobody"]).await.ended(2).complains("account nobody");
    place.run(&["link", "staff7", "staff8"]).await.ended(1).complains("refused").complains("usersync unlink");
    stack.stop().await;
    place.run(&["link", "staff7", "staff7"]).await.ended(0).says("done");
    place.run(&["audit"]).await.ended(0).says("done: link user").says("tester");
    let (code, document) = place.json(&["link", "staff7", &key]).await;
    assert_eq!((code, &document["end"]["end"]), (0, &serde_json::json!("done")));
    // An existing link is not moved by mistake.
    let other = jira.add_account(NewAccount::named("other"));
    let refused = place.run(&["link", "staff7", "other"]).await;
    refused.ended(1).complains(&format!("already linked to account staff7 ({key})"));
    refused.complains(&format!("account other ({other})")).complains(" other --connector ").complains(" --move");
    let found = place.run(&["unmatched"]).await;
    found.ended(0).says("other");
    place.run(&["link", "staff7", "other", "--move"]).await.ended(0).says("done");
    assert!(jira.snapshot().accounts.values().any(|one| one.key == other && one.name == "other"));
}

#[tokio::test]
async fn a_first_run_waits_and_is_approved_beside_the_server() {
    let (servers, place, stack) = running(Policy::default()).await;
    for _ in 0..200 {
        if place.run(&["approvals", "list"]).await.code == 3 {
            break;
        }
    }
    place.run(&["approvals", "list"]).await.ended(3).says("first run");
    let status = place.run(&["status"]).await;
    status.ended(3).says("Waits for its first run's approval:").says("usersync approvals approve 1");
    place.run(&["approvals", "show", "1"]).await.ended(3).says("60 users");
    place.run(&["sync"]).await.ended(3).complains("waits for approval: usersync approvals approve 1");
    place.run(&["sync", "staff1"]).await.ended(3).complains("has to be approved");
    assert!(servers.jira.snapshot().account("staff1").is_none());
    let approved = place.run(&["approvals", "approve", "1", "--note", "looks right"]).await;
    approved.ended(0).says("the first run of acme → jira").says("The running server");
    stack.in_service().await.expect("in service");
    assert!(servers.jira.snapshot().account("staff1").is_some());
    stack.stop().await;
}

#[tokio::test]
async fn sync_after_a_rejected_first_run_plans_it_again() {
    let (servers, place, stack) = running(Policy::default()).await;
    let waits = async |set: &str| {
        for _ in 0..200 {
            if place.run(&["approvals", "show", set]).await.code == 3 {
                return;
            }
        }
        panic!("set {set} is not there");
    };
    waits("1").await;
    place.run(&["approvals", "reject", "1", "--note", "not yet"]).await.ended(0);
    place.run(&["approvals", "list"]).await.ended(0);
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let asked = place.run(&["sync"]).await;
    asked.ended(3).complains("its first run was rejected; the server plans it again: usersync approvals list");
    waits("2").await;
    place.run(&["approvals", "show", "2"]).await.ended(3).says("61 users");
    assert!(servers.jira.snapshot().account("alice").is_none());
    place.run(&["sync"]).await.ended(3).complains("waits for approval: usersync approvals approve 2");
    place.run(&["approvals", "approve", "2"]).await.ended(0);
    stack.in_service().await.expect("in service");
    assert!(servers.jira.snapshot().account("alice").is_some());
    stack.stop().await;
}

#[tokio::test]
async fn requests_that_the_hook_refuses_are_shown_with_their_reason() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    place.run(&["status"]).await.ended(0);
    servers.realm.set_webhook(Some(Webhook::listener(
        format!("{}/hooks/acme", stack.url()),
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    )));
    servers.realm.create_user(NewUser::named("alice")).await.expect("made");
    servers.realm.webhook_idle().await;
    let mut status = place.run(&["status"]).await;
    for _ in 0..100 {
        if status.code != 0 {
            break;
        }
        status = place.run(&["status"]).await;
    }
    status.ended(1).says("/hooks/acme").says("Refused: wrong secret, ").says("and that in the");
    status.says("usersync keycloak test-event");
    let (code, document) = place.json(&["status"]).await;
    assert_eq!((code, &document["refused"][0]["reason"]), (1, &serde_json::json!("wrong_secret")));
    place.run(&["check"]).await.ended(1).says("Refused: wrong secret");

    // As after the secret is corrected.
    servers.realm.set_webhook(Some(Webhook::listener(format!("{}/hooks/acme", stack.url()), HOOK_SECRET)));
    servers.realm.create_user(NewUser::named("bob")).await.expect("made");
    servers.realm.webhook_idle().await;
    stack.quiet(jiff::SignedDuration::from_secs(1)).await.expect("quiet");
    place.run(&["status"]).await.ended(0).says("Refused: wrong secret").says("An event was accepted after that");
    stack.stop().await;
}

#[tokio::test]
async fn names_from_elsewhere_do_not_act_on_the_terminal() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    let mut evil = NewUser::named("mallory");
    evil.last_name = Some("x\u{1b}[2J\u{9b}31m\nok  everything\u{202e}gpj".to_owned());
    servers.realm.create_user(evil).await.expect("made");
    servers.realm.webhook_idle().await;
    stack.quiet(jiff::SignedDuration::from_secs(1)).await.expect("quiet");
    let explained = place.run(&["explain", "mallory"]).await;
    explained.says("x\\u{1b}[2J\\u{9b}31m\\nok  everything\\u{202e}gpj");
    let changes = place.run(&["changes"]).await;
    let document = place.run(&["explain", "mallory", "--json"]).await;
    for ran in [&explained, &changes, &document] {
        assert!(!ran.out.lines().any(|line| line.starts_with("ok  everything")), "{ran}");
        assert!(!ran.out.contains(['\u{9b}', '\u{202e}']), "{ran}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_side_that_refused_is_contacted_at_once_by_command() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    let captcha = Fault::status(403, "").header("X-Authentication-Denied-Reason", "CAPTCHA_CHALLENGE; login-url=x");
    servers.jira.faults.add(captcha);
    servers.realm.create_user(NewUser::named("alice")).await.expect("made");
    let refused = "jira refuses usersync's credentials";
    let mut status = place.run(&["status"]).await;
    for _ in 0..100 {
        if status.out.contains(refused) {
            break;
        }
        status = place.run(&["status"]).await;
    }
    status.ended(4).says("The old one is retried only by: usersync target retry jira");
    place.run(&["target", "retry", "jira"]).await.ended(4).complains("until a CAPTCHA is solved");
    servers.jira.faults.clear();
    let retried = place.run(&["target", "retry", "jira"]).await;
    retried.ended(0).says("jira answers, and accepts usersync's credentials.").says("continues with the waiting tasks");
    stack.quiet(jiff::SignedDuration::from_secs(10)).await.expect("quiet");
    assert!(servers.jira.snapshot().account("alice").is_some());
    place.run(&["connector", "retry", "acme"]).await.ended(0).says("the Keycloak of acme answers");
    place.run(&["target", "retry", "jura"]).await.ended(2).complains("did you mean jira?");
    place.run(&["audit"]).await.ended(0).says("requested: contact jira at once").says("tester");
    stack.stop().await;
}

#[tokio::test]
async fn without_a_server_the_command_contacts_the_side_itself() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    let fault = servers.jira.faults.add(Fault::status(401, "").header("X-AUSERNAME", "anonymous"));
    servers.realm.create_user(NewUser::named("alice")).await.expect("made");
    for _ in 0..500 {
        if servers.jira.faults.hits(fault) > 0 && !stack.store.conditions().await.expect("readable").is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    stack.stop().await;
    place.run(&["status"]).await.ended(4).says("No server runs. Try it: usersync target retry jira");
    place.run(&["target", "retry", "jira"]).await.ended(4).complains("rejected the personal access token");
    servers.jira.faults.clear();
    let (code, document) = place.json(&["target", "retry", "jira"]).await;
    assert_eq!((code, &document["end"]["end"]), (0, &serde_json::json!("done")));
    let status = place.run(&["status"]).await;
    assert!(!status.out.contains("refuses usersync's credentials"), "{status}");
}

#[tokio::test]
async fn a_target_that_limits_calls_is_shown_with_the_time_when_it_goes_on() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    servers.jira.faults.add(Fault::too_many(40).once());
    servers.realm.create_user(NewUser::named("alice")).await.expect("made");
    let mut status = place.run(&["status"]).await;
    for _ in 0..100 {
        if status.out.contains("rate limited") {
            break;
        }
        status = place.run(&["status"]).await;
    }
    status.ended(0).says("jira: rate limited (429), continues in ");
    stack.stop().await;
}

#[tokio::test]
async fn a_signal_ends_the_waiting_for_the_servers_run_which_goes_on() {
    let (servers, place, stack) = running(Policy { first_run: FirstRun::Apply, ..Policy::default() }).await;
    stack.in_service().await.expect("in service");
    stack.quiet(jiff::SignedDuration::from_secs(1)).await.expect("quiet");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let slow = servers.jira.faults.add(Fault::delay(std::time::Duration::from_secs(2)).method("GET").once());
    let mut command = place.command(&["sync", "--json"]);
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("runs");
    for _ in 0..500 {
        if servers.jira.faults.hits(slow) > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let killed = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("signals");
    assert!(killed.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("joined").expect("ends");
    let ran = place.read(&["sync", "--json"], &output);
    ran.ended(143).complains("Stopped by SIGTERM: the run of acme → jira continues in the server: usersync runs");
    let document: serde_json::Value = serde_json::from_str(&ran.out).expect("one document");
    super::schemas::assert_valid(&["sync"], &document);
    for _ in 0..1_000 {
        if servers.jira.snapshot().account("alice").is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(servers.jira.snapshot().account("alice").is_some(), "the server has done it");
    stack.stop().await;
}

#[tokio::test]
async fn sync_has_the_server_plan_a_realm_again_that_had_no_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Some(folder.path().join("usersync.db"));
    let servers =
        SimulatedServers::prepare(StackOptions { policy: Policy::default(), store, ..StackOptions::default() });
    let servers = servers.await.expect("the simulators start");
    let place = Place::within(folder, &servers);
    let stack = servers.build().await.expect("the server starts");
    let mut status = place.run(&["status"]).await;
    for _ in 0..200 {
        if status.out.contains("no users in scope yet") {
            break;
        }
        status = place.run(&["status"]).await;
    }
    status
        .ended(0)
        .says("New: the realm has no users in scope yet; the first run is planned again with each scheduled run, ");
    servers.realm.create_user(NewUser::named("alice")).await.expect("made");
    servers.realm.webhook_idle().await;
    place.run(&["status"]).await.says("1 task waits: nothing is written before the first run is approved; plan it: ");
    place.run(&["sync"]).await.ended(3).complains("the server plans the first run again: usersync status");
    for _ in 0..200 {
        if place.run(&["approvals", "list"]).await.code == 3 {
            break;
        }
    }
    assert!(servers.jira.snapshot().account("alice").is_none(), "nothing is written before");
    place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    stack.in_service().await.expect("in service");
    assert!(servers.jira.snapshot().account("alice").is_some());
    stack.stop().await;
}

#[tokio::test]
async fn a_signal_ends_every_command_that_waits_for_the_server_with_a_code_of_its_own() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users([NewUser::named("alice")]).expect("imported");
    let place = Place::at(&servers);
    // A server that does nothing.
    let store = place.store().await;
    let (pair, now) = (Stack::pair(), jiff::Timestamp::now());
    store.set_pair_state(&pair, PairState::InService, now).await.expect("in service");
    for (args, signal, code, text) in [
        (["target", "retry", "jira", "--json"].as_slice(), "-INT", 130, "The request is kept; see: usersync status"),
        (&["sync", "alice", "--json"], "-TERM", 143, "Stopped by SIGTERM: nothing was changed. The running server"),
    ] {
        let mut command = place.command(args);
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = child.spawn().expect("runs");
        for _ in 0..1_000 {
            let ordered = !store.contact_orders().await.expect("readable").is_empty();
            let raised =
                !store.tasks(&TaskFilter { limit: 1, ..TaskFilter::default() }).await.expect("read").is_empty();
            if (args[0] == "target" && ordered) || raised {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // Now it waits, for longer than this.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        let output =
            tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("joined").expect("ends");
        let ran = place.read(args, &output);
        ran.ended(code).complains(text);
        let document: serde_json::Value = serde_json::from_str(&ran.out).expect("one document");
        super::schemas::assert_valid(args, &document);
    }
    store.close().await;
}
