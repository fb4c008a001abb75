//! `usersync status`: how it stands, in a sentence for each connector on each target, and the proof of life.

use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Context, app,
    exit::{Exit, Failure, Outcome},
    held,
    out::{Out, State},
    runs,
    words::{ago, count, span, thin},
};
use crate::{
    config::Config,
    engine::Report,
    model::{ConnectorName, HeldKind, HeldSet, Pair, RunMode, RunOutcome, RunRecord, TargetName, TaskRecord},
    store::{PairCounts, PairState, Store, TaskFilter},
};

/// Runs that are looked at for the last one that wrote.
const RUNS: usize = 20;
/// Tasks whose errors are looked at.
const TASKS: usize = 200;

/// Show how it stands
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show how it stands: a sentence for each connector on each target, what to do where something is wrong, and the proof of \
life: the last event, change and run, and the next run.

Exit code 0: all in step or working; 1: something is wrong; 3: something waits for a person.",
    after_help = "\
Examples:
  usersync status
  usersync status --connector acme
  usersync status --json | jq -r '.pairs[] | select(.state != \"in_step\") | .sentence'"
)]
pub(super) struct StatusArgs {
    /// Only this connector
    #[arg(long, value_name = "NAME")]
    connector: Option<ConnectorName>,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
}

/// How a pair stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    InStep,
    Working,
    Degraded,
    New,
    FirstRunHeld,
    FirstRun,
    Stopped,
    Paused,
    Off,
}

/// All that is told of a pair.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    pair: Pair,
    state: Standing,
    sentence: String,
    /// What else a person should see to.
    more: Vec<String>,
    held_sets: Vec<i64>,
    counts: PairCounts,
    events: u64,
    last_event: Option<Timestamp>,
    last_run: Option<RunRecord>,
    next_run: Option<Timestamp>,
    #[serde(skip)]
    exit: Exit,
}

/// What is known of a pair, before it is told.
struct Known<'a> {
    pair: &'a Pair,
    state: PairState,
    enabled: bool,
    paused: bool,
    server: bool,
    counts: PairCounts,
    held: Vec<&'a HeldSet>,
    tasks: Vec<TaskRecord>,
    last_run: Option<RunRecord>,
    next_run: Option<Timestamp>,
    now: Timestamp,
}

impl StatusArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let pairs = app::pairs(&config, self.connector.as_ref(), self.target.as_ref())?;
        let opened = app::look(context, &config).await?;
        let store = opened.store.as_ref();
        let paused = store.paused().await?;
        let sets = store.held_sets(true).await?;
        let mut told = Vec::new();
        for pair in &pairs {
            let known = known(context, &config, store, pair, &paused, &sets, opened.server.is_some()).await?;
            let (events, _, last_event) = store.event_counts(&pair.connector).await?;
            told.push(tell(known, events, last_event));
        }
        let out = &context.out;
        if out.json {
            out.document(&serde_json::json!({
                "server": opened.server, "store": config.store.path, "pairs": told,
            }));
        } else {
            show(out, &told, opened.server.as_deref());
        }
        Ok(told.iter().fold(Exit::Done, |exit, told| exit.and(told.exit)))
    }
}

async fn known<'a>(
    context: &Context,
    config: &Config,
    store: &dyn Store,
    pair: &'a Pair,
    paused: &BTreeSet<ConnectorName>,
    sets: &'a [HeldSet],
    server: bool,
) -> Result<Known<'a>, Failure> {
    let now = context.out.now;
    let connector = config.connectors.iter().find(|one| one.name == pair.connector);
    let filter = TaskFilter {
        connector: Some(pair.connector.clone()),
        target: Some(pair.target.clone()),
        dead: Some(false),
        limit: TASKS,
        ..TaskFilter::default()
    };
    let runs = store.runs(Some(pair), RUNS).await?;
    Ok(Known {
        pair,
        state: store.pair_state(pair).await?,
        enabled: connector.is_some_and(|connector| connector.enabled),
        paused: paused.contains(&pair.connector),
        server,
        counts: store.counts(pair, now).await?,
        held: sets.iter().filter(|set| set.pair == *pair).collect(),
        tasks: store.tasks(&filter).await?,
        last_run: runs.into_iter().find(|run| run.mode == RunMode::Apply),
        next_run: connector.and_then(|one| one.schedule.as_ref()).and_then(|schedule| schedule.next_after(now)),
        now,
    })
}

fn tell(known: Known<'_>, events: u64, last_event: Option<Timestamp>) -> Told {
    let (state, sentence, mut exit) = sentence(&known);
    let mut more = Vec::new();
    for set in known.held.iter().filter(|set| set.kind != HeldKind::FirstRun) {
        more.push(format!(
            "Held: {}, {}; everything else goes on. usersync held show {}",
            held::size(set),
            held::why(set.kind),
            set.id
        ));
        exit = exit.and(Exit::Held);
    }
    if known.counts.dead > 0 {
        let dead = count(known.counts.dead, "dead letter", "dead letters");
        more.push(format!("{dead}: attempts are used up. usersync dead list --target {}", known.pair.target));
        exit = exit.and(Exit::Problems);
    }
    if let Some(text) = known.last_run.as_ref().and_then(last_run_trouble) {
        more.push(text);
        exit = exit.and(Exit::Problems);
    }
    Told {
        pair: known.pair.clone(),
        state,
        sentence,
        more,
        held_sets: known.held.iter().map(|set| set.id).collect(),
        counts: known.counts,
        events,
        last_event,
        last_run: known.last_run,
        next_run: known.next_run.filter(|_| known.server && known.enabled),
        exit,
    }
}

/// What the last run has left for a person.
fn last_run_trouble(run: &RunRecord) -> Option<String> {
    match &run.outcome {
        RunOutcome::Failed { why, .. } => Some(format!("The last run was given up: {why}")),
        RunOutcome::Problems => {
            let report = serde_json::from_value::<Report>(run.report.clone()).unwrap_or_default();
            let parts = [
                (u64::from(report.doubt.is_some()), "reading that is not believed", "readings that are not believed"),
                (report.conflicts.total(), "conflict", "conflicts"),
                (report.doubts.total(), "doubt", "doubts"),
                (report.repeated.total(), "repeated removal", "repeated removals"),
                (report.errors.total(), "failure", "failures"),
            ];
            let parts = parts.into_iter().filter(|(number, ..)| *number > 0);
            let parts: Vec<String> = parts.map(|(number, one, many)| count(number, one, many)).collect();
            Some(format!("The last run met {}. usersync runs show {}", parts.join(", "), run.id))
        }
        _ => None,
    }
}

fn sentence(known: &Known<'_>) -> (Standing, String, Exit) {
    let Pair { connector, target } = known.pair;
    if !known.enabled {
        return (Standing::Off, "Switched off by the configuration: enabled = false.".to_owned(), Exit::Done);
    }
    if known.paused {
        let text =
            format!("Paused: events are stored, nothing is written. Go on: usersync connector resume {connector}");
        return (Standing::Paused, text, Exit::Done);
    }
    match known.state {
        PairState::New if known.server => {
            (Standing::New, "New: its first run is being planned.".to_owned(), Exit::Done)
        }
        PairState::New => {
            (Standing::New, "New: nothing was planned yet. Plan it: usersync sync".to_owned(), Exit::Done)
        }
        PairState::Held => {
            let set = known.held.iter().find(|set| set.kind == HeldKind::FirstRun);
            let text = match set {
                Some(set) => {
                    format!("Waits for its first run's approval: {}. usersync held approve {}", held::size(set), set.id)
                }
                None => "Its first run was rejected, so it is out of service. To plan anew: usersync sync".to_owned(),
            };
            (Standing::FirstRunHeld, text, Exit::Held)
        }
        PairState::Approved if known.server => {
            (Standing::FirstRun, "Working: its first run is approved and under way.".to_owned(), Exit::Done)
        }
        PairState::Approved => {
            (Standing::FirstRun, "Its first run is approved. Do it: usersync sync".to_owned(), Exit::Done)
        }
        PairState::Stopped => {
            let text = format!(
                "Stopped: another server or realm was found behind the same settings; nothing is written. If that is \
                 intended: usersync target confirm {target} or usersync connector confirm {connector}"
            );
            (Standing::Stopped, text, Exit::Held)
        }
        PairState::InService => in_service(known),
    }
}

fn in_service(known: &Known<'_>) -> (Standing, String, Exit) {
    let counts = &known.counts;
    let failed: Vec<&TaskRecord> = known.tasks.iter().filter(|task| task.error.is_some()).collect();
    if let Some((_, text)) = failed.last().and_then(|task| task.error.as_ref()) {
        let number = if failed.len() == TASKS { counts.tasks } else { failed.len().try_into().unwrap_or(u64::MAX) };
        let tasks = count(number, "task waits", "tasks wait");
        let text =
            format!("Degraded: {tasks} for another attempt, nothing is lost. Last error: {text}. usersync tasks");
        return (Standing::Degraded, text, Exit::Problems);
    }
    if counts.due > 0 {
        let oldest =
            counts.oldest.map(|at| format!(", oldest {}", span(known.now.duration_since(at)))).unwrap_or_default();
        let waits = if known.server { "" } else { " Nothing works them: usersync sync" };
        let text = format!("Working: {} behind{oldest}.{waits}", thin(counts.due));
        return (Standing::Working, text, Exit::Done);
    }
    if known.last_run.as_ref().is_some_and(|run| run.outcome == RunOutcome::Running) {
        return (Standing::Working, "Working: a full run is under way.".to_owned(), Exit::Done);
    }
    let change = match counts.last_change {
        Some(at) => format!("Last change {}", ago(at, known.now)),
        None => "No change was needed yet".to_owned(),
    };
    let next = match (known.server, known.next_run) {
        (true, Some(at)) => format!("next full run {}", ago(at, known.now)),
        (true, None) => "no full run is scheduled".to_owned(),
        (false, _) => "no full run is due while no server runs".to_owned(),
    };
    if known.last_run.as_ref().and_then(last_run_trouble).is_some() {
        return (Standing::Degraded, format!("In step as far as it can be. {change}, {next}."), Exit::Problems);
    }
    (Standing::InStep, format!("In step. {change}, {next}."), Exit::Done)
}

fn show(out: &Out, told: &[Told], server: Option<&str>) {
    for told in told {
        let state = match told.state {
            Standing::InStep => State::Ok,
            Standing::Working | Standing::FirstRun | Standing::New => State::Wait,
            Standing::FirstRunHeld => State::Held,
            Standing::Paused | Standing::Off => State::Note,
            Standing::Degraded | Standing::Stopped => State::No,
        };
        if out.quiet && told.exit == Exit::Done {
            continue;
        }
        out.line(format!("{}  {}    {}", out.state(state), out.strong(&told.pair.to_string()), told.sentence));
        out.lines(told.more.iter().map(|more| format!("      {more}")));
        if !out.quiet {
            proof_of_life(out, told);
        }
    }
    match server {
        Some(pid) => out.say(format!("The server runs (pid {pid}).")),
        None => out.say("No server runs: no event is taken and no schedule is kept."),
    }
}

fn proof_of_life(out: &Out, told: &Told) {
    let event = match told.last_event {
        Some(at) => format!("{} ({} in all)", out.when(at), thin(told.events)),
        None => "none yet".to_owned(),
    };
    let run = match &told.last_run {
        Some(run) => {
            let report = serde_json::from_value::<Report>(run.report.clone()).ok();
            let did = report.map(|report| format!("; {}", runs::did(run, &report))).unwrap_or_default();
            format!("{}, {}{did}", out.when(run.started_at), runs::outcome(&run.outcome))
        }
        None => "none yet".to_owned(),
    };
    let counts = &told.counts;
    let lines = [
        ("last event", event),
        ("last change", counts.last_change.map_or_else(|| "none yet".to_owned(), |at| out.when(at))),
        ("last run", run),
        ("next run", told.next_run.map_or_else(|| "none".to_owned(), |at| out.when(at))),
        (
            "linked",
            format!(
                "{} ({} active), {}, {}",
                count(counts.links, "account", "accounts"),
                thin(counts.active_links),
                count(counts.managed_groups, "managed group", "managed groups"),
                count(counts.memberships, "membership", "memberships"),
            ),
        ),
    ];
    for (about, text) in lines {
        out.line(format!("      {about:<12} {text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, ErrorClass, Priority, Subject, TaskState};

    fn now() -> Timestamp {
        "2026-10-02T12:00:00Z".parse().unwrap()
    }

    fn known(pair: &Pair) -> Known<'_> {
        Known {
            pair,
            state: PairState::InService,
            enabled: true,
            paused: false,
            server: true,
            counts: PairCounts::default(),
            held: Vec::new(),
            tasks: Vec::new(),
            last_run: None,
            next_run: Some("2026-10-02T12:38:00Z".parse().unwrap()),
            now: now(),
        }
    }

    #[test]
    fn a_quiet_pair_is_in_step() {
        let pair = Pair::new("acme", "jira-prod");
        let mut known = known(&pair);
        known.counts.last_change = Some("2026-10-02T11:59:48Z".parse().unwrap());
        let (state, text, exit) = sentence(&known);
        assert_eq!(text, "In step. Last change 12 s ago, next full run in 38 min.");
        assert_eq!((state, exit), (Standing::InStep, Exit::Done));
    }

    #[test]
    fn a_pair_behind_says_how_far() {
        let pair = Pair::new("acme", "jira-prod");
        let mut known = known(&pair);
        (known.counts.due, known.counts.oldest) = (214, Some("2026-10-02T11:59:57Z".parse().unwrap()));
        assert_eq!(sentence(&known).1, "Working: 214 behind, oldest 3 s.");
    }

    #[test]
    fn errors_are_told_with_the_last_one() {
        let pair = Pair::new("acme", "jira-prod");
        let mut known = known(&pair);
        known.tasks.push(TaskRecord {
            pair: pair.clone(),
            subject: Subject::user("1"),
            generation: 1,
            priority: Priority::Retry,
            state: TaskState::Ready,
            not_before: now(),
            since: now(),
            attempts: 3,
            error: Some((ErrorClass::Transient, "jira-prod answers 503".into())),
            cause: Cause::Event { id: "e".into() },
        });
        let (state, text, exit) = sentence(&known);
        assert!(text.starts_with("Degraded: 1 task waits for another attempt"), "{text}");
        assert!(text.contains("jira-prod answers 503"), "{text}");
        assert_eq!((state, exit), (Standing::Degraded, Exit::Problems));
    }

    #[test]
    fn what_waits_for_a_person_says_what_to_type() {
        let pair = Pair::new("acme", "jira-prod");
        let mut known = known(&pair);
        known.paused = true;
        assert!(sentence(&known).1.contains("usersync connector resume acme"));
        (known.paused, known.state) = (false, PairState::Stopped);
        assert!(sentence(&known).1.contains("usersync target confirm jira-prod"));
        known.state = PairState::Held;
        let set = HeldSet {
            id: 41,
            pair: pair.clone(),
            kind: HeldKind::FirstRun,
            since: now(),
            open: true,
            summary: Report { planned: [("create".to_owned(), 14)].into(), ..Report::default() }.stored(),
            decision: None,
            open_items: 0,
            rejected_items: 0,
            items: 0,
        };
        known.held.push(&set);
        let (_, text, exit) = sentence(&known);
        assert_eq!(text, "Waits for its first run's approval: 14 operations. usersync held approve 41");
        assert_eq!(exit, Exit::Held);
    }
}
