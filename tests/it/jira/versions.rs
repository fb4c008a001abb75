//! The Jira client against the simulated Jira, version by version; all requests are checked against the vendor's
//! description.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use usersync::{
    model::{AccountId, ErrorClass, Operation, TargetGroupId, UserFields},
    targets::{
        Applied, Credentials, Target, TargetError,
        TargetErrorKind::{NameTaken, NotDone, Unsupported},
        jira::{JiraSettings, JiraTarget},
    },
};
use usersync_simulators::{JiraOptions, SimulatedJira, jira::NewAccount, journal::Entry};

use crate::support::{all_accounts, jira_contract};

const VERSIONS: [&str; 5] = ["8.20.30", "9.12.15", "10.0.1", "10.3.24", "11.3.10"];

async fn start(version: &str) -> (SimulatedJira, JiraTarget) {
    let options = JiraOptions { base_path: "/jira".to_owned(), ..JiraOptions::version(version) };
    let server = SimulatedJira::start(options).await.expect("a simulator");
    let token = server.token().to_owned();
    let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
    let settings = JiraSettings::new(server.url().parse().expect("a URL"), credentials);
    (server, JiraTarget::new(settings).expect("good settings"))
}

async fn apply(jira: &JiraTarget, operation: Operation) -> Result<Applied, TargetError> {
    jira.apply(&operation, Timestamp::now() + SignedDuration::from_secs(20)).await
}

fn create(name: &str) -> Operation {
    let fields = UserFields {
        display_name: Some(format!("The {name}")),
        email: Some(format!("{name}@example.org")),
        ..UserFields::default()
    };
    Operation::CreateUser { name: name.to_owned(), fields, external_id: None }
}

fn join(account: &AccountId, name: &str, group: &str) -> Operation {
    Operation::AddMember {
        group: TargetGroupId::from(group.to_lowercase()),
        group_name: group.to_owned(),
        account: account.clone(),
        name: name.to_owned(),
    }
}

fn leave(account: &AccountId, name: &str, group: &str) -> Operation {
    Operation::RemoveMember {
        group: TargetGroupId::from(group.to_lowercase()),
        group_name: group.to_owned(),
        account: account.clone(),
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn an_account_lives_its_life_on_every_version() {
    for version in VERSIONS {
        let (server, jira) = start(version).await;
        let info = jira.probe().await.expect("a good target");
        assert_eq!(info.product, format!("Jira Data Center {version}"));
        assert_eq!(info.signed_in_as, "admin");
        assert_eq!(info.identity.id, server.server_id());
        assert_eq!(info.capabilities.list_all, !version.starts_with("10.0"), "{version}");

        let Applied::Account(made) = apply(&jira, create("ada")).await.expect("made") else { panic!("an account") };
        assert_eq!((made.name.as_str(), made.active), ("ada", true));
        assert_eq!(apply(&jira, create("ADA")).await.expect_err("taken").kind, NameTaken);
        let (id, name) = (made.id.clone(), || "ada".to_owned());
        let read = jira.account(&id).await.expect("an answer").expect("there");
        assert_eq!(read.groups, Some(vec!["jira-software-users".into()]), "the default application's group");
        assert_eq!((read.protected, read.immutable), (None, None));
        assert_eq!(jira.account_named("Ada").await.expect("an answer").expect("there").id, id);

        // A second time changes nothing.
        let fields = UserFields {
            display_name: Some("Ada L".to_owned()),
            email: Some("ada.l@example.org".to_owned()),
            ..UserFields::default()
        };
        for _ in 0..2 {
            let update = Operation::UpdateUser { account: id.clone(), name: name(), fields: fields.clone() };
            assert_eq!(apply(&jira, update).await, Ok(Applied::Done));
            let group = apply(&jira, Operation::CreateGroup { name: "Dev & Ops/EMEA".to_owned() }).await;
            assert!(matches!(&group, Ok(Applied::Group(_)) | Err(TargetError { kind: NameTaken, .. })), "{group:?}");
            assert_eq!(apply(&jira, join(&id, "ada", "Dev & Ops/EMEA")).await, Ok(Applied::Done));
            let off = Operation::DeactivateUser { account: id.clone(), name: name(), takes: Vec::new() };
            assert_eq!(apply(&jira, off).await, Ok(Applied::Done));
        }
        let seen = server.snapshot();
        let ada = seen.account("ada").expect("there");
        assert_eq!((ada.display_name.as_str(), ada.email.as_str()), ("Ada L", "ada.l@example.org"));
        assert!(!ada.active && ada.groups.contains("Dev & Ops/EMEA"));
        let group = jira.group_named("dev & OPS/emea").await.expect("an answer").expect("there");
        assert_eq!((group.name.as_str(), group.protected), ("Dev & Ops/EMEA", None));
        let members = jira.members(&group.id, None).await.expect("an answer").expect("there");
        assert_eq!((members.items, members.next, members.incomplete), (vec![id.clone()], None, None));

        for _ in 0..2 {
            let on = Operation::ActivateUser { account: id.clone(), name: name(), gives: Vec::new() };
            assert_eq!(apply(&jira, on).await, Ok(Applied::Done));
            let rename = Operation::RenameUser { account: id.clone(), name: name(), to: "ada.lovelace".to_owned() };
            assert_eq!(apply(&jira, rename).await, Ok(Applied::Done));
        }
        let renamed = jira.account(&id).await.expect("an answer").expect("there");
        assert_eq!(renamed.name, "ada.lovelace");
        let error = apply(&jira, leave(&id, "ada", "Dev & Ops/EMEA")).await.expect_err("renamed, and still a member");
        assert_eq!(error.class(), ErrorClass::Transient);
        for _ in 0..2 {
            assert_eq!(apply(&jira, leave(&id, "ada.lovelace", "Dev & Ops/EMEA")).await, Ok(Applied::Done));
            let name = "ada.lovelace".to_owned();
            let delete = Operation::DeleteUser { account: id.clone(), name };
            assert_eq!(apply(&jira, delete).await, Ok(Applied::Done));
            let name = "Dev & Ops/EMEA".to_owned();
            let delete = Operation::DeleteGroup { group: group.id.clone(), name };
            assert_eq!(apply(&jira, delete).await, Ok(Applied::Done));
        }
        assert_eq!(jira.account(&id).await, Ok(None));
        assert_eq!(jira.account_named("ada").await, Ok(None));
        assert_eq!(jira.group_named("Dev & Ops/EMEA").await, Ok(None));
        assert_eq!(jira.members(&group.id, None).await, Ok(None));
        assert!(jira.free_seats().await.is_ok());
        all_accounts(&jira).await;
        // The description's version has this listing; older versions are asked for it too.
        let described = |entry: &Entry| !entry.path.ends_with("/user/list") || entry.status != Some(404);
        let described = server.journal.matching(described);
        assert_eq!(jira_contract::check(&described, "/jira").0, Vec::<String>::new(), "{version}");
    }
}

#[tokio::test]
async fn all_accounts_are_listed_or_the_listing_is_incomplete() {
    for (version, count, whole) in [
        ("8.20.30", 1300, true),
        ("9.12.15", 70, true),
        ("10.0.1", 70, true),
        ("10.0.1", 300, false),
        ("10.3.24", 2500, true),
        ("11.3.10", 300, true),
    ] {
        let (server, jira) = start(version).await;
        let people = (0..count).map(|at| {
            let person = NewAccount::named(format!("p{at}"));
            if at % 7 == 0 { person.inactive() } else { person }
        });
        server.add_accounts(people);
        let (accounts, incomplete) = all_accounts(&jira).await;
        let names: BTreeSet<_> = accounts.iter().map(|account| account.name.as_str()).collect();
        assert_eq!(names.len(), accounts.len(), "{version}: each once");
        assert_eq!(incomplete.is_none(), whole, "{version} {count}: {incomplete:?}");
        assert_eq!(accounts.len(), count + 1, "{version}");
        assert!(accounts.iter().any(|account| !account.active));
        let admin = accounts.iter().find(|account| account.name == "admin").expect("there");
        assert!(admin.protected.is_some());
    }
}

#[tokio::test]
async fn a_listing_without_inactive_accounts_is_incomplete() {
    let (server, jira) = start("11.3.10").await;
    server.add_account(NewAccount::named("left").inactive());
    assert_eq!(all_accounts(&jira).await.1, None);
    server.set_list_inactive(false);
    assert!(all_accounts(&jira).await.1.expect("a reason").contains("omits inactive accounts"));
}

#[tokio::test]
async fn errors_are_reported_by_their_cause() {
    let (server, jira) = start("10.3.24").await;
    let Applied::Account(ada) = apply(&jira, create("ada")).await.expect("made") else { panic!("an account") };
    let (id, name) = (ada.id, || "ada".to_owned());

    server.set_project_lead("ALPHA", "ada");
    let off = Operation::DeactivateUser { account: id.clone(), name: name(), takes: Vec::new() };
    let error = apply(&jira, off).await.expect_err("a lead");
    assert_eq!(error.kind, Unsupported, "{}", error.text);

    server.set_project_lead("ALPHA", "admin");
    server.set_content("ada", true);
    let delete = Operation::DeleteUser { account: id.clone(), name: name() };
    let error = apply(&jira, delete).await.expect_err("it has content");
    assert!(error.kind == Unsupported && error.text.contains("Deactivate the account instead"), "{}", error.text);

    server.set_seats("jira-software", Some(2));
    assert_eq!(jira.free_seats().await, Ok(Some(0)));
    let error = apply(&jira, create("bob")).await.expect_err("no seat");
    assert_eq!(error.kind, NotDone(ErrorClass::Permanent), "{}", error.text);
    assert!(error.text.contains("no seat left"), "{}", error.text);
    server.set_seats("jira-software", None);
    assert_eq!(jira.free_seats().await, Ok(None));
    apply(&jira, create("bob")).await.expect("a seat");

    server.add_group("used");
    server.set_group_in_use("used", true);
    let delete = Operation::DeleteGroup { group: "used".into(), name: "used".to_owned() };
    assert_eq!(apply(&jira, delete).await.expect_err("in use").kind, Unsupported);

    server.set_read_only(true);
    let on = Operation::ActivateUser { account: id.clone(), name: name(), gives: Vec::new() };
    assert_eq!(apply(&jira, on).await.expect_err("read-only").kind, Unsupported);
    assert_eq!(apply(&jira, create("eve")).await.expect_err("read-only").kind, Unsupported);
    server.set_read_only(false);
    server.set_external_management(true);
    assert_eq!(apply(&jira, create("eve")).await.expect_err("managed elsewhere").kind, Unsupported);
    server.set_external_management(false);

    server.refuse_credentials_silently(true);
    let error = jira.members(&"jira-administrators".into(), None).await.expect_err("refused");
    assert_eq!(error.kind, NotDone(ErrorClass::Credentials), "{}", error.text);
    server.refuse_credentials_silently(false);
    let asked = server.journal.len();
    jira.members(&"jira-administrators".into(), None).await.expect_err("not tried again");
    assert_eq!(server.journal.len(), asked);
    jira.forget_refusal();
    jira.members(&"jira-administrators".into(), None).await.expect("taken");
}

#[tokio::test]
async fn a_group_that_grants_administration_is_protected_under_every_name() {
    let (server, jira) = start("11.3.10").await;
    server.set_admin_group("Wizards", true, false);
    server.add_account(NewAccount::named("merlin").in_groups(&["Wizards"]));
    let group = jira.group_named("wizards").await.expect("an answer").expect("there");
    assert!(group.name == "Wizards" && group.protected.is_some());
    let merlin = jira.account_named("merlin").await.expect("an answer").expect("there");
    assert!(merlin.protected.expect("protected").contains("wizards"));
}

#[tokio::test]
async fn jira_11_accepts_tokens_only() {
    let (server, _) = start("11.3.10").await;
    let password = Arc::new(|| Ok("admin".to_owned().into()));
    let basic = Credentials::Basic { user: "admin".to_owned(), password };
    let settings = JiraSettings::new(server.url().parse().expect("a URL"), basic);
    let jira = JiraTarget::new(settings.clone()).expect("good settings");
    let error = jira.probe().await.expect_err("refused");
    assert_eq!(error.kind, NotDone(ErrorClass::Credentials));
    assert!(error.text.contains("only personal access tokens"), "{}", error.text);
    server.set_basic_allowed(true);
    server.set_captcha(true);
    let jira = JiraTarget::new(settings).expect("good settings");
    let error = jira.probe().await.expect_err("a CAPTCHA");
    assert!(error.text.contains("CAPTCHA"), "{}", error.text);
}

#[tokio::test]
async fn versions_before_8_3_are_refused() {
    let (_server, jira) = start("8.2.6").await;
    let error = jira.probe().await.expect_err("too old");
    assert!(error.text.contains("requires 8.3 or later"), "{}", error.text);
}
