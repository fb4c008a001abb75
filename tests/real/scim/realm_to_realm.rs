//! From one realm to another, on a real Keycloak: full reconciles read one by its Admin API and fill the other by its
//! SCIM server. The result is compared by the Admin API alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use usersync::{
    engine::{Connector, Engine, EngineTimes, Jitter, Report, RunOptions, SystemClock, TargetPort},
    keycloak::{KeycloakSettings, KeycloakSource},
    model::{FirstRun, Pair, Policy, RunTrigger, TargetPolicy},
    store::{Decision, OperatorStore, Store, StoreReads, sqlite},
};

use super::keycloak::place_with;
use crate::support::realm::Realm;

const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
const USERS: usize = 1_000;
const GROUPS: usize = 10;

/// State of a realm, by login and by group name, without its service accounts.
#[derive(Debug, PartialEq)]
struct Held {
    /// Display name, address, whether enabled, title, department.
    people: BTreeMap<String, (String, Option<String>, bool, Value, Value)>,
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Held {
    async fn by(realm: &Realm) -> Self {
        let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        let own = |user: &&Value| !user["username"].as_str().unwrap_or_default().starts_with("service-account-");
        let users = realm.get("users?max=100000&briefRepresentation=false").await;
        let people = users.as_array().expect("a list").iter().filter(own).map(|user| {
            let names = [text(user, "firstName"), text(user, "lastName")];
            let shown = names.into_iter().flatten().filter(|name| name != "-").collect::<Vec<_>>().join(" ");
            let attribute = |name: &str| user["attributes"][name][0].clone();
            let about = (attribute("title"), attribute("department"));
            (
                text(user, "username").expect("a login"),
                (shown, text(user, "email"), user["enabled"] == true, about.0, about.1),
            )
        });
        let people = people.collect();
        let mut groups = BTreeMap::new();
        for group in realm.get("groups?max=100000").await.as_array().expect("a list") {
            let path = format!("groups/{}/members?max=100000", group["id"].as_str().expect("an id"));
            let members = realm.get(&path).await;
            let members =
                members.as_array().expect("a list").iter().map(|user| text(user, "username").expect("a login"));
            groups.insert(text(group, "name").expect("a name"), members.collect());
        }
        Self { people, groups }
    }
}

fn login(number: usize) -> String {
    format!("person{number:04}")
}

fn person(number: usize) -> Value {
    json!({
        "username": login(number), "enabled": true, "email": format!("{}@example.org", login(number)),
        "firstName": format!("Given{number}"), "lastName": "Example", "groups": [format!("/team{}", number % GROUPS)],
        "attributes": {"title": [format!("Title {}", number % 7)], "department": [format!("R&D {}", number % 5)]},
    })
}

/// Sets the SCIM name of a user attribute in a realm; `None`: the attribute has none.
async fn profile(realm: &Realm, attributes: &[(&str, Option<&str>)]) {
    let mut profile = realm.get("users/profile").await;
    let all = profile["attributes"].as_array_mut().expect("a list");
    all.extend(attributes.iter().map(|(name, scim)| {
        json!({
            "name": name, "multivalued": false, "permissions": {"view": ["admin"], "edit": ["admin"]},
            "annotations": scim.map_or(json!({}), |path| json!({"kc.scim.schema.attribute": path})),
        })
    }));
    realm.replace("users/profile", &profile).await;
}

async fn id(realm: &Realm, login: &str) -> String {
    let found = realm.get(&format!("users?exact=true&username={login}")).await;
    found[0]["id"].as_str().expect("there").to_owned()
}

async fn group_id(realm: &Realm, name: &str) -> String {
    let all = realm.get("groups?max=100000").await;
    let found = all.as_array().expect("a list").iter().find(|group| group["name"] == name);
    found.expect("there")["id"].as_str().expect("an id").to_owned()
}

struct Between {
    engine: Engine,
    store: Arc<sqlite::SqliteStore>,
}

fn pair() -> Pair {
    Pair::new("from", "to")
}

impl Between {
    async fn run(&self) -> Report {
        let options = RunOptions::apply(RunTrigger::Schedule);
        let (_, report) = Box::pin(self.engine.run(&pair(), &options)).await.expect("the run ends well");
        self.engine.work_due(&pair(), &CancellationToken::new()).await.expect("worked off");
        assert_eq!(
            (report.errors.total(), report.conflicts.total(), report.unsupported.total()),
            (0, 0, 0),
            "{report:?}"
        );
        report
    }

    async fn approve_all(&self) {
        for set in self.store.approvals(true).await.expect("read") {
            let decision = Decision { set: set.id, items: vec![], approve: true, by: "eve".into(), note: None };
            self.store.decide(&decision, Timestamp::now()).await.expect("decided");
        }
        self.engine.work_due(&pair(), &CancellationToken::new()).await.expect("worked off");
    }
}

#[tokio::test]
async fn a_thousand_users_are_copied_to_another_realm_and_stay_in_sync() {
    let Some(from) = Realm::new("scim-from").await else { return };
    let Some((to, scim)) = place_with("scim-to", true, &["manage-users"], &["title", DEPARTMENT]).await else { return };
    let client = json!({
        "clientId": "usersync", "secret": "secret", "serviceAccountsEnabled": true, "publicClient": false,
        "standardFlowEnabled": false,
    });
    from.post("clients", &client).await;
    from.roles("usersync", "POST", &["view-users", "view-events"]).await;
    profile(&from, &[("title", None), ("department", None)]).await;
    profile(&to, &[("title", Some("title")), ("department", Some(DEPARTMENT))]).await;
    for number in 0..GROUPS {
        from.post("groups", &json!({"name": format!("team{number}")})).await;
    }
    let people: Vec<Value> = (0..USERS).map(person).collect();
    from.post("partialImport", &json!({"ifResourceExists": "FAIL", "users": people})).await;

    let url = from.url.parse().expect("an address");
    let settings = KeycloakSettings::new(url, &from.name, "usersync", Arc::new(|| Ok("secret".to_owned().into())));
    let source = Arc::new(KeycloakSource::new(settings).expect("good settings"));
    let attributes = json!({
        "title": "{{ attributes.title }}",
        DEPARTMENT: {"template": "{{ attributes.department }}", "empty": "clear"},
    });
    let attributes = serde_json::from_value(attributes).expect("rules");
    let targets = [("to".into(), TargetPolicy { attributes, ..TargetPolicy::default() })].into();
    let policy = Policy { first_run: FirstRun::Apply, targets, ..Policy::default() };
    let connector = Connector::new("from".into(), source, policy, vec!["to".into()]);
    let port = TargetPort::new("to".into(), Arc::new(scim));
    let store = sqlite::SqliteStore::open_temporary(sqlite::OpenOptions::new(Timestamp::now())).await;
    let store = Arc::new(store.expect("a store"));
    let kept: Arc<dyn Store> = Arc::clone(&store) as _;
    let times = EngineTimes { call: EngineTimes::default().call, ..EngineTimes::hasty() };
    let engine =
        Engine::new(kept, Arc::new(SystemClock), Jitter::random(), vec![connector], vec![port]).with_times(times);
    let between = Between { engine, store };

    let began = Instant::now();
    let options = RunOptions { first: true, ..RunOptions::apply(RunTrigger::First) };
    let (_, report) = between.engine.do_first_run(&pair(), &options).await.expect("the first run ends well");
    between.engine.work_due(&pair(), &CancellationToken::new()).await.expect("worked off");
    println!("{USERS} people in {GROUPS} groups made in {} s by a full reconcile", began.elapsed().as_secs());
    assert_eq!((report.users, report.done.get("create").copied()), (USERS, Some(USERS as u64)), "{report:?}");
    let held = Held::by(&from).await;
    assert_eq!((held.people.len(), held.groups.len()), (USERS, GROUPS));
    assert_eq!(Held::by(&to).await, held);

    let began = Instant::now();
    let idle = between.run().await;
    assert_eq!((idle.planned_total(), idle.done.len()), (0, 0), "{idle:?}");
    println!("nothing to do was found in {} s", began.elapsed().as_secs());

    // Users are renamed, get another display name, are disabled, deleted and moved; one group is created, one deleted.
    let change = async |number, body: Value| {
        from.replace(&format!("users/{}", id(&from, &login(number)).await), &body).await;
    };
    from.change(&json!({"editUsernameAllowed": true})).await;
    change(
        1,
        json!({"username": "renamed", "firstName": "Given1", "lastName": "Example", "email": "person0001@example.org"}),
    )
    .await;
    change(2, json!({"firstName": "Änne", "lastName": "Müller", "email": "anne@example.org"})).await;
    change(
        3,
        json!({"enabled": false, "firstName": "Given3", "lastName": "Example", "email": "person0003@example.org"}),
    )
    .await;
    change(
        6,
        json!({
            "username": login(6), "firstName": "Given6", "lastName": "Example", "email": "person0006@example.org",
            "attributes": {"title": ["Prof"]},
        }),
    )
    .await;
    from.delete(&format!("users/{}", id(&from, &login(4)).await)).await;
    let (mover, team) = (id(&from, &login(5)).await, group_id(&from, "team5").await);
    from.delete(&format!("users/{mover}/groups/{team}")).await;
    let renamed = group_id(&to, "team6").await;
    from.replace(&format!("groups/{}", group_id(&from, "team6").await), &json!({"name": "Team sechs"})).await;
    let crew = from.post("groups", &json!({"name": "crew/1 100%"})).await;
    from.put(&format!("users/{mover}/groups/{crew}")).await;
    from.post("users", &person(USERS)).await;
    between.run().await;
    between.approve_all().await;
    between.run().await;

    let mut held = Held::by(&from).await;
    let now = Held::by(&to).await;
    // The account of a deleted user is kept, inactive, with its groups.
    let left = now.people.get(&login(4)).expect("kept");
    assert!(!left.2, "{left:?}");
    held.people.insert(login(4), left.clone());
    held.groups.get_mut("team4").expect("there").insert(login(4));
    assert!(now.people.contains_key("renamed") && !now.people[&login(3)].2);
    assert_eq!(group_id(&to, "Team sechs").await, renamed, "renamed, not recreated");
    assert!(now.groups["crew/1 100%"].contains(&login(5)));
    assert_eq!((&now.people[&login(6)].3, &now.people[&login(6)].4), (&json!("Prof"), &Value::Null), "one is cleared");
    assert_eq!(now, held);
    let idle = between.run().await;
    assert_eq!((idle.planned_total(), idle.done.len()), (0, 0), "{idle:?}");
    from.remove().await;
    to.remove().await;
}
