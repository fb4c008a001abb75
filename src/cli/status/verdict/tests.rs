use serde_json::json;

use super::*;
use crate::model::{About, Cause, ErrorClass, Limited, Priority, RunId, RunMode, RunTrigger, Subject, TaskState};

fn at(time: &str) -> Timestamp {
    format!("2026-10-02T{time}Z").parse().unwrap()
}

fn pair() -> &'static Pair {
    static PAIR: std::sync::LazyLock<Pair> = std::sync::LazyLock::new(|| Pair::new("acme", "jira"));
    &PAIR
}

/// A pair that is in sync.
fn quiet() -> Facts<'static> {
    Facts {
        pair: pair(),
        state: PairState::InService,
        enabled: true,
        paused: false,
        server: true,
        unwritable: None,
        conditions: Vec::new(),
        counts: PairCounts { last_change: Some(at("11:59:48")), ..PairCounts::default() },
        conflicts: 0,
        unsupported: Vec::new(),
        protected: 0,
        undecided: Vec::new(),
        held: Vec::new(),
        retried: Vec::new(),
        drift: 0,
        polling: Polling::default(),
        silence: None,
        last_run: None,
        next_run: Some(at("12:38:00")),
        now: at("12:00:00"),
    }
}

fn condition(about: About, code: ConditionCode, text: &str) -> Condition {
    Condition { about, code, text: text.to_owned(), since: at("11:48:00"), again_at: None }
}

fn refused() -> Condition {
    let refused = condition(About::target(&"jira".into()), ConditionCode::CredentialsRefused, "HTTP 401");
    Condition { again_at: Some(at("12:03:00")), ..refused }
}

fn plan_failed() -> Condition {
    condition(About::Pair(pair().clone()), ConditionCode::RunFailed, "two groups are named staff")
}

fn run(outcome: RunOutcome, report: &Report) -> RunRecord {
    RunRecord {
        id: RunId(7),
        pair: pair().clone(),
        trigger: RunTrigger::Schedule,
        mode: RunMode::Apply,
        started_at: at("11:00:00"),
        ended_at: Some(at("11:01:00")),
        outcome,
        cancelled_by: None,
        progress: None,
        report: report.stored(),
    }
}

fn set(id: i64, kind: ApprovalKind, items: i64) -> Approval {
    let summary = Report { planned: [("create".to_owned(), 14)].into(), ..Report::default() }.stored();
    let pair = pair().clone();
    Approval {
        id,
        pair,
        kind,
        since: at("11:00:00"),
        open: true,
        summary,
        decision: None,
        open_items: items,
        rejected_items: 0,
        items,
    }
}

fn retried() -> TaskRecord {
    TaskRecord {
        pair: pair().clone(),
        subject: Subject::user("1"),
        generation: 1,
        priority: Priority::Retry,
        state: TaskState::Ready,
        not_before: at("12:00:05"),
        since: at("11:59:00"),
        attempts: 3,
        error: Some((ErrorClass::Transient, "jira answers 503".into())),
        cause: Cause::Event { id: "e".into() },
    }
}

const QUIET: &str = " Last change 12 s ago, next full reconcile in 38 min.";

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_state_has_its_sentence_and_exit_code() {
    type Change = fn(&mut Facts<'static>);
    let cases: &[(Change, Standing, &str, Exit)] = &[
        (|_| {}, Standing::InSync, "In sync. Last change 12 s ago, next full reconcile in 38 min.", Exit::Done),
        (
            |facts| (facts.counts.due, facts.counts.oldest) = (214, Some(at("11:59:57"))),
            Standing::Working,
            "Working: 214 behind, oldest 3 s.",
            Exit::Done,
        ),
        (
            |facts| (facts.counts.tasks, facts.counts.leaving) = (2, 2),
            Standing::InSync,
            "In sync. Last change 12 s ago, next full reconcile in 38 min.",
            Exit::Done,
        ),
        (
            |facts| facts.counts.tasks = 2,
            Standing::Working,
            "Working: 2 tasks are due later. usersync tasks",
            Exit::Done,
        ),
        (
            |facts| facts.last_run = Some(run(RunOutcome::Running, &Report::default())),
            Standing::Working,
            "Working: a full reconcile is running.",
            Exit::Done,
        ),
        (
            |facts| (facts.retried, facts.counts.tasks) = (vec![retried()], 1),
            Standing::Degraded,
            "Degraded: 1 task waits for another attempt, nothing is lost. Last error: jira answers 503. usersync tasks",
            Exit::Problems,
        ),
        (
            |facts| facts.enabled = false,
            Standing::Off,
            "Switched off by the configuration: enabled = false.",
            Exit::Done,
        ),
        (
            |facts| facts.paused = true,
            Standing::Paused,
            "Paused: events are stored, nothing is written. Resume: usersync connector resume acme",
            Exit::Done,
        ),
        (
            |facts| facts.unwritable = Some("the disk is full".to_owned()),
            Standing::Degraded,
            "Degraded: the store cannot be written: the disk is full. No event is accepted and nothing is changed \
             until then. Free disk space, or stop the process that locks it; then: usersync check",
            Exit::Problems,
        ),
        (
            |facts| (facts.conditions, facts.counts.tasks) = (vec![refused()], 14),
            Standing::Degraded,
            "Degraded: jira refuses usersync's credentials, for 12 min: HTTP 401. 14 tasks wait. Renew the token or \
             password; usersync tries the new one automatically. The old one is retried in 3 min; at once: usersync \
             target retry jira",
            Exit::Unreachable,
        ),
        (
            |facts| facts.conditions = vec![Condition { again_at: None, ..refused() }],
            Standing::Degraded,
            "Degraded: jira refuses usersync's credentials, for 12 min: HTTP 401. Renew the token or password; usersync \
             tries the new one automatically. The old one is retried only by: usersync target retry jira",
            Exit::Unreachable,
        ),
        (
            |facts| {
                let about = About::source(&"acme".into());
                facts.conditions = vec![condition(about, ConditionCode::Unreachable, "connection refused")];
            },
            Standing::Degraded,
            "Degraded: the Keycloak of acme does not answer, for 12 min: connection refused. The server retries \
             automatically.",
            Exit::Unreachable,
        ),
        (
            |facts| {
                let text = "every call returns 503, and the server asks usersync to wait until 2026-01-01T12:05:00Z";
                let unavailable = condition(About::target(&"jira".into()), ConditionCode::Unavailable, text);
                (facts.conditions, facts.counts.tasks) = (vec![unavailable], 2);
            },
            Standing::Degraded,
            "Degraded: jira is unavailable (503), for 12 min: every call returns 503, and the server asks usersync to \
             wait until 2026-01-01T12:05:00Z. 2 tasks wait.",
            Exit::Unreachable,
        ),
        (|facts| facts.state = PairState::New, Standing::New, "New: its first run is being planned.", Exit::Done),
        (
            |facts| (facts.state, facts.server) = (PairState::New, false),
            Standing::New,
            "New: nothing was planned yet. Plan it: usersync sync",
            Exit::Done,
        ),
        (
            |facts| (facts.state, facts.conditions) = (PairState::New, vec![plan_failed()]),
            Standing::New,
            "New, and its first plan fails: acme → jira: the last full reconcile failed, for 12 min: two groups are named \
             staff. The server retries automatically.",
            Exit::Problems,
        ),
        (
            |facts| (facts.state, facts.conditions) = (PairState::New, vec![plan_failed(), refused()]),
            Standing::Degraded,
            "Degraded: jira refuses usersync's credentials, for 12 min: HTTP 401. Renew the token or password; usersync \
             tries the new one automatically. The old one is retried in 3 min; at once: usersync target retry jira",
            Exit::Unreachable,
        ),
        (
            |facts| facts.state = PairState::Held,
            Standing::FirstRunWaits,
            "Its first run was rejected, so it is out of service. Plan it again: usersync sync",
            Exit::Held,
        ),
        (
            |facts| facts.state = PairState::Approved,
            Standing::FirstRun,
            "Working: its first run is approved and running.",
            Exit::Done,
        ),
        (
            |facts| facts.state = PairState::Stopped,
            Standing::Stopped,
            "Stopped: another server or realm was found behind the same settings, or another base URL of the same server; \
             nothing is written. The same server under a new address: usersync target confirm jira --same-server. Another server, such \
             as a clone: usersync target confirm jira. Another realm: usersync connector confirm acme",
            Exit::Held,
        ),
        (
            |facts| facts.state = PairState::NoUsers,
            Standing::New,
            "New: the realm has no users in scope yet; the first run is planned again with each scheduled run, in \
             38 min. At once: usersync sync",
            Exit::Done,
        ),
    ];
    for (change, standing, sentence, exit) in cases {
        let mut facts = quiet();
        change(&mut facts);
        let verdict = judge(&facts);
        assert_eq!((verdict.standing, verdict.sentence.as_str(), verdict.exit), (*standing, *sentence, *exit));
        assert_eq!(verdict.problems.is_empty(), *exit == Exit::Done, "{sentence}: what is announced?");
    }
}

#[test]
fn whatever_is_open_keeps_status_from_a_bare_in_sync() {
    type Change = fn(&mut Facts<'static>);
    let cases: &[(Change, &str, Exit)] = &[
        (|facts| facts.counts.dead = 1, "Out of sync: 1 failed task.", Exit::Problems),
        (
            |facts| (facts.counts.dead, facts.conflicts) = (3, 1),
            "Out of sync: 2 failed tasks, 1 conflict.",
            Exit::Problems,
        ),
        (
            |facts| facts.unsupported = vec!["carol: has no e-mail address".to_owned()],
            "Out of sync: 1 unsupported operation.",
            Exit::Problems,
        ),
        (
            |facts| {
                facts.last_run = Some(run(
                    RunOutcome::Failed { why: "jira answers 500".to_owned(), class: None },
                    &Report::default(),
                ));
            },
            "Out of sync: the last full reconcile failed.",
            Exit::Problems,
        ),
        (
            |facts| {
                let report = Report { unconfirmed: vec!["a group".to_owned()].into(), ..Report::default() };
                facts.last_run = Some(run(RunOutcome::Problems, &report));
            },
            "Out of sync: the last full reconcile had problems.",
            Exit::Problems,
        ),
        (|facts| facts.protected = 2, "In sync, except for 2 users with a protected account.", Exit::Done),
    ];
    for (change, sentence, exit) in cases {
        let mut facts = quiet();
        change(&mut facts);
        let verdict = judge(&facts);
        assert_eq!((verdict.sentence, verdict.exit), (format!("{sentence}{QUIET}"), *exit));
        assert!(*exit == Exit::Done || !verdict.more.is_empty(), "{sentence}: what to do?");
        assert_eq!(verdict.problems.is_empty(), *exit == Exit::Done, "{sentence}: what is announced?");
    }
}

#[test]
fn approvals_are_counted_and_named() {
    let leavers = set(3, ApprovalKind::SafetyLimit(Limited::RemoveMember), 30);
    let facts = Facts { held: vec![&leavers], ..quiet() };
    let verdict = judge(&facts);
    assert_eq!(verdict.sentence, format!("Out of sync: 30 operations wait for approval.{QUIET}"));
    assert_eq!(verdict.exit, Exit::Held);
    assert!(verdict.more[0].ends_with("usersync approvals show 3"), "{:?}", verdict.more);

    let first = set(41, ApprovalKind::FirstRun, 0);
    let facts = Facts { state: PairState::Held, held: vec![&first], ..quiet() };
    let verdict = judge(&facts);
    assert_eq!(verdict.sentence, "Waits for its first run's approval: 14 operations. usersync approvals approve 41");
    assert_eq!((verdict.exit, verdict.more), (Exit::Held, Vec::new()));
}

#[test]
fn what_is_wrong_is_said_once_and_nothing_of_it_is_lost() {
    let facts = Facts { conditions: vec![plan_failed(), refused()], state: PairState::New, ..quiet() };
    let verdict = judge(&facts);
    assert_eq!(verdict.more.len(), 1, "{:?}", verdict.more);
    assert!(verdict.more[0].contains("two groups are named staff"), "{:?}", verdict.more);

    let other = condition(About::target(&"jira".into()), ConditionCode::OtherIdentity, "another server");
    let facts = Facts { conditions: vec![other], state: PairState::Stopped, ..quiet() };
    assert_eq!(judge(&facts).more, Vec::<String>::new());

    // The run that found the other server failed because of it.
    let why = "acme → jira: another server. If that is intended: usersync target confirm jira";
    let failed = condition(About::Pair(pair().clone()), ConditionCode::RunFailed, why);
    let last = run(RunOutcome::Failed { why: why.to_owned(), class: None }, &Report::default());
    let facts = Facts { conditions: vec![failed], state: PairState::Stopped, last_run: Some(last), ..quiet() };
    let verdict = judge(&facts);
    assert_eq!(verdict.sentence, "Stopped: another server. If that is intended: usersync target confirm jira");
    assert_eq!((verdict.exit, verdict.more), (Exit::Held, Vec::new()));

    let facts = Facts { paused: true, conditions: vec![refused()], ..quiet() };
    assert_eq!((judge(&facts).standing, judge(&facts).exit), (Standing::Paused, Exit::Unreachable));
    assert!(judge(&facts).more[0].contains("HTTP 401"));
}

#[test]
fn unsupported_operations_are_named_up_to_a_few() {
    let unsupported = (0..5).map(|number| format!("user{number}: has no e-mail address")).collect();
    let verdict = judge(&Facts { unsupported, ..quiet() });
    assert_eq!(verdict.more.len(), 4);
    assert_eq!(verdict.more[3], "2 more operations are not supported: usersync plan");
}

#[test]
fn users_with_an_undecided_scope_are_counted_by_reason() {
    let one = |user: String, why: &str| Unsupported {
        subject: Subject::user(user),
        key: Unsupported::UNDECIDED.to_owned(),
        fingerprint: "f".to_owned(),
        why: why.to_owned(),
    };
    let missing = (0..10_000).map(|number| one(format!("u{number}"), "Keycloak lists no group /staff."));
    let others = ["a", "b", "c"].map(|text| one(format!("v{text}"), &format!("it renders {text}")));
    let undecided = Undecided::by_reason(missing.chain(others).collect());
    assert_eq!(json!(undecided[0]), json!({ "why": undecided[0].why, "users": 10_000, "example": "user:u0" }));
    let verdict = judge(&Facts { undecided, ..quiet() });
    assert!(verdict.sentence.starts_with("Out of sync: 10\u{2009}003 users with an undecided scope."), "{verdict:?}");
    assert_eq!(
        verdict.more,
        [
            "10\u{2009}000 users are not changed, because their scope is undecided: Keycloak lists no group /staff. Show \
             one: usersync explain u0",
            "1 user is not changed, because its scope is undecided: it renders a. Show one: usersync explain va",
            "1 user is not changed, because its scope is undecided: it renders b. Show one: usersync explain vb",
            "1 more user has an undecided scope for other reasons: usersync plan",
        ]
    );
    assert_eq!(verdict.exit, Exit::Problems);
}

#[test]
fn the_state_of_a_pair_is_a_word_in_json() {
    assert_eq!(json!(Standing::InSync), "in_sync");
    assert_eq!(json!(Standing::OutOfSync), "out_of_sync");
}

#[test]
fn without_a_server_nothing_is_said_to_go_on_by_itself() {
    type Change = fn(&mut Facts<'static>);
    let right = || condition(About::target(&"jira".into()), ConditionCode::RightMissing, "HTTP 403");
    assert!(
        judge(&Facts { conditions: vec![right()], ..quiet() }).sentence.ends_with("; usersync retries automatically.")
    );
    let cases: &[(Change, &str)] = &[
        (
            |facts| facts.conditions = vec![refused()],
            "Degraded: jira refuses usersync's credentials, for 12 min: HTTP 401. Renew the token or password. No \
             server runs. Try it: usersync target retry jira",
        ),
        (
            |facts| {
                let about = About::target(&"jira".into());
                facts.conditions = vec![condition(about, ConditionCode::RightMissing, "HTTP 403")];
            },
            "Degraded: jira refuses usersync: a required permission is missing, for 12 min: HTTP 403. Grant the \
             permission, then: usersync sync",
        ),
        (
            |facts| {
                let about = About::source(&"acme".into());
                facts.conditions = vec![condition(about, ConditionCode::Unreachable, "connection refused")];
            },
            "Degraded: the Keycloak of acme does not answer, for 12 min: connection refused. Try again: usersync sync",
        ),
        (
            |facts| (facts.retried, facts.counts.tasks) = (vec![retried()], 1),
            "Degraded: 1 task waits for another attempt, nothing is lost. Last error: jira answers 503. No server works them: \
             usersync sync",
        ),
        (|facts| facts.counts.tasks = 2, "Working: 2 tasks are due later. No server works them: usersync sync"),
        (
            |facts| facts.state = PairState::NoUsers,
            "New: the realm has no users in scope yet. Once it has users, plan the first run: usersync sync",
        ),
    ];
    for (change, sentence) in cases {
        let mut facts = Facts { server: false, ..quiet() };
        change(&mut facts);
        assert_eq!(judge(&facts).sentence, *sentence);
        for text in std::iter::once(judge(&facts).sentence).chain(judge(&facts).more) {
            assert!(!text.contains("automatically") && !text.contains("continues"), "{text}");
        }
    }
    let limited = Condition {
        again_at: Some(at("12:00:40")),
        ..condition(About::target(&"jira".into()), ConditionCode::RateLimited, "429")
    };
    let verdict = judge(&Facts { server: false, conditions: vec![limited], ..quiet() });
    assert!(verdict.more[0].ends_with("accepts calls again in 40 s: usersync sync"), "{:?}", verdict.more);
}

#[test]
fn tasks_that_wait_for_the_first_run_say_what_an_operator_has_to_do() {
    let waits =
        |facts: Facts<'_>| judge(&Facts { counts: PairCounts { tasks: 3, ..PairCounts::default() }, ..facts }).more;
    let approve = "approve it: usersync approvals approve --connector acme";
    let before = "3 tasks wait: nothing is written before the first run is approved; ";
    let first = set(41, ApprovalKind::FirstRun, 0);
    let held = Facts { state: PairState::Held, held: vec![&first], ..quiet() };
    assert_eq!(waits(held), [format!("{before}{approve}")]);
    let empty = Facts { state: PairState::NoUsers, ..quiet() };
    assert_eq!(waits(empty), [format!("{before}plan it: usersync sync; then {approve}")]);
    assert_eq!(waits(Facts { state: PairState::New, ..quiet() }), [format!("{before}{approve}")]);
}

#[test]
fn leavers_within_their_grace_period_are_counted_with_the_first_date() {
    let mut facts = quiet();
    let leaves_at = Some("2026-10-09T12:00:00Z".parse().unwrap());
    for (leaving, text) in [
        (1, "1 user has left; its account changes when the grace period ends, the first on 2026-10-09: usersync tasks"),
        (
            3,
            "3 users have left; their accounts change when the grace period ends, the first on 2026-10-09: usersync tasks",
        ),
    ] {
        facts.counts = PairCounts { tasks: leaving, leaving, leaves_at, ..facts.counts };
        let verdict = judge(&facts);
        assert_eq!(
            (verdict.standing, verdict.exit, verdict.more),
            (Standing::InSync, Exit::Done, vec![text.to_owned()])
        );
    }
}

/// Returns the problems that are announced, in short.
fn announced(facts: &Facts<'_>) -> Vec<String> {
    let problems = judge(facts).problems;
    problems.keys().map(|key| format!("{} {}", json!(key.kind).as_str().unwrap_or_default(), key.about)).collect()
}

#[test]
fn a_problem_is_the_same_for_alerts_whatever_else_is_wrong() {
    let down = condition(About::source(&"acme".into()), ConditionCode::Unreachable, "connection refused");
    let held = [set(3, ApprovalKind::SafetyLimit(Limited::RemoveMember), 30), set(4, ApprovalKind::Adoption, 1)];
    let both = ["degraded credentials_refused: jira", "degraded unreachable: the Keycloak of acme"];
    assert_eq!(announced(&Facts { conditions: vec![refused()], ..quiet() }), both[..1]);
    assert_eq!(announced(&Facts { conditions: vec![refused(), down.clone()], ..quiet() }), both);
    assert_eq!(announced(&Facts { conditions: vec![down, refused()], ..quiet() }), both);
    let facts = Facts { conditions: vec![refused()], held: held.iter().collect(), ..quiet() };
    assert_eq!(announced(&facts), [both[0], "approval 3", "approval 4"]);
    let facts = Facts { paused: true, held: held.iter().take(1).collect(), ..quiet() };
    assert_eq!(announced(&facts), ["approval 3"]);
}

#[test]
fn a_failed_full_reconcile_is_one_problem() {
    let last = run(RunOutcome::Failed { why: "jira answers 500".to_owned(), class: None }, &Report::default());
    let failed = condition(About::Pair(pair().clone()), ConditionCode::RunFailed, "jira answers 500");
    let only = ["out_of_sync run"];
    assert_eq!(announced(&Facts { last_run: Some(last.clone()), ..quiet() }), only);
    assert_eq!(announced(&Facts { conditions: vec![failed.clone()], ..quiet() }), only);
    assert_eq!(announced(&Facts { conditions: vec![failed], last_run: Some(last), ..quiet() }), only);
}

#[test]
fn what_ends_by_itself_without_harm_is_not_announced() {
    let limited = condition(About::target(&"jira".into()), ConditionCode::RateLimited, "429");
    assert_eq!(announced(&Facts { conditions: vec![limited], protected: 2, ..quiet() }), Vec::<String>::new());
}

#[test]
fn changes_that_stay_in_the_target_are_counted_and_change_no_color() {
    let verdict = judge(&Facts { drift: 2, ..quiet() });
    assert_eq!((verdict.standing, verdict.exit, verdict.problems.len()), (Standing::InSync, Exit::Done, 0));
    let text = "2 changes in jira that did not come from usersync: usersync drift --connector acme --target jira";
    assert_eq!(verdict.more, [text]);
}

#[test]
fn a_realm_without_news_is_degraded_while_a_server_runs() {
    let silence = || Some("no event of realm acme for 26 h".to_owned());
    let verdict = judge(&Facts { silence: silence(), ..quiet() });
    assert_eq!((verdict.standing, verdict.exit), (Standing::Degraded, Exit::Problems));
    assert_eq!(verdict.sentence, "Degraded: no event of realm acme for 26 h");
    let key = problem_key(AlertKind::Degraded, "events");
    assert_eq!(verdict.problems.keys().collect::<Vec<_>>(), [&key]);
    let verdict = judge(&Facts { silence: silence(), server: false, ..quiet() });
    assert_eq!((verdict.standing, verdict.exit), (Standing::InSync, Exit::Done));
    let verdict = judge(&Facts { silence: silence(), paused: true, ..quiet() });
    assert_eq!(verdict.standing, Standing::Paused);
}
