//! All memberships in one read: what it returns, and when it is not used.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use usersync::{
    model::{
        ErrorClass::{Credentials, Maintenance, Throttled, Transient},
        TargetGroupId,
    },
    targets::{Target, TargetError, crowd::CrowdTarget},
};
use usersync_simulators::{CrowdOptions, Fault, crowd::NewCrowdUser, fault::Kind};

use super::place::{Place, not_done, settings};
use super::simulator::Raw;

/// Names with characters that are special in XML or in URLs, or that are often trimmed.
const ODD: &[&str] = &[
    "R&D <EMEA>",
    "\"quoted\" & 'quoted'",
    "Größe ÄÖÜ ß",
    "a/b\\c",
    "100% + 1%2F",
    "a  b",
    " spaced ",
    "&amp; &#38; &lt;",
    "tab\tand\nline",
    "日本 😀",
];

fn ids<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<TargetGroupId> {
    names.into_iter().map(|name| name.to_lowercase().into()).collect()
}

/// Returns logins by group; `None`: it must be read group by group.
async fn reported(place: &Place, groups: &BTreeSet<TargetGroupId>) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let reported = place.crowd.memberships(groups).await.expect("a look")?;
    let texts = |logins: Vec<_>| logins.iter().map(ToString::to_string).collect();
    Some(reported.logins.into_iter().map(|(group, logins)| (group.to_string(), texts(logins))).collect())
}

async fn members(place: &Place, group: &TargetGroupId) -> BTreeSet<String> {
    let (mut members, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = place.crowd.members(group, cursor.as_deref()).await.expect("a look").expect("there");
        members.extend(page.items.iter().map(ToString::to_string));
        cursor = page.next;
        if cursor.is_none() {
            return members;
        }
    }
}

async fn staffed(options: CrowdOptions) -> Place {
    let place = Place::start(options).await;
    place.simulator.add_users((0..30).map(|nth| NewCrowdUser::named(format!("p{nth}")).in_groups(&["Dev"])));
    place
}

#[tokio::test]
async fn names_are_read_exactly() {
    let place = Place::new().await;
    place.simulator.add_users(ODD.iter().map(|name| NewCrowdUser::named(*name).in_groups(ODD)));
    let reported = reported(&place, &ids(ODD.iter().copied())).await.expect("told");
    let logins: BTreeSet<String> = ODD.iter().map(ToString::to_string).collect();
    assert_eq!(reported, ODD.iter().map(|group| (group.to_lowercase(), logins.clone())).collect());
}

#[tokio::test]
async fn it_returns_the_same_as_a_call_for_each_group() {
    for options in [CrowdOptions::default(), CrowdOptions::version("3.7.2"), CrowdOptions::jira("10.3.5")] {
        let place = Place::start(options).await;
        let groups: Vec<String> = (0..25).map(|nth| format!("Group {nth}")).collect();
        place.simulator.add_users((0..40_usize).map(|nth| {
            let own: Vec<&str> = groups.iter().skip(nth % 7 + 1).step_by(3).map(String::as_str).collect();
            let person = NewCrowdUser::named(format!("P{nth}")).in_groups(&own);
            if nth % 5 == 0 { person.inactive() } else { person }
        }));
        place.simulator.add_group("Group 0");
        place.simulator.nest("Group 3", "Group 0");
        place.simulator.nest("Group 4", "Group 3");
        let keys: BTreeMap<String, String> =
            place.simulator.snapshot().users.into_values().map(|user| (user.name, user.key)).collect();
        let wanted = ids(groups.iter().map(String::as_str));
        let reported = reported(&place, &wanted).await.expect("told");
        assert_eq!(reported["group 0"], BTreeSet::new(), "members of a group in it are none of its own");
        assert_eq!(reported.len(), groups.len());
        for group in &wanted {
            let reported = reported[group.as_str()].iter().map(|login| keys[login].clone()).collect();
            assert_eq!(members(&place, group).await, reported, "{group}");
        }
    }
}

#[tokio::test]
async fn a_group_that_is_not_wanted_or_not_there_is_left_out() {
    let place = staffed(CrowdOptions::default()).await;
    place.simulator.add_group("other");
    let reported = reported(&place, &ids(["dev", "nowhere"])).await.expect("told");
    assert_eq!(reported.keys().collect::<Vec<_>>(), ["dev"]);
}

#[tokio::test]
async fn an_answer_that_is_not_whole_or_of_another_kind_is_not_used() {
    let place = staffed(CrowdOptions::default()).await;
    let dev = ids(["dev"]);
    let whole = place.crowd.memberships(&dev).await.expect("a look").expect("told");
    let entry = place.simulator.journal.matching(|entry| entry.path.ends_with("/group/membership")).remove(0);
    let xml = String::from_utf8(entry.answer.to_vec()).expect("text");
    let typed = |body: &str| Fault::status(200, body).header("content-type", "application/xml");
    for (name, fault) in [
        ("nothing", Fault::truncate(0)),
        ("a start", Fault::truncate(30)),
        ("a half", Fault::truncate(xml.len() / 2)),
        ("all but the last", Fault::truncate(xml.len() - 1)),
        ("a page", Fault::html(200, "<html>Welcome</html>")),
        ("a page of a kind", typed("<html>Welcome</html>")),
        ("JSON", Fault::status(200, "{\"memberships\": []}").header("content-type", "application/json")),
        ("entities", typed(&xml.replace("<memberships>", "<!DOCTYPE x [<!ENTITY a \"&b;\">]><memberships>"))),
        ("a name that is not there", typed(&xml.replace("name=\"p7\"", ""))),
        ("100 MiB", Fault::new(Kind::Huge(5 << 20))),
        ("400", Fault::status(400, "no")),
        ("403", Fault::status(403, "{\"reason\": \"APPLICATION_PERMISSION_DENIED\", \"message\": \"no\"}")),
        ("404", Fault::status(404, "")),
        ("404 of a proxy", Fault::html(404, "<html>not here</html>")),
        ("405", Fault::status(405, "")),
        ("406", Fault::status(406, "")),
        ("415", Fault::status(415, "")),
    ] {
        let fault = place.simulator.faults.add(fault.path("/group/membership"));
        assert_eq!(place.crowd.memberships(&dev).await, Ok(None), "{name}");
        assert_eq!(place.simulator.faults.hits(fault), 1, "{name}");
        place.simulator.faults.remove(fault);
        assert_eq!(members(&place, &"dev".into()).await.len(), 30, "{name}: one by one all is well");
    }
    assert_eq!(place.crowd.memberships(&dev).await, Ok(Some(whole)));
}

#[tokio::test]
async fn a_failing_server_is_an_error_as_for_other_reads() {
    let place = staffed(CrowdOptions::default()).await;
    let hasty = {
        let mut settings = settings(&place.simulator);
        settings.http.call_timeout = Duration::from_millis(400);
        CrowdTarget::new(settings).expect("good settings")
    };
    let dev = ids(["dev"]);
    for (name, fault, kind) in [
        ("500", Fault::status(500, "<error><reason>OPERATION_FAILED</reason></error>"), Transient),
        ("502", Fault::html(502, "<html>Bad gateway</html>"), Transient),
        ("503", Fault::unavailable(), Transient),
        ("429", Fault::too_many(7), Throttled),
        ("cut", Fault::cut(), Transient),
        ("cut midway", Fault::new(Kind::CutMidway(200)), Transient),
        ("too late", Fault::delay(Duration::from_secs(2)), Transient),
        ("elsewhere", Fault::status(301, "").header("location", "https://x.example.org/y"), Maintenance),
        ("401", Fault::status(401, "no"), Credentials),
    ] {
        let fault = place.simulator.faults.add(fault.path("/group/membership"));
        let error: TargetError = hasty.memberships(&dev).await.expect_err(name);
        assert_eq!(error.kind, not_done(kind), "{name}: {}", error.text);
        assert!(error.text.starts_with("reading all memberships: "), "{name}: {}", error.text);
        assert!(!error.text.contains('<'), "{name}: {}", error.text);
        place.simulator.faults.remove(fault);
    }
    place.simulator.faults.add(Fault::new(Kind::CutMidway(200)).path("/group/membership").once());
    assert!(place.crowd.memberships(&dev).await.expect("a broken read is sent once more").is_some());
}

#[tokio::test]
async fn the_simulator_returns_memberships_in_xml_only_and_not_if_it_is_switched_off() {
    for options in [CrowdOptions::default(), CrowdOptions::jira("9.12.15")] {
        let raw = Raw::start(options).await;
        raw.simulator.nest("inner", "R&D");
        raw.simulator.add_user(NewCrowdUser::named("ada").in_groups(&["inner"]));
        let asked = async |media: &str| raw.ask_for("/group/membership", media).await;
        for media in ["application/xml", "text/html, application/*;q=0.8", "*/*"] {
            let answer = asked(media).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/xml"), "{media}");
            assert!(answer.header("x-embedded-crowd-version").starts_with("Crowd/"), "{media}");
            for part in [
                "<memberships>",
                "<membership group=\"inner\"><users><user name=\"ada\"/></users><groups/></membership>",
                "<membership group=\"R&amp;D\"><users/><groups><group name=\"inner\"/></groups></membership>",
            ] {
                assert!(answer.body.contains(part), "{}", answer.body);
            }
        }
        assert_eq!(asked("application/json").await.status, 406);
        raw.simulator.set_tells_memberships(false);
        assert_eq!(asked("application/xml").await.status, 404);
    }
}
