//! Names that the server reports as taken although its filter finds no account.

use usersync::{
    model::Operation,
    targets::{
        Target,
        TargetErrorKind::{NameTaken, Unsupported},
    },
};
use usersync_simulators::scim::NewAccount;

use super::{operations::rename, world::World};

fn group(name: &str) -> Operation {
    Operation::CreateGroup { name: name.to_owned() }
}

fn rename_group(group: &usersync::model::TargetGroup, to: &str) -> Operation {
    Operation::RenameGroup { group: group.id.clone(), name: group.name.clone(), to: to.to_owned() }
}

#[tokio::test]
async fn a_name_in_another_spelling_is_found_after_the_refusal() {
    let world = World::switched(|switches| {
        switches.filter_case = true;
        switches.group_unique_fold = true;
    })
    .await;
    let ada = world.server.add_account(NewAccount::named("Ada"));
    world.server.add_group("Dev");
    world.server.add_group("ops");
    assert_eq!(world.scim.account_named("ada").await, Ok(None), "the filter minds case");
    assert_eq!(world.create("ada").await.expect_err("taken").kind, NameTaken);
    let found = world.scim.account_named("ada").await.expect("a look").expect("found now");
    assert_eq!((found.id.as_str(), found.name.as_str()), (ada.as_str(), "Ada"));
    world.server.remove_account("Ada");
    assert_eq!(world.scim.account_named("ada").await, Ok(None), "gone is gone");

    assert_eq!(world.apply(&group("dev")).await.expect_err("taken").kind, NameTaken);
    assert_eq!(world.group("dev").await.name, "Dev");
    assert_eq!(world.apply(&rename_group(&world.group("ops").await, "DEV")).await.expect_err("taken").kind, NameTaken);
}

#[tokio::test]
async fn a_login_that_a_rename_finds_taken_is_found_as_well() {
    let world = World::switched(|switches| switches.filter_case = true).await;
    world.server.add_account(NewAccount::named("Ada"));
    world.server.add_account(NewAccount::named("bob"));
    let bob = world.account("bob").await;
    assert_eq!(world.apply(&rename(&bob, "ada")).await.expect_err("taken").kind, NameTaken);
    assert_eq!(world.account("ada").await.name, "Ada");
}

#[tokio::test]
async fn a_name_in_use_by_no_visible_account_is_a_permanent_refusal_with_the_servers_message() {
    for reported in [true, false] {
        let world = World::switched(|switches| {
            switches.hidden = vec!["ghost"];
            switches.uniqueness_told = reported;
        })
        .await;
        world.server.add_account(NewAccount::named("bob"));
        world.server.add_group("dev");
        let operations = [
            super::operations::create("ghost"),
            rename(&world.account("bob").await, "ghost"),
            group("ghost"),
            rename_group(&world.group("dev").await, "ghost"),
        ];
        for operation in operations {
            let error = world.apply(&operation).await.expect_err("taken");
            assert_eq!(error.kind, Unsupported, "{operation}: {error}");
            let words = error.text.contains("the same unique attribute");
            assert!(words || !reported, "{operation}: {error}");
        }
    }
}

#[tokio::test]
async fn a_group_that_differs_in_case_only_is_named_where_case_counts() {
    let world = World::as_profile("keycloak", |switches| switches.group_unique_fold = true).await;
    world.server.add_group("Dev");
    let error = world.apply(&group("dev")).await.expect_err("taken");
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("a group Dev, which differs only in case"), "{error}");
}
