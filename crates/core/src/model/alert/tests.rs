use super::*;

const AFTER: SignedDuration = SignedDuration::from_mins(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_447_400 + second).unwrap()
}

fn pair() -> Pair {
    Pair::new("acme", "jira")
}

fn key(problem: &str) -> ProblemKey {
    let (kind, about) = problem.split_once(' ').unwrap_or((problem, ""));
    let kind = serde_json::from_value(kind.into()).unwrap();
    ProblemKey { kind, about: about.to_owned() }
}

fn report(problems: &[&str]) -> PairReport {
    let state = if problems.is_empty() { "in_sync" } else { "degraded" };
    PairReport {
        pair: pair(),
        state: state.to_owned(),
        sentence: format!("It is {state}."),
        problems: problems.iter().map(|problem| (key(problem), format!("It is {problem}."))).collect(),
    }
}

/// A channel with its memory.
#[derive(Default)]
struct Channel(AlertState, Settling, u32);

/// An alert in short: `+` began, `-` ended, `=` remaining.
fn short(alert: &Alert) -> String {
    let of = |sign: &str, problems: &[AlertProblem]| {
        let all: Vec<String> = problems.iter().map(|one| format!("{sign}{} ", one.sentence)).collect();
        all.concat()
    };
    let text = of("+", &alert.began) + &of("-", &alert.ended) + &of("=", &alert.remaining);
    text.trim_end().to_owned()
}

impl Channel {
    /// Observes a state; nothing is delivered.
    fn observe(&mut self, second: i64, problems: &[&str]) -> bool {
        let number = &mut self.2;
        let id = || {
            *number += 1;
            number.to_string()
        };
        self.0.observe(&[report(problems)], &mut self.1, AFTER, at(second), id)
    }

    /// Observes a state, and delivers the alert that it causes.
    fn announces(&mut self, second: i64, problems: &[&str]) -> Option<String> {
        self.observe(second, problems);
        let alert = self.0.next()?;
        self.0.delivered(&pair(), at(second));
        assert_eq!(self.0.next(), None);
        Some(short(&alert))
    }

    fn fail(&mut self, second: i64) {
        self.0.failed(&pair(), "HTTP 500".to_owned(), at(second), |attempt| {
            Some(SignedDuration::from_secs(attempt.into()))
        });
    }
}

#[test]
fn a_problem_is_announced_once_when_it_lasts_and_once_when_it_is_over() {
    let mut channel = Channel::default();
    assert_eq!(channel.announces(0, &["degraded"]), None);
    assert_eq!(channel.announces(59, &["degraded"]), None);
    assert_eq!(channel.announces(60, &["degraded"]).as_deref(), Some("+It is degraded."));
    assert_eq!(channel.announces(1_000, &["degraded"]), None);
    assert_eq!(channel.announces(1_010, &[]), None);
    assert_eq!(channel.announces(1_070, &[]).as_deref(), Some("-It is degraded."));
    assert_eq!(channel.announces(9_999, &[]), None);
    channel.observe(10_100, &["stopped"]);
    channel.observe(10_200, &["stopped"]);
    let alert = channel.0.next().unwrap();
    assert_eq!((alert.state.as_str(), alert.sentence.as_str()), ("degraded", "It is degraded."));
    assert_eq!((alert.at, alert.began[0].since), (at(10_200), at(10_100)));
}

#[test]
fn what_changes_at_the_same_time_is_one_alert() {
    let mut channel = Channel::default();
    channel.announces(0, &["degraded"]);
    channel.announces(60, &["degraded"]);
    channel.announces(100, &["stopped", "approval 1"]);
    let alert = channel.announces(160, &["stopped", "approval 1"]);
    assert_eq!(alert.as_deref(), Some("+It is stopped. +It is approval 1. -It is degraded."));
    channel.announces(200, &["stopped", "approval 1", "approval 2"]);
    let alert = channel.announces(260, &["stopped", "approval 1", "approval 2"]);
    assert_eq!(alert.as_deref(), Some("+It is approval 2. =It is stopped. =It is approval 1."));
}

#[test]
fn a_short_problem_and_a_short_end_are_not_announced() {
    let mut channel = Channel::default();
    for second in (0..600).step_by(40) {
        assert_eq!(channel.announces(second, &["degraded"]), None);
        assert_eq!(channel.announces(second + 20, &[]), None);
    }
    channel.announces(1_000, &["degraded"]);
    assert!(channel.announces(1_060, &["degraded"]).is_some());
    for second in (1_100..1_600).step_by(40) {
        assert_eq!(channel.announces(second, &[]), None);
        assert_eq!(channel.announces(second + 20, &["degraded"]), None);
    }
}

#[test]
fn a_problem_that_comes_and_goes_for_an_hour_makes_few_alerts() {
    let mut channel = Channel::default();
    let alerts = (0..3_600).step_by(5).filter_map(|second| {
        let problems: &[&str] = if (second / 90) % 2 == 0 { &["degraded"] } else { &[] };
        channel.announces(second, problems)
    });
    assert_eq!(alerts.count(), 2, "the third change has to last 2 min");
}

#[test]
fn a_problem_that_is_over_before_its_alert_was_sent_is_not_announced() {
    let mut channel = Channel::default();
    channel.observe(0, &["degraded"]);
    channel.observe(60, &["degraded"]);
    assert_eq!(channel.0.waiting(), 1);
    channel.observe(70, &[]);
    channel.observe(130, &[]);
    assert_eq!((channel.0.waiting(), channel.0.next()), (0, None));
}

#[test]
fn a_failed_attempt_may_have_arrived_so_the_end_is_announced() {
    let mut channel = Channel::default();
    channel.observe(0, &["degraded"]);
    channel.observe(60, &["degraded"]);
    let first = channel.0.next().unwrap();
    channel.fail(60);
    assert_eq!(channel.0.next(), Some(first.clone()), "an attempt repeats the same alert");
    channel.observe(70, &[]);
    channel.observe(130, &[]);
    let second = channel.0.next().unwrap();
    assert_eq!(short(&second), "-It is degraded.");
    assert_ne!(second.id, first.id);
    channel.fail(130);
    // It is degraded again, for long enough after two changes, and the failed end may have arrived.
    channel.observe(140, &["degraded"]);
    channel.observe(260, &["degraded"]);
    assert_eq!(channel.announces(261, &["degraded"]).as_deref(), Some("+It is degraded."));
}

#[test]
fn a_restart_neither_repeats_nor_loses_an_announcement() {
    let mut channel = Channel::default();
    channel.announces(0, &["approval 1"]);
    assert!(channel.announces(60, &["approval 1"]).is_some());
    channel.observe(70, &["approval 1", "stopped"]);
    channel.observe(130, &["approval 1", "stopped"]);
    let waits = channel.0.next();
    let stored = serde_json::to_string(&channel.0).unwrap();
    let mut channel = Channel(serde_json::from_str(&stored).unwrap(), Settling::default(), 9);
    assert!(waits.is_some());
    assert_eq!(channel.0.next(), waits);
    assert!(channel.announces(140, &["approval 1", "stopped"]).is_some());
    assert_eq!(channel.announces(300, &["approval 1", "stopped"]), None);
    channel.announces(400, &[]);
    assert!(channel.announces(460, &[]).is_some());
}

#[test]
fn a_removed_pair_is_forgotten() {
    let mut channel = Channel::default();
    channel.observe(0, &["stopped"]);
    channel.observe(60, &["stopped"]);
    channel.fail(60);
    assert!(channel.0.observe(&[], &mut channel.1, AFTER, at(70), String::new));
    assert_eq!(channel.0, AlertState::default());
}

#[test]
fn a_problem_that_is_not_announced_any_more_is_forgotten() {
    let mut channel = Channel::default();
    channel.announces(0, &["approval 1"]);
    assert!(channel.announces(60, &["approval 1"]).is_some());
    channel.0.keep(&[AlertKind::Stopped]);
    assert_eq!(channel.announces(100, &[]), None);
    assert_eq!(channel.announces(200, &[]), None);
}

#[test]
fn a_failed_attempt_is_repeated_later_until_one_succeeds() {
    let mut channel = Channel::default();
    channel.observe(0, &["stopped"]);
    channel.observe(60, &["stopped"]);
    assert_eq!(channel.0.due_at(at(60)), Some(at(60)));
    channel.fail(60);
    channel.fail(61);
    let expected = Undelivered { since: at(60), why: "HTTP 500".to_owned(), attempts: 2, again_at: Some(at(63)) };
    assert_eq!(channel.0.undelivered, Some(expected));
    assert_eq!((channel.0.due_at(at(62)), channel.0.due_at(at(70))), (Some(at(63)), Some(at(70))));
    channel.0.delivered(&pair(), at(70));
    assert_eq!((channel.0.undelivered.is_some(), channel.0.waiting()), (false, 0));
}

#[test]
fn the_time_that_a_change_has_to_last_is_bounded() {
    assert_eq!(lasting(AFTER, 0), AFTER);
    assert_eq!(lasting(AFTER, 4), AFTER * 4);
    assert_eq!(lasting(AFTER, usize::MAX), FLAPPING);
}

#[test]
fn a_failure_that_is_not_retried_waits_for_a_change_or_an_order() {
    let mut channel = Channel::default();
    channel.observe(0, &["degraded"]);
    channel.observe(60, &["degraded"]);
    channel.0.failed(&pair(), "550 unknown".to_owned(), at(60), |_| None);
    assert_eq!((channel.0.due_at(at(9_999)), channel.0.waiting()), (None, 1));
    channel.0.try_again(at(100));
    assert_eq!(channel.0.due_at(at(100)), Some(at(100)));
    channel.0.failed(&pair(), "550 unknown".to_owned(), at(100), |_| None);
    assert!(!channel.observe(110, &["degraded"]));
    assert_eq!(channel.0.due_at(at(110)), None);
    channel.observe(120, &["degraded", "approval"]);
    assert!(channel.observe(180, &["degraded", "approval"]));
    assert_eq!(channel.0.due_at(at(180)), Some(at(180)));
    assert_eq!(channel.0.undelivered.as_ref().map(|one| one.attempts), Some(2));
}

/// Returns the next full hour of 24.
fn daily(after: Timestamp) -> Option<Timestamp> {
    let day = 24 * 60 * 60;
    Timestamp::from_second((after.as_second() / day + 1) * day).ok()
}

#[test]
fn a_digest_is_due_once_a_day_and_only_since_it_was_turned_on() {
    let day = SignedDuration::from_hours(24);
    let first = daily(at(0)).unwrap();
    let mut state = AlertState::default();
    assert!(state.schedule_digest(at(0), daily));
    assert_eq!((state.schedule_digest(first - SignedDuration::from_secs(1), daily), state.waiting()), (false, 0));
    assert!(state.schedule_digest(first, daily));
    assert_eq!(state.waiting(), 1);
    assert_eq!((state.take_digest(), state.take_digest(), state.waiting()), (Some(first), None, 0));
    let mut restarted: AlertState = serde_json::from_value(serde_json::to_value(&state).unwrap()).unwrap();
    assert!(!restarted.schedule_digest(first + day - SignedDuration::from_secs(1), daily));
    // The server was down for more than two digests: one is sent.
    assert!(restarted.schedule_digest(first + day * 3 + SignedDuration::from_hours(5), daily));
    assert_eq!((restarted.take_digest(), restarted.take_digest()), (Some(first + day * 3), None));
    assert!(!restarted.schedule_digest(first + day * 3 + SignedDuration::from_hours(6), daily));
    restarted.no_digest();
    assert_eq!(restarted, AlertState::default());
}

#[test]
fn a_digest_that_is_a_day_late_is_not_sent() {
    let weekly = |after: Timestamp| after.checked_add(SignedDuration::from_hours(24 * 7)).ok();
    let mut state = AlertState::default();
    state.schedule_digest(at(0), weekly);
    let late = at(0) + SignedDuration::from_hours(24 * 8);
    assert!(state.schedule_digest(late, weekly));
    assert_eq!(state.take_digest(), None);
}

#[test]
fn a_digest_that_failed_waits_with_its_time_and_the_next_one_replaces_it() {
    let day = SignedDuration::from_hours(24);
    let first = daily(at(0)).unwrap();
    let mut state = AlertState::default();
    state.schedule_digest(at(0), daily);
    state.schedule_digest(first, daily);
    let due = state.take_digest().unwrap();
    state.digest_failed(due, "550 no".to_owned(), first, |_| None);
    assert_eq!((state.due_at(first), state.waiting()), (None, 1));
    assert!(state.schedule_digest(first + day, daily));
    assert_eq!(state.due_at(first + day), Some(first + day));
    assert_eq!(state.take_digest(), Some(first + day));
    state.digest_delivered();
    assert_eq!((state.undelivered.is_none(), state.waiting()), (true, 0));
}

#[test]
fn a_state_that_was_stored_before_digests_is_read() {
    let state: AlertState = serde_json::from_str(r#"{"pairs": [], "undelivered": null}"#).unwrap();
    assert_eq!(state, AlertState::default());
}
