//! Requests of the client and answers of the simulator, checked against the schemas of RFC 7643 and RFC 7644.

use serde_json::json;
use usersync::{
    model::Operation,
    targets::{
        Target,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    ScimOptions, ScimSwitches,
    scim::{Filters, MemberRemoval, NewAccount},
};

use crate::support::contract::Contract;

use super::{
    operations::{delete, delete_group, rename, set_active, soon, update},
    world::{World, settings},
};

const DESCRIPTION: &str = include_str!("../../contracts/scim-rfc7643.json");
const DEVIATIONS: &str = include_str!("../../contracts/scim-deviations.json");

/// Runs all operations twice, some that are refused, and all reads.
async fn everything(world: &World) {
    world.scim.probe().await.expect("a first contact");
    for name in ["ada", "bob"] {
        let made = world.create(name).await.expect("made");
        let _ = world.create(name).await;
        let group = format!("of {name}");
        let _ = world.apply(&Operation::CreateGroup { name: group.clone() }).await;
        let _ = world.apply(&Operation::CreateGroup { name: group.clone() }).await;
        for operation in [
            world.join(name, &group).await,
            update(&made, Some("Other Name"), Some(&format!("{name}@other.example.org"))),
            set_active(&made, false),
            set_active(&made, true),
            rename(&made, &format!("{name}.new")),
            rename(&made, name),
            world.leave(name, &group).await,
        ] {
            for _ in 0..2 {
                let _ = world.apply(&operation).await;
            }
        }
        let (one, other) = (world.group(&group).await, world.group("all").await);
        let groups = [(&one.id, one.name.as_str()), (&other.id, other.name.as_str())];
        let _ = world.scim.add_to_groups(&made.id, &made.name, &groups, soon()).await;
        world.scim.account(&made.id).await.expect("a look");
        world.scim.account(&"nobody".into()).await.expect("a look");
        world.members(&group).await;
        let id = world.group(&group).await.id;
        world.done(&delete_group(&id, &group)).await;
        world.done(&delete_group(&id, &group)).await;
        if name == "bob" {
            world.done(&delete(&made)).await;
            world.done(&delete(&made)).await;
            let _ = world.apply(&set_active(&made, false)).await;
        }
    }
    world.list().await;
}

#[tokio::test]
async fn what_is_sent_and_answered_is_as_the_standard_has_it() {
    let mut contract = Contract::new(DESCRIPTION, DEVIATIONS, "");
    let mut checked = 0;
    let switches: [fn(&mut ScimSwitches); 9] = [
        |_| {},
        |switches| *switches = ScimSwitches::keycloak(),
        |switches| {
            switches.patch = false;
            switches.etag = true;
        },
        |switches| switches.patch_returns_resource = false,
        |switches| switches.cursor = true,
        |switches| switches.member_removal = MemberRemoval::Value,
        |switches| switches.filters = Filters::Off,
        |switches| switches.booleans_as_text = true,
        |switches| switches.uniqueness_told = false,
    ];
    for work in switches {
        for profile in ["generic", "keycloak"] {
            let mut options = ScimOptions::default();
            work(&mut options.switches);
            options.switches.page_cap = 3;
            let mut world = World::with(options).await;
            for nth in 0..5 {
                let seeded = NewAccount::named(format!("seed{nth}")).in_groups(&["seeds", "all"]);
                world.server.add_account(seeded.with("title", json!("Dr.")));
            }
            let settings = ScimSettings { profile: Some(profile.into()), ..settings(&world.server) };
            world.scim = ScimTarget::new(settings).expect("good settings");
            if profile == "generic" && world_keeps_names_apart(&world) {
                continue;
            }
            everything(&world).await;
            let entries = world.server.journal.entries();
            let problems = contract.check(&entries, "/scim/v2");
            assert_eq!(problems, Vec::<String>::new(), "{profile}");
            checked += entries.len();
        }
    }
    assert_eq!(contract.unused(), Vec::<String>::new(), "deviations that nothing makes use of");
    println!("{checked} requests with their answers are as the standard has it");
}

/// Returns whether the server stores names separately; a client that does not expect this cannot create accounts.
fn world_keeps_names_apart(world: &World) -> bool {
    let state = world.server.snapshot();
    state.account("seed0").is_some_and(|account| !account.fields.contains_key("displayName"))
}
