//! Servers that change other members than requested: no other member is removed.

use futures::future::join_all;
use usersync::{
    model::Operation,
    targets::{
        Target,
        TargetErrorKind::{Unanswered, Unsupported},
    },
};
use usersync_simulators::{
    ScimSwitches,
    scim::{MemberAddition, MemberRemoval, NewAccount, Visibility},
};

use super::{
    operations::soon,
    world::{World, names},
};

/// A server with three accounts in the group `dev`, and `new` outside.
async fn four(profile: &str, work: impl FnOnce(&mut ScimSwitches)) -> World {
    let world = World::as_profile(profile, work).await;
    for name in ["ada", "bob", "eve"] {
        world.server.add_account(NewAccount::named(name).in_groups(&["dev"]));
    }
    world.server.add_account(NewAccount::named("new"));
    world
}

fn observed(world: &World) -> String {
    world.scim.observed().into_iter().map(|note| note.text).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_group_whose_members_are_unknown_is_never_written_back_whole() {
    for announced in [false, true] {
        for reported in [Visibility::Never, Visibility::Empty] {
            let world = four("generic", |switches| {
                (switches.patch, switches.patch_announced) = (false, announced);
                (switches.members_told, switches.groups_told) = (reported, Visibility::Never);
            })
            .await;
            let mut texts = Vec::new();
            for operation in [world.join("new", "dev").await, world.leave("bob", "dev").await] {
                let error = world.apply(&operation).await.expect_err("the others are not known");
                assert_eq!(error.kind, Unsupported, "{error}");
                texts.push(error.text);
            }
            assert!(texts[0].starts_with("group dev: ") && texts[0] == texts[1], "one text for all: {texts:?}");
            assert_eq!(world.inside("dev"), names(&["ada", "bob", "eve"]), "{reported:?}");
            assert_eq!(world.server.journal.count("PUT", "/Groups"), 0, "{reported:?}");
        }
    }
}

#[tokio::test]
async fn a_new_group_is_known_to_be_empty_and_shows_whether_members_are_shown() {
    for reported in [Visibility::Always, Visibility::Never] {
        let world = World::switched(|switches| {
            (switches.patch, switches.patch_announced) = (false, false);
            (switches.members_told, switches.groups_told) = (reported, Visibility::Never);
        })
        .await;
        world.done(&Operation::CreateGroup { name: "dev".into() }).await;
        for name in ["ada", "bob"] {
            world.server.add_account(NewAccount::named(name));
        }
        world.done(&world.join("ada", "dev").await).await;
        let second = world.apply(&world.join("bob", "dev").await).await;
        assert_eq!(second.is_ok(), reported == Visibility::Always, "{second:?}");
        assert!(world.inside("dev").contains("ada"), "{reported:?}");
        assert_eq!(observed(&world).contains("does not return the members"), reported == Visibility::Never);
    }
}

#[tokio::test]
async fn members_that_adding_one_removed_are_restored_and_another_form_is_used() {
    let world = four("generic", |switches| switches.member_addition = MemberAddition::Replaces).await;
    world.done(&world.join("new", "dev").await).await;
    assert_eq!(world.inside("dev"), names(&["ada", "bob", "eve", "new"]));
    let reported = observed(&world);
    assert!(
        reported.contains("group dev: adding a member by PATCH removed 3 other members; they were restored"),
        "{reported}"
    );
    let notes = world.scim.probe().await.expect("a contact").notes;
    assert!(notes.iter().any(|note| note.about == "members" && note.text == reported), "check shows it: {notes:?}");
    world.server.add_account(NewAccount::named("late"));
    world.done(&world.join("late", "dev").await).await;
    assert_eq!(world.inside("dev").len(), 5);
    assert_eq!(world.server.journal.count("PATCH", "/Groups"), 1, "the form is not used again");
}

#[tokio::test]
async fn members_that_one_call_for_several_groups_removed_are_restored() {
    let world = four("generic", |switches| switches.member_addition = MemberAddition::Replaces).await;
    world.server.add_account(NewAccount::named("old").in_groups(&["ops"]));
    let (dev, ops, new) = (world.group("dev").await.id, world.group("ops").await.id, world.account("new").await);
    let refused = world.scim.add_to_groups(&new.id, &new.name, &[(&dev, "dev"), (&ops, "ops")], soon()).await;
    assert_eq!(refused, Ok(vec![]));
    assert_eq!(world.inside("dev"), names(&["ada", "bob", "eve", "new"]));
    assert_eq!(world.inside("ops"), names(&["new", "old"]));
    let error = world.scim.add_to_groups(&new.id, &new.name, &[(&dev, "dev"), (&ops, "ops")], soon()).await;
    assert_eq!(error.expect_err("not by one call any more").kind, Unsupported);
}

#[tokio::test]
async fn members_that_removing_one_removed_are_restored_and_another_form_is_used() {
    for profile in ["generic", "atlassian-cloud", "keycloak"] {
        let world = four(profile, |switches| switches.member_removal = MemberRemoval::AlwaysRemovesAll).await;
        world.done(&world.leave("bob", "dev").await).await;
        assert_eq!(world.inside("dev"), names(&["ada", "eve"]), "{profile}");
        assert!(observed(&world).contains("removing a member by PATCH removed 2 other members; they were restored"));
        world.done(&world.leave("ada", "dev").await).await;
        assert_eq!(world.inside("dev"), names(&["eve"]), "{profile}");
        assert_eq!(world.server.journal.count("PATCH", "/Groups"), 1, "{profile}: the form is not used again");
    }
}

#[tokio::test]
async fn an_addition_without_effect_is_not_confirmed() {
    let world = four("generic", |switches| switches.member_addition = MemberAddition::Nothing).await;
    let error = world.apply(&world.join("new", "dev").await).await.expect_err("nothing was done");
    assert_eq!(error.kind, Unanswered, "it is read again later");
    assert!(error.text.contains("does not return the member"), "{error}");
}

#[tokio::test]
async fn writes_to_one_group_are_serialized() {
    let world = four("generic", |switches| switches.patch_races = true).await;
    let mut operations = vec![world.leave("ada", "dev").await, world.leave("bob", "dev").await];
    for nth in 0..4 {
        let name = format!("n{nth}");
        world.server.add_account(NewAccount::named(&name));
        operations.push(world.join(&name, "dev").await);
    }
    let came = join_all(operations.iter().map(|operation| world.apply(operation))).await;
    assert!(came.iter().all(Result::is_ok), "{came:?}");
    assert_eq!(world.inside("dev"), names(&["eve", "n0", "n1", "n2", "n3"]));
}

#[tokio::test]
async fn a_form_that_is_proven_costs_no_further_calls() {
    let world = four("generic", |_| {}).await;
    world.done(&world.join("new", "dev").await).await;
    world.done(&world.leave("ada", "dev").await).await;
    let operations = [world.join("ada", "dev").await, world.leave("bob", "dev").await];
    let before = world.server.journal.entries().len();
    for operation in &operations {
        world.done(operation).await;
    }
    assert_eq!(world.server.journal.entries().len() - before, 2, "one call each");
}
