//! Counts the users that may or may not be in scope: one sentence for each reason, however many users there are.

use std::collections::BTreeMap;

use super::{
    Run,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::error::WorkError,
    model::{Cause, Priority, RunMode, Subject},
};

/// The users of a run whose scope is undecided, by the reason.
#[derive(Debug, Default)]
pub(super) struct Undecided(BTreeMap<String, Users>);

#[derive(Debug)]
struct Users {
    /// The login of the first one.
    first: String,
    count: usize,
}

impl Undecided {
    pub fn add(&mut self, why: &str, login: &str) {
        match self.0.get_mut(why) {
            Some(users) => users.count += 1,
            None => {
                self.0.insert(why.to_owned(), Users { first: login.to_owned(), count: 1 });
            }
        }
    }

    /// Returns a sentence for each reason but these, which are reported already.
    pub fn sentences(self, reported: &[String]) -> Vec<String> {
        let others = self.0.into_iter().filter(|(why, _)| !reported.contains(why));
        let sentence = |(why, Users { first, count }): (String, Users)| match count {
            1 => format!("{first}: {why}"),
            2 => format!("{first} and 1 more user: {why}"),
            _ => format!("{first} and {} more users: {why}", count - 1),
        };
        others.map(sentence).collect()
    }
}

impl Run<'_> {
    /// Raises the tasks of users that are recorded as undecided, or as getting no account, and were not listed: they may
    /// be gone.
    pub(super) async fn recheck_undecided(
        &mut self,
        source: &SourceWalk,
        target: &TargetWalk,
    ) -> Result<(), WorkError> {
        let absent = |subject: &&Subject| subject.as_user().is_some_and(|user| !source.holds(user));
        let subjects: Vec<Subject> = target.undecided.union(&target.without_account).filter(absent).cloned().collect();
        if self.options.mode == RunMode::DryRun || subjects.is_empty() {
            return Ok(());
        }
        let (store, cause) = (&self.engine.store, Cause::Run { id: self.id });
        self.report.raised += store.raise(self.pair, &subjects, Priority::Run, &cause, self.engine.clock.now()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_reported_once_with_the_number_of_its_users() {
        let mut undecided = Undecided::default();
        for number in 0..10_000 {
            undecided.add("the group is missing", &format!("user{number}"));
        }
        undecided.add("it renders 1", "ann");
        undecided.add("it renders 2", "bob");
        undecided.add("it renders 2", "carl");
        undecided.add("known", "dora");
        let sentences = undecided.sentences(&["known".to_owned()]);
        assert_eq!(
            sentences,
            [
                "ann: it renders 1",
                "bob and 1 more user: it renders 2",
                "user0 and 9999 more users: the group is missing"
            ]
        );
    }
}
