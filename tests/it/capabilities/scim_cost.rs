//! Calls per full reconcile and per event on SCIM servers with different habits.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use usersync::{
    demo::{stack::StackOptions, targets::OtherTarget},
    engine::{EngineTimes, Report, RunOptions},
    model::{Pair, RunTrigger},
    targets::{
        Credentials, Target,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    ScimOptions, ScimSwitches, SimulatedScim,
    keycloak::{NewUser, UserChange},
    scim::{Filters, Visibility},
};

use super::support::{STAFF, World, on, options, servers};

/// Groups of each user.
const EACH: usize = 5;

struct Scene {
    w: World,
    server: Arc<SimulatedScim>,
    users: usize,
    groups: usize,
    /// Calls of the first full reconcile.
    first: usize,
}

fn pair() -> Pair {
    Pair::new("acme", "wiki")
}

fn plain(switches: &mut ScimSwitches) {
    switches.groups_told = Visibility::Never;
    switches.member_filters = Filters::Broken;
    switches.bulk = 0;
}

fn login(number: usize) -> String {
    format!("user{number:04}")
}

impl Scene {
    /// Starts a realm with this many users, five groups each, and an empty SCIM server with these switches.
    async fn start(users: usize, groups: usize, work: impl FnOnce(&mut ScimSwitches)) -> Self {
        let mut scim = ScimOptions::default();
        work(&mut scim.switches);
        let server = Arc::new(SimulatedScim::start(scim).await.expect("a free port"));
        let token = server.token().to_owned();
        let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
        let settings = ScimSettings::new(server.url().parse().expect("an address"), credentials);
        let target: Arc<dyn Target> = Arc::new(ScimTarget::new(settings).expect("good settings"));
        // No deadline is missed on a busy machine.
        let times = EngineTimes { call: SignedDuration::from_secs(30), ..EngineTimes::hasty() };
        let other_targets = vec![OtherTarget { name: "wiki".into(), target }];
        let servers = servers(StackOptions { other_targets, times, ..options() }).await;
        let people = (0..users).map(|number| {
            let paths: Vec<String> = (0..EACH).map(|nth| format!("/g{:03}", (number + nth * 7) % groups)).collect();
            NewUser::named(login(number)).in_groups(&paths.iter().map(String::as_str).collect::<Vec<_>>())
        });
        servers.realm.import_users(people).expect("imported");
        let w = on(servers).await;
        let first = server.journal.len();
        let scene = Self { w, server, users, groups, first };
        let members: usize = scene.server.snapshot().groups.values().map(std::collections::BTreeSet::len).sum();
        assert_eq!(members, users * EACH + STAFF, "all are in their groups");
        scene
    }

    fn by_kind(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for entry in self.server.journal.entries() {
            let path = entry.path.split('/').nth(3).unwrap_or_default().to_owned();
            *kinds.entry(format!("{} {path}", entry.method)).or_default() += 1;
        }
        kinds
    }

    async fn run(&self) -> Report {
        Box::pin(self.w.stack.engine.run(&pair(), &RunOptions::apply(RunTrigger::Schedule))).await.expect("it ends").1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_costs_a_call_a_user_and_one_a_batch_of_members() {
    let scene = Scene::start(300, 60, plain).await;
    let (users, groups) = (scene.users + STAFF, scene.groups + 1);
    // All users of the run are in one wave, and no group has more than a hundred.
    let bound = (users + groups) * 3 / 2;
    let creating_groups = 2 * groups;
    assert!(scene.first <= bound + creating_groups, "{} calls: {:?}", scene.first, scene.by_kind());

    // With nothing to do, groups are read in pages.
    scene.server.journal.clear();
    let report = scene.run().await;
    assert_eq!((report.planned_total(), report.errors.len()), (0, 0), "{report:?}");
    let calls = scene.server.journal.len();
    assert!(calls <= 25, "{calls} calls: {:?}", scene.by_kind());
}

/// Changes the switches of a simulated server.
type Habit = fn(&mut ScimSwitches);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_is_as_cheap_whatever_the_server_does() {
    let habits: [(&str, Habit); 4] = [
        ("shows groups of users", |switches| {
            plain(switches);
            switches.groups_told = Visibility::Always;
        }),
        ("filters by member", |switches| {
            plain(switches);
            switches.member_filters = Filters::On;
        }),
        ("no PATCH", |switches| {
            plain(switches);
            (switches.patch, switches.patch_announced) = (false, false);
        }),
        ("bulk", |switches| {
            plain(switches);
            switches.bulk = 100;
        }),
    ];
    for (habit, work) in habits {
        let scene = Scene::start(60, 20, work).await;
        let (users, groups) = (scene.users + STAFF, scene.groups + 1);
        // A group that is replaced as a whole is read before.
        let batches = if habit == "no PATCH" { 2 * groups } else { groups };
        let bound = (users + batches) * 3 / 2 + 2 * groups;
        assert!(scene.first <= bound, "{habit}: {} calls, at most {bound}: {:?}", scene.first, scene.by_kind());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_costs_what_it_changes_and_a_run_finds_what_was_changed_by_hand() {
    let scene = Scene::start(20, 40, plain).await;
    let realm = scene.w.realm();
    // The first removal of a kind is read back.
    realm.update_user(&scene.w.id(&login(0)), UserChange::enabled(false)).await.expect("changed");
    scene.w.calm().await;
    scene.server.journal.clear();
    realm.update_user(&scene.w.id(&login(1)), UserChange::enabled(false)).await.expect("changed");
    scene.w.calm().await;
    // The account is read, written, and read again by the recheck after an event.
    assert!(scene.server.journal.len() <= 3, "{:?}", scene.by_kind());
    let group = |name: &str| realm.snapshot().group(name).expect("there").id.clone();
    let (left, joined) = (group("/g002"), group("/g039"));
    let user = scene.w.id(&login(2));
    realm.leave(&user, &left).await.expect("left");
    realm.join(&user, &joined).await.expect("joined");
    scene.w.calm().await;
    let snapshot = scene.server.snapshot();
    assert!(!snapshot.groups["g002"].contains(&login(2)) && snapshot.groups["g039"].contains(&login(2)));

    // A full reconcile adds removed members again and removes added ones.
    scene.server.remove_member("g039", &login(2));
    scene.server.add_member("g002", &login(2));
    let report = scene.run().await;
    assert_eq!(report.errors, Vec::<String>::new());
    let snapshot = scene.server.snapshot();
    assert!(!snapshot.groups["g002"].contains(&login(2)) && snapshot.groups["g039"].contains(&login(2)), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_member_of_a_batch_does_not_prevent_other_additions() {
    let scene = Scene::start(30, 5, |switches| {
        plain(switches);
        switches.members_per_patch = 7;
    })
    .await;
    assert!(scene.server.snapshot().groups["g000"].len() >= 20, "in smaller writes");
    let dead = scene.w.dead().await;
    assert!(dead.is_empty(), "{dead:?}");
}
