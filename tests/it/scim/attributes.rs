//! Further attributes of accounts, to any path of the schemas.

use std::collections::BTreeMap;

use serde_json::json;
use usersync::{
    model::{Account, Operation, UserFields},
    targets::{
        NoteState, Target,
        TargetErrorKind::Unsupported,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{ScimOptions, ScimSwitches, scim::NewAccount};

use super::{
    operations::{create, update},
    world::{World, settings},
};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
const WORK_PHONE: &str = "phoneNumbers[type eq \"work\"].value";
const HOME_PHONE: &str = "phoneNumbers[type eq \"home\"].value";
const ALL: [&str; 5] = ["title", DEPARTMENT, WORK_PHONE, HOME_PHONE, "name.middleName"];

/// Starts a server and a client that writes these attributes.
async fn world(paths: &[&str], switches: impl FnOnce(&mut ScimSwitches)) -> World {
    let mut options = ScimOptions::default();
    switches(&mut options.switches);
    let mut world = World::with(options).await;
    let attributes = paths.iter().map(|&path| path.to_owned()).collect();
    world.scim = ScimTarget::new(ScimSettings { attributes, ..settings(&world.server) }).expect("good settings");
    world
}

fn values(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
}

fn give(account: &Account, of: &[(&str, &str)]) -> Operation {
    let fields = UserFields { attributes: values(of), ..UserFields::default() };
    Operation::UpdateUser { account: account.id.clone(), name: account.name.clone(), fields }
}

fn make(name: &str, of: &[(&str, &str)]) -> Operation {
    let mut operation = create(name);
    if let Operation::CreateUser { fields, .. } = &mut operation {
        fields.attributes = values(of);
    }
    operation
}

/// Whether a server supports PATCH, and whether a client must request groups by name.
const WAYS: [(bool, bool); 3] = [(true, false), (false, false), (true, true)];

#[tokio::test]
async fn each_path_is_created_read_changed_and_cleared_and_nothing_else_is_changed() {
    for (patch, ask) in WAYS {
        let world = world(&ALL, |switches| {
            switches.patch = patch;
            if ask {
                switches.groups_told = usersync_simulators::scim::Visibility::OnRequest;
            }
        })
        .await;
        let first = [
            ("title", "Dr"),
            (DEPARTMENT, "R&D, Ünï"),
            (WORK_PHONE, "+49 1"),
            (HOME_PHONE, "+49 2"),
            ("name.middleName", "K"),
        ];
        world.done(&make("ada", &first)).await;
        let ada = world.account("ada").await;
        assert_eq!(ada.attributes, values(&first), "patch {patch}, ask {ask}");
        let page = world.scim.accounts(None).await.expect("a page");
        assert_eq!(page.items[0].attributes, values(&first), "in lists, too");

        world.done(&give(&ada, &[("title", "Prof"), (DEPARTMENT, ""), (WORK_PHONE, "+49 3")])).await;
        let now = world.account("ada").await;
        let wanted = [
            ("title", "Prof"),
            (DEPARTMENT, ""),
            (WORK_PHONE, "+49 3"),
            (HOME_PHONE, "+49 2"),
            ("name.middleName", "K"),
        ];
        assert_eq!(now.attributes, values(&wanted), "patch {patch}, ask {ask}");
        assert_eq!((now.display_name.as_str(), now.email.as_deref()), ("ada Example", Some("ada@example.org")));

        let state = world.server.snapshot();
        let fields = &state.account("ada").expect("there").fields;
        assert_eq!(
            fields["phoneNumbers"],
            json!([{ "type": "home", "value": "+49 2" }, { "type": "work", "value": "+49 3" }])
        );
        assert!(fields.get(ENTERPRISE).is_none_or(|extension| extension == &json!({})));
        let writes = world.server.journal.len();
        world.done(&give(&now, &[("title", "")])).await;
        assert!(world.server.journal.len() > writes);
        assert_eq!(world.account("ada").await.attributes["title"], "", "known to be empty, as others had one");
    }
}

#[tokio::test]
async fn values_written_by_others_are_kept() {
    let world = world(&[DEPARTMENT, WORK_PHONE], |switches| switches.patch = false).await;
    let ada = NewAccount::named("ada").with(ENTERPRISE, json!({ "costCenter": "47", "department": "old" })).with(
        "phoneNumbers",
        json!([{ "type": "fax", "value": "0" }, { "type": "work", "value": "1", "display": "desk" }]),
    );
    world.server.add_account(ada);
    let ada = world.account("ada").await;
    assert_eq!(ada.attributes, values(&[(DEPARTMENT, "old"), (WORK_PHONE, "1")]));
    world.done(&give(&ada, &[(DEPARTMENT, "new"), (WORK_PHONE, "2")])).await;
    let state = world.server.snapshot();
    let fields = &state.account("ada").expect("there").fields;
    assert_eq!(fields[ENTERPRISE], json!({ "costCenter": "47", "department": "new" }));
    let phones = json!([{ "type": "fax", "value": "0" }, { "type": "work", "value": "2", "display": "desk" }]);
    assert_eq!(fields["phoneNumbers"], phones);
}

#[tokio::test]
async fn a_value_that_is_not_stored_is_no_failure_and_one_stored_differently_is_reported() {
    let world = world(&["title", "nickName"], |switches| switches.drops = vec!["nickName"]).await;
    world.done(&make("ada", &[("title", "Dr"), ("nickName", "A")])).await;
    let ada = world.account("ada").await;
    assert_eq!(ada.attributes, values(&[("title", "Dr")]), "nobody knows what it makes of the other");
    world.done(&give(&ada, &[("nickName", "B")])).await;

    // An attribute that was once seen as stored is missed if it disappears.
    world.server.switch(|switches| switches.drops = vec!["title"]);
    let error = world.apply(&give(&ada, &[("title", "Prof")])).await.expect_err("not kept");
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("stored a different title"), "{error}");
}

#[tokio::test]
async fn a_listing_with_fewer_attributes_than_the_account_proves_nothing_about_the_omitted_ones() {
    let world = world(&["title", DEPARTMENT], |switches| switches.not_in_lists = vec!["title", ENTERPRISE]).await;
    world.done(&make("ada", &[("title", "Dr"), (DEPARTMENT, "R&D")])).await;
    assert_eq!(world.account("ada").await.attributes["title"], "Dr");
    let listed = async || world.scim.accounts(None).await.expect("a page").items.remove(0).attributes;
    assert_eq!(listed().await, BTreeMap::new());
    // After lists have shown an attribute, an account without it has none.
    world.server.switch(|switches| switches.not_in_lists = vec![]);
    assert_eq!(listed().await.len(), 2);
    world.server.set("ada", "title", json!(null));
    assert_eq!(listed().await["title"], "");
}

#[tokio::test]
async fn a_refused_attribute_does_not_prevent_creating_the_account() {
    let world = world(&["title", "nickName"], |switches| switches.refuses = vec!["nickName"]).await;
    world.done(&make("ada", &[("title", "Dr"), ("nickName", "A")])).await;
    let ada = world.account("ada").await;
    assert_eq!((ada.active, ada.attributes.len()), (true, 0), "made without any");
    let error = world.apply(&give(&ada, &[("nickName", "A")])).await.expect_err("refused");
    assert!(error.text.contains("nickName is not well-formed"), "{error}");
    world.done(&give(&ada, &[("title", "Dr")])).await;
    // An invalid login is refused with and without attributes.
    let error = world.apply(&make(" ", &[("title", "Dr")])).await.expect_err("no login");
    assert!(error.text.contains("userName is required"), "{error}");
}

#[tokio::test]
async fn given_and_family_name_of_the_policy_replace_the_split_display_name() {
    let parts = ["name.givenName", "name.familyName"];
    let mut world = world(&parts, |switches| switches.names_apart = true).await;
    let mut settings = ScimSettings { profile: Some("keycloak".to_owned()), ..settings(&world.server) };
    settings.attributes = parts.iter().map(|&path| path.to_owned()).collect();
    world.scim = ScimTarget::new(settings).expect("good settings");
    let mut cruz = make("cruz", &[("name.givenName", "Juan"), ("name.familyName", "de la Cruz")]);
    if let Operation::CreateUser { fields, .. } = &mut cruz {
        fields.display_name = Some("Juan de la Cruz".to_owned());
    }
    world.done(&cruz).await;
    let cruz = world.account("cruz").await;
    assert_eq!(cruz.display_name, "Juan de la Cruz");
    assert_eq!(cruz.attributes["name.familyName"], "de la Cruz");
    let mut change = update(&cruz, Some("Ana de la Cruz"), None);
    if let Operation::UpdateUser { fields, .. } = &mut change {
        fields.attributes = values(&[("name.givenName", "Ana")]);
    }
    world.done(&change).await;
    let ana = world.account("cruz").await;
    assert_eq!(
        (ana.display_name.as_str(), ana.attributes["name.familyName"].as_str()),
        ("Ana de la Cruz", "de la Cruz")
    );
}

#[tokio::test]
async fn check_reports_which_attributes_the_server_has() {
    let world = world(&["title", "shoeSize", "phoneNumbers", DEPARTMENT], |_| ()).await;
    let info = world.scim.probe().await.expect("first contact");
    let notes: Vec<_> = info.notes.iter().filter(|note| note.about == "attributes").collect();
    let reported =
        |state: NoteState, text: &str| notes.iter().any(|note| note.state == state && note.text.contains(text));
    assert!(reported(NoteState::Ok, "title, urn:") && reported(NoteState::Ok, "written by the policy"), "{notes:?}");
    assert!(reported(NoteState::No, "shoeSize: the server's schemas do not have it"), "{notes:?}");
    assert!(reported(NoteState::No, "phoneNumbers: it has several values there"), "{notes:?}");
    assert!(info.capabilities.attributes);
}

#[tokio::test]
async fn a_path_that_cannot_be_is_refused_before_anything_is_sent() {
    let world = World::with(ScimOptions::default()).await;
    for (path, why) in
        [("a b", "not a valid attribute"), ("userName", "is written by usersync itself"), ("groups.display", "itself")]
    {
        let attributes = [path.to_owned()].into();
        let error = ScimTarget::new(ScimSettings { attributes, ..settings(&world.server) }).err().expect("refused");
        assert!(error.text.contains(why), "{error}");
    }
    assert_eq!(world.server.journal.len(), 0);
}
