//! A policy that requires an organization, on the command line.

use serde_json::json;
use usersync_simulators::keycloak::RealmHandle;

use super::{place::Place, schemas::assert_valid, whole::servers};

const RIGHTS: [&str; 3] = ["view-users", "view-events", "view-organizations"];

/// Adds the first users to the new organization `acme` (Acme Inc).
async fn with_organization(realm: &RealmHandle, members: usize) {
    realm.set_client_roles("usersync", &RIGHTS);
    realm.switch_organizations(true).await;
    let acme = realm.create_organization("acme", "Acme Inc").await.expect("created");
    for number in 0..members {
        let user = realm.snapshot().user(&format!("staff{number}")).expect("there").id.clone();
        realm.set_organization_member(&acme, &user, true).await.expect("added");
    }
}

fn configure(place: &Place, policy: &str) {
    place.configure(|text| format!("{text}\n{policy}\n"));
}

#[tokio::test]
async fn a_required_organization_is_in_check_plan_and_explain() {
    let (servers, place) = servers().await;
    with_organization(&servers.realm, 58).await;
    configure(&place, "[connector.policy.scope]\nrequired_organizations = [\"acme\"]");
    place.run(&["check"]).await.says("  ok    organizations    1 organization of the policy, with their members");
    place.run(&["plan"]).await.ended(0).says("in scope 58 of 60").says("  create        57 users");
    place
        .run(&["explain", "staff1"])
        .await
        .ended(0)
        .says("in /engineering, member of acme   connector acme")
        .says("in scope      yes: it meets the conditions of the policy's scope; required_organizations: acme");
    let out = "it is a member of none of required_organizations (acme)";
    place.run(&["explain", "staff59"]).await.ended(0).says(&format!("in scope      no: {out}"));
    let (_, document) = place.json(&["explain", "staff1"]).await;
    assert_eq!(document["people"][0]["user"]["organizations"]["held"], json!(["acme"]), "{document}");
    assert_valid(&["explain"], &document);
    let (_, document) = place.json(&["explain", "staff59"]).await;
    assert_eq!(document["people"][0]["why"], out, "{document}");
    assert_valid(&["explain"], &document);
}

#[tokio::test]
async fn a_missing_right_and_an_unknown_organization_are_reported_by_check() {
    let (servers, place) = servers().await;
    with_organization(&servers.realm, 1).await;
    configure(&place, "[connector.policy.scope]\nrequired_organizations = [\"acne\"]");
    let similar = "Keycloak lists no organization acne, which the policy requires";
    place.run(&["check"]).await.ended(1).says("  no    organizations").says(similar).says("Acme Inc (alias acme)");
    servers.realm.set_client_roles("usersync", &RIGHTS[..2]);
    servers.keycloak.revoke_tokens();
    let lacks = "Client usersync lacks the role view-organizations (before Keycloak 26.7: manage-realm)";
    place.run(&["check"]).await.ended(1).says("  no    organizations").says(lacks);
    place.run(&["explain", "staff0"]).await.says("in scope      undecided").says("lacks the role view-organizations");
    servers.realm.switch_organizations(false).await;
    servers.realm.set_client_roles("usersync", &RIGHTS);
    servers.keycloak.revoke_tokens();
    place.run(&["check"]).await.ended(1).says("organizations are turned off in this realm");
    place.run(&["plan"]).await.ended(1).says("in scope 0 of 60").says("organizations are turned off in this realm");
}

#[tokio::test]
async fn a_test_of_the_policy_names_the_organizations_of_its_user() {
    let place = Place::nowhere();
    let test = |organization: &str, in_scope: bool| {
        format!(
            "[[connector.user_test]]\nname = \"of {organization}\"\nin_scope = {in_scope}\n\
             user = {{ username = \"ann\", organizations = [\"{organization}\"] }}\n"
        )
    };
    let scope = "[connector.policy.scope]\nrequired_organizations = [\"acme\", \"globex\"]";
    configure(&place, &[scope, &test("globex", true), &test("initech", false)].join("\n"));
    place.run(&["policy", "test"]).await.ended(0).says("All 2 tests pass.");
    configure(&place, &test("umbrella", true));
    let why = "because it is a member of none of required_organizations (acme, globex)";
    place.run(&["policy", "test"]).await.ended(1).says(why);
}
