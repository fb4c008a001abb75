//! Plans and reports are complete: every planned operation is listed with its cause and has an outcome. Counts and
//! lists agree for a full reconcile, for events and for a single user.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use usersync::{
    engine::{Connector, Engine, EngineTimes, Jitter, Report, RunOptions, SystemClock, Tally, TargetPort, WorkError},
    keycloak::{KeycloakSettings, KeycloakSource},
    model::{
        Action, ApprovalKind, Cause, Change, ChangeOutcome, FirstRun, Limited, Linking, Pair, Policy, Priority, RunId,
        RunOutcome, RunTrigger, Subject,
    },
    store::{ChangeFilter, EngineStore, Store, StoreReads, sqlite},
    targets::{
        Credentials,
        jira::{JiraSettings, JiraTarget},
    },
};
use usersync_simulators::{
    Fault, JiraOptions, KeycloakOptions, SimulatedJira, SimulatedKeycloak,
    jira::NewAccount,
    keycloak::{NewUser, RealmHandle, UserChange},
};

/// An engine that works only on request, between a realm and a Jira.
struct Desk {
    realm: RealmHandle,
    jira: SimulatedJira,
    store: Arc<sqlite::SqliteStore>,
    engine: Engine,
    _keycloak: SimulatedKeycloak,
}

const STAFF: usize = 12;

fn pair() -> Pair {
    Pair::new("acme", "jira")
}

impl Desk {
    /// Starts with staff on both sides, in sync.
    async fn start() -> Self {
        let desk = Self::empty().await;
        desk.realm
            .import_users((0..STAFF).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/staff"])))
            .expect("imported");
        let options = RunOptions { first: true, ..RunOptions::apply(RunTrigger::Approved) };
        Box::pin(desk.engine.do_first_run(&pair(), &options)).await.expect("the first run ends well");
        desk.engine.work_due(&pair(), &CancellationToken::new()).await.expect("worked");
        desk
    }

    async fn empty() -> Self {
        let keycloak = SimulatedKeycloak::start(KeycloakOptions::default()).await.expect("a free port");
        let jira = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
        let realm = keycloak.add_realm("acme");
        realm.add_service_client("usersync", "secret", &["view-users", "view-events"]);
        let url = keycloak.url().parse().expect("an address");
        let settings = KeycloakSettings::new(url, "acme", "usersync", Arc::new(|| Ok("secret".to_owned().into())));
        let source = Arc::new(KeycloakSource::new(settings).expect("good settings"));
        let policy = Policy { first_run: FirstRun::Apply, ..Policy::default() };
        let connector = Connector::new("acme".into(), source, policy, vec!["jira".into()]);
        let token = SecretString::from(jira.token());
        let credentials = Credentials::Token(Arc::new(move || Ok(token.clone())));
        let target = JiraTarget::new(JiraSettings::new(jira.url().parse().expect("an address"), credentials));
        let mut port = TargetPort::new("jira".into(), Arc::new(target.expect("good settings")));
        port.parallel = 2;
        let store = sqlite::SqliteStore::open_temporary(sqlite::OpenOptions::new(Timestamp::now())).await;
        let store = Arc::new(store.expect("a store"));
        let engine = Engine::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::new(SystemClock),
            Jitter::random(),
            vec![connector],
            vec![port],
        );
        let engine = engine.with_times(EngineTimes::hasty());
        Self { realm, jira, store, engine, _keycloak: keycloak }
    }

    fn id(&self, login: &str) -> String {
        self.realm.snapshot().user(login).expect("there").id.clone()
    }

    /// Makes changes of every kind: some succeed, some wait, some are unsupported and some fail.
    async fn upset(&self) {
        let realm = &self.realm;
        let group = realm.create_group(None, "new").await.expect("made");
        let staff = realm.snapshot().group("/staff").expect("there").id.clone();
        realm.import_users([NewUser::named("alice").in_groups(&["/staff", "/new"])]).expect("imported");
        realm.import_users([NewUser { email: None, ..NewUser::named("bob") }]).expect("imported");
        realm.import_users([NewUser::named("carol"), NewUser::named("dave")]).expect("imported");
        self.jira.add_account(NewAccount::named("dave"));
        self.jira.add_account(NewAccount::named("taken"));
        for number in 0..7 {
            realm.update_user(&self.id(&format!("staff{number}")), UserChange::enabled(false)).await.expect("disabled");
        }
        realm.update_user(&self.id("staff7"), UserChange::username("taken")).await.expect("renamed");
        realm.update_user(&self.id("staff8"), UserChange::email("eight@example.com")).await.expect("changed");
        realm.join(&self.id("staff9"), &group).await.expect("joined");
        realm.leave(&self.id("staff10"), &staff).await.expect("left");
        self.jira.set_display_name("staff11", "Somebody");
        let refusal = r#"{"errorMessages":["The name is not allowed."],"errors":{}}"#;
        // carol's account is refused for good; alice's is the other created account.
        self.jira.faults.add(Fault::status(400, refusal).method("POST").path("/rest/api/2/user").once());
    }

    async fn plan(&self, first: bool) -> Report {
        let options = RunOptions { first, keep: usize::MAX, ..RunOptions::dry(RunTrigger::Operator) };
        Box::pin(self.engine.run(&pair(), &options)).await.expect("the plan is made").1
    }

    async fn run(&self) -> Result<Report, WorkError> {
        Box::pin(self.engine.run(&pair(), &RunOptions::apply(RunTrigger::Schedule))).await.map(|(_, report)| report)
    }

    async fn changes(&self, run: RunId) -> Vec<Change> {
        let filter = ChangeFilter { run: Some(run), limit: 100_000, ..ChangeFilter::default() };
        self.store.changes(&filter).await.expect("readable")
    }

    async fn raise_all(&self) -> Vec<Subject> {
        let snapshot = self.realm.snapshot();
        let users = snapshot.users.values().filter(|user| !user.username.starts_with("service-account-"));
        let groups = snapshot.groups.values().map(|group| Subject::group(group.id.clone()));
        let subjects: Vec<Subject> = groups.chain(users.map(|user| Subject::user(user.id.clone()))).collect();
        let cause = Cause::Other { what: "a test".to_owned() };
        self.store.raise(&pair(), &subjects, Priority::Event, &cause, Timestamp::now()).await.expect("raised");
        subjects
    }
}

/// Checks that every kind of outcome occurs and that the counts add up.
fn assert_all_fates(tally: Tally) {
    assert!(tally.adds_up(), "{tally:?}");
    assert!(tally.done >= 5 && tally.held >= 1 && tally.failed >= 1, "{tally:?}");
}

#[tokio::test]
async fn operations_of_a_run_are_done_awaiting_approval_unsupported_failed_or_postponed() {
    let desk = Desk::start().await;
    desk.upset().await;
    let plan = desk.plan(false).await;
    let report = desk.run().await.expect("the run ends");
    assert_all_fates(report.tally);
    assert_eq!(report.tally.planned, report.planned_total(), "{report:#?}");
    assert_eq!(report.tally.done, report.done_total(), "{report:#?}");
    assert_eq!(report.tally.obsolete, 0, "nothing else happened: {report:#?}");
    assert_eq!(report.waiting.total(), report.held as u64);
    assert_eq!(report.did.total(), report.done_total());
    assert_eq!(plan.planned, report.planned, "the plan shows what the run plans");
}

#[tokio::test]
async fn operations_of_an_event_are_done_awaiting_approval_unsupported_failed_or_postponed_for_each_subject() {
    let desk = Desk::start().await;
    desk.upset().await;
    let subjects = desk.raise_all().await;
    let (mut worked_on, mut all) = (BTreeSet::new(), Tally::default());
    for _ in 0..subjects.len() * 4 {
        let claim = desk.store.claim(&"jira".into(), &["acme".into()], Timestamp::now()).await.expect("claims");
        let Some(claim) = claim else { break };
        let subject = claim.subject.clone();
        let (worked, error) = desk.engine.work_to_end(claim).await;
        let tally = worked.ledger.tally();
        assert!(tally.adds_up(), "{subject}: {tally:?}, {error:?}, {:?}", worked.ledger);
        assert!(!matches!(error, Some(WorkError::Unaccounted { .. })), "{error:?}");
        worked_on.insert(subject);
        all.merge(tally);
    }
    assert!(subjects.iter().all(|subject| worked_on.contains(subject)), "all were worked");
    assert_all_fates(all);
}

#[tokio::test]
async fn operations_of_a_single_user_are_done_awaiting_approval_unsupported_failed_or_postponed() {
    let desk = Desk::start().await;
    desk.upset().await;
    let mut all = Tally::default();
    for subject in desk.raise_all().await {
        let drained = desk.engine.work_until(&pair(), &subject, &CancellationToken::new()).await.expect("worked");
        assert!(drained.tally.adds_up(), "{subject}: {drained:?}");
        all.merge(drained.tally);
    }
    assert_all_fates(all);
}

#[tokio::test]
async fn a_plan_lists_every_operation_with_its_cause_and_its_counts_add_up() {
    let desk = Desk::empty().await;
    desk.realm
        .import_users((0..3).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/staff", "/ops"])))
        .expect("imported");
    desk.jira.add_account(NewAccount { display_name: "Old Name".into(), ..NewAccount::named("staff1") });
    desk.jira.add_group("ops");
    for (first, upset) in [(true, false), (false, true)] {
        if upset {
            let options = RunOptions { first: true, ..RunOptions::apply(RunTrigger::Approved) };
            Box::pin(desk.engine.do_first_run(&pair(), &options)).await.expect("the first run ends well");
            desk.realm
                .import_users((3..STAFF).map(|number| NewUser::named(format!("staff{number}"))))
                .expect("imported");
            desk.run().await.expect("a run");
            desk.upset().await;
        }
        let plan = desk.plan(first).await;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for line in plan.lines.iter() {
            *counts.entry(line.operation.verb().to_owned()).or_default() += 1;
            assert!(line.cause.as_ref().is_some_and(|cause| !cause.is_empty()), "{line:?}");
        }
        assert_eq!(counts, plan.planned, "{plan:#?}");
        assert_eq!(plan.lines.total(), plan.planned_total());
        let held = plan.lines.iter().filter(|line| line.held.is_some()).count();
        assert_eq!(held, plan.held, "{plan:#?}");
        if first {
            let adopted = plan.lines.iter().find_map(|line| match &line.operation {
                Action::Link(Linking::AdoptUser { user, account, .. }) => Some((user.clone(), account.clone())),
                _ => None,
            });
            let (user, account) = adopted.expect("the adoption is listed");
            assert_eq!((user.id, user.login.as_str()), (desk.id("staff1"), "staff1"));
            assert_eq!(user.email.as_deref(), Some("staff1@example.org"));
            assert_eq!((account.login.as_str(), account.name.as_deref()), ("staff1", Some("Old Name")));
            assert!(!account.id.is_empty() && account.email.is_some());
            let adds: Vec<String> = plan.lines.iter().map(|line| line.operation.to_string()).collect();
            for join in ["add staff0 to staff", "add staff0 to ops", "add staff1 to staff"] {
                assert!(adds.iter().any(|one| one == join), "{join}: {adds:?}");
            }
        } else {
            let kinds: Vec<ApprovalKind> = plan.lines.iter().filter_map(|line| line.held).collect();
            assert!(kinds.contains(&ApprovalKind::Adoption), "{kinds:?}");
            assert!(kinds.contains(&ApprovalKind::SafetyLimit(Limited::Deactivate)), "{kinds:?}");
        }
    }
}

#[tokio::test]
async fn a_run_that_fails_in_the_middle_stores_and_reports_what_it_did() {
    let desk = Desk::start().await;
    desk.realm.import_users((0..40).map(|number| NewUser::named(format!("new{number}")))).expect("imported");
    desk.jira.faults.add(Fault::unavailable().method("POST").path("/rest/api/2/user").after(10));
    let error = desk.run().await.expect_err("the target went away");
    assert!(matches!(error, WorkError::Target(_) | WorkError::Unanswered { .. }), "{error}");
    let run = desk.store.runs(Some(&pair()), 1).await.expect("readable").pop().expect("a run");
    assert!(matches!(run.outcome, RunOutcome::Failed { class: Some(_), .. }), "{run:?}");
    let report: Report = serde_json::from_value(run.report.clone()).expect("a report");
    let changes = desk.changes(run.id).await;
    let done = changes.iter().filter(|change| change.outcome == ChangeOutcome::Done).count() as u64;
    assert!(done >= 10, "{changes:?}");
    assert_eq!(report.done_total(), done, "{report:#?}");
    assert_eq!(report.did.total(), done);
    assert!(report.tally.adds_up(), "{:?}", report.tally);
    assert_eq!(report.tally.planned, report.planned_total(), "{:?}", report.tally);
    assert!(report.tally.failed >= 1 && report.tally.postponed >= 1, "{:?}", report.tally);
}

#[tokio::test]
async fn a_membership_that_one_answer_does_not_show_is_done_or_reported() {
    let desk = Desk::start().await;
    let staff = desk.realm.snapshot().group("/staff").expect("there").id.clone();
    desk.realm.leave(&desk.id("staff3"), &staff).await.expect("left");
    let account = desk.jira.snapshot().account("staff3").expect("there").clone();
    // A server whose answer for one account lacks its groups.
    let body = serde_json::json!({
        "key": account.key, "name": "staff3", "displayName": account.display_name, "emailAddress": account.email,
        "active": true, "applicationRoles": { "size": 1, "items": [{ "key": "jira-software", "name": "Jira" }] },
    });
    desk.jira.faults.add(
        Fault::status(200, body.to_string())
            .header("content-type", "application/json")
            .method("GET")
            .path(format!("user?key={}", account.key)),
    );
    let report = desk.run().await.expect("the run ends");
    let done = !desk.jira.snapshot().groups["staff"].contains("staff3");
    assert!(report.tally.adds_up() && report.tally.planned == 1, "{:?}", report.tally);
    assert_eq!((report.tally.done, report.tally.failed), if done { (1, 0) } else { (0, 1) }, "{report:#?}");
    assert_eq!(report.errors.total(), report.tally.failed, "{report:#?}");
}
