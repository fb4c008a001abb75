//! The display name in all attributes that hold it, `externalId` of groups, and the effect of the settings on calls.

use serde_json::json;
use usersync::{
    model::Operation,
    targets::{
        Target,
        scim::{Habits, Names, ScimTarget},
    },
};
use usersync_simulators::{ScimOptions, scim::NewAccount};

use super::{
    operations::update,
    world::{World, settings},
};

async fn with(habits: Habits) -> World {
    let mut world = World::with(ScimOptions::default()).await;
    let mut settings = settings(&world.server);
    settings.habits = habits;
    world.scim = ScimTarget::new(settings).expect("good settings");
    world
}

fn name(world: &World, login: &str) -> [String; 4] {
    let fields = world.server.snapshot().account(login).expect("there").fields.clone();
    let text = |value: Option<&serde_json::Value>| value.and_then(|one| one.as_str()).unwrap_or_default().to_owned();
    let part = |sub: &str| text(fields.get("name").and_then(|name| name.get(sub)));
    [text(fields.get("displayName")), part("formatted"), part("givenName"), part("familyName")]
}

#[tokio::test]
async fn all_names_are_kept_in_sync() {
    for (names, new, later) in [
        (Names::Whole, ["Ada Example", "Ada Example", "", ""], ["Ada Byron", "Ada Byron", "", ""]),
        (Names::Both, ["Ada Example", "Ada Example", "Ada", "Example"], ["Ada Byron", "Ada Byron", "Ada", "Byron"]),
        (
            Names::Split,
            ["Ada Example", "Ada Example", "Ada", "Example"],
            ["Ada Example", "Ada Example", "Ada", "Byron"],
        ),
    ] {
        let world = with(Habits { names: Some(names), ..Habits::default() }).await;
        let ada = world.create("Ada").await.expect("created");
        assert_eq!(name(&world, "Ada"), new.map(str::to_owned), "{names:?}");
        world.done(&update(&ada, Some("Ada Byron"), None)).await;
        assert_eq!(name(&world, "Ada"), later.map(str::to_owned), "{names:?}");
    }
}

#[tokio::test]
async fn parts_of_a_name_that_an_account_has_are_kept_in_sync() {
    let world = with(Habits::default()).await;
    let parts = json!({ "formatted": "Ada L", "givenName": "Ada", "familyName": "L" });
    world.server.add_account(NewAccount::named("ada"));
    world.server.set("ada", "name", parts);
    let ada = world.account("ada").await;
    world.done(&update(&ada, Some("Ada Byron"), None)).await;
    assert_eq!(name(&world, "ada"), ["Ada Byron", "Ada Byron", "Ada", "Byron"].map(str::to_owned));
}

#[tokio::test]
async fn groups_get_an_external_id_where_the_server_wants_one() {
    for wanted in [true, false] {
        let world = with(Habits { group_external_id: Some(wanted), ..Habits::default() }).await;
        world.done(&Operation::CreateGroup { name: "dev".into() }).await;
        let body = world.server.journal.writes().last().expect("written").json();
        assert_eq!(body["externalId"].as_str().is_some_and(|id| id.starts_with("usersync-")), wanted, "{body}");
    }
}

#[tokio::test]
async fn further_headers_and_query_parameters_go_with_every_call() {
    let mut habits = Habits::default();
    habits.headers.insert("X-Api-Version".into(), "7".into());
    habits.query.insert("tenant".into(), "acme".into());
    let world = with(habits).await;
    world.create("ada").await.expect("created");
    for call in world.server.journal.entries() {
        assert_eq!(call.header("x-api-version"), Some("7"), "{call:?}");
        assert!(call.target().contains("tenant=acme"), "{call:?}");
    }
    let mut habits = Habits::default();
    habits.headers.insert("Authorization".into(), "secret".into());
    let mut settings = settings(&world.server);
    settings.habits = habits;
    let error = ScimTarget::new(settings).err().expect("refused");
    assert!(error.text.contains("Authorization is set by usersync"), "{error}");
    assert_eq!(world.scim.kind(), "scim");
}
