//! A SCIM service beside the Jira: further attributes from the policy's templates, and groups that are renamed in
//! place.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};
use usersync::{
    demo::{stack::StackOptions, targets::OtherTarget},
    engine::{Report, RunOptions},
    model::{ApprovalKind, FirstRun, Limited, Operation, Pair, Policy, RunTrigger, TargetGroupId, TargetPolicy},
    store::{OperatorStore, StoreReads},
    targets::{
        Credentials, Target,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    ScimOptions, ScimSwitches, SimulatedScim,
    keycloak::{NewUser, UserChange},
    scim::{InvalidField, NewAccount, Visibility},
};

use super::support::{World, on, policy, servers};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

struct Wiki {
    w: World,
    server: Arc<SimulatedScim>,
    target: Arc<ScimTarget>,
}

fn pair() -> Pair {
    Pair::new("acme", "wiki")
}

impl Wiki {
    /// Starts a stack with a SCIM service, including title and department; alice of the group `dev` has both.
    async fn start() -> Self {
        Self::switched(|_| {}).await
    }

    /// The same with a service that has these switches.
    async fn switched(work: impl FnOnce(&mut ScimSwitches)) -> Self {
        Self::stored(None, "{}", work).await
    }

    /// The same with a store that outlives the stack, and rules for groups.
    async fn stored(store: Option<PathBuf>, groups: &str, work: impl FnOnce(&mut ScimSwitches)) -> Self {
        let mut options = ScimOptions::default();
        work(&mut options.switches);
        let server = Arc::new(SimulatedScim::start(options).await.expect("a free port"));
        let token = server.token().to_owned();
        let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
        let mut settings = ScimSettings::new(server.url().parse().expect("an address"), credentials);
        let department = format!("{ENTERPRISE}:department");
        let attributes = json!({
            "title": "{{ attributes.title | regex_replace('^Dr\\\\. ', '') }}",
            department.as_str(): { "template": "{{ attributes.dept | upper }}", "empty": "clear" },
            "locale": { "template": "en", "when": "create" },
        });
        settings.attributes = ["title", "locale", &department].map(str::to_owned).into();
        let target = Arc::new(ScimTarget::new(settings).expect("good settings"));
        let other_targets = vec![OtherTarget { name: "wiki".into(), target: Arc::clone(&target) as Arc<dyn Target> }];
        let attributes = serde_json::from_value(attributes).expect("rules");
        let options = policy(|policy| {
            policy.groups = serde_json::from_str(groups).expect("rules");
            drop(policy.targets.insert("wiki".into(), TargetPolicy { attributes, ..TargetPolicy::default() }));
        });
        let servers = servers(StackOptions { other_targets, store, ..options }).await;
        let alice = NewUser::named("alice").in_groups(&["/dev"]).attribute("title", "Dr. Med").attribute("dept", "r&d");
        servers.realm.import_users([alice]).expect("imported");
        Self { w: on(servers).await, server, target }
    }

    /// Returns the service's title, department and locale of alice.
    fn alice(&self) -> [Value; 3] {
        let fields = self.server.snapshot().account("alice").expect("there").fields.clone();
        let of = |value: Option<&Value>| value.cloned().unwrap_or_default();
        let department = fields.get(ENTERPRISE).and_then(|extension| extension.get("department"));
        [of(fields.get("title")), of(department), of(fields.get("locale"))]
    }

    async fn set(&self, name: &str, values: &[&str]) {
        self.w.realm().set_attribute(&self.w.id("alice"), name, values).await.expect("changed");
        self.w.settled().await;
    }

    async fn id_of(&self, group: &str) -> Option<TargetGroupId> {
        self.target.group_named(group).await.expect("a look").map(|group| group.id)
    }

    async fn run(&self, options: RunOptions) -> Report {
        Box::pin(self.w.stack.engine.run(&pair(), &options)).await.expect("the run ends well").1
    }

    /// Returns the plan of a run, as text.
    async fn plan(&self) -> Vec<String> {
        let report = self.run(RunOptions::dry(RunTrigger::Operator)).await;
        report.lines.iter().map(|line| line.operation.to_string()).collect()
    }
}

#[tokio::test]
async fn attributes_follow_keycloak_by_events_and_by_runs() {
    let wiki = Wiki::start().await;
    assert_eq!(wiki.alice(), [json!("Med"), json!("R&D"), json!("en")]);
    wiki.set("title", &["Prof", "Dr"]).await;
    assert_eq!(wiki.alice(), [json!("Prof"), json!("R&D"), json!("en")], "the first value counts");
    // An empty title keeps the current value; an empty department removes it.
    wiki.set("title", &[]).await;
    wiki.set("dept", &[]).await;
    assert_eq!(wiki.alice(), [json!("Prof"), Value::Null, json!("en")]);

    // A manual change there is reverted; a value for new accounts only belongs to the service by now.
    wiki.set("dept", &["ops"]).await;
    wiki.server.set("alice", ENTERPRISE, json!({ "department": "Sales", "costCenter": "7" }));
    wiki.server.set("alice", "locale", json!("de"));
    let department = format!("update alice: {ENTERPRISE}:department");
    assert_eq!(wiki.plan().await, std::slice::from_ref(&department));
    let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert_eq!((run.done.get("update"), run.errors.len()), (Some(&1), 0), "{run:?}");
    assert_eq!(wiki.alice(), [json!("Prof"), json!("OPS"), json!("de")]);
    let cost = wiki.server.snapshot().account("alice").expect("there").fields[ENTERPRISE]["costCenter"].clone();
    assert_eq!(cost, json!("7"), "what nobody speaks of stays");
    assert_eq!(wiki.plan().await, [""; 0]);

    let changes = wiki.w.changes_of(&wiki.w.id("alice")).await;
    let last = changes.iter().rfind(|change| change.pair == pair()).expect("it left a change");
    assert_eq!(last.before[format!("{ENTERPRISE}:department")], json!("Sales"));
    // The Jira beside it has no such attributes, and got no requests except about alice herself.
    assert!(wiki.w.agrees().holds());
}

#[tokio::test]
async fn a_group_that_is_renamed_in_keycloak_is_renamed_and_its_members_stay() {
    let wiki = Wiki::start().await;
    let id = wiki.id_of("dev").await.expect("made");
    let group = wiki.w.realm().snapshot().group("/dev").expect("there").id.clone();
    wiki.server.journal.clear();
    wiki.w.realm().rename_group(&group, "Engineering").await.expect("renamed");
    wiki.w.settled().await;
    assert_eq!((wiki.id_of("dev").await, wiki.id_of("Engineering").await), (None, Some(id.clone())));
    assert_eq!(wiki.server.snapshot().groups["Engineering"], ["alice".to_owned()].into());
    let writes: Vec<String> =
        wiki.server.journal.writes().iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    assert_eq!(writes, [format!("PATCH /scim/v2/Groups/{id}")], "nobody was moved");
    // Jira does not support this: there it is another group now, with the same members.
    assert_eq!(wiki.w.members("engineering").len() + wiki.w.members("Engineering").len(), 1);

    // The same by a full reconcile, which shows it in its plan.
    wiki.w.realm().switch_webhook(false);
    wiki.w.realm().rename_group(&group, "R&D").await.expect("renamed");
    assert_eq!(wiki.plan().await, ["rename group Engineering → R&D"]);
    let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert_eq!((run.done.get("rename_group"), run.done.len()), (Some(&1), 1), "{run:?}");
    assert_eq!(wiki.id_of("R&D").await, Some(id.clone()));
    assert_eq!(wiki.plan().await, [""; 0]);
    let managed = wiki.w.stack.store.managed_groups(&"wiki".into()).await.expect("read");
    assert!(managed.iter().any(|one| one.id == id && one.name == "R&D"), "{managed:?}");
}

#[tokio::test]
async fn a_group_whose_new_name_an_unmanaged_group_has_is_not_renamed() {
    let wiki = Wiki::start().await;
    let id = wiki.id_of("dev").await.expect("made");
    wiki.server.add_group("Taken");
    let group = wiki.w.realm().snapshot().group("/dev").expect("there").id.clone();
    wiki.w.realm().rename_group(&group, "Taken").await.expect("renamed");
    wiki.w.calm().await;
    // Adopting it waits for approval; alice is in no group of that name so far, nor in one of the former name.
    assert_eq!(wiki.id_of("dev").await, Some(id));
    let groups = wiki.server.snapshot().groups;
    assert!(groups["Taken"].is_empty() && groups["dev"].is_empty(), "{groups:?}");
    wiki.w.realm().rename_group(&group, "Free").await.expect("renamed");
    wiki.w.settled().await;
    assert_eq!(wiki.server.snapshot().groups["Free"], ["alice".to_owned()].into());
}

#[tokio::test]
async fn a_group_that_existed_before_usersync_keeps_its_name() {
    let wiki = Wiki::start().await;
    wiki.server.add_group("ops");
    let ops = wiki.id_of("ops").await.expect("there");
    let realm = wiki.w.realm();
    let group = realm.create_group(None, "ops").await.expect("made");
    wiki.w.calm().await;
    wiki.w.decide(ApprovalKind::Adoption, true).await;
    realm.join(&wiki.w.id("alice"), &group).await.expect("joined");
    wiki.w.settled().await;
    assert_eq!(wiki.server.snapshot().groups["ops"], ["alice".to_owned()].into());
    realm.rename_group(&group, "operations").await.expect("renamed");
    wiki.w.settled().await;
    assert_eq!(wiki.id_of("ops").await, Some(ops), "it is not usersync's to rename");
    let groups = wiki.server.snapshot().groups;
    assert_eq!((&groups["operations"], groups["ops"].len()), (&["alice".to_owned()].into(), 0));
}

#[tokio::test]
async fn listings_without_attributes_cause_no_repeated_writes() {
    let wiki = Wiki::start().await;
    wiki.server.switch(|switches| switches.not_in_lists = vec!["title", ENTERPRISE]);
    wiki.set("title", &["Prof"]).await;
    for _ in 0..2 {
        let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
        assert_eq!((run.planned_total(), run.done.len()), (0, 0), "{run:?}");
    }
    assert_eq!(wiki.plan().await, [""; 0]);
}

#[tokio::test]
async fn an_attribute_that_is_refused_holds_up_nothing_else() {
    let wiki = Wiki::start().await;
    wiki.server.switch(|switches| switches.refuses = vec!["title"]);
    let realm = wiki.w.realm();
    let (alice, dev) = (wiki.w.id("alice"), realm.snapshot().group("/dev").expect("there").id.clone());
    realm.set_attribute(&alice, "title", &["not a title"]).await.expect("changed");
    realm.set_attribute(&alice, "dept", &[]).await.expect("changed");
    realm.leave(&alice, &dev).await.expect("left");
    realm.update_user(&alice, UserChange::email("new@example.org")).await.expect("changed");
    wiki.w.calm().await;
    let state = wiki.server.snapshot();
    let now = state.account("alice").expect("there");
    assert!(now.groups.is_empty(), "{now:?}");
    assert_eq!(now.fields["emails"][0]["value"], json!("new@example.org"));
    let dead = wiki.w.dead().await;
    assert!(dead.len() == 1 && dead[0].contains("title is not well-formed"), "{dead:?}");
    // New users are not blocked either.
    realm.create_user(NewUser::named("bob").in_groups(&["/dev"]).attribute("title", "X")).await.expect("made");
    wiki.w.calm().await;
    assert_eq!(wiki.server.snapshot().groups["dev"], ["bob".to_owned()].into());
}

#[tokio::test]
async fn a_group_renamed_by_hand_is_recognized_in_plan_and_run() {
    let wiki = Wiki::start().await;
    let id = wiki.id_of("dev").await.expect("made");
    let group = wiki.w.realm().snapshot().group("/dev").expect("there").id.clone();
    wiki.w.realm().switch_webhook(false);
    wiki.w.realm().rename_group(&group, "crew").await.expect("renamed");
    let by_hand = Operation::RenameGroup { group: id.clone(), name: "dev".to_owned(), to: "crew".to_owned() };
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(30);
    wiki.target.apply(&by_hand, soon).await.expect("renamed");
    let dry = wiki.run(RunOptions::dry(RunTrigger::Operator)).await;
    assert_eq!((dry.planned_total(), dry.held), (0, 0), "{dry:?}");
    let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert_eq!((run.done.len(), run.held), (0, 0), "{run:?}");
    assert_eq!(wiki.server.snapshot().groups["crew"], ["alice".to_owned()].into());
    assert_eq!(wiki.id_of("crew").await, Some(id));
}

#[tokio::test]
async fn a_login_that_the_service_finds_in_another_spelling_is_adopted_or_waits() {
    let wiki = Wiki::switched(|switches| switches.filter_case = true).await;
    wiki.server.add_account(NewAccount::named("Berta"));
    wiki.w.realm().create_user(NewUser::named("berta")).await.expect("made");
    wiki.w.calm().await;
    let refused = wiki.server.journal.count("POST", "/Users");
    assert!(wiki.w.held(ApprovalKind::Adoption).await.is_some(), "{:#?}", wiki.w.tasks().await);
    wiki.w.decide(ApprovalKind::Adoption, true).await;
    wiki.w.calm().await;
    assert_eq!(wiki.server.journal.count("POST", "/Users"), refused, "not asked for again");
    assert!(wiki.server.snapshot().account("berta").is_some(), "adopted, and spelled as in Keycloak");
}

#[tokio::test]
async fn a_name_in_use_by_no_visible_account_does_not_loop() {
    let wiki = Wiki::switched(|switches| switches.hidden = vec!["ghost"]).await;
    let posts = || (wiki.server.journal.count("POST", "/Users"), wiki.server.journal.count("POST", "/Groups"));
    let before = posts();
    let realm = wiki.w.realm();
    realm.create_user(NewUser::named("ghost")).await.expect("made");
    let group = realm.create_group(None, "ghost").await.expect("made");
    realm.join(&wiki.w.id("alice"), &group).await.expect("joined");
    wiki.w.calm().await;
    let after = posts();
    assert!(after.0 <= before.0 + 2 && after.1 <= before.1 + 2, "{before:?} {after:?}");
    let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert!(run.unsupported.iter().any(|text| text.contains("creating ghost") && text.contains("unique")), "{run:?}");
    assert!(run.unsupported.iter().any(|text| text.contains("group /ghost")), "{run:?}");
    assert_eq!(run.errors, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_service_does_not_show_is_not_written_again_and_is_removed_by_the_record() {
    let wiki = Wiki::switched(|switches| {
        (switches.members_told, switches.groups_told) = (Visibility::Empty, Visibility::Empty);
    })
    .await;
    assert_eq!(wiki.server.snapshot().groups["dev"], ["alice".to_owned()].into());
    wiki.w.calm().await;
    for _ in 0..2 {
        let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
        assert_eq!((run.planned_total(), run.done.len()), (0, 0), "{run:?}");
        assert!(run.unconfirmed.iter().any(|text| text.contains("not all members of dev")), "{run:?}");
    }
    let dev = wiki.w.realm().snapshot().group("/dev").expect("there").id.clone();
    wiki.w.realm().switch_webhook(false);
    wiki.w.realm().leave(&wiki.w.id("alice"), &dev).await.expect("left");
    let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert!(wiki.server.snapshot().groups["dev"].is_empty(), "{run:?}");
    let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert_eq!(run.planned_total(), 0, "{run:?}");
}

#[tokio::test]
async fn one_ambiguous_group_or_account_does_not_end_a_plan() {
    let wiki = Wiki::start().await;
    wiki.w.realm().switch_webhook(false);
    for name in ["Ops", "OPS"] {
        wiki.server.add_group(name);
    }
    for name in ["Otto", "OTTO"] {
        wiki.server.add_account(NewAccount::named(name));
    }
    wiki.w.realm().create_group(None, "ops").await.expect("made");
    for login in ["otto", "paula"] {
        wiki.w.realm().create_user(NewUser::named(login)).await.expect("made");
    }
    let dry = wiki.run(RunOptions::dry(RunTrigger::Operator)).await;
    assert_eq!(dry.planned.get("create"), Some(&1), "{dry:?}");
    for about in ["group /ops", "otto"] {
        assert!(dry.conflicts.iter().any(|text| text.starts_with(about) && text.contains("several")), "{dry:?}");
    }
    let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert_eq!(run.done.get("create"), Some(&1), "{run:?}");
    assert!(wiki.server.snapshot().account("paula").is_some());
}

#[tokio::test]
async fn one_odd_account_or_group_keeps_no_leaver_active() {
    let wiki = Wiki::start().await;
    let realm = wiki.w.realm();
    realm.create_user(NewUser::named("leaver")).await.expect("made");
    wiki.w.settled().await;
    realm.switch_webhook(false);
    let odd = wiki.server.snapshot().accounts.iter().find(|(_, one)| one.name == "alice").expect("there").0.clone();
    let dev = wiki.id_of("dev").await.expect("there").to_string();
    for (path, id, at) in [("/Users", odd, "/userName"), ("/Groups", dev, "/id")] {
        let odd = InvalidField { path, id: Some(id), at: at.into(), value: Some(Value::Null) };
        wiki.server.switch(|switches| switches.odd = Some(odd));
        let enabled = path == "/Groups";
        realm.update_user(&wiki.w.id("leaver"), UserChange::enabled(enabled)).await.expect("changed");
        let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
        assert_eq!(wiki.server.snapshot().account("leaver").expect("there").active, enabled, "{run:?}");
        assert!(wiki.server.snapshot().account("alice").expect("there").active);
        assert_eq!(wiki.server.snapshot().groups["dev"], ["alice".to_owned()].into(), "{run:?}");
        let reported =
            run.unsupported.iter().chain(run.errors.iter()).chain(run.unconfirmed.iter()).collect::<Vec<_>>();
        assert!(!reported.is_empty(), "{path}: it is named");
    }
}

#[tokio::test]
async fn many_renames_of_groups_wait_and_the_groups_keep_their_names_and_members() {
    let wiki = Wiki::start().await;
    let (realm, alice) = (wiki.w.realm(), wiki.w.id("alice"));
    let mut groups = Vec::new();
    for number in 0..7 {
        let group = realm.create_group(None, &format!("g{number}")).await.expect("made");
        realm.join(&alice, &group).await.expect("joined");
        groups.push(group);
    }
    wiki.w.settled().await;
    realm.switch_webhook(false);
    for (number, group) in groups.iter().enumerate() {
        realm.rename_group(group, &format!("r{number}")).await.expect("renamed");
    }
    for _ in 0..2 {
        let plan = wiki.run(RunOptions::dry(RunTrigger::Operator)).await;
        assert_eq!((plan.held, plan.lines.len()), (7, 7), "{plan:?}");
        let causes: Vec<_> = plan.lines.iter().filter_map(|line| line.cause.as_deref()).collect();
        assert!(causes.contains(&"renamed in Keycloak: /r0"), "{causes:?}");
        let run = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
        assert_eq!((run.done.len(), run.held), (0, 7), "{run:?}");
        wiki.w.calm().await;
        assert_eq!(wiki.server.snapshot().groups["g0"], ["alice".to_owned()].into());
    }
    wiki.w.decide(ApprovalKind::SafetyLimit(Limited::RenameGroup), true).await;
    let groups = wiki.server.snapshot().groups;
    assert_eq!((groups.get("g6"), &groups["r6"]), (None, &["alice".to_owned()].into()));
    assert_eq!(wiki.plan().await, [""; 0]);
}

#[tokio::test]
async fn a_group_that_the_policy_names_anew_is_renamed_for_that_cause() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut wiki = Wiki::stored(Some(folder.path().join("usersync.db")), "{}", |_| {}).await;
    wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    let World { mut servers, stack } = wiki.w;
    // The plan is made before the full reconcile that the changed policy causes.
    stack.store.set_paused(&"acme".into(), true, "ann", Timestamp::now()).await.expect("paused");
    stack.stop().await;
    let groups = serde_json::from_str(r#"{"prefix": "kc-"}"#).expect("rules");
    servers.set_policy(Policy { first_run: FirstRun::Apply, groups, ..Policy::default() });
    wiki.w = on(servers).await;
    let plan = wiki.run(RunOptions::dry(RunTrigger::Operator)).await;
    let line = plan.lines.iter().find(|line| line.operation.to_string() == "rename group dev → kc-dev");
    let cause = line.and_then(|line| line.cause.as_deref());
    assert_eq!((cause, plan.policy_changed), (Some("named by the policy: /dev"), true), "{plan:?}");
    wiki.w.stack.store.set_paused(&"acme".into(), false, "ann", Timestamp::now()).await.expect("resumed");
    wiki.w.run_of_changed_policy_on(&pair()).await;
    assert_eq!(wiki.server.snapshot().groups["kc-dev"], ["alice".to_owned()].into());
}

#[tokio::test]
async fn a_merged_group_that_was_deleted_is_recreated_once_for_all_its_groups() {
    let wiki = Wiki::stored(None, r#"{"merged": ["shared"]}"#, |_| {}).await;
    let bob = NewUser::named("bob").in_groups(&["/b/shared"]);
    wiki.w.realm().import_users([bob]).expect("imported");
    let shared = wiki.w.realm().import_group("/a/shared").expect("imported");
    wiki.w.realm().join(&wiki.w.id("alice"), &shared).await.expect("joined");
    wiki.w.settled().await;
    wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    let both = ["alice".to_owned(), "bob".to_owned()];
    assert_eq!(wiki.server.snapshot().groups["shared"], both.clone().into());
    let group = wiki.id_of("shared").await.expect("made");
    let delete = Operation::DeleteGroup { group, name: "shared".to_owned() };
    wiki.target.apply(&delete, Timestamp::now() + jiff::SignedDuration::from_secs(60)).await.expect("deleted");
    let plan = wiki.plan().await;
    // The task of one group recreates it; that of the other group finds it under another id.
    for path in ["/a/shared", "/b/shared"] {
        let group = wiki.w.realm().snapshot().group(path).expect("there").id.clone();
        wiki.w.realm().set_group_attribute(&group, "note", &["1"]).await.expect("set");
        wiki.w.settled().await;
    }
    assert!(plan.contains(&"create group shared".to_owned()), "{plan:?}");
    assert_eq!(wiki.server.snapshot().groups["shared"], both.into());
    let again = wiki.run(RunOptions::apply(RunTrigger::Schedule)).await;
    assert!(!again.has_problems() && again.planned.is_empty(), "{again:?}");
}
