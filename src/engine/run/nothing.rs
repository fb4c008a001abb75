//! Says in one sentence why a run did nothing.

use super::Report;
use crate::model::{RunMode, RunOutcome, count};

impl Report {
    /// Returns why a run did nothing, or why a dry run planned nothing, in one sentence; `None`: it did or planned
    /// something.
    pub fn why_nothing(&self, mode: RunMode, ended: &RunOutcome) -> Option<String> {
        let something = match mode {
            RunMode::Apply => self.done_total() > 0,
            RunMode::DryRun => self.planned_total() > 0,
        };
        match ended {
            _ if something => None,
            RunOutcome::Failed { .. } => Some("Nothing was done: the full reconcile failed.".to_owned()),
            RunOutcome::Stopped => {
                Some("Nothing was done: the full reconcile was stopped before it changed anything.".to_owned())
            }
            RunOutcome::Running => None,
            _ if self.tally.planned > 0 => Some(self.why_not_done()),
            _ => Some(self.why_nothing_planned()),
        }
    }

    /// Returns why none of the planned operations was done.
    fn why_not_done(&self) -> String {
        let tally = &self.tally;
        let planned = count(tally.planned, "planned operation", "planned operations");
        let fates = [
            (tally.held, "waits for approval", "wait for approval"),
            (tally.unsupported, "is not supported by the target", "are not supported by the target"),
            (tally.failed, "failed and is retried by its task", "failed and are retried by their tasks"),
            (tally.postponed, "is left to its task", "are left to their tasks"),
            (tally.obsolete, "was no longer needed", "were no longer needed"),
        ];
        let mut fates = fates.into_iter().filter(|(number, ..)| *number > 0).peekable();
        let Some((number, one, many)) = fates.next() else { return format!("Nothing was done of {planned}.") };
        let verb = |number: u64, one, many| if number == 1 { one } else { many };
        if number == tally.planned {
            return format!("Nothing was done: {planned} {}.", verb(number, one, many));
        }
        let parts: Vec<String> = std::iter::once((number, one, many))
            .chain(fates)
            .map(|(number, one, many)| format!("{number} {}", verb(number, one, many)))
            .collect();
        format!("Nothing was done: of {planned}, {}.", parts.join(", "))
    }

    /// Returns why nothing was planned.
    fn why_nothing_planned(&self) -> String {
        let silent = self.evidence.source.silent_providers.first();
        if let Some(provider) = silent.filter(|_| self.unconfirmed.total() + self.errors.total() > 0) {
            return format!("Nothing to do now: {provider}, so nothing is removed for its users.");
        }
        let texts = [
            (
                self.incomplete.is_some(),
                "Nothing to do in what was read. The read is incomplete, so nothing is removed.",
            ),
            (
                self.users == 0,
                "Nothing to do: the realm has no users, or the client cannot see them. usersync check shows which.",
            ),
            (self.errors.total() > 0, "Nothing to do now: what differs could not be read; its tasks are retried."),
            (self.unconfirmed.total() > 0, "Nothing to do now: what may differ is not confirmed."),
            (self.conflicts.total() > 0, "Nothing to do now: conflicts wait for an operator's decision."),
            (self.in_scope == 0, "Nothing to do: none of the users is in scope. usersync explain USER shows why."),
        ];
        if let Some((_, text)) = texts.into_iter().find(|(applies, _)| *applies) {
            return text.to_owned();
        }
        if self.unchanged == self.in_scope {
            return format!("Nothing to do: all {} in sync.", count(self.in_scope, "user is", "users are"));
        }
        let texts = [
            (self.held > 0, "Nothing to do now: what differs waits for approval."),
            (self.rejected > 0, "Nothing to do: an operator rejected what differs."),
            (self.unsupported.total() > 0, "Nothing to do: the target does not support what differs."),
            (self.raised > 0, "Nothing to do now: what differs is left to its tasks."),
        ];
        let text = texts.into_iter().find(|(applies, _)| *applies).map(|(_, text)| text);
        text.unwrap_or("Nothing to do now. What differs is reported above.").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Tally;

    fn applied(report: &Report) -> Option<String> {
        report.why_nothing(RunMode::Apply, &RunOutcome::Done)
    }

    fn of_tally(tally: Tally) -> String {
        applied(&Report { users: 2, tally, ..Report::default() }).expect("nothing was done")
    }

    #[test]
    fn a_zero_is_explained() {
        let mut report = Report::default();
        let why = |report: &Report| applied(report).expect("nothing was done");
        assert!(why(&report).contains("no users"));
        report.users = 2;
        assert!(why(&report).contains("none of the users is in scope"));
        (report.in_scope, report.unchanged) = (2, 2);
        assert_eq!(why(&report), "Nothing to do: all 2 users are in sync.");
        report.unchanged = 1;
        assert!(why(&report).contains("reported above"));
        report.held = 1;
        assert_eq!(why(&report), "Nothing to do now: what differs waits for approval.");
        report.unconfirmed.push("bob".to_owned());
        assert!(why(&report).contains("not confirmed"));
        report.evidence.source.silent_providers.push("federation provider ldap cannot be asked".to_owned());
        assert_eq!(
            why(&report),
            "Nothing to do now: federation provider ldap cannot be asked, so nothing is removed for its users."
        );
    }

    #[test]
    fn what_was_planned_and_not_done_has_its_fates() {
        let one = Tally { planned: 1, held: 1, ..Tally::default() };
        assert_eq!(of_tally(one), "Nothing was done: 1 planned operation waits for approval.");
        let all = Tally { planned: 3, obsolete: 3, ..Tally::default() };
        assert_eq!(of_tally(all), "Nothing was done: 3 planned operations were no longer needed.");
        let mixed = Tally { planned: 4, held: 3, unsupported: 1, ..Tally::default() };
        assert_eq!(
            of_tally(mixed),
            "Nothing was done: of 4 planned operations, 3 wait for approval, 1 is not supported by the target."
        );
    }

    #[test]
    fn a_run_that_did_or_planned_something_needs_no_reason_and_one_that_failed_says_so() {
        let mut report = Report { users: 1, ..Report::default() };
        report.planned.insert("create".into(), 1);
        assert_eq!(report.why_nothing(RunMode::DryRun, &RunOutcome::Done), None);
        let failed = RunOutcome::Failed { why: "503".to_owned(), class: None };
        assert!(report.why_nothing(RunMode::Apply, &failed).is_some_and(|why| why.contains("failed")));
        assert!(report.why_nothing(RunMode::Apply, &RunOutcome::Stopped).is_some_and(|why| why.contains("stopped")));
        report.done.insert("create".into(), 1);
        assert_eq!(report.why_nothing(RunMode::Apply, &failed), None);
    }
}
