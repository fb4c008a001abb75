//! Derives the status sentence and the exit code of a pair from what is known about it.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::{
        app, approvals,
        exit::Exit,
        polling::Polling,
        report,
        words::{ago, count, sentence, span, thin},
    },
    engine::Report,
    model::{
        About, AlertKind, Approval, ApprovalKind, Condition, ConditionCode, Pair, ProblemKey, RunOutcome, RunRecord,
        Subject, TaskRecord, Unsupported,
    },
    store::{PairCounts, PairState},
};

/// Maximum number of unsupported operations, and of reasons for an undecided scope, that are shown.
const SHOWN: usize = 3;

/// State of a pair in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    InSync,
    OutOfSync,
    Working,
    Degraded,
    New,
    FirstRunWaits,
    FirstRun,
    Stopped,
    Paused,
    Off,
}

impl Standing {
    /// Returns the word in JSON.
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Users that are not changed, because it is undecided whether they are in scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Undecided {
    /// The reason.
    why: String,
    /// Number of users.
    users: u64,
    /// One of them.
    example: Subject,
}

impl Undecided {
    /// Counts the users by the reason, the most frequent reason first.
    pub fn by_reason(all: Vec<Unsupported>) -> Vec<Self> {
        let mut reasons: BTreeMap<String, Self> = BTreeMap::new();
        for Unsupported { subject, why, .. } in all {
            match reasons.get_mut(&why) {
                Some(reason) => reason.users += 1,
                None => {
                    reasons.insert(why.clone(), Self { why, users: 1, example: subject });
                }
            }
        }
        let mut reasons: Vec<Self> = reasons.into_values().collect();
        reasons.sort_by_key(|reason| Reverse(reason.users));
        reasons
    }

    fn total(all: &[Self]) -> u64 {
        all.iter().map(|reason| reason.users).sum()
    }
}

/// Everything that is known about a pair.
pub(super) struct Facts<'a> {
    pub pair: &'a Pair,
    pub state: PairState,
    pub enabled: bool,
    pub paused: bool,
    /// Whether a server runs.
    pub server: bool,
    /// Why the store cannot be written; `None`: it can be.
    pub unwritable: Option<String>,
    /// Conditions of this pair, its source and its target.
    pub conditions: Vec<Condition>,
    pub counts: PairCounts,
    /// Number of failed tasks that are conflicts.
    pub conflicts: u64,
    /// Operations that the target does not support, in words.
    pub unsupported: Vec<String>,
    /// Number of users that are not changed, because their account is protected.
    pub protected: u64,
    /// Users that are not changed, because it is undecided whether they are in scope.
    pub undecided: Vec<Undecided>,
    /// Open approvals.
    pub held: Vec<&'a Approval>,
    /// Tasks that failed and are retried, as far as they were read.
    pub retried: Vec<TaskRecord>,
    /// Number of changes in the target that did not come from usersync and stay.
    pub drift: u64,
    /// The event polling of its connector.
    pub polling: Polling,
    /// That no event came for a day, although there should be some, in words.
    pub silence: Option<String>,
    /// The last full reconcile that wrote.
    pub last_run: Option<RunRecord>,
    pub next_run: Option<Timestamp>,
    pub now: Timestamp,
}

/// What `status` reports about a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub standing: Standing,
    pub sentence: String,
    /// Further sentences for the operator.
    pub more: Vec<String>,
    /// The sentences that are announced by alerts.
    pub problems: BTreeMap<ProblemKey, String>,
    pub exit: Exit,
}

fn problem_key(kind: AlertKind, about: impl Into<String>) -> ProblemKey {
    ProblemKey { kind, about: about.into() }
}

/// Returns what distinguishes the problem of a condition from others.
fn about(code: ConditionCode, about: &About) -> String {
    format!("{}: {about}", code.as_str())
}

/// Returns the key of a full reconcile that failed, or had problems.
fn run_key() -> ProblemKey {
    problem_key(AlertKind::OutOfSync, "run")
}

impl Verdict {
    fn new(standing: Standing, exit: Exit, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        let problem = match standing {
            Standing::Stopped => Some(AlertKind::Stopped),
            Standing::Degraded => Some(AlertKind::Degraded),
            Standing::New | Standing::FirstRun if exit != Exit::Done => Some(AlertKind::Degraded),
            Standing::FirstRunWaits => Some(AlertKind::Approval),
            _ => None,
        };
        let problems = problem.map(|kind| (problem_key(kind, ""), sentence.clone())).into_iter().collect();
        Self { standing, sentence, more: Vec::new(), problems, exit }
    }

    /// Distinguishes the problem of the main sentence from others of its kind.
    fn about(mut self, about: impl Into<String>) -> Self {
        if let Some((key, sentence)) = self.problems.pop_first() {
            self.problems.insert(problem_key(key.kind, about), sentence);
        }
        self
    }

    /// Adds a sentence that is also announced by alerts. Sentences with the same key are one problem.
    fn problem(&mut self, key: ProblemKey, exit: Exit, text: impl Into<String>) {
        let text = text.into();
        let announced = self.problems.entry(key).or_default();
        if !announced.is_empty() {
            announced.push(' ');
        }
        announced.push_str(&text);
        self.add(exit, text);
    }

    fn add(&mut self, exit: Exit, text: impl Into<String>) {
        self.more.push(text.into());
        self.exit = self.exit.and(exit);
    }
}

impl Facts<'_> {
    /// Returns the number of failed tasks that are not conflicts.
    fn failed(&self) -> u64 {
        self.counts.dead.saturating_sub(self.conflicts)
    }

    /// Returns the open approvals of operations, without the approval of the first run.
    fn approvals(&self) -> impl Iterator<Item = &Approval> {
        self.held.iter().copied().filter(|set| set.kind != ApprovalKind::FirstRun)
    }

    fn condition(&self, code: ConditionCode) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.code == code)
    }
}

/// Returns the verdict on a pair.
pub(super) fn judge(facts: &Facts<'_>) -> Verdict {
    let mut verdict = main(facts);
    if verdict.standing == Standing::Off {
        return verdict;
    }
    for condition in &facts.conditions {
        if !covers(&verdict, condition) {
            let text = wrong(facts, condition);
            let exit = exit_of(condition.code);
            match condition.code {
                ConditionCode::RunFailed => verdict.problem(run_key(), exit, text),
                _ if exit == Exit::Done => verdict.add(exit, text),
                code => verdict.problem(problem_key(AlertKind::Degraded, about(code, &condition.about)), exit, text),
            }
        }
    }
    for set in facts.approvals() {
        let text = format!(
            "Held: {}, {}; everything else continues. usersync approvals show {}",
            approvals::size(set),
            report::why(set.kind),
            set.id
        );
        verdict.problem(problem_key(AlertKind::Approval, set.id.to_string()), Exit::Held, text);
    }
    if let Some(text) = waits_for_first_run(facts, verdict.standing) {
        verdict.add(Exit::Done, text);
    }
    let Pair { connector, target } = facts.pair;
    if facts.failed() > 0 {
        let failed = count(facts.failed(), "failed task", "failed tasks");
        let text = format!("{failed}: usersync dead list --connector {connector} --target {target}");
        verdict.problem(problem_key(AlertKind::FailedTasks, "tasks"), Exit::Problems, text);
    }
    if facts.conflicts > 0 {
        let conflicts = count(facts.conflicts, "conflict", "conflicts");
        let text = format!("{conflicts}: usersync dead list --class conflict --connector {connector}");
        verdict.problem(problem_key(AlertKind::FailedTasks, "conflicts"), Exit::Problems, text);
    }
    let unsupported = || problem_key(AlertKind::OutOfSync, "unsupported");
    let undecided = || problem_key(AlertKind::OutOfSync, "undecided");
    for text in facts.unsupported.iter().take(SHOWN) {
        verdict.problem(unsupported(), Exit::Problems, format!("Not supported by {target}: {text}"));
    }
    if facts.unsupported.len() > SHOWN {
        let more = count(facts.unsupported.len() - SHOWN, "more operation is", "more operations are");
        verdict.problem(unsupported(), Exit::Problems, format!("{more} not supported: usersync plan"));
    }
    for reason in facts.undecided.iter().take(SHOWN) {
        let users = count(reason.users, "user is not changed, because its", "users are not changed, because their");
        let why = sentence(&reason.why);
        let one =
            reason.example.as_user().map(|user| format!(" Show one: usersync explain {user}")).unwrap_or_default();
        verdict.problem(undecided(), Exit::Problems, format!("{users} scope is undecided: {why}{one}"));
    }
    let more = Undecided::total(facts.undecided.get(SHOWN..).unwrap_or_default());
    if more > 0 {
        let users = count(more, "more user has", "more users have");
        let text = format!("{users} an undecided scope for other reasons: usersync plan");
        verdict.problem(undecided(), Exit::Problems, text);
    }
    if facts.protected > 0 {
        let users = count(facts.protected, "user is", "users are");
        let text = format!("{users} not changed, because the account is protected: usersync plan --list");
        verdict.add(Exit::Done, text);
    }
    if facts.drift > 0 {
        let changes = count(facts.drift, "change", "changes");
        let text = format!(
            "{changes} in {target} that did not come from usersync: usersync drift --connector {connector} --target {target}"
        );
        verdict.add(Exit::Done, text);
    }
    if let (1.., Some(first)) = (facts.counts.leaving, facts.counts.leaves_at) {
        let users =
            count(facts.counts.leaving, "user has left; its account changes", "users have left; their accounts change");
        let day = first.strftime("%Y-%m-%d");
        let text = format!("{users} when the grace period ends, the first on {day}: usersync tasks");
        verdict.add(Exit::Done, text);
    }
    add_polling(&mut verdict, facts);
    // A stopped pair has no new run, and its last run failed for the reason in the sentence.
    let last_run = facts.last_run.as_ref().filter(|_| verdict.standing != Standing::Stopped);
    if let Some(text) = last_run.and_then(last_run_trouble) {
        // The condition of a failed one has its own sentence, and is the same problem.
        if verdict.problems.contains_key(&run_key()) {
            verdict.add(Exit::Problems, text);
        } else {
            verdict.problem(run_key(), Exit::Problems, text);
        }
    }
    verdict
}

/// Adds the sentences about event polling.
fn add_polling(verdict: &mut Verdict, facts: &Facts<'_>) {
    // A source with a condition is not polled, and the condition has its own sentence.
    let source = About::source(&facts.pair.connector);
    if verdict.standing == Standing::Stopped || facts.conditions.iter().any(|condition| condition.about == source) {
        return;
    }
    let key = || problem_key(AlertKind::Degraded, "polling");
    if let Some(text) = facts.polling.unanswered(facts.now).filter(|_| facts.server) {
        verdict.problem(key(), Exit::Problems, text);
    }
    let is_down = facts.polling.is_down(facts.now);
    for text in facts.polling.sentences(facts.last_run.as_ref(), facts.now) {
        if is_down {
            verdict.problem(key(), Exit::Problems, text);
        } else {
            verdict.add(Exit::Done, text);
        }
    }
}

/// Describes how many tasks wait for the first run, and what an operator has to do for it.
fn waits_for_first_run(facts: &Facts<'_>, standing: Standing) -> Option<String> {
    if facts.counts.tasks == 0 || !matches!(standing, Standing::New | Standing::FirstRunWaits) {
        return None;
    }
    let tasks = count(facts.counts.tasks, "task waits", "tasks wait");
    let connector = &facts.pair.connector;
    let first = facts.held.iter().any(|set| set.kind == ApprovalKind::FirstRun);
    let plan =
        if first || facts.state == PairState::New && facts.server { "" } else { "plan it: usersync sync; then " };
    Some(format!(
        "{tasks}: nothing is written before the first run is approved; {plan}approve it: usersync approvals approve --connector \
         {connector}"
    ))
}

/// Returns whether the sentence already covers this condition.
fn covers(verdict: &Verdict, condition: &Condition) -> bool {
    let identity = [ConditionCode::OtherIdentity, ConditionCode::RunFailed];
    let stopped = verdict.standing == Standing::Stopped && identity.contains(&condition.code);
    stopped || verdict.sentence.contains(&condition.summary()) || verdict.sentence.contains(&condition.text)
}

/// Returns what a contact or a run found when it stopped the pair, with the commands that confirm it.
fn why_stopped(facts: &Facts<'_>) -> Option<String> {
    let run = facts.condition(ConditionCode::RunFailed).filter(|one| one.text.contains(" confirm "));
    let text = &facts.condition(ConditionCode::OtherIdentity).or(run)?.text;
    let of_pair = format!("{}: ", facts.pair);
    Some(text.strip_prefix(&of_pair).unwrap_or(text).to_owned())
}

/// Returns the exit code of a condition.
pub(in crate::cli) fn exit_of(code: ConditionCode) -> Exit {
    match code {
        ConditionCode::CredentialsRefused
        | ConditionCode::RightMissing
        | ConditionCode::Unreachable
        | ConditionCode::Unavailable => Exit::Unreachable,
        ConditionCode::OtherIdentity => Exit::Held,
        ConditionCode::RateLimited => Exit::Done,
        ConditionCode::NotWritable
        | ConditionCode::RunFailed
        | ConditionCode::FederationUnconfirmed
        | ConditionCode::TasksOverdue => Exit::Problems,
    }
}

/// Describes a condition in a sentence: what, since when, the error text, what waits, what to do.
fn wrong(facts: &Facts<'_>, condition: &Condition) -> String {
    if condition.code == ConditionCode::RateLimited {
        let goes_on = ago(condition.again_at.unwrap_or(facts.now).max(facts.now), facts.now);
        return if facts.server {
            format!("{}, continues {goes_on}.", condition.summary())
        } else {
            format!("{}, accepts calls again {goes_on}: usersync sync", condition.summary())
        };
    }
    let since = span(facts.now.duration_since(condition.since));
    let text = condition.text.trim_end_matches('.');
    let waits = match facts.counts.tasks {
        0 => String::new(),
        tasks => format!(" {}.", count(tasks, "task waits", "tasks wait")),
    };
    let advice = match condition.code {
        ConditionCode::CredentialsRefused => credentials(facts, condition),
        ConditionCode::RightMissing if facts.server => {
            " Grant the permission; usersync retries automatically.".to_owned()
        }
        ConditionCode::RightMissing => " Grant the permission, then: usersync sync".to_owned(),
        ConditionCode::Unreachable | ConditionCode::RunFailed if facts.server => {
            " The server retries automatically.".to_owned()
        }
        ConditionCode::Unreachable | ConditionCode::RunFailed => " Try again: usersync sync".to_owned(),
        // The texts of these conditions contain what to do.
        ConditionCode::OtherIdentity
        | ConditionCode::NotWritable
        | ConditionCode::FederationUnconfirmed
        | ConditionCode::TasksOverdue
        | ConditionCode::RateLimited
        | ConditionCode::Unavailable => String::new(),
    };
    format!("{}, for {since}: {text}.{waits}{advice}", condition.summary())
}

/// Describes what to do about refused credentials, and when they are sent again.
fn credentials(facts: &Facts<'_>, condition: &Condition) -> String {
    let command = match &condition.about {
        About::Source { connector } => format!("usersync connector retry {connector}"),
        about => format!("usersync target retry {}", about.target_name().unwrap_or(&facts.pair.target)),
    };
    if !facts.server {
        return format!(" Renew the token or password. No server runs. Try it: {command}");
    }
    let again = match condition.again_at {
        Some(at) => format!("The old one is retried {}; at once: {command}", ago(at.max(facts.now), facts.now)),
        None => format!("The old one is retried only by: {command}"),
    };
    format!(" Renew the token or password; usersync tries the new one automatically. {again}")
}

/// Describes what the last full reconcile left for an operator. A failed subject is not included: its task reports it.
fn last_run_trouble(run: &RunRecord) -> Option<String> {
    match &run.outcome {
        // The server repeats one that a shutdown or a pause stopped.
        RunOutcome::Stopped => run.cancelled_by.as_ref().map(|by| {
            format!("The last full reconcile was cancelled by {by} before its end. Start one: usersync sync")
        }),
        RunOutcome::Failed { why, .. } => Some(format!("The last full reconcile failed: {why}")),
        RunOutcome::Problems => {
            let report = serde_json::from_value::<Report>(run.report.clone()).unwrap_or_default();
            let parts = [
                (usize::from(report.incomplete.is_some()), "incomplete read", "incomplete reads"),
                (report.conflicts.len(), "conflict", "conflicts"),
                (report.repeated.len(), "repeated removal", "repeated removals"),
                (report.unconfirmed.len(), "finding that is not confirmed", "findings that are not confirmed"),
            ];
            let parts = parts.into_iter().filter(|(number, ..)| *number > 0);
            let parts: Vec<String> = parts.map(|(number, one, many)| count(number, one, many)).collect();
            (!parts.is_empty())
                .then(|| format!("The last full reconcile found {}. usersync runs show {}", parts.join(", "), run.id))
        }
        _ => None,
    }
}

/// Returns the verdict with the main sentence, without further sentences.
fn main(facts: &Facts<'_>) -> Verdict {
    let connector = &facts.pair.connector;
    if !facts.enabled {
        return Verdict::new(Standing::Off, Exit::Done, "Switched off by the configuration: enabled = false.");
    }
    if let Some(why) = &facts.unwritable {
        let text = format!(
            "Degraded: the store cannot be written: {why}. No event is accepted and nothing is changed until then. \
             Free disk space, or stop the process that locks it; then: usersync check"
        );
        let about = about(ConditionCode::NotWritable, &About::Store);
        return Verdict::new(Standing::Degraded, Exit::Problems, text).about(about);
    }
    if facts.paused {
        let text =
            format!("Paused: events are stored, nothing is written. Resume: usersync connector resume {connector}");
        return Verdict::new(Standing::Paused, Exit::Done, text);
    }
    let stopped = facts.state == PairState::Stopped;
    // A rate limit is no degradation: work that waits for it continues.
    let beside = [ConditionCode::RunFailed, ConditionCode::RateLimited];
    let condition = facts.conditions.iter().find(|one| !stopped && !beside.contains(&one.code));
    if let Some(condition) = condition {
        let text = format!("Degraded: {}", wrong(facts, condition));
        let about = about(condition.code, &condition.about);
        return Verdict::new(Standing::Degraded, exit_of(condition.code), text).about(about);
    }
    match (facts.state, facts.condition(ConditionCode::RunFailed)) {
        (PairState::New | PairState::NoUsers, Some(failed)) => {
            let text = format!("New, and its first plan fails: {}", wrong(facts, failed));
            Verdict::new(Standing::New, Exit::Problems, text)
        }
        (PairState::New, None) if facts.server => {
            Verdict::new(Standing::New, Exit::Done, "New: its first run is being planned.")
        }
        (PairState::New, None) => {
            Verdict::new(Standing::New, Exit::Done, "New: nothing was planned yet. Plan it: usersync sync")
        }
        (PairState::NoUsers, None) => {
            let none = "New: the realm has no users in scope yet";
            let text = match facts.next_run.filter(|_| facts.server) {
                Some(at) => format!(
                    "{none}; the first run is planned again with each scheduled run, {}. At once: usersync sync",
                    ago(at, facts.now)
                ),
                None => format!("{none}. Once it has users, plan the first run: usersync sync"),
            };
            Verdict::new(Standing::New, Exit::Done, text)
        }
        (PairState::Held, _) => {
            let set = facts.held.iter().find(|set| set.kind == ApprovalKind::FirstRun);
            let text = match set {
                Some(set) => {
                    format!(
                        "Waits for its first run's approval: {}. usersync approvals approve {}",
                        approvals::size(set),
                        set.id
                    )
                }
                None => "Its first run was rejected, so it is out of service. Plan it again: usersync sync".to_owned(),
            };
            let about = set.map(|set| set.id.to_string()).unwrap_or_default();
            Verdict::new(Standing::FirstRunWaits, Exit::Held, text).about(about)
        }
        (PairState::Approved, Some(failed)) => {
            let text = format!("Its first run is approved, and fails: {}", wrong(facts, failed));
            Verdict::new(Standing::FirstRun, Exit::Problems, text)
        }
        (PairState::Approved, None) if facts.server => {
            Verdict::new(Standing::FirstRun, Exit::Done, "Working: its first run is approved and running.")
        }
        (PairState::Approved, None) => {
            Verdict::new(Standing::FirstRun, Exit::Done, "Its first run is approved. Run it: usersync sync")
        }
        (PairState::Stopped, _) => {
            let text = why_stopped(facts).unwrap_or_else(|| app::stopped(facts.pair));
            Verdict::new(Standing::Stopped, Exit::Held, format!("Stopped: {text}"))
        }
        (PairState::InService, _) => in_service(facts),
    }
}

fn in_service(facts: &Facts<'_>) -> Verdict {
    let counts = &facts.counts;
    if let Some((_, text)) = facts.retried.iter().rev().find_map(|task| task.error.as_ref()) {
        let number = u64::try_from(facts.retried.len()).unwrap_or(u64::MAX).min(counts.tasks.max(1));
        let tasks = count(number, "task waits", "tasks wait");
        let work = if facts.server { "usersync tasks" } else { "No server works them: usersync sync" };
        let text = format!(
            "Degraded: {tasks} for another attempt, nothing is lost. Last error: {}. {work}",
            text.trim_end_matches('.')
        );
        return Verdict::new(Standing::Degraded, Exit::Problems, text).about("tasks");
    }
    // Without a server, nothing receives events.
    if let Some(text) = facts.silence.as_ref().filter(|_| facts.server) {
        return Verdict::new(Standing::Degraded, Exit::Problems, format!("Degraded: {text}")).about("events");
    }
    if counts.due > 0 {
        let oldest =
            counts.oldest.map(|at| format!(", oldest {}", span(facts.now.duration_since(at)))).unwrap_or_default();
        let waits = if facts.server { "" } else { " No server works them: usersync sync" };
        let text = format!("Working: {} behind{oldest}.{waits}", thin(counts.due));
        return Verdict::new(Standing::Working, Exit::Done, text);
    }
    if facts.last_run.as_ref().is_some_and(|run| run.outcome == RunOutcome::Running) {
        return Verdict::new(Standing::Working, Exit::Done, "Working: a full reconcile is running.");
    }
    let change = match counts.last_change {
        Some(at) => format!("Last change {}", ago(at, facts.now)),
        None => "No change was needed yet".to_owned(),
    };
    let next = match (facts.server, facts.next_run) {
        (true, Some(at)) => format!("next full reconcile {}", ago(at, facts.now)),
        (true, None) => "no full reconcile is scheduled".to_owned(),
        (false, _) => "no full reconcile is due while no server runs".to_owned(),
    };
    let open = what_is_open(facts);
    if !open.is_empty() {
        let text = format!("Out of sync: {}. {change}, {next}.", open.join(", "));
        // The further sentences determine the exit code.
        return Verdict::new(Standing::OutOfSync, Exit::Done, text);
    }
    let later = counts.tasks.saturating_sub(counts.leaving);
    if later > 0 {
        let tasks = count(later, "task is", "tasks are");
        let work = if facts.server { "usersync tasks" } else { "No server works them: usersync sync" };
        return Verdict::new(Standing::Working, Exit::Done, format!("Working: {tasks} due later. {work}"));
    }
    let except = match facts.protected {
        0 => String::new(),
        users => format!(", except for {} with a protected account", count(users, "user", "users")),
    };
    Verdict::new(Standing::InSync, Exit::Done, format!("In sync{except}. {change}, {next}."))
}

/// Describes, in numbers, what keeps a pair out of sync until an operator acts.
fn what_is_open(facts: &Facts<'_>) -> Vec<String> {
    let approvals = facts.approvals().map(|set| u64::try_from(set.open_items).unwrap_or(0)).sum::<u64>();
    let unsupported = u64::try_from(facts.unsupported.len()).unwrap_or(u64::MAX);
    let numbers = [
        (facts.failed(), "failed task", "failed tasks"),
        (facts.conflicts, "conflict", "conflicts"),
        (approvals, "operation waits for approval", "operations wait for approval"),
        (unsupported, "unsupported operation", "unsupported operations"),
        (Undecided::total(&facts.undecided), "user with an undecided scope", "users with an undecided scope"),
    ];
    let numbers = numbers.into_iter().filter(|(number, ..)| *number > 0);
    let mut open: Vec<String> = numbers.map(|(number, one, many)| count(number, one, many)).collect();
    if let Some(run) = facts.last_run.as_ref().filter(|run| last_run_trouble(run).is_some()) {
        let what = match run.outcome {
            RunOutcome::Failed { .. } => "failed",
            RunOutcome::Stopped => "was cancelled",
            _ => "had problems",
        };
        open.push(format!("the last full reconcile {what}"));
    }
    open
}

#[cfg(test)]
mod tests;
