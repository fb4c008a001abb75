//! The text of an alert for a person who reads mail: subject and body.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use super::{Alert, Notice};
use crate::model::{AlertKind, AlertProblem, Digest, Pair, PairDigest, UndeliveredAlert, WaitingApproval};

/// Maximum number of characters of a subject.
const SUBJECT: usize = 120;

/// A message in plain text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// One line without control characters.
    pub subject: String,
    /// The lines of the body; no line has a control character.
    pub body: String,
}

impl Text {
    /// Creates the text of a message that this host sends.
    pub fn new(notice: Notice<'_>, host: &str) -> Self {
        match notice {
            Notice::Alert(alert) => Self::of_alert(alert, host),
            Notice::Digest(digest) => Self::of_digest(digest, host),
        }
    }

    fn of_digest(digest: &Digest, host: &str) -> Self {
        let Digest { id, from: _, to, nothing_to_do, pairs, undelivered } = digest;
        let mut body = String::new();
        let attention = pairs.iter().filter(|pair| pair.needs_attention).count();
        let news = match (nothing_to_do, attention) {
            (true, _) => "nothing to do".to_owned(),
            (false, 0) => "alerts are not delivered".to_owned(),
            (false, 1) => format!("1 of {} needs attention", count(pairs.len() as u64, "connector")),
            (false, attention) => format!("{attention} of {} need attention", count(pairs.len() as u64, "connector")),
        };
        line(&mut body, &format!("Daily digest: {news}."));
        body.push('\n');
        for pair in pairs {
            pair_digest(&mut body, pair, *to);
        }
        for UndeliveredAlert { name, waiting, undelivered } in undelivered {
            let (since, why) = (utc(undelivered.since), undelivered.why.trim_end_matches('.'));
            line(
                &mut body,
                &format!("Alert {name}: {} not delivered since {since}: {why}.", count(*waiting as u64, "message")),
            );
            body.push('\n');
        }
        line(&mut body, &format!("The last 24 h until {}, by usersync on {host}", utc(*to)));
        line(&mut body, "Details: usersync status");
        line(&mut body, &format!("Id: {id}"));
        Self { subject: format!("usersync: daily digest, {news}"), body }
    }

    fn of_alert(alert: &Alert, host: &str) -> Self {
        let Alert { id, at, pair, state: _, sentence, began, ended, remaining } = alert;
        let subject = pair.as_ref().map_or_else(|| "usersync: test alert".to_owned(), |pair| subject(pair, alert));
        let mut body = String::new();
        let sections = [("New:", began), ("Resolved:", ended), ("Unresolved:", remaining)];
        if !sections.iter().any(|(_, problems)| problems.iter().any(|one| one.sentence == *sentence)) {
            line(&mut body, sentence);
            body.push('\n');
        }
        for (title, problems) in sections {
            section(&mut body, title, problems);
        }
        if let Some(Pair { connector, target }) = pair {
            line(&mut body, &format!("Connector {connector}, target {target}"));
        }
        line(&mut body, &format!("Noticed at {} by usersync on {host}", utc(*at)));
        if let Some(pair) = pair {
            line(&mut body, &format!("Details: usersync status --connector {}", pair.connector));
        }
        line(&mut body, &format!("Id: {id}"));
        Self { subject: single_line(&subject).chars().take(SUBJECT).collect(), body }
    }
}

/// Returns the news in one line.
fn subject(pair: &Pair, alert: &Alert) -> String {
    let worst = |problems: &[AlertProblem]| problems.iter().map(|one| one.problem).min();
    let news = match (worst(&alert.began), worst(&alert.remaining)) {
        (Some(problem), _) => with(problem, ""),
        (None, Some(problem)) => with(problem, "still "),
        (None, None) => "has recovered".to_owned(),
    };
    format!("usersync: connector {} {news} (target {})", pair.connector, pair.target)
}

/// Returns the predicate of a problem.
fn with(problem: AlertKind, still: &str) -> String {
    match problem {
        AlertKind::Stopped => format!("is {still}stopped"),
        AlertKind::Degraded => format!("is {still}degraded"),
        AlertKind::Approval => format!("{still}waits for approval"),
        AlertKind::FailedTasks => format!("{still}has failed tasks"),
        AlertKind::OutOfSync => format!("is {still}out of sync"),
    }
}

fn section(body: &mut String, title: &str, problems: &[AlertProblem]) {
    if problems.is_empty() {
        return;
    }
    line(body, title);
    for AlertProblem { problem: _, since, sentence } in problems {
        line(body, &format!("- {sentence} (since {})", utc(*since)));
    }
    body.push('\n');
}

fn pair_digest(body: &mut String, digest: &PairDigest, now: Timestamp) {
    let PairDigest { pair, state: _, sentence, needs_attention: _, activity, failed_tasks, approvals } = digest;
    line(body, &format!("Connector {}, target {}: {sentence}", pair.connector, pair.target));
    line(body, &format!("- {}, {} failed", count(activity.runs, "full reconcile"), activity.failed_runs));
    let of = |verbs: &[&str]| activity.count(verbs);
    let accounts = [of(&["create"]), of(&["update", "rename", "activate"]), of(&["deactivate", "delete", "anonymize"])];
    line(body, &changes("Accounts", accounts));
    let groups = [of(&["create_group"]), of(&["rename_group"]), of(&["delete_group"])];
    if groups != [0; 3] {
        line(body, &changes("Groups", groups));
    }
    line(body, &changes("Memberships", [of(&["add_member"]), 0, of(&["remove_member"])]));
    if *failed_tasks > 0 {
        line(body, &format!("- {}: usersync dead list", count(*failed_tasks, "failed task")));
    }
    for WaitingApproval { id, since, operations } in approvals {
        let what = match operations {
            0 => "the first run waits".to_owned(),
            1 => "1 operation waits".to_owned(),
            many => format!("{many} operations wait"),
        };
        let hours = now.duration_since(*since).as_hours();
        line(body, &format!("- Approval {id}: {what} since {} ({hours} h): usersync approvals show {id}", utc(*since)));
    }
    body.push('\n');
}

/// Returns numbers of added, updated and removed objects in a line.
fn changes(of: &str, numbers: [u64; 3]) -> String {
    let words = ["added", "updated", "removed"];
    let some: Vec<String> =
        numbers.iter().zip(words).filter(|(number, _)| **number > 0).map(|(n, w)| format!("{n} {w}")).collect();
    if some.is_empty() { format!("- {of}: no changes") } else { format!("- {of}: {}", some.join(", ")) }
}

fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn line(body: &mut String, text: &str) {
    // Writing to a string never fails.
    let _ = writeln!(body, "{}", single_line(text));
}

/// Replaces line breaks and other control characters.
pub(super) fn single_line(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn utc(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%F %T UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activity, Undelivered};

    fn problem(problem: AlertKind, sentence: &str) -> AlertProblem {
        AlertProblem { problem, since: "2026-10-02T11:59:00Z".parse().unwrap(), sentence: sentence.to_owned() }
    }

    fn alert(began: &[AlertProblem], ended: &[AlertProblem], remaining: &[AlertProblem]) -> Alert {
        Alert {
            id: "alert_1".to_owned(),
            at: "2026-10-02T12:00:00Z".parse().unwrap(),
            pair: Some(Pair::new("acme", "jira")),
            state: "degraded".to_owned(),
            sentence: "Degraded: jira does not answer.".to_owned(),
            began: began.to_vec(),
            ended: ended.to_vec(),
            remaining: remaining.to_vec(),
        }
    }

    #[test]
    fn a_problem_has_its_sentence_the_host_and_a_command() {
        let degraded = problem(AlertKind::Degraded, "Degraded: jira does not answer.");
        let text = Text::of_alert(&alert(&[degraded], &[], &[]), "sync1");
        assert_eq!(text.subject, "usersync: connector acme is degraded (target jira)");
        let expected = "New:\n\
                        - Degraded: jira does not answer. (since 2026-10-02 11:59:00 UTC)\n\
                        \n\
                        Connector acme, target jira\n\
                        Noticed at 2026-10-02 12:00:00 UTC by usersync on sync1\n\
                        Details: usersync status --connector acme\n\
                        Id: alert_1\n";
        assert_eq!(text.body, expected);
    }

    #[test]
    fn the_subject_names_the_worst_news() {
        let stopped = problem(AlertKind::Stopped, "Stopped.");
        let waits = problem(AlertKind::Approval, "5 operations wait.");
        let subject = |began: &[AlertProblem], ended: &[AlertProblem], remaining: &[AlertProblem]| {
            Text::of_alert(&alert(began, ended, remaining), "sync1").subject
        };
        let (stopped, waits) = (&[stopped][..], &[waits][..]);
        let both = [stopped, waits].concat();
        assert_eq!(subject(&both, &[], &[]), "usersync: connector acme is stopped (target jira)");
        assert_eq!(subject(waits, &[], stopped), "usersync: connector acme waits for approval (target jira)");
        assert_eq!(subject(&[], waits, stopped), "usersync: connector acme is still stopped (target jira)");
        assert_eq!(subject(&[], stopped, &[]), "usersync: connector acme has recovered (target jira)");
    }

    #[test]
    fn line_breaks_in_a_name_or_a_sentence_end_no_line() {
        let evil = problem(AlertKind::OutOfSync, "user\r\nBcc: all@example.org\u{0}");
        let mut alert = alert(&[evil], &[], &[]);
        alert.pair = Some(Pair::new("acme\r\nBcc: all@example.org", "jira\n\n<html>"));
        let text = Text::of_alert(&alert, "sync1");
        assert!(!text.subject.chars().any(char::is_control), "{:?}", text.subject);
        assert!(!text.body.contains("\nBcc") && !text.body.contains(['\r', '\0']), "{:?}", text.body);
        assert!(text.body.starts_with("Degraded: jira does not answer.\n\nNew:\n"), "{:?}", text.body);
    }

    #[test]
    fn a_digest_has_the_state_the_numbers_and_what_waits_of_each_connector() {
        let to: Timestamp = "2026-10-02T08:00:00Z".parse().unwrap();
        let since: Timestamp = "2026-10-02T05:00:00Z".parse().unwrap();
        let quiet = PairDigest {
            pair: Pair::new("acme", "jira"),
            state: "in_sync".to_owned(),
            sentence: "In sync.".to_owned(),
            needs_attention: false,
            activity: Activity { runs: 24, failed_runs: 0, changes: std::collections::BTreeMap::new() },
            failed_tasks: 0,
            approvals: Vec::new(),
        };
        let text = |pairs: Vec<PairDigest>, undelivered: Vec<UndeliveredAlert>| {
            let from = to - jiff::SignedDuration::from_hours(24);
            let digest = Digest::new("digest_ops_20261002".to_owned(), [from, to], pairs, undelivered);
            Text::new(Notice::Digest(&digest), "sync1")
        };
        let nothing = text(vec![quiet.clone()], Vec::new());
        assert_eq!(nothing.subject, "usersync: daily digest, nothing to do");
        let expected = "Daily digest: nothing to do.\n\
                        \n\
                        Connector acme, target jira: In sync.\n\
                        - 24 full reconciles, 0 failed\n\
                        - Accounts: no changes\n\
                        - Memberships: no changes\n\
                        \n\
                        The last 24 h until 2026-10-02 08:00:00 UTC, by usersync on sync1\n\
                        Details: usersync status\n\
                        Id: digest_ops_20261002\n";
        assert_eq!(nothing.body, expected);
        let changes =
            [("create", 3), ("rename", 1), ("delete", 2), ("anonymize", 1), ("add_member", 5), ("create_group", 1)];
        let busy = PairDigest {
            sentence: "Degraded: jira\ndoes not answer.".to_owned(),
            needs_attention: true,
            activity: Activity {
                runs: 1,
                failed_runs: 1,
                changes: changes.map(|(verb, number)| (verb.to_owned(), number)).into(),
            },
            failed_tasks: 2,
            approvals: vec![WaitingApproval { id: 4, since, operations: 12 }],
            ..quiet.clone()
        };
        let undelivered = Undelivered { since, why: "HTTP 503".to_owned(), attempts: 3, again_at: None };
        let undelivered = UndeliveredAlert { name: "pager".to_owned(), waiting: 1, undelivered };
        let body = text(vec![busy, quiet], vec![undelivered]).body;
        let expected = "Daily digest: 1 of 2 connectors needs attention.\n\
                        \n\
                        Connector acme, target jira: Degraded: jira does not answer.\n\
                        - 1 full reconcile, 1 failed\n\
                        - Accounts: 3 added, 1 updated, 3 removed\n\
                        - Groups: 1 added\n\
                        - Memberships: 5 added\n\
                        - 2 failed tasks: usersync dead list\n\
                        - Approval 4: 12 operations wait since 2026-10-02 05:00:00 UTC (3 h): usersync approvals show 4\n";
        assert!(body.starts_with(expected), "{body}");
        let alert = "Alert pager: 1 message not delivered since 2026-10-02 05:00:00 UTC: HTTP 503.\n";
        assert!(body.contains(alert), "{body}");
    }
}
