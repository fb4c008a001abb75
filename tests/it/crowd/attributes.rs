//! Further attributes of accounts.

use std::collections::BTreeMap;

use serde_json::json;
use usersync::{
    model::{
        Account,
        ErrorClass::{Forbidden, Permanent},
        Operation,
    },
    targets::{
        Applied, NoteState, Target,
        TargetErrorKind::{NotFound, Unanswered, Unsupported},
        crowd::{CrowdSettings, CrowdTarget},
    },
};
use usersync_simulators::{
    CrowdOptions, Fault,
    crowd::{NewCrowdUser, Permission},
};

use super::place::{Place, create, deactivate, give, not_done, rename, settings, update, values};

/// Attributes of the policy in most tests; `badge` is not managed.
const OURS: [&str; 3] = ["title", "cost centre", "Größe & Ort"];

async fn place() -> Place {
    Place::keeping(CrowdOptions::default(), &OURS).await
}

fn make(name: &str, of: &[(&str, &str)]) -> Operation {
    let mut operation = create(name);
    if let Operation::CreateUser { fields, .. } = &mut operation {
        fields.attributes = values(of);
    }
    operation
}

/// Returns Crowd's own attributes of an account.
fn kept(place: &Place, name: &str) -> BTreeMap<String, Vec<String>> {
    place.simulator.snapshot().user(name).expect("there").attributes.clone()
}

/// Returns the number of calls that write attributes, and of those that read one account.
fn calls(place: &Place) -> (usize, usize) {
    let journal = &place.simulator.journal;
    (
        journal.matching(|entry| entry.is_write() && entry.path.ends_with("/attribute")).len(),
        journal.count("GET", "/user?"),
    )
}

#[tokio::test]
async fn each_attribute_is_created_read_changed_and_cleared_and_nothing_else_is_changed() {
    for options in [CrowdOptions::version("2.9.1"), CrowdOptions::version("7.1.3"), CrowdOptions::jira("10.3.5")] {
        let place = Place::keeping(options, &OURS).await;
        let first = [("title", "Dr"), ("cost centre", "4711"), ("Größe & Ort", "1 m / 2+3 \"x\"")];
        place.done(&make("ada", &first)).await;
        place.simulator.set_attribute("ada", "badge", &["7", "8"]);
        let ada = place.named("ada").await.expect("there");
        assert_eq!(ada.attributes, values(&first));
        assert_eq!(place.all().await.0[0].attributes, values(&first), "in lists, too");

        place.simulator.journal.clear();
        place.done(&give(&ada, &[("title", "Prof"), ("cost centre", ""), ("Größe & Ort", "2 m")])).await;
        assert_eq!(calls(&place), (2, 2), "one call gives all, one takes each away, between two looks");
        let now = place.crowd.account(&ada.id).await.expect("a look").expect("there");
        assert_eq!(now.attributes, values(&[("title", "Prof"), ("cost centre", ""), ("Größe & Ort", "2 m")]));
        assert_eq!((now.display_name.as_str(), now.email.as_deref()), ("The great ada", Some("ada@example.org")));
        assert_eq!(kept(&place, "ada")["badge"], ["7", "8"], "others' attributes stay");
        place.done(&give(&now, &[("title", ""), ("Größe & Ort", "")])).await;
        assert_eq!(kept(&place, "ada").into_keys().collect::<Vec<_>>(), ["badge"]);
    }
}

#[tokio::test]
async fn the_first_value_is_read_and_one_is_written() {
    let place = place().await;
    let attributes = BTreeMap::from([("title".to_owned(), vec!["Dr".to_owned(), "Prof".to_owned()])]);
    place.simulator.add_user(NewCrowdUser { attributes, ..NewCrowdUser::named("ada") });
    let ada = place.named("ada").await.expect("there");
    assert_eq!(ada.attributes, values(&[("title", "Dr"), ("cost centre", ""), ("Größe & Ort", "")]));
    place.done(&give(&ada, &[("title", "Prof")])).await;
    assert_eq!(kept(&place, "ada")["title"], ["Prof"]);
    let sent = place.simulator.journal.matching(|entry| entry.method == "POST");
    assert_eq!(sent[0].json(), json!({ "attributes": [{ "name": "title", "values": ["Prof"] }] }));
}

#[tokio::test]
async fn an_answer_without_attributes_does_not_mean_that_there_are_none() {
    let place = place().await;
    place.done(&make("ada", &[("title", "Dr")])).await;
    let ada = place.named("ada").await.expect("there");
    for attributes in [json!(null), json!({ "link": {} })] {
        let body = json!({ "key": ada.id.as_str(), "name": "ada", "active": true, "attributes": attributes });
        let fault = place.simulator.faults.add(Fault::status(200, body.to_string()).path("/user?key="));
        let reported = place.crowd.account(&ada.id).await.expect("a look").expect("there");
        assert_eq!(reported.attributes, values(&[]), "{attributes}");
        // Without any report of the values, all are written and assumed to be stored.
        place.done(&give(&ada, &[("title", "Prof"), ("cost centre", "")])).await;
        place.simulator.faults.remove(fault);
        assert_eq!(kept(&place, "ada")["title"], ["Prof"]);
    }
    // A list of names alone is completed by reads of single accounts.
    place.simulator.set_attribute("ada", "title", &["Dr"]);
    let names = json!({ "users": [{ "name": "ada" }] });
    place.simulator.faults.add(Fault::status(200, names.to_string()).path("/search").once());
    let page = place.crowd.accounts(None).await.expect("a page");
    assert_eq!(page.items[0].attributes["title"], "Dr");
}

#[tokio::test]
async fn a_change_that_already_holds_is_not_sent() {
    let place = place().await;
    place.done(&make("ada", &[("title", "Dr")])).await;
    let ada = place.named("ada").await.expect("there");
    place.simulator.journal.clear();
    place.done(&give(&ada, &[("title", "Dr"), ("cost centre", "")])).await;
    place.done(&update(&ada, Some("The great ada"), None)).await;
    assert!(place.simulator.journal.writes().is_empty());
    place.done(&update(&ada, Some("Countess"), None)).await;
    assert_eq!(calls(&place), (0, 3), "no look for attributes that were not written");
    assert_eq!(kept(&place, "ada")["title"], ["Dr"]);
}

#[tokio::test]
async fn a_login_that_was_reassigned_gives_the_other_account_nothing() {
    let place = place().await;
    let (ada, bob) = (place.create("ada").await, place.create("bob").await);
    for operation in [rename(&ada, "tmp"), rename(&bob, "ada"), rename(&ada, "bob")] {
        place.done(&operation).await;
    }
    // Both operations still have the old logins.
    place.done(&give(&ada, &[("title", "Countess")])).await;
    place.done(&give(&bob, &[("title", "Builder")])).await;
    assert_eq!(kept(&place, "bob")["title"], ["Countess"]);
    assert_eq!(kept(&place, "ada")["title"], ["Builder"]);
    place.simulator.remove_user("bob");
    assert_eq!(place.refused(&give(&ada, &[("title", "X")])).await.kind, NotFound);
}

#[tokio::test]
async fn a_new_account_is_not_lost_with_its_attributes() {
    let faults: [fn() -> Fault; 5] = [
        || Fault::status(403, r#"{"reason": "APPLICATION_PERMISSION_DENIED", "message": "no"}"#),
        || Fault::status(400, r#"{"reason": "ILLEGAL_ARGUMENT", "message": "no"}"#),
        Fault::unavailable,
        Fault::cut,
        Fault::cut_after,
    ];
    for (nth, fault) in faults.iter().enumerate() {
        let place = place().await;
        place.simulator.faults.add(fault().path("/user/attribute").once());
        let made = place.apply(&make("ada", &[("title", "Dr")])).await;
        let Ok(Applied::Account(made)) = made else { panic!("{nth}: {made:?}") };
        assert_eq!(made.attributes, values(&[]), "{nth}: that answer does not tell them");
        // The next read shows what is missing.
        let ada = place.crowd.account(&made.id).await.expect("a look").expect("there");
        let lost = nth < 4;
        assert_eq!(ada.attributes["title"], if lost { "" } else { "Dr" }, "{nth}");
        place.done(&give(&ada, &[("title", "Dr")])).await;
        assert_eq!(kept(&place, "ada")["title"], ["Dr"]);
    }
}

#[tokio::test]
async fn a_refusal_is_reported_with_the_missing_permission() {
    let place = place().await;
    place.done(&make("ada", &[("title", "Dr"), ("cost centre", "1")])).await;
    let ada = place.named("ada").await.expect("there");
    place.simulator.permit(Permission::ModifyUserAttributes, false);
    for change in [("title", "Prof"), ("cost centre", "")] {
        let error = place.refused(&give(&ada, &[change])).await;
        assert_eq!(error.kind, not_done(Forbidden));
        for words in ["updating ada: ", "permission \"Modify user attributes\" in directory Crowd Internal Directory"] {
            assert!(error.text.contains(words), "{}", error.text);
        }
    }
    place.simulator.permit(Permission::ModifyUserAttributes, true);
    for (status, reason, kind) in [
        (400, "ILLEGAL_ARGUMENT", not_done(Permanent)),
        (404, "USER_NOT_FOUND", NotFound),
        (500, "OPERATION_FAILED", Unanswered),
    ] {
        let body = json!({ "reason": reason, "message": "Words of Crowd" }).to_string();
        place.simulator.faults.add(Fault::status(status, body).path("/user/attribute").once());
        let error = place.refused(&give(&ada, &[("title", "Prof")])).await;
        assert_eq!(error.kind, kind, "{}", error.text);
        assert!(error.text.starts_with("updating ada: "), "{}", error.text);
    }
    assert_eq!(place.named("ada").await.expect("there").attributes, ada.attributes, "nothing was done");
}

#[tokio::test]
async fn a_failure_after_a_part_was_done_is_found_by_a_read() {
    let place = place().await;
    place.done(&make("ada", &[("cost centre", "1")])).await;
    let ada = place.named("ada").await.expect("there");
    let mut change = give(&ada, &[("title", "Dr"), ("cost centre", "")]);
    if let Operation::UpdateUser { fields, .. } = &mut change {
        fields.display_name = Some("Countess".to_owned());
    }
    place.simulator.permit(Permission::ModifyUserAttributes, false);
    let error = place.refused(&change).await;
    assert!(error.kind == Unanswered && error.text.contains("Modify user attributes"), "{}", error.text);
    assert_eq!(place.named("ada").await.expect("there").display_name, "Countess");
    place.simulator.permit(Permission::ModifyUserAttributes, true);
    let refused = Fault::status(400, r#"{"reason": "ILLEGAL_ARGUMENT", "message": "no"}"#).method("DELETE");
    place.simulator.faults.add(refused.once());
    assert_eq!(place.refused(&change).await.kind, Unanswered);
    assert_eq!(place.named("ada").await.expect("there").attributes["title"], "Dr");
    place.simulator.faults.add(Fault::status(503, "").method("GET").path("key=").after(1).once());
    let error = place.refused(&change).await;
    assert!(error.kind == Unanswered && error.text.starts_with("updating ada: "), "{}", error.text);
    place.simulator.journal.clear();
    place.done(&change).await;
    assert!(place.simulator.journal.writes().is_empty(), "all is done by now");
}

#[tokio::test]
async fn a_lost_answer_is_reported_and_a_repetition_is_correct() {
    for fault in [Fault::cut, Fault::cut_after] {
        for change in [("title", "Prof"), ("title", "")] {
            let place = place().await;
            place.done(&make("ada", &[("title", "Dr"), ("cost centre", "1")])).await;
            let ada = place.named("ada").await.expect("there");
            place.simulator.faults.add(fault().path("/user/attribute").once());
            let error = place.refused(&give(&ada, &[change])).await;
            assert_eq!(error.kind, Unanswered, "{}", error.text);
            for _ in 0..2 {
                place.done(&give(&ada, &[change])).await;
                let now = place.named("ada").await.expect("there").attributes;
                assert_eq!(now, values(&[change, ("cost centre", "1"), ("Größe & Ort", "")]));
            }
        }
    }
}

#[tokio::test]
async fn a_value_that_is_not_stored_is_reported() {
    let place = place().await;
    place.done(&make("ada", &[("title", "Dr")])).await;
    let ada = place.named("ada").await.expect("there");
    place.simulator.faults.add(Fault::status(204, "").path("/user/attribute").once());
    let error = place.refused(&give(&ada, &[("title", "Prof"), ("cost centre", "1")])).await;
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("accepted the change but stored a different cost centre and title"), "{}", error.text);

    // A value too long for Crowd is not sent; all others are.
    let (long, fits) = ("ü".repeat(256), "ü".repeat(255));
    place.simulator.journal.clear();
    let error = place.refused(&give(&ada, &[("title", &long), ("cost centre", &fits)])).await;
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("the value of title is longer than the 255 characters"), "{}", error.text);
    assert_eq!(
        kept(&place, "ada"),
        [("title", "Dr"), ("cost centre", &fits)].map(|(k, v)| (k.into(), vec![v.into()])).into()
    );
    assert_eq!(calls(&place).0, 1);
    place.done(&make("bob", &[("title", &long)])).await;
    assert_eq!(place.named("bob").await.expect("there").attributes["title"], "");
}

#[tokio::test]
async fn a_read_only_directory_accepts_attributes() {
    let place = place().await;
    let directory = place.simulator.add_directory("Company LDAP", true);
    place.simulator.add_user(NewCrowdUser { directory, ..NewCrowdUser::named("lea") });
    let lea = place.named("lea").await.expect("there");
    place.done(&give(&lea, &[("title", "Dr")])).await;
    assert_eq!(place.refused(&update(&lea, Some("X"), None)).await.kind, Unsupported);
    assert_eq!(kept(&place, "lea")["title"], ["Dr"]);
}

/// Runs all operations on accounts; returns the accounts as read.
async fn all_of_it(place: &Place) -> Vec<Account> {
    place.crowd.probe().await.expect("a first contact");
    place.done(&make("ada", &[("title", "Dr")])).await;
    let ada = place.named("ada").await.expect("there");
    for operation in [give(&ada, &[("title", "Prof")]), update(&ada, Some("Countess"), None), deactivate(&ada)] {
        place.done(&operation).await;
    }
    place.all().await.0
}

#[tokio::test]
async fn attributes_are_not_read_if_the_policy_has_none() {
    let place = Place::new().await;
    let accounts = all_of_it(&place).await;
    assert!(accounts.iter().all(|account| account.attributes.is_empty()));
    let asked = place.simulator.journal.entries();
    let about: Vec<_> =
        asked.iter().map(usersync_simulators::Entry::target).filter(|one| one.contains("attribute")).collect();
    assert_eq!(about, Vec::<String>::new());
    assert_eq!(kept(&place, "ada"), BTreeMap::new());
    let keeping = self::place().await;
    all_of_it(&keeping).await;
    let more = keeping.simulator.journal.len() - asked.len();
    assert_eq!(more, 3, "one call with the new account, one for the change, one look at it");
}

#[tokio::test]
async fn check_reports_the_written_attributes() {
    let place = place().await;
    let info = place.crowd.probe().await.expect("a first contact");
    assert!(info.capabilities.attributes);
    let note = info.notes.iter().find(|note| note.about == "attributes").expect("a line");
    assert_eq!(note.state, NoteState::Ok);
    assert!(note.text.starts_with("Größe & Ort, cost centre, title: written by the policy"), "{}", note.text);
    let none = Place::start(CrowdOptions::jira("10.3.5")).await.crowd.probe().await.expect("a first contact");
    assert!(none.capabilities.attributes && none.notes.iter().all(|note| note.about != "attributes"));
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused_before_anything_is_sent() {
    let place = Place::new().await;
    for (name, why) in
        [("", "needs a name"), ("a\tb", "not a valid attribute name"), ("lastActive", "records about passwords")]
    {
        let attributes = [name.to_owned()].into();
        let error =
            CrowdTarget::new(CrowdSettings { attributes, ..settings(&place.simulator) }).err().expect("refused");
        assert_eq!(error.kind, not_done(Permanent));
        assert!(error.text.contains(why), "{error}");
    }
    assert!(place.simulator.journal.is_empty());
}
