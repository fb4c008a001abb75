//! `usersync explain` for groups.

use serde_json::Value;

use super::{place::Place, schemas::assert_valid, whole::servers};

async fn in_service() -> (usersync::demo::stack::SimulatedServers, Place) {
    let (servers, place) = servers().await;
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    (servers, place)
}

#[tokio::test]
async fn a_group_is_explained_by_its_path_or_name_with_its_rules_members_and_changes() {
    let (servers, place) = in_service().await;
    for args in [&["explain", "/engineering"][..], &["explain", "--group", "Engineering"]] {
        place
            .run(args)
            .await
            .ended(0)
            .says("/engineering   60 direct members   id ")
            .says("synced        yes: all groups of the realm are synced")
            .says("group \"engineering\", created by usersync\n")
            .says("name          engineering ← its own name")
            .says("members       60 members, of which usersync added 60")
            .says("to do         nothing")
            .says("create group engineering: done");
    }
    let (code, document) = place.json(&["explain", "/engineering"]).await;
    let group = &document["groups"][0];
    assert_eq!((code, &group["selected"], &group["members"]), (0, &true.into(), &60.into()));
    assert_eq!(group["targets"][0]["managed"]["name"], "engineering");
    assert_valid(&["explain"], &document);
    place.run(&["explain", "/nowhere"]).await.ended(2).complains("no group in Keycloak has this path, name or id");

    servers.jira.faults.add(usersync_simulators::Fault::unavailable());
    place.run(&["explain", "/engineering"]).await.ended(4).says("could not be read").says("60 direct members");
}

#[tokio::test]
async fn what_the_next_work_does_with_a_group_follows_the_policy() {
    let (_servers, place) = servers().await;
    place
        .run(&["explain", "/engineering"])
        .await
        .ended(0)
        .says("no group is managed yet")
        .says("to do         create the group engineering");
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    place.run(&["sync"]).await.ended(0);
    let text = std::fs::read_to_string(place.file("usersync.toml")).expect("read");
    let with_rules = |rules: &str| place.configure(|_| format!("{text}\n[connector.policy.groups]\n{rules}\n"));
    with_rules("prefix = \"kc-\"");
    for name in ["engineering", "kc-engineering"] {
        place
            .run(&["explain", "--group", name])
            .await
            .ended(0)
            .says("name          kc-engineering ← its own name with the prefix \"kc-\"")
            .says("to do         create the group kc-engineering");
    }
    with_rules("excluded = [\"/eng*\"]");
    let explained = place.run(&["explain", "/engineering"]).await;
    explained.ended(0).says("synced        no: left out by groups.excluded of the policy (/eng*)").says(
        "to do         release it (left out by groups.excluded of the policy (/eng*)); memberships that usersync",
    );
    let (_, document) = place.json(&["explain", "/engineering"]).await;
    assert_eq!(document["groups"][0]["targets"][0]["name"], Value::Null);
    assert_valid(&["explain"], &document);
    // Rules of the target replace those of the connector.
    with_rules("excluded = [\"/eng*\"]\n[connector.policy.targets.jira.groups]\nonly = [\"/eng*\"]\nprefix = \"own-\"");
    place
        .run(&["explain", "--group", "own-engineering"])
        .await
        .ended(0)
        .says("synced        yes: selected by targets.jira.groups.only of the policy (/eng*)")
        .says("to do         create the group own-engineering");
    place.run(&["plan"]).await.ended(3).says("own-engineering");
}

#[tokio::test]
async fn the_next_work_is_that_of_the_plan_without_creation_without_a_match_and_with_sub_groups() {
    let (servers, place) = in_service().await;
    let text = std::fs::read_to_string(place.file("usersync.toml")).expect("read");
    let with_rules = |rules: &str| place.configure(|_| format!("{text}\n[connector.policy.groups]\n{rules}\n"));
    with_rules("unmanaged_members = \"remove\"");
    let explained = place.run(&["explain", "/engineering"]).await;
    explained.ended(0).says("unmanaged     removed by a full reconcile");
    let (_, document) = place.json(&["explain", "/engineering"]).await;
    assert_eq!(document["groups"][0]["targets"][0]["unmanaged_members"], "removed by a full reconcile");
    assert_valid(&["explain"], &document);
    with_rules("create = false\nprefix = \"kc-\"");
    place.run(&["explain", "/engineering"]).await.ended(0).says(
        "nothing: the target has no group kc-engineering; create it there, or set groups.create = true in the policy. Until",
    );
    with_rules("only = [\"/nowhere\"]");
    place
        .run(&["explain", "/engineering"])
        .await
        .ended(0)
        .says("nothing: a pattern of groups.only in the policy fits no group");
    with_rules("members = \"with_subgroups\"\ncondition = \"{{ attributes.sync }}\"");
    let realm = &servers.realm;
    let above = realm.snapshot().group("/engineering").expect("it exists").id.clone();
    let below = realm.create_group(Some(&above), "night").await.expect("created");
    let user = realm.create_user(usersync_simulators::keycloak::NewUser::named("night1")).await.expect("created");
    realm.join(&user, &below).await.expect("joined");
    let explained = place.run(&["explain", "/engineering"]).await;
    explained
        .ended(0)
        .says("/engineering   61 members with sub-groups   id ")
        .says("synced        cannot render groups.condition of the policy (it renders \"\", not true or false)")
        .says("to do         nothing: cannot render groups.condition");
    let (_, document) = place.json(&["explain", "/engineering"]).await;
    let group = &document["groups"][0];
    assert_eq!((&group["selected"], &group["targets"][0]["name"]), (&Value::Null, &Value::Null), "{group}");
    assert_valid(&["explain"], &document);
    realm.set_group_attribute(&above, "sync", &["true"]).await.expect("set");
    place
        .run(&["explain", "/engineering"])
        .await
        .ended(0)
        .says("and it meets groups.condition ({{ attributes.sync }})");
}
