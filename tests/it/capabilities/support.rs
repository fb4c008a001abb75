//! A usersync between its simulators, and helpers of the tests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::stack::{SimulatedServers, Stack, StackOptions, agree_except},
    engine::{EngineTimes, Report, RunOptions, WorkError},
    model::{Approval, ApprovalItem, ApprovalKind, Change, Pair, Policy, RunRecord, RunTrigger, Subject, TaskRecord},
    store::{ChangeFilter, Decision, OperatorStore, StoreReads, TaskFilter},
};
use usersync_simulators::{
    agree::Agreement,
    journal::Entry,
    keycloak::{NewUser, RealmHandle},
};

/// Number of users of a realm from the start, all in the group `staff`: enough that one more or less stays below every
/// safety limit.
pub const STAFF: usize = 10;

pub struct World {
    pub servers: SimulatedServers,
    pub stack: Stack,
}

/// Returns options with the shortest possible waits.
pub fn options() -> StackOptions {
    StackOptions { times: EngineTimes::hasty(), timeout: std::time::Duration::from_secs(2), ..StackOptions::default() }
}

pub fn policy(change: impl FnOnce(&mut Policy)) -> StackOptions {
    let mut options = options();
    change(&mut options.policy);
    options
}

pub fn staff() -> impl Iterator<Item = NewUser> {
    (0..STAFF).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/staff"]))
}

/// Starts servers with staff; the Jira is empty.
pub async fn servers(options: StackOptions) -> SimulatedServers {
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    servers.realm.import_users(staff()).expect("imported");
    servers
}

/// Starts a stack on these servers.
pub async fn on(servers: SimulatedServers) -> World {
    let stack = Box::pin(servers.build()).await.expect("the stack stands");
    stack.in_service().await.expect("the first run ends");
    World { servers, stack }
}

pub async fn world() -> World {
    on(servers(options()).await).await
}

pub async fn world_with(options: StackOptions) -> World {
    on(servers(options).await).await
}

/// Waits until this holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..3_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 30 s");
}

pub fn id_of(realm: &RealmHandle, login: &str) -> String {
    realm.snapshot().user(login).unwrap_or_else(|| panic!("{login} is in Keycloak")).id.clone()
}

impl World {
    pub fn realm(&self) -> &RealmHandle {
        &self.servers.realm
    }

    pub fn jira(&self) -> &usersync_simulators::SimulatedJira {
        &self.servers.jira
    }

    pub fn id(&self, login: &str) -> String {
        id_of(self.realm(), login)
    }

    pub fn account(&self, login: &str) -> usersync_simulators::jira::AccountState {
        let jira = self.jira().snapshot();
        jira.account(login).unwrap_or_else(|| panic!("{login} has an account")).clone()
    }

    pub fn has_account(&self, login: &str) -> bool {
        self.jira().snapshot().account(login).is_some()
    }

    pub fn members(&self, group: &str) -> Vec<String> {
        let jira = self.jira().snapshot();
        jira.groups.get(group).map(|members| members.iter().cloned().collect()).unwrap_or_default()
    }

    /// Waits until all events are delivered and all due work is done, whatever the result.
    pub async fn calm(&self) {
        self.realm().webhook_idle().await;
        if let Err(error) = self.stack.quiet(SignedDuration::from_secs(3)).await {
            panic!("{error}: {:#?}", self.tasks().await.into_iter().take(5).collect::<Vec<_>>());
        }
    }

    /// The same; also checks that nothing failed.
    pub async fn settled(&self) {
        self.calm().await;
        let troubled: Vec<_> = self.tasks().await.into_iter().filter(|task| task.error.is_some()).collect();
        assert!(troubled.is_empty(), "{troubled:#?}");
    }

    pub async fn tasks(&self) -> Vec<TaskRecord> {
        let all = TaskFilter { limit: 10_000, ..TaskFilter::default() };
        self.stack.store.tasks(&all).await.expect("readable")
    }

    /// Returns the texts of the dead letters.
    pub async fn dead(&self) -> Vec<String> {
        let dead = TaskFilter { dead: Some(true), limit: 1_000, ..TaskFilter::default() };
        let tasks = self.stack.store.tasks(&dead).await.expect("readable");
        tasks.into_iter().map(|task| task.error.map(|(_, text)| text).unwrap_or_default()).collect()
    }

    /// Makes a scheduled full reconcile, and works on the tasks that it raised.
    pub async fn run(&self) -> Report {
        let report = self.try_run().await.expect("the run ends well");
        self.calm().await;
        report
    }

    /// Waits for the full reconcile that a changed policy causes at the start, and returns it.
    pub async fn run_of_changed_policy(&self) -> RunRecord {
        self.run_of_changed_policy_on(&Stack::pair()).await
    }

    pub async fn run_of_changed_policy_on(&self, pair: &Pair) -> RunRecord {
        for _ in 0..500 {
            let run = self.stack.store.runs(Some(pair), 1).await.expect("readable").remove(0);
            if run.trigger == RunTrigger::PolicyChanged && run.ended_at.is_some() {
                assert_eq!(run.report["policy_changed"], true, "{run:?}");
                self.calm().await;
                return run;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the changed policy caused no full reconcile");
    }

    pub async fn try_run(&self) -> Result<Report, WorkError> {
        let options = RunOptions::apply(RunTrigger::Schedule);
        Box::pin(self.stack.engine.run(&Stack::pair(), &options)).await.map(|(_, report)| report)
    }

    /// Returns every sentence that a run and the conditions of connectors and targets report.
    pub fn reported(&self, outcome: Result<Report, WorkError>) -> Vec<String> {
        let conditions = self.stack.engine.conditions().all();
        let mut texts: Vec<String> = conditions.into_iter().map(|condition| condition.text).collect();
        match outcome {
            Err(error) => texts.push(error.to_string()),
            Ok(report) => {
                texts.extend(report.incomplete.clone());
                texts.extend(report.limits_reached.iter().map(|limited| format!("safety limit reached: {limited:?}")));
                let lists = [&report.unconfirmed, &report.errors, &report.conflicts, &report.unsupported];
                texts.extend(lists.into_iter().flat_map(|list| list.iter().cloned()));
                texts.extend(report.waiting.iter().map(|line| format!("waits for approval: {}", line.what)));
            }
        }
        texts
    }

    pub async fn dry_run(&self) -> Report {
        let options = RunOptions::dry(RunTrigger::Operator);
        Box::pin(self.stack.engine.run(&Stack::pair(), &options)).await.expect("the plan is made").1
    }

    /// Compares Keycloak with Jira.
    pub fn agrees(&self) -> Agreement {
        self.agrees_but_for(&[])
    }

    pub fn agrees_but_for(&self, unmanaged: &[&str]) -> Agreement {
        let agreement = agree_except(&self.servers, unmanaged);
        assert!(agreement.holds(), "{agreement}");
        agreement
    }

    /// Returns the write requests that Jira answered.
    pub fn writes(&self) -> Vec<Entry> {
        self.jira().journal.writes()
    }

    /// Does this work; returns the writes to Jira meanwhile, as `METHOD path?query`.
    pub async fn written_by<T>(&self, work: impl Future<Output = T>) -> Vec<String> {
        let before = self.writes().len();
        work.await;
        self.writes().split_off(before).iter().map(|one| format!("{} {}", one.method, one.target())).collect()
    }

    pub async fn changes(&self) -> Vec<Change> {
        let all = ChangeFilter { limit: 100_000, ..ChangeFilter::default() };
        let mut changes = self.stack.store.changes(&all).await.expect("readable");
        changes.reverse();
        changes
    }

    pub async fn changes_of(&self, id: &str) -> Vec<Change> {
        let subject = Subject::user(id);
        self.changes().await.into_iter().filter(|change| change.subject == subject).collect()
    }

    /// Returns the open approval of this kind and its items.
    pub async fn held(&self, kind: ApprovalKind) -> Option<(Approval, Vec<ApprovalItem>)> {
        let sets = self.stack.store.approvals(true).await.expect("readable");
        let set = sets.into_iter().find(|set| set.kind == kind)?;
        let (set, items) = self.stack.store.approval(set.id).await.expect("readable");
        Some((set, items))
    }

    /// Returns the items of the open approval of this kind, as text.
    pub async fn waiting(&self, kind: ApprovalKind) -> Vec<String> {
        let mut waiting: Vec<String> = match self.held(kind).await {
            Some((_, items)) => items
                .into_iter()
                .filter(|item| item.state == usersync::model::ApprovalItemState::Open)
                .map(|item| item.item.what)
                .collect(),
            None => Vec::new(),
        };
        waiting.sort();
        waiting
    }

    /// Decides all items of the open approval of this kind, as an operator does.
    pub async fn decide(&self, kind: ApprovalKind, approve: bool) {
        let (set, _) = self.held(kind).await.expect("something waits");
        self.decide_items(set.id, Vec::new(), approve).await;
    }

    pub async fn decide_items(&self, set: i64, items: Vec<i64>, approve: bool) {
        let decision = Decision { set, items, approve, by: "ann".to_owned(), note: None };
        self.stack.store.decide(&decision, Timestamp::now()).await.expect("decided");
        self.calm().await;
    }

    /// Replays dead letters and unsupported operations, as an operator does.
    pub async fn replay_dead(&self) {
        let all = TaskFilter { limit: 10_000, ..TaskFilter::default() };
        self.stack.store.replay_dead(&all, "ann", Timestamp::now()).await.expect("replayed");
        self.calm().await;
    }
}
