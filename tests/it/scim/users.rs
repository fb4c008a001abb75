//! Operations on accounts, on servers with different behaviour.

use serde_json::{Value, json};
use usersync::{
    model::ErrorClass::{Permanent, Unconfirmed},
    targets::{
        Target,
        TargetErrorKind::{NameTaken, NotFound, Unanswered, Unsupported},
    },
};
use usersync_simulators::{
    Fault,
    scim::{Filters, NewAccount},
};

use super::{
    operations::{delete, not_done, rename, set_active, update},
    world::World,
};

#[tokio::test]
async fn the_id_at_the_source_is_written_as_external_id_and_survives() {
    let world = World::switched(|switches| switches.patch = false).await;
    let ada = world.create("ada").await.expect("made");
    let external_id = || world.server.snapshot().account("ada").expect("there").fields["externalId"].clone();
    assert_eq!(external_id(), json!("id-of-ada"));
    world.done(&update(&ada, Some("Ada L"), None)).await;
    assert_eq!(external_id(), json!("id-of-ada"), "kept where the whole is written back");
}

#[tokio::test]
async fn without_patch_the_whole_is_written_back_and_nothing_of_it_is_lost() {
    // One advertises that it lacks PATCH, one only refuses it.
    for announced in [false, true] {
        let world = World::switched(|switches| {
            switches.patch = false;
            switches.patch_announced = announced;
            switches.etag = true;
        })
        .await;
        let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let ada = NewAccount::named("ada")
            .with("externalId", json!("hr-4711"))
            .with("title", json!("Countess"))
            .with(enterprise, json!({"department": "R&D"}))
            .with("emails", json!([{"value": "ada@home", "type": "home"}, {"value": "ada@work", "primary": true}]));
        world.server.add_account(ada.in_groups(&["dev"]));
        let ada = world.account("ada").await;
        assert_eq!(ada.email.as_deref(), Some("ada@work"));
        world.done(&update(&ada, Some("Ada L"), Some("ada@new"))).await;
        world.done(&set_active(&ada, false)).await;
        world.done(&rename(&ada, "ada.l")).await;
        let state = world.server.snapshot();
        let now = state.account("ada.l").expect("renamed");
        assert!(!now.active && now.groups.contains("dev"));
        assert_eq!((&now.fields["externalId"], &now.fields["title"]), (&json!("hr-4711"), &json!("Countess")));
        assert_eq!(now.fields[enterprise], json!({"department": "R&D"}));
        assert_eq!(now.fields["displayName"], json!("Ada L"));
        let emails = json!([{"value": "ada@home", "type": "home"}, {"value": "ada@new", "primary": true}]);
        assert_eq!(now.fields["emails"], emails, "the other address stays");
        assert_eq!(world.server.journal.count("PATCH", "/Users"), usize::from(announced), "tried once, if at all");
    }
}

#[tokio::test]
async fn a_concurrent_change_by_another_client_is_not_overwritten() {
    let world = World::switched(|switches| {
        switches.patch = false;
        switches.patch_announced = false;
        switches.etag = true;
    })
    .await;
    world.server.add_account(NewAccount::named("ada"));
    let ada = world.account("ada").await;
    world.server.faults.add(Fault::status(412, "").method("PUT").once());
    world.done(&set_active(&ada, false)).await;
    assert_eq!(world.server.journal.count("PUT", "/Users"), 2, "read again, and written again");
    world.server.faults.add(Fault::status(412, "").method("PUT"));
    let error = world.apply(&set_active(&ada, true)).await.expect_err("always overtaken");
    assert!(error.text.contains("another client changed it"), "{error}");
    assert!(world.server.journal.count("PUT", "/Users") < 10);
}

#[tokio::test]
async fn an_answer_without_a_body_is_followed_by_a_read() {
    let world = World::switched(|switches| switches.patch_returns_resource = false).await;
    let ada = world.create("ada").await.expect("made");
    world.done(&set_active(&ada, false)).await;
    world.done(&rename(&ada, "ada.l")).await;
    world.done(&update(&ada, Some("Ada L"), None)).await;
    let now = world.account("ada.l").await;
    assert_eq!((now.active, now.display_name.as_str()), (false, "Ada L"));
    for operation in [set_active(&ada, true), set_active(&ada, true), delete(&ada), delete(&ada)] {
        world.done(&operation).await;
    }
    let error = world.apply(&set_active(&ada, false)).await.expect_err("gone");
    assert_eq!(error.kind, NotFound, "{error}");
}

#[tokio::test]
async fn a_rename_of_an_account_that_is_gone_is_reported() {
    let world = World::switched(|_| {}).await;
    let ada = world.create("ada").await.expect("made");
    world.server.remove_account("ada");
    for (status, body) in [(204, String::new()), (200, json!({"id": ada.id.as_str()}).to_string())] {
        world.server.faults.add(Fault::status(status, body).method("PATCH").once());
        let error = world.apply(&rename(&ada, "ada.l")).await.expect_err("gone");
        assert_eq!(error.kind, NotFound, "{status}: {error}");
        assert!(error.text.contains("no longer exists"), "{error}");
    }
}

#[tokio::test]
async fn truths_as_text_and_unknown_attributes_are_read() {
    let world = World::switched(|switches| switches.booleans_as_text = true).await;
    let odd = NewAccount::named("ada").inactive().with("somethingNew", json!([{"x": 1}])).with("nickName", Value::Null);
    world.server.add_account(odd);
    let ada = world.account("ada").await;
    assert!(!ada.active);
    world.done(&set_active(&ada, true)).await;
    assert!(world.account("ada").await.active);
    assert!(world.server.snapshot().account("ada").expect("there").active, "a real truth value was sent");
}

#[tokio::test]
async fn a_login_in_use_is_reported_whatever_the_servers_message() {
    for reported in [true, false] {
        let world = World::switched(|switches| switches.uniqueness_told = reported).await;
        let (ada, bob) = (world.create("ada").await.expect("made"), world.create("bob").await.expect("made"));
        for error in
            [world.create("ADA").await.expect_err("taken"), world.apply(&rename(&bob, "ada")).await.expect_err("taken")]
        {
            assert_eq!(error.kind, NameTaken, "{error}");
        }
        world.done(&rename(&ada, "Ada")).await;
        assert_eq!(world.account("ada").await.name, "Ada", "the case of one's own login can change");
    }
    // A case-sensitive filter does not find it, but another account has it.
    let world = World::switched(|switches| switches.filter_case = true).await;
    world.create("Ada").await.expect("made");
    assert_eq!(world.create("ada").await.expect_err("taken").kind, NameTaken);
    // A 409 without an account of this login has another reason.
    world.server.faults.add(Fault::status(409, "no").method("POST").once());
    let error = world.create("eve").await.expect_err("refused");
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("it is probably the e-mail address"), "{error}");
}

#[tokio::test]
async fn an_address_in_use_is_reported_before_keycloak_fails() {
    let world =
        World::as_profile("keycloak", |switches| *switches = usersync_simulators::ScimSwitches::keycloak()).await;
    let ada = world.create("ada").await.expect("made");
    let mut fields = update(&ada, Some("Bob B"), Some("ADA@example.org"));
    if let usersync::model::Operation::UpdateUser { fields, .. } = &mut fields {
        let make = usersync::model::Operation::CreateUser {
            name: "bob".to_owned(),
            fields: fields.clone(),
            external_id: None,
        };
        let error = world.apply(&make).await.expect_err("taken");
        assert_eq!(error.kind, Unsupported);
        assert!(error.text.contains("ada has the same e-mail address"), "{error}");
    }
    let bob = world.create("bob").await.expect("made");
    let error = world.apply(&update(&bob, None, Some("ada@example.org"))).await.expect_err("taken");
    assert_eq!(error.kind, Unsupported, "{error}");
    // Names are stored separately there; a single word gets a dash that is not shown.
    world.done(&update(&bob, Some("Bob"), None)).await;
    assert_eq!(world.account("bob").await.display_name, "Bob");
    world.done(&update(&bob, Some("Bob de la Cruz"), None)).await;
    let state = world.server.snapshot();
    assert_eq!(state.account("bob").expect("there").fields["name"]["familyName"], "Cruz");
}

#[tokio::test]
async fn values_that_a_server_does_not_store_are_reported_once() {
    // This server stores the names separately, and the client assumes that it does not.
    let world = World::switched(|switches| switches.names_apart = true).await;
    world.server.add_account(NewAccount::named("ada"));
    let ada = world.account("ada").await;
    let error = world.apply(&update(&ada, Some("Somebody Else"), None)).await.expect_err("not kept");
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("stored a different display name"), "{error}");
    for blank in [update(&ada, Some(" "), None), update(&ada, None, Some(""))] {
        assert_eq!(world.apply(&blank).await.expect_err("nothing to write").kind, Unsupported);
    }
    world.done(&update(&ada, None, None)).await;
}

#[tokio::test]
async fn immutable_fields_are_unsupported_and_invalid_values_are_reported() {
    let world = World::switched(|switches| switches.login_rename = false).await;
    let ada = world.create("ada").await.expect("made");
    let error = world.apply(&rename(&ada, "ada.l")).await.expect_err("fixed");
    assert_eq!(error.kind, Unsupported);
    assert!(!world.scim.probe().await.expect("a first contact").capabilities.rename);
    let error = world.create(" ").await.expect_err("no login");
    assert_eq!(error.kind, not_done(Permanent));
    assert!(error.text.contains("userName is required") && error.text.contains("Correct it in Keycloak"), "{error}");
    let refusal =
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"403","detail":"No licence left"}"#;
    world.server.faults.add(Fault::status(403, refusal).method("POST").once());
    let error = world.create("eve").await.expect_err("full");
    assert!(error.text.contains("no seat left"), "{error}");
}

#[tokio::test]
async fn logins_are_found_with_and_without_filters() {
    for filters in [Filters::On, Filters::Off, Filters::Ignored] {
        let world = World::switched(|switches| {
            switches.filters = filters;
            switches.page_cap = 3;
        })
        .await;
        for nth in 0..8 {
            world.server.add_account(NewAccount::named(format!("user{nth}")).in_groups(&["g 1", "g/2"]));
        }
        let odd = r#"o"b\r'ien"#;
        world.server.add_account(NewAccount::named(odd));
        assert_eq!(world.account("USER7").await.name, "user7", "{filters:?}");
        assert_eq!(world.account(odd).await.name, odd, "{filters:?}");
        assert_eq!(world.scim.account_named("nobody").await, Ok(None), "{filters:?}");
        assert_eq!(world.group("G/2").await.name, "g/2", "{filters:?}");
        assert_eq!(world.scim.group_named("g").await, Ok(None), "{filters:?}");
    }
}

#[tokio::test]
async fn only_a_404_in_scims_form_means_deleted() {
    let world = World::switched(|_| {}).await;
    let ada = world.create("ada").await.expect("made");
    assert_eq!(world.scim.account(&"nobody".into()).await, Ok(None));
    assert_eq!(world.scim.members(&"nothing".into(), None).await, Ok(None));
    for body in ["<html>nothing here</html>", "{\"error\":\"HTTP 404 Not Found\"}", ""] {
        let proxy = world.server.faults.add(Fault::status(404, body));
        assert_eq!(world.scim.account(&ada.id).await.expect_err("a proxy").kind, not_done(Unconfirmed));
        assert_eq!(world.scim.account_named("ada").await.expect_err("a proxy").kind, not_done(Unconfirmed));
        assert_eq!(world.apply(&delete(&ada)).await.expect_err("a proxy").kind, not_done(Unconfirmed));
        world.server.faults.remove(proxy);
    }
    for odd in ["", ".", ".."] {
        assert!(world.scim.account(&odd.into()).await.is_err(), "{odd:?} leads elsewhere");
    }
    for body in [json!([]), json!("x"), json!({}), json!({"id": "another", "userName": "ada"})] {
        world.server.faults.add(Fault::status(200, body.to_string()).once());
        assert_eq!(world.scim.account(&ada.id).await.expect_err("too little").kind, not_done(Unconfirmed), "{body}");
    }
    world.server.faults.add(Fault::cut_after().method("POST").once());
    assert_eq!(world.create("bob").await.expect_err("lost").kind, Unanswered);
    assert_eq!(world.account("bob").await.name, "bob", "a look tells");
}

#[tokio::test]
async fn protected_accounts_are_reported_with_every_read() {
    let server =
        usersync_simulators::SimulatedScim::start(usersync_simulators::ScimOptions::default()).await.expect("a port");
    server.add_account(NewAccount::named("root").in_groups(&["Admins"]));
    server.add_account(NewAccount::named("Boss"));
    server.add_account(NewAccount::named("ada"));
    let settings = usersync::targets::scim::ScimSettings {
        protection: usersync::targets::ProtectionSettings {
            frozen_groups: vec!["admins".to_owned(), "no such".to_owned()],
            protected_users: vec!["boss".to_owned()],
            ..Default::default()
        },
        ..super::world::settings(&server)
    };
    let scim = usersync::targets::scim::ScimTarget::new(settings).expect("good settings");
    let listed = scim.accounts(None).await.expect("a page").items;
    let of = |name: &str| listed.iter().find(|account| account.name == name).expect("listed").protected.clone();
    assert!(of("root").is_some() && of("Boss").is_some() && of("ada").is_none());
    assert!(scim.account_named("root").await.expect("a look").expect("there").protected.is_some());
    assert!(scim.group_named("Admins").await.expect("a look").expect("there").protected.is_some());
    let info = scim.probe().await.expect("a first contact");
    let reported = super::operations::lines(&info, "protected");
    assert!(reported.iter().any(|(_, text)| text.contains("no such of frozen_groups is not a group")), "{reported:?}");
}
