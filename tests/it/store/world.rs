//! A store under test, and helpers for the tests.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use usersync::{
    model::*,
    store::{sqlite::*, *},
};

/// A store of one implementation, and the crash of its process.
pub struct World {
    pub store: Arc<dyn Store>,
    /// Ends all claims, as the end of the process does.
    pub crash: fn(Arc<dyn std::any::Any + Send + Sync>, Timestamp) -> futures::future::BoxFuture<'static, ()>,
    pub inner: Arc<dyn std::any::Any + Send + Sync>,
}

impl std::ops::Deref for World {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// Returns the embedded store.
pub fn sqlite() -> futures::future::BoxFuture<'static, World> {
    Box::pin(async {
        let store = Arc::new(SqliteStore::open_temporary(OpenOptions::simulation(at(0))).await.unwrap());
        World {
            inner: Arc::clone(&store) as _,
            store,
            crash: |inner, now| {
                Box::pin(async move { inner.downcast::<SqliteStore>().unwrap().crash(now).await.unwrap() })
            },
        }
    })
}

impl World {
    pub async fn crash(&self, now: Timestamp) {
        (self.crash)(Arc::clone(&self.inner), now).await;
    }

    /// Appends an accepted event about these subjects for the pair of these tests.
    pub async fn event(&self, id: &str, hints: &[Subject], now: Timestamp) -> Appended {
        self.append_events(&connector(), &[target()], vec![event(id, hints)], now).await.unwrap()
    }

    pub async fn claim_one(&self, now: Timestamp) -> Option<Claimed> {
        self.claim(&target(), &[connector()], now).await.unwrap()
    }

    /// Claims the next task, which must have this subject.
    pub async fn claims(&self, subject: &Subject, now: Timestamp) -> Claimed {
        let claimed = self.claim_one(now).await.expect("something to do");
        assert_eq!(claimed.subject, *subject);
        claimed
    }

    pub async fn done(&self, token: Token, now: Timestamp) {
        self.complete(token, Step::default(), vec![], later(now, 5), now).await.unwrap();
    }

    /// Raises and claims a subject; nothing else may be due.
    pub async fn work(&self, subject: &Subject, now: Timestamp) -> Claimed {
        self.raise(&pair(), std::slice::from_ref(subject), Priority::Event, &because("test"), now).await.unwrap();
        self.claims(subject, now).await
    }

    /// Links a user to an account.
    pub async fn linked(&self, name: &str, account: &str, now: Timestamp) {
        let claimed = self.work(&user(name), now).await;
        let step = Step { link: Some(LinkWrite::Put(link(name, account))), ..Step::default() };
        assert_eq!(self.step(claimed.token, step, now).await.unwrap(), Stepped::Written);
        self.done(claimed.token, now).await;
    }

    /// Stores an intent before its operation is sent.
    pub async fn intend(&self, token: Token, operation: Operation, until: Timestamp, now: Timestamp) -> IntentId {
        let step = Step { next: vec![intent(operation, until)], ..Step::default() };
        match self.step(token, step, now).await.unwrap() {
            Stepped::Send(ids) => ids[0],
            other => panic!("{other:?}"),
        }
    }

    pub async fn resolve(&self, token: Token, intent: IntentId, outcome: ChangeOutcome, now: Timestamp) {
        let step = Step { resolved: vec![IntentOutcome { intent, outcome }], ..Step::default() };
        assert_eq!(self.step(token, step, now).await.unwrap(), Stepped::Written);
    }

    pub async fn task(&self, subject: &Subject) -> Option<TaskRecord> {
        let filter = TaskFilter { subject: Some(subject.clone()), ..TaskFilter::default() };
        self.tasks(&filter).await.unwrap().pop()
    }
}

/// Returns the time this many seconds after the start.
pub fn at(seconds: i64) -> Timestamp {
    later(Timestamp::from_second(1_700_000_000).unwrap(), seconds)
}

pub fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time + SignedDuration::from_secs(seconds)
}

pub fn connector() -> ConnectorName {
    "corp".into()
}

pub fn target() -> TargetName {
    "jira".into()
}

pub fn pair() -> Pair {
    Pair::new("corp", "jira")
}

pub fn user(id: &str) -> Subject {
    Subject::user(id)
}

pub fn because(what: &str) -> Cause {
    Cause::Other { what: what.into() }
}

pub fn event(id: &str, hints: &[Subject]) -> NewEvent {
    NewEvent {
        id: id.into(),
        kind: "UPDATE USER".into(),
        about: "users/x".into(),
        occurred_at: Some(at(-1)),
        body: r#"{"a":1}"#.into(),
        hints: hints.to_vec(),
        may_remove: false,
        wants_run: false,
        recheck: false,
        polled: false,
        outcome: EventOutcome::Accepted,
    }
}

pub fn link(user: &str, account: &str) -> Link {
    Link::new(user.into(), account.into(), user)
}

pub fn intent(operation: Operation, until: Timestamp) -> NewIntent {
    NewIntent { operation, before: serde_json::json!({"was": 1}), arrives_until: until, limit: None, approved_by: None }
}

pub fn create(name: &str) -> Operation {
    Operation::CreateUser { name: name.into(), fields: UserFields::default(), external_id: None }
}

pub fn deactivate(account: &str, name: &str) -> Operation {
    Operation::DeactivateUser { account: account.into(), name: name.into(), takes: Vec::new() }
}

pub fn rename(account: &str, name: &str, to: &str) -> Operation {
    Operation::RenameUser { account: account.into(), name: name.into(), to: to.into() }
}

pub fn join(account: &str, name: &str, group: &str) -> Operation {
    let (account, name, group_name) = (account.into(), name.into(), group.to_owned());
    Operation::AddMember { group: group.into(), group_name, account, name }
}

pub fn failure(retry_at: Option<Timestamp>) -> Failure {
    Failure { class: ErrorClass::Transient, text: "503 from Jira".into(), retry_at }
}

pub fn planned(subject: &Subject, observation: ObservationSeq, account: Option<&str>) -> Planned {
    Planned { subject: subject.clone(), observation, account: account.map(AccountId::from) }
}

pub fn hold(kind: ApprovalKind, key: &str, fingerprint: &str) -> NewApprovalItem {
    NewApprovalItem { kind, what: format!("{key} somebody"), key: key.into(), fingerprint: fingerprint.into() }
}

pub trait Named {
    /// Returns the same with another login.
    fn named(self, name: &str) -> Self;
}

impl Named for Link {
    fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }
}

/// The identity that a target reports.
pub fn server(id: &str, url: &str) -> TargetIdentity {
    TargetIdentity::new(id, Some(url))
}
