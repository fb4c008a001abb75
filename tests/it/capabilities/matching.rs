//! Users without a link, matched by an ordered list of keys: by events and by full reconciles with the same result.

use usersync::{
    demo::stack::{Stack, StackOptions},
    model::{AdoptRule, ApprovalKind, MatchedBy, RunMode, TargetMatching, TargetPolicy},
    store::StoreReads,
};
use usersync_simulators::{
    jira::NewAccount,
    keycloak::{NewUser, UserChange},
};

use super::support::{World, policy, world_with};

const BY_EMAIL: &str = r#"{"by": ["login", "email"]}"#;

/// A user of the realm, with its login as display name.
struct User {
    login: &'static str,
    email: Option<&'static str>,
    verified: bool,
    old: Option<&'static str>,
}

const ADA: User = User { login: "ada", email: Some("ada@example.org"), verified: true, old: None };

impl User {
    fn in_keycloak(&self) -> NewUser {
        let user = NewUser {
            email: self.email.map(str::to_owned),
            email_verified: self.verified,
            first_name: Some("Ada".to_owned()),
            last_name: Some("Lovelace".to_owned()),
            ..NewUser::named(self.login)
        };
        match self.old {
            Some(old) => user.attribute("old", old),
            None => user,
        }
    }
}

/// An account of the Jira with the name of the user.
fn account(login: &str, email: &str) -> NewAccount {
    NewAccount { display_name: "Ada Lovelace".to_owned(), email: email.to_owned(), ..NewAccount::named(login) }
}

fn matching(json: &str) -> StackOptions {
    policy(|policy| {
        policy.adopt = AdoptRule::Always;
        policy.matching = serde_json::from_str(json).expect("rules");
    })
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Key, login and state of each account beside those of the staff.
    accounts: Vec<String>,
    /// The conflicts.
    conflicts: Vec<String>,
    /// What waits for an operator.
    waits: Vec<String>,
}

impl Outcome {
    async fn of(w: &World, conflicts: Vec<String>) -> Self {
        let jira = w.jira().snapshot();
        let others = jira.accounts.values().filter(|one| !["admin", "jsync"].contains(&one.name.as_str()));
        let others = others.filter(|one| !one.name.starts_with("staff"));
        let state = |active: bool| if active { "active" } else { "inactive" };
        let mut accounts: Vec<String> =
            others.map(|one| format!("{} {} {}", one.key, one.name, state(one.active))).collect();
        accounts.sort();
        let mut conflicts = conflicts;
        conflicts.sort();
        conflicts.dedup();
        Self { accounts, conflicts, waits: w.waiting(ApprovalKind::Adoption).await }
    }
}

/// The outcome of events: each user is created in turn.
async fn by_events(options: StackOptions, accounts: &[NewAccount], users: &[User]) -> Outcome {
    let w = world_with(options).await;
    w.jira().add_accounts(accounts.iter().cloned());
    for user in users {
        w.realm().create_user(user.in_keycloak()).await.expect("created");
        w.calm().await;
    }
    let texts = w.tasks().await.into_iter().filter_map(|task| task.error).map(|(_, text)| text).collect();
    Outcome::of(&w, texts).await
}

/// The outcome of a full reconcile, whose plan is compared with what it did.
async fn by_run(options: StackOptions, accounts: &[NewAccount], users: &[User]) -> Outcome {
    let w = world_with(options).await;
    w.jira().add_accounts(accounts.iter().cloned());
    w.realm().import_users(users.iter().map(User::in_keycloak)).expect("imported");
    let before = w.writes().len();
    let plan = w.dry_run().await;
    assert_eq!(w.writes().len(), before, "a plan writes nothing");
    let report = w.run().await;
    assert_eq!(plan.planned, report.planned, "{plan:#?}{report:#?}");
    assert_eq!(plan.conflicts, report.conflicts);
    let outcome = Outcome::of(&w, report.conflicts.to_vec()).await;
    // Nothing more happens.
    let again = w.dry_run().await;
    assert_eq!(again.planned.values().sum::<u64>(), outcome.waits.len() as u64, "{again:#?}");
    outcome
}

/// Expects this outcome, whose conflicts begin with these texts, of events and of a full reconcile.
async fn expect(
    rules: &str,
    accounts: &[NewAccount],
    users: &[User],
    logins: &[&str],
    conflicts: &[&str],
    waits: &[&str],
) {
    for (how, outcome) in [
        ("events", Box::pin(by_events(matching(rules), accounts, users)).await),
        ("run", Box::pin(by_run(matching(rules), accounts, users)).await),
    ] {
        let mut there: Vec<&str> =
            outcome.accounts.iter().filter_map(|one| one.split_once(' ').map(|(_, rest)| rest)).collect();
        there.sort_unstable();
        assert_eq!(there, logins, "{how}: {outcome:#?}");
        assert_eq!(outcome.conflicts.len(), conflicts.len(), "{how}: {outcome:#?}");
        for conflict in conflicts {
            assert!(outcome.conflicts.iter().any(|text| text.contains(conflict)), "{how}: {conflict}: {outcome:#?}");
        }
        assert_eq!(outcome.waits, waits, "{how}");
    }
}

#[tokio::test]
async fn the_account_with_the_address_is_adopted_and_renamed() {
    let rules = BY_EMAIL;
    for (accounts, logins) in [
        (vec![account("old.ada", "Ada@Example.org")], vec!["ada active"]),
        // The first key that finds an account decides.
        (
            vec![account("ada", "x@example.org"), account("old.ada", "ada@example.org")],
            vec!["ada active", "old.ada active"],
        ),
        (vec![account("other", "ada@example.org.example")], vec!["ada active", "other active"]),
    ] {
        Box::pin(expect(rules, &accounts, &[ADA], &logins, &[], &[])).await;
    }
}

#[tokio::test]
async fn a_template_leads_to_the_account_with_a_former_login() {
    let rules = r#"{"by": ["login", {"login": "{{ attributes.old }}"}]}"#;
    let old = User { old: Some("A.LOVELACE"), ..ADA };
    Box::pin(expect(rules, &[account("a.lovelace", "x@example.org")], &[old], &["ada active"], &[], &[])).await;
    // A user without the attribute gets a new account.
    let accounts = [account("a.lovelace", "x@example.org")];
    Box::pin(expect(rules, &accounts, &[ADA], &["a.lovelace active", "ada active"], &[], &[])).await;
}

#[tokio::test]
async fn an_address_that_is_not_verified_leads_to_no_account() {
    let accounts = [account("old.ada", "ada@example.org")];
    let conflict = "ada: account old.ada (JIRAUSER";
    let lax = r#"{"by": ["email"], "unverified_email": true}"#;
    Box::pin(expect(lax, &accounts, &[User { verified: false, ..ADA }], &["ada active"], &[], &[])).await;
    let users = [User { verified: false, ..ADA }];
    Box::pin(expect(BY_EMAIL, &accounts, &users, &["old.ada active"], &[conflict], &[])).await;
}

#[tokio::test]
async fn ambiguous_accounts_are_a_conflict_with_all_candidates() {
    let accounts = [account("one", "ada@example.org"), account("two", "ADA@example.org")];
    let logins = ["one active", "two active"];
    Box::pin(expect(
        BY_EMAIL,
        &accounts,
        &[ADA],
        &logins,
        &["ada: 2 accounts have the e-mail address of this user: "],
        &[],
    ))
    .await;
    // Another account has the login.
    let accounts = [account("ada", "x@example.org"), account("two", "ada@example.org")];
    let rules = r#"{"by": ["email", "login"]}"#;
    let logins = ["ada active", "two active"];
    Box::pin(expect(
        rules,
        &accounts,
        &[ADA],
        &logins,
        &["has the e-mail address of this user, but account ada ("],
        &[],
    ))
    .await;
    let rules = r#"{"by": ["email"]}"#;
    let accounts = [account("ada", "x@example.org")];
    let conflict = "has the login of this user, but the policy does not match users by login";
    Box::pin(expect(rules, &accounts, &[ADA], &["ada active"], &[conflict], &[])).await;
}

#[tokio::test]
async fn inactive_and_protected_accounts_are_treated_as_those_found_by_login() {
    let inactive = [account("old.ada", "ada@example.org").inactive()];
    let waits =
        ["adopt the account old.ada (Ada Lovelace, ada@example.org), matched by e-mail address, which is inactive; \
                  then rename it to ada"];
    Box::pin(expect(BY_EMAIL, &inactive, &[ADA], &["old.ada inactive"], &[], &waits)).await;
    let protected = [account("old.ada", "ada@example.org").in_groups(&["jira-administrators"])];
    Box::pin(expect(BY_EMAIL, &protected, &[ADA], &["old.ada active"], &[], &[])).await;
}

/// Options whose policy gives users an address from their attribute `old`, so that two can have the same.
fn with_shared_addresses() -> StackOptions {
    let mut options = matching(r#"{"by": ["login", "email"], "unverified_email": true}"#);
    let templates = r#"{"email": "{{ attributes.old | default(username, true) }}@example.org"}"#;
    options.policy.account = serde_json::from_str(templates).expect("templates");
    options
}

fn twins() -> [User; 2] {
    let bob = User { login: "bob", email: Some("bob@example.org"), ..ADA };
    [ADA, bob].map(|user| User { old: Some("shared"), ..user })
}

#[tokio::test]
async fn two_users_that_match_one_account_are_a_conflict() {
    let accounts = [account("old", "shared@example.org")];
    let run = Box::pin(by_run(with_shared_addresses(), &accounts, &twins())).await;
    assert_eq!(run.accounts.len(), 1, "{run:#?}");
    for (one, other) in [("ada", "bob"), ("bob", "ada")] {
        let text = format!("matches this user by e-mail address, and also the user {other}. Link it to one of them");
        let is_it = |found: &&String| found.starts_with(&format!("{one}: account old (")) && found.contains(&text);
        assert!(run.conflicts.iter().any(|found| is_it(&found)), "{run:#?}");
    }
    // By events the first one gets the account, and the second one is a conflict.
    let events = Box::pin(by_events(with_shared_addresses(), &accounts, &twins())).await;
    assert_eq!(events.accounts.len(), 1, "{events:#?}");
    assert!(events.accounts[0].ends_with(" ada active"), "{events:#?}");
    let [conflict] = &events.conflicts[..] else { panic!("{events:#?}") };
    assert!(conflict.starts_with("bob: ") && conflict.contains("linked to user "), "{conflict}");
}

#[tokio::test]
async fn users_with_one_address_whose_accounts_usersync_creates_get_one_each() {
    for how in ["events", "run"] {
        let outcome = match how {
            "events" => Box::pin(by_events(with_shared_addresses(), &[], &twins())).await,
            _ => Box::pin(by_run(with_shared_addresses(), &[], &twins())).await,
        };
        assert_eq!((outcome.accounts.len(), outcome.conflicts.len()), (2, 0), "{how}: {outcome:#?}");
    }
}

#[tokio::test]
async fn an_account_keeps_its_login_if_the_policy_writes_logins_to_new_accounts_only() {
    let mut options = matching(BY_EMAIL);
    options.policy.account =
        serde_json::from_str(r#"{"login": {"template": "{{ username }}", "when": "create"}}"#).expect("templates");
    let w = world_with(options).await;
    w.jira().add_account(account("old.ada", "ada@example.org"));
    w.realm().create_user(ADA.in_keycloak()).await.expect("created");
    w.settled().await;
    assert!(w.has_account("old.ada") && !w.has_account("ada"));
    // Its other values follow Keycloak.
    let change = UserChange { first_name: Some("Countess".to_owned()), ..UserChange::default() };
    w.realm().update_user(&w.id("ada"), change).await.expect("changed");
    w.settled().await;
    assert_eq!(w.account("old.ada").display_name, "Countess Lovelace");
}

#[tokio::test]
async fn a_target_has_its_own_keys_and_the_login_alone_searches_nothing() {
    let mut options = matching(BY_EMAIL);
    let by_login: TargetMatching = serde_json::from_str(r#"{"by": ["login"]}"#).expect("rules");
    options.policy.targets.insert("jira".into(), TargetPolicy { matching: by_login, ..TargetPolicy::default() });
    let w = world_with(options).await;
    w.jira().add_account(account("old.ada", "ada@example.org"));
    w.realm().create_user(ADA.in_keycloak()).await.expect("created");
    w.settled().await;
    assert!(w.has_account("old.ada") && w.has_account("ada"));
    let searches = w.jira().journal.matching(|entry| entry.target().contains("example.org"));
    assert!(searches.iter().all(usersync_simulators::journal::Entry::is_write), "no further call: {searches:?}");
}

#[tokio::test]
async fn a_plan_and_the_store_tell_how_an_account_was_matched() {
    let w = world_with(matching(BY_EMAIL)).await;
    w.jira().add_account(account("old.ada", "ada@example.org"));
    w.realm().import_users([ADA.in_keycloak()]).expect("imported");
    let plan = w.dry_run().await;
    let lines: Vec<String> = plan.lines.iter().map(|line| line.operation.to_string()).collect();
    let adopt = "adopt old.ada (Ada Lovelace, ada@example.org) for user ada (Ada Lovelace, ada@example.org), matched by e-mail \
                 address";
    assert_eq!(lines, [adopt, "rename old.ada → ada"], "{plan:#?}");
    assert_eq!(plan.lines[0].cause.as_deref(), Some("the account has the user's e-mail address"));
    let json = serde_json::to_value(&plan.lines[0].operation).expect("written");
    assert_eq!(json["matched_by"], serde_json::to_value(MatchedBy::Email).expect("written"));
    w.run().await;
    let runs = w.stack.store.runs(Some(&Stack::pair()), 1).await.expect("readable");
    assert_eq!(runs[0].mode, RunMode::Apply);
    assert!(runs[0].report.to_string().contains("\"matched_by\":\"email\""), "{}", runs[0].report);
}

#[tokio::test]
async fn a_run_searches_again_before_it_adopts_or_creates() {
    for accounts in [vec![account("old.ada", "ada@example.org")], Vec::new()] {
        let w = world_with(matching(BY_EMAIL)).await;
        w.jira().add_accounts(accounts.iter().cloned());
        w.realm().import_users([ADA.in_keycloak()]).expect("imported");
        w.run().await;
        assert!(w.has_account("ada") && !w.has_account("old.ada"));
        let is_search =
            |target: &str| target.contains("/user/search?") && target.contains("ada") && target.contains("example.org");
        let searches = w.jira().journal.matching(|entry| is_search(&entry.target()));
        assert!(!searches.is_empty(), "{accounts:?}");
    }
}

#[tokio::test]
async fn an_account_with_the_address_and_another_name_waits_for_approval() {
    let accounts = [NewAccount { display_name: "Mallory".to_owned(), ..account("mallory", "ada@example.org") }];
    let waits =
        ["adopt the account mallory (Mallory, ada@example.org), matched by e-mail address; then rename it to ada"];
    Box::pin(expect(BY_EMAIL, &accounts, &[ADA], &["mallory active"], &[], &waits)).await;
}

#[tokio::test]
async fn an_account_with_the_login_of_another_user_is_not_taken_by_its_address() {
    let bob = User { login: "bob", email: None, ..ADA };
    for how in ["event", "run"] {
        let w = world_with(matching(BY_EMAIL)).await;
        w.jira().add_account(account("bob", "ada@example.org"));
        w.realm().import_users([bob.in_keycloak()]).expect("imported");
        let conflicts = if how == "event" {
            w.realm().create_user(ADA.in_keycloak()).await.expect("created");
            w.calm().await;
            w.tasks().await.into_iter().filter_map(|task| task.error).map(|(_, text)| text).collect()
        } else {
            w.realm().import_users([ADA.in_keycloak()]).expect("imported");
            w.run().await.conflicts.to_vec()
        };
        assert!(w.has_account("bob") && !w.has_account("ada"), "{how}: {conflicts:?}");
        let text = "matches this user by e-mail address, and also the user bob";
        assert!(
            conflicts.iter().any(|found| found.starts_with("ada: account bob (") && found.contains(text)),
            "{conflicts:?}"
        );
    }
}
