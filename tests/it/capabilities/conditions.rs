//! A condition is reported for as long as it lasts.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use usersync::demo::clock::DrivenClock;
use usersync::{
    demo::{
        stack::{Stack, StackOptions},
        targets::OtherTarget,
    },
    engine::EngineTimes,
    model::{
        About, Account, AccountId, Cause, Condition, ConditionCode, FirstRun, Operation, Priority, Subject,
        TargetGroup, TargetGroupId, TargetName,
    },
    store::{EngineStore, OperatorStore, StoreReads},
    targets::{Applied, Memberships, Page, Target, TargetError, TargetInfo},
};
use usersync_simulators::{Fault, keycloak::UserChange};

use super::support::{options, policy, servers, world_with};

/// Waits until the store's conditions match.
async fn until(stack: &Stack, what: &str, is_so: impl Fn(&[Condition]) -> bool) -> Vec<Condition> {
    for _ in 0..1_000 {
        let conditions = stack.store.conditions().await.expect("readable");
        if is_so(&conditions) {
            return conditions;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {:#?}", stack.store.conditions().await);
}

fn has(conditions: &[Condition], about: &About, code: ConditionCode) -> bool {
    conditions.iter().any(|condition| condition.about == *about && condition.code == code)
}

#[tokio::test]
async fn a_token_that_is_revoked_while_nothing_happens_is_noticed() {
    let times = EngineTimes { contact: SignedDuration::from_millis(200), ..EngineTimes::hasty() };
    let w = world_with(StackOptions { times, ..options() }).await;
    let jira = About::target(&"jira".into());
    let token = w.jira().token().to_owned();
    w.jira().revoke_token(&token);
    let refused = |all: &[Condition]| has(all, &jira, ConditionCode::CredentialsRefused);
    until(&w.stack, "the token is refused", refused).await;
    assert!(w.stack.health.readiness().ready, "events are taken all the same");
    assert!(w.stack.metrics.encode().expect("text").contains("condition=\"credentials_refused\""));
    w.jira().set_credentials("admin", "admin", "another-token");
    w.servers.set_jira_token("another-token");
    until(&w.stack, "the new token is taken", <[Condition]>::is_empty).await;

    w.servers.set_client_secret("wrong");
    w.servers.keycloak.revoke_tokens();
    let acme = About::source(&"acme".into());
    let refused = |all: &[Condition]| has(all, &acme, ConditionCode::CredentialsRefused);
    until(&w.stack, "the client's secret is refused", refused).await;
    w.servers.set_client_secret(usersync::demo::stack::CLIENT_SECRET);
    until(&w.stack, "the right secret is taken", <[Condition]>::is_empty).await;
}

#[tokio::test]
async fn a_target_that_answers_every_call_with_503_and_retry_after_is_reported_until_it_answers() {
    let clock = DrivenClock::default();
    let w = world_with(StackOptions { clock: Arc::new(clock.clone()), ..options() }).await;
    let jira = About::target(&"jira".into());
    w.jira().faults.add(Fault::unavailable().header("retry-after", "300"));
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.expect("changed");
    let unavailable = |all: &[Condition]| has(all, &jira, ConditionCode::Unavailable);
    let found = until(&w.stack, "it is unavailable", unavailable).await;
    let condition = found.iter().find(|one| one.code == ConditionCode::Unavailable).expect("there");
    let again = condition.again_at.expect("told").to_string();
    let until_then = format!("asks usersync to wait until {}", again.split('.').next().expect("a part"));
    assert!(condition.text.contains(&until_then), "{condition:?}");
    assert_eq!(condition.summary(), "jira is unavailable (503)");

    w.jira().faults.clear();
    for _ in 0..400 {
        clock.advance(SignedDuration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    until(&w.stack, "it answers", <[Condition]>::is_empty).await;
    w.settled().await;
    w.agrees();
}

#[tokio::test]
async fn a_first_plan_that_fails_is_reported_until_it_succeeds() {
    let servers = servers(policy(|policy| policy.first_run = FirstRun::Hold)).await;
    servers.jira.faults.add(Fault::unavailable());
    let stack = servers.build().await.expect("the stack stands");
    let (pair, jira) = (About::Pair(Stack::pair()), About::target(&"jira".into()));
    let failed =
        |all: &[Condition]| has(all, &pair, ConditionCode::RunFailed) && has(all, &jira, ConditionCode::Unreachable);
    let conditions = until(&stack, "the plan failed", failed).await;
    assert!(conditions.iter().all(|condition| condition.text.contains("503")), "{conditions:#?}");
    servers.jira.faults.clear();
    until(&stack, "the plan is made", <[Condition]>::is_empty).await;
    for _ in 0..500 {
        if !stack.store.approvals(true).await.expect("readable").is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no approval is asked for");
}

/// A target whose client is broken.
struct Broken;

#[async_trait]
impl Target for Broken {
    fn kind(&self) -> &'static str {
        "broken"
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        panic!("the client is broken")
    }

    async fn account(&self, _: &AccountId) -> Result<Option<Account>, TargetError> {
        unreachable!()
    }

    async fn account_named(&self, _: &str) -> Result<Option<Account>, TargetError> {
        unreachable!()
    }

    async fn accounts(&self, _: Option<&str>) -> Result<Page<Account>, TargetError> {
        unreachable!()
    }

    async fn group_named(&self, _: &str) -> Result<Option<TargetGroup>, TargetError> {
        unreachable!()
    }

    async fn members(&self, _: &TargetGroupId, _: Option<&str>) -> Result<Option<Page<AccountId>>, TargetError> {
        unreachable!()
    }

    async fn memberships(&self, _: &BTreeSet<TargetGroupId>) -> Result<Option<Memberships>, TargetError> {
        unreachable!()
    }

    async fn apply(&self, _: &Operation, _: Timestamp) -> Result<Applied, TargetError> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_part_of_the_service_that_panics_is_reported() {
    let times = EngineTimes { contact: SignedDuration::from_millis(50), ..EngineTimes::hasty() };
    let broken = OtherTarget { name: TargetName::from("broken"), target: Arc::new(Broken) };
    let stack = servers(StackOptions { times, other_targets: vec![broken], ..options() }).await;
    let stack = stack.build().await.expect("the stack stands");
    let why = tokio::time::timeout(Duration::from_secs(20), stack.died()).await.expect("it is noticed");
    assert!(why.contains("the contact check of target broken panicked"), "{why}");
}

#[tokio::test]
async fn a_due_task_without_a_worker_is_reported_until_it_is_worked() {
    let times = EngineTimes { overdue: SignedDuration::from_millis(300), ..EngineTimes::hasty() };
    let w = world_with(StackOptions { times, ..options() }).await;
    let (store, pair) = (&w.stack.store, Stack::pair());
    let about = About::Pair(pair.clone());
    // No worker claims while the connector is paused, so the claim stays without an owner, as after a defect.
    store.set_paused(&pair.connector, true, "ann", Timestamp::now()).await.expect("paused");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let subject = Subject::user(w.id("staff1").as_str());
    let cause = Cause::Other { what: "a test".to_owned() };
    store.raise(&pair, &[subject], Priority::Event, &cause, Timestamp::now()).await.expect("raised");
    let claim = store.claim(&pair.target, std::slice::from_ref(&pair.connector), Timestamp::now()).await;
    let claim = claim.expect("the store answers").expect("the task is due");
    store.set_paused(&pair.connector, false, "ann", Timestamp::now()).await.expect("resumed");
    let overdue = |all: &[Condition]| has(all, &about, ConditionCode::TasksOverdue);
    let found = until(&w.stack, "a task is overdue", overdue).await;
    assert!(found[0].text.contains("no worker processes"), "{found:?}");

    store.abandon(claim.token, Timestamp::now());
    until(&w.stack, "the task is worked", <[Condition]>::is_empty).await;
    w.settled().await;
}
