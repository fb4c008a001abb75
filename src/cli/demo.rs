//! `usersync demo`: plays a scenario of the whole product on built-in simulators of Keycloak and Jira.

mod folder;

use std::time::{Duration, Instant};

use clap::{Args, Parser};
use futures::FutureExt;

use self::folder::Folder;
use super::{
    Cli, Context,
    exit::{Exit, Failure, Outcome},
    stop,
    words::count,
};
use crate::{
    demo::{
        StackError,
        stack::{CONNECTOR, SimulatedServers, Stack, StackOptions, agree},
        targets::{self, SimulatedTarget},
    },
    model::{FirstRun, Policy, RunTrigger},
    store::{OperatorStore, Request, StoreReads, TaskFilter},
};
use usersync_simulators::{
    Fault,
    agree::compare,
    jira::JiraSnapshot,
    keycloak::{NewUser, Refused, UserChange},
};

/// Timeout of one step, after which the demo fails.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after each line, so that it can be read.
const READ: Duration = Duration::from_millis(1_200);

/// Run the whole product on built-in simulators of Keycloak and Jira
#[derive(Debug, Args)]
#[command(
    long_about = "\
Run the whole product on built-in simulators of Keycloak and Jira, over real HTTP on loopback ports. It needs no \
setup and leaves nothing behind.

The first run is planned and approved. Users join, change name and login, change groups, and leave. One user joins \
while the listener is switched off; the full reconcile finds the user. One call fails and is replayed. Each step is \
shown with its time from the change in Keycloak to the change in Jira. At the end both sides are compared.

With --keep everything keeps running until Ctrl-C or SIGTERM, with a configuration for trying every command.",
    after_help = "\
Examples:
  usersync demo
  usersync demo --all       fills every kind of target, not just Jira
  usersync demo --keep      keeps it running, and prints the addresses
  usersync demo --fast      without pauses for reading"
)]
pub(super) struct DemoArgs {
    /// Also fill one target of every other kind
    #[arg(long)]
    all: bool,
    /// Keep everything running after the scenario, and print the addresses
    #[arg(long)]
    keep: bool,
    /// Do not pause after each line
    #[arg(long)]
    fast: bool,
}

impl DemoArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        context.refuse_json("demo", "the demo has no result")?;
        let stop = stop::on_signal(&context.out);
        let failed = |error: DemoError| Failure::problem(format!("demo: {error}"));
        let other_targets = if self.all { targets::all().await.map_err(|why| failed(why.into()))? } else { Vec::new() };
        let pause = if self.fast { Duration::ZERO } else { READ };
        let demo = Demo::start(other_targets, pause).await.map_err(failed)?;
        let played = stop.token.run_until_cancelled(Box::pin(demo.play_all(context, self.keep))).await;
        if self.keep && matches!(played, Some(Ok(()))) {
            stop.token.cancelled().await;
        }
        demo.stop().await;
        let Some(played) = played else {
            let signal = stop.by().unwrap_or(Exit::Interrupted);
            let name = stop::signal_name(signal);
            return Err(Failure::new(
                signal,
                format!("Stopped by {name} before the end of the demo. Nothing is left behind."),
            ));
        };
        played.map_err(failed)?;
        Ok(Exit::Done)
    }
}

/// Why the scenario stopped before its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// The simulators, or usersync between them, did not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The simulated Keycloak refused a change.
    #[error("the simulated Keycloak refused: {0}")]
    Refused(Refused),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// An expected result was not there within 20 s.
    #[error("{0}: not in Jira after 20 s")]
    Late(&'static str),
    /// The configuration of the demo could not be written.
    #[error("its configuration cannot be written: {0}")]
    Folder(#[from] std::io::Error),
    /// A command of the scenario did not have the expected result.
    #[error("{command}: {why}")]
    Command {
        /// The command line.
        command: String,
        /// The reason.
        why: String,
    },
    /// Source and target differ at the end.
    #[error("source and target differ: {0}")]
    Differ(String),
}

impl From<Refused> for DemoError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The parts of the demo: simulators, usersync between them, and a configuration for all of it.
struct Demo {
    servers: SimulatedServers,
    stack: Stack,
    other_targets: Vec<SimulatedTarget>,
    folder: Folder,
    pause: Duration,
}

impl Demo {
    /// Starts everything; the first run still waits for approval.
    async fn start(other_targets: Vec<SimulatedTarget>, pause: Duration) -> Result<Self, DemoError> {
        let folder = Folder::make()?;
        let filled = other_targets.iter().map(SimulatedTarget::other_target).collect::<Result<_, _>>()?;
        let options = StackOptions {
            other_targets: filled,
            policy: Policy { first_run: FirstRun::Hold, ..Policy::default() },
            store: Some(folder.store()),
            ..StackOptions::default()
        };
        let servers = SimulatedServers::prepare(options).await?;
        let staff = (1..=40).map(|number| NewUser::named(format!("staff{number:02}")));
        servers.realm.import_users(staff)?;
        let stack = servers.build().await?;
        folder.configure(&servers, &stack, &other_targets)?;
        Ok(Self { servers, stack, other_targets, folder, pause })
    }

    /// Plays the scenario; with `keep`, prints the addresses of the servers that keep running.
    async fn play_all(&self, context: &Context, keep: bool) -> Result<(), DemoError> {
        let out = &context.out;
        self.first_run(context).await?;
        out.line("");
        // A line that belongs to a timed line is aligned with that line's text.
        self.play(&mut |line| out.prose(if line.starts_with(' ') { 11 } else { 2 }, line)).await?;
        self.show(context, "usersync explain alicia").await?;
        self.show(context, "usersync status").await?;
        if keep {
            for (name, address, credentials) in self.addresses() {
                out.line(format!("{name:<10} {address:<30} {credentials}").trim_end());
            }
            out.line("Try every command:");
            out.line(format!("  usersync --config {} status", self.folder.file().display()));
            out.line("Ctrl-C ends it, and leaves nothing behind.");
        }
        Ok(())
    }

    /// Returns the name, address and credentials of each server.
    fn addresses(&self) -> Vec<(&'static str, String, String)> {
        let (keycloak, jira) = (&self.servers.keycloak, &self.servers.jira);
        let mut all = vec![
            ("Keycloak", keycloak.url(), "user admin, password admin".to_owned()),
            ("Jira", jira.url(), format!("token {}", jira.token())),
        ];
        all.extend(self.other_targets.iter().map(|other| {
            let credentials = other.product.credentials().into_iter().map(|(key, value)| format!("{key} {value}"));
            (other.product.name(), other.url.clone(), credentials.collect::<Vec<_>>().join(", "))
        }));
        all.push(("usersync", self.stack.url(), String::new()));
        all
    }

    /// Runs a command as an operator would, and prints its output.
    async fn show(&self, context: &Context, command: &str) -> Result<(), DemoError> {
        let wrong = |why: String| DemoError::Command { command: command.to_owned(), why };
        let cli = Cli::try_parse_from(command.split(' ')).map_err(|error| wrong(error.to_string()))?;
        context.out.line("");
        context.out.line(context.out.strong(&format!("$ {command}")));
        let mut out = context.out.clone();
        out.now = jiff::Timestamp::now();
        let operator = Context {
            reported: Some(self.folder.file()),
            by: Some("demo".to_owned()),
            env: crate::config::Env::of::<String, String>([]),
            out,
        };
        let ended = cli.command.run(&operator).boxed_local().await;
        tokio::time::sleep(self.pause * 2).await;
        match ended {
            Ok(Exit::Usage | Exit::Unreachable) => Err(wrong("could not be carried out".to_owned())),
            Ok(_) => Ok(()),
            Err(failure) => Err(wrong(failure.text)),
        }
    }

    /// Plans the first run, shows the plan, and approves it.
    async fn first_run(&self, context: &Context) -> Result<(), DemoError> {
        let waiting = 1 + self.other_targets.len();
        let began = Instant::now();
        while self.stack.store.approvals(true).await?.len() < waiting {
            if began.elapsed() > STEP_TIMEOUT {
                return Err(DemoError::Late("the first plan"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        context.out.line("A simulated Keycloak with 40 users, a simulated Jira, and usersync between them.");
        self.show(context, "usersync plan --target jira").await?;
        self.show(context, "usersync approvals list").await?;
        self.show(context, "usersync approvals approve --connector acme --note read").await?;
        self.stack.in_service().await?;
        Ok(())
    }

    /// Plays the scenario; reports each line as it happens.
    async fn play(&self, print: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let realm = &self.servers.realm;
        print(format!(
            "The first run created {} accounts in the simulated Jira. From now on each change in Keycloak arrives \
             there at once:",
            self.servers.jira.snapshot().accounts.len().saturating_sub(1)
        ));
        let engineering = realm.create_group(None, "engineering").await?;
        let admins = realm.create_group(Some(&engineering), "release-managers").await?;

        let began = Instant::now();
        let alice = realm.create_user(NewUser::named("alice").in_groups(&["/engineering"])).await?;
        self.when(print, began, "alice joins, in group engineering", |jira| {
            jira.account("alice").is_some_and(|account| account.active) && member(jira, "engineering", "alice")
        })
        .await?;

        let began = Instant::now();
        realm.join(&alice, &admins).await?;
        self.when(print, began, "alice joins release-managers", |jira| member(jira, "release-managers", "alice"))
            .await?;

        let began = Instant::now();
        let change = UserChange { first_name: Some("Alicia".into()), ..UserChange::default() };
        realm.update_user(&alice, change).await?;
        self.when(print, began, "alice changes her name", |jira| {
            jira.account("alice").is_some_and(|account| account.display_name == "Alicia Example")
        })
        .await?;

        let began = Instant::now();
        realm.update_user(&alice, UserChange::username("alicia")).await?;
        self.when(print, began, "alice becomes alicia", |jira| jira.account("alicia").is_some()).await?;

        let began = Instant::now();
        realm.leave(&alice, &admins).await?;
        self.when(print, began, "alicia leaves release-managers", |jira| !member(jira, "release-managers", "alicia"))
            .await?;

        let began = Instant::now();
        realm.update_user(&alice, UserChange::enabled(false)).await?;
        self.when(print, began, "alicia leaves the company", |jira| {
            jira.account("alicia").is_some_and(|account| !account.active)
        })
        .await?;

        self.lose_an_event(print).await?;
        self.fail_and_replay(print).await?;
        self.compare(print).await
    }

    /// Loses an event, and lets the full reconcile find the change.
    async fn lose_an_event(&self, print: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let realm = &self.servers.realm;
        realm.switch_webhook(false);
        realm.create_user(NewUser::named("bob").in_groups(&["/engineering"])).await?;
        print("The listener is switched off, and bob joins: no event arrives.".to_owned());
        tokio::time::sleep(self.pause).await;
        realm.switch_webhook(true);
        let began = Instant::now();
        let request = Request::Run { connector: CONNECTOR.into(), target: None, trigger: RunTrigger::Operator };
        self.stack.store.request(&request, "demo", jiff::Timestamp::now()).await?;
        self.when(print, began, "the full reconcile finds bob", |jira| member(jira, "engineering", "bob")).await
    }

    /// Lets Jira refuse a call, which leaves a dead letter, and replays the dead letter.
    async fn fail_and_replay(&self, print: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let refusal = r#"{"errorMessages":["The licence does not allow it."],"errors":{}}"#;
        let fault = Fault::status(400, refusal).method("POST").path("/rest/api/2/user");
        let fault = self.servers.jira.faults.add(fault);
        self.servers.realm.create_user(NewUser::named("carol")).await?;
        let dead = TaskFilter { dead: Some(true), limit: 10, ..TaskFilter::default() };
        let began = Instant::now();
        let letter = loop {
            if let Some(task) = self.stack.store.tasks(&dead).await?.into_iter().next() {
                break task;
            }
            if began.elapsed() > STEP_TIMEOUT {
                return Err(DemoError::Late("carol as a dead letter"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let why = letter.error.map(|(_, text)| text).unwrap_or_default();
        print(format!("Jira refuses to create carol's account, and the task becomes a dead letter: {why}"));
        tokio::time::sleep(self.pause).await;
        self.servers.jira.faults.remove(fault);
        let began = Instant::now();
        self.stack.store.replay_dead(&dead, "demo", jiff::Timestamp::now()).await?;
        self.when(print, began, "the dead letter is replayed", |jira| jira.account("carol").is_some()).await
    }

    async fn compare(&self, print: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        self.servers.realm.webhook_idle().await;
        self.stack.quiet(jiff::SignedDuration::from_secs(1)).await?;
        let agreement = agree(&self.servers);
        if !agreement.holds() {
            return Err(DemoError::Differ(agreement.differences.join("; ")));
        }
        self.compare_other_targets(print).await?;
        print(format!(
            "source and target agree: {}, {}, {}",
            count(agreement.users, "user", "users"),
            count(agreement.groups, "group", "groups"),
            count(agreement.memberships, "membership", "memberships"),
        ));
        Ok(())
    }

    /// Checks that each of the other targets agrees with the realm.
    async fn compare_other_targets(&self, print: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let began = Instant::now();
        for other in &self.other_targets {
            // A run may still be in progress there.
            let agreement = loop {
                let agreement = compare(&self.servers.realm.snapshot(), &other.server.held(), &[]);
                if agreement.holds() {
                    break agreement;
                }
                if began.elapsed() > STEP_TIMEOUT {
                    return Err(DemoError::Differ(agreement.differences.join("; ")));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            let users = count(agreement.users, "user", "users");
            let memberships = count(agreement.memberships, "membership", "memberships");
            print(format!("{:>9}  {} holds the same: {users}, {memberships}", "", other.product.name()));
        }
        Ok(())
    }

    /// Waits until Jira shows a change, and reports how long that took.
    async fn when(
        &self,
        print: &mut (dyn FnMut(String) + Send),
        began: Instant,
        what: &'static str,
        shows: impl Fn(&JiraSnapshot) -> bool,
    ) -> Result<(), DemoError> {
        while !shows(&self.servers.jira.snapshot()) {
            if began.elapsed() > STEP_TIMEOUT {
                return Err(DemoError::Late(what));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        print(format!("{:>6} ms  {what}", began.elapsed().as_millis()));
        tokio::time::sleep(self.pause).await;
        Ok(())
    }

    /// Stops everything. Pending writes are in the store, which is removed with the demo's folder.
    async fn stop(self) {
        self.stack.stop().await;
        drop(self.folder);
    }
}

fn member(jira: &JiraSnapshot, group: &str, login: &str) -> bool {
    jira.groups.get(group).is_some_and(|members| members.contains(login))
}
