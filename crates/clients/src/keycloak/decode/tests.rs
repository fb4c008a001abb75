use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{Subject, UserId};

const U: &str = "ac5fcfb8-6102-4b79-bffc-a8dc46159d73";
const V: &str = "8db44c67-97c3-4fc2-92ba-d536d79435f1";
const G: &str = "5eeba18c-0b29-48e3-b470-be32e8ba4264";
const H: &str = "79a35593-d5aa-4da4-9c2b-1e8b97526df5";
const ORGANIZATIONS: &str = "- the policy names no organization";
const NO_MEMBER: &str = "- it names no member of an organization";
const NOW: i64 = 1_795_447_400;

fn decoded(body: &[u8]) -> Result<Vec<NewEvent>, DecodeError> {
    let now = Timestamp::from_second(NOW).unwrap();
    decode(Verified::read_at_source(body), &DecodeContext::new("acme", now))
}

fn one(event: &Value) -> NewEvent {
    let mut events = decoded(event.to_string().as_bytes()).unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn admin(operation: &str, resource: &str, path: &str) -> Value {
    json!({"id": "e1", "time": 1_795_447_309_981_i64, "operationType": operation, "resourceType": resource, "resourcePath": path})
}

/// Formats an event as `user:…`, `group:…`, `run`, or `-` and the beginning of why it is ignored.
fn reported(event: &NewEvent) -> String {
    let mut words: Vec<String> = event.hints.iter().map(ToString::to_string).collect();
    if event.wants_run {
        words.push("run".into());
    }
    match &event.outcome {
        EventOutcome::Ignored(why) => {
            assert!(words.is_empty(), "ignored, yet {words:?}");
            format!("- {why}")
        }
        EventOutcome::Accepted => words.join(" "),
    }
}

const ROLES: &str = "- the policy names no role";

#[test]
fn every_path_tells_whom_to_look_at() {
    let table = [
        ("CREATE", "USER", format!("users/{U}"), format!("user:{U}")),
        ("UPDATE", "USER", format!("/users/{U}/"), format!("user:{U}")),
        ("DELETE", "USER", format!("users/{U}"), format!("user:{U}")),
        ("DELETE", "USER", format!("users/{U}/federated-identity/github"), format!("user:{U}")),
        ("ACTION", "USER", format!("users/{U}/reset-password"), format!("user:{U}")),
        ("CREATE", "GROUP_MEMBERSHIP", format!("users/{U}/groups/{G}"), format!("user:{U}")),
        ("DELETE", "GROUP_MEMBERSHIP", format!("users/{U}/groups/{G}"), format!("user:{U}")),
        ("CREATE", "GROUP_MEMBERSHIP", format!("groups/{G}/members"), format!("group:{G}")),
        ("CREATE", "REALM_ROLE_MAPPING", format!("users/{U}/role-mappings/realm"), ROLES.into()),
        ("DELETE", "CLIENT_ROLE_MAPPING", format!("users/{U}/role-mappings/clients/{G}"), ROLES.into()),
        ("DELETE", "REALM_ROLE_MAPPING", format!("groups/{G}/role-mappings/realm"), ROLES.into()),
        ("CREATE", "GROUP", format!("groups/{G}"), format!("group:{G}")),
        ("UPDATE", "GROUP", format!("groups/{G}"), format!("group:{G}")),
        ("DELETE", "GROUP", format!("groups/{G}"), format!("group:{G} run")),
        ("UPDATE", "GROUP", format!("groups/{G}/management/permissions"), format!("group:{G}")),
        ("CREATE", "GROUP", format!("groups/{G}/children"), format!("group:{G}")),
        ("UPDATE", "GROUP", "groups".into(), "run".into()),
        ("CREATE", "GROUP", format!("default-groups/{G}"), "- a default group applies".into()),
        ("CREATE", "REALM", format!("users/{U}"), format!("user:{U}")),
        ("CREATE", "USER", "users".into(), "run".into()),
        ("UPDATE", "USER_PROFILE", "users/profile".into(), "- it changes which attributes".into()),
        ("DELETE", "USER_LOGIN_FAILURE", format!("attack-detection/brute-force/users/{U}"), format!("user:{U}")),
        ("ACTION", "REALM", "user-storage/0c0fce9b/sync".into(), "run".into()),
        ("ACTION", "USER_FEDERATION_PROVIDER", "user-storage".into(), "run".into()),
        ("ACTION", "REALM", "partialImport".into(), "run".into()),
        ("DELETE", "COMPONENT", format!("components/{G}"), "run".into()),
        ("DELETE", "REALM", String::new(), "run".into()),
        ("UPDATE", "REALM", String::new(), "- it names no user or group".into()),
        ("UPDATE", "USER", format!("scim/v2/Users/{U}"), format!("user:{U}")),
        ("UPDATE", "GROUP", format!("scim/v2/Groups/{G}"), format!("group:{G}")),
        ("CREATE", "ORGANIZATION", format!("organizations/{G}"), ORGANIZATIONS.into()),
        ("DELETE", "ORGANIZATION", format!("organizations/{G}"), "run".into()),
        ("CREATE", "ORGANIZATION_MEMBERSHIP", format!("organizations/{G}/members"), ORGANIZATIONS.into()),
        ("CREATE", "ORGANIZATION_GROUP", format!("organizations/{G}/groups"), NO_MEMBER.into()),
        ("DELETE", "ORGANIZATION_MEMBERSHIP", format!("organizations/{G}/members/{U}"), format!("user:{U}")),
        (
            "CREATE",
            "ORGANIZATION_GROUP_MEMBERSHIP",
            format!("organizations/{G}/groups/{H}/members/{U}"),
            format!("user:{U}"),
        ),
        ("UPDATE", "REALM_ROLE", "roles/base".into(), ROLES.into()),
        ("DELETE", "CLIENT_ROLE", format!("clients/{G}/roles/viewer"), ROLES.into()),
        ("CREATE", "CLIENT", format!("clients/{G}"), "- it names no user or group".into()),
        ("CREATE", "SOMETHING_NEW", format!("users/{U}/something/new"), format!("user:{U}")),
        ("", "", format!("groups/{G}/something"), format!("group:{G}")),
        ("UPDATE", "USER", "users/f:6b9e:anna maria".into(), "user:f:6b9e:anna maria".into()),
        ("UPDATE", "USER", "users/f:6b9e:sl/ash".into(), "user:f:6b9e:sl/ash".into()),
        ("UPDATE", "USER", "users/f:6b9e:a/b/c d".into(), "user:f:6b9e:a/b/c d".into()),
        ("UPDATE", "USER", "users/f:6b9e: pad ".into(), "user:f:6b9e: pad ".into()),
        ("UPDATE", "USER", "users/f:6b9e:../../x".into(), "user:f:6b9e:../../x".into()),
        ("CREATE", "GROUP_MEMBERSHIP", format!("users/f:6b9e:sl/ash/groups/{G}"), "user:f:6b9e:sl/ash".into()),
        ("CREATE", "REALM_ROLE_MAPPING", "users/f:6b9e:sl/ash/role-mappings/realm".into(), ROLES.into()),
        ("ACTION", "USER", "users/f:6b9e:u005/reset-password".into(), "user:f:6b9e:u005".into()),
        ("ACTION", "USER", "users/f:6b9e:sp ace/logout".into(), "user:f:6b9e:sp ace".into()),
        ("UPDATE", "USER", "users/f:6b9e:line\nbreak".into(), "- it names no user or group".into()),
        ("UPDATE", "GROUP", "groups/f/g".into(), "group:f".into()),
        (
            "DELETE",
            "USER_LOGIN_FAILURE",
            "attack-detection/brute-force/users/f:6b9e:sl/ash".into(),
            "user:f:6b9e:sl/ash".into(),
        ),
        (
            "DELETE",
            "ORGANIZATION_MEMBERSHIP",
            format!("organizations/{G}/members/f:6b9e:sl/ash"),
            "user:f:6b9e:sl/ash".into(),
        ),
        (
            "CREATE",
            "ORGANIZATION_GROUP_MEMBERSHIP",
            format!("organizations/{G}/groups/{H}/members/f:6b9e:a/members/b"),
            "user:f:6b9e:a/members/b".into(),
        ),
        ("UPDATE", "USER", "users/u-17.b".into(), "user:u-17.b".into()),
        ("UPDATE", "USER", "users/..".into(), "- it names no user or group".into()),
        ("UPDATE", "USER", "users/../../master/users/1".into(), "- it names no user or group".into()),
        ("UPDATE", "USER", format!("users/{}", "x".repeat(65)), "- it names no user or group".into()),
        ("UPDATE", "USER", "users/a b".into(), "- it names no user or group".into()),
        ("UPDATE", "GROUP", "groups//children".into(), "- it names no user or group".into()),
    ];
    for (operation, resource, path, expected) in table {
        let event = one(&admin(operation, resource, &path));
        let reported = reported(&event);
        let right = if expected.starts_with('-') { reported.starts_with(&expected) } else { reported == expected };
        assert!(right, "{operation} {resource} {path}: {reported}, not {expected}");
    }
}

#[test]
fn what_the_path_hides_is_read_from_the_representation() {
    for representation in [json!({"id": H, "name": "x"}), Value::String(json!({"id": H}).to_string())] {
        for (path, expected) in
            [(format!("groups/{G}/children"), format!("group:{G} group:{H}")), ("groups".into(), format!("group:{H}"))]
        {
            let mut event = admin("UPDATE", "GROUP", &path);
            event["representation"] = representation.clone();
            assert_eq!(reported(&one(&event)), expected);
        }
        let mut event = admin("CREATE", "USER", "users");
        event["representation"] = representation.clone();
        assert_eq!(reported(&one(&event)), format!("user:{H}"));
    }
    let mut event = admin("CREATE", "GROUP", &format!("groups/{G}/children"));
    event["resourceId"] = H.into();
    assert_eq!(reported(&one(&event)), format!("group:{G} group:{H}"));
    event["representation"] = "not json".into();
    assert_eq!(reported(&one(&event)), format!("group:{G} group:{H}"));
    event["resourceId"] = G.into();
    assert_eq!(reported(&one(&event)), format!("group:{G}"));
}

#[test]
fn a_component_that_holds_no_users_asks_for_nothing() {
    let mut event = admin("UPDATE", "COMPONENT", &format!("components/{G}"));
    event["representation"] = json!({"providerType": "org.keycloak.keys.KeyProvider"}).to_string().into();
    assert_eq!(reported(&one(&event)), "- this component contains no users");
    event["representation"] = json!({"providerType": "org.keycloak.storage.UserStorageProvider"}).to_string().into();
    assert_eq!(reported(&one(&event)), "run");
}

#[test]
fn user_events_name_their_user_or_are_ignored() {
    let event = |kind: &str| json!({"id": "e", "type": kind, "userId": U, "clientId": "account"});
    for kind in ["REGISTER", "UPDATE_PROFILE", "UPDATE_EMAIL", "DELETE_ACCOUNT", "SOME_NEW_TYPE"] {
        let decoded = one(&event(kind));
        assert_eq!(reported(&decoded), format!("user:{U}"), "{kind}");
        assert_eq!((decoded.kind.as_str(), decoded.about), (kind, format!("users/{U}")));
    }
    for kind in ["CLIENT_LOGIN", "REFRESH_TOKEN", "LOGOUT", "UPDATE_PASSWORD", "SEND_RESET_PASSWORD", "CODE_TO_TOKEN"] {
        assert_eq!(reported(&one(&event(kind))), "- this kind contains no directory data of a user", "{kind}");
    }
    assert!(reported(&one(&event("LOGIN_ERROR"))).starts_with("- it reports a failure"));
    assert!(reported(&one(&event("REGISTER_ERROR"))).starts_with("- it reports a failure"));
    assert_eq!(reported(&one(&json!({"type": "REGISTER"}))), "- it names no user or group");
    assert_eq!(reported(&one(&json!({"type": "REGISTER", "userId": "../x"}))), "- it names no user or group");
}

#[test]
fn a_sign_in_is_a_hint_where_it_may_have_changed_the_user() {
    let event = |user: &str| json!({"id": "e", "type": "LOGIN", "userId": user, "details": {"username": "anna"}});
    let mut brokered = event(U);
    brokered["details"]["identity_provider"] = "github".into();
    assert_eq!(reported(&one(&brokered)), format!("user:{U}"));
    let plain = "- a sign-in without an identity provider changes no user";
    assert_eq!(reported(&one(&event(U))), plain);
    assert_eq!(reported(&one(&event("f:6b9e:anna"))), "user:f:6b9e:anna", "nothing else tells of a new federated user");
    let mut sent = event(U);
    sent["kind"] = "user".into();
    assert_eq!(reported(&one(&sent)), format!("user:{U}"), "the listener sends only those that matter");
    let p2 = json!({"type": "access.LOGIN", "authDetails": {"userId": U}, "details": {"identity_provider": "github"}});
    assert_eq!(reported(&one(&p2)), format!("user:{U}"));
    brokered["error"] = "user_disabled".into();
    assert!(reported(&one(&brokered)).starts_with("- it reports a failure"));
}

#[test]
fn the_p2_form_is_read() {
    let mut event = json!({
        "uid": "d1", "id": "e1", "time": 1_795_447_309_981_i64, "type": "admin.GROUP_MEMBERSHIP-CREATE",
        "realmId": "acme", "realmName": "acme", "resourcePath": format!("users/{U}/groups/{G}"),
        "authDetails": {"realmId": "master", "userId": V, "ipAddress": "10.0.0.1", "sessionId": "s", "username": "root"},
    });
    let decoded = one(&event);
    assert_eq!(reported(&decoded), format!("user:{U}"));
    assert_eq!((decoded.id.as_str(), decoded.kind.as_str()), ("e1", "CREATE GROUP_MEMBERSHIP"));
    assert!(decoded.recheck);
    event.as_object_mut().unwrap().remove("id");
    assert_eq!(one(&event).id, "d1");
    let mut access = json!({
        "uid": "d2", "id": "e2", "type": "access.UPDATE_PROFILE", "realmId": G, "realmName": "acme",
        "details": {"updated_email": "a@example.org"},
        "authDetails": {"realmId": "acme", "clientId": "account", "userId": U, "ipAddress": "10.0.0.1", "username": "anna"},
    });
    let decoded = one(&access);
    assert_eq!((reported(&decoded), decoded.about), (format!("user:{U}"), format!("users/{U}")));
    access["authDetails"].as_object_mut().unwrap().remove("userId");
    assert_eq!(reported(&one(&access)), "- it names no user or group");
    access["userId"] = U.into();
    assert_eq!(reported(&one(&access)), "- it names no user or group", "p2 has no such field");
    let system = json!({"uid": "d3", "type": "system.SOMETHING"});
    assert_eq!(reported(&one(&system)), "- it names no user or group");
}

#[test]
fn who_acted_is_never_taken_for_who_was_changed() {
    let flat = json!({"type": "GROUP-UPDATE", "userId": V, "resourcePath": format!("groups/{G}")});
    let decoded = one(&flat);
    assert_eq!((reported(&decoded), decoded.kind), (format!("group:{G}"), "UPDATE GROUP".into()));
    assert_eq!(reported(&one(&json!({"type": "CLIENT-UPDATE", "userId": V}))), "- it names no user or group");
    let mut admin = admin("CREATE", "ORGANIZATION_MEMBERSHIP", &format!("organizations/{G}/members"));
    admin["userId"] = V.into();
    assert_eq!(reported(&one(&admin)), ORGANIZATIONS);
    let p2 = json!({"type": "admin.USER-CREATE", "resourcePath": "users", "authDetails": {"userId": V}});
    assert_eq!(reported(&one(&p2)), "run");
    let p2 = json!({"type": "admin.CLIENT-UPDATE", "authDetails": {"userId": V}, "userId": V});
    assert_eq!(reported(&one(&p2)), "- it names no user or group");
}

#[test]
fn our_listeners_form_is_read_and_needs_no_second_look() {
    let base = |kind: &str, more: Value| {
        let mut event = json!({"kind": kind, "id": "m1", "time": 1, "realmId": G, "realmName": "acme"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let removed = base(
        "model",
        json!({"type": "GROUP_REMOVED", "operationType": "DELETE", "resourceType": "GROUP",
        "resourcePath": format!("groups/{G}"), "groupId": G}),
    );
    let decoded = one(&removed);
    assert_eq!(
        (reported(&decoded), decoded.kind.as_str(), decoded.recheck),
        (format!("group:{G}"), "DELETE GROUP", false)
    );
    let moved = base(
        "admin",
        json!({"operationType": "UPDATE", "resourceType": "GROUP", "resourcePath": "groups", "resourceId": H}),
    );
    assert_eq!(reported(&one(&moved)), format!("group:{H}"));
    let member = base(
        "admin",
        json!({"operationType": "CREATE", "resourceType": "ORGANIZATION_MEMBERSHIP",
        "resourcePath": format!("organizations/{G}/members"), "userId": U}),
    );
    assert_eq!(reported(&one(&member)), format!("user:{U}"));
    let user = base("user", json!({"type": "REGISTER", "userId": U, "username": "anna"}));
    assert_eq!(reported(&one(&user)), format!("user:{U}"));
    let sync = base(
        "model",
        json!({"type": "STORE_SYNC", "operationType": "ACTION",
        "resourceType": "USER_FEDERATION_PROVIDER", "resourcePath": "user-storage"}),
    );
    assert_eq!(reported(&one(&sync)), "run");
}

#[test]
fn events_of_other_realms_are_kept_but_ignored() {
    let mut event = admin("DELETE", "USER", &format!("users/{U}"));
    event["realmName"] = "other".into();
    assert_eq!(reported(&one(&event)), "- it belongs to realm other");
    event["realmName"] = "acme".into();
    event["realmId"] = "whatever".into();
    assert_eq!(reported(&one(&event)), format!("user:{U}"));
    event.as_object_mut().unwrap().remove("realmName");
    assert_eq!(reported(&one(&event)), "- it belongs to realm whatever");
    event["realmId"] = "acme".into();
    assert_eq!(reported(&one(&event)), format!("user:{U}"));
    event["realmId"] = G.into();
    assert_eq!(reported(&one(&event)), format!("user:{U}"));
}

#[test]
fn addresses_and_sessions_are_not_kept_anywhere() {
    let inner = json!({"a": [{"ipAddress": "10.0.0.3", "name": "x"}], "sessionId": "s3"}).to_string();
    let event = json!({
        "id": "e", "type": "LOGIN", "userId": U, "ipAddress": "10.0.0.1", "sessionId": "s1", "z": 1.5, "a": null,
        "details": {"ipAddress": "10.0.0.2", "code_id": "s1", "nested": {"sessionId": "s2"}, "kept": "sessionId"},
        "authDetails": {"ipAddress": "10.0.0.4", "clientId": "c"}, "representation": inner,
    });
    let body = one(&event).body;
    for gone in ["10.0.0", "s1", "s2", "s3"] {
        assert!(!body.contains(gone), "{gone} in {body}");
    }
    let kept: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(kept["details"]["kept"], "sessionId");
    assert_eq!(kept["representation"], r#"{"a":[{"name":"x"}]}"#);
    assert_eq!(kept["z"], 1.5);
}

#[test]
fn order_and_numbers_of_a_body_stay() {
    let body = r#"{"id":"e","type":"LOGIN","z":18446744073709551615,"b":-1,"a":[true,false,null,"ü\n"],"c":{}}"#;
    assert_eq!(decoded(body.as_bytes()).unwrap()[0].body, body);
}

#[test]
fn one_many_and_a_batch_are_read() {
    let event = json!({"id": "e", "type": "REGISTER", "userId": U});
    assert_eq!(decoded(json!([event, event]).to_string().as_bytes()).unwrap().len(), 2);
    assert_eq!(decoded(json!({"events": [event]}).to_string().as_bytes()).unwrap().len(), 1);
    assert_eq!(decoded(b"[]").unwrap(), []);
    let mixed = decoded(json!([17, event, {"events": []}]).to_string().as_bytes()).unwrap();
    assert_eq!(
        mixed.iter().map(reported).collect::<Vec<_>>(),
        ["- it is not a Keycloak event".to_owned(), format!("user:{U}"), "- it is not a Keycloak event".to_owned()]
    );
    assert_ne!(mixed[0].id, mixed[2].id);
    let many = json!(vec![event; MOST_EVENTS]).to_string();
    assert_eq!(decoded(many.as_bytes()).unwrap().len(), MOST_EVENTS);
}

#[test]
fn what_is_no_event_is_an_error_in_words() {
    for (body, text) in [
        (&b""[..], "the body is not JSON: unexpected end of input at line 1, column 0."),
        (b"{\"type\":", "the body is not JSON: unexpected end of input at line 1, column 8."),
        (b"<html>", "the body is not JSON: unexpected input at line 1, column 1."),
        (b"{\n}x", "the body is not JSON: unexpected input at line 2, column 2."),
        (b"\"\xff\"", "the body is not JSON: unexpected input at line 1, column"),
        (b"17", "the body contains no Keycloak event: it is neither an object nor an array."),
        (b"{}", "the body contains no Keycloak event: nothing in it has a type,"),
        (b"[{\"type\":1}]", "the body contains no Keycloak event: nothing in it has a type,"),
    ] {
        let error = decoded(body).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
        assert!(error.ends_with(r#"Send one event, an array of events, or {"events": […]}"#), "{error}");
    }
    let many = json!(vec![json!({"type": "X"}); MOST_EVENTS + 1]).to_string();
    assert_eq!(decoded(many.as_bytes()), Err(DecodeError::TooMany(1001)));
    let deep = "[".repeat(100_000);
    assert!(matches!(decoded(deep.as_bytes()), Err(DecodeError::NotJson { .. })));
}

#[test]
fn an_event_with_a_time_but_no_usable_id_gets_the_hash_of_what_is_kept() {
    let event = json!({"type": "REGISTER", "time": 1_795_447_309_981_i64, "userId": U, "ipAddress": "10.0.0.1"});
    let first = one(&event);
    assert_eq!(first.id.len(), 64);
    assert_eq!(first.id, hex::encode(Sha256::digest(first.body.as_bytes())));
    let mut elsewhere = event.clone();
    elsewhere["ipAddress"] = "10.0.0.2".into();
    assert_eq!(one(&elsewhere).id, first.id);
    for bad in [json!(""), json!(7), json!("x".repeat(256)), json!("a\nb")] {
        let mut event = event.clone();
        event["id"] = bad;
        assert_eq!(one(&event).id.len(), 64);
    }
}

#[test]
fn without_id_and_time_each_event_is_a_new_one() {
    let event = json!({"type": "USER-UPDATE", "resourcePath": format!("users/{U}")});
    let batch = decoded(json!([event, event]).to_string().as_bytes()).unwrap();
    assert_ne!(batch[0].id, batch[1].id);
    assert_ne!(one(&event).id, one(&event).id);
    for no_time in [json!(null), json!(0), json!("2026-11-30"), json!(-1), json!({})] {
        let mut event = event.clone();
        event["time"] = no_time;
        assert_ne!(one(&event).id, one(&event).id, "{event}");
    }
    let mut event = event;
    event["time"] = json!(NOW * 1000 + 172_800_000);
    assert_eq!(one(&event).id, one(&event).id, "a time that is not believed still tells events apart");
}

#[test]
fn times_that_cannot_be_are_not_believed() {
    let at = |time: Value| one(&json!({"type": "REGISTER", "time": time})).occurred_at.map(Timestamp::as_millisecond);
    assert_eq!(at(json!(1_795_447_309_981_i64)), Some(1_795_447_309_981));
    assert_eq!(at(json!(NOW * 1000 + 3_600_000)), Some(NOW * 1000 + 3_600_000));
    for bad in [json!(NOW * 1000 + 172_800_000), json!(i64::MAX), json!("2026"), json!(1.5), json!(null)] {
        assert_eq!(at(bad), None);
    }
}

#[test]
fn failures_change_nothing() {
    let mut event = admin("UPDATE", "USER", &format!("users/{U}"));
    event["error"] = "boom".into();
    assert!(reported(&one(&event)).starts_with("- it reports a failure"));
}

proptest! {
    #[test]
    fn no_body_is_too_strange(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decoded(&body);
    }

    #[test]
    fn no_event_is_too_strange(kind in ".{0,12}", path in "(users|groups|x)?/?(f:c:)?.{0,40}", user in ".{0,80}") {
        let event = json!({"type": kind, "resourcePath": path, "userId": user, "operationType": "UPDATE"});
        for hint in one(&event).hints {
            let id = match &hint { Subject::User(id) => id.as_str(), Subject::Group(id) => id.as_str() };
            prop_assert!(path::is_id(id) && (!id.contains('/') || id.starts_with("f:")));
        }
    }
}

#[test]
fn a_new_role_is_the_sign_of_a_new_user_in_a_model_event_only() {
    let path = format!("users/{U}/role-mappings/realm");
    let model = |operation: &str| {
        let mut event = admin(operation, "REALM_ROLE_MAPPING", &path);
        event["kind"] = json!("model");
        reported(&one(&event))
    };
    assert_eq!(model("CREATE"), format!("user:{U}"));
    assert_eq!(model("DELETE"), ROLES);
}

#[test]
fn roles_matter_only_to_a_policy_that_names_some() {
    let context = DecodeContext {
        uses: Uses { roles: true, ..Uses::default() },
        ..DecodeContext::new("acme", Timestamp::from_second(NOW).unwrap())
    };
    let decoded = |event: &Value| {
        let body = event.to_string();
        decode(Verified::read_at_source(body.as_bytes()), &context).unwrap().remove(0)
    };
    let user = format!("user:{U}");
    for (operation, resource, path, expected) in [
        ("CREATE", "REALM_ROLE_MAPPING", format!("users/{U}/role-mappings/realm"), user.as_str()),
        ("DELETE", "REALM_ROLE_MAPPING", format!("users/{U}/role-mappings/realm"), &user),
        ("CREATE", "CLIENT_ROLE_MAPPING", format!("users/{U}/role-mappings/clients/{G}"), &user),
        ("CREATE", "REALM_ROLE_MAPPING", format!("groups/{G}/role-mappings/realm"), "run"),
        ("DELETE", "CLIENT_ROLE_MAPPING", format!("groups/{G}/role-mappings/clients/{H}"), "run"),
        ("CREATE", "REALM_ROLE", "roles/base/composites".into(), "run"),
        ("DELETE", "REALM_ROLE", format!("roles-by-id/{G}/composites"), "run"),
        ("UPDATE", "REALM_ROLE", "roles/base".into(), "run"),
        ("DELETE", "CLIENT_ROLE", format!("clients/{G}/roles/viewer"), "run"),
        ("DELETE", "CLIENT", format!("clients/{G}"), "run"),
        ("CREATE", "REALM_ROLE", "roles/base".into(), "- nobody has a new role yet"),
        ("CREATE", "CLIENT_ROLE", format!("clients/{G}/roles/viewer"), "- nobody has a new role yet"),
        ("UPDATE", "CLIENT", format!("clients/{G}"), "- it names no user or group"),
    ] {
        let event = admin(operation, resource, &path);
        assert_eq!(reported(&decoded(&event)), expected, "{operation} {resource} {path}");
        assert!(reported(&one(&event)).starts_with('-'), "{path}");
        let from_user = path.starts_with("users/");
        assert_eq!(decoded(&event).may_remove, from_user, "{path}");
    }
}

/// Decodes an event for a policy that names organizations.
fn for_organizations(event: &Value) -> NewEvent {
    let context = DecodeContext {
        uses: Uses { organizations: true, ..Uses::default() },
        ..DecodeContext::new("acme", Timestamp::from_second(NOW).unwrap())
    };
    let body = event.to_string();
    decode(Verified::read_at_source(body.as_bytes()), &context).unwrap().remove(0)
}

#[test]
fn organizations_matter_only_to_a_policy_that_names_some() {
    for (operation, resource, path, expected) in [
        ("CREATE", "ORGANIZATION", format!("organizations/{G}"), "run"),
        ("UPDATE", "ORGANIZATION", format!("organizations/{G}"), "run"),
        ("DELETE", "ORGANIZATION", format!("organizations/{G}"), "run"),
        ("CREATE", "ORGANIZATION_GROUP", format!("organizations/{G}/groups"), NO_MEMBER),
        ("UPDATE", "ORGANIZATION", format!("organizations/{G}/identity-providers"), NO_MEMBER),
        // Before Keycloak named the member, and where its details are lost.
        ("CREATE", "ORGANIZATION_MEMBERSHIP", format!("organizations/{G}/members"), "run"),
        ("CREATE", "REALM_ROLE_MAPPING", format!("users/{U}/role-mappings/realm"), ROLES),
    ] {
        let event = for_organizations(&admin(operation, resource, &path));
        assert_eq!(reported(&event), expected, "{operation} {resource} {path}");
    }
}

#[test]
fn a_member_that_is_added_to_an_organization_is_found_by_the_login() {
    let path = format!("organizations/{G}/members");
    let mut keycloaks = admin("CREATE", "ORGANIZATION_MEMBERSHIP", &path);
    keycloaks["details"] = json!({"username": "anna", "email": "anna@example.org"});
    keycloaks["representation"] = json!(json!({"id": G, "name": "acme", "alias": "acme"}).to_string());
    let mut listeners = admin("CREATE", "ORGANIZATION_MEMBERSHIP", &path);
    listeners["kind"] = json!("admin");
    listeners["username"] = json!("anna");
    for event in [&keycloaks, &listeners] {
        let decoded = for_organizations(event);
        assert_eq!(decoded.hints, [Subject::User(UserId::of_login("anna"))]);
        assert_eq!(decoded.hints[0].as_user().and_then(UserId::login), Some("anna"));
        assert!(!decoded.wants_run && !decoded.may_remove);
        assert_eq!(reported(&one(event)), ORGANIZATIONS);
    }
    listeners["userId"] = json!(U);
    assert_eq!(reported(&for_organizations(&listeners)), format!("user:{U}"));
    let model = json!({"kind": "model", "id": "m1", "type": "ORGANIZATION_MEMBER_JOIN", "operationType": "CREATE",
        "resourceType": "ORGANIZATION_MEMBERSHIP", "resourcePath": format!("{path}/{U}"), "realmName": "acme"});
    assert_eq!(reported(&for_organizations(&model)), format!("user:{U}"));
    assert_eq!(UserId::from(U).login(), None);
}

#[test]
fn a_deleted_group_that_may_grant_roles_causes_a_run_whoever_reports_it() {
    let mut event = admin("DELETE", "GROUP", &format!("groups/{G}"));
    event["kind"] = json!("admin");
    for uses_roles in [true, false] {
        let uses = Uses { roles: uses_roles, ..Uses::default() };
        let context = DecodeContext { uses, ..DecodeContext::new("acme", Timestamp::from_second(NOW).unwrap()) };
        let body = event.to_string();
        let decoded = decode(Verified::read_at_source(body.as_bytes()), &context).unwrap().remove(0);
        assert_eq!(decoded.wants_run, uses_roles);
        assert_eq!(decoded.hints, [Subject::group(G)]);
    }
}

#[test]
fn events_that_may_take_access_away_are_marked() {
    let marked = |operation: &str, resource: &str, path: String| one(&admin(operation, resource, &path)).may_remove;
    assert!(marked("DELETE", "USER", format!("users/{U}")));
    assert!(marked("UPDATE", "USER", format!("users/{U}")));
    assert!(marked("DELETE", "GROUP_MEMBERSHIP", format!("users/{U}/groups/{G}")));
    assert!(!marked("CREATE", "USER", format!("users/{U}")));
    assert!(!marked("CREATE", "GROUP_MEMBERSHIP", format!("users/{U}/groups/{G}")));
    assert!(!marked("ACTION", "USER", format!("users/{U}/logout")));
    let user_event = |kind: &str| one(&json!({"id": "e1", "type": kind, "userId": U})).may_remove;
    assert!(user_event("DELETE_ACCOUNT"));
    assert!(user_event("USER_DISABLED_BY_PERMANENT_LOCKOUT"));
    assert!(!user_event("UPDATE_PROFILE"));
}
