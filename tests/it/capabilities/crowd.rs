//! A Crowd beside the Jira: all memberships in one read, and inactive groups.

use std::{collections::BTreeSet, sync::Arc};

use usersync::{
    demo::{stack::StackOptions, targets::Product},
    engine::{Report, RunOptions, WorkError},
    model::{AdoptRule, Evidence, Pair, RunMode, RunTrigger},
};
use usersync_simulators::{
    CrowdOptions, Fault, SimulatedCrowd,
    crowd::NewCrowdUser,
    fault::{Kind, Stale},
    keycloak::NewUser,
};

use super::support::{World, on, options, policy, servers};

/// Number of groups above which all memberships are read at once.
const MANY: usize = 30;
const PEOPLE: usize = 9;

struct Crowded {
    w: World,
    crowd: Arc<SimulatedCrowd>,
}

/// Report of a run, and its numbers of reads of all memberships and of one group's.
struct Ran {
    report: Report,
    at_once: usize,
    one_by_one: usize,
}

fn group(number: usize) -> String {
    format!("G&T {number}")
}

/// Each user is in every third group.
fn is_in(person: usize, number: usize) -> bool {
    (person + number).is_multiple_of(3)
}

fn people(groups: usize) -> impl Iterator<Item = NewUser> {
    (0..PEOPLE).map(move |person| {
        let own: Vec<String> =
            (0..groups).filter(|number| is_in(person, *number)).map(|n| format!("/{}", group(n))).collect();
        NewUser::named(format!("person{person}")).in_groups(&own.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

impl Crowded {
    /// Starts a stack and fills an empty Crowd with users and this many groups.
    async fn start(groups: usize) -> Self {
        Self::on(groups, options(), SimulatedCrowd::start(CrowdOptions::default()).await.expect("a free port")).await
    }

    async fn on(groups: usize, options: StackOptions, crowd: SimulatedCrowd) -> Self {
        let other_targets = vec![Product::Crowd.at(&crowd.url()).expect("an address")];
        let servers = servers(StackOptions { other_targets, ..options }).await;
        servers.realm.import_users(people(groups)).expect("imported");
        let crowded = Self { w: on(servers).await, crowd: Arc::new(crowd) };
        crowded.w.calm().await;
        crowded
    }

    async fn try_run(&self, mode: RunMode) -> Result<Ran, WorkError> {
        let journal = &self.crowd.journal;
        journal.clear();
        let options = RunOptions { mode, ..RunOptions::apply(RunTrigger::Schedule) };
        let (_, report) = Box::pin(self.w.stack.engine.run(&Pair::new("acme", "crowd"), &options)).await?;
        let mut report = report;
        report.took_ms = 0;
        // How both sides were read differs on purpose.
        report.evidence = Evidence::default();
        let (at_once, one_by_one) =
            (journal.count("GET", "/group/membership"), journal.count("GET", "/group/user/direct"));
        Ok(Ran { report, at_once, one_by_one })
    }

    async fn run(&self, mode: RunMode) -> Ran {
        self.try_run(mode).await.expect("the run ends well")
    }
}

#[tokio::test]
async fn one_call_finds_what_a_call_for_each_group_finds() {
    let c = Crowded::start(MANY).await;
    // One member is missing, one is wrong, one is unmanaged, and one group is nested.
    assert!(c.crowd.remove_member(&group(3), "person0") && c.crowd.add_member(&group(4), "person0"));
    c.crowd.add_user(NewCrowdUser::named("stranger").in_groups(&[&group(5)]));
    c.crowd.nest(&group(6), &group(7));
    let found = c.run(RunMode::DryRun).await;
    assert_eq!((found.at_once, found.one_by_one), (1, 0));
    assert_eq!(
        (found.report.planned.get("add_member"), found.report.planned.get("remove_member")),
        (Some(&1), Some(&1))
    );
    c.crowd.set_tells_memberships(false);
    let other = c.run(RunMode::DryRun).await;
    assert_eq!(other.at_once, 1);
    assert!(other.one_by_one > MANY, "{}", other.one_by_one);
    assert_eq!(found.report, other.report);
    c.crowd.set_tells_memberships(true);
    let done = c.run(RunMode::Apply).await;
    assert_eq!(done.report.done, found.report.planned);
    let members = &c.crowd.snapshot().groups;
    assert!(members[&group(3)].contains("person0") && !members[&group(4)].contains("person0"));
    assert!(members[&group(5)].contains("stranger"));
}

#[tokio::test]
async fn few_groups_are_requested_one_by_one() {
    let c = Crowded::start(5).await;
    let ran = c.run(RunMode::Apply).await;
    assert_eq!(ran.at_once, 0);
    assert!(ran.one_by_one >= 5, "{}", ran.one_by_one);
}

#[tokio::test]
async fn an_unusable_answer_removes_no_member() {
    let c = Crowded::start(MANY).await;
    let before = c.crowd.snapshot();
    let whole = c.run(RunMode::Apply).await;
    let entry = c.crowd.journal.matching(|entry| entry.path.ends_with("/group/membership")).remove(0);
    let empty = "<memberships/>";
    for (name, fault) in [
        ("nothing", Fault::truncate(0)),
        ("a third", Fault::truncate(entry.answer.len() / 3)),
        ("two thirds", Fault::truncate(entry.answer.len() * 2 / 3)),
        ("all but the last", Fault::truncate(entry.answer.len() - 1)),
        ("cut midway", Fault::new(Kind::CutMidway(entry.answer.len() / 2))),
        ("a page", Fault::html(200, "<html>Welcome</html>")),
        ("no groups", Fault::status(200, empty).header("content-type", "application/xml")),
        ("403", Fault::status(403, "no")),
        ("404", Fault::status(404, "")),
        ("500", Fault::status(500, "")),
    ] {
        let fault = c.crowd.faults.add(fault.path("/group/membership"));
        let ran = c.run(RunMode::Apply).await;
        assert!(c.crowd.faults.hits(fault) > 0 && ran.one_by_one > MANY, "{name}");
        assert_eq!(ran.report, whole.report, "{name}");
        assert_eq!(c.crowd.journal.writes().len(), 0, "{name}");
        c.crowd.faults.remove(fault);
    }
    // If nothing else can be read either, the run fails.
    let fault = c.crowd.faults.add(Fault::unavailable().path("/group/"));
    assert!(c.try_run(RunMode::Apply).await.is_err());
    c.crowd.faults.remove(fault);
    assert_eq!(c.crowd.snapshot(), before);
}

#[tokio::test]
async fn a_user_created_or_renamed_during_the_listing_affects_only_his_groups() {
    let c = Crowded::start(MANY).await;
    c.crowd.freeze();
    c.crowd.rename_user("person1", "somebody.else");
    c.crowd.add_user(NewCrowdUser::named("newcomer").in_groups(&[&group(0)]));
    c.crowd.faults.add(Fault::stale(Stale::Frozen).path("/search"));
    let ran = c.run(RunMode::Apply).await;
    let asked = c.crowd.journal.matching(|entry| entry.path.ends_with("/group/user/direct"));
    let asked: BTreeSet<String> =
        asked.into_iter().map(|entry| entry.query).filter(|query| query.contains("start-index=0&")).collect();
    let his = (0..MANY).filter(|number| is_in(1, *number)).count();
    assert_eq!((ran.at_once, asked.len()), (1, his + 1));
    assert_eq!(c.crowd.journal.writes().len(), 0, "{:?}", ran.report);
}

#[tokio::test]
async fn an_inactive_group_is_not_managed_until_it_is_activated() {
    let crowd = SimulatedCrowd::start(CrowdOptions::default()).await.expect("a free port");
    crowd.add_group(&group(0));
    crowd.set_group_active(&group(0), false);
    let c = Crowded::on(2, policy(|policy| policy.adopt = AdoptRule::Always), crowd).await;
    let members = |number| c.crowd.snapshot().groups[&group(number)].len();
    assert_eq!((members(0), members(1)), (0, 3));
    for mode in [RunMode::DryRun, RunMode::Apply] {
        let reported = c.run(mode).await.report.unsupported;
        let reported: Vec<_> = reported.iter().filter(|text| text.contains(&group(0))).collect();
        assert!(reported.iter().any(|text| text.contains("activate it in Crowd")), "{mode:?}: {reported:?}");
    }
    c.crowd.set_group_active(&group(0), true);
    c.run(RunMode::Apply).await;
    c.w.calm().await;
    assert_eq!(members(0), 3);
    // A managed group that is deactivated by hand stays inactive and is still filled.
    c.crowd.set_group_active(&group(0), false);
    assert!(c.crowd.remove_member(&group(0), "person0"));
    let ran = c.run(RunMode::Apply).await;
    assert_eq!((members(0), ran.report.unsupported.len()), (3, 0));
}
