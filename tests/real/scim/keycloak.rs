//! The SCIM server inside a real Keycloak (26.7, `--features=scim-api`), if `USERSYNC_TEST_KEYCLOAK_URL` names one: its
//! behaviour is described in `docs/targets/scim.md`.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use usersync::{
    model::{
        ErrorClass::{Credentials as Refused, Forbidden, Unconfirmed},
        Operation, UserFields,
    },
    targets::{
        Applied, ClientCredentials, Credentials, NoteState, Target,
        TargetErrorKind::{NameTaken, NotFound, Unsupported},
        scim::{ScimSettings, ScimTarget},
    },
};

use super::operations::{create, delete, delete_group, lines, not_done, rename, set_active, soon, update};
use crate::support::realm::Realm;

/// Returns a realm with the SCIM API enabled, and a client for it.
async fn place(what: &str, audience: bool, roles: &[&str]) -> Option<(Realm, ScimTarget)> {
    place_with(what, audience, roles, &[]).await
}

/// The same with a client that writes further attributes.
pub async fn place_with(
    what: &str,
    audience: bool,
    roles: &[&str],
    attributes: &[&str],
) -> Option<(Realm, ScimTarget)> {
    let realm = Realm::new(what).await?;
    realm.change(&json!({"scimApiEnabled": true})).await;
    let scim = client(&realm, "scim", audience, roles, attributes).await;
    Some((realm, scim))
}

async fn client(realm: &Realm, id: &str, audience: bool, roles: &[&str], attributes: &[&str]) -> ScimTarget {
    let base = format!("{}/realms/{}", realm.url, realm.name);
    let mapper = json!({
        "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": format!("{base}/scim/v2"), "access.token.claim": "true"},
    });
    let mappers = if audience { vec![mapper] } else { Vec::new() };
    let body = json!({
        "clientId": id, "secret": "s3cr:t%+&", "serviceAccountsEnabled": true, "publicClient": false,
        "standardFlowEnabled": false, "protocolMappers": mappers,
    });
    realm.post("clients", &body).await;
    if !roles.is_empty() {
        realm.roles(id, "POST", roles).await;
    }
    let credentials = Credentials::Client(Box::new(ClientCredentials::new(
        format!("{base}/protocol/openid-connect/token").parse().expect("a URL"),
        id,
        Arc::new(|| Ok("s3cr:t%+&".into())),
    )));
    let mut settings = ScimSettings::new(format!("{base}/scim/v2").parse().expect("a URL"), credentials);
    settings.attributes = attributes.iter().map(|&path| path.to_owned()).collect();
    ScimTarget::new(settings).expect("good settings")
}

async fn done(scim: &ScimTarget, operation: &Operation) -> Applied {
    scim.apply(operation, soon()).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
}

#[tokio::test]
async fn every_operation_works_on_keycloaks_own_scim_server() {
    let Some((realm, scim)) = place("scim", true, &["manage-users"]).await else { return };
    let info = scim.probe().await.expect("a first contact");
    assert_eq!(info.product, "Keycloak's SCIM 2.0 server");
    assert!(info.notes.iter().all(|note| note.state != NoteState::No), "{:?}", info.notes);
    assert!(lines(&info, "ways")[0].1.starts_with("changes by PATCH, looks up by filter, lists 100 at once"));

    let Applied::Account(ada) = done(&scim, &create("ada")).await else { panic!("an account") };
    let Applied::Account(bob) = done(&scim, &create("bob")).await else { panic!("an account") };
    let read = async |name: &str| scim.account_named(name).await.expect("a look").expect("there");
    let now = read("ADA").await;
    assert_eq!((&now.id, now.display_name.as_str(), now.active), (&ada.id, "ada Example", true));
    assert_eq!((now.email.as_deref(), now.groups), (Some("ada@example.org"), Some(Vec::new())));
    assert_eq!(scim.apply(&create("ada"), soon()).await.expect_err("taken").kind, NameTaken);
    let fields = UserFields {
        display_name: Some("Eve E".into()),
        email: Some("ada@example.org".into()),
        ..UserFields::default()
    };
    let taken = Operation::CreateUser { name: "eve".into(), fields, external_id: None };
    let error = scim.apply(&taken, soon()).await.expect_err("her address is taken");
    assert_eq!(error.kind, Unsupported, "{error}");

    for _ in 0..2 {
        done(&scim, &update(&ada, Some("Ada Ünal Lovelace"), Some("ada.l@example.org"))).await;
    }
    let now = read("ada").await;
    assert_eq!((now.display_name.as_str(), now.email.as_deref()), ("Ada Ünal Lovelace", Some("ada.l@example.org")));
    done(&scim, &update(&ada, Some("Ada"), None)).await;
    assert_eq!(read("ada").await.display_name, "Ada");
    let error = scim.apply(&update(&ada, None, Some("bob@example.org")), soon()).await.expect_err("taken");
    assert_eq!(error.kind, Unsupported, "{error}");

    // Two users swap their logins.
    assert_eq!(scim.apply(&rename(&ada, "bob"), soon()).await.expect_err("taken").kind, NameTaken);
    for (who, to) in [(&ada, "ada.moved"), (&bob, "ada"), (&ada, "bob")] {
        done(&scim, &rename(who, to)).await;
    }
    assert_eq!((read("bob").await.id, read("ada").await.id), (ada.id.clone(), bob.id.clone()));

    let mut groups = Vec::new();
    for name in ["dev", "DEV", r#"a/b %+"ü"#] {
        let Applied::Group(group) = done(&scim, &Operation::CreateGroup { name: name.into() }).await else {
            panic!("a group")
        };
        assert_eq!(scim.group_named(name).await.expect("a look").expect("there").id, group.id);
        let again = Operation::CreateGroup { name: name.into() };
        assert_eq!(scim.apply(&again, soon()).await.expect_err("taken").kind, NameTaken);
        groups.push(group);
    }
    for group in &groups {
        let (group, group_name) = (group.id.clone(), group.name.clone());
        let (account, name) = (ada.id.clone(), "bob".to_owned());
        for other in [&ada, &bob] {
            for _ in 0..2 {
                let join = Operation::AddMember {
                    group: group.clone(),
                    group_name: group_name.clone(),
                    account: other.id.clone(),
                    name: other.name.clone(),
                };
                done(&scim, &join).await;
            }
        }
        let members = scim.members(&group, None).await.expect("a page").expect("there");
        assert_eq!((members.items.len(), members.incomplete, members.next), (2, None, None));
        for _ in 0..2 {
            let leave = Operation::RemoveMember {
                group: group.clone(),
                group_name: group_name.clone(),
                account: account.clone(),
                name: name.clone(),
            };
            done(&scim, &leave).await;
        }
        let members = scim.members(&group, None).await.expect("a page").expect("there");
        assert_eq!(members.items, std::slice::from_ref(&bob.id));
    }
    assert_eq!(read("ada").await.groups.map(|groups| groups.len()), Some(3));
    for _ in 0..2 {
        done(&scim, &set_active(&bob, false)).await;
    }
    let now = read("ada").await;
    assert_eq!((now.active, now.groups.map(|groups| groups.len())), (false, Some(3)), "its groups stay");
    done(&scim, &set_active(&bob, true)).await;
    for group in &groups {
        for _ in 0..2 {
            done(&scim, &delete_group(&group.id, &group.name)).await;
        }
    }
    assert_eq!(scim.group_named("dev").await, Ok(None));
    for _ in 0..2 {
        done(&scim, &delete(&ada)).await;
    }
    assert_eq!(scim.account(&ada.id).await, Ok(None));
    assert_eq!(scim.members(&groups[0].id, None).await, Ok(None));
    let error = scim.apply(&set_active(&ada, false), soon()).await.expect_err("gone");
    assert_eq!(error.kind, NotFound, "{error}");
    realm.remove().await;
}

#[tokio::test]
async fn pages_members_and_odd_names_of_keycloaks_scim_server_are_read_completely() {
    let Some((realm, scim)) = place("scim-pages", true, &["manage-users"]).await else { return };
    realm.post("groups", &json!({"name": "big"})).await;
    let users: Vec<Value> = (0..230)
        .map(|nth| {
            json!({"username": format!("user{nth:03}"), "enabled": nth % 7 != 0, "email": format!("u{nth}@example.org"),
                   "firstName": "F", "lastName": format!("{nth}"), "groups": ["/big"]})
        })
        .collect();
    realm.post("partialImport", &json!({"ifResourceExists": "FAIL", "users": users})).await;
    let (mut seen, mut pages, mut cursor) = (BTreeSet::new(), 0, None);
    loop {
        let page = scim.accounts(cursor.as_deref()).await.expect("a page");
        assert_eq!(page.incomplete, None);
        seen.extend(page.items.into_iter().map(|account| (account.name, account.active)));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), seen.iter().filter(|(_, active)| !active).count()), (230, 33));
    assert!(pages >= 3);
    let big = scim.group_named("big").await.expect("a look").expect("there");
    let members = scim.members(&big.id, None).await.expect("a page").expect("there");
    assert_eq!((members.items.len(), members.incomplete), (230, None));
    for (nth, login) in ["jürgen", "a/b", "50%+1", "o'brien", "x@example.org"].into_iter().enumerate() {
        let fields = UserFields {
            display_name: Some("Odd Name".into()),
            email: Some(format!("odd{nth}@example.org")),
            ..UserFields::default()
        };
        let make = Operation::CreateUser { name: login.into(), fields, external_id: None };
        let Applied::Account(made) = done(&scim, &make).await else { panic!("an account") };
        let found = scim.account_named(login).await.expect("a look").expect("there");
        assert_eq!((&found.id, found.name.as_str()), (&made.id, login));
        assert_eq!(scim.account(&made.id).await.expect("a look").map(|account| account.id), Some(made.id.clone()));
        done(&scim, &delete(&made)).await;
    }
    realm.remove().await;
}

#[tokio::test]
async fn missing_permissions_at_keycloaks_scim_server_are_reported_and_never_mistaken_for_an_empty_one() {
    let Some((realm, scim)) = place("scim-rights", true, &["query-users", "query-groups"]).await else { return };
    let id = realm.post("users", &json!({"username": "anna", "enabled": true})).await;
    realm.post("groups", &json!({"name": "g"})).await;
    let info = scim.probe().await.expect("a first contact");
    assert_eq!(lines(&info, "rights")[0].0, NoteState::No, "{:?}", info.notes);
    assert!(scim.accounts(None).await.expect("a page").incomplete.is_some());
    assert_eq!(scim.account_named("anna").await.expect_err("hidden").kind, not_done(Unconfirmed));
    assert_eq!(scim.group_named("g").await.expect_err("hidden").kind, not_done(Unconfirmed));
    assert_eq!(scim.account(&id.as_str().into()).await.expect_err("hidden").kind, not_done(Forbidden));

    let reader = client(&realm, "reader", true, &["view-users"], &[]).await;
    let anna = reader.account_named("anna").await.expect("a look").expect("there");
    for operation in [set_active(&anna, false), delete(&anna), Operation::CreateGroup { name: "new".into() }] {
        let error = reader.apply(&operation, soon()).await.expect_err("it may only read");
        assert_eq!(error.kind, not_done(Forbidden), "{operation}: {error}");
    }
    let stranger = client(&realm, "stranger", false, &["manage-users"], &[]).await;
    let error = stranger.probe().await.expect_err("its token is not meant for this");
    assert_eq!(error.kind, not_done(Refused));
    assert!(error.text.contains("Invalid token audience"), "{error}");
    realm.change(&json!({"scimApiEnabled": false})).await;
    let error = reader.probe().await.expect_err("switched off");
    assert!(error.text.contains("scimApiEnabled"), "{error}");
    realm.remove().await;
}

/// Basis of the profile and the simulator; if a Keycloak differs, review both.
#[tokio::test]
async fn keycloaks_scim_server_behaves_as_documented() {
    let Some((realm, scim)) = place("scim-habits", true, &["manage-users"]).await else { return };
    let base = format!("{}/realms/{}", realm.url, realm.name);
    let http = reqwest::Client::new();
    let form = [("grant_type", "client_credentials"), ("client_id", "scim"), ("client_secret", "s3cr:t%+&")];
    let given = http.post(format!("{base}/protocol/openid-connect/token")).form(&form).send().await.expect("an answer");
    let given: Value = given.json().await.expect("JSON");
    let token = given["access_token"].as_str().expect("a token");
    let call = async |method: &str, path: &str, body: Option<Value>| -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = http.request(method, format!("{base}/scim/v2{path}")).bearer_auth(token);
        if let Some(body) = body {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    };
    let user = |name: &str, email: &str| {
        json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "displayName": "Shown",
               "name": {"givenName": "Ada", "familyName": "Lovelace"}, "active": true, "emails": [{"value": email}]})
    };
    let (status, made) = call("POST", "/Users", Some(user("Ada", "ada@example.org"))).await;
    assert_eq!((status, &made["displayName"], &made["userName"]), (201, &json!("Shown"), &json!("Ada")));
    let id = made["id"].as_str().expect("an id").to_owned();
    let (_, kept) = call("GET", &format!("/Users/{id}"), None).await;
    assert_eq!((&kept["displayName"], &kept["userName"]), (&Value::Null, &json!("ada")));
    // 26.7.0 adds spaces around the words, 26.7.5 does not.
    let formatted = kept["name"]["formatted"].as_str().unwrap_or_default();
    assert_eq!(formatted.split_whitespace().collect::<Vec<_>>(), ["Ada", "Lovelace"]);
    assert_eq!(call("POST", "/Users", Some(user("eve", "ada@example.org"))).await.0, 500);
    let (status, refused) = call("POST", "/Users", Some(user("ADA", "other@example.org"))).await;
    assert_eq!((status, &refused["scimType"]), (409, &json!("uniqueness")));

    done(&scim, &Operation::CreateGroup { name: "dev".into() }).await;
    let group = scim.group_named("dev").await.expect("a look").expect("there");
    let path = format!("/Groups/{}", group.id);
    let join = Operation::AddMember {
        group: group.id.clone(),
        group_name: group.name.clone(),
        account: id.as_str().into(),
        name: "ada".into(),
    };
    done(&scim, &join).await;
    assert_eq!(call("GET", &path, None).await.1["members"], Value::Null, "only on request");
    let patch = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                       "Operations": [{"op": "remove", "path": "members", "value": [{"value": id}]}]});
    assert_eq!(call("PATCH", &path, Some(patch)).await.0, 200);
    let members = call("GET", &format!("{path}?attributes=members"), None).await.1;
    assert_eq!(members["members"].as_array().map(Vec::len), Some(1), "a removal by value does nothing");
    for filter in ["id", "externalId", "groups.value", "nonsense"] {
        let query = format!("/Users?filter={filter}%20eq%20%22{id}%22");
        assert_eq!(call("GET", &query, None).await.1["totalResults"], json!(0), "{filter}");
    }
    realm.remove().await;
}
