//! What the commands report about users that are matched to existing accounts.

use usersync::demo::stack::{SimulatedServers, StackOptions};
use usersync_simulators::{jira::NewAccount, keycloak::NewUser};

use super::place::Place;

/// Starts a realm in sync, with this addition to the policy.
async fn with_policy(policy: &str) -> (SimulatedServers, Place) {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users((0..4).map(|number| NewUser::named(format!("staff{number}")))).expect("imported");
    let place = Place::at(&servers);
    let policy = format!("\n[connector.policy]\nfirst_run = \"apply\"\n{policy}\n");
    place.configure(|text| text.to_owned() + &policy);
    place.run(&["sync"]).await.ended(0);
    (servers, place)
}

#[tokio::test]
async fn an_account_that_is_found_by_its_address_is_shown_by_all_commands_and_waits_for_approval() {
    let (servers, place) = with_policy("[connector.policy.matching]\nby = [\"login\", \"email\"]").await;
    let ada = NewUser { email_verified: true, ..NewUser::named("ada") };
    servers.realm.import_users([ada]).expect("imported");
    let old = NewAccount { email: "Ada@example.org".to_owned(), ..NewAccount::named("old.ada") };
    servers.jira.add_account(old);
    let found = place.run(&["unmatched"]).await;
    found.ended(0).says("old.ada").says("ada (e-mail)").says("usersync link ");
    place.run(&["explain", "ada"]).await.ended(0).says("adopt the account old.ada, matched by e-mail address");
    let plan = place.run(&["plan", "--list"]).await;
    plan.ended(3).says("matched by e-mail address").says("the account has the user's e-mail address");
    place.run(&["sync"]).await.ended(3);
    let shown = place.run(&["approvals", "show", "1"]).await;
    shown
        .says("adopt the account old.ada (")
        .says("Ada@example.org), matched by e-mail address; then rename it to ada");
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    let jira = servers.jira.snapshot();
    assert!(jira.account("ada").is_some() && jira.account("old.ada").is_none());
    let explained = place.run(&["explain", "ada"]).await;
    explained.ended(0).says("existed before usersync and was adopted, matched by e-mail address");
}

#[tokio::test]
async fn explain_reports_two_users_with_one_login_as_the_work_on_them_does() {
    let (servers, place) = with_policy("[connector.policy.account]\nlogin = \"{{ username | strip_domain }}\"").await;
    servers.realm.import_users([NewUser::named("ada@corp.example")]).expect("imported");
    place.run(&["sync"]).await.ended(0);
    servers.realm.import_users([NewUser::named("ada@sub.example")]).expect("imported");
    let text =
        "ada@sub.example: the policy gives this user the login ada, which is also that of the user ada@corp.example.";
    place.run(&["explain", "ada@sub.example"]).await.ended(0).says(text);
    place.run(&["plan"]).await.says(text);
}

#[tokio::test]
async fn explain_reports_two_users_that_match_one_account_as_the_plan_does() {
    let (servers, place) =
        with_policy("[connector.policy.matching]\nby = [\"login\", { login = \"{{ attributes.old }}\" }]").await;
    let account = NewAccount::named("old.ada");
    let account = NewAccount { email: "ada@example.org".into(), display_name: "ada Example".into(), ..account };
    servers.jira.add_account(account);
    let ada = |login: &str| NewUser::named(login).attribute("old", "old.ada");
    servers.realm.import_users([ada("ada")]).expect("imported");
    place.run(&["explain", "ada"]).await.ended(0).says("adopt the account old.ada, matched by");
    servers.realm.import_users([ada("ada2")]).expect("imported");
    for (user, other) in [("ada", "ada2"), ("ada2", "ada")] {
        let text = format!("matches this user by another login, and also the user {other}");
        let explained = place.run(&["explain", user]).await;
        explained.ended(0).says(&format!("{user}: account old.ada (")).says(&text);
        place.run(&["plan"]).await.says(&text);
    }
}
