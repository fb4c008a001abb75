//! `usersync keycloak`: sets up a realm, removes usersync from it, tests that an event arrives.

mod owner;
mod realm;
mod secrets;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Context, app,
    args::own_address,
    exit::{Exit, Failure, Outcome},
    out::{Out, State},
    words::{count, took},
};
use crate::{
    keycloak::setup::{Plan, Setup, SetupOptions, TestEvent},
    model::ConnectorName,
    store::{EventFilter, Store, sqlite::SqliteStore},
    targets::Note,
};
use owner::Owner;
use realm::{Known, Realm};

/// Timeout of a test event; `EVERY` is the polling interval.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);
const EVERY: Duration = Duration::from_millis(200);

/// Set up a realm for usersync, remove usersync from it, test that an event arrives
#[derive(Debug, Args)]
#[command(
    long_about = "\
Set up a realm for usersync, remove usersync from it, test that an event arrives.

These commands sign in as an administrator of Keycloak, which usersync needs for nothing else. --admin names the \
login. The password is prompted for, or read from KEYCLOAK_ADMIN_PASSWORD; an existing token is read from \
KEYCLOAK_ADMIN_TOKEN. Neither is stored, and neither can be given as an argument.",
    after_help = "\
Examples:
  usersync keycloak setup --url https://sso.example.org --realm acme --dry-run
  usersync keycloak setup --connector acme --address https://usersync.example.org
  usersync keycloak test-event --connector acme
  usersync keycloak remove --connector acme"
)]
pub(super) struct KeycloakArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the client, grant its roles, set up events; what exists already stays unchanged
    #[command(
        long_about = "\
Create the client, grant its roles, set up events; what exists already stays unchanged.

The client has a service account with the roles that it needs to read. Keycloak keeps events, and the listener is \
turned on. A second setup changes nothing.

The client's secret, and the secret that signs events, are written to files of mode 0600 where the connector reads \
them; they are never shown. The files belong to --owner. Without it, if root runs this, they belong to the owner of \
the existing file, or of its folder.

Only the connector's own part of the configuration is read, so its secrets need not exist yet. A running server \
continues, and needs a restart for a new connector. The administrator's password is prompted for, or read from \
KEYCLOAK_ADMIN_PASSWORD; a token is read from KEYCLOAK_ADMIN_TOKEN.",
        after_help = "\
Examples:
  usersync keycloak setup --url https://sso.example.org --realm acme --dry-run
  usersync keycloak setup --connector acme --admin alice --address https://usersync.example.org
  sudo usersync keycloak setup --connector acme --owner usersync"
    )]
    Setup(SetupArgs),
    /// Remove the client, the listener and its settings; restore the former event settings
    #[command(after_help = "Example:\n  usersync keycloak remove --connector acme --dry-run")]
    Remove {
        #[command(flatten)]
        realm: Realm,
        /// Show what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
    /// Trigger an event that changes nothing, and wait until it arrives
    #[command(after_help = "Example:\n  usersync keycloak test-event --connector acme")]
    TestEvent {
        #[command(flatten)]
        realm: Realm,
    },
}

#[derive(Debug, Args)]
struct SetupArgs {
    #[command(flatten)]
    realm: Realm,
    /// Address at which Keycloak reaches usersync, without /hooks/…, such as <https://usersync.example.org>; turns the
    /// listener on
    #[arg(long, value_name = "URL", value_parser = own_address)]
    address: Option<url::Url>,
    /// Also let the client read roles, which a policy with roles needs
    #[arg(long)]
    view_realm: bool,
    /// Also let the client read organizations and their members, which a policy with organizations needs
    #[arg(long)]
    view_organizations: bool,
    /// File for the client's secret
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// File for the secret that signs events: whsec_ and base64 of at least 24 bytes; created if missing
    #[arg(long, value_name = "FILE")]
    hook_secret_file: Option<PathBuf>,
    /// Owner of the files: the user that runs the server
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Show what would be done, without doing it
    #[arg(long)]
    dry_run: bool,
}

impl KeycloakArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::Setup(args) => setup(context, args).await,
            Command::Remove { realm, dry_run } => remove(context, &realm, dry_run).await,
            Command::TestEvent { realm } => test_event(context, &realm).await,
        }
    }
}

async fn setup(context: &Context, args: SetupArgs) -> Outcome {
    let out = &context.out;
    let owner = args.owner.as_deref().map(Owner::named).transpose()?;
    let known = args.realm.known(context)?;
    let mut options = args.realm.options(context, &known).await?;
    options.view_realm = args.view_realm;
    options.view_organizations = args.view_organizations;
    options.address = args.address.map(|address| hook_address(address, &known.name));
    options.sign_events = known.connector.as_ref().is_some_and(|connector| connector.hook_secret.is_some());
    let files = secrets::Files::new(&known, args.client_secret_file, args.hook_secret_file, owner);
    options.webhook_secret = files.webhook_secret(&known)?;
    let session = connect(options).await?;
    let plan = session.plan().await?;
    let (lines, notes) = (plan.lines(), plan.notes.clone());
    if args.dry_run {
        print_lines(out, &session.base_url(), &lines, &notes, true);
        if out.json {
            out.document(&json!({ "would_do": lines, "notes": notes }));
        }
        return Ok(Exit::Done);
    }
    // Before anything is created: a secret that cannot be stored is lost.
    files.check()?;
    let done = session.apply(plan).await?;
    let written = files.write(&done)?;
    print_lines(out, &session.base_url(), &lines, &notes, false);
    if out.json {
        let files: Vec<_> =
            written.iter().map(|one| json!({ "secret": one.what, "file": one.path, "owner": one.owner })).collect();
        out.document(&json!({ "done": lines, "notes": notes, "files": files }));
        return Ok(Exit::Done);
    }
    for one in &written {
        out.say(format!("{} is in {} (mode 0600, owner {})", one.what, one.path.display(), one.owner));
    }
    for line in files.to_configure(&known) {
        out.say(line);
    }
    say_next(context, &known);
    Ok(Exit::Done)
}

/// Prints the next steps after a realm is set up.
fn say_next(context: &Context, known: &Known) {
    let out = &context.out;
    if known.connector.is_none() {
        return;
    }
    match context.config() {
        Ok(config) => {
            if let Some(pid) = SqliteStore::worked_by(&config.store.path) {
                out.say(format!("The running server (pid {pid}) continues. A new connector needs a restart."));
            }
            out.say(
                "Check sources and targets: usersync check   \
                 Test that an event arrives: usersync keycloak test-event",
            );
        }
        Err(_) => out.say("The configuration is not valid as a whole yet. Show its errors: usersync config check"),
    }
}

async fn remove(context: &Context, realm: &Realm, dry_run: bool) -> Outcome {
    let out = &context.out;
    let known = realm.known(context)?;
    let session = connect(realm.options(context, &known).await?).await?;
    let plan: Plan = session.plan_removal().await?;
    let (lines, notes) = (plan.lines(), plan.notes.clone());
    if !dry_run {
        session.remove(&plan).await?;
    }
    print_lines(out, &session.base_url(), &lines, &notes, dry_run);
    if out.json {
        let verb = if dry_run { "would_do" } else { "done" };
        out.document(&json!({ verb: lines, "notes": notes }));
    } else if !dry_run {
        out.say("Accounts, groups and memberships in the targets stay as they are.");
    }
    Ok(Exit::Done)
}

async fn connect(options: SetupOptions) -> Result<Setup, Failure> {
    Ok(Setup::connect(options).await?)
}

/// Prints what was done, or would be done; one line for each item.
fn print_lines(out: &Out, base: &str, lines: &[String], notes: &[Note], dry_run: bool) {
    if out.json {
        return;
    }
    let verb = if dry_run { "would do" } else { "done" };
    out.say(out.strong(base));
    for line in lines {
        out.say(format!("  {verb:<10} {line}"));
    }
    for note in notes {
        out.lines(out.noted(State::from(note.state), &note.about, &note.text));
    }
    match (lines.len(), dry_run) {
        (0, _) => out.say("Nothing to do: no change is needed."),
        (number, true) => out.say(format!("{}. Nothing was changed.", count(number, "step to do", "steps to do"))),
        (number, false) => out.say(format!("{} done.", count(number, "step", "steps"))),
    }
}

/// Returns the address that the listener posts to.
fn hook_address(mut address: url::Url, connector: &str) -> url::Url {
    let path = format!("{}/hooks/{connector}", address.path().trim_end_matches('/'));
    address.set_path(&path);
    address
}

async fn test_event(context: &Context, realm: &Realm) -> Outcome {
    let out = &context.out;
    let known = realm.known(context)?;
    let Some(connector) = &known.connector else {
        return Err(Failure::usage("Which connector? Choose one of the configuration: --connector NAME"));
    };
    let opened = app::open_for_reading(context, &context.config()?).await?;
    let Some(pid) = opened.server else {
        return Err(Failure::problem("No server runs, so no event can arrive. Start it, then try again."));
    };
    let session = connect(realm.options(context, &known).await?).await?;
    let event = session.test_event().await?;
    out.note(format!("Triggered {} {}; waiting for it to arrive at the server (pid {pid}).", event.kind, event.about));
    let arrived = arrival(opened.store.as_ref(), &connector.name, &event).await?;
    if out.json {
        out.document(&json!({
            "kind": event.kind, "about": event.about, "caused_at": event.caused_at, "arrived_at": arrived,
        }));
    }
    match arrived {
        Some(at) => {
            let after = at.duration_since(event.caused_at);
            out.say(format!("The event arrived after {}.", took(after.max(jiff::SignedDuration::ZERO))));
            Ok(Exit::Done)
        }
        None => Err(Failure::problem(format!(
            "The event did not arrive within {} s. Check that the listener is turned on and reaches usersync: \
             usersync check, and Keycloak's log",
            ARRIVES_WITHIN.as_secs()
        ))),
    }
}

async fn arrival(
    store: &dyn Store,
    connector: &ConnectorName,
    event: &TestEvent,
) -> Result<Option<jiff::Timestamp>, Failure> {
    let filter = EventFilter {
        connector: Some(connector.clone()),
        from: Some(event.caused_at),
        limit: 100,
        ..EventFilter::default()
    };
    let began = std::time::Instant::now();
    while began.elapsed() < ARRIVES_WITHIN {
        let events = store.events(&filter).await?;
        if let Some(found) = events.iter().find(|found| found.about == event.about) {
            return Ok(Some(found.received_at));
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_is_added_to_the_address() {
        let hook = |text: &str| hook_address(text.parse().unwrap(), "acme").to_string();
        assert_eq!(hook("https://usersync.example.org"), "https://usersync.example.org/hooks/acme");
        assert_eq!(hook("https://example.org/usersync/"), "https://example.org/usersync/hooks/acme");
    }
}
