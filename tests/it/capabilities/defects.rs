//! A defect of usersync ends one piece of work and is reported; all other work goes on.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use usersync::{
    demo::{
        stack::StackOptions,
        targets::{OtherTarget, Product, SimulatedTarget},
    },
    engine::RunOptions,
    model::{Account, AccountId, ErrorClass, Operation, Pair, RunOutcome, RunTrigger, TargetGroup, TargetGroupId},
    store::{StoreReads, TaskFilter},
    targets::{Applied, Page, Target, TargetError, TargetErrorKind, TargetInfo},
};
use usersync_simulators::keycloak::NewUser;

use super::support::{World, options, world_with};

/// Panics for one login, and on request when it lists accounts.
struct Fragile {
    inner: Arc<dyn Target>,
    breaks_listing: std::sync::atomic::AtomicBool,
    /// Number of calls for a name that it reports as taken but never finds.
    taken: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl Target for Fragile {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        self.inner.probe().await
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, TargetError> {
        self.inner.account(id).await
    }

    async fn account_named(&self, name: &str) -> Result<Option<Account>, TargetError> {
        self.inner.account_named(name).await
    }

    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        assert!(!self.breaks_listing.load(std::sync::atomic::Ordering::Relaxed), "on purpose");
        self.inner.accounts(cursor).await
    }

    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError> {
        self.inner.group_named(name).await
    }

    async fn members(
        &self,
        group: &TargetGroupId,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        self.inner.members(group, cursor).await
    }

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        assert!(!matches!(operation, Operation::CreateUser { name, .. } if name == "fragile"), "on purpose");
        if matches!(operation, Operation::CreateUser { name, .. } | Operation::CreateGroup { name } if name == "ghost")
        {
            self.taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let text = format!("creating {}: the name is taken.", "ghost");
            return Err(TargetError { kind: TargetErrorKind::NameTaken, text, retry_after: None });
        }
        self.inner.apply(operation, deadline).await
    }
}

fn pair() -> Pair {
    Pair::new("acme", "crowd")
}

async fn fragile() -> (World, SimulatedTarget, Arc<Fragile>) {
    let server = Product::Crowd.simulate().await.expect("a free port");
    let inner = server.other_target().expect("a client").target;
    let target = Arc::new(Fragile { inner, breaks_listing: false.into(), taken: 0.into() });
    let other_target = OtherTarget { name: "crowd".into(), target: Arc::clone(&target) as _ };
    let w = world_with(StackOptions { other_targets: vec![other_target], ..options() }).await;
    (w, server, target)
}

#[tokio::test]
async fn a_subject_over_which_it_breaks_keeps_the_error_and_the_run_goes_on() {
    let (w, _server, _) = fragile().await;
    w.realm().switch_webhook(false);
    for login in ["fragile", "robust"] {
        w.realm().create_user(NewUser::named(login)).await.expect("made");
    }
    let options = RunOptions::apply(RunTrigger::Schedule);
    let (_, report) = Box::pin(w.stack.engine.run(&pair(), &options)).await.expect("the run ends");
    assert_eq!(report.done.get("create"), Some(&1), "{report:?}");
    assert!(report.errors.iter().any(|text| text.contains("internal error of usersync")), "{report:?}");
    // The request may have been sent before the panic, so the target is read again; the error stays with the task.
    let all = TaskFilter { limit: 10, ..TaskFilter::default() };
    let tasks = w.stack.store.tasks(&all).await.expect("read");
    let classes: Vec<_> = tasks.iter().filter_map(|task| task.error.as_ref().map(|(class, _)| *class)).collect();
    assert_eq!(classes, [ErrorClass::Bug], "{tasks:?}");
    // The panic holds nothing that others need.
    w.realm()
        .update_user(&w.id("robust"), usersync_simulators::keycloak::UserChange::enabled(false))
        .await
        .expect("done");
    w.stack.engine.run(&pair(), &options).await.expect("the next run ends");
}

#[tokio::test]
async fn a_run_that_breaks_ends_as_failed_and_the_next_one_begins() {
    let (w, _server, target) = fragile().await;
    let options = RunOptions::apply(RunTrigger::Schedule);
    target.breaks_listing.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = Box::pin(w.stack.engine.run(&pair(), &options)).await.expect_err("it breaks");
    assert!(error.to_string().contains("Report it with the log"), "{error}");
    let runs = w.stack.store.runs(Some(&pair()), 1).await.expect("read");
    let expected = "internal error of usersync";
    assert!(matches!(&runs[0].outcome, RunOutcome::Failed { why, .. } if why.contains(expected)), "{runs:?}");
    target.breaks_listing.store(false, std::sync::atomic::Ordering::Relaxed);
    Box::pin(w.stack.engine.run(&pair(), &options)).await.expect("it runs again");
}

#[tokio::test]
async fn a_name_that_is_taken_and_found_nowhere_is_refused_for_good() {
    let (w, _server, target) = fragile().await;
    w.realm().switch_webhook(false);
    w.realm().create_user(NewUser::named("ghost")).await.expect("made");
    let options = RunOptions::apply(RunTrigger::Schedule);
    let run = async || Box::pin(w.stack.engine.run(&pair(), &options)).await.expect("the run ends").1;
    let report = run().await;
    assert!(report.errors.iter().any(|text| text.contains("finds no account with this name")), "{report:?}");
    assert_eq!(target.taken.swap(0, std::sync::atomic::Ordering::Relaxed), 2, "asked twice, not for ever");
    let all = TaskFilter { limit: 10, ..TaskFilter::default() };
    let tasks = w.stack.store.tasks(&all).await.expect("read");
    let classes: Vec<_> = tasks.iter().filter_map(|task| task.error.as_ref().map(|(class, _)| *class)).collect();
    assert_eq!(classes, [ErrorClass::Permanent], "{tasks:?}");

    w.realm().create_group(None, "ghost").await.expect("made");
    let report = run().await;
    assert!(report.unsupported.iter().any(|text| text.contains("finds no such group")), "{report:?}");
    let asked = target.taken.load(std::sync::atomic::Ordering::Relaxed);
    // Twice for the user, which each run tries again, and once for the group.
    assert_eq!(asked, 3, "not for ever");
    w.calm().await;
    run().await;
    let asked = target.taken.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(asked, 5, "the group is not tried again until its name changes or an operator replays it");
}
