//! Templates of the login, the display name and the e-mail address.

use serde_json::json;
use usersync::{
    demo::stack::{Stack, StackOptions},
    model::{AccountTemplates, ApprovalKind, FirstRun, Policy, RunOutcome},
    store::{Decision, OperatorStore, StoreReads},
};
use usersync_simulators::keycloak::{NewUser, UserChange};

use super::support::{STAFF, World, on, policy, servers, world_with};

fn templates(json: &str) -> AccountTemplates {
    serde_json::from_str(json).expect("templates")
}

async fn with_templates(json: &str) -> World {
    world_with(policy(|policy| policy.account = templates(json))).await
}

fn renamed_to(username: &str) -> UserChange {
    UserChange { username: Some(username.to_owned()), ..UserChange::default() }
}

#[tokio::test]
async fn accounts_get_the_values_of_the_templates_by_event_and_by_run() {
    let w = with_templates(
        r#"{"login": "{{ username | strip_domain }}", "display_name": "{{ last_name }}, {{ first_name }}",
            "email": "{{ attributes.mail | default(email, true) }}"}"#,
    )
    .await;
    let ada =
        NewUser { first_name: Some("Ada".into()), last_name: Some("Ng".into()), ..NewUser::named("ada@corp.example") };
    let ada = w.realm().create_user(ada.attribute("mail", "ada@example.org")).await.expect("created");
    w.settled().await;
    let account = w.account("ada");
    assert_eq!((account.display_name.as_str(), account.email.as_str()), ("Ng, Ada", "ada@example.org"));
    w.realm().set_attribute(&ada, "mail", &["ng@example.org"]).await.expect("changed");
    w.settled().await;
    assert_eq!(w.account("ada").email, "ng@example.org");
    w.realm().update_user(&ada, renamed_to("countess@corp.example")).await.expect("renamed");
    w.settled().await;
    assert!(w.has_account("countess") && !w.has_account("ada"));
    // A run finds nothing to do.
    let report = w.run().await;
    assert!(!report.has_problems() && report.planned.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_login_that_is_written_on_create_only_stays_when_the_user_is_renamed() {
    let w = with_templates(r#"{"login": {"template": "{{ username }}", "when": "create"}}"#).await;
    w.realm().update_user(&w.id("staff1"), renamed_to("other1")).await.expect("renamed");
    w.settled().await;
    assert!(w.has_account("staff1") && !w.has_account("other1"));
    assert!(w.run().await.planned.is_empty());
}

#[tokio::test]
async fn two_users_with_one_rendered_login_are_a_conflict_before_anything_is_written() {
    let options = policy(|policy| policy.account = templates(r#"{"login": "{{ username | strip_domain }}"}"#));
    let servers = servers(options).await;
    let twins = ["ada@corp.example", "ada@sub.example"].map(NewUser::named);
    servers.realm.import_users(twins).expect("imported");
    let w = on(servers).await;
    let report = w.run().await;
    assert!(!w.has_account("ada"), "neither has an account");
    for (one, other) in [("ada@corp.example", "ada@sub.example"), ("ada@sub.example", "ada@corp.example")] {
        let text = format!("{one}: the policy gives this user the login ada, which is also that of the user {other}.");
        assert!(report.conflicts.iter().any(|conflict| conflict.starts_with(&text)), "{report:?}");
    }
    // Once one of them has another login, both get accounts.
    w.realm().update_user(&w.id("ada@sub.example"), renamed_to("ann@sub.example")).await.expect("renamed");
    w.calm().await;
    w.run().await;
    assert!(w.has_account("ann"));
    assert!(w.has_account("ada"));
}

#[tokio::test]
async fn a_second_user_with_a_taken_rendered_login_is_a_conflict_and_the_first_keeps_its_account() {
    let w = with_templates(r#"{"login": "{{ username | strip_domain }}"}"#).await;
    let first = w.realm().create_user(NewUser::named("ada@corp.example")).await.expect("created");
    w.settled().await;
    w.realm().create_user(NewUser::named("ada@sub.example")).await.expect("created");
    w.calm().await;
    let texts: Vec<String> = w.tasks().await.into_iter().filter_map(|task| task.error).map(|(_, text)| text).collect();
    let text =
        "ada@sub.example: the policy gives this user the login ada, which is also that of the user ada@corp.example.";
    assert!(texts.iter().any(|found| found.starts_with(text)), "{texts:?}");
    // A linked account whose user is renamed keeps its login for the same reason.
    w.realm().update_user(&w.id("staff1"), renamed_to("ada@third.example")).await.expect("renamed");
    w.calm().await;
    assert!(w.has_account("staff1") && w.account("ada").active);
    let change = UserChange { enabled: Some(false), ..UserChange::default() };
    w.realm().update_user(&first, change).await.expect("disabled");
    w.calm().await;
    assert!(!w.account("ada").active, "its own changes go on");
}

#[tokio::test]
async fn a_template_that_fails_for_one_user_is_an_error_of_that_user_only() {
    let w =
        with_templates(r#"{"login": "{{ attributes.uid | default(username if username[:5] == 'staff' else '') }}"}"#)
            .await;
    w.realm().create_user(NewUser::named("ada")).await.expect("created");
    let bob = w.realm().create_user(NewUser::named("bob").attribute("uid", "b4711")).await.expect("created");
    w.calm().await;
    assert!(w.has_account("b4711") && !w.has_account("ada"));
    let report = w.run().await;
    let why = "ada: cannot render the login (it is empty for this user). Correct the template in the policy, or the user in \
               Keycloak";
    assert!(report.unsupported.iter().any(|text| text == why), "{report:?}");
    // An existing account keeps its login, and everything else is done.
    w.realm().set_attribute(&bob, "uid", &[]).await.expect("changed");
    let change = UserChange { first_name: Some("Bobby".to_owned()), ..UserChange::default() };
    w.realm().update_user(&bob, change).await.expect("changed");
    w.calm().await;
    assert!(w.account("b4711").display_name.contains("Bobby"));
}

#[tokio::test]
async fn a_changed_login_template_waits_for_approval_beyond_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StackOptions { store: Some(folder.path().join("usersync.db")), ..policy(|_| {}) };
    let World { mut servers, stack } = world_with(options).await;
    stack.stop().await;
    let account = templates(r#"{"login": "x-{{ username }}"}"#);
    servers.set_policy(Policy { first_run: FirstRun::Apply, account, ..Policy::default() });
    let w = on(servers).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((&run.outcome, &run.report["held"]), (&RunOutcome::Held, &json!(STAFF)), "{run:?}");
    assert!((0..STAFF).all(|number| w.has_account(&format!("staff{number}"))));
}

#[tokio::test]
async fn an_approved_first_run_is_planned_again_if_the_policy_was_changed_since() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = StackOptions { store: Some(folder.path().join("usersync.db")), ..policy(|_| {}) };
    options.policy.first_run = FirstRun::Hold;
    options.policy.scope.logins = vec!["staff1".to_owned().try_into().expect("a pattern")];
    let mut servers = servers(options).await;
    let stack = servers.build().await.expect("the stack stands");
    let set = first_approval(&stack, None).await;
    stack.stop().await;
    servers.set_policy(Policy::default());
    let stack = servers.build().await.expect("the stack stands");
    approve(&stack, set).await;
    let again = first_approval(&stack, Some(set)).await;
    assert!(servers.jira.snapshot().account("staff1").is_none(), "nothing was created");
    approve(&stack, again).await;
    stack.in_service().await.expect("the first run ends");
    assert!((0..STAFF).all(|number| servers.jira.snapshot().account(&format!("staff{number}")).is_some()));
}

/// Waits for the open approval of the first run, another one than this.
async fn first_approval(stack: &Stack, not: Option<i64>) -> i64 {
    for _ in 0..500 {
        let open = stack.store.approvals(true).await.expect("readable");
        let first = open.into_iter().find(|one| one.kind == ApprovalKind::FirstRun && Some(one.id) != not);
        if let Some(first) = first {
            return first.id;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no first run waits for approval");
}

async fn approve(stack: &Stack, set: i64) {
    let decision = Decision { set, items: Vec::new(), approve: true, by: "ann".to_owned(), note: None };
    stack.store.decide(&decision, jiff::Timestamp::now()).await.expect("decided");
}
