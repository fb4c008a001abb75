//! Calls per change, on servers with different habits.

use std::collections::BTreeSet;

use usersync::{
    model::{AccountId, Operation, TargetGroupId},
    targets::{AddedMembers, Target},
};
use usersync_simulators::{
    ScimSwitches,
    scim::{Filters, NewAccount, Visibility},
};

use super::{
    operations::{create, set_active, soon, update},
    world::World,
};

const GROUPS: usize = 60;
const PEOPLE: usize = 40;

/// Changes the switches of a simulated server.
type Habit = fn(&mut ScimSwitches);

/// Habits of servers: name, switches, and the calls to create an account with three groups, add, remove and move a
/// member.
const HABITS: [(&str, Habit, [usize; 4]); 5] = [
    ("plain", plain, [4, 2, 3, 5]),
    (
        "shows groups of users",
        |switches| {
            plain(switches);
            switches.groups_told = Visibility::Always;
        },
        [4, 2, 2, 3],
    ),
    (
        "filters by member",
        |switches| {
            plain(switches);
            switches.member_filters = Filters::On;
        },
        [4, 2, 3, 4],
    ),
    (
        "no PATCH",
        |switches| {
            plain(switches);
            (switches.patch, switches.patch_announced) = (false, false);
        },
        [7, 3, 4, 7],
    ),
    (
        "bulk",
        |switches| {
            plain(switches);
            switches.bulk = 100;
        },
        [2, 2, 3, 4],
    ),
];

/// Shows no groups of users, has no filter by member, and accepts one operation per call.
fn plain(switches: &mut ScimSwitches) {
    switches.groups_told = Visibility::Never;
    switches.member_filters = Filters::Broken;
    switches.bulk = 0;
}

/// Returns a server that was used for a while: its behaviour is known by now.
async fn in_service(work: fn(&mut ScimSwitches)) -> World {
    let world = World::switched(work).await;
    for number in 0..PEOPLE {
        let groups: Vec<String> = (0..3).map(|nth| group(number * 3 + nth)).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        world.server.add_account(NewAccount::named(format!("p{number:02}")).in_groups(&groups));
    }
    world.scim.probe().await.expect("a first contact");
    let ada = world.create("ada").await.expect("created");
    world.done(&world.join("ada", "g00").await).await;
    world.done(&world.join("ada", "g01").await).await;
    world.done(&world.leave("ada", "g01").await).await;
    for shown in ["Ada One", "Ada Two"] {
        world.done(&update(&ada, Some(shown), None)).await;
    }
    let two = [world.group("g02").await, world.group("g03").await];
    let two: Vec<(&TargetGroupId, &str)> = two.iter().map(|group| (&group.id, group.name.as_str())).collect();
    let _ = world.scim.add_to_groups(&ada.id, &ada.name, &two, soon()).await;
    let all: BTreeSet<TargetGroupId> = listed(&world).await;
    world.scim.groups_among(&ada.id, &all).await.expect("read");
    world
}

fn group(number: usize) -> String {
    format!("g{:02}", number % GROUPS)
}

async fn listed(world: &World) -> BTreeSet<TargetGroupId> {
    let mut all = BTreeSet::new();
    for name in world.server.snapshot().groups.keys() {
        all.insert(world.group(name).await.id);
    }
    all
}

/// Does the membership part of a task: reads the account and the groups to leave, then writes.
async fn member(world: &World, adds: &[Operation], leaves: &[Operation]) {
    let Some(Operation::AddMember { account, .. } | Operation::RemoveMember { account, .. }) =
        adds.iter().chain(leaves).next()
    else {
        return;
    };
    let account = world.scim.account(account).await.expect("read").expect("there");
    if account.groups.is_none() {
        let left = leaves.iter().filter_map(|leave| match leave {
            Operation::RemoveMember { group, .. } => Some(group.clone()),
            _ => None,
        });
        world.scim.groups_among(&account.id, &left.collect()).await.expect("read");
    }
    for operation in adds.iter().chain(leaves) {
        world.done(operation).await;
    }
}

#[tokio::test]
async fn a_change_costs_what_it_changes_on_every_kind_of_server() {
    for (habit, work, [create_calls, add_calls, remove_calls, move_calls]) in HABITS {
        let world = in_service(work).await;
        let bulk = world.scim.probe().await.expect("a contact").capabilities.groups_at_once > 1;

        let p01 = world.account("p01").await;
        let disabling = async {
            world.scim.account(&p01.id).await.expect("read").expect("there");
            world.done(&set_active(&p01, false)).await;
        };
        assert!(world.calls(disabling).await.1 <= 3, "{habit}: disabling");

        let naming = async {
            world.scim.account(&p01.id).await.expect("read").expect("there");
            world.done(&update(&p01, Some("Another Name"), None)).await;
        };
        assert!(world.calls(naming).await.1 <= 3, "{habit}: another name");

        let groups = [world.group("g10").await, world.group("g11").await, world.group("g12").await];
        let creating = async {
            let account = world.apply(&create("eve")).await.expect("created");
            let usersync::targets::Applied::Account(account) = account else { panic!("{account:?}") };
            assert_eq!(account.groups, Some(vec![]), "{habit}: nothing is read for a new account");
            let three: Vec<(&TargetGroupId, &str)> = groups.iter().map(|one| (&one.id, one.name.as_str())).collect();
            if bulk {
                assert_eq!(world.scim.add_to_groups(&account.id, "eve", &three, soon()).await, Ok(vec![]));
                return;
            }
            for one in &groups {
                let (group, group_name) = (one.id.clone(), one.name.clone());
                let (account, name) = (account.id.clone(), account.name.clone());
                world.done(&Operation::AddMember { group, group_name, account, name }).await;
            }
        };
        assert_eq!(world.calls(creating).await.1, create_calls, "{habit}: creating with three groups");

        let join = [world.join("p02", "g20").await];
        assert!(world.calls(member(&world, &join, &[])).await.1 <= add_calls, "{habit}: joining");
        let leave = [world.leave("p02", "g20").await];
        assert!(world.calls(member(&world, &[], &leave)).await.1 <= remove_calls, "{habit}: leaving");
        let (join, leave) = ([world.join("p03", "g20").await], [world.leave("p03", "g09").await]);
        assert!(world.calls(member(&world, &join, &leave)).await.1 <= move_calls, "{habit}: moving");
        assert!(world.inside("g20").contains("p03") && !world.inside("g09").contains("p03"), "{habit}");
    }
}

#[tokio::test]
async fn groups_are_read_in_pages_where_a_list_shows_members() {
    let world = in_service(plain).await;
    let groups = listed(&world).await;
    let (reported, calls) = world.calls(world.scim.memberships(&groups)).await;
    let reported = reported.expect("read").expect("lists show members").ids;
    assert_eq!((reported.len(), calls), (GROUPS, 2), "all of them are on one page, which is asked for once more");
    let members: usize = reported.values().map(Vec::len).sum();
    assert_eq!(members, world.server.snapshot().groups.values().map(BTreeSet::len).sum::<usize>());

    let silent = in_service(|switches| {
        plain(switches);
        switches.members_told = Visibility::NotInLists;
    })
    .await;
    let groups = listed(&silent).await;
    assert_eq!(silent.scim.memberships(&groups).await.map(|reported| reported.is_none()), Ok(true), "group by group");
}

#[tokio::test]
async fn one_write_adds_many_and_the_maximum_of_a_server_is_learned() {
    let world = World::switched(|switches| {
        plain(switches);
        switches.members_per_patch = 30;
    })
    .await;
    world.done(&Operation::CreateGroup { name: "crowd".into() }).await;
    let group = world.group("crowd").await;
    let people: Vec<AccountId> =
        (0..90).map(|number| world.server.add_account(NewAccount::named(format!("n{number:02}"))).into()).collect();
    let add = async |some: &[AccountId]| world.scim.add_members(&group.id, "crowd", some, soon()).await;
    assert_eq!(add(&people[..1]).await, Ok(AddedMembers::All));
    assert_eq!(add(&people).await, Ok(AddedMembers::Refused), "413");
    assert_eq!(world.scim.max_members_per_call(), 45);
    assert_eq!(add(&people[..45]).await, Ok(AddedMembers::Refused));
    assert_eq!(add(&people[..22]).await, Ok(AddedMembers::All));
    let (came, calls) = world.calls(add(&people[..60])).await;
    assert_eq!((came, calls), (Ok(AddedMembers::Refused), 0), "it is known to be too much");
    assert_eq!(world.inside("crowd").len(), 22);
}

#[tokio::test]
async fn the_first_write_to_an_empty_group_verifies_additions() {
    let world = World::switched(plain).await;
    for name in ["one", "two"] {
        world.done(&Operation::CreateGroup { name: name.into() }).await;
    }
    let people: Vec<AccountId> =
        (0..20).map(|number| world.server.add_account(NewAccount::named(format!("n{number:02}"))).into()).collect();
    let (one, two) = (world.group("one").await, world.group("two").await);
    assert_eq!(world.scim.add_members(&one.id, "one", &people, soon()).await, Ok(AddedMembers::All));
    let (came, calls) = world.calls(world.scim.add_members(&two.id, "two", &people, soon())).await;
    assert_eq!((came, calls), (Ok(AddedMembers::All), 1), "known by now, and the group is known to be empty");
    assert_eq!(world.inside("two").len(), 20);
}
