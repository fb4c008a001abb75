//! `usersync check`: checks whether everything that usersync needs is there. It changes nothing, except with
//! `--write-test`.

mod write_test;

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Context,
    app::Sides,
    args::PairArgs,
    exit::{Exit, Outcome},
    hook_refusals,
    out::{Out, State},
    polling::Polling,
    stop::{self, Stop},
    table::column,
    words::{ago, count},
};
use crate::{
    config::{Config, ConnectorConfig, TargetConfig},
    keycloak::KeycloakSource,
    model::{About, Condition, ConnectorName, ErrorClass, EventPoll, LeaverAction, TargetIdentity},
    store::sqlite::{OpenOptions, SqliteStore},
    store::{EventCounts, OperatorStore, PolledEvents, StoreError, StoreReads},
    targets::{Capabilities, Note, NoteState, Target},
};

/// Number of scheduled runs that are listed.
const RUNS: usize = 3;

/// Check every source and target, and report what is missing
#[derive(Debug, Args)]
#[command(
    long_about = "\
Check every source and target, and report what is missing and how to fix it.

Signs in everywhere, reads a little, compares permissions, clocks and settings. Nothing is changed. Each line begins \
with its state: ok, note (worth knowing), wait (not complete yet), no (a problem).

With --write-test every operation that a target supports is tried there on temporary accounts and groups, named \
usersync-check-…, which are deleted afterwards.",
    after_help = "\
Examples:
  usersync check
  usersync check --connector acme
  usersync check --quiet          only lines that are not ok
  usersync check --target jira-prod --write-test
  usersync check --json"
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pair: PairArgs,
    /// Create, change and delete a temporary account and group on each target
    #[arg(long)]
    write_test: bool,
}

/// One checked part: the configuration, the store, a source or a target.
#[derive(Serialize)]
struct Part {
    #[serde(rename = "part")]
    kind: &'static str,
    name: String,
    address: String,
    /// Product, version, and the account that usersync uses there.
    what: String,
    notes: Vec<Note>,
    /// Capabilities of a target, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Capabilities>,
    #[serde(skip)]
    unreachable: bool,
}

impl CheckArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        super::app::pairs(&config, &self.pair)?;
        let sides = Sides::new(&config)?;
        let (store, known) = store(&config, &context.out).await;
        let mut parts = vec![configuration(&config), store];
        let chosen =
            |connector: &&ConnectorConfig| self.pair.connector.as_ref().is_none_or(|name| *name == connector.name);
        let connectors: Vec<&ConnectorConfig> = config.connectors.iter().filter(chosen).collect();
        if self.pair.target.is_none() {
            let sources =
                connectors.iter().filter_map(|connector| Some((*connector, sides.sources.get(&connector.name)?)));
            parts.extend(
                futures::future::join_all(sources.map(|(connector, client)| {
                    let counts = known.heard.get(&connector.name).copied().unwrap_or_default();
                    let unread = || Polling::new(connector, EventPoll::default(), PolledEvents::default());
                    let polling = known.polling.get(&connector.name).cloned().unwrap_or_else(unread);
                    source(connector, client, (counts, polling), &context.out)
                }))
                .await,
            );
        }
        let filled = |target: &&TargetConfig| match (&self.pair.target, &self.pair.connector) {
            (Some(name), _) => *name == target.name,
            (None, Some(_)) => connectors.iter().any(|connector| connector.targets.contains(&target.name)),
            (None, None) => true,
        };
        let targets = config.targets.iter().filter(filled);
        let targets = targets.filter_map(|target| Some((target, sides.targets.get(&target.name)?)));
        // A write test runs to its end, so that it deletes its accounts and groups.
        let stop = self.write_test.then(|| stop::on_signal(&context.out));
        let probes = targets.map(|(config, client)| probe(config, client.as_ref(), self.write_test));
        let probed = futures::future::join_all(probes).await;
        let mut probed = one_server_twice(probed);
        for part in &mut probed {
            part.notes.extend(cannot_anonymize(&connectors, part));
        }
        parts.extend(probed);
        if self.pair.target.is_none() {
            refused(&config, self.pair.connector.as_ref(), &context.out, &mut parts).await;
        }
        let exit = print_parts(&context.out, &parts, self.write_test);
        let Some(signal) = stop.as_ref().and_then(Stop::by) else { return Ok(exit) };
        let name = stop::signal_name(signal);
        context.out.error(format!(
            "Stopped by {name}. The write test was completed first, so that its accounts and groups are deleted."
        ));
        Ok(exit.and(signal))
    }
}

fn print_parts(out: &Out, parts: &[Part], wrote: bool) -> Exit {
    let counted = |state| parts.iter().flat_map(|part| &part.notes).filter(|note| note.state == state).count();
    let (problems, waits) = (counted(NoteState::No), counted(NoteState::Wait));
    let unreachable = parts.iter().any(|part| part.unreachable);
    if out.json {
        let document =
            serde_json::json!({ "parts": parts, "problems": problems, "waits": waits, "reachable": !unreachable });
        out.document(&document);
    } else {
        for part in parts {
            let notes: Vec<&Note> =
                part.notes.iter().filter(|note| !out.quiet || note.state != NoteState::Ok).collect();
            if notes.is_empty() && out.quiet {
                continue;
            }
            let head = [out.strong(&part.name), part.address.clone(), part.what.clone()];
            out.prose(4, head.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("    "));
            for note in notes {
                out.lines(out.noted(State::from(note.state), &note.about, &note.text));
            }
        }
        if !out.quiet {
            print_capabilities(out, parts);
        }
        let waits = match waits {
            0 => String::new(),
            waits => format!(", {}", count(waits, "check is not complete yet", "checks are not complete yet")),
        };
        let problems = match problems {
            0 => "No problems".to_owned(),
            problems => count(problems, "problem", "problems"),
        };
        let changed = if wrote && parts.iter().any(|part| part.kind == "target" && !part.unreachable) {
            "Only temporary accounts and groups were written."
        } else {
            "Nothing was changed."
        };
        out.say(format!("{problems}{waits}. {changed}"));
    }
    if unreachable {
        Exit::Unreachable
    } else if problems > 0 {
        Exit::Problems
    } else {
        Exit::Done
    }
}

/// Prints the capabilities of the targets side by side.
fn print_capabilities(out: &Out, parts: &[Part]) {
    // Without the rights, none of the capabilities can be used.
    let may = |part: &&Part| !part.notes.iter().any(|note| note.about == "rights" && note.state == NoteState::No);
    let able = parts.iter().filter(may).filter_map(|part| Some((part, part.capabilities.as_ref()?.rows())));
    let able: Vec<_> = able.collect();
    let Some((_, first)) = able.first() else { return };
    let mut columns = vec![column("capability")];
    columns.extend(able.iter().map(|(part, _)| column(&part.name)));
    let row = |(nth, (what, _)): (usize, &(&'static str, String))| {
        let cells = able.iter().map(|(_, rows)| rows[nth].1.clone());
        std::iter::once((*what).to_owned()).chain(cells).collect()
    };
    let rows = first.iter().enumerate().map(row).collect();
    out.table(&columns, rows);
}

fn note(state: NoteState, about: &str, text: impl Into<String>) -> Note {
    Note { state, about: about.to_owned(), text: text.into() }
}

fn configuration(config: &Config) -> Part {
    let mut notes = vec![note(
        NoteState::Ok,
        "read",
        format!(
            "{}, {}",
            count(config.connectors.len(), "connector", "connectors"),
            count(config.targets.len(), "target", "targets")
        ),
    )];
    notes.extend(config.warnings.iter().map(|warning| {
        let place = warning.position().map(|(line, _)| format!("line {line}: ")).unwrap_or_default();
        let advice = warning.advice().map(|advice| format!(". {advice}")).unwrap_or_default();
        note(NoteState::Note, "warning", format!("{place}{}{advice}", warning.message()))
    }));
    Part {
        kind: "configuration",
        name: "configuration".to_owned(),
        address: config.path.display().to_string(),
        what: String::new(),
        notes,
        capabilities: None,
        unreachable: false,
    }
}

/// Data read from the store, besides the store's own state.
#[derive(Default)]
struct FromStore {
    heard: BTreeMap<ConnectorName, EventCounts>,
    polling: BTreeMap<ConnectorName, Polling>,
    conditions: Vec<Condition>,
}

async fn store(config: &Config, out: &Out) -> (Part, FromStore) {
    let path = &config.store.path;
    let mut notes = Vec::new();
    let mut known = FromStore::default();
    if path.exists() {
        notes.push(match open(config, out.now).await {
            Ok(found) => {
                known = found;
                note(NoteState::Ok, "opened", "can be read and written")
            }
            Err(why) => note(NoteState::No, "opened", why),
        });
    } else {
        notes.push(note(NoteState::Wait, "opened", "does not exist yet; the first run creates it"));
    }
    notes.extend(known.conditions.iter().filter(|one| matches!(one.about, About::Pair(_))).map(|condition| {
        let text = format!("{}, since {}: {}", condition.summary(), out.when(condition.since), condition.text);
        note(NoteState::No, "wrong", text)
    }));
    notes.push(match SqliteStore::worked_by(path) {
        Some(pid) => note(NoteState::Ok, "lock", format!("held by the running server (pid {pid})")),
        None => {
            note(NoteState::Note, "lock", "free: no server runs, so no event is received and no scheduled run starts")
        }
    });
    let part = Part {
        kind: "store",
        name: "store".to_owned(),
        address: path.display().to_string(),
        what: String::new(),
        notes,
        capabilities: None,
        unreachable: false,
    };
    (part, known)
}

async fn open(config: &Config, now: Timestamp) -> Result<FromStore, String> {
    let read = async {
        let store = SqliteStore::open_beside(&config.store.path, OpenOptions::new(now)).await?;
        let found = async {
            store.check().await?;
            let mut found = FromStore { conditions: store.conditions().await?, ..FromStore::default() };
            for connector in &config.connectors {
                found.heard.insert(connector.name.clone(), store.event_counts(&connector.name).await?);
                found.polling.insert(connector.name.clone(), Polling::read(&store, connector).await?);
            }
            Ok(found)
        };
        let found = found.await;
        store.close().await;
        found
    };
    read.await.map_err(|error: StoreError| error.to_string())
}

/// Completes the note about the listener: adds the events received to the realm's setting.
fn heard(listener: &mut Note, counts: EventCounts, turned_on: bool, out: &Out) {
    let (state, text) = match counts {
        EventCounts { last: Some(last), received, .. } => {
            let text =
                format!("last event {}, pushed ({})", out.when(last), count(received, "event so far", "events so far"));
            (NoteState::Ok, text)
        }
        EventCounts { since: Some(since), .. } => {
            (NoteState::Wait, format!("no event received since {}", out.when(since)))
        }
        EventCounts { since: None, .. } => (NoteState::Wait, "no event received: no server has run yet".to_owned()),
    };
    if turned_on {
        listener.state = state;
    }
    listener.text = match state {
        NoteState::Ok if turned_on => format!("turned on in the realm; {text}"),
        _ => format!("{text}; {}", listener.text),
    };
}

async fn source(
    connector: &ConnectorConfig,
    client: &KeycloakSource,
    (counts, polling): (EventCounts, Polling),
    out: &Out,
) -> Part {
    let diagnosis = client.diagnose(&connector.policy.roles(), &connector.policy.organizations()).await;
    let unreachable = diagnosis.base_url.is_none()
        || diagnosis.notes.iter().any(|note| note.state == NoteState::No && note.about == "sign-in");
    let mut notes = diagnosis.notes;
    for listener in notes.iter_mut().filter(|note| note.about == "listener") {
        // A listener that is turned on waits for its first event.
        let turned_on = listener.state == NoteState::Wait;
        heard(listener, counts, turned_on, out);
    }
    notes.extend(polling.notes(out));
    notes.push(schedule(connector, out));
    if !connector.enabled {
        notes.push(note(NoteState::Note, "enabled", "no: the configuration switches this connector off"));
    }
    let version = diagnosis.version.map(|version| format!(" {version}")).unwrap_or_default();
    let address = diagnosis.base_url.unwrap_or_else(|| connector.url.to_string());
    let given = connector.url.as_str().trim_end_matches('/');
    let added = match address.strip_prefix(given).map(|rest| rest.trim_matches('/')) {
        Some(rest) if !rest.is_empty() => format!("    (address as given + /{rest})"),
        _ => String::new(),
    };
    Part {
        kind: "source",
        name: connector.name.to_string(),
        address,
        what: format!("Keycloak{version}, realm {}{added}", connector.realm),
        notes,
        capabilities: None,
        unreachable,
    }
}

fn schedule(connector: &ConnectorConfig, out: &Out) -> Note {
    let Some(schedule) = &connector.schedule else {
        return note(NoteState::Note, "schedule", "off: a full reconcile runs only on request or when a gap is found");
    };
    let times = schedule.next_n(out.now, RUNS);
    let zone = schedule.zone();
    let far = times.iter().any(|time| time.duration_since(out.now).as_hours() >= 24);
    let form = if far { "%Y-%m-%d %H:%M" } else { "%H:%M" };
    let reported: Vec<String> =
        times.iter().map(|time| time.to_zoned(zone.clone()).strftime(form).to_string()).collect();
    let first = times.first().map(|time| format!(" ({})", ago(*time, out.now))).unwrap_or_default();
    let zone = zone.iana_name().unwrap_or("UTC");
    note(NoteState::Ok, "schedule", format!("{}  next: {} {zone}{first}", schedule.as_str(), reported.join(", ")))
}

/// Adds refused requests to the notes of their connector; those that name no connector, to the configuration's notes.
async fn refused(config: &Config, only: Option<&ConnectorName>, out: &Out, parts: &mut [Part]) {
    let path = &config.store.path;
    // A store that is missing or cannot be opened has its own note.
    if !path.exists() {
        return;
    }
    let Ok(store) = SqliteStore::open_beside(path, OpenOptions::new(out.now)).await else { return };
    let refused = hook_refusals::recent(&store, config, only, out).await.unwrap_or_default();
    store.close().await;
    for one in refused {
        let state = if one.state() == State::No { NoteState::No } else { NoteState::Note };
        let is_its = |part: &&mut Part| match one.connector() {
            Some(name) => part.kind == "source" && part.name == name.as_str(),
            None => part.kind == "configuration",
        };
        if let Some(part) = parts.iter_mut().find(is_its) {
            part.notes.push(note(state, "hook", one.sentence()));
        }
    }
}

/// Adds a problem to targets that turn out to be one server, because usersync refuses to work them.
fn one_server_twice(probed: Vec<(Part, Option<TargetIdentity>)>) -> Vec<Part> {
    let known: Vec<(String, TargetIdentity)> =
        probed.iter().filter_map(|(part, identity)| Some((part.name.clone(), identity.clone()?))).collect();
    let reported = |(mut part, identity): (Part, Option<TargetIdentity>)| {
        let twin = known
            .iter()
            .find(|(name, other)| *name != part.name && identity.as_ref().is_some_and(|own| own.is_same(other)));
        if let Some((other, _)) = twin {
            let text = format!("the same server as target {other}; define it once and name it in both connectors");
            part.notes.push(note(NoteState::No, "identity", text));
        }
        part
    };
    probed.into_iter().map(reported).collect()
}

/// Returns a problem if a policy anonymizes accounts of a target that does not support it as it is set up.
fn cannot_anonymize(connectors: &[&ConnectorConfig], part: &Part) -> Option<Note> {
    let cannot = part.capabilities.as_ref().is_some_and(|capabilities| !capabilities.anonymize);
    let anonymizes = |connector: &&&ConnectorConfig| {
        connector.policy.leavers.strictest() == LeaverAction::Anonymize
            && connector.targets.iter().any(|name| name.as_str() == part.name)
    };
    let connector = connectors.iter().find(anonymizes).filter(|_| cannot)?;
    let text = format!(
        "the policy of {} anonymizes accounts, which needs Jira 8.7 or later and a system administrator. Make usersync's \
         account one",
        connector.name
    );
    Some(note(NoteState::No, "leavers", text))
}

async fn probe(config: &TargetConfig, client: &dyn Target, write: bool) -> (Part, Option<TargetIdentity>) {
    let mut part = Part {
        kind: "target",
        name: config.name.to_string(),
        address: config.url.to_string().trim_end_matches('/').to_owned(),
        what: String::new(),
        notes: Vec::new(),
        capabilities: None,
        unreachable: false,
    };
    match client.probe().await {
        Ok(info) => {
            part.what = format!("{}, signed in as {}", info.product, info.signed_in_as);
            part.notes = info.notes;
            part.capabilities = Some(info.capabilities.clone());
            if write {
                let tag = hex::encode(rand::random::<[u8; 4]>());
                part.notes.extend(write_test::write_test(client, &info.capabilities, &tag).await);
            }
            (part, Some(info.identity))
        }
        Err(error) => {
            let about = if error.class() == ErrorClass::Credentials { "sign-in" } else { "reached" };
            part.unreachable = true;
            part.notes.push(note(NoteState::No, about, error.text));
            (part, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_line_tells_what_has_come() {
        let out = Out::new(false, false, true);
        let ago = |minutes| Some(out.now - jiff::SignedDuration::from_mins(minutes));
        let cases = [
            (EventCounts::default(), true, NoteState::Wait, "no server has run yet"),
            (EventCounts { since: ago(5), ..EventCounts::default() }, true, NoteState::Wait, "no event received since"),
            (
                EventCounts { received: 3, last: ago(2), since: ago(5), duplicates: 0 },
                true,
                NoteState::Ok,
                "turned on in the realm; last event",
            ),
            (
                EventCounts { received: 3, last: ago(2), since: ago(5), duplicates: 0 },
                false,
                NoteState::Note,
                "(2 min ago), pushed",
            ),
        ];
        for (counts, turned_on, state, text) in cases {
            let before = if turned_on { NoteState::Wait } else { NoteState::Note };
            let mut listener = note(before, "listener", "turned on in the realm");
            heard(&mut listener, counts, turned_on, &out);
            assert_eq!(listener.state, state, "{counts:?}");
            assert!(listener.text.contains(text), "{}", listener.text);
        }
    }
}
