//! Two realms fill one Jira: each account belongs to one realm, a group may belong to both, and neither changes the
//! other's.

use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use usersync::{
    engine::{Connector, Engine, EngineTimes, Jitter, Report, RunOptions, SystemClock, TargetPort},
    keycloak::{KeycloakSettings, KeycloakSource},
    model::{FirstRun, Pair, Policy, RunTrigger, TargetGroupId},
    store::{OperatorStore, Store, StoreReads, sqlite},
    targets::{
        Credentials,
        jira::{JiraSettings, JiraTarget},
    },
};
use usersync_simulators::{
    JiraOptions, KeycloakOptions, SimulatedJira, SimulatedKeycloak,
    jira::{JiraSnapshot, NewAccount},
    keycloak::{NewUser, RealmHandle, UserChange},
};

/// Further users in each realm, so that one leaver stays below the safety limit.
const OTHERS: usize = 8;

struct Two {
    north: RealmHandle,
    south: RealmHandle,
    jira: SimulatedJira,
    store: Arc<sqlite::SqliteStore>,
    engine: Engine,
    _keycloak: SimulatedKeycloak,
}

fn pair(realm: &str) -> Pair {
    Pair::new(realm, "jira")
}

impl Two {
    /// Both realms have a group `staff`; ann and others are in the north's, sue and others in the south's.
    async fn start() -> Self {
        Self::start_with(Policy::default()).await
    }

    async fn start_with(policy: Policy) -> Self {
        let keycloak = SimulatedKeycloak::start(KeycloakOptions::default()).await.expect("a free port");
        let jira = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
        let mut connectors = Vec::new();
        let mut realms = Vec::new();
        for (name, person) in [("north", "ann"), ("south", "sue")] {
            let realm = keycloak.add_realm(name);
            realm.add_service_client("usersync", "secret", &["view-users", "view-events"]);
            let others = (0..OTHERS).map(|number| format!("{name}{number}"));
            let people = others.chain([person.to_owned()]).map(|login| NewUser::named(login).in_groups(&["/staff"]));
            realm.import_users(people).expect("imported");
            let url = keycloak.url().parse().expect("an address");
            let settings = KeycloakSettings::new(url, name, "usersync", Arc::new(|| Ok("secret".to_owned().into())));
            let source = Arc::new(KeycloakSource::new(settings).expect("good settings"));
            let policy = Policy { first_run: FirstRun::Apply, ..policy.clone() };
            connectors.push(Connector::new(name.into(), source, policy, vec!["jira".into()]));
            realms.push(realm);
        }
        let token = SecretString::from(jira.token());
        let credentials = Credentials::Token(Arc::new(move || Ok(token.clone())));
        let target = JiraTarget::new(JiraSettings::new(jira.url().parse().expect("an address"), credentials));
        let port = TargetPort::new("jira".into(), Arc::new(target.expect("good settings")));
        let store = sqlite::SqliteStore::open_temporary(sqlite::OpenOptions::new(Timestamp::now())).await;
        let store = Arc::new(store.expect("a store"));
        let engine = Engine::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::new(SystemClock),
            Jitter::random(),
            connectors,
            vec![port],
        );
        let engine = engine.with_times(EngineTimes::hasty());
        let (south, north) = (realms.pop().expect("two"), realms.pop().expect("two"));
        let two = Self { north, south, jira, store, engine, _keycloak: keycloak };
        for realm in ["north", "south"] {
            let options = RunOptions { first: true, ..RunOptions::apply(RunTrigger::Schedule) };
            two.engine.do_first_run(&pair(realm), &options).await.expect("the first run ends well");
            two.work_off(realm).await;
        }
        two
    }

    async fn work_off(&self, realm: &str) {
        self.engine.work_due(&pair(realm), &CancellationToken::new()).await.expect("worked off");
    }

    /// Makes a full reconcile of one realm; returns its report.
    async fn run(&self, realm: &str) -> Report {
        let options = RunOptions::apply(RunTrigger::Schedule);
        let (_, report) = Box::pin(self.engine.run(&pair(realm), &options)).await.expect("the run ends well");
        self.work_off(realm).await;
        report
    }

    /// Checks that full reconciles of both find nothing to do.
    async fn calm(&self) {
        let writes = self.jira.journal.writes().len();
        for realm in ["north", "south"] {
            let report = self.run(realm).await;
            assert_eq!((report.planned_total(), report.done.len()), (0, 0), "{realm}: {report:?}");
        }
        assert_eq!(self.jira.journal.writes().len(), writes);
    }

    fn snapshot(&self) -> JiraSnapshot {
        self.jira.snapshot()
    }

    fn staff(&self) -> usize {
        self.snapshot().groups["staff"].len()
    }

    fn is_staff(&self, login: &str) -> bool {
        self.snapshot().groups["staff"].contains(login)
    }

    async fn sources_of_staff(&self) -> Vec<String> {
        let managed = self.store.managed_groups(&"jira".into()).await.expect("read");
        let staff = managed.into_iter().find(|group| group.id == TargetGroupId::from("staff")).expect("managed");
        let mut sources: Vec<_> = staff.sources.iter().map(|(connector, _)| connector.to_string()).collect();
        sources.sort();
        sources
    }
}

fn id(realm: &RealmHandle, login: &str) -> String {
    realm.snapshot().user(login).expect("there").id.clone()
}

#[tokio::test]
async fn a_group_of_two_realms_has_the_members_of_both() {
    let two = Two::start().await;
    assert_eq!(two.staff(), 2 * (OTHERS + 1));
    assert_eq!(two.sources_of_staff().await, ["north", "south"]);
    two.calm().await;

    let staff = two.north.snapshot().group("/staff").expect("there").id.clone();
    two.north.leave(&id(&two.north, "ann"), &staff).await.expect("left");
    two.run("south").await;
    assert!(two.is_staff("ann"), "she is the north's to take out");
    two.run("north").await;
    assert!(!two.is_staff("ann") && two.is_staff("sue"));
    two.calm().await;
}

#[tokio::test]
async fn a_group_that_one_realm_deletes_stays_managed_by_the_other() {
    let two = Two::start().await;
    let staff = two.north.snapshot().group("/staff").expect("there").id.clone();
    two.north.delete_group(&staff).await.expect("deleted");
    for _ in 0..3 {
        two.run("north").await;
    }
    // So many users leave at once that it waits for approval; the south's are not among them.
    for set in two.store.approvals(true).await.expect("read") {
        assert_eq!(set.pair.connector.as_str(), "north", "{set:?}");
        let decision =
            usersync::store::Decision { set: set.id, items: vec![], approve: true, by: "eve".into(), note: None };
        two.store.decide(&decision, Timestamp::now()).await.expect("decided");
    }
    two.work_off("north").await;
    two.run("north").await;
    two.run("south").await;
    let people: Vec<_> = two.snapshot().groups["staff"].iter().cloned().collect();
    assert_eq!(people.len(), OTHERS + 1, "{people:?}");
    assert!(people.iter().all(|login| login.starts_with('s')), "{people:?}");
    assert_eq!(two.sources_of_staff().await, ["south"]);
    two.calm().await;
}

#[tokio::test]
async fn a_login_of_both_realms_is_the_firsts_and_a_conflict_for_the_other() {
    let two = Two::start().await;
    let before = two.snapshot().account("ann").expect("there").clone();
    let mut same = NewUser::named("ann");
    same.first_name = Some("Another".to_owned());
    two.south.create_user(same).await.expect("made");
    let report = two.run("south").await;
    assert!(report.conflicts.iter().any(|text| text.contains("ann") && text.contains("north")), "{report:?}");
    assert_eq!(two.snapshot().account("ann").expect("there"), &before);

    // Changes of the user without an account here do not affect the other realm's account.
    two.south.update_user(&id(&two.south, "ann"), UserChange::enabled(false)).await.expect("disabled");
    two.run("south").await;
    two.south.delete_user(&id(&two.south, "ann")).await.expect("deleted");
    two.run("south").await;
    assert_eq!(two.snapshot().account("ann").expect("there"), &before);

    // The realm that owns the account still controls it.
    two.north.update_user(&id(&two.north, "ann"), UserChange::enabled(false)).await.expect("disabled");
    two.run("north").await;
    assert!(!two.snapshot().account("ann").expect("there").active);
    two.calm().await;
}

#[tokio::test]
async fn unmanaged_members_stay_in_a_group_of_both_and_members_of_the_other_realm_in_any() {
    let groups = serde_json::from_str(r#"{"unmanaged_members": "remove"}"#).expect("rules");
    let two = Two::start_with(Policy { groups, ..Policy::default() }).await;
    let own = two.north.create_group(None, "own").await.expect("created");
    let ann = two.north.snapshot().user("ann").expect("there").id.clone();
    two.north.join(&ann, &own).await.expect("joined");
    two.run("north").await;
    two.jira.add_account(NewAccount::named("visitor").in_groups(&["own", "staff"]));
    two.jira.add_member("own", "sue");
    let report = two.run("north").await;
    let members = |group: &str| two.snapshot().groups[group].iter().cloned().collect::<Vec<_>>();
    assert_eq!(members("own"), ["ann", "sue"], "{report:?}");
    assert!(members("staff").contains(&"visitor".to_owned()));
    let why = "staff: unmanaged members stay, because connector south feeds the group too: visitor";
    assert_eq!(report.kept.get(why), Some(&1), "{report:?}");
}
