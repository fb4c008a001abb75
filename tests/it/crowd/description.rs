//! Checks all requests of the client and all answers of the simulator against the vendor's description.

use serde_json::json;
use usersync::targets::Target;
use usersync_simulators::{CrowdOptions, Entry, crowd::NewCrowdUser};

use super::place::{
    Place, activate, create, create_group, deactivate, delete, delete_group, give, join, leave, rename, update,
};
use super::simulator::{Raw, person};
use crate::support::contract::Contract;

fn contract() -> Contract {
    let description = include_str!("../../contracts/crowd-3.5.openapi.json");
    let deviations = include_str!("../../contracts/crowd-deviations.json");
    Contract::new(description, deviations, "/rest/usermanagement/1")
        .refusal(|body| body["reason"].is_string() && body["message"].is_string())
}

fn crowds_own(entry: &Entry) -> bool {
    !entry.path.contains("/applinks/")
}

/// Runs every operation and every read of the client.
async fn all_that_the_client_does(place: &Place) {
    place.simulator.add_user(NewCrowdUser::named("root").in_groups(&["crowd-administrators"]));
    place.crowd.probe().await.expect("a first contact");
    let ada = place.create("Ada").await;
    place.refused(&create("ada")).await;
    for operation in [
        create_group("R&D / EMEA + 100%"),
        update(&ada, Some("Ada Ünal"), Some("ada@example.com")),
        give(&ada, &[("title", "Dr"), ("cost centre", "4 & 7")]),
        give(&ada, &[("title", "Prof"), ("cost centre", "")]),
        join(&ada.id, "Ada", "R&D / EMEA + 100%"),
        join(&ada.id, "Ada", "R&D / EMEA + 100%"),
        rename(&ada, "ada lovelace"),
        deactivate(&ada),
        activate(&ada),
    ] {
        place.done(&operation).await;
    }
    place.refused(&create_group("r&d / emea + 100%")).await;
    place.crowd.account(&ada.id).await.expect("a look").expect("there");
    place.crowd.group_named("R&D / EMEA + 100%").await.expect("a look").expect("there");
    place.crowd.members(&"r&d / emea + 100%".into(), None).await.expect("a look").expect("there");
    place.crowd.memberships(&["r&d / emea + 100%".into()].into()).await.expect("a look").expect("told");
    place.all().await;
    for operation in [
        leave(&ada.id, "ada lovelace", "R&D / EMEA + 100%"),
        leave(&ada.id, "ada lovelace", "R&D / EMEA + 100%"),
        delete_group("R&D / EMEA + 100%"),
        delete_group("R&D / EMEA + 100%"),
        delete(&ada),
        delete(&ada),
    ] {
        place.done(&operation).await;
    }
    assert_eq!(place.named("ada").await, None);
}

#[tokio::test]
async fn all_requests_and_answers_keep_to_the_description_and_no_deviation_is_idle() {
    let mut contract = contract();
    for options in [
        CrowdOptions::version("2.9.1"),
        CrowdOptions::version("3.7.2"),
        CrowdOptions::version("5.2.3"),
        CrowdOptions::version("7.1.3"),
        CrowdOptions::jira("9.12.15"),
    ] {
        let (base, version) = (options.base_path.clone(), options.version.clone());
        let place = Place::keeping(options, &["title", "cost centre"]).await;
        all_that_the_client_does(&place).await;
        let problems = contract.check(&place.simulator.journal.matching(crowds_own), &base);
        assert_eq!(problems, Vec::<String>::new(), "{version}");
    }
    // Requests that the client never makes.
    let raw = Raw::start(CrowdOptions::default()).await;
    raw.expect("POST", "/user", Some(person("ada")), 201, "").await;
    raw.expect("POST", "/group", Some(json!({ "name": "dev", "type": "GROUP" })), 201, "").await;
    raw.expect("PUT", "/group?groupname=dev", Some(json!({ "name": "dev", "active": true })), 200, "").await;
    raw.expect("GET", "/user", None, 400, "").await;
    raw.expect("GET", "/user?username=ada&expand=attributes", None, 200, "").await;
    raw.expect("GET", "/user/attribute?username=ada", None, 200, "").await;
    let attributes = json!({ "attributes": [] });
    raw.expect("POST", "/user/attribute?username=nobody", Some(attributes), 404, "").await;
    raw.expect("GET", "/search?entity-type=user&restriction=x", None, 400, "").await;
    raw.expect("GET", "/search?entity-type=group&expand=group", None, 200, "").await;
    raw.expect("GET", "/user/group/nested?username=ada", None, 200, "").await;
    raw.expect("GET", "/group/child-group/direct?groupname=dev", None, 200, "").await;
    raw.expect("POST", "/user/rename?username=nobody", Some(json!({ "new-name": "x" })), 404, "").await;
    raw.expect("POST", "/user/rename?username=ada", Some(json!({ "new-name": "ada.l" })), 200, "").await;
    raw.simulator.refuse_address(true);
    raw.expect("GET", "/user?username=ada", None, 403, "").await;
    raw.simulator.refuse_address(false);
    raw.simulator.refuse_credentials(true);
    raw.expect("GET", "/user?username=ada", None, 401, "").await;
    let problems = contract.check(&raw.simulator.journal.entries(), "/crowd");
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(contract.unused(), Vec::<String>::new(), "a deviation that nothing meets is none");
}
