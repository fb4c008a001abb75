//! The calls of a full reconcile whose policy requires groups of a few users in a large realm, against those that list the
//! members of these groups alone.

mod support;

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use url::Url;
use usersync::{
    engine::{Connector, Engine, Jitter, RunOptions, SystemClock, TargetPort},
    keycloak::{KeycloakSettings, KeycloakSource, Source as _},
    model::{Pair, Policy, RunTrigger},
    store::{
        EngineStore as _,
        sqlite::{OpenOptions, SqliteStore},
    },
    targets::{
        Credentials,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    KeycloakOptions, ScimOptions, SimulatedKeycloak, SimulatedScim,
    keycloak::{NewUser, RealmHandle},
};

const REALM: &str = "acme";
const SECRET: &str = "bench-client-secret";

/// Number of users of the realm, of members of the required groups, and of these groups.
#[derive(Clone, Copy)]
struct Size {
    users: usize,
    members: usize,
    groups: usize,
}

impl Size {
    fn get() -> Self {
        if support::is_smoke() {
            return Self { users: 400, members: 100, groups: 20 };
        }
        Self {
            users: support::number("USERS", 100_000),
            members: support::number("MEMBERS", 2_000),
            groups: support::number("GROUP_COUNT", 50),
        }
    }
}

fn fill(realm: &RealmHandle, size: Size) {
    let users = (0..size.users).map(|user| {
        let named = NewUser::named(format!("user-{user:06}"));
        if user < size.members { named.in_groups(&[&format!("/staff/team-{:03}", user % size.groups)]) } else { named }
    });
    realm.import_users(users).expect("imported");
}

fn source(keycloak: &SimulatedKeycloak) -> KeycloakSource {
    let secret = Arc::new(|| Ok(SECRET.to_owned().into()));
    let url = Url::parse(&keycloak.url()).expect("a URL");
    KeycloakSource::new(KeycloakSettings::new(url, REALM, "usersync", secret)).expect("a client")
}

/// Returns the number of reads at the source that its clients made, without those that signed in.
fn reads(keycloak: &SimulatedKeycloak) -> usize {
    keycloak.journal.matching(|entry| entry.method == "GET" && entry.path.contains("/admin/")).len()
}

async fn engine(keycloak: &SimulatedKeycloak, scim: &SimulatedScim, pair: &Pair, folder: &Path) -> Engine {
    let token = Credentials::Token(Arc::new(|| Ok(ScimOptions::default().token.into())));
    let settings = ScimSettings::new(Url::parse(&scim.url()).expect("a URL"), token);
    let port = TargetPort::new(pair.target.clone(), Arc::new(ScimTarget::new(settings).expect("a client")));
    let scope = serde_json::from_str(r#"{"required_groups": ["/staff"]}"#).expect("a scope");
    let policy = Policy { scope, ..Policy::default() };
    let targets = vec![pair.target.clone()];
    let connector = Connector::new(pair.connector.clone(), Arc::new(source(keycloak)), policy, targets);
    let store = SqliteStore::open(folder.join("run.db"), OpenOptions::new(Timestamp::now())).await.expect("a store");
    store.ensure_pairs(std::slice::from_ref(pair), Timestamp::now()).await.expect("written");
    Engine::new(Arc::new(store), Arc::new(SystemClock), Jitter::random(), vec![connector], vec![port])
}

async fn run(size: Size) {
    let keycloak = SimulatedKeycloak::start(KeycloakOptions::default()).await.expect("a simulated Keycloak");
    let scim = SimulatedScim::start(ScimOptions::default()).await.expect("a simulated SCIM server");
    let realm = keycloak.add_realm(REALM);
    realm.add_service_client("usersync", SECRET, &["view-users", "view-events"]);
    fill(&realm, size);

    // Bare: the members of each required group.
    let bare = source(&keycloak);
    let teams: Vec<_> = bare.groups().await.expect("listed").items;
    let before = reads(&keycloak);
    for team in teams.iter().filter(|team| team.path.starts_with("/staff")) {
        bare.members_in_full(&team.id).await.expect("read").expect("it exists");
    }
    let alone = reads(&keycloak) - before;

    let folder = support::folder();
    let pair = Pair::new(REALM, "wiki");
    let engine = engine(&keycloak, &scim, &pair, folder.path()).await;
    let before = reads(&keycloak);
    let options = RunOptions { first: true, ..RunOptions::dry(RunTrigger::Operator) };
    let (_, report) = Box::pin(engine.run(&pair, &options)).await.expect("it ends well");
    let ours = reads(&keycloak) - before;
    assert_eq!((report.users, report.in_scope), (size.members, size.members), "{report:?}");
    #[allow(clippy::cast_precision_loss)]
    let ratio = ours as f64 / alone as f64;
    println!(
        "scope_walk: {} members of {} required groups in a realm of {} users: {ours} reads, {alone} for the members alone",
        size.members, size.groups, size.users
    );
    println!("ratio scope_walk {ratio:.2}");
    assert!(ratio <= 1.2 || support::is_smoke(), "more than 1.2 times the reads of the members alone");
}

fn main() {
    support::runtime().block_on(run(Size::get()));
}
