//! The first day without a server, against simulated Keycloak and Jira.

use std::time::Duration;

use serde_json::Value;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use usersync::{
    demo::stack::{SimulatedServers, Stack, StackOptions},
    model::{RunMode, RunOutcome, RunTrigger},
    store::EngineStore,
};
use usersync_simulators::{
    Fault,
    jira::NewAccount,
    keycloak::{NewUser, UserChange},
};

use super::{
    place::{Place, Ran},
    schemas::assert_valid,
};

pub async fn servers() -> (SimulatedServers, Place) {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_group("/engineering").expect("made");
    let staff = (0..60).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/engineering"]));
    servers.realm.import_users(staff).expect("imported");
    servers.jira.add_account(NewAccount::named("staff7"));
    let place = Place::at(&servers);
    (servers, place)
}

#[tokio::test]
async fn check_reports_each_thing_with_its_state_and_changes_nothing() {
    let (servers, place) = servers().await;
    let before = servers.jira.snapshot().accounts.len();
    let check = place.run(&["check"]).await;
    check
        .says("acme    http://127.0.0.1")
        .says("realm acme")
        .says("  ok    sign-in          client usersync")
        .says("  ok    schedule         0 0 * * * ?  next: ")
        .says("Europe/Berlin")
        .says("Jira Data Center")
        .says("  ok    rights")
        .says("  note  lock             free: no server runs")
        .says("capability                  jira")
        .says("change logins               yes")
        .says("Nothing was changed.");
    let (code, document) = place.json(&["check"]).await;
    assert_eq!(code, check.code);
    let parts: Vec<&str> =
        document["parts"].as_array().expect("parts").iter().filter_map(|p| p["part"].as_str()).collect();
    assert_eq!(parts, ["configuration", "store", "source", "target"]);
    assert_eq!(document["parts"][3]["capabilities"]["rename"], true);
    assert_eq!(servers.jira.snapshot().accounts.len(), before);
    assert!(!place.store_file().exists());

    servers.realm.set_client_roles("usersync", &["view-users"]);
    servers.keycloak.revoke_tokens();
    place
        .run(&["check", "--connector", "acme"])
        .await
        .ended(1)
        .says("  no    read events      role view-events is missing");
    let quiet = place.run(&["check", "--quiet"]).await;
    assert!(!quiet.ended(1).out.contains("  ok  "), "{quiet}");
    servers.jira.revoke_token(servers.jira.token());
    place.run(&["check", "--target", "jira"]).await.ended(4).says("  no    sign-in");
}

#[tokio::test]
async fn a_first_day_from_plan_to_in_sync() {
    let (servers, place) = servers().await;
    let plan = place.run(&["plan"]).await;
    plan.ended(0)
        .says("acme → jira    source: 60 users, 1 group (complete)")
        .says("in scope 60 of 60")
        .says("  create        59 users")
        .says("  adopt         1 account")
        .says("staff10 to engineering and 57 more")
        .says("  create group  1 group")
        .says("This would be the first run")
        .says("Show them: --list");
    assert!(!place.store_file().exists(), "a plan leaves nothing behind");
    let (_, document) = place.json(&["plan"]).await;
    assert_eq!(document["plans"][0]["report"]["planned"]["create"], 59);
    assert_eq!(document["plans"][0]["first_run"], true);

    place.run(&["sync"]).await.ended(3).says("the first run waits for approval").says("usersync approvals approve 1");
    assert_eq!(servers.jira.snapshot().accounts.len(), 2, "nothing was written");
    place
        .run(&["status"])
        .await
        .ended(3)
        .says("Waits for its first run's approval: 121 operations. usersync approvals approve 1");
    place.run(&["approvals", "approve", "1"]).await.ended(0).says("apply it: usersync sync");
    place.run(&["status"]).await.ended(0).says("Its first run is approved. Run it: usersync sync");
    place.run(&["sync"]).await.ended(0).says("  create        59 users").says("  add member    60 memberships");
    assert_eq!(servers.jira.snapshot().groups["engineering"].len(), 60);
    place.run(&["status"]).await.ended(0).says("In sync. Last change").says("60 accounts (60 active)");
    place.run(&["sync"]).await.ended(0).says("Nothing to do: all 60 users are in sync.");
    place.run(&["plan"]).await.ended(0).says("Nothing to do: all 60 users are in sync.");

    // One leaver, found by a full reconcile; one mover, brought in sync alone.
    let staff = |name: &str| servers.realm.snapshot().user(name).map(|user| user.id.clone()).expect("there");
    servers.realm.change_without_event(&staff("staff1"), &UserChange::enabled(false)).expect("disabled");
    let change = UserChange { first_name: Some("Second".into()), ..UserChange::default() };
    servers.realm.change_without_event(&staff("staff2"), &change).expect("changed");
    place
        .run(&["explain", "staff2"])
        .await
        .ended(0)
        .says("current: staff2 Example")
        .says("update staff2: display name");
    place.run(&["sync", "staff2@example.org"]).await.ended(0).says("update staff2: display name");
    assert!(servers.jira.snapshot().account("staff1").is_some_and(|account| account.active));
    place.run(&["plan"]).await.ended(0).says("deactivate").says("Within the safety limits (1 of 20 deactivations).");
    place.run(&["sync"]).await.ended(0).says("deactivate    1 user");
    place.run(&["changes", "--name", "staff1"]).await.ended(0).says("deactivate staff1").says("full reconcile ");
    place
        .run(&["explain", "staff1"])
        .await
        .ended(0)
        .says("inactive, deactivated by usersync")
        .says("nothing")
        .says("  still open    sessions: ended by usersync since Jira 9.11")
        .says("personal access tokens: whether they work for an inactive account is not documented");
    let stays = place.run(&["explain", "staff2"]).await;
    assert!(!stays.ended(0).out.contains("still open"), "{stays}");
}

#[tokio::test]
async fn status_counts_users_who_are_protected_without_a_full_reconcile() {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    place.run(&["status"]).await.ended(0).says("In sync. Last change");
    let kind = "kind = \"jira\"\n";
    place.configure(|text| text.replace(kind, &format!("{kind}protected_users = [\"staff3\"]\n")));
    let staff3 = servers.realm.snapshot().user("staff3").map(|user| user.id.clone()).expect("there");
    let change = UserChange { first_name: Some("Third".into()), ..UserChange::default() };
    servers.realm.change_without_event(&staff3, &change).expect("changed");
    place.run(&["sync", "staff3"]).await.ended(0);
    place
        .run(&["status"])
        .await
        .ended(0)
        .says("In sync, except for 1 user with a protected account. Last change")
        .says("1 user is not changed, because the account is protected: usersync plan --list");
    assert_eq!(place.json(&["status"]).await.1["pairs"][0]["protected"], 1);
    place.run(&["plan", "--list"]).await.ended(0).says("staff3: named in protected_users; never changed");
    place.run(&["explain", "staff3"]).await.ended(0).says("staff3: named in protected_users; never changed");

    place.configure(|text| text.replace("protected_users = [\"staff3\"]\n", ""));
    place.run(&["sync", "staff3"]).await.ended(0).says("display name");
    place.run(&["status"]).await.ended(0).says("In sync. Last change");
}

#[tokio::test]
async fn a_changed_policy_is_compared_with_the_current_one_and_nothing_is_written() {
    let (servers, place) = servers().await;
    servers.realm.import_users([NewUser::named("guest")]).expect("imported");
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    let text = std::fs::read_to_string(place.file("usersync.toml")).expect("read");
    let write = |name: &str, policy: &str| {
        std::fs::write(place.file(name), format!("{text}\n{policy}\n")).expect("written");
    };
    write("same.toml", "");
    place.run(&["plan", "--policy", "same.toml"]).await.ended(0).says("No difference: both policies plan the same");
    write("new.toml", "[connector.policy.scope]\nrequired_groups = [\"/engineering\"]");
    place
        .run(&["plan", "--policy", "new.toml", "--list"])
        .await
        .ended(0)
        .says("in scope 61 → 60")
        .says("only with the changed policy:")
        .says("deactivate guest");
    let (code, document) = place.json(&["plan", "--policy", "new.toml"]).await;
    let difference = &document["differences"][0];
    assert_eq!((code, difference["added"].as_array().map(Vec::len)), (0, Some(1)), "{document}");
    assert_eq!(difference["dropped"], serde_json::json!([]));
    assert_valid(&["plan"], &document);
    write(
        "grace.toml",
        "[connector.policy.scope]\nrequired_groups = [\"/engineering\"]\n[connector.policy.leavers]\ngrace = \"7d\"",
    );
    let grace = place.run(&["plan", "--policy", "grace.toml"]).await;
    grace
        .ended(0)
        .says("in scope 61 → 60")
        .says("new findings with the changed policy:")
        .says("guest: its account is deactivated on ");
    assert!(!grace.out.contains("No difference"), "{grace}");
    write("misspelled.toml", "[connector.policy.scope]\nrequired_groups = [\"/enginering\"]");
    let misspelled = place.run(&["plan", "--policy", "misspelled.toml"]).await;
    misspelled
        .ended(1)
        .says("in scope 61 → 0")
        .says("new findings with the changed policy:")
        .says("Keycloak lists no group /enginering");
    assert!(!misspelled.out.contains("No difference"), "{misspelled}");
    let (code, document) = place.json(&["plan", "--policy", "misspelled.toml"]).await;
    let difference = &document["differences"][0];
    assert_eq!((code, &difference["added"]), (1, &serde_json::json!([])), "{document}");
    let why = difference["findings"]["unconfirmed"][0].as_str().unwrap_or_default();
    assert!(why.contains("A similar group is /engineering."), "{document}");
    assert_valid(&["plan"], &document);
    place.run(&["plan"]).await.ended(0).says("Nothing to do");
    std::fs::write(place.file("none.toml"), "").expect("written");
    place.run(&["plan", "--policy", "none.toml"]).await.ended(2).complains("it has no connector acme");
}

#[tokio::test]
async fn rules_for_groups_of_a_target_are_compared_and_explained_as_they_apply_there() {
    let (servers, place) = servers().await;
    servers.realm.import_group("/hr").expect("made");
    servers.realm.import_users([NewUser::named("ann").in_groups(&["/hr", "/engineering"])]).expect("imported");
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    let text = std::fs::read_to_string(place.file("usersync.toml")).expect("read");
    let own = "[connector.policy.groups]\nprefix = \"kc-\"\n[connector.policy.targets.jira.groups]\n";
    let write = |name: &str, rules: &str| {
        std::fs::write(place.file(name), format!("{text}\n{own}{rules}\n")).expect("written");
    };
    // The target's own rules replace those of the connector, so nothing differs.
    write("same.toml", "");
    place.run(&["plan", "--policy", "same.toml"]).await.ended(0).says("No difference: both policies plan the same");
    write(
        "excluded.toml",
        "excluded = [\"/hr\"]\nconstant = [{ name = \"licensed\", condition = \"{{ username == 'ann' }}\" }]",
    );
    place
        .run(&["plan", "--policy", "excluded.toml", "--list"])
        .await
        .ended(0)
        .says("create group licensed")
        .says("add ann to licensed")
        .says("licensed (targets.jira.groups.constant)")
        .says("remove ann from hr")
        .says("/hr: left out by targets.jira.groups.excluded of the policy (/hr)");
    let (code, document) = place.json(&["plan", "--policy", "excluded.toml"]).await;
    let difference = &document["differences"][0];
    assert_eq!((code, difference["added"].as_array().map(Vec::len)), (0, Some(3)), "{document}");
    assert_eq!(
        (&difference["dropped"], &difference["findings"]["unconfirmed"]),
        (&Value::from([(); 0]), &Value::from([(); 0]))
    );
    assert_valid(&["plan"], &document);
    place.run(&["plan"]).await.ended(0).says("Nothing to do");

    // The explanation of a user, of the group and of the constant group names the target's own rules.
    let excluded = std::fs::read_to_string(place.file("excluded.toml")).expect("read");
    place.configure(|_| excluded);
    let explained = place.run(&["explain", "ann", "--target", "jira"]).await;
    explained
        .ended(0)
        .says("licensed")
        .says("← licensed (targets.jira.groups.constant)")
        .says("the group does not exist yet")
        .says("no longer synced: left out by targets.jira.groups.excluded of the policy (/hr)")
        .says("create or rename the group of group:constant:licensed first");
    assert!(!explained.out.contains("kc-"), "{explained}");
    let (_, document) = place.json(&["explain", "ann", "--target", "jira"]).await;
    assert_valid(&["explain"], &document);
    place
        .run(&["explain", "/hr", "--target", "jira"])
        .await
        .ended(0)
        .says("no: left out by targets.jira.groups.excluded of the policy (/hr)")
        .says("release it (left out by targets.jira.groups.excluded of the policy (/hr))");
    place.run(&["sync"]).await.ended(0);
    assert!(servers.jira.snapshot().groups["licensed"].contains("ann"));
    place
        .run(&["explain", "ann"])
        .await
        .ended(0)
        .says("← licensed (targets.jira.groups.constant) in sync")
        .says("not synced: left out by targets.jira.groups.excluded of the policy (/hr)");
}

#[tokio::test]
async fn an_empty_group_is_explained_as_the_policy_handles_it() {
    let (servers, place) = servers().await;
    servers.realm.import_group("/hr").expect("made");
    let text = std::fs::read_to_string(place.file("usersync.toml")).expect("read");
    place.configure(|_| format!("{text}\n[connector.policy.targets.jira.groups]\nempty = \"delete\"\n"));
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    let waits = "nothing: it is created once it has a member in scope (targets.jira.groups.empty)";
    place.run(&["explain", "/hr"]).await.ended(0).says("no group is managed yet").says(waits);
    let (hr, ann) = {
        let realm = servers.realm.snapshot();
        (realm.group("/hr").expect("it exists").id.clone(), realm.user("staff0").expect("it exists").id.clone())
    };
    servers.realm.join(&ann, &hr).await.expect("joined");
    place.run(&["explain", "/hr"]).await.ended(0).says("create the group hr");
    place.run(&["sync"]).await.ended(0);
    servers.realm.leave(&ann, &hr).await.expect("left");
    let deletes = "delete the target group by a full reconcile once it is empty there (targets.jira.groups.empty)";
    place.run(&["explain", "/hr"]).await.ended(0).says(deletes);
    let (_, document) = place.json(&["explain", "/hr"]).await;
    assert_eq!(document["groups"][0]["targets"][0]["to_do"], Value::from(vec![deletes]));
    assert_valid(&["explain"], &document);
    // Another group of its name is a conflict, whether the groups have members or not.
    place.configure(|_| format!("{text}\n[connector.policy.groups]\nempty = \"skip\"\n"));
    let above = servers.realm.snapshot().group("/engineering").expect("it exists").id.clone();
    for parent in [&above, &hr] {
        servers.realm.create_group(Some(parent), "night").await.expect("created");
    }
    let conflict =
        "nothing: two groups in Keycloak have the name night in the target: /engineering/night and /hr/night";
    place.run(&["explain", "/hr/night"]).await.ended(0).says(conflict);
}

#[tokio::test]
async fn a_user_whose_scope_is_undecided_is_shown_by_explain_and_counted_by_status() {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    place.configure(|text| format!("{text}\n[connector.policy.scope]\ncondition = \"{{{{ username }}}}\"\n"));
    let staff3 = servers.realm.snapshot().user("staff3").map(|user| user.id.clone()).expect("there");
    place.run(&["sync", "staff3"]).await;
    let why = "cannot apply the scope's condition: it renders \"staff3\", not true or false";
    place.run(&["status"]).await.ended(1).says("Out of sync: 1 user with an undecided scope.").says(&format!(
        "1 user is not changed, because its scope is undecided: {why}. Show one: usersync explain {staff3}"
    ));
    let (_, status) = place.json(&["status"]).await;
    assert_eq!(
        status["pairs"][0]["undecided"],
        serde_json::json!([{ "why": why, "users": 1, "example": format!("user:{staff3}") }])
    );
    assert_valid(&["status"], &status);
    place
        .run(&["explain", "staff3"])
        .await
        .ended(0)
        .says(&format!("in scope      undecided: {why}"))
        .says("to do         undecided whether it is in scope");
    let (_, explained) = place.json(&["explain", "staff3"]).await;
    assert_eq!(explained["people"][0]["scope"], "undecided");
    assert_eq!(explained["people"][0]["in_scope"], false);
    assert_valid(&["explain"], &explained);
}

#[tokio::test]
async fn explain_reports_both_sides_and_why() {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    let explained = place.run(&["explain", "staff3"]).await;
    explained
        .ended(0)
        .says("staff3   staff3 Example, staff3@example.org   id ")
        .says("enabled, local user, in /engineering")
        .says("in scope      yes: all users of the realm are")
        .says("account \"staff3\", linked, created by usersync, active")
        .says("← first and last name      in sync")
        .says("← /engineering             in sync")
        .says("to do         nothing")
        .says("add staff3 to engineering: done");
    place.run(&["explain", "staff7"]).await.ended(0).says("existed before usersync and was adopted");
    place.run(&["explain", "nobody"]).await.ended(2).complains("no user has this login, e-mail address or Keycloak id");
    place
        .run(&["explain", "service-account-usersync"])
        .await
        .ended(0)
        .says("in scope      no: it is the service account");
    servers.jira.faults.add(Fault::unavailable());
    place.run(&["explain", "staff3"]).await.ended(4).says("could not be read").says("staff3 Example");
}

#[tokio::test]
async fn operations_past_a_limit_wait_for_approval_and_the_rest_continues() {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    for number in 0..30 {
        let id = servers.realm.snapshot().user(&format!("staff{number}")).map(|user| user.id.clone()).expect("there");
        servers.realm.change_without_event(&id, &UserChange::enabled(false)).expect("disabled");
    }
    servers.realm.import_users([NewUser::named("newcomer")]).expect("imported");
    place.run(&["plan"]).await.ended(3).says("Above the safety limit, waiting for approval: 30 of 20 deactivations.");
    place
        .run(&["sync"])
        .await
        .ended(3)
        .says("  create        1 user")
        .says("safety limit reached: deactivations")
        .says("deactivate staff0")
        .says("30 operations wait for approval: usersync approvals list");
    place.run(&["approvals", "list"]).await.ended(3).says("safety limit reached: deactivations").says("30 operations");
    place.run(&["status"]).await.ended(3).says("Held: 30 operations");
    place.run(&["approvals", "approve", "2"]).await.ended(0).says("Approved: 30 operations of approval 2");
    place.run(&["sync"]).await.ended(0);
    let inactive = servers.jira.snapshot().accounts.values().filter(|account| !account.active).count();
    assert_eq!(inactive, 30);
}

/// Runs `sync` until Jira has some accounts, then stops it by this signal; returns the result.
#[cfg(unix)]
async fn stopped_by(signal: &str, servers: &SimulatedServers, place: &Place, args: &[&str]) -> Ran {
    servers.jira.faults.set_latency(Duration::from_millis(40));
    let had = servers.jira.snapshot().accounts.len();
    let child = place
        .command(args)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    for _ in 0..500 {
        if servers.jira.snapshot().accounts.len() > had + 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().expect("signals");
    assert!(killed.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("joined").expect("ends");
    servers.jira.faults.set_latency(Duration::ZERO);
    place.read(args, &output)
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_stops_sync_cleanly_reports_what_was_done_and_the_next_run_continues() {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    let ran = stopped_by("-INT", &servers, &place, &["sync"]).await;
    ran.ended(130)
        .complains("Stopping after the operation in progress")
        .complains("Stopped by SIGINT: ")
        .complains(" of 121 operations done. The next run does the rest: usersync sync");
    let reached = servers.jira.snapshot().accounts.len();
    assert!(reached > 4 && reached < 61, "{reached}");

    let ran = stopped_by("-TERM", &servers, &place, &["sync", "--json"]).await;
    ran.ended(143).complains("Stopped by SIGTERM: ");
    let document: serde_json::Value = serde_json::from_str(&ran.out).expect("one document");
    super::schemas::assert_valid(&["sync"], &document);
    assert!(document["stopped"].as_str().is_some_and(|text| text.contains("operations done")), "{document}");
    let further = servers.jira.snapshot().accounts.len();
    assert!(further > reached && further < 61, "{further}");

    place.run(&["sync"]).await.ended(0);
    assert_eq!(servers.jira.snapshot().groups["engineering"].len(), 60);
    place.run(&["status"]).await.ended(0).says("In sync.");
}

/// Returns whether the store's tables stay unchanged during the command; any commit of another process is detected.
async fn leaves_the_store_alone(place: &Place, args: &[&str]) {
    let mut conn = SqliteConnectOptions::new().filename(place.store_file()).connect().await.expect("opens");
    let version = "PRAGMA data_version";
    let before: i64 = sqlx::query_scalar(version).fetch_one(&mut conn).await.expect("read");
    let ran = place.run(args).await;
    assert!(matches!(ran.code, 0 | 1 | 3), "{ran}");
    ran.says("create");
    let after: i64 = sqlx::query_scalar(version).fetch_one(&mut conn).await.expect("read");
    assert_eq!(before, after, "{args:?} wrote to the store");
}

#[tokio::test]
async fn a_plan_leaves_the_store_as_it_was() {
    let (_servers, place) = servers().await;
    // Nothing is known about the pair.
    place.store().await.close().await;
    leaves_the_store_alone(&place, &["plan"]).await;
    // A run was tried that reached neither side, so nothing is pinned.
    let store = place.store().await;
    let now = jiff::Timestamp::now();
    let run = store.begin_run(&Stack::pair(), RunTrigger::First, RunMode::DryRun, now).await.expect("begins");
    let failed = RunOutcome::Failed { why: "a test".into(), class: None };
    store.end_run(run, failed, serde_json::Value::Null, now).await.expect("ends");
    store.close().await;
    leaves_the_store_alone(&place, &["plan"]).await;
    // A first run waits for approval, and is done.
    place.run(&["sync"]).await.ended(3);
    leaves_the_store_alone(&place, &["plan"]).await;
}

#[tokio::test]
async fn a_plan_lists_each_adoption_with_both_sides_and_each_cause() {
    let (servers, place) = servers().await;
    let listed = place.run(&["plan", "--list"]).await;
    listed
        .ended(0)
        .says("  create staff1    because: no account yet")
        .says("  add staff1 to engineering    because: member of /engineering in Keycloak")
        .says("  create group engineering    because: /engineering in Keycloak")
        .says("adopt staff7 (")
        .says("for user staff7 (staff7 Example, staff7@example.org)    because: the account has the user's login");
    assert_eq!(listed.out.lines().filter(|line| line.contains("    because: ")).count(), 121);
    let (_, document) = place.json(&["plan"]).await;
    let report = &document["plans"][0]["report"];
    let lines = report["lines"]["first"].as_array().expect("lines");
    assert_eq!((lines.len(), &report["lines"]["total"]), (121, &serde_json::json!(121)));
    let adopted = lines.iter().find(|line| line["operation"]["do"] == "adopt_user").expect("listed");
    assert_eq!(adopted["operation"]["user"]["email"], "staff7@example.org");
    assert_eq!(adopted["operation"]["account"]["login"], "staff7");
    assert!(servers.jira.snapshot().account("staff1").is_none());
}

#[tokio::test]
async fn a_target_that_becomes_unreachable_ends_with_4_and_what_was_done_is_shown() {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    servers.realm.import_users((0..40).map(|number| NewUser::named(format!("new{number}")))).expect("imported");
    let fault = Fault::unavailable().method("POST").path("/rest/api/2/user").after(5);
    let fault = servers.jira.faults.add(fault);
    let ran = place.run(&["sync"]).await;
    ran.ended(4).says("  create       ").says("done").says("failed").says("postponed").complains("503");
    let made = servers.jira.snapshot().accounts.values().filter(|account| account.name.starts_with("new")).count();
    assert!(made >= 5, "{made}");
    place.run(&["runs"]).await.ended(0).says("failed").says("create ");
    servers.jira.faults.remove(fault);
    servers.jira.faults.add(Fault::unavailable());
    for args in [&["sync"][..], &["plan"], &["sync", "staff1"], &["explain", "staff1"], &["check"]] {
        place.run(args).await.ended(4);
    }
    servers.jira.faults.clear();
    servers.keycloak.faults.add(Fault::unavailable());
    for args in [&["sync"][..], &["plan"], &["sync", "staff1"], &["explain", "staff1"], &["check"]] {
        place.run(args).await.ended(4);
    }
}

#[tokio::test]
async fn for_one_user_who_waits_or_is_unsupported_the_reason_is_reported() {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    servers.jira.add_account(usersync_simulators::jira::NewAccount::named("late"));
    let bare = NewUser { email: None, ..NewUser::named("bare") };
    servers.realm.import_users([NewUser::named("late"), bare]).expect("imported");
    place
        .run(&["sync", "late"])
        .await
        .ended(3)
        .complains("adopt the account late: waits for approval")
        .complains("usersync approvals approve 2 --item 1");
    let bare = place.run(&["sync", "bare"]).await;
    bare.says("unsupported: bare: ").says("e-mail");
    assert!(!bare.out.contains("in sync"), "{bare}");
    // At once, and until the user has an e-mail address.
    place.run(&["approvals", "approve", "2"]).await.ended(0);
    place.run(&["sync", "late"]).await.ended(0);
    let status = place.run(&["status"]).await;
    status.ended(1).says("Out of sync: 1 unsupported operation.").says("bare: ");
    place.run(&["sync"]).await;
    place.run(&["status"]).await.ended(1).says("Out of sync: 1 unsupported operation.");
    let id = servers.realm.snapshot().user("bare").map(|user| user.id.clone()).expect("there");
    servers.realm.change_without_event(&id, &UserChange::email("bare@example.org")).expect("changed");
    place.run(&["sync"]).await.ended(0);
    place.run(&["status"]).await.ended(0).says("In sync. Last change");
    // A user who is gone is forgotten by the next full reconcile.
    let bare = NewUser { email: None, ..NewUser::named("bare2") };
    servers.realm.import_users([bare]).expect("imported");
    place.run(&["sync", "bare2"]).await;
    place.run(&["status"]).await.ended(1).says("bare2: ");
    let id = servers.realm.snapshot().user("bare2").map(|user| user.id.clone()).expect("there");
    servers.realm.delete_user(&id).await.expect("deleted");
    place.run(&["sync"]).await.ended(0);
    place.run(&["status"]).await.ended(0).says("In sync. Last change");
    place.run(&["sync", "staff1"]).await.ended(0).says("staff1 is in sync; nothing to do.");
}
