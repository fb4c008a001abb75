//! The text of an alert for a person who reads mail: subject and body.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use super::Alert;
use crate::model::{AlertKind, AlertProblem, Pair};

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
    /// Creates the message about an alert that this host sends.
    pub fn of_alert(alert: &Alert, host: &str) -> Self {
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
}
